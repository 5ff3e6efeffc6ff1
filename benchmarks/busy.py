"""``python -m benchmarks.busy``: fits in fresh processes, beside busy processes on the same cores.

Whether the threads of a library get in each other's way on busy cores differs from process to
process, so each contestant runs in many processes, one at a time and interleaved. A process imports
the library, runs a first fit, which compiles and is timed separately, and then times the same fit
several times. Its time is the median of these; of the processes, the median and the slowest are
reported. A fit that takes too long is stopped. "torch" is a library with its default number of
threads, "torch-1" with one thread. With ``--fork`` the processes are forks of one that has imported
the library and generated the data, but has not started a thread: many more of them fit in the same
time, and their first fits are then timed without the import.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from benchmarks import machine, neighbours

if TYPE_CHECKING:
    from benchmarks.problem import Problem

OURS = "deltaprop"
CONTESTANTS = (
    OURS, f"{OURS}-1", f"{OURS}-2", "scikit-learn", "scikit-learn-1", "torch", "torch-1", "jax",
    "jax-1",
)  # fmt: skip


def main() -> None:
    options = parsed()
    machine.pin(options.threads)  # before any library is imported
    if options.fit:
        (serve if options.fork else run)(*options.fit, options)
        return
    from rich.console import Console

    from benchmarks.__main__ import quieten, write_json
    from benchmarks.problem import PROBLEMS

    quieten()
    problems = {problem.name: problem for problem in PROBLEMS}
    check(options, problems)
    names = list(problems) if "all" in options.case else options.case
    console = Console(width=100)
    settings = {
        name: getattr(options, name) for name in ("threads", "processes", "fits", "limit", "fork")
    }
    report: dict[str, Any] = {
        "command": machine.command("benchmarks.busy"),
        "machine": machine.describe(),
        "settings": settings,
        "fresh_processes": [],
    }
    for name in names:
        for busy in options.busy:
            report["fresh_processes"].append(measured(problems[name], busy, options))
            show(report["fresh_processes"][-1], console)
            if options.json:
                write_json(options.json, report)


# ---------------------------------------------------------------- one fresh process


def run(contestant: str, case: str, options: argparse.Namespace) -> None:
    """Print what `fits` yields, a line each."""
    for answer in fits(contestant, case, options):
        print(json.dumps(answer), flush=True)


def serve(contestant: str, case: str, options: argparse.Namespace) -> None:
    """For each line of the standard input, run a fork and print its exit status after its answers.

    SIGALRM that ended it gives a negative status, as in `subprocess`.
    """
    import importlib

    from benchmarks.peers import MODULES
    from benchmarks.problem import PROBLEMS

    importlib.import_module(f"benchmarks.peers.{MODULES[split(contestant)[0]]}")
    problem = next(problem for problem in PROBLEMS if problem.name == case)
    _ = problem.X, problem.y, problem.start
    for _ in sys.stdin:
        if not (child := os.fork()):
            run(contestant, case, options)
            os._exit(0)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        print(json.dumps({"status": status}), flush=True)


def fits(contestant: str, case: str, options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Yield the seconds of a first fit and of more, fewer of them if they take long, or an error.

    SIGALRM ends the process if a fit takes longer than the limit.
    """
    from benchmarks import peers
    from benchmarks.problem import PROBLEMS
    from benchmarks.turns import in_one_line

    problem = next(problem for problem in PROBLEMS if problem.name == case)
    _ = problem.X, problem.y, problem.start  # so that no fit is timed with generating the data
    peer, threads = split(contestant)
    try:
        turn = peers.build(peer, problem, threads)
        total = 0.0
        for k in range(options.fits + 1):
            if k > 1 and total >= options.seconds:
                return
            signal.setitimer(signal.ITIMER_REAL, options.limit)
            started = time.perf_counter()
            turn(0)
            seconds = time.perf_counter() - started
            signal.setitimer(signal.ITIMER_REAL, 0)
            total += seconds if k else 0
            yield {"seconds": seconds}
    except Exception as error:
        yield {"error": in_one_line(error)}


def split(contestant: str) -> tuple[str, int | None]:
    """Return the library and the number of its threads, None for its default.

    >>> split("scikit-learn"), split("torch-1")
    (('scikit-learn', None), ('torch', 1))
    """
    peer, _, threads = contestant.rpartition("-")
    return (peer, int(threads)) if threads.isdigit() else (contestant, None)


