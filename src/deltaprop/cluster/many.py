"""Many independent models in parallel: one per Ray task, with one copy of the data per machine."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from deltaprop.cluster.connection import connected
from deltaprop.cluster.transfer import adopt, writable
from deltaprop.errors import warn
from deltaprop.training import many

if TYPE_CHECKING:
    from jaxtyping import Float

RETRIES = 3  # for a task whose process or machine dies


def fit_many(
    models: Iterable[Any],
    X: Any,
    y: Any,
    *,
    rows: Sequence[Any] | None = None,
    address: str | None = None,
    **settings: Any,
) -> list[Any]:
    """:func:`deltaprop.fit_many` on a cluster: as many models train at a time as it has CPUs.

    X and y are sent to each machine once. If the process or machine of a model dies, the model is
    trained again elsewhere.

    Parameters
    ----------
    models : iterable of Network or of estimators
        They must be different objects and are changed in place.
    X, y : array-like
        The data that all models are trained on.
    rows : sequence of int arrays, optional
        Indices of the rows of X to train on, for each model.
    address : str, optional
        The address of the Ray cluster, such as ``"10.0.0.5:6379"``; ``"local"`` starts one on this
        machine. The default is the cluster that the program is connected to, or else that of the
        environment variable ``RAY_ADDRESS``, or else ``"local"``.
    **settings
        Arguments of :func:`deltaprop.fit` for networks, of ``fit`` for estimators. A `checkpoint`
        folder, which all machines must be able to reach, gets a numbered subfolder for each
        network.

    Returns
    -------
    list
        A History for each network, or the fitted estimators.

    Raises
    ------
    ImportError
        If Ray is not installed.
    ValueError
        If a model is given twice, or `rows` has another length than `models`. An error in one model
        ends the training of the others.

    Examples
    --------
    >>> import deltaprop as dp
    >>> nets = [dp.Network(4, [dp.Dense(8), dp.Dense(1)], loss="huber", seed=s) for s in range(32)]
    >>> histories = dp.cluster.fit_many(nets, X, y, address="10.0.0.5:6379")  # doctest: +SKIP
    """
    models = many.checked_models(models, rows)
    with connected(address) as ray:
        data = ray.put((X, y))
        parts: Sequence[Any] = [None] * len(models) if rows is None else rows
        jobs = [
            (model, data, part, many.with_own_folder(settings, i))
            for i, (model, part) in enumerate(zip(models, parts, strict=True))
        ]
        results = []
        for model, (trained, result) in zip(models, _in_tasks(ray, _fit, jobs), strict=True):
            adopt(model, trained)
            results.append(model if result is trained else result)
    return results


def cross_validate(
    models: Iterable[Any],
    X: Any,
    y: Any,
    *,
    cv: Any = 5,
    scoring: Any = None,
    address: str | None = None,
) -> Float[np.ndarray, "M F"]:
    """:func:`deltaprop.cross_validate` on a cluster: as many fits at a time as it has CPUs.

    Parameters
    ----------
    models : iterable of estimators
        Clones of them are fitted; they themselves are not changed.
    X, y : array-like
    cv : int, splitter or iterable of splits, default=5
        As in scikit-learn; folds are stratified for classifiers.
    scoring : str or callable, optional
        As in scikit-learn. The default is the ``score`` method of the estimator.
    address : str, optional
        The address of the Ray cluster, as in :func:`deltaprop.cluster.fit_many`.

    Returns
    -------
    scores : ndarray (n_models, n_folds)
        NaN where a fit or its score failed, with a warning that says why.

    Examples
    --------
    >>> import deltaprop as dp
    >>> models = [dp.MLPClassifier(8, alpha=a) for a in (1e-4, 1e-2, 1.0)]
    >>> scores = dp.cluster.cross_validate(models, X, y, cv=10)  # doctest: +SKIP
    """
    models = list(models)
    splits = many.splits_for(models, X, y, cv)
    with connected(address) as ray:
        data = ray.put((X, y))
        # Objects that many tasks use are stored once; otherwise each task would carry a copy.
        folds = [ray.put(split) for split in splits]
        jobs = [(model, data, fold, scoring) for model in models for fold in folds]
        found = list(_in_tasks(ray, _score, jobs))
    for job, (_, problem) in enumerate(found):
        if problem is not None:
            m, fold = divmod(job, len(splits))
            warn(f"{models[m]!r} failed on fold {fold}: {problem}")
    return np.array([score for score, _ in found]).reshape(len(models), len(splits))


def _fit(model: Any, data: tuple[Any, Any], rows: Any, settings: dict[str, Any]) -> tuple[Any, Any]:
    """The trained model, and its entry in the result of `fit_many`."""
    model = writable(model)
    return model, many.fit_one(model, *data, rows, settings)


def _score(
    model: Any, data: tuple[Any, Any], split: tuple[Any, Any], scoring: Any
) -> tuple[float, str | None]:
    return many.fold_score(model, many.fold_of(*data, *split), scoring)


def _in_tasks(ray: Any, call: Callable[..., Any], jobs: list[tuple[Any, ...]]) -> Iterator[Any]:
    """The results of call(*job) for all jobs, in order. Ctrl-C or an error ends the others."""
    task = ray.remote(num_cpus=1, max_retries=RETRIES)(call)
    references = [task.remote(*job) for job in jobs]
    try:
        for reference in references:
            yield ray.get(reference)
    except BaseException as error:
        # Only unfinished tasks are cancelled: Ray may crash if a finished task is.
        _, unfinished = ray.wait(references, num_returns=len(references), timeout=0)
        for reference in unfinished:
            ray.cancel(reference)
        if isinstance(error, ray.exceptions.RayTaskError):
            raise error.cause from error
        raise
