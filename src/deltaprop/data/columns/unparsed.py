"""Cells among numbers and dates that are neither."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from deltaprop.data.columns import values
from deltaprop.data.columns.protocol import EncodedColumn
from deltaprop.data.reading import UnparsedCells
from deltaprop.data.reading.number_words import is_number
from deltaprop.errors import warn

if TYPE_CHECKING:
    import pandas as pd

SHOWN = 3  # cells in a warning
SAMPLE = 500  # words that are looked at
LOOKS_NUMERIC = 0.8  # fraction of words that are numbers in some format


def may_be_unparsed(column: EncodedColumn, dtype: Any) -> bool:
    """Whether a column of numbers or dates may hold words, of which some are neither."""
    is_typed = isinstance(dtype, np.dtype) and dtype.kind in "biufmM"
    return column.kind in ("numeric", "date") and not is_typed


def warn_of_unparsed(column: EncodedColumn, cells: pd.Series, found: np.ndarray) -> None:
    """Warn if words in a column of numbers or dates are read as missing because they are neither.

    Parameters
    ----------
    column : EncodedColumn
    cells : Series
    found : ndarray (N,) or (N, k)
        What the method `read` of the column returned for these cells.

    Warns
    -----
    UnparsedCells
    """
    missing = np.isnan(found.reshape(len(found), -1)).all(axis=1)
    if not missing.any():
        return
    labels, codes = values.distinct(cells[missing])
    labels = values.without_missing_words(labels)
    bad = [i for i, word in enumerate(labels) if word is not None]
    if bad:
        n = int(np.isin(codes, bad).sum())
        words = list(dict.fromkeys(labels[i] for i in bad))
        shown = ", ".join(map(repr, words[:SHOWN])) + ", …" * (len(words) > SHOWN)
        what = "numbers" if column.kind == "numeric" else "dates like those in the training data"
        warn(
            f"Column {column.name!r}: {n} of {len(cells)} cells are not {what} and are treated as "
            f"missing ({shown}).",
            UnparsedCells,
        )


def warn_if_numeric(name: str, words: Sequence[str]) -> None:
    """Warn if most words of a column that is not encoded as numbers look like numbers.

    Warns
    -----
    UnparsedCells
    """
    sample = words[:: -(-len(words) // SAMPLE)]
    if sum(map(is_number, sample)) < LOOKS_NUMERIC * len(sample):
        return
    others = [word for word in sample if np.isnan(values.parsed_numbers([word])[0])]
    if others:
        warn(
            f"Column {name!r} looks numeric but is encoded as words, as some cells do not parse "
            f"({', '.join(map(repr, others[:SHOWN]))}). Correct them, or read the table with "
            "deltaprop.tables.read_table, which knows other formats of numbers.",
            UnparsedCells,
        )
