"""What is to be predicted: classes or numbers."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any

import numpy as np

from deltaprop.data.reading import TableError

MOST_INTEGER_CLASSES = 20


def split_target(frame: Any, target: str) -> tuple[Any, Any, int]:
    """The other columns, the target, and how many rows without a target were left out.

    Examples
    --------
    >>> from deltaprop.data import read_table, split_target
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


def require_columns(frame: Any, names: list[str], role: str) -> None:
    """Raise TableError for names that are not columns, with what is close."""
    for name in names:
        if name not in frame.columns:
            near = get_close_matches(name, list(frame.columns), n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise TableError(
                f"There is no column {name!r} ({role}).{hint} "
                f"The columns are {', '.join(frame.columns)}."
            )


def require_known_columns(columns: Iterable[str], needed: Iterable[str]) -> None:
    """Raise TableError where a model was fitted to columns that are not there."""
    there = set(columns)
    missing = [name for name in needed if name not in there]
    if missing:
        raise TableError(f"The table lacks column(s) that the model needs: {', '.join(missing)}.")


def recognise_task(y: Any) -> str:
    """ "classification" or "regression", from the target's values.

    Words, booleans and categories are classes; integers are classes when they take at most 20
    values and each of them repeats; all other numbers are numbers.

    Raises
    ------
    TableError
        If the target can be neither: dates, words that hardly repeat, one single value.

    Examples
    --------
    >>> import pandas as pd
    >>> from deltaprop.data import recognise_task
    >>> recognise_task(pd.Series(["a", "b", "a", "b"])), recognise_task(pd.Series([0.5, 1.7, 2.0]))
    ('classification', 'regression')
    """
    import pandas as pd

    name, counts = y.name, y.value_counts()
    counts = counts[counts > 0]
    if len(counts) < 2:
        raise TableError(
            f"Column {name!r}, the target, has the same value in every row: nothing to learn."
        )
    if pd.api.types.is_datetime64_any_dtype(y):
        raise TableError(f"Column {name!r}, the target, holds dates; turn them into numbers first.")
    if pd.api.types.is_numeric_dtype(y) and not pd.api.types.is_bool_dtype(y):
        values = y.to_numpy(dtype=float)
        if not np.isfinite(values).all():
            raise TableError(f"Column {name!r}, the target, holds infinite values.")
        whole = bool((values == np.floor(values)).all())
        few = len(counts) <= MOST_INTEGER_CLASSES and counts.min() >= 2
        return "classification" if whole and few else "regression"
    if len(counts) > max(20, len(y) // 2):
        raise TableError(
            f"Column {name!r}, the target, has {len(counts)} different words in {len(y)} rows; it "
            "looks like a name or an identifier. Choose another target."
        )
    return "classification"