# ---------------------------------------------------------------- all of them


def measured(problem: Problem, busy: int, options: argparse.Namespace) -> dict[str, Any]:
    """Run the processes of all contestants, interleaved, beside `busy` busy processes."""
    results: dict[str, list[dict[str, Any]]] = {name: [] for name in options.contestants}
    source = Forks if options.fork else Processes
    with neighbours.running(busy) as crowd, source(problem.name, options) as processes:
        started, before = time.perf_counter(), crowd.others_seconds()
        used_before = _children_seconds()
        for k in range(options.processes):
            for name in options.contestants[:: 1 if k % 2 == 0 else -1]:
                if not any("error" in process for process in results[name]):
                    results[name].append(result(*processes.fresh(name), options.limit))
        after, used = crowd.others_seconds(), _children_seconds() - used_before
        wall = time.perf_counter() - started
    unknown = before is None or after is None or options.fork  # the forks' seconds are not known
    others = None if unknown else max(0.0, after - before - used) / wall
    return {
        "name": problem.name,
        "title": problem.title,
        "busy": busy,
        "processors_used_by_others": others,
        "contestants": {name: summary(processes) for name, processes in results.items()},
    }


class Processes:
    """Runs `fits` in processes that start from nothing."""

    def __init__(self, case: str, options: argparse.Namespace) -> None:
        self.case, self.options = case, options

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def fresh(self, contestant: str) -> tuple[list[dict[str, Any]], int, str]:
        """Return the answers of a new process, its exit status and the end of its errors."""
        process = self.start(contestant)
        answers, errors = process.communicate()
        lines = errors.strip().splitlines()
        return (
            [json.loads(line) for line in answers.splitlines()],
            process.returncode,
            lines[-1] if lines else "",
        )

    def start(self, contestant: str, *more: str, **streams: Any) -> subprocess.Popen[str]:
        from benchmarks.peers import limits

        options = self.options
        command = [
            sys.executable, "-m", "benchmarks.busy", "--fit", contestant, self.case,
            "--threads", str(options.threads), "--fits", str(options.fits),
            "--seconds", str(options.seconds), "--limit", str(options.limit), *more,
        ]  # fmt: skip
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | streams
        environment = {**os.environ, **limits(split(contestant)[1])}
        return subprocess.Popen(command, env=environment, text=True, **pipes)


class Forks(Processes):
    """Runs `fits` in forks of one process for each contestant, which has imported its library."""

    def __init__(self, case: str, options: argparse.Namespace) -> None:
        super().__init__(case, options)
        self.servers: dict[str, subprocess.Popen[str]] = {}

    def __exit__(self, *error: object) -> None:
        for server in self.servers.values():
            server.kill()
            server.wait()

    def fresh(self, contestant: str) -> tuple[list[dict[str, Any]], int, str]:
        if contestant not in self.servers:
            streams = {"stdin": subprocess.PIPE, "stderr": subprocess.DEVNULL}
            self.servers[contestant] = self.start(contestant, "--fork", **streams)
        server = self.servers[contestant]
        assert server.stdin is not None
        assert server.stdout is not None
        server.stdin.write("\n")
        server.stdin.flush()
        answers = []
        for line in server.stdout:
            answers.append(json.loads(line))
            if "status" in answers[-1]:
                return answers[:-1], answers[-1]["status"], ""
        return answers, server.wait(), "the process that it was forked from ended"


def result(answers: list[dict[str, Any]], status: int, error: str, limit: float) -> dict[str, Any]:
    """Return the first fit's seconds and those of the others, or the error of a process."""
    if status not in (0, -signal.SIGALRM):
        return {"error": error or f"exit status {status}"}
    if answers and "error" in answers[-1]:
        return dict(answers[-1])
    seconds = [answer["seconds"] for answer in answers] + [limit] * bool(status)
    return {"first": seconds[0], "seconds": seconds[1:] or seconds, "stopped": bool(status)}


