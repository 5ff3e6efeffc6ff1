"""Cells among numbers and dates that are neither."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pandas as pd

from deltaprop.data.columns import values
from deltaprop.data.columns.protocol import EncodedColumn
from deltaprop.data.reading import UnparsedCells

SHOWN = 3  # cells in a warning


def warn_of_unparsed(column: EncodedColumn, cells: pd.Series) -> None:
    """Warn if words in a column of numbers or dates are read as missing because they are neither.

    Warns
    -----
    UnparsedCells
    """
    if column.kind not in ("numeric", "date") or _is_typed(cells.dtype):
        return
    labels, codes = values.distinct(cells)
    labels = values.without_missing_words(labels)
    known = [i for i, word in enumerate(labels) if word is not None]
    if not known:
        return
    found = column.read(pd.Series([labels[i] for i in known], dtype=object))
    bad = [
        i
        for i, row in zip(known, found.reshape(len(known), -1), strict=True)
        if np.isnan(row).all()
    ]
    if bad:
        n = int(np.isin(codes, bad).sum())
        shown = ", ".join(repr(labels[i]) for i in bad[:SHOWN]) + ", …" * (len(bad) > SHOWN)
        what = "numbers" if column.kind == "numeric" else "dates like those in the training data"
        warnings.warn(
            f"Column {column.name!r}: {n} of {len(cells)} cells are not {what} and are treated as "
            f"missing ({shown}).",
            UnparsedCells,
            stacklevel=2,
        )


def _is_typed(dtype: Any) -> bool:
    """Whether values of this dtype are no words."""
    return isinstance(dtype, np.dtype) and dtype.kind in "biufmM"
