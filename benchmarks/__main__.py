"""``python -m benchmarks``: run cases, print tables, write results and the chart."""

from __future__ import annotations

import argparse
import json
import os
import warnings
from pathlib import Path
from typing import Any

from benchmarks import machine


def main() -> None:
    options = parsed()
    report = json.loads(options.load.read_text()) if options.load else run(options)
    if options.json:
        write_json(options.json, report)
    if options.chart:
        from benchmarks.chart import svg

        options.chart.write_text(svg(report["cases"], report["machine"]))


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Run the cases in order; results are written to disk after each case."""
    machine.pin(options.threads)  # before any library is imported
    quieten()
    from rich.console import Console

    from benchmarks import report, turns
    from benchmarks.cases import CASES, NAMES, PEERS, chosen

    check_names("--case", options.case, NAMES)
    check_names("--peers", options.peers, PEERS)
    console = Console(width=100)
    results: dict[str, Any] = {
        "command": machine.command("benchmarks"),
        "machine": machine.describe(),
        "settings": {"threads": options.threads, "turns": options.turns, "dtype": "float32"},
        "cases": [],
    }
    for case in CASES:
        if options.case is None or case.name in options.case:
            contest = turns.Contest(chosen(case, options.threads, options.peers))
            for busy in options.busy:
                times, others = contest.take_turns(options.turns, busy, options.seconds)
                results["cases"].append(report.record(case, busy, times, others))
                report.show(results["cases"][-1], console)
                if options.json:
                    write_json(options.json, results)
    return results


def parsed() -> argparse.Namespace:
    """Parse the command line. Names are checked later, because that imports libraries."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Compare the speed of deltaprop with other libraries.",
    )
    add = parser.add_argument
    add(
        "--case",
        action="append",
        metavar="NAME",
        help="a case to run; may be repeated; ? lists them",
    )
    add(
        "--peers",
        type=lambda text: text.split(","),
        help="only these contestants, such as torch,jax,floor",
    )
    add("--turns", type=int, default=7, help="timed turns of each contestant (default 7)")
    add(
        "--seconds",
        type=float,
        default=30,
        help="start no further turn of a contestant after this time (default 30)",
    )
    add("--quick", action="store_true", help="one timed turn, to test the program")
    add("--threads", type=int, default=2, help="threads of each contestant (default 2)")
    add(
        "--busy",
        type=int,
        nargs="+",
        default=[0],
        metavar="N",
        help="run each case beside N busy processes on the same cores; may be several numbers "
        "(default 0)",
    )
    add("--json", type=Path, metavar="FILE", help="write all results to this file")
    add("--chart", type=Path, metavar="FILE", help="write the README's chart to this file (SVG)")
    add(
        "--load",
        type=Path,
        metavar="FILE",
        help="run nothing; read the results from a file that --json wrote",
    )
    options = parser.parse_args()
    options.turns = 1 if options.quick else max(1, options.turns)
    return options


def check_names(option: str, given: list[str] | None, known: tuple[str, ...]) -> None:
    """Exit with a message if a name is unknown."""
    for name in given or ():
        if name not in known:
            raise SystemExit(f"{option} must be one of {', '.join(known)}; got {name!r}.")


def quieten() -> None:
    """Suppress warnings between the tables, also in the processes that contestants start."""
    warnings.simplefilter("ignore")
    os.environ["PYTHONWARNINGS"] = "ignore"


def write_json(path: Path, report: dict[str, Any]) -> None:
    path.write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
