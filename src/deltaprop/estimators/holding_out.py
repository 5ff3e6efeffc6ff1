"""Which rows early stopping holds out: random ones, whole groups, the last ones, or given ones."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from deltaprop.data.rows import Rows
from deltaprop.errors import InputError, raised_as_input_error

if TYPE_CHECKING:
    from jaxtyping import Int

LAST = "last"


def held_out(
    rows: Rows, split: Any, fraction: float, groups: Any, rng: np.random.RandomState
) -> tuple[Rows, Rows]:
    """The rows to train on, and those that are held out.

    Parameters
    ----------
    rows : Rows
    split : "last", splitter, iterable of (train, test) or None
        Of a splitter or iterable, the first pair of row numbers is used. None holds out groups.
    fraction : float
        The share of the rows, or of the groups, that is held out without a splitter.
    groups : array-like (N,) or None
    rng : RandomState

    Raises
    ------
    InputError
        If there are no rows to train on or to hold out, or a row is in both.

    Examples
    --------
    >>> import numpy as np
    >>> rows = Rows(np.arange(5.0)[:, None], np.arange(5.0))
    >>> kept, held = held_out(rows, "last", 0.4, None, np.random.RandomState(0))
    >>> len(kept), held.y
    (3, array([3., 4.]))
    """
    N = len(rows)
    if groups is not None and len(groups) != N:
        raise InputError(f"groups must have an entry for each of the {N} rows, got {len(groups)}.")
    pair = _pair(rows, split, fraction, groups, rng)
    train, held = (row_numbers(part, N, "validation_split") for part in pair)
    if not len(train) or not len(held):
        raise InputError(f"Validation needs rows to train on and to hold out, of {N} row(s).")
    if np.isin(train, held).any():
        raise InputError("Rows that are held out for validation must not be trained on as well.")
    return replace(rows, index=train), rows.take(held)


def _pair(
    rows: Rows, split: Any, fraction: float, groups: Any, rng: np.random.RandomState
) -> tuple[Any, Any]:
    N = len(rows)
    if isinstance(split, str):
        first = N - int(np.ceil(fraction * N))
        return np.arange(first), np.arange(first, N)
    if split is None:
        from sklearn.model_selection import GroupShuffleSplit

        split = GroupShuffleSplit(1, test_size=float(fraction), random_state=rng)
    if not hasattr(split, "split") and not isinstance(split, Iterable):
        raise InputError(
            "validation_split must be 'last', a splitter of scikit-learn, an iterable of (train, "
            f"test) row numbers or None; got {split!r}."
        )
    y = rows.y if rows.labels is None else rows.labels
    with raised_as_input_error():
        pairs = split.split(np.zeros((N, 1)), y, groups) if hasattr(split, "split") else split
        found = next(iter(pairs), None)
    if found is None or not isinstance(found, Iterable) or len(tuple(found)) != 2:
        raise InputError("validation_split must give a pair of row numbers: (train, test).")
    train, held = found
    return train, held


def row_numbers(rows: Any, N: int, name: str) -> Int[np.ndarray, " M"]:
    """Row numbers or a mask of N rows, as the parameter `name` gives them, as row numbers.

    Raises
    ------
    InputError
        If they are something else, or there are no such rows.

    Examples
    --------
    >>> import numpy as np
    >>> row_numbers([2, 0], 3, "cv"), row_numbers(np.array([True, False, True]), 3, "cv")
    (array([2, 0]), array([0, 2]))
    """
    numbers = np.asarray(rows)
    if numbers.dtype == bool and numbers.shape == (N,):
        numbers = np.flatnonzero(numbers)
    if numbers.size == 0:
        return np.empty(0, np.int64)
    is_list = numbers.ndim == 1 and numbers.dtype.kind in "iu"
    if not is_list or not 0 <= numbers.min() <= numbers.max() < N:
        raise InputError(f"{name} must give numbers of rows in 0 to {N - 1}, got {numbers!r}.")
    found: np.ndarray = numbers.astype(np.int64)
    return found
