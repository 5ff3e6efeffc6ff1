"""Columns as NumPy arrays and as distinct values, whatever their dtype."""

from __future__ import annotations

import re
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from pandas.api.types import infer_dtype

from deltaprop.data.columns.words import MISSING_WORDS as MISSING_WORDS
from deltaprop.data.columns.words import is_missing_word as is_missing_word
from deltaprop.data.columns.words import label as label
from deltaprop.data.columns.words import without_missing_words as without_missing_words
from deltaprop.data.reading import TableError

if TYPE_CHECKING:
    from jaxtyping import Float, Int, Num

SHORT = 32  # a column with fewer rows is not searched for distinct values
GERMAN_DATE = re.compile(r"[0-9]{1,2}\.[0-9]{1,2}\.")
TRUTH = {"True": "1", "False": "0"}  # how booleans are written among values of other types
NUMBERS = ("boolean", "integer", "floating", "mixed-integer-float", "decimal")
DATES = ("date", "datetime", "datetime64")
DURATIONS = ("timedelta", "timedelta64")


def plain(column: pd.Series) -> pd.Series:
    """The column with a dtype of NumPy or a string, category, masked or date dtype of pandas.

    A column of Python objects of one kind, such as dates or Decimals, gets the dtype of its kind.
    """
    dtype = column.dtype
    if isinstance(dtype, pd.ArrowDtype):
        column = _from_arrow(column)
    elif isinstance(dtype, pd.SparseDtype):
        column = column.sparse.to_dense()
    elif isinstance(dtype, pd.PeriodDtype):
        return column.dt.to_timestamp()
    elif isinstance(dtype, pd.IntervalDtype):
        return column.astype(object)
    if column.dtype == object:
        return _typed(column)
    if isinstance(column.dtype, np.dtype) and column.dtype.kind == "c":
        raise TableError(f"Column {column.name!r} has complex numbers; use real ones.")
    if column.dtype == np.longdouble:
        return column.astype(np.float64)
    return column


def _from_arrow(column: pd.Series) -> pd.Series:
    import pyarrow as pa

    found = pa.array(column.array).to_pandas(date_as_object=False)
    return pd.Series(found, name=column.name)


def _typed(column: pd.Series) -> pd.Series:
    """Python objects as numbers, dates or durations, if all of them are of one of these kinds."""
    kind = infer_dtype(column, skipna=True)
    if kind in NUMBERS:
        try:
            return pd.to_numeric(column, errors="coerce")
        except OverflowError:  # an integer beyond the range of float64
            return column.map(_as_float).astype(np.float64)
    if kind in DATES:
        return _parsed(column, None)
    if kind in DURATIONS:
        return pd.to_timedelta(column)
    if kind == "period":
        return plain(column.infer_objects())
    if kind == "complex":
        raise TableError(f"Column {column.name!r} has complex numbers; use real ones.")
    return column


def _as_float(value: Any) -> float:
    try:
        return np.nan if value is None else float(value)
    except OverflowError:
        return np.inf if value > 0 else -np.inf


# ---------------------------------------------------------------- numbers


def numbers(column: pd.Series) -> Num[np.ndarray, " N"]:
    """The numbers of a column, in any dtype; NaN for everything that is not a number."""
    if not is_numeric(column.dtype):  # most columns are, and need not be looked at further
        column = plain(column)
    dtype: Any = column.dtype
    found: np.ndarray
    if is_numeric(dtype):
        found = column.to_numpy()
    elif isinstance(dtype, pd.CategoricalDtype):
        known = numbers(pd.Series(dtype.categories)).astype(np.float64)
        found = np.append(known, np.nan)[column.array.codes]
    elif dtype.kind in "mM":
        found = np.full(len(column), np.nan)
    elif pd.api.types.is_numeric_dtype(dtype):
        found = column.to_numpy(dtype=np.float64, na_value=np.nan)
    else:
        labels, codes = distinct(column)
        found = np.append(parsed_numbers(labels), np.nan)[codes]
    return found


def parsed_numbers(labels: list[str | None], strict: bool = False) -> Num[np.ndarray, " u"]:
    """The numbers that strings spell; ValueError, or else NaN, for other strings."""
    if not strict:
        labels = [word if word is None else TRUTH.get(word, word) for word in labels]
    words = pd.Series(labels, dtype=object)
    found = pd.to_numeric(words, errors="raise" if strict else "coerce")
    numbers: np.ndarray = found.to_numpy(dtype=np.float64, na_value=np.nan)
    return numbers


def is_numeric(dtype: Any) -> bool:
    """Whether it is a dtype of NumPy for booleans or real numbers."""
    return isinstance(dtype, np.dtype) and dtype.kind in "biuf"


