"""Many independent models in parallel: one per thread, with shared data."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from deltaprop.errors import Collected, InputError, collected, warn, warn_of
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
    **settings: Any,
) -> list[Any]:
    """Train independent networks or estimators, as many at a time as there are cores.

    The compiled engine releases Python's global interpreter lock, so that threads of one process
    suffice: nothing is pickled, and X is shared. Each model trains on one thread, with results that
    are bitwise identical to training it alone on one thread.

    Parameters
    ----------
    models : iterable of Network or of estimators
        They must be different objects and are changed in place.
    X, y : array-like
        The data that all models are trained on.
    rows : sequence of int arrays, optional
        Indices of the rows of X to train on, for each model, such as folds or bootstrap samples.
    n_jobs : int, optional
        How many models train at a time. The default is one per core.
    **settings
        Arguments of :func:`deltaprop.fit` for networks, of ``fit`` for estimators. A `checkpoint`
        folder gets a numbered subfolder for each network.

    Returns
    -------
    list
        A History for each network, or the fitted estimators.

    Raises
    ------
    ValueError
        If a model is given twice, or `rows` has another length than `models`. An error in one model
        ends the training of the others.

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

    def fit_number(i: int) -> Any:
        return fit_one(
            models[i], X, y, None if rows is None else rows[i], with_own_folder(settings, i)
        )

    return _in_threads(fit_number, range(len(models)), n_jobs)


def cross_validate(
    models: Iterable[Any],
    X: Any,
    y: Any,
    *,
    cv: Any = 5,
    scoring: Any = None,
    n_jobs: int | None = None,
) -> Float[np.ndarray, "M F"]:
    """The score of each estimator on each fold, with all fits in parallel threads.

    Unlike in ``GridSearchCV``, the data is not copied to other processes. Clones of the estimators
    are fitted; they themselves are not changed.

    Parameters
    ----------
    models : iterable of estimators
    X, y : array-like
    cv : int, splitter or iterable of splits, default=5
        As in scikit-learn; folds are stratified for classifiers.
    scoring : str or callable, optional
        As in scikit-learn. The default is the ``score`` method of the estimator.
    n_jobs : int, optional
        How many fits run at a time. The default is one per core.

    Returns
    -------
    scores : ndarray (n_models, n_folds)
        NaN where a fit or its score failed, with a warning that says why.

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

    def score_number(job: int) -> None:
        m, fold = divmod(job, len(folds))
        scores[m, fold], problem = fold_score(models[m], folds[fold], scoring)
        if problem is not None:
            warn(f"{models[m]!r} failed on fold {fold}: {problem}")

    _in_threads(score_number, range(len(models) * len(folds)), n_jobs)
    return scores


def checked_models(models: Iterable[Any], rows: Sequence[Any] | None) -> list[Any]:
    """The models as a list, after checking that they are different objects and match `rows`."""
    models = list(models)
    if len({id(model) for model in models}) < len(models):
        raise InputError("models must be different objects; one of them is given more than once.")
    if rows is not None and len(rows) != len(models):
        raise InputError(f"rows has {len(rows)} entries for {len(models)} model(s).")
    return models


def fit_one(model: Any, X: Any, y: Any, rows: Any, settings: dict[str, Any]) -> Any:
    """The History of a network, or the fitted estimator. `rows` is None for all rows."""
    if isinstance(model, Model):
        return fit(model, X, y, rows=rows, **settings)
    if rows is None:
        return model.fit(X, y, **settings)
    return model.fit(_take(X, rows), _take(y, rows), **settings)


def splits_for(models: list[Any], X: Any, y: Any, cv: Any) -> list[tuple[Any, Any]]:
    """The indices of the training rows and the test rows of each fold."""
    from sklearn.base import is_classifier
    from sklearn.model_selection import check_cv

    classifier = bool(models) and is_classifier(models[0])
    return list(check_cv(cv, y, classifier=classifier).split(X, y))


def fold_of(X: Any, y: Any, train: Any, test: Any) -> Fold:
    """The training and test data of a fold: X_train, y_train, X_test, y_test."""
    return _take(X, train), _take(y, train), _take(X, test), _take(y, test)


def fold_score(model: Any, fold: Fold, scoring: Any) -> tuple[float, str | None]:
    """The score of a fitted clone and None, or NaN and the error message if the fit failed."""
    from sklearn.base import clone
    from sklearn.metrics import check_scoring

    X_train, y_train, X_test, y_test = fold
    try:
        fitted = clone(model).fit(X_train, y_train)
        return float(check_scoring(fitted, scoring)(fitted, X_test, y_test)), None
    except Exception as error:
        return float("nan"), str(error)


def _in_threads(call: Callable[[int], Any], jobs: Iterable[int], n_jobs: int | None) -> list[Any]:
    """The results of call(i) for all jobs. Ctrl-C or an error ends the others after an epoch."""
    from joblib import Parallel, delayed

    from deltaprop.engines.fused.processors import available

    stop = threading.Event()
    warnings: Collected = []

    def guarded(i: int) -> Any:
        token = cancelled.set(stop)
        try:
            with collected(warnings):
                return call(i)
        except BaseException:
            stop.set()
            raise
        finally:
            cancelled.reset(token)

    run = Parallel(n_jobs=available() if n_jobs is None else n_jobs, backend="threading")
    try:
        found: list[Any] = run(delayed(guarded)(i) for i in jobs)
    finally:
        interrupted = stop.is_set()
        stop.set()
        warn_of(warnings)
    if interrupted:  # in this thread, where it has ended a run instead of this function
        raise KeyboardInterrupt
    return found


def with_own_folder(settings: dict[str, Any], i: int) -> dict[str, Any]:
    """The settings with a separate checkpoint folder for model number i."""
    checkpoint = check_checkpoint(settings.get("checkpoint"))
    if checkpoint is None:
        return settings
    return settings | {"checkpoint": replace(checkpoint, folder=f"{checkpoint.folder}/{i}")}


def _take(data: Any, rows: Any) -> Any:
    from sklearn.utils import _safe_indexing

    return _safe_indexing(data, rows)
