"""Where the columns of a table are in the encoded matrix, and how its rows are written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from deltaprop.data.columns.numbers import NumberColumn, Numbers

if TYPE_CHECKING:
    from jaxtyping import Float

    from deltaprop.data.columns.protocol import EncodedColumn

BLOCK = 2**18  # entries of the result that are written at a time, which fit into the cache
FEWEST_ROWS = 64  # of a block

Places = slice | list[int]


class Layout:
    """The columns of the result: all encoded columns, then all that mark missing values.

    Columns of numbers are encoded at once, which is much faster for a single row or many columns.

    Attributes
    ----------
    width : int
        Number of columns of the result.
    """

    def __init__(self, columns: Sequence[EncodedColumn]) -> None:
        features, end = _consecutive([len(column.names()) for column in columns], 0)
        flags, self.width = _consecutive([len(column.flags()) for column in columns], end)
        alike = [i for i, column in enumerate(columns) if isinstance(column, NumberColumn)]
        self._numbers = [column for column in columns if isinstance(column, NumberColumn)]
        self._together = Numbers(self._numbers)
        self._places = _joined([features[i] for i in alike]), _joined([flags[i] for i in alike])
        self._others = [
            (column, _joined([features[i]]), _joined([flags[i]]))
            for i, column in enumerate(columns)
            if not isinstance(column, NumberColumn)
        ]

    def write(self, columns: Mapping[str, Any], out: Float[np.ndarray, "N D"]) -> None:
        """Encode the columns of a table, block by block."""
        numbers = [column.read(columns[column.name]) for column in self._numbers]
        others = [column.read(columns[column.name]) for column, *_ in self._others]
        rows = max(FEWEST_ROWS, BLOCK // max(1, self.width))
        for start in range(0, len(out), rows):
            block = slice(start, start + rows)
            part = out[block]
            if numbers:
                self._write_numbers([values[block] for values in numbers], part)
            for values, (column, features, flags) in zip(others, self._others, strict=True):
                column.write(values[block], part[:, features], part[:, flags])

    def _write_numbers(self, values: list[Any], out: Float[np.ndarray, "n D"]) -> None:
        features, flags = self._places
        out[:, features], marks = self._together.encoded(values)
        if marks is not None:
            out[:, flags] = marks


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
