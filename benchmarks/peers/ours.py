"""deltaprop: one ``dp.fit`` per turn on the same network, including the setup of the call."""

from __future__ import annotations

import math
from typing import Any

import deltaprop as dp
from benchmarks.problem import RATE, Problem
from benchmarks.turns import Turn

OUTPUTS = {
    "cross_entropy": "softmax", "binary_cross_entropy": "sigmoid", "squared_error": "identity",
}  # fmt: skip


def build(problem: Problem, threads: int | None, **settings: Any) -> Turn:
    net = network(problem)

    def turn(t: int) -> float:
        rows = problem.slice(t)
        history = dp.fit(
            net, problem.X[rows], problem.y[rows],
            solver=dp.Adam(RATE), batch_size=problem.batch, max_epochs=problem.passes,
            shuffle=problem.shuffled, tol=0, patience=math.inf, seed=t, engine="fused",
            n_threads=threads, **settings,
        )  # fmt: skip
        if history.stop_reason == "interrupted":  # dp.fit returns after Ctrl-C
            raise KeyboardInterrupt
        return history.loss_curve[-1]

    return turn


def network(problem: Problem) -> dp.Network:
    """Return the network of the problem with its initial weights."""
    hidden = [dp.Dense(units, problem.activation) for units in problem.sizes[1:-1]]
    output = dp.Dense(problem.sizes[-1], OUTPUTS[problem.loss])
    net = dp.Network(
        problem.sizes[0], [*hidden, output],
        loss=problem.loss, reduction="mean", dtype="float32", seed=0,
    )  # fmt: skip
    for l, (W, b) in enumerate(zip(*problem.start, strict=True)):
        net.W[l][...], net.b[l][...] = W, b
    return net
