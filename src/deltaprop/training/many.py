"""Many independent models at once: one a thread, sharing the data."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from deltaprop.model import Model
from deltaprop.training.checkpoint import check_checkpoint
from deltaprop.training.fitting import fit
from deltaprop.training.interruption import cancelled

if TYPE_CHECKING:
    from jaxtyping import Float

Fold = tuple[Any, Any, Any, Any]


def fit_many(
    models: Iterable[Any],
    X: Any,
    y: Any,
    *,
    rows: Sequence[Any] | None = None,
    n_jobs: int | None = None,
    **search: Any,
) -> list[Any]:
    """Train independent networks or estimators, as many at a time as there are cores.

    The compiled engine runs without Python's lock, so threads of one process are enough: nothing is
    pickled and X is shared. Each model trains on one thread, to the same bits as on its own.

    Parameters
    ----------
    models : iterable of Network or of estimators
        All of them different objects; they are changed in place.
    X, y : array-like
        The data of all models.
    rows : sequence of int arrays, optional
        For each model the rows of X to train on: folds, or draws with replacement (bagging).
    n_jobs : int, optional
        How many models train at a time; by default one a core.
    **search
        For each model: arguments of :func:`deltaprop.fit` for networks, of ``fit`` for estimators.
        A `checkpoint` folder gets a folder for each network, by its number.

    Returns
    -------
    list
        A History for each network; the fitted estimators.

    Raises
    ------
    ValueError
        If a model comes twice, or `rows` has another length. An error in one model ends the others.

    Examples
    --------
    >>> import numpy as np, deltaprop as dp
    >>> X = np.linspace(-1, 1, 50)[:, None]
    >>> nets = [dp.Network(1, [dp.Dense(5, "tanh"), dp.Dense(1)], loss="squared_error", seed=s)
    ...         for s in range(4)]
    >>> histories = dp.fit_many(nets, X, X[:, 0] ** 2, max_epochs=3)
    >>> [h.n_epochs for h in histories]
    [3, 3, 3, 3]
    """
    models = checked_models(models, rows)

    def one(i: int) -> Any:
        return fit_one(models[i], X, y, None if rows is None else rows[i], apart(search, i))

    return _in_threads(one, range(len(models)), n_jobs)


def cross_validate(
    models: Iterable[Any],
    X: Any,
    y: Any,
    *,
    cv: Any = 5,
    scoring: Any = None,
    n_jobs: int | None = None,
) -> Float[np.ndarray, "M F"]:
    """The score of each estimator on each fold, all fits side by side in threads.

    What ``GridSearchCV`` computes, without copies of the data for other processes. The estimators
    stay as they are: clones of them are fitted.

    Parameters
    ----------
    models : iterable of estimators
    X, y : array-like
    cv : int, splitter or iterable of splits, default=5
        As in scikit-learn; folds are stratified for classifiers.
    scoring : str or callable, optional
        As in scikit-learn; by default the estimator's own ``score``.
    n_jobs : int, optional
        How many fits run at a time; by default one a core.

    Returns
    -------
    scores : ndarray (n_models, n_folds)
        NaN where a fit or its score failed; a warning says why.

    Examples
    --------
    >>> import deltaprop as dp
    >>> from sklearn.datasets import load_iris
    >>> X, y = load_iris(return_X_y=True)
    >>> models = [dp.MLPClassifier(8, alpha=a, max_iter=300, random_state=0) for a in (1e-4, 1.0)]
    >>> scores = dp.cross_validate(models, X, y, cv=3)
    >>> scores.shape
    (2, 3)
    >>> best = models[scores.mean(axis=1).argmax()].fit(X, y)
    """
    models = list(models)
    folds = [fold_of(X, y, *split) for split in splits_for(models, X, y, cv)]
    scores = np.full((len(models), len(folds)), np.nan)

    def one(job: int) -> None:
        m, fold = divmod(job, len(folds))
        scores[m, fold], problem = fold_score(models[m], folds[fold], scoring)
        if problem is not None:
            warnings.warn(f"{models[m]!r} failed on fold {fold}: {problem}", stacklevel=2)

    _in_threads(one, range(len(models) * len(folds)), n_jobs)
    return scores


def checked_models(models: Iterable[Any], rows: Sequence[Any] | None) -> list[Any]:
    """The models, all of them different objects, one for each entry of `rows`."""
    models = list(models)
    if len({id(model) for model in models}) < len(models):
        raise ValueError("models must be different objects; one of them comes more than once.")
    if rows is not None and len(rows) != len(models):
        raise ValueError(f"rows has {len(rows)} entries for {len(models)} model(s).")
    return models


def fit_one(model: Any, X: Any, y: Any, rows: Any, search: dict[str, Any]) -> Any:
    """The History of a network, or the fitted estimator; `rows` are None for all."""
    if isinstance(model, Model):
        return fit(model, X, y, rows=rows, **search)
    if rows is None:
        return model.fit(X, y, **search)
    return model.fit(_take(X, rows), _take(y, rows), **search)


def splits_for(models: list[Any], X: Any, y: Any, cv: Any) -> list[tuple[Any, Any]]:
    """The rows to train and to test on, for each fold."""
    from sklearn.base import is_classifier
    from sklearn.model_selection import check_cv

    classifier = bool(models) and is_classifier(models[0])
    return list(check_cv(cv, y, classifier=classifier).split(X, y))


def fold_of(X: Any, y: Any, train: Any, test: Any) -> Fold:
    """X and y to train on, X and y to test on."""
    return _take(X, train), _take(y, train), _take(X, test), _take(y, test)


def fold_score(model: Any, fold: Fold, scoring: Any) -> tuple[float, str | None]:
    """The score of a fitted clone, or NaN and why: one bad model must not cost the others."""
    from sklearn.base import clone
    from sklearn.metrics import check_scoring

    X_train, y_train, X_test, y_test = fold
    try:
        fitted = clone(model).fit(X_train, y_train)
        return float(check_scoring(fitted, scoring)(fitted, X_test, y_test)), None
    except Exception as error:
        return float("nan"), str(error)


def _in_threads(one: Callable[[int], Any], jobs: Iterable[int], n_jobs: int | None) -> list[Any]:
    """one(i) for each job; on Ctrl-C or an error the searches under way end after their epoch."""
    from joblib import Parallel, delayed

    from deltaprop.engines.fused.threads import available

    stop = threading.Event()

    def guarded(i: int) -> Any:
        token = cancelled.set(stop)
        try:
            return one(i)
        except BaseException:
            stop.set()
            raise
        finally:
            cancelled.reset(token)

    run = Parallel(n_jobs=available() if n_jobs is None else n_jobs, backend="threading")
    try:
        found: list[Any] = run(delayed(guarded)(i) for i in jobs)
        return found
    finally:
        stop.set()


def apart(search: dict[str, Any], i: int) -> dict[str, Any]:
    """The search's arguments with a checkpoint folder of its own."""
    checkpoint = check_checkpoint(search.get("checkpoint"))
    if checkpoint is None:
        return search
    return search | {"checkpoint": replace(checkpoint, folder=f"{checkpoint.folder}/{i}")}


def _take(data: Any, rows: Any) -> Any:
    from sklearn.utils import _safe_indexing

    return _safe_indexing(data, rows)
