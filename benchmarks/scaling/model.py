"""What a step of data-parallel training costs, fitted to measured points.

A global batch of B rows is shared by N workers, b = B / N each; the network has P parameters, and a
row meets each of them three times (forward, ∂W, δ Wᵀ): 6 P flops, about. A step takes

    seconds = fixed + flop · 6 P b + parameter · P + latency · 2 ⌈log₂ N⌉ + byte · 2 (N-1)/N · 4 P

and waits for the slowest of N workers. `flop`, `parameter` and `fixed` are one worker's; `latency`
and `byte` the network's, of an all-reduce that halves and doubles (Thakur, Rabenseifner and Gropp,
2005).
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
    """A measured step: seconds, and the spread of its logarithm from step to step."""

    network: str
    parameters: int
    workers: int
    batch: int
    seconds: float
    spread: float = 0.0


@dataclass(frozen=True)
class Costs:
    """Seconds of each kind of work (see the module), and the spread of a worker's steps."""

    fixed: float
    flop: float
    parameter: float
    latency: float
    byte: float
    spread: float = 0.0

    def step(self, parameters: int, workers: int, batch: int) -> float:
        """Seconds of a step on that global batch."""
        work = _work(parameters, workers, batch)
        alone = sum(getattr(self, name) * work[name] for name in ("fixed", "flop", "parameter"))
        together = sum(getattr(self, name) * work[name] for name in ("latency", "byte"))
        return alone * self.slowest(workers) + together

    def slowest(self, workers: int) -> float:
        """How much longer the slowest of that many takes than the middle one, on average."""
        if workers == 1:
            return 1.0
        return math.exp(self.spread * NormalDist().inv_cdf(1 - 0.5 / workers))

    def rows_a_second(self, parameters: int, workers: int, batch: int) -> float:
        return batch / self.step(parameters, workers, batch)

    def rows_that_pay(self, parameters: int, workers: int) -> float:
        """Rows of a worker at which it computes as long as it talks: below, more workers lose."""
        work = _work(parameters, workers, workers)
        return (self.latency * work["latency"] + self.byte * work["byte"]) / (
            self.flop * 6 * parameters
        )

    def on(self, latency: float, bandwidth: float, speed: float) -> Costs:
        """The same program on another network (seconds, bytes/s), with workers `speed` as fast."""
        return replace(
            self, latency=latency, byte=1 / bandwidth, flop=self.flop / speed,
            parameter=self.parameter / speed,
        )  # fmt: skip


def fit(points: list[Point]) -> Costs:
    """The costs, none below 0, that miss the points by the least relative error."""
    rows = np.array([[_work(p.parameters, p.workers, p.batch)[n] for n in NAMES] for p in points])
    seconds = np.array([p.seconds for p in points])
    found, _ = nnls(rows / seconds[:, None], np.ones(len(points)))
    return Costs(*map(float, found), spread=float(np.median([p.spread for p in points])))


def errors(costs: Costs, points: list[Point]) -> list[float]:
    """By how much each point is missed, relative to what was measured."""
    plain = replace(costs, spread=0.0)  # the measured step has waited for its slowest already
    return [plain.step(p.parameters, p.workers, p.batch) / p.seconds - 1 for p in points]


def _work(parameters: int, workers: int, batch: int) -> dict[str, Any]:
    return {
        "fixed": 1.0,
        "flop": 6.0 * parameters * batch / workers,
        "parameter": float(parameters),
        "latency": 2.0 * math.ceil(math.log2(workers)),
        "byte": 2.0 * (workers - 1) / workers * 4 * parameters,
    }
