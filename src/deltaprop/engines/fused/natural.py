"""K-FAC's preconditioning in place, its products shared by threads.

:class:`InPlace` computes the same as :class:`deltaprop.optim.natural_gradient.NaturalGradient`,
whose state it updates. A_l and G_l are symmetric: only their upper triangles are updated in each
step, straight from the rows of the batch, and `settle` completes them. The products with inverses
are divided into blocks of rows. Blocks are the same for any number of threads, and so are the bits.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from deltaprop.engines.fused import blas
from deltaprop.functions.arrays import inverse
from deltaprop.optim.natural_gradient import NaturalGradient, dampings, shrinkage
from deltaprop.optim.transforms import State, Step, Transformation

if TYPE_CHECKING:
    from jaxtyping import Float

    from deltaprop.functions.arrays import Array

ROWS = 100  # of a block of a product
WORK_FOR_TWO = 2_000_000  # multiplications of all products below which threads save no time

Task = Callable[[], None]


class InPlace(Transformation):
    """A NaturalGradient whose ``step.factors`` are rows: their Gram matrices are the factors."""

    needs_fisher = True

    def __init__(self, of: NaturalGradient, theta: Float[np.ndarray, " P"], n_threads: int) -> None:
        self._of, self._n_threads = of, n_threads
        self._out = np.empty_like(theta)
        self._pool: ThreadPoolExecutor | None = None

    def state_size(self, n_layers: int) -> int:
        return self._of.state_size(n_layers)

    def update(
        self, g: Float[np.ndarray, " P"], state: State, step: Step
    ) -> tuple[Float[np.ndarray, " P"], State]:
        of, t = self._of, step.t
        averages, inverses = state[: len(step.factors)], state[len(step.factors) :]
        if step.total != 1:
            g = g / step.total
        gain = (1 - of.decay) / (1 - of.decay**t)
        tasks: list[Task] = [
            partial(blas.add_gram, mean, rows, gain, 1 - gain)
            for mean, rows in zip(averages, step.factors, strict=True)
        ]
        if of.every == 1 or (t - 1) % of.every == 0:
            self._run(tasks)
            self._run(_inversions(averages, inverses, of.damping))
            tasks = []
        self._run([*tasks, *_products(g, inverses, self._out)])
        natural = self._out
        if of.kl_clip < math.inf:
            natural = natural * shrinkage(natural, g, step.learning_rate, of.kl_clip)
        return natural, state

    def _run(self, tasks: Iterable[Task]) -> None:
        tasks = list(tasks)
        if self._n_threads == 1 or self._out.size * 100 < WORK_FOR_TWO:
            for task in tasks:
                task()
            return
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self._n_threads - 1)
        left = iter(tasks)
        others = [self._pool.submit(_work, left) for _ in range(self._n_threads - 1)]
        _work(left)
        for other in others:
            other.result()


def settle(state: State, n_layers: int) -> None:
    """Complete the averages, of which `update` changes the upper triangles only."""
    for mean in state[len(state) - 4 * n_layers :][: 2 * n_layers]:
        blas.mirror(mean)


def _work(left: Iterable[Task]) -> None:
    """Run tasks until none is left. Taking the next one from a list's iterator is atomic."""
    for task in left:
        task()


def _inversions(
    averages: Sequence[Array], inverses: Sequence[Array], damping: float
) -> Iterable[Task]:
    added = dampings(averages, damping)
    largest_first = sorted(zip(averages, inverses, added, strict=True), key=lambda m: -len(m[0]))
    return [partial(_invert, *each) for each in largest_first]


def _invert(
    mean: Float[np.ndarray, "n n"], out: Float[np.ndarray, "n n"], damping: Float[np.ndarray, ""]
) -> None:
    np.copyto(out, mean)
    out.flat[:: len(out) + 1] += damping
    if blas.invert(out):
        blas.mirror(out)
    else:  # not numerically positive definite, or not finite
        np.copyto(out, mean)
        out.flat[:: len(out) + 1] += damping
        blas.mirror(out)
        np.copyto(out, inverse(out, np))


def _products(
    g: Float[np.ndarray, " P"], inverses: Sequence[Array], out: Float[np.ndarray, " P"]
) -> Iterable[Task]:
    """Tasks for A_l⁻¹ [∂W_l; ∂b_l] G_l⁻¹ of each layer, by blocks of rows."""
    tasks, start = [], 0
    for A, G in zip(inverses[::2], inverses[1::2], strict=True):
        end = start + len(A) * len(G)
        g_l, out_l = (part[start:end].reshape(len(A), len(G)) for part in (g, out))
        for low in range(0, len(A), ROWS):
            block = slice(low, low + ROWS)
            tasks.append(partial(_product, A[block], g_l, G, out_l[block]))
        start = end
    return tasks


def _product(
    A: Float[np.ndarray, "m D"],
    g: Float[np.ndarray, "D H"],
    G: Float[np.ndarray, "H H"],
    out: Float[np.ndarray, "m H"],
) -> None:
    np.matmul(A @ g, G, out=out)
