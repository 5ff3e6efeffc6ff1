"""A model of the time of a data-parallel training step, fitted to measured points.

N workers process b = B / N rows each of a global batch of B rows. The network has P parameters, and
each row uses each parameter three times (forward, ∂W, δ Wᵀ), about 6 P flops. A step takes

    seconds = fixed + flop · 6 P b + parameter · P + latency · 2 ⌈log₂ N⌉ + byte · 2 (N-1)/N · 4 P

and waits for the slowest of N workers. `flop`, `parameter` and `fixed` are costs of one worker;
`latency` and `byte` are costs of the network, for an all-reduce by recursive halving and doubling
(Thakur, Rabenseifner and Gropp, 2005).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import Any

import numpy as np
from scipy.optimize import nnls

NAMES = ("fixed", "flop", "parameter", "latency", "byte")


@dataclass(frozen=True)
class Point:
    """A measured step: its seconds, and the standard deviation of their logarithm."""

    network: str
    parameters: int
    workers: int
    batch: int
    seconds: float
    spread: float = 0.0


@dataclass(frozen=True)
class Costs:
    """Seconds of each kind of work (see the module), and the spread of the steps of a worker."""

    fixed: float
    flop: float
    parameter: float
    latency: float
    byte: float
    spread: float = 0.0

    def step(self, parameters: int, workers: int, batch: int) -> float:
        """Return the seconds of a step on a global batch."""
        work = _work(parameters, workers, batch)
        alone = sum(getattr(self, name) * work[name] for name in ("fixed", "flop", "parameter"))
        together = sum(getattr(self, name) * work[name] for name in ("latency", "byte"))
        return alone * self.slowest(workers) + together

    def slowest(self, workers: int) -> float:
        """Return the expected time of the slowest worker over that of the median worker."""
        if workers == 1:
            return 1.0
        return math.exp(self.spread * NormalDist().inv_cdf(1 - 0.5 / workers))

    def rows_a_second(self, parameters: int, workers: int, batch: int) -> float:
        return batch / self.step(parameters, workers, batch)

    def rows_that_pay(self, parameters: int, workers: int) -> float:
        """Return the rows per worker at which computation takes as long as communication."""
        work = _work(parameters, workers, workers)
        return (self.latency * work["latency"] + self.byte * work["byte"]) / (
            self.flop * 6 * parameters
        )

    def on(self, latency: float, bandwidth: float, speed: float) -> Costs:
        """Return the costs for another network (s, bytes/s) and `speed` times faster workers."""
        return replace(
            self, latency=latency, byte=1 / bandwidth, flop=self.flop / speed,
            parameter=self.parameter / speed,
        )  # fmt: skip


def fit(points: list[Point]) -> Costs:
    """Return the non-negative costs with the least squared relative errors at the points."""
    rows = np.array([[_work(p.parameters, p.workers, p.batch)[n] for n in NAMES] for p in points])
    seconds = np.array([p.seconds for p in points])
    found, _ = nnls(rows / seconds[:, None], np.ones(len(points)))
    return Costs(*map(float, found), spread=float(np.median([p.spread for p in points])))


def errors(costs: Costs, points: list[Point]) -> list[float]:
    """Return the relative error of the prediction at each point."""
    plain = replace(
        costs, spread=0.0
    )  # measured steps already include the wait for the slowest worker
    return [plain.step(p.parameters, p.workers, p.batch) / p.seconds - 1 for p in points]


def _work(parameters: int, workers: int, batch: int) -> dict[str, Any]:
    return {
        "fixed": 1.0,
        "flop": 6.0 * parameters * batch / workers,
        "parameter": float(parameters),
        "latency": 2.0 * math.ceil(math.log2(workers)),
        "byte": 2.0 * (workers - 1) / workers * 4 * parameters,
    }
