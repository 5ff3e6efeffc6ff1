"""Fuzz the inputs that may come from strangers.

    python -m fuzz                             all targets, for one minute together
    python -m fuzz models page --seconds 600   some targets, each for ten minutes
    python -m fuzz --cases 200000              a number of cases for each target

Exits with 1 if an input broke a promise. Its bytes and the traceback are then in the folder of
findings; mend the cause and move the bytes to ``fuzz/found/TARGET/``, where the test suite repeats
them.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

NAMES = ("models", "tabular", "checkpoints", "texts", "binaries", "page", "bodies")
MOST_CASES, MOST_SECONDS = 10**9, 10**6
START = 300  # seconds that a process may take beyond its time, to start and for a last input


class Outcome(NamedTuple):
    """What one target did."""

    name: str
    cases: int
    seconds: float
    findings: list[str]


def fuzz(name: str, given: argparse.Namespace, seconds: float) -> Outcome:
    """Run one target in a process of its own, so that a crash is a finding as well."""
    findings = given.findings / name
    command = [
        sys.executable, "-m", "fuzz.child", name, str(findings),
        f"--cases={given.cases}", f"--seconds={seconds}", f"--seed={given.seed}",
    ]  # fmt: skip
    if given.corpus is not None:
        command.append(f"--corpus={given.corpus / name}")
    begun = time.monotonic()
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=seconds + START
        )
    except subprocess.TimeoutExpired:
        return Outcome(name, 0, time.monotonic() - begun, ["it does not return: see 'running'"])
    found = re.findall(r"^finding: (.*)$", done.stdout, re.MULTILINE)
    counted = re.search(r"number_of_executed_units: (\d+)", done.stdout + done.stderr)
    if done.returncode != 0 or counted is None:
        found.append(f"it ended with {done.returncode}: {done.stderr[-2000:]}")
    cases = int(counted[1]) if counted else 0
    return Outcome(name, cases, time.monotonic() - begun, found)


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m fuzz", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=", ".join(NAMES))
    parser.add_argument("--seconds", type=float, help="for each target")
    parser.add_argument("--cases", type=int, default=MOST_CASES, help="for each target")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="targets at a time")
    parser.add_argument("--findings", type=Path, default=Path("fuzz-findings"))
    parser.add_argument(
        "--corpus", type=Path,
        help="with atheris: keep inputs that reach new code here, and start from them next time",
    )  # fmt: skip
    given = parser.parse_args()
    names = given.targets or NAMES
    if unknown := set(names) - set(NAMES):
        parser.error(f"unknown target {', '.join(unknown)}; the targets are {', '.join(NAMES)}")
    seconds = given.seconds
    if seconds is None:
        seconds = 60 * given.jobs / len(names) if given.cases == MOST_CASES else MOST_SECONDS
    with ThreadPoolExecutor(given.jobs) as pool:
        outcomes = list(pool.map(lambda name: fuzz(name, given, seconds), names))
    for outcome in outcomes:
        print(f"{outcome.name:12} {outcome.cases:9,} cases {outcome.seconds:7.0f} s")
        for finding in outcome.findings:
            print(f"  {finding}")
    print(f"{'all':12} {sum(outcome.cases for outcome in outcomes):9,} cases, seed {given.seed}")
    return 1 if any(outcome.findings for outcome in outcomes) else 0


if __name__ == "__main__":
    sys.exit(main())
