"""The folds of a cross-validation: which rows each member is trained on, and which it holds out."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from numbers import Integral
from typing import TYPE_CHECKING, Any

import numpy as np

from deltaprop.errors import InputError
from deltaprop.estimators.holding_out import row_numbers

if TYPE_CHECKING:
    from jaxtyping import Int

FEWEST_ROWS = 2  # of the rows that a member holds out


@dataclass(frozen=True)
class Fold:
    """The numbers of the rows to train on, and of those held out."""

    train: Int[np.ndarray, " M"]
    held: Int[np.ndarray, " K"]


def most_folds(n_rows: int, wanted: int) -> int:
    """At most how many folds this many rows can be divided into; 1 if they are too few."""
    return max(1, min(wanted, n_rows // FEWEST_ROWS))


def folds_for(
    cv: Any,
    y: np.ndarray,
    *,
    groups: Any = None,
    stratify: bool,
    repeats: int = 1,
    rng: np.random.RandomState,
) -> list[Fold]:
    """The folds of a cross-validation.

    Parameters
    ----------
    cv : int, splitter or iterable of (train, test)
        The number of folds of a random division, a splitter of scikit-learn, or the row numbers.
    y : array (N,) or (N, K)
        The target; of a classifier, its classes.
    groups : array-like (N,), optional
        Rows of one group are in one fold.
    stratify : bool
        Whether each fold gets its share of every class.
    repeats : int, default=1
        How many random divisions are made, if `cv` is a number.
    rng : RandomState

    Returns
    -------
    list of Fold

    Raises
    ------
    ValueError
        If `cv` is none of these, if a fold has no rows to train on or to hold out, or if there are
        fewer groups than folds.

    Examples
    --------
    >>> import numpy as np
    >>> y = np.array([0, 0, 1, 1])
    >>> folds = folds_for(2, y, stratify=True, rng=np.random.RandomState(0))
    >>> [fold.held.tolist() for fold in folds]
    [[1, 2], [0, 3]]
    """
    N = len(y)
    if isinstance(cv, Integral):
        splitters = [_splitter(int(cv), y, groups, stratify, rng) for _ in range(repeats)]
    elif not isinstance(cv, str) and (hasattr(cv, "split") or isinstance(cv, Iterable)):
        splitters = [cv]
    else:
        raise InputError(
            "cv must be 'auto', an int >= 1, a splitter of scikit-learn or an iterable of "
            f"(train, test) row numbers; got {cv!r}."
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a class may have fewer rows than there are folds
        pairs = [pair for splitter in splitters for pair in _pairs(splitter, y, groups)]
    folds = [Fold(row_numbers(train, N, "cv"), row_numbers(held, N, "cv")) for train, held in pairs]
    if not folds or not all(len(fold.train) and len(fold.held) for fold in folds):
        raise InputError(
            f"cv={cv!r} makes a fold without rows to train on or to hold out, of {N} row(s)."
        )
    return folds


def _splitter(
    n: int, y: np.ndarray, groups: Any, stratify: bool, rng: np.random.RandomState
) -> Any:
    """A random division into n folds."""
    from sklearn.model_selection import (
        GroupKFold,
        KFold,
        StratifiedGroupKFold,
        StratifiedKFold,
    )

    seed = int(rng.randint(2**31 - 1))
    stratify = stratify and y.ndim == 1 and np.unique(y, return_counts=True)[1].max() >= n
    if groups is None:
        kind = StratifiedKFold if stratify else KFold
        return kind(n, shuffle=True, random_state=seed)
    n_groups = len(np.unique(np.asarray(groups)))
    if n_groups < 2:
        raise InputError(f"groups must name at least two groups, got {n_groups}.")
    kind = StratifiedGroupKFold if stratify else GroupKFold
    return kind(min(n, n_groups), shuffle=True, random_state=seed)


def _pairs(splitter: Any, y: np.ndarray, groups: Any) -> list[tuple[Any, Any]]:
    if not hasattr(splitter, "split"):
        return [tuple(pair) for pair in splitter]
    return list(splitter.split(np.zeros((len(y), 1)), y, groups))
