"""Time two versions of deltaprop in turns: ``python -m benchmarks.versions OLD NEW``.

OLD and NEW are checkouts. Each version runs in a process of its own that imports deltaprop from its
checkout; both do the same work, one turn at a time, back and forth. A ratio above 1 says that NEW
is faster. The cases are those of ``python -m benchmarks``.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks import machine
from benchmarks.turns import PAUSE


@dataclass
class Worker:
    """A process that holds one version's contestant of a case and does a turn when told to."""

    process: subprocess.Popen[str]
    seconds: list[float] = field(default_factory=list)

    @classmethod
    def of(cls, checkout: Path, case: str, contestant: str, threads: int) -> Worker:
        """The process; its first turn, which compiles, has been done when this returns."""
        environment = {**os.environ, "PYTHONPATH": f"{checkout / 'src'}{os.pathsep}{Path.cwd()}"}
        arguments = ["--turn", case, contestant, "--threads", str(threads)]
        process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.versions", *arguments],
            env=environment, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        worker = cls(process)
        worker.turn(0)
        imported = worker._answer("where")
        if not imported.startswith(str(checkout.resolve())):
            raise SystemExit(f"deltaprop was imported from {imported}, not from {checkout}")
        return worker

    def turn(self, t: int) -> float:
        return float(self._answer(str(t)))

    def stop(self) -> None:
        self.process.communicate()

    def _answer(self, question: str) -> str:
        assert self.process.stdin
        assert self.process.stdout
        print(question, file=self.process.stdin, flush=True)
        answer = self.process.stdout.readline().strip()
        if not answer:
            raise Ended("cannot be compared: a worker ended, and its error is above")
        return answer


class Ended(Exception):
    """The process of a version ended before its last turn."""


def main() -> None:
    options = parsed()
    machine.pin(options.threads)  # before any library is imported
    if options.turn:
        case, contestant = options.turn
        work(case, contestant, options.threads)
        return
    print(
        f"{'case':<14} {'contestant':<20} {'old, ms':>10} {'new, ms':>10} {'old / new':>10}  range"
    )
    for case, contestant in wanted(options.case):
        workers: list[Worker] = []
        try:
            for tree in (options.old, options.new):
                workers.append(Worker.of(Path(tree), case, contestant, options.threads))
            compare(workers, options.turns)
            show(case, contestant, *(worker.seconds for worker in workers))
        except Ended as error:  # such as an old version without a setting that the contestant has
            print(f"{case:<14} {contestant:<20} {error}")
        for worker in workers:
            worker.stop()


def wanted(cases: list[str] | None) -> list[tuple[str, str]]:
    """The cases that were asked for, each with our contestants of it."""
    from benchmarks.cases import CASES, OURS

    return [
        (case.name, name)
        for case in CASES
        if cases is None or case.name in cases
        for name in case.contestants(1)
        if name.startswith(OURS)
    ]


def compare(workers: list[Worker], turns: int) -> None:
    """Timed turns, back and forth, so that neither version always follows the other."""
    for t in range(1, turns + 1):
        for worker in workers if t % 2 else workers[::-1]:
            time.sleep(PAUSE)
            worker.seconds.append(worker.turn(t))


def show(case: str, contestant: str, old: list[float], new: list[float]) -> None:
    """Medians of the times, and the median and quartiles of the ratios of neighbouring turns."""
    ratios = [a / b for a, b in zip(old, new, strict=True)]
    quartiles = statistics.quantiles(ratios, n=4) if len(ratios) > 1 else ratios * 3
    print(
        f"{case:<14} {contestant:<20} {statistics.median(old) * 1e3:>10.2f} "
        f"{statistics.median(new) * 1e3:>10.2f} {statistics.median(ratios):>8.3f}  "
        f"{quartiles[0]:.3f} to {quartiles[2]:.3f}",
        flush=True,
    )


def work(case_name: str, contestant: str, threads: int) -> None:
    """Answer questions on standard input: a number is a turn to time, "where" asks for the file."""
    import deltaprop
    from benchmarks.cases import CASES

    case = next(case for case in CASES if case.name == case_name)
    turn = case.contestants(threads)[contestant]()
    for line in sys.stdin:
        if line.strip() == "where":
            print(Path(deltaprop.__file__).resolve(), flush=True)
            continue
        started = time.perf_counter()
        turn(int(line))
        print(time.perf_counter() - started, flush=True)


def parsed() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.versions",
        description="Time two checkouts of deltaprop in turns.",
    )
    parser.add_argument("old", nargs="?", help="the checkout to compare with")
    parser.add_argument("new", nargs="?", help="the checkout to judge")
    parser.add_argument("--case", action="append", metavar="NAME", help="may be repeated")
    parser.add_argument("--turns", type=int, default=11, help="timed turns of each (default 11)")
    parser.add_argument("--threads", type=int, default=2, help="threads of each (default 2)")
    parser.add_argument("--turn", nargs=2, metavar=("CASE", "CONTESTANT"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if not options.turn and not options.new:
        parser.error("expected two checkouts, OLD and NEW")
    return options


if __name__ == "__main__":
    main()
