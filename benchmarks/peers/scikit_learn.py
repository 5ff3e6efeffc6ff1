"""scikit-learn: one warm-started ``MLPClassifier.fit`` per turn.

For two classes it supports one logistic output only, not two softmax outputs. It then starts from
the same function as the others, but its training and its loss differ.
"""

from __future__ import annotations

import math

import numpy as np
from sklearn.neural_network import MLPClassifier

from benchmarks.problem import RATE, Problem
from benchmarks.turns import Turn


def build(problem: Problem, threads: int) -> Turn:
    model = MLPClassifier(
        problem.sizes[1:-1], batch_size=problem.batch, learning_rate_init=RATE, alpha=0,
        max_iter=1, tol=0, n_iter_no_change=math.inf, warm_start=True,
    )  # fmt: skip
    # Weights can be set only after a first fit, for which one row of each class is enough.
    _, one_of_each = np.unique(problem.y, return_index=True)
    model.fit(problem.X[one_of_each], problem.y[one_of_each])
    W, b = ([p.copy() for p in parameters] for parameters in problem.start)
    if problem.sizes[-1] == 2:
        W[-1], b[-1] = W[-1][:, 1:] - W[-1][:, :1], b[-1][1:] - b[-1][:1]
    model.coefs_, model.intercepts_ = W, b

    def turn(t: int) -> float:
        model.set_params(max_iter=problem.passes, random_state=t)
        rows = problem.slice(t)
        return float(model.fit(problem.X[rows], problem.y[rows]).loss_)

    return turn
