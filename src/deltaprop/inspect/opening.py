"""What is inside an estimator: its network, and data as the network sees it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from deltaprop.errors import InputTypeError
from deltaprop.network import Network

if TYPE_CHECKING:
    from jaxtyping import Float, Num


class Opened(NamedTuple):
    """A fitted network, rows as it takes them, and the target as its loss takes it."""

    net: Network
    X: Float[np.ndarray, "N D"]
    y: Num[np.ndarray, "N ..."]


def mlp_of(model: Any) -> Any:
    """The fitted MLPClassifier or MLPRegressor in a model: its own, a table's, or a pipeline's.

    Raises
    ------
    TypeError
        If there is none in it.
    sklearn.exceptions.NotFittedError
        If it has not been fitted.

    Examples
    --------
    >>> import deltaprop as dp
    >>> from deltaprop.inspect.opening import mlp_of
    >>> model = dp.MLPRegressor(hidden_layer_sizes=2, random_state=0, max_iter=5)
    >>> model = model.fit([[0.0], [1.0]], [1.0, 2.0])
    >>> mlp_of(model) is model
    True
    """
    from sklearn.utils.validation import check_is_fitted

    from deltaprop.estimators._base import BaseMLP

    last = _last_step(model)
    if isinstance(last, BaseMLP):
        check_is_fitted(last)
        return last
    if type(last).__name__ in ("TabularClassifier", "TabularRegressor"):
        check_is_fitted(last)
        return last.mlp_
    raise InputTypeError(
        "model must be an MLPClassifier, MLPRegressor, TabularClassifier, TabularRegressor or a "
        f"Pipeline that ends in one; got {type(model).__name__}."
    )


def opened(model: Any, X: Any, y: Any) -> Opened:
    """The network in a fitted model, with X and y as they reach it.

    Examples
    --------
    >>> import deltaprop as dp
    >>> from deltaprop.inspect.opening import opened
    >>> X, y = [[0.0], [1.0], [2.0]], ["no", "yes", "yes"]
    >>> model = dp.MLPClassifier(2, random_state=0, max_iter=5).fit(X, y)
    >>> opened(model, X, y).y
    array([0, 1, 1], dtype=int8)
    """
    from deltaprop.inspect.scores import as_labels

    mlp, last = mlp_of(model), _last_step(model)
    if last is not model:
        X = model[:-1].transform(X)
    if last is not mlp:
        X = last.encoder_.transform(X)
    if hasattr(mlp, "classes_"):
        codes = mlp._codes(as_labels(y, mlp.classes_))
    else:
        codes = np.asarray(y, dtype=float)
        if last is not mlp:
            codes = (codes - last.y_mean_) / last.y_scale_
    X = X.toarray() if hasattr(X, "toarray") else np.asarray(X, mlp.network_.dtype)
    return Opened(mlp._network(), X, codes)


def _last_step(model: Any) -> Any:
    return model[-1] if hasattr(model, "steps") else model
