"""Choose the kind of a column and learn its encoding.

The dtype decides, where there is one: numbers, booleans, dates, durations and categories. Strings
may be any of these, as CSV files contain nothing else, so their values decide. They are dates if
all have one format, numbers if all of them are numbers, categories if there are fewer than 40 or if
each occurs five times on average, and text otherwise.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from pandas.api.types import infer_dtype

from deltaprop.data.columns import values
from deltaprop.data.columns.categories import FEW, CategoryColumn
from deltaprop.data.columns.dates import DateColumn
from deltaprop.data.columns.dropped import DroppedColumn
from deltaprop.data.columns.numbers import DurationColumn, NumberColumn
from deltaprop.data.columns.protocol import EncodedColumn
from deltaprop.data.columns.text import TextColumn
from deltaprop.data.columns.unparsed import warn_if_numeric

REPEATED = 5  # times that a category occurs on average, if there are many
BLOCK = 2**18  # numbers that are sorted at a time, which fit into the cache


def all_learned(frame: pd.DataFrame, random_state: int | None) -> dict[str, EncodedColumn]:
    """The encoding of each column of a table. Columns of numbers are learned many at a time."""
    plain = [i for i, dtype in enumerate(frame.dtypes) if values.is_numeric(dtype)]
    found: dict[str, EncodedColumn] = {}
    at_a_time = max(1, BLOCK // len(frame))
    for start in range(0, len(plain), at_a_time):
        part = frame.iloc[:, plain[start : start + at_a_time]]
        columns = NumberColumn.of_table(list(part.columns), part.to_numpy(np.float64).T)
        found |= {column.name: column for column in columns if column.n_missing != len(frame)}
    return {
        name: found[name] if name in found else learned(name, frame[name], random_state)
        for name in frame.columns
    }


def learned(name: str, column: pd.Series, random_state: int | None) -> EncodedColumn:
    """The encoding of a column, learned from its values.

    Examples
    --------
    >>> learned("a", pd.Series(["1.5", "?", "2"]), 0).kind
    'numeric'
    >>> learned("b", pd.Series(["2020-01-31", "2021-10-01"]), 0).names()
    ['b_year', 'b_month', 'b_day', 'b_total_seconds']
    """
    column = values.plain(column)
    if _is_empty(column):
        return DroppedColumn(name, len(column))
    if isinstance(column.dtype, pd.CategoricalDtype):
        return _of_categories(name, column, random_state)
    if column.dtype.kind == "M":
        return DateColumn.fitted(name, column)
    if column.dtype.kind == "m":
        return DurationColumn.fitted(name, column)
    if pd.api.types.is_numeric_dtype(column.dtype):
        return NumberColumn.fitted(name, column)
    return _guessed(name, column, random_state)


def _of_categories(name: str, column: pd.Series, random_state: int | None) -> EncodedColumn:
    """Categories; if each of many occurs only once, they are encoded by their own dtype."""
    found = CategoryColumn.fitted(name, column)
    if found.labels:
        return found
    return learned(name, column.astype(column.cat.categories.dtype), random_state)


def _is_empty(column: pd.Series) -> bool:
    """Whether all values are missing. Infinite numbers are not; words are looked at later."""
    dtype = column.dtype
    if isinstance(dtype, pd.CategoricalDtype):
        return bool((column.array.codes < 0).all())
    if isinstance(dtype, pd.StringDtype) or (isinstance(dtype, np.dtype) and dtype.kind in "biuO"):
        return False
    return bool(column.isna().all())


def _guessed(name: str, column: pd.Series, random_state: int | None) -> EncodedColumn:
    """The encoding of strings, or of values of several types."""
    labels, codes = values.distinct(column)
    labels = values.without_missing_words(labels)
    words = list(dict.fromkeys(word for word in labels if word is not None))
    if not words:
        return DroppedColumn(name, len(column))
    if column.dtype != object or infer_dtype(column, skipna=True) == "string":
        pattern = values.date_pattern(words)
        if pattern is not None:
            return DateColumn.fitted(name, column, pattern)
    try:
        known = values.parsed_numbers(labels, strict=True)
        return NumberColumn.of_values(name, np.append(known, np.nan)[codes])
    except (ValueError, OverflowError):  # no number, or one with hundreds of digits
        pass
    warn_if_numeric(name, words)
    if are_categories(labels, codes):
        return CategoryColumn.of_values(name, labels, codes, missing_words=True)
    return TextColumn.of_values(name, labels, codes, random_state)


def are_categories(labels: list[str | None], codes: np.ndarray) -> bool:
    """Whether words are few or repeated, so that they are categories rather than text."""
    words = {word for word in labels if word is not None}
    known = np.isin(codes, [i for i, word in enumerate(labels) if word is not None])
    return len(words) < FEW or bool(np.count_nonzero(known) >= REPEATED * len(words))
