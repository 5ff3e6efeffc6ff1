"""``Stream``: the rows of a table that is larger than memory.

A stream describes rows and how to encode them. Rows are read only during iteration, a few batches
at a time. ``engines/streamed.py`` trains on it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from deltaprop.data.reading import TableError
from deltaprop.data.rows import RowSource
from deltaprop.data.streams import columns as arrow
from deltaprop.data.streams.fragments import Piece, batches_of
from deltaprop.data.streams.holdout import Holdout
from deltaprop.data.streams.summaries import (
    NewCategories,
    distinct_values,
    mean_and_deviation,
    sampled,
)
from deltaprop.data.task import require_columns, require_known_columns

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int, Shaped

EncodeX = Callable[[Any], "Float[np.ndarray, 'N D']"]
EncodeY = Callable[[Any], "Shaped[np.ndarray, 'N ...']"]


@dataclass(frozen=True, eq=False)
class Stream(RowSource):
    """The rows of a table that is larger than memory, with the column to predict.

    Create one with :func:`deltaprop.tables.stream` and pass it to ``dp.fit``, or to ``fit`` and
    ``partial_fit`` of an estimator, in place of X and y.

    Attributes
    ----------
    features : tuple of str
        The columns that are features, in their order.
    target, weight : str or None
        The columns of the target and of the sample weights.
    memory : int
        Upper bound in bytes for the rows that are in memory at a time.
    shape : (int, int)
        Number of rows and of features.
    """

    pieces: tuple[Piece, ...]
    schema: Any
    features: tuple[str, ...]
    target: str | None
    weight: str | None
    memory: int
    holdout: Holdout | None = None
    target_known: bool = False  # leave out rows whose target is missing
    encode_X: EncodeX | None = None
    encode_y: EncodeY | None = None
    width: int | None = None  # columns of encode_X's output

    dtype = np.dtype(np.float32)

    @property
    def shape(self) -> tuple[int, int]:
        n_features = len(self.features) if self.width is None else self.width
        return sum(piece.kept for piece in self.pieces), n_features

    def __len__(self) -> int:
        return self.shape[0]

    def __repr__(self) -> str:
        N, D = self.shape
        return f"Stream({N} rows, {D} features, target={self.target!r})"

    # ------------------------------------------------------------ reading

    def frames(
        self, pieces: Sequence[Piece] | None = None, skip: int = 0, columns: Sequence[str] = ()
    ) -> Iterator[Any]:
        """The rows of these pieces (default: all) after the first `skip`, as Arrow batches."""
        columns = list(columns) or self._columns
        for piece in self.pieces if pieces is None else pieces:
            if skip >= piece.kept:
                skip -= piece.kept
                continue
            for batch in self._kept_batches(piece, columns):
                dropped = min(skip, batch.num_rows)
                skip -= dropped
                if batch.num_rows > dropped:
                    yield batch.slice(dropped)

    def rows(
        self, pieces: Sequence[Piece] | None = None, skip: int = 0
    ) -> Iterator[tuple[Any, Any, Any]]:
        """The rows in batches (X, y, w), checked; X is a list of columns if no encoder is set."""
        for batch in self.frames(pieces, skip):
            y, w = self._target_of(batch), self._weights_of(batch)
            if self.encode_X is not None:
                yield self.encode_X(arrow.frame(batch, self.features)), y, w
            else:
                yield [arrow.numbers(batch, name) for name in self.features], y, w

    def as_frames(self, n: int) -> Iterator[Any]:
        """All rows as DataFrames of n rows; the last one may have fewer."""
        import pandas as pd

        waiting: list[Any] = []
        for batch in self.frames():
            waiting.append(arrow.frame(batch, self._columns))
            while sum(map(len, waiting)) >= n:
                frame = pd.concat(waiting, ignore_index=True)
                waiting = [frame.iloc[n:]]
                yield frame.iloc[:n]
        if sum(map(len, waiting)):
            yield pd.concat(waiting, ignore_index=True)

    def in_memory(
        self, dtype: Any
    ) -> tuple[Float[np.ndarray, "N D"], np.ndarray, Float[np.ndarray, " N"] | None]:
        """All rows as arrays X, y and w; w is None without weights."""
        parts = list(self.rows())
        if not parts:
            raise TableError("No row was held out for validation; hold out a larger fraction.")
        X = np.concatenate([_matrix(X) for X, _, _ in parts]).astype(dtype, copy=False)
        w = None
        if self.weight is not None:
            w = np.concatenate([w for _, _, w in parts]).astype(dtype)
        return X, np.concatenate([y for _, y, _ in parts]), w

    def head(self) -> list[np.ndarray]:
        """X and y (and w, if there are weights) of the first batch."""
        X, y, w = next(self.rows())
        return [part for part in (_matrix(X), y, w) if part is not None]

    def order(self, pieces: Sequence[Piece]) -> Int[np.ndarray, " N"]:
        """Positions in the table of the rows of these pieces."""
        assert not self.target_known
        positions = []
        for piece in pieces:
            rows, kept = np.arange(piece.first, piece.first + piece.rows), self._kept(piece)
            positions.append(rows if kept is None else rows[kept])
        return np.concatenate(positions)

    # ------------------------------------------------------------ one pass over all rows

    def values(self) -> Shaped[np.ndarray, " C"]:
        """The distinct values of the target, for a classification."""
        assert self.target is not None
        return distinct_values(self.frames(columns=[self.target]), self.target)

    def moments(self) -> tuple[float, float]:
        """Mean and standard deviation of the target."""
        assert self.target is not None
        return mean_and_deviation(self.frames(columns=[self.target]), self.target)

    def total_weight(self) -> float:
        """The sum of the sample weights; the number of rows if there is no column of weights."""
        if self.weight is None:
            return float(len(self))
        batches = self.frames(columns=[*([self.target] if self.target else []), self.weight])
        weights = (self._weights_of(batch) for batch in batches)
        return float(sum(w.sum() for w in weights if w is not None))

    def sample(self, n: int, seed: int = 0, *, every_category: bool = False) -> Any:
        """A uniform random sample of about n rows, as a DataFrame.

        With `every_category`, the first row of each category is added, for columns that have at
        most 50 categories.
        """
        import pandas as pd

        share = min(1.0, n / max(1, len(self)))
        categories = NewCategories(self.schema, self.features) if every_category else None
        batches = sampled(self.frames(), share, seed, categories)
        found = [arrow.frame(batch, self._columns) for batch in batches]
        if not found:
            raise TableError("The sample has no rows; take a larger one.")
        return pd.concat(found, ignore_index=True)

    def category_features(self) -> list[str]:
        """The features that the files declare to be categories."""
        import pyarrow as pa

        is_category = pa.types.is_dictionary
        return [name for name in self.features if is_category(self.schema.field(name).type)]

    # ------------------------------------------------------------ streams of the same table

    def only(self, features: Sequence[str]) -> Stream:
        """The same rows with only these features, without target and weights."""
        require_known_columns(self.schema.names, features)
        return replace(self, features=tuple(features), target=None, weight=None)

    def without(self, columns: Sequence[str]) -> Stream:
        """The same rows without these features."""
        require_columns(self.features, columns, "to leave out")
        features = tuple(name for name in self.features if name not in columns)
        if not features:
            raise TableError("The table has no column besides the target.")
        return replace(self, features=features)

    def encoded(self, X: EncodeX | None, y: EncodeY | None, width: int | None = None) -> Stream:
        """The same rows, with functions that encode a DataFrame of features and the target."""
        return replace(
            self, encode_X=X or self.encode_X, encode_y=y or self.encode_y,
            width=width if X else self.width,
        )  # fmt: skip

    def set_aside(self, share: float, seed: int) -> tuple[Stream, Stream]:
        """The rows to train on, and a random fraction `share` of held-out rows."""
        rest, held_out = Holdout(seed, share, False), Holdout(seed, share, True)
        return replace(self, holdout=rest)._counted(), replace(self, holdout=held_out)._counted()

    def share_in_memory(self, share: float) -> float:
        """`share`, reduced if that fraction of the rows exceeds a quarter of the memory."""
        room = self.memory / 4 / (8 * (self.shape[1] + 2))
        return min(share, room / max(1, len(self)))

    def with_target_known(self) -> Stream:
        """The rows whose target is not missing. Needs one pass over that column."""
        assert self.target is not None
        return replace(self, target_known=True)._counted()

    # ------------------------------------------------------------ checks

    def require_numbers(self) -> None:
        """Raise TableError if a feature is not numeric and no encoder is set."""
        if self.encode_X is not None:
            return
        for name in self.features:
            column_type = self.schema.field(name).type
            if not arrow.holds_numbers(column_type):
                raise TableError(
                    f"Column {name!r} contains {column_type}, not numbers. Use TabularClassifier "
                    "or TabularRegressor, which encode strings and dates, or leave the column out."
                )

    # ------------------------------------------------------------ implementation

    @property
    def _columns(self) -> list[str]:
        return [name for name in (*self.features, self.target, self.weight) if name is not None]

    def _target_of(self, batch: Any) -> Shaped[np.ndarray, " n"]:
        if self.target is None:
            raise TableError("This stream has no target; name the column: stream(…, target=…).")
        if self.encode_y is not None:
            return self.encode_y(arrow.target_values(batch, self.target))
        return arrow.numbers(batch, self.target)

    def _weights_of(self, batch: Any) -> Float[np.ndarray, " n"] | None:
        if self.weight is None:
            return None
        w = arrow.numbers(batch, self.weight)
        if (w < 0).any():
            raise TableError(f"Column {self.weight!r}, the weights, has negative values.")
        return w

    def _kept_batches(self, piece: Piece, columns: list[str]) -> Iterator[Any]:
        """The rows of a piece that belong to this stream, as Arrow batches."""
        import pyarrow as pa
        import pyarrow.compute as pc

        kept, at = self._kept(piece), 0
        for batch in batches_of(piece, columns):
            mask = None
            if kept is not None:
                mask = pa.array(kept[at : at + batch.num_rows])
                at += batch.num_rows
            if self.target_known and batch.column(self.target).null_count:
                known = pc.is_valid(batch.column(self.target))
                mask = known if mask is None else pc.and_(mask, known)
            yield batch if mask is None else batch.filter(mask)

    def _kept(self, piece: Piece) -> Bool[np.ndarray, " n"] | None:
        """Which rows of a piece are on this stream's side of the split; None for all of them."""
        return None if self.holdout is None else self.holdout.keeps(piece.first, piece.rows)

    def _counted(self) -> Stream:
        """The same stream with updated numbers of kept rows for each piece."""
        pieces = [piece._replace(kept=self._count(piece)) for piece in self.pieces]
        return replace(self, pieces=tuple(piece for piece in pieces if piece.kept))

    def _count(self, piece: Piece) -> int:
        if self.target_known:
            return sum(batch.num_rows for batch in self._kept_batches(piece, [str(self.target)]))
        kept = self._kept(piece)
        return piece.rows if kept is None else int(kept.sum())


def _matrix(X: Any) -> Any:
    """The features as a matrix, from a list of columns or a matrix."""
    return np.column_stack(X) if isinstance(X, list) else X
