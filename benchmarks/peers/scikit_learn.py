"""scikit-learn: one warm-started ``MLPClassifier.fit`` or ``MLPRegressor.fit`` per turn.

For two classes it supports one logistic output only, not two softmax outputs. It then starts from
the same function as the others, but its training and its loss differ.
"""

from __future__ import annotations

import math

import numpy as np
from sklearn.neural_network import MLPClassifier, MLPRegressor

from benchmarks.problem import RATE, Problem
from benchmarks.turns import Turn


def build(problem: Problem, threads: int | None) -> Turn:
    """Return the turn. Environment variables limit the threads: see `peers.limits`."""
    regression = problem.loss == "squared_error"
    model = (MLPRegressor if regression else MLPClassifier)(
        hidden_layer_sizes=problem.sizes[1:-1], activation=problem.activation,
        batch_size=problem.batch, shuffle=problem.shuffled, learning_rate_init=RATE, alpha=0,
        max_iter=1, tol=0, n_iter_no_change=math.inf, warm_start=True,
    )  # fmt: skip
    # Weights can be set only after a first fit, for which one row of each class is enough.
    few = [0] if regression else np.unique(problem.y, return_index=True)[1]
    model.fit(problem.X[few], problem.y[few])
    W, b = ([p.copy() for p in parameters] for parameters in problem.start)
    if not regression and problem.sizes[-1] == 2:
        W[-1], b[-1] = W[-1][:, 1:] - W[-1][:, :1], b[-1][1:] - b[-1][:1]
    model.coefs_, model.intercepts_ = W, b
    # Its squared error is a mean over the outputs, that of the others a sum.
    times = problem.sizes[-1] if regression else 1

    def turn(t: int) -> float:
        model.set_params(max_iter=problem.passes, random_state=t)
        rows, before = problem.slice(t), len(model.loss_curve_)
        model.fit(problem.X[rows], problem.y[rows])
        if len(model.loss_curve_) < before + problem.passes:  # fit returns after Ctrl-C
            raise KeyboardInterrupt
        return times * float(model.loss_)

    return turn