def summary(processes: list[dict[str, Any]]) -> dict[str, Any]:
    """Return median and slowest of the processes, for the timed fits and for the first ones.

    If a fit was stopped at the limit, the true times are at least as long.
    """
    for process in processes:
        if "error" in process:
            return {"error": process["error"]}
    medians = [statistics.median(process["seconds"]) for process in processes]
    firsts = [process["first"] for process in processes]
    return {
        "median": statistics.median(medians),
        "worst": max(medians),
        "first": statistics.median(firsts),
        "worst_first": max(firsts),
        "stopped": any(process["stopped"] for process in processes),
        "processes": processes,
    }


def over_better(result: dict[str, Any], key: str) -> float | None:
    """Return our time at the default over the better of one and two threads.

    `key` is "median", or "worst" for the slowest processes. None if one of them did not run.
    """
    default, *limited = (
        result["contestants"].get(name, {}).get(key) for name in (OURS, f"{OURS}-1", f"{OURS}-2")
    )
    return default / min(limited) if default and all(limited) else None


def at_least(it: dict[str, Any]) -> str:
    """Return what stands before a time: ≥ if a fit was stopped."""
    return "≥ " if it["stopped"] else ""


def show(result: dict[str, Any], console: Any) -> None:
    """Print the table of a case beside a number of busy processes."""
    from rich.table import Table

    from benchmarks.report import beside, disturbed

    table = Table(title=result["title"] + beside(result["busy"]), title_justify="left")
    table.add_column("seconds of a fit", no_wrap=True)
    for heading in ("median", "× ours", "worst", "× ours", "first fit", "worst first"):
        table.add_column(heading, justify="right")
    ours = result["contestants"].get(OURS, {})
    for name, it in result["contestants"].items():
        if "error" in it:
            console.print(f"{name}: {it['error']}", style="dim", markup=False)
            continue
        cells = []
        for key in ("median", "worst"):
            over_ours = f"{it[key] / ours[key]:.2f}" if key in ours else ""
            cells += [f"{at_least(it)}{it[key]:.3f}", over_ours]
        table.add_row(name, *cells, f"{it['first']:.2f}", f"{it['worst_first']:.2f}")
    console.print(table)
    if warning := disturbed(result["processors_used_by_others"]):
        console.print(warning, style="red")
    median, worst = over_better(result, "median"), over_better(result, "worst")
    if median and worst:
        console.print(
            f"ours at its default ÷ the better of 1 and 2 threads: {median:.2f} in the median, "
            f"{worst:.2f} in the worst process", style="bold",
        )  # fmt: skip


def _children_seconds() -> float:
    """Return the CPU seconds of the processes that have ended."""
    used = os.times()
    return used.children_user + used.children_system


# ---------------------------------------------------------------- the command line


def check(options: argparse.Namespace, problems: dict[str, Problem]) -> None:
    """Exit with a message if a name is unknown."""
    from benchmarks.__main__ import check_names
    from benchmarks.peers import MODULES

    check_names("--case", options.case, ("all", *problems))
    peers = [split(name)[0] for name in options.contestants]
    check_names("--contestants", peers, tuple(MODULES))


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.busy", description=__doc__)
    add = parser.add_argument
    add("--case", nargs="+", default=["tabular"], metavar="NAME",
        help="training cases, or all; ? lists them (default tabular)")  # fmt: skip
    add("--contestants", nargs="+", default=list(CONTESTANTS), metavar="NAME",
        help=f"a library, or library-THREADS (default {' '.join(CONTESTANTS)})")  # fmt: skip
    add("--busy", type=int, nargs="+", default=[0, 1, 2, 3, 4], metavar="N",
        help="numbers of busy processes (default 0 1 2 3 4)")  # fmt: skip
    add("--processes", type=int, default=10, help="processes of each contestant (default 10)")
    add("--fits", type=int, default=5, help="timed fits of a process (default 5)")
    add("--seconds", type=float, default=2.0,
        help="start no further timed fit after this time (default 2)")  # fmt: skip
    add("--limit", type=float, default=20.0,
        help="stop a process in which a fit takes longer; shown as ≥ (default 20)")  # fmt: skip
    add("--threads", type=int, default=2, help="cores to run on (default 2)")
    add("--fork", action="store_true", help="fork the processes after the imports (POSIX)")
    add("--json", type=Path, metavar="FILE", help="write all results to this file")
    add("--fit", nargs=2, metavar=("CONTESTANT", "CASE"), help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
