"""Open any kind of model: a network, a fitted estimator, a pipeline or a model file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from os import PathLike
from typing import TYPE_CHECKING, Any

import numpy as np

from deltaprop.errors import InputError, InputTypeError
from deltaprop.estimators.fitted import Fitted
from deltaprop.estimators.tabular import BaseTabular
from deltaprop.files.searches import best_of_search
from deltaprop.functions.checks import is_int
from deltaprop.model.inputs import check_X, check_X_y
from deltaprop.network import Network

if TYPE_CHECKING:
    from jaxtyping import Num

    from deltaprop.functions.arrays import Array
    from deltaprop.training.history import History

KINDS = (
    "a deltaprop.Network, a fitted MLPClassifier, MLPRegressor, TabularClassifier or "
    "TabularRegressor, a Pipeline that ends in one, a fitted search for one, or the path of a "
    "model file"
)
NEEDS_ESTIMATOR = (
    "model must be an MLPClassifier, MLPRegressor, TabularClassifier, TabularRegressor, a Pipeline "
    "that ends in one, a fitted search for one, or the path of their model file; got {}."
)


@dataclass(frozen=True)
class OpenedModel:
    """A model, its network, and optionally rows and targets in the form that the network takes.

    Attributes
    ----------
    model : Network, estimator or Pipeline
        As given; loaded if it was a path.
    network : Network
        The fitted network inside; of an ensemble, that of one member.
    estimator : Fitted or None
        The estimator that contains the network; None for a plain network.
    X : array (N, D) or CSR matrix or None
        The rows as the network takes them; None if none were given.
    y : array (N,) or (N, K) or None
        The target as the network's loss takes it.
    feature_names : list of str or None
        The names of the columns of X, where they are known.
    member : str or None
        Which member of an ensemble the network is, such as "members_[0], one of 8".
    """

    model: Any
    network: Network
    estimator: Fitted | None
    X: Num[Array, "N D"] | None = None
    y: Num[np.ndarray, "N ..."] | None = None
    feature_names: list[str] | None = None
    member: str | None = None

    @property
    def data(self) -> tuple[Num[Array, "N D"], Num[np.ndarray, "N ..."]]:
        """X and y as the network takes them.

        Raises
        ------
        ValueError
            If the model was opened without them.
        """
        if self.X is None or self.y is None:
            raise InputError("X and y are missing: give both.")
        return self.X, self.y

    @property
    def classes(self) -> np.ndarray | None:
        """The class labels of a classifier; None for other models."""
        if self.estimator is None or self.estimator.target_kind() == "numbers":
            return None
        classes: np.ndarray = self.estimator.fitted_mlp().classes_
        return classes

    @property
    def target_name(self) -> str | None:
        """The name of the target column that the model was fitted to, where it is known."""
        return None if self.estimator is None else self.estimator.target_name()

    @property
    def history(self) -> History | None:
        """The curves of the last fit; None for a plain network."""
        return None if self.estimator is None else self.estimator.fit_history()


def open_model(
    model: Any, X: Any = None, y: Any = None, *, member: int | None = None
) -> OpenedModel:
    """Open a model, and encode rows and targets as its network takes them.

    Parameters
    ----------
    model : Network, estimator, Pipeline, search or path
        An estimator must be fitted; a Pipeline must end in one. Of a search, such as
        ``GridSearchCV``, its best estimator is opened. A path names a file that
        :func:`deltaprop.save` wrote.
    X : array-like, sparse matrix or DataFrame (N, D), optional
        Rows as the model's ``predict`` takes them.
    y : array-like (N,) or (N, K), optional
        The target as the model's ``fit`` takes it.
    member : int, optional
        The index of the member of an ensemble to open; by default, the first.

    Returns
    -------
    OpenedModel

    Raises
    ------
    TypeError
        If `model` is none of these.
    ValueError
        If X and y do not fit the model or each other, or there is no such member.
    sklearn.exceptions.NotFittedError
        If the estimator has not been fitted.
    deltaprop.files.ModelFileError
        If a path is not a model file that can be read.

    Examples
    --------
    >>> import deltaprop as dp
    >>> from deltaprop.inspect.opening import open_model
    >>> X, y = [[0.0], [1.0], [2.0]], ["no", "yes", "yes"]
    >>> model = dp.MLPClassifier(2, random_state=0, max_iter=5).fit(X, y)
    >>> opened = open_model(model, X, y)
    >>> opened.y, opened.network.n_outputs
    (array([0, 1, 1], dtype=int8), 1)
    """
    model = loaded(model)
    names = _column_names(X)
    if isinstance(model, Network):
        _require_member(1, member)
        opened = OpenedModel(model, model, None, feature_names=names)
        return opened if X is None else _with_data(opened, X, y)
    steps, whole = split_pipeline(model)
    estimator = one_member(whole, member)
    name = member_name(whole, member)
    opened = OpenedModel(model, estimator.fitted_network(), estimator, member=name)
    if X is None:
        return opened
    if steps is not None:
        X = steps.transform(X)
        names = None
    X = estimator.encode_rows(X)
    names = estimator.feature_names() or names
    opened = replace(opened, feature_names=names)
    return _with_data(opened, X, None if y is None else estimator.encode_target(y))


def loaded(model: Any) -> Any:
    """Return the model in the file that a path names, or the best one that a search has found.

    Any other model is returned unchanged.
    """
    if isinstance(model, (str, PathLike)):
        from deltaprop.files import load

        return load(model)
    return best_of_search(model)


def split_pipeline(model: Any) -> tuple[Any | None, Fitted]:
    """Return the steps before the last one of a Pipeline (or None), and the estimator.

    Raises
    ------
    TypeError
        If `model` is neither a deltaprop estimator nor a Pipeline or search that ends in one.
    """
    from sklearn.pipeline import Pipeline, make_pipeline

    steps: list[Any] = []
    last = best_of_search(model)
    while isinstance(last, Pipeline):
        steps += [step for _, step in last.steps[:-1]]
        last = best_of_search(last[-1])
    if not isinstance(last, Fitted):
        raise InputTypeError(f"model must be {KINDS}; got {type(last).__name__}.")
    return make_pipeline(*steps) if steps else None, last


def fitted_estimator(model: Any) -> Fitted:
    """Return the fitted estimator of a model, which may be a Pipeline or a search.

    Raises
    ------
    TypeError
        If `model` contains no deltaprop estimator.
    sklearn.exceptions.NotFittedError
        If it has not been fitted.
    """
    try:
        _, last = split_pipeline(model)
    except InputTypeError as error:
        raise InputTypeError(NEEDS_ESTIMATOR.format(type(model).__name__)) from error
    last.fitted_mlp()
    return last


def members_of(estimator: Fitted) -> list[Any]:
    """Return the MLP estimators whose mean is the prediction; a single one if it is no ensemble."""
    if isinstance(estimator, BaseTabular):
        estimator.fitted_mlp()  # raises NotFittedError
        return estimator.members_
    return [estimator.fitted_mlp()]


def one_member(estimator: Fitted, member: int | None) -> Fitted:
    """Return the model of one member of an ensemble; for None, the estimator itself.

    Raises
    ------
    ValueError
        If there is no such member. An estimator that is no ensemble has one, 0.
    """
    if member is None:
        return estimator
    _require_member(len(members_of(estimator)), member)
    return estimator.member(member) if isinstance(estimator, BaseTabular) else estimator


def member_name(estimator: Fitted, member: int | None) -> str | None:
    """Return which member of an ensemble is shown, by default the first; None if it is none."""
    n = len(members_of(estimator))
    return None if n == 1 else f"members_[{member or 0}], one of {n}"


def _require_member(n: int, member: int | None) -> None:
    if member is not None and not (is_int(member, 0) and member < n):
        allowed = f"an int from 0 to {n - 1}" if n > 1 else "0, as there is only one network"
        raise InputError(f"member must be {allowed}; got {member!r}.")


def _with_data(opened: OpenedModel, X: Any, y: Any) -> OpenedModel:
    net = opened.network
    if y is None:
        X = check_X(net, X, narrow=False)
    else:
        X, y = check_X_y(net, X, y, narrow=False)
    names: Sequence[str] | None = opened.feature_names
    if names is not None and len(names) != X.shape[1]:
        names = None
    return replace(opened, X=X, y=y, feature_names=None if names is None else list(names))


def _column_names(X: Any) -> list[str] | None:
    """Return the names of the columns of a DataFrame, or None for other types."""
    columns = getattr(X, "columns", None)
    return None if columns is None else [str(name) for name in columns]