# ---------------------------------------------------------------- distinct values


def distinct(column: pd.Series) -> tuple[list[str | None], Int[np.ndarray, " N"]]:
    """The distinct values of a column as strings, and the index of the one of each row.

    None is a missing value, and so is the index -1. A short column may repeat values.
    """
    if column.dtype != object:  # the labels of objects must not depend on the other rows
        column = plain(column)
    if isinstance(column.dtype, pd.CategoricalDtype):
        return [label(value) for value in column.dtype.categories], column.array.codes
    if len(column) < SHORT:
        return [label(value) for value in column.tolist()], np.arange(len(column))
    if column.dtype == object and infer_dtype(column, skipna=True) != "string":
        # Values of several types may be unhashable, or equal although they are written differently.
        column = pd.Series([label(value) for value in column], dtype=object)
    codes, values = pd.factorize(column)
    return [label(value) for value in values.to_numpy(object).tolist()], codes


# ---------------------------------------------------------------- dates


def dates(column: pd.Series, pattern: str | None, zone: str | None) -> pd.DatetimeIndex:
    """The dates of a column in a time zone; NaT for everything that is not a date.

    Parameters
    ----------
    column : Series
        Dates, or strings of dates.
    pattern : str or None
        The format of strings. None accepts any format.
    zone : str or None
        The time zone. Without one, dates that have one are converted to UTC.
    """
    index = with_zones(column, pattern)
    if zone is not None:
        return (index.tz_localize("UTC") if index.tz is None else index).tz_convert(zone)
    return index if index.tz is None else index.tz_convert(None)


def with_zones(column: pd.Series, pattern: str | None) -> pd.DatetimeIndex:
    """The dates of a column in their own time zone, if they have one."""
    column = plain(column)
    if column.dtype.kind == "M":
        return pd.DatetimeIndex(column)
    labels, codes = distinct(column)
    if pattern is None and pd.api.types.is_numeric_dtype(column.dtype):
        labels = [None] * len(labels)  # a number may be a date only in a known format
    words = without_missing_words(labels)
    return pd.DatetimeIndex(_parsed(pd.Series([*words, None], dtype=object), pattern))[codes]


def _parsed(words: pd.Series, pattern: str | None) -> pd.Series:
    """Strings or objects as dates, in UTC if their time zones differ."""
    how: Any = {"format": pattern or "mixed", "errors": "coerce"}
    try:
        found = pd.to_datetime(words, **how)
    except ValueError:
        return pd.to_datetime(words, utc=True, **how)
    if found.isna().sum() == words.isna().sum():
        return found
    # Dates of another time zone than the first one may be NaT.
    in_utc = pd.to_datetime(words, utc=True, **how)
    return in_utc if in_utc.notna().sum() > found.notna().sum() else found


def date_pattern(words: list[str]) -> str | None:
    """The one format that all of these strings have; None if they are no dates.

    If the order of day and month is not certain, the month comes first, except in dates with dots.
    """
    if not any(letter.isdigit() for letter in words[0]):  # a date has at least a year
        return None
    sample = [words[i] for i in np.linspace(0, len(words) - 1, 30).astype(int)]
    day_first = GERMAN_DATE.match(words[0]) is not None
    for order in (day_first, not day_first):
        for pattern in _patterns(sample, order):
            if _parsed(pd.Series(words, dtype=object), pattern).notna().all():
                return pattern
    return None


def _patterns(words: list[str], day_first: bool) -> list[str]:
    """The formats that these strings may have: several if May is among the months."""
    from pandas.tseries.api import guess_datetime_format

    found: dict[str, None] = {}
    for word in words:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that the day comes first although we did not say so
            pattern = guess_datetime_format(word, dayfirst=day_first)
        if pattern is None or len(found) > 2:
            return []
        found[str(pattern)] = None
    return list(found)


def seconds(column: pd.Series) -> Float[np.ndarray, " N"]:
    """The durations of a column in seconds; TableError if they are dates."""
    column = plain(column)
    if column.dtype.kind != "m":
        if column.dtype.kind == "M":
            raise TableError(f"Column {column.name!r} must hold durations, but it holds dates.")
        if pd.api.types.is_numeric_dtype(column.dtype) and column.notna().any():
            raise TableError(f"Column {column.name!r} must hold durations, but it holds numbers.")
        labels, codes = distinct(column)
        words = pd.Series([*labels, None], dtype=object)
        column = pd.to_timedelta(words, errors="coerce").iloc[codes]
    found: np.ndarray = column.dt.total_seconds().to_numpy(dtype=np.float64)
    return found
