"""``python -m benchmarks.recording``: what ``record=100`` costs a search, and a summary its reader.

A search with and one without take turns on the same rows and first weights; the medians are
compared. The search keeps a copy of θ at each recorded step. Its summary is computed when it is
first read, which the last columns tell: by itself, and if all are read in parts of the search.
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
    parser.add_argument("--seconds", type=float, default=1.0, help="of a turn, about")
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

    def search(record: int | None, passes: int) -> tuple[float, dp.search.History]:
        net.theta[...] = start
        began = time.perf_counter()
        history = dp.fit(
            net, problem.X, problem.y, solver=dp.Adam(1e-3), batch_size=problem.batch,
            max_epochs=passes, tol=0, patience=math.inf, engine="fused", n_threads=threads,
            record=record,
        )  # fmt: skip
        return time.perf_counter() - began, history

    search(None, 1)
    once = search(None, 2)[0] / 2
    an_epoch = problem.rows // problem.batch
    passes = max(math.ceil(3 * EVERY / an_epoch), math.ceil(seconds / once))
    steps = passes * an_epoch
    plain, recorded, costs = [], [], []
    for turn in range(turns):
        for record in ((None, EVERY), (EVERY, None))[turn % 2]:
            took, history = search(record, passes)
            (plain if record is None else recorded).append(took)
            if record is not None and len(history.records) > 1:
                began = time.perf_counter()
                for each in history.records[1:20]:
                    _ = each.summary
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
