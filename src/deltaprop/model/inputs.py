"""Checks of the data that are passed to a network: X, y and sample weights.

Rows may keep one of the dtypes in ``NARROW``; engines convert them batch by batch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, cast

import numpy as np

from deltaprop.errors import InputError, raised_as_input_error
from deltaprop.functions.arrays import Array
from deltaprop.functions.losses import Loss

if TYPE_CHECKING:
    from jaxtyping import Float, Num

NARROW = ("float16", "bfloat16", "uint8", "int8", "uint16", "int16", "int32", "int64")


class Expects(Protocol):
    """The properties of a network that its data must fit."""

    n_features: int
    dtype: np.dtype
    loss_function: Loss

    @property
    def n_outputs(self) -> int: ...


def check_X(network: Expects, X: Any, *, narrow: bool = True) -> Num[Array, "N D"]:
    """X as rows of finite numbers.

    Parameters
    ----------
    network : Model
    X : array-like or SciPy sparse matrix (N, D)
    narrow : bool, default=True
        Whether X may keep one of the dtypes in ``NARROW``. Otherwise it is converted to the dtype
        of the network.

    Returns
    -------
    ndarray, or CSR matrix if X is sparse

    Raises
    ------
    ValueError
        If X is not two-dimensional, is empty, is not finite, or has the wrong number of columns.
    """
    allowed = NARROW if narrow else ()
    name = str(getattr(X, "dtype", ""))
    ready = type(X) is np.ndarray and X.ndim == 2 and X.size
    if not (ready and name in (network.dtype.name, *allowed) and _all_finite(X)):
        if name == "bfloat16":  # which check_array does not support
            X = X.astype(network.dtype)
        X = _converted(X, [network.dtype, *allowed])
    if X.shape[1] != network.n_features:
        raise InputError(
            f"X has {X.shape[1]} column(s), but the network expects {network.n_features} "
            "(n_features)."
        )
    return X.tocsr() if hasattr(X, "tocsr") else X


def _converted(X: Any, dtypes: list[Any]) -> Any:
    """X as a finite matrix of one of these dtypes; InputError if that is not possible."""
    try:
        # Imported here because scikit-learn takes longer to import than everything else together.
        from sklearn.utils.validation import check_array
    except ModuleNotFoundError:  # which predictions do not need
        return converted_without_sklearn(X, dtypes)
    with raised_as_input_error():
        return check_array(X, accept_sparse=["csr", "csc"], dtype=dtypes, input_name="X")


def converted_without_sklearn(X: Any, dtypes: list[Any]) -> Num[np.ndarray, "N D"]:
    """X as a finite matrix of one of these dtypes, if scikit-learn is not installed.

    Raises
    ------
    ValueError
        If X is not two-dimensional, is empty, or holds other values than finite numbers.

    Examples
    --------
    >>> converted_without_sklearn([[1, 2]], ["float64"])
    array([[1., 2.]])
    """
    with raised_as_input_error():
        found = np.asarray(X.toarray() if hasattr(X, "toarray") else X)
        if found.dtype not in [np.dtype(name) for name in dtypes if name != "bfloat16"]:
            found = found.astype(dtypes[0])
    if found.ndim != 2 or found.size == 0:
        raise InputError(f"X must have rows and columns, (N, D); got shape {found.shape}.")
    if not _all_finite(found):
        raise InputError("X contains NaN or infinity; remove those rows or fill them in.")
    return found


def check_y(network: Expects, y: Any) -> Num[np.ndarray, "N ..."]:
    """y as numbers in the domain of the loss, before the loss encodes it.

    Raises
    ------
    ValueError
        If y is empty, has more than two dimensions, or contains values that are not finite numbers
        or that are outside the domain of the loss. With several columns, and a loss that has
        summands of its own for each, NaN is a missing target.
    """
    y = np.asarray(y)
    if y.ndim not in (1, 2) or y.size == 0:
        raise InputError(f"y must have shape (N,) or (N, K) and not be empty, got {y.shape}.")
    if y.dtype.kind not in "biuf":
        raise InputError(
            f"y must hold numbers, got dtype {y.dtype}. Encode classes as 0, 1, … or use "
            "deltaprop.MLPClassifier, which encodes them."
        )
    if y.dtype.kind == "f" and not np.isfinite(y).all():
        _require_some_known(network.loss_function, y)
    if y.dtype.kind == "b":
        y = y.astype(np.int8)
    check_domain(network, y)
    return cast(np.ndarray, y)


def _require_some_known(loss: Loss, y: Float[np.ndarray, "N ..."]) -> None:
    """Raise ValueError unless each number that is not finite is a missing target."""
    several = y.ndim == 2 and y.shape[1] > 1
    if not several or not loss.admits_missing or np.isinf(y).any():
        hint = ""
        if several and not loss.admits_missing:
            hint = f" The loss {loss.name!r} needs all targets of a row."
        raise InputError(f"y contains NaN or infinity; remove those rows or fill them in.{hint}")
    if np.isnan(y).all():
        raise InputError("y contains only NaN; at least one target must be known.")


def check_domain(network: Expects, y: Num[np.ndarray, "N ..."]) -> None:
    """Raise ValueError if the shape or the values of y do not fit the loss."""
    network.loss_function.check_target(y, network.n_outputs)


def check_X_y(
    network: Expects, X: Any, y: Any, *, narrow: bool = True
) -> tuple[Num[Array, "N D"], Num[np.ndarray, "N ..."]]:
    """X and y, checked one by one and for the same number of rows."""
    X, y = check_X(network, X, narrow=narrow), check_y(network, y)
    if X.shape[0] != y.shape[0]:
        raise InputError(
            f"X has {X.shape[0]} row(s) and y has {y.shape[0]}; both must have the same number."
        )
    return X, y


def check_weights(sample_weight: Any, X: Num[Array, "N D"]) -> Float[np.ndarray, " N"] | None:
    """`sample_weight` as an (N,) array of non-negative numbers that are not all zero.

    None, which means equal weights, is returned unchanged.
    """
    if sample_weight is None:
        return None
    from sklearn.utils.validation import _check_sample_weight

    with raised_as_input_error():
        w: np.ndarray = _check_sample_weight(
            sample_weight, X, dtype=X.dtype, ensure_non_negative=True
        )
    if not w.any():
        raise InputError("sample_weight is zero for every sample; at least one must be > 0.")
    return w


def _all_finite(X: Num[np.ndarray, "N D"]) -> bool:
    """Whether X is finite, block by block, so that no array as large as X is allocated."""
    rows = max(1, 1_000_000 // max(1, X.shape[1]))
    return all(np.isfinite(X[at : at + rows]).all() for at in range(0, len(X), rows))
