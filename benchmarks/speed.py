"""Microseconds a step of our engines beside scikit-learn's, as ratios of one run.

Run ``python benchmarks/speed.py``. Float32, Adam, the same data, batch size and initial scheme; the
contestants take turns, epoch by epoch, and the median of each is compared. The first epoch, which
compiles, is left out. Machines are noisy: read the ratios, not the microseconds.
"""

from __future__ import annotations

import statistics
import time
import warnings
from collections.abc import Callable

import numpy as np
from sklearn.neural_network import MLPClassifier

import deltaprop as dp

ROUNDS = 7
NETWORKS = [  # sizes, batch, rows
    ([4, 10, 3], 32, 6400),
    ([64, 100, 10], 200, 20_000),
    ([784, 256, 128, 10], 128, 6400),
    ([100, 512, 512, 2], 1024, 10_240),
]


def contestants(
    sizes: list[int], batch: int, X: np.ndarray, y: np.ndarray
) -> dict[str, Callable[[], object]]:
    """What runs one more epoch of each."""
    runs: dict[str, Callable[[], object]] = {}
    for engine in ("fused", "reference"):
        hidden = [dp.Dense(units, "relu") for units in sizes[1:-1]]
        net = dp.Network(
            sizes[0], [*hidden, dp.Dense(sizes[-1], "softmax")],
            loss="cross_entropy", l2=1e-4, reduction="mean", dtype="float32", seed=0,
        )  # fmt: skip
        runs[engine] = lambda net=net, engine=engine: dp.fit(  # type: ignore[misc]
            net, X, y, engine=engine, batch_size=batch, max_epochs=1
        )
    theirs = MLPClassifier(sizes[1:-1], batch_size=batch, max_iter=1, warm_start=True)
    runs["scikit-learn"] = lambda: theirs.fit(X, y)
    return runs


def main() -> None:
    warnings.simplefilter("ignore")
    rng = np.random.RandomState(0)
    print("| network | batch | fused, µs a step | reference / fused | scikit-learn / fused |")
    print("|---|---|---|---|---|")
    for sizes, batch, rows in NETWORKS:
        X = rng.randn(rows, sizes[0]).astype(np.float32)
        y = rng.randint(sizes[-1], size=rows)
        runs = contestants(sizes, batch, X, y)
        times: dict[str, list[float]] = {name: [] for name in runs}
        for _ in range(ROUNDS + 1):
            for name, run in runs.items():
                time.sleep(0.2)  # BLAS threads of the one before spin for a while
                started = time.perf_counter()
                run()
                times[name].append((time.perf_counter() - started) / (rows / batch) * 1e6)
        median = {name: statistics.median(values[1:]) for name, values in times.items()}
        ratios = " | ".join(f"{median[n] / median['fused']:.2f}" for n in list(runs)[1:])
        name = " → ".join(map(str, sizes))
        print(f"| {name} | {batch} | {median['fused']:,.1f} | {ratios} |", flush=True)


if __name__ == "__main__":
    main()
