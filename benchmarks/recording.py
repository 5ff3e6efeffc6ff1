"""``python -m benchmarks.recording``: the costs of ``record=100`` and of reading summaries.

Training runs with and without records take turns on the same rows and initial weights; the medians
are compared. A run only copies θ at each recorded step. A summary is computed when it is first
read: the last columns show the time of one summary, and of all as a fraction of the run.
"""

from __future__ import annotations

import argparse
import math
import statistics
import time

from benchmarks import machine

NAMES = ("tiny", "small", "medium", "large")
EVERY = 100
WIDTHS = (8, 9, 9, 10, 8, 12, 10)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.recording", description=__doc__)
    parser.add_argument("--turns", type=int, default=7, help="timed turns (default 7)")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=1.0, help="approximate seconds of a turn")
    options = parser.parse_args()
    machine.pin(options.threads)  # before any library is imported
    head = ("", "steps", "µs/step", "recorded", "cost", "µs/summary", "all read")
    print("".join(word.rjust(width) for word, width in zip(head, WIDTHS, strict=True)))
    for name in NAMES:
        compare(name, max(5, options.turns), options.threads, options.seconds)


def compare(name: str, turns: int, threads: int, seconds: float) -> None:
    """Print the row of one network."""
    from benchmarks.peers.ours import network
    from benchmarks.problem import PROBLEMS

    problem = next(p for p in PROBLEMS if p.name == name)
    net = network(problem)
    start = net.theta.copy()
    import deltaprop as dp

    def train(record: int | None, passes: int) -> tuple[float, dp.search.History]:
        net.theta[...] = start
        began = time.perf_counter()
        history = dp.fit(
            net, problem.X, problem.y, solver=dp.Adam(1e-3), batch_size=problem.batch,
            max_epochs=passes, tol=0, patience=math.inf, engine="fused", n_threads=threads,
            record=record,
        )  # fmt: skip
        return time.perf_counter() - began, history

    train(None, 1)
    epoch_seconds = train(None, 2)[0] / 2
    epoch_steps = problem.rows // problem.batch
    passes = max(math.ceil(3 * EVERY / epoch_steps), math.ceil(seconds / epoch_seconds))
    steps = passes * epoch_steps
    plain, recorded, costs = [], [], []
    for turn in range(turns):
        for record in ((None, EVERY), (EVERY, None))[turn % 2]:
            took, history = train(record, passes)
            (plain if record is None else recorded).append(took)
            if record is not None and len(history.records) > 1:
                began = time.perf_counter()
                for step in history.records[1:20]:
                    _ = step.summary
                costs.append((time.perf_counter() - began) / len(history.records[1:20]))
    without, with_ = statistics.median(plain), statistics.median(recorded)
    summary = statistics.median(costs)
    print(
        f"{name:>8}{steps:>9,}{1e6 * without / steps:>9.2f}{1e6 * with_ / steps:>10.2f}"
        f"{with_ / without - 1:>+8.1%}{1e6 * summary:>12.0f}"
        f"{summary * steps / EVERY / without:>+10.1%}"
    )


if __name__ == "__main__":
    main()
