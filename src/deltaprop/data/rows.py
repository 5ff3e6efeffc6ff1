"""Rows to train on: X, y and sample weights.

:class:`Rows` are arrays in memory, :class:`deltaprop.data.streamed_rows.StreamedRows` the rows of a
stream. Both implement :class:`TrainingRows`, the interface that the training loop uses.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol, Self, cast

import numpy as np

from deltaprop.errors import InputError
from deltaprop.functions.arrays import Array
from deltaprop.model.inputs import Expects, check_weights, check_X_y
from deltaprop.optim.state import TrainingState

if TYPE_CHECKING:
    from jaxtyping import Float, Int, Num

PROBE_ROWS = 256  # a unit that is active on 1 % of all rows is active on one of these (p = 0.92)


class TrainingRows(Protocol):
    """The rows of an epoch, in memory or in a stream."""

    def __len__(self) -> int: ...

    @property
    def n_features(self) -> int: ...

    @property
    def dtype(self) -> np.dtype:
        """The dtype of X."""

    @property
    def total_weight(self) -> float:
        """The sum of the sample weights; the number of rows if they have none."""

    def split(
        self, network: Expects, fraction: float, rng: np.random.RandomState
    ) -> tuple[Self, Rows]:
        """The rows to train on, and held-out rows in memory."""

    def next_order(self, state: TrainingState, rng: np.random.RandomState) -> Array:
        """Draw the row order of the next epoch, and store in `state` what reproduces it."""

    def present_order(self, state: TrainingState) -> Array | None:
        """The row order of the epoch in progress; None if rows are not shuffled."""

    def require_in_memory(self, what: str) -> None:
        """Raise ValueError if the rows are not in memory; `what` begins the message."""

    def require_distinct(self, why: str) -> None:
        """Raise ValueError if an epoch contains a row more than once; `why` ends the message."""

    def fingerprint(self) -> dict[str, Any]:
        """What a checkpoint compares to verify that training continues on the same rows."""


class RowSource:
    """Base of :class:`deltaprop.tables.Stream`: passed as X, it provides y and weights as well."""


@dataclass(frozen=True, eq=False)
class Rows:
    """Checked rows in memory.

    Parameters
    ----------
    X : ndarray or CSR matrix (N, D)
        In the dtype of the network, or in a narrower one that engines convert batch by batch.
    y : ndarray (N,) or (N, K)
        Checked, but not yet encoded by the loss.
    w : ndarray (N,) or None
        Sample weights.
    index : ndarray of int (M,) or None
        Indices of the rows that are used, in this order; they may repeat. None uses all rows.
    labels : ndarray or None
        The target before encoding, for scorers.
    """

    X: Num[Array, "N D"]
    y: Num[np.ndarray, "N ..."]
    w: Float[np.ndarray, " N"] | None = None
    index: Int[np.ndarray, " M"] | None = None
    labels: np.ndarray | None = None

    @classmethod
    def checked(
        cls, network: Expects, X: Any, y: Any, sample_weight: Any = None, index: Any = None
    ) -> Self:
        """Rows from the arguments of the user, checked against what the network expects."""
        X, y = check_X_y(network, X, y)
        w = check_weights(sample_weight, X)
        return cls(X, y, w, None if index is None else _checked_index(index, X.shape[0]))

    def __len__(self) -> int:
        return int(self.X.shape[0]) if self.index is None else len(self.index)

    @property
    def n_features(self) -> int:
        return int(self.X.shape[1])

    @property
    def dtype(self) -> np.dtype:
        return cast(np.dtype, self.X.dtype)

    @property
    def total_weight(self) -> float:
        return float(len(self)) if self.w is None else float(self.w[self.numbers()].sum())

    @property
    def used(self) -> Rows:
        """The same rows with the index applied."""
        return self if self.index is None else self.take(np.arange(len(self)))

    def numbers(self, places: Int[np.ndarray, " M"] | None = None) -> Int[np.ndarray, " M"]:
        """The row numbers of X at these positions of the index; of all positions by default."""
        if places is None:
            return np.arange(len(self)) if self.index is None else self.index
        return places if self.index is None else self.index[places]

    def take(self, places: Int[np.ndarray, " M"]) -> Rows:
        """A copy of the rows at these positions, after the index is applied."""
        rows = self.numbers(places)
        w = None if self.w is None else self.w[rows]
        labels = None if self.labels is None else self.labels[rows]
        return Rows(self.X[rows], self.y[rows], w, None, labels)

    def batch(self, rows: Any) -> tuple[Array, np.ndarray, Float[np.ndarray, " B"] | None]:
        """X, y and weights of a slice or of row numbers, without applying the index."""
        return self.X[rows], self.y[rows], None if self.w is None else self.w[rows]

    def split(
        self,
        network: Expects,
        fraction: float,
        rng: np.random.RandomState,
        stratify: np.ndarray | None = None,
    ) -> tuple[Rows, Rows]:
        """Rows to train on, which are not copied, and a copy of a random fraction held out."""
        from sklearn.model_selection import train_test_split

        places = self.numbers()
        try:
            kept, held = train_test_split(
                places, test_size=float(fraction), random_state=rng, stratify=stratify
            )
        except ValueError as error:
            raise InputError(
                f"Cannot hold out a fraction of {fraction:g} of {len(self)} rows for validation: "
                f"{error} Use a larger validation fraction, or more rows."
            ) from error
        return replace(self, index=kept), replace(self, index=None).take(held)

    def probe(self, most: int = PROBE_ROWS) -> Int[np.ndarray, " M"]:
        """The indices of at most `most` evenly spaced rows."""
        N = len(self)
        places = np.linspace(0, N - 1, min(N, most)).round().astype(np.int64)
        return places if self.index is None else self.index[places]

    def next_order(self, state: TrainingState, rng: np.random.RandomState) -> Int[np.ndarray, " N"]:
        if state.order is None or len(state.order) != len(self):
            state.order = np.arange(len(self))
        # As in scikit-learn, a new permutation shuffles the order of the previous epoch.
        permutation = np.arange(len(self))
        rng.shuffle(permutation)
        state.order = state.order[permutation]
        return state.order

    def present_order(self, state: TrainingState) -> Int[np.ndarray, " N"] | None:
        return state.order

    def require_in_memory(self, what: str) -> None:
        """Rows of this class are in memory."""

    def require_distinct(self, why: str) -> None:
        if self.index is None:
            return
        repeated = len(self.index) - len(np.unique(self.index))
        if repeated:
            raise InputError(f"rows names {repeated} row(s) more than once, {why}")

    def fingerprint(self) -> dict[str, Any]:
        parts = self.batch(self.probe())
        return {
            "number of rows": len(self),
            "data": [sketch(part) for part in parts if part is not None],
            "weighted": self.w is not None,
            "memory": str(None),
        }


def sketch(values: Any) -> float:
    """A checksum of the values that does not reveal any single value."""
    stored = np.asarray(values.data if hasattr(values, "tocsr") else values)
    sizes = np.nan_to_num(np.abs(stored.astype(np.float64))).ravel()  # a target may be missing
    weights = 1 + np.cos(np.arange(len(sizes)))
    # Not a dot product, which would start the threads of the BLAS library.
    return float(np.sum(sizes * weights)) / max(1, len(sizes))


def _checked_index(index: Any, N: int) -> Int[np.ndarray, " M"]:
    index = np.asarray(index)
    if index.ndim != 1 or index.dtype.kind not in "iu" or len(index) == 0:
        raise InputError(
            f"rows must be a sequence of int with at least one entry, got dtype {index.dtype} and "
            f"shape {index.shape}."
        )
    if index.min() < 0 or index.max() >= N:
        raise InputError(
            f"rows must lie in 0 to {N - 1}, as X has {N} row(s); they range from {index.min()} to "
            f"{index.max()}."
        )
    return np.ascontiguousarray(index, np.int64)
