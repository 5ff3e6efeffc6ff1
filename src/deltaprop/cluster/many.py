"""Many independent models at once: one a task of Ray, sharing one copy of the data a machine."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from deltaprop.cluster.connection import connected
from deltaprop.cluster.transfer import adopt, writable
from deltaprop.training import many

if TYPE_CHECKING:
    from jaxtyping import Float

RETRIES = 3  # of a task whose process or machine died


def fit_many(
    models: Iterable[Any],
    X: Any,
    y: Any,
    *,
    rows: Sequence[Any] | None = None,
    address: str | None = None,
    **search: Any,
) -> list[Any]:
    """:func:`deltaprop.fit_many` on a cluster: as many models train at a time as it has CPUs.

    X and y are sent to each machine once. A model whose process or machine dies is trained again,
    elsewhere.

    Parameters
    ----------
    models : iterable of Network or of estimators
        All of them different objects; they are changed in place.
    X, y : array-like
        The data of all models.
    rows : sequence of int arrays, optional
        For each model the rows of X to train on.
    address : str, optional
        Of the Ray to use, such as ``"10.0.0.5:6379"``; ``"local"`` starts one on this machine. By
        default the one that the program is connected to, else the environment's ``RAY_ADDRESS``,
        else ``"local"``.
    **search
        For each model: arguments of :func:`deltaprop.fit` for networks, of ``fit`` for estimators.
        A `checkpoint` folder gets a folder for each network, by its number; all machines must reach
        it.

    Returns
    -------
    list
        A History for each network; the fitted estimators.

    Raises
    ------
    ImportError
        Without Ray.
    ValueError
        If a model comes twice, or `rows` has another length. An error in one model ends the others.

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
            (model, data, part, many.apart(search, i))
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
        They stay as they are: clones of them are fitted.
    X, y : array-like
    cv : int, splitter or iterable of splits, default=5
        As in scikit-learn; folds are stratified for classifiers.
    scoring : str or callable, optional
        As in scikit-learn; by default the estimator's own ``score``.
    address : str, optional
        Of the Ray to use, as in :func:`deltaprop.cluster.fit_many`.

    Returns
    -------
    scores : ndarray (n_models, n_folds)
        NaN where a fit or its score failed; a warning says why.

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
        # What many tasks use is put once; otherwise each would carry its own copy.
        folds = [ray.put(split) for split in splits]
        jobs = [(model, data, fold, scoring) for model in models for fold in folds]
        found = list(_in_tasks(ray, _score, jobs))
    for job, (_, problem) in enumerate(found):
        if problem is not None:
            m, fold = divmod(job, len(splits))
            warnings.warn(f"{models[m]!r} failed on fold {fold}: {problem}", stacklevel=2)
    return np.array([score for score, _ in found]).reshape(len(models), len(splits))


def _fit(model: Any, data: tuple[Any, Any], rows: Any, search: dict[str, Any]) -> tuple[Any, Any]:
    """The model as it is after its training, and what `fit_many` says of it."""
    model = writable(model)
    return model, many.fit_one(model, *data, rows, search)


def _score(
    model: Any, data: tuple[Any, Any], split: tuple[Any, Any], scoring: Any
) -> tuple[float, str | None]:
    return many.fold_score(model, many.fold_of(*data, *split), scoring)


def _in_tasks(ray: Any, call: Callable[..., Any], jobs: list[tuple[Any, ...]]) -> Iterator[Any]:
    """call(*job) of each job, in their order; on Ctrl-C or an error the others end."""
    task = ray.remote(num_cpus=1, max_retries=RETRIES)(call)
    references = [task.remote(*job) for job in jobs]
    try:
        for reference in references:
            yield ray.get(reference)
    except BaseException as error:
        # Of the unfinished alone: Ray may crash where a task that is done is cancelled.
        _, unfinished = ray.wait(references, num_returns=len(references), timeout=0)
        for reference in unfinished:
            ray.cancel(reference)
        if isinstance(error, ray.exceptions.RayTaskError):
            raise error.cause from error
        raise
