"""The floor: the necessary work of a step, by NumPy's BLAS with preallocated outputs.

A step consists of:

- forward, X_l W_l for each layer;
- backward, X_lᵀ δ_l for each layer, and δ_l W_lᵀ for each but the first;
- the memory traffic of Adam: it reads θ, m, v and the gradient g and writes θ, m and v, 7 times the
  size of θ. Two additions and a fill in NumPy have the same traffic, on one thread.

Not included are the selection of the rows of a batch (all steps use one batch, which is in the
cache), biases, activations, the loss and the order of rows. SciPy multiplies a sparse X, on one
thread and with new outputs. BLAS uses its default number of threads. This is the floor for NumPy:
in a tiny network calls from Python take longer than the products, so compiled code can be faster.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from benchmarks.problem import Problem
from benchmarks.turns import Turn


def build(problem: Problem, threads: int | None) -> Turn:
    work = [*products(problem), adam_traffic(problem)]

    def turn(t: int) -> None:
        for _ in range(problem.steps):
            for do in work:
                do()

    return turn


def products(problem: Problem, backward: bool = True) -> list[Callable[[], object]]:
    """Return the matrix products of a step as functions."""
    N, sizes, (W, _) = problem.batch, problem.sizes, problem.start
    X = [problem.X[:N], *(_random(N, units) for units in sizes[1:])]
    work = [_product(X[l], W[l], _random(N, sizes[l + 1])) for l in range(len(W))]
    for l in reversed(range(len(W) if backward else 0)):
        delta = _random(N, sizes[l + 1])
        work.append(_product(X[l].T, delta, np.empty_like(W[l])))
        if l:
            work.append(_product(delta, W[l].T, _random(N, sizes[l])))
    return work


def adam_traffic(problem: Problem) -> Callable[[], None]:
    """Return a function that reads θ, m, v and g once and writes θ, m and v once."""
    W, b = problem.start
    # Not zeros, because unwritten pages would all be mapped to the same memory.
    theta, m, v, g = np.full((4, sum(p.size for p in (*W, *b))), 1e-3, np.float32)

    def go() -> None:
        np.add(v, g, out=v)
        np.add(theta, m, out=theta)
        m.fill(0)

    return go


def _product(A: np.ndarray, B: np.ndarray, out: np.ndarray) -> Callable[[], object]:
    if isinstance(A, np.ndarray):
        return lambda: np.matmul(A, B, out=out)
    A = A.tocsr()
    return lambda: A @ B


def _random(rows: int, columns: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((rows, columns), dtype=np.float32)
