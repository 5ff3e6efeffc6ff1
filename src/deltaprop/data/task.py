"""Select the target column and recognise whether it calls for classification or regression."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any

import numpy as np

from deltaprop.data.reading import TableError

MOST_INTEGER_CLASSES = 20


def split_target(frame: Any, target: str) -> tuple[Any, Any, int]:
    """Separate the features of a DataFrame from the target.

    Parameters
    ----------
    frame : pandas.DataFrame
    target : str
        Name of a column.

    Returns
    -------
    X : pandas.DataFrame
        All other columns.
    y : pandas.Series
        The target.
    left_out : int
        Number of rows that were left out because their target is missing.

    Raises
    ------
    TableError
        If there is no such column, all its values are missing, or there is no other column.

    Examples
    --------
    >>> from deltaprop.tables import read_table, split_target
    >>> X, y, left_out = split_target(read_table("data/penguins.csv"), "sex")
    >>> X.shape, left_out
    ((333, 7), 11)
    """
    require_columns(frame, [target], "target")
    known = frame[target].notna()
    if not known.any():
        raise TableError(f"Column {target!r}, the target, is empty in every row.")
    if frame.shape[1] == 1:
        raise TableError(f"The table has no column besides the target {target!r}.")
    rows = frame[known].reset_index(drop=True)
    return rows.drop(columns=target), rows[target], int((~known).sum())


def require_columns(columns: Iterable[str], names: Iterable[str], role: str) -> None:
    """Raise TableError if a name is not among the columns (a DataFrame or a list of names)."""
    known = list(columns)
    for name in names:
        if name not in known:
            near = get_close_matches(name, known, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise TableError(
                f"There is no column {name!r} ({role}).{hint} The columns are {', '.join(known)}."
            )


def require_known_columns(columns: Iterable[str], needed: Iterable[str]) -> None:
    """Raise TableError if a column that a model was fitted to is missing."""
    known = set(columns)
    missing = [name for name in needed if name not in known]
    if missing:
        raise TableError(f"The table lacks column(s) that the model needs: {', '.join(missing)}.")


def recognise_task(y: Any) -> str:
    """Whether a target column calls for classification or regression.

    Strings, booleans and categories are classes. Integers are classes if they take at most 20
    distinct values and each of these occurs at least twice. Other numbers call for regression.

    Parameters
    ----------
    y : pandas.Series

    Returns
    -------
    task : {"classification", "regression"}

    Raises
    ------
    TableError
        If the target is suitable for neither: dates, strings that are mostly unique, infinite
        values, or only one distinct value.

    Examples
    --------
    >>> import pandas as pd
    >>> from deltaprop.tables import recognise_task
    >>> recognise_task(pd.Series(["a", "b", "a", "b"])), recognise_task(pd.Series([0.5, 1.7, 2.0]))
    ('classification', 'regression')
    """
    from pandas.api.types import is_bool_dtype, is_datetime64_any_dtype, is_numeric_dtype

    counts = y.value_counts()
    counts = counts[counts > 0]  # categories that do not occur count 0
    if len(counts) < 2:
        raise _unsuitable(y, "has the same value in every row, so nothing can be learned.")
    if is_datetime64_any_dtype(y):
        raise _unsuitable(y, "contains dates; turn them into numbers first.")
    if is_numeric_dtype(y) and not is_bool_dtype(y):
        return "classification" if _are_classes(y, counts) else "regression"
    if len(counts) > max(20, len(y) // 2):
        raise _unsuitable(
            y,
            f"has {len(counts)} distinct values in {len(y)} rows; it looks like a name or an "
            "identifier. Choose another target.",
        )
    return "classification"


def _are_classes(y: Any, counts: Any) -> bool:
    """Whether numbers stand for classes: few distinct integers, each of which repeats."""
    values = y.to_numpy(dtype=float)
    if not np.isfinite(values).all():
        raise _unsuitable(y, "contains infinite values.")
    integers = bool((values == np.floor(values)).all())
    return integers and len(counts) <= MOST_INTEGER_CLASSES and bool(counts.min() >= 2)


def _unsuitable(y: Any, reason: str) -> TableError:
    return TableError(f"Column {y.name!r}, the target, {reason}")
