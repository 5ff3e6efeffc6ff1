"""The training cases and their data: rows, order and initial weights of all contestants."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import scipy.sparse

RATE = 1e-3
ONES = 20  # ones in each row of a sparse X


@dataclass(frozen=True)
class Problem:
    """A network to train: ReLU, then softmax or, with one output, the logistic function.

    A turn is `passes` epochs over `rows` rows, which take scikit-learn 0.3 to 1 s. If the data has
    more rows (`all_rows`), each turn takes another slice of them. With `bfloat16`, deltaprop is
    also timed with that precision.
    """

    name: str
    sizes: tuple[int, ...]
    batch: int
    rows: int
    passes: int
    all_rows: int = 0
    sparse: bool = False
    bfloat16: bool = False

    @property
    def steps(self) -> int:
        """The number of steps in a turn."""
        return self.rows // self.batch * self.passes

    @property
    def title(self) -> str:
        chain = " → ".join(map(str, self.sizes))
        kind = ", sparse input" if self.sparse else ""
        return f"{self.name}: {chain}, batch {self.batch}{kind}"

    @cached_property
    def X(self) -> Any:
        """Normal numbers; if sparse, a CSR matrix with `ONES` ones per row, like one-hot words."""
        rng, N, D = np.random.RandomState(0), max(self.rows, self.all_rows), self.sizes[0]
        if not self.sparse:
            return np.random.default_rng(0).standard_normal((N, D), dtype=np.float32)
        # One column out of each of `ONES` equal groups, so that no column occurs twice in a row.
        columns = np.arange(ONES) * (D // ONES) + rng.randint(D // ONES, size=(N, ONES))
        ones = np.ones(N * ONES, np.float32)
        starts = np.arange(N + 1) * ONES
        return scipy.sparse.csr_matrix((ones, columns.ravel(), starts), shape=(N, D))

    @cached_property
    def columns(self) -> np.ndarray:
        """The columns of the ones of a sparse X, for libraries that look up rows of W."""
        columns: np.ndarray = self.X.indices.reshape(-1, ONES).astype(np.int64)
        return columns

    @cached_property
    def y(self) -> np.ndarray:
        """Class indices from a linear rule, which can be learned."""
        K = self.sizes[-1]
        scores = self.X @ np.random.RandomState(1).randn(self.sizes[0], K).astype(np.float32)
        labels: np.ndarray = scores.argmax(axis=1) if K > 1 else (scores[:, 0] > 0).astype(np.int64)
        return labels

    @cached_property
    def start(self) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """The initial W and b of each layer, uniform as scikit-learn draws them for ReLU."""
        rng = np.random.RandomState(2)
        shapes = list(zip(self.sizes, self.sizes[1:], strict=False))
        W = [rng.uniform(-1, 1, s).astype(np.float32) * np.sqrt(6 / sum(s)) for s in shapes]
        return [w.astype(np.float32) for w in W], [np.zeros(H, np.float32) for _, H in shapes]

    def slice(self, turn: int) -> slice:
        """Return the rows of a turn."""
        low = turn * self.rows % (max(self.all_rows, self.rows) - self.rows + 1)
        return slice(low, low + self.rows)

    def orders(self, turn: int) -> Iterator[np.ndarray]:
        """Yield the row order of each epoch, which deltaprop and scikit-learn draw by seed=turn."""
        rng, order = np.random.RandomState(turn), np.arange(self.rows)
        for _ in range(self.passes):
            permutation = np.arange(self.rows)
            rng.shuffle(permutation)
            order = order[permutation]
            yield order + self.slice(turn).start


PROBLEMS = (
    Problem("tiny", (4, 10, 3), batch=32, rows=6400, passes=60),
    Problem("small", (64, 100, 10), batch=200, rows=20_000, passes=10),
    Problem("medium", (784, 256, 128, 10), batch=128, rows=6400, passes=4),
    Problem("large", (100, 512, 512, 2), batch=1024, rows=10_240, passes=3, bfloat16=True),
    Problem("deep", (64, *8 * (256,), 10), batch=256, rows=5120, passes=3),
    Problem(
        "million",
        (28, 512, 512, 1),
        batch=4096,
        rows=65_536,
        passes=1,
        all_rows=1_000_000,
        bfloat16=True,
    ),
    Problem("sparse", (10_000, 128, 2), batch=256, rows=5120, passes=5, sparse=True),
)
