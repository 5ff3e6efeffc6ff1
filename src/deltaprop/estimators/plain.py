"""Checks of plain arrays, which scikit-learn's validation would return unchanged.

That validation looks for DataFrames of many libraries, sparse matrices and objects to convert,
which takes longer than a small fit. A NumPy array of finite numbers needs none of it. Everything
else, and everything that is to raise an error or a warning, is left to scikit-learn.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.utils.multiclass import check_classification_targets, type_of_target, unique_labels

from deltaprop.errors import InputError, raised_as_input_error
from deltaprop.model.inputs import NARROW

if TYPE_CHECKING:
    from jaxtyping import Bool

INPUT_DTYPES = [np.float64, np.float32, *(name for name in NARROW if name != "bfloat16")]
"""The dtypes of X that are used without a conversion."""


def is_plain(X: Any) -> bool:
    """Whether X is a matrix (N, D) of finite numbers that needs no conversion."""
    return (
        type(X) is np.ndarray
        and X.ndim == 2
        and X.size > 0
        and X.dtype in INPUT_DTYPES
        and bool(np.isfinite(X).all())
    )


def is_plain_target(y: Any, kinds: str) -> bool:
    """Whether y is a vector of finite numbers or of strings whose dtype is one of these kinds."""
    return (
        type(y) is np.ndarray
        and y.ndim == 1
        and y.size > 0
        and y.dtype.kind in kinds
        and (y.dtype.kind != "f" or bool(np.isfinite(y).all()))
    )


def missing_targets(y: Any) -> Bool[np.ndarray, "N K"] | None:
    """Which targets are missing (NaN), if y has several columns of numbers; None if none are.

    Raises
    ------
    ValueError
        If no target of a column is known.

    Examples
    --------
    >>> import numpy as np
    >>> from deltaprop.estimators.plain import missing_targets
    >>> missing_targets(np.array([[1.0, np.nan], [2.0, 3.0]]))
    array([[False,  True],
           [False, False]])
    """
    if hasattr(y, "toarray"):
        return None
    values = np.asarray(y)
    if values.ndim != 2 or values.shape[1] < 2 or values.dtype.kind != "f":
        return None
    missing = np.isnan(values)
    if missing.all(axis=0).any():
        column = int(missing.all(axis=0).argmax())
        raise InputError(f"y contains only NaN in column {column}; leave that column out.")
    return missing if missing.any() else None


def kind_and_labels(y: Any) -> tuple[str, np.ndarray]:
    """scikit-learn's name of the type of a classification target, and the labels in it, sorted.

    Raises
    ------
    ValueError
        If y is not a target for classification, or has several columns of classes.

    Examples
    --------
    >>> import numpy as np
    >>> from deltaprop.estimators.plain import kind_and_labels
    >>> kind_and_labels(np.array([3, 1, 3]))
    ('binary', array([1, 3]))
    """
    if is_plain_target(y, "biuU"):
        labels = np.array(list(np.unique(y)))  # as in unique_labels, as short as its longest string
        if len(labels) <= 2:
            return "binary", labels
        if 2 * len(labels) <= len(y):  # otherwise scikit-learn warns that it may be a regression
            return "multiclass", labels
    with raised_as_input_error():
        check_classification_targets(y)
    kind = type_of_target(y, input_name="y")
    if kind == "multiclass-multioutput":
        raise InputError(
            "y with several multiclass columns is not supported; got type "
            "'multiclass-multioutput'. Fit one classifier per column, for example with "
            "sklearn.multioutput.MultiOutputClassifier."
        )
    return kind, unique_labels(y)
