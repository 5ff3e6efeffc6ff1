"""One target in one process: mutated inputs, one after another, and what they did wrong.

With atheris (libFuzzer) the mutations that reach new code are kept and mutated further. Without it,
all of them start from the seeds.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import random
import resource
import signal
import sys
import time
import traceback
from collections.abc import Iterator
from hashlib import sha1
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .targets import Target

SECONDS = 10  # of the processor, for one input
MEGABYTES = 1000  # that one input may add to the largest memory so far
ADDRESSES = 12 << 30  # bytes of address space, so that a mistake does not stop the machine
MOST_BYTES = 100_000  # of an input
HANGS = 120  # seconds after which libFuzzer ends a process that does not return


class TooSlow(BaseException):
    """An input took too long. Nothing that catches Exception may hide this."""


class TooMuchMemory(BaseException):
    """An input took too much memory."""


class Case:
    """Runs a target on inputs, and stores those that break its promises.

    Parameters
    ----------
    target : Target
    findings : Path
        The folder for inputs; beside each, a file ``.txt`` says what happened.
    """

    def __init__(self, target: Target, findings: Path) -> None:
        self._target, self._findings = target, findings
        self._seen: set[str] = set()
        findings.mkdir(parents=True, exist_ok=True)
        self._running = (findings / "running").open("wb", buffering=0)
        signal.signal(signal.SIGPROF, _stop)

    def __call__(self, data: bytes) -> None:
        self._running.seek(0)
        self._running.truncate(0)
        self._running.write(data)  # is left behind if the process crashes
        error = failure(self._target, data)
        if error is not None:
            self._store(data, error)

    def _store(self, data: bytes, error: BaseException) -> None:
        """Keep the first input for each place of the code that failed."""
        frames = traceback.extract_tb(error.__traceback__)
        ours = [frame for frame in frames if "deltaprop/" in frame.filename] or frames
        where = f"{type(error).__name__} {ours[-1].filename}:{ours[-1].lineno}"
        if where in self._seen:
            return
        self._seen.add(where)
        name = sha1(where.encode()).hexdigest()[:12]
        (self._findings / name).write_bytes(data)
        text = "".join(traceback.format_exception(error))
        (self._findings / f"{name}.txt").write_text(f"{where}\n{text}", errors="replace")
        print(f"finding: {where}: {str(error)[:200]!r}", flush=True)


def failure(target: Target, data: bytes) -> BaseException | None:
    """What goes wrong with this input; None if the target keeps its promises."""
    before = _most_memory()
    try:
        with _limited(SECONDS):
            target.run(data)
    except target.allowed:
        pass
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # panics of extensions in Rust are no Exceptions
        return error
    if _most_memory() - before > MEGABYTES:
        return TooMuchMemory(f"{_most_memory() - before:.0f} MB")
    return None


@contextlib.contextmanager
def _limited(seconds: float) -> Iterator[None]:
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def _stop(number: int, frame: FrameType | None) -> None:
    raise TooSlow(f"more than {SECONDS} seconds of the processor")


def _most_memory() -> float:
    """In MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


# ---------------------------------------------------------------- ways to choose inputs


def run_from_seeds(target: Target, case: Case, cases: int, seconds: float, seed: int) -> None:
    """Mutate seeds at random; prints the number of cases."""
    rng, end = random.Random(seed), time.monotonic() + seconds
    done = 0
    while done < cases and time.monotonic() < end:
        data = rng.choice(target.seeds)
        for _ in range(rng.choice((1, 1, 2, 4))):
            data = target.mutate(data, rng)
        case(data[:MOST_BYTES])
        done += 1
    print(f"stat::number_of_executed_units: {done}", flush=True)


def run_with_coverage(
    target: Target, case: Case, cases: int, seconds: float, seed: int, corpus: Path
) -> None:
    """Let libFuzzer choose the inputs; does not return."""
    import atheris

    corpus.mkdir(parents=True, exist_ok=True)
    for content in target.seeds:
        (corpus / sha1(content).hexdigest()).write_bytes(content)

    def mutate(data: bytes, most: int, number: int) -> bytes:
        rng = random.Random(number)
        if rng.random() < 0.3:
            return bytes(atheris.Mutate(data, most))
        return target.mutate(data, rng)[:most]

    options = {
        "runs": cases, "max_total_time": max(1, int(seconds)), "seed": seed, "max_len": MOST_BYTES,
        "timeout": HANGS, "rss_limit_mb": 0, "print_final_stats": 1, "verbosity": 0,
        "artifact_prefix": f"{case._findings}/",
    }  # fmt: skip
    flags = [f"-{name}={value}" for name, value in options.items()]
    atheris.Setup([sys.argv[0], *flags, str(corpus)], case, custom_mutator=mutate)
    atheris.Fuzz()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("target")
    parser.add_argument("findings", type=Path)
    parser.add_argument("--corpus", type=Path)
    parser.add_argument("--cases", type=int)
    parser.add_argument("--seconds", type=float)
    parser.add_argument("--seed", type=int)
    given = parser.parse_args()
    guided = given.corpus is not None and importlib.util.find_spec("atheris") is not None
    if guided:
        import atheris

        with atheris.instrument_imports(include=["deltaprop"]):
            from .targets import TARGETS
    else:
        from .targets import TARGETS
    target = TARGETS[given.target]()
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESSES, ADDRESSES))
    case = Case(target, given.findings)
    if guided:
        run_with_coverage(target, case, given.cases, given.seconds, given.seed, given.corpus)
    else:
        run_from_seeds(target, case, given.cases, given.seconds, given.seed)


if __name__ == "__main__":
    main()
