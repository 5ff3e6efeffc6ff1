"""The training cases and their data: rows, order and initial weights of all contestants."""

from __future__ import annotations

import math
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
    more rows (`all_rows`), each turn takes another slice of them. The rows are shuffled in each
    epoch, unless all of them are one batch. With `bfloat16`, deltaprop is also timed with that
    precision.
    """

    name: str
    sizes: tuple[int, ...]
    batch: int
    rows: int
    passes: int
    all_rows: int = 0
    sparse: bool = False
    activation: str = "relu"
    bfloat16: bool = False

    @property
    def steps(self) -> int:
        """The number of steps in a turn."""
        return math.ceil(self.rows / self.batch) * self.passes

    @property
    def unit(self) -> str:
        """The unit in which the time of a turn is reported, which is `scale` times its seconds."""
        return "µs per step"

    @property
    def scale(self) -> float:
        return 1e6 / self.steps

    @property
    def title(self) -> str:
        kind = ", sparse input" if self.sparse else ""
        return f"{self.name}: {self.chain}, batch {self.batch}{kind}"

    @property
    def chain(self) -> str:
        return " → ".join(map(str, self.sizes))

    @property
    def loss(self) -> str:
        """The name of the loss, as deltaprop writes it."""
        return "cross_entropy" if self.sizes[-1] > 1 else "binary_cross_entropy"

    @property
    def shuffled(self) -> bool:
        return self.batch < self.rows

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


@dataclass(frozen=True)
class MatrixExponential(Problem):
    """The first network of the announcement of SimpleChains.jl, of which a turn is a part.

    It learns the exponential of 2 × 2 matrices of normal numbers: tanh, identity, squared error,
    Adam with rate 0.001, and 10,000 epochs with all rows in one batch. A step takes as long early
    as late, so a turn of `passes` epochs is enough to know the time of 10,000.
    https://julialang.org/blog/2022/04/simple-chains/ and
    https://github.com/chriselrod/MatrixExponentialTorch (its PyTorch program)
    """

    EPOCHS = 10_000

    @property
    def unit(self) -> str:
        return f"s per {self.EPOCHS:,} epochs"

    @property
    def scale(self) -> float:
        return self.EPOCHS / self.passes

    @property
    def title(self) -> str:
        return f"{self.name}: {self.chain}, {self.activation}, all {self.rows:,} rows in a batch"

    @property
    def loss(self) -> str:
        return "squared_error"

    @cached_property
    def y(self) -> np.ndarray:
        """The entries of the exponential of each row of X, read as a matrix."""
        from scipy.linalg import expm

        exponentials: np.ndarray = expm(self.X.reshape(-1, 2, 2)).reshape(-1, 4)
        return exponentials.astype(np.float32)


PROBLEMS = (
    Problem("tiny", (4, 10, 3), batch=32, rows=6400, passes=60),
    Problem("tabular", (20, 128, 64, 2), batch=189, rows=3783, passes=30),
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
    MatrixExponential(
        "simplechains", (4, 32, 16, 4), batch=10_000, rows=10_000, passes=100, activation="tanh"
    ),
)
