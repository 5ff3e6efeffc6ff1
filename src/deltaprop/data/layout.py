"""Where the columns of a table are in the encoded matrix, and how its rows are written."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from deltaprop.data.columns.dates import DateColumn
from deltaprop.data.columns.numbers import NumberColumn, Numbers
from deltaprop.data.frames import Columns, OneRow

if TYPE_CHECKING:
    from jaxtyping import Float

    from deltaprop.data.columns.bins import Bins
    from deltaprop.data.columns.protocol import EncodedColumn

BLOCK = 2**18  # entries of the result that are written at a time, which fit into the cache
FEWEST_ROWS = 64  # of a block

Places = slice | list[int]
Read = tuple[list[Any], list[Any]]


class Layout:
    """The columns of the result: all encoded columns, all that mark missing values, and all bins.

    Columns of numbers are encoded at once, which is much faster for a single row or many columns.

    Parameters
    ----------
    columns : sequence of EncodedColumn
    bins : Bins, optional

    Attributes
    ----------
    width : int
        Number of columns of the result.
    features : list of range
        The encoded columns of each column, without those that mark missing values and bins.
    flags : range
        The columns that mark missing values.
    n_plain : int
        Number of columns before the bins.
    binned : list of int
        The encoded columns that can have bins: numbers and parts of dates.
    """

    def __init__(self, columns: Sequence[EncodedColumn], bins: Bins | None = None) -> None:
        features, end = _consecutive([len(column.names()) for column in columns], 0)
        flags, self.n_plain = _consecutive([len(column.flags()) for column in columns], end)
        self.features, self._flags = features, flags
        self.flags = range(end, self.n_plain)
        self.bins = bins
        self.width = self.n_plain + (0 if bins is None else len(bins))
        self._scales = {
            j: (column.squash, k)
            for column, places in zip(columns, features, strict=True)
            if isinstance(column, (NumberColumn, DateColumn))
            for k, j in enumerate(places)
        }
        self.binned = list(self._scales)
        alike = [i for i, column in enumerate(columns) if isinstance(column, NumberColumn)]
        self._numbers = [column for column in columns if isinstance(column, NumberColumn)]
        self._together = Numbers(self._numbers)
        self._places = _joined([features[i] for i in alike]), _joined([flags[i] for i in alike])
        self._others = [
            (column, _joined([features[i]]), _joined([flags[i]]))
            for i, column in enumerate(columns)
            if not isinstance(column, NumberColumn)
        ]

    def bin_names(self, names: Sequence[str]) -> list[str]:
        """The names of the columns of bins, with their ends, for encoded columns of these names."""
        if self.bins is None:
            return []
        found = []
        for j, *ends in zip(self.bins.source, self.bins.low, self.bins.high, strict=True):
            scale, k = self._scales[int(j)]
            low, high = (scale.inverse(float(z), k) for z in ends)
            found.append(f"{names[j]} from {low:.6g} to {high:.6g}")
        return found

    def parts(self) -> list[tuple[list[int], list[int]]]:
        """For each column, its columns of the result other than bins, and its bins."""
        sources = np.empty(0, int) if self.bins is None else self.bins.source
        owner = np.repeat(np.arange(len(self.features)), [len(places) for places in self.features])
        owners = owner[sources]
        return [
            ([*features, *flags], (self.n_plain + np.flatnonzero(owners == i)).tolist())
            for i, (features, flags) in enumerate(zip(self.features, self._flags, strict=True))
        ]

    def medians(self) -> Float[np.ndarray, "1 D"]:
        """A row of the median of each encoded column, which is 0 in all but bins.

        Of a number, it is the median; of a category, whether more than half of the rows have it.
        """
        row = np.zeros((1, self.width), np.float32)
        if self.bins is not None:
            self.bins.write(row, row[:, self.n_plain :])
        return row

    def write(self, columns: Columns, out: Float[np.ndarray, "N D"]) -> None:
        """Encode the columns of a table, block by block."""
        read = self.read(columns)
        rows = max(FEWEST_ROWS, BLOCK // max(1, self.width))
        for start in range(0, len(out), rows):
            block = slice(start, start + rows)
            self.write_rows(read, block, out[block])

    def read(self, columns: Columns) -> Read:
        """The values of numbers, and of the other columns, which `write_rows` encodes."""
        names = (column.name for column in self._numbers if type(column) is NumberColumn)
        known = columns.numbers(names)
        return (
            [known[c.name] if c.name in known else _read(c, columns) for c in self._numbers],
            [_read(column, columns) for column, *_ in self._others],
        )

    def write_rows(self, read: Read, block: slice, out: Float[np.ndarray, "n D"]) -> None:
        """Encode some of the rows that were read."""
        numbers, others = read
        if numbers:
            self._write_numbers([values[block] for values in numbers], out)
        for values, (column, features, flags) in zip(others, self._others, strict=True):
            column.write(values[block], out[:, features], out[:, flags])
        if self.bins is not None:
            self.bins.write(out, out[:, self.n_plain :])

    def _write_numbers(self, values: list[Any], out: Float[np.ndarray, "n D"]) -> None:
        features, flags = self._places
        out[:, features], marks = self._together.encoded(values)
        if marks is not None:
            out[:, flags] = marks


def _read(column: EncodedColumn, columns: Columns) -> Any:
    if isinstance(columns, OneRow) and hasattr(column, "read_cell"):
        found = column.read_cell(columns.cells[column.name])
        if found is not None:
            return found
    return columns.read(column)


def _consecutive(widths: list[int], start: int) -> tuple[list[range], int]:
    """Adjacent ranges of these widths, and the end of the last one."""
    places = []
    for width in widths:
        places.append(range(start, start + width))
        start += width
    return places, start


def _joined(places: list[range]) -> Places:
    """These ranges as an index: a slice if they are adjacent, which is faster than a list."""
    indices = [i for place in places for i in place]
    first = indices[0] if indices else 0
    if indices == list(range(first, first + len(indices))):
        return slice(first, first + len(indices))
    return indices
