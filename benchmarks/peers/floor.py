"""The floor: what a step cannot do without, done by NumPy's BLAS with outputs made beforehand.

A step counts, and nothing else:

- forward, X_l W_l for each layer;
- backward, X_lᵀ δ_l for each layer, and δ_l W_lᵀ for each but the first;
- once through memory as Adam goes: read θ, m, v and the gradient g, write θ, m and v, 7 times the
  size of θ. Two additions and a fill of NumPy's do that, on one thread.

Left out: picking the batch's rows (one batch, warm in the cache, serves all steps), biases,
activations, the loss, the order of rows. A sparse X is multiplied by SciPy, on one thread and with
outputs of its own. BLAS uses as many threads as it does by default. It is NumPy's floor: where a
network is tiny, what Python takes to call BLAS is more than the products, and a step of compiled
code can be under it.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from benchmarks.problem import Problem
from benchmarks.turns import Turn


def build(problem: Problem, threads: int) -> Turn:
    work = [*products(problem), adam_traffic(problem)]

    def turn(t: int) -> None:
        for _ in range(problem.steps):
            for do in work:
                do()

    return turn


def products(problem: Problem, backward: bool = True) -> list[Callable[[], object]]:
    """The matrix products of a step, each ready to run."""
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
    """Reads θ, m, v and g once, and writes θ, m and v once."""
    W, b = problem.start
    # Not zeros: pages that nobody has written to would all be one and the same in memory.
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
