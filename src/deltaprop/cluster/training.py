"""``deltaprop.cluster.fit``: one model, trained by many workers under Ray Train."""

from __future__ import annotations

import dataclasses
import tempfile
from contextlib import suppress
from numbers import Integral
from os import PathLike
from pathlib import Path
from typing import Any

from deltaprop.checkpoints import Checkpoint, checked_checkpoint
from deltaprop.cluster.connection import connected
from deltaprop.cluster.transfer import adopt
from deltaprop.cluster.worker import Job, train
from deltaprop.engines import Xla
from deltaprop.network import Network


def fit(
    model: Any,
    X: Any,
    y: Any = None,
    *,
    target: str | None = None,
    workers: int | tuple[int, int] = 2,
    gpus: bool = False,
    address: str | None = None,
    checkpoint: str | Path | Checkpoint | None = None,
    max_failures: int = 3,
    **search: Any,
) -> Any:
    """Train one network or estimator on many workers, with the result of one.

    Each worker takes its share of every batch and the gradients are summed over all, so that the
    parameters are those of ``dp.fit(net, X, y, ...)`` and ``estimator.fit(X, y)`` up to rounding,
    for any number of workers. When one dies, all start again from the newest checkpoint, and end
    where they would have ended.

    Parameters
    ----------
    model : Network or estimator
        Changed in place.
    X : array-like, DataFrame, or path of a table
        A table at a path is read by the workers themselves, which must all find it there.
    y : array-like, optional
        May be left out where `target` is given.
    target : str, optional
        The column of X that is y.
    workers : int or (int, int), default=2
        How many; between so many, where the cluster grows and shrinks.
    gpus : bool, default=False
        A GPU for each worker. Without it they compute on CPUs.
    address : str, optional
        Of the Ray to use, such as ``"10.0.0.5:6379"``; ``"local"`` starts one on this machine. By
        default the one that the program is connected to, else the environment's ``RAY_ADDRESS``,
        else ``"local"``.
    checkpoint : str, Path or Checkpoint, optional
        As in :func:`deltaprop.fit`. All workers must reach it: a shared folder or an address such
        as ``"s3://bucket/run"``. Without it a failure starts the training from its beginning.
    max_failures : int, default=3
        How often workers may die before the training fails.
    **search
        Arguments of :func:`deltaprop.fit` for a network, of ``fit`` for an estimator. Callbacks are
        called in each worker. An `engine` must be ``"xla"`` or a :class:`deltaprop.Xla`.

    Returns
    -------
    History or estimator
        The History of a network; the fitted estimator.

    Raises
    ------
    ImportError
        Without Ray.
    ValueError, TypeError
        What the training itself would raise, and for an argument out of range.

    Examples
    --------
    >>> import deltaprop as dp
    >>> net = dp.Network(4, [dp.Dense(512), dp.Dense(3, "softmax")], loss="cross_entropy", seed=0)
    >>> history = dp.cluster.fit(net, X, y, workers=8, gpus=True)  # doctest: +SKIP
    """
    _check(workers, max_failures)
    if (y is None) == (target is None):
        raise ValueError(
            "Either y or target must be given: the target's values or its column in X."
        )
    job = _job(model, _whole_path(X), y, target, gpus, _whole_checkpoint(checkpoint), search)
    with connected(address) as ray:
        outcome = _run(ray, job, workers, max_failures)
    if isinstance(outcome, Exception):
        raise outcome
    trained, result = outcome
    _restore_settings(trained, model)
    adopt(model, trained)
    return result if isinstance(model, Network) else model


def _check(workers: Any, max_failures: Any) -> None:
    least, most = workers if isinstance(workers, tuple) and len(workers) == 2 else (workers,) * 2
    if not (_is_count(least) and _is_count(most) and 1 <= least <= most):
        raise ValueError(
            "workers must be an int >= 1, or the least and the most of them such as (1, 8); "
            f"got {workers!r}."
        )
    if not _is_count(max_failures):
        raise ValueError(f"max_failures must be an int >= 0, got {max_failures!r}.")


def _is_count(x: Any) -> bool:
    return isinstance(x, Integral) and not isinstance(x, bool) and int(x) >= 0


def _whole_path(X: Any) -> Any:
    """Workers run in folders of their own."""
    if isinstance(X, (str, PathLike)) and "://" not in str(X):
        return str(Path(X).absolute())
    return X


def _whole_checkpoint(checkpoint: Any) -> Checkpoint | None:
    given = checked_checkpoint(checkpoint)
    return None if given is None else dataclasses.replace(given, folder=_whole_path(given.folder))


def _job(
    model: Any,
    X: Any,
    y: Any,
    target: str | None,
    gpus: bool,
    checkpoint: Checkpoint | None,
    search: dict[str, Any],
) -> Job:
    """What the workers need; theirs is the xla engine, with the same rows in each."""
    if isinstance(model, Network):
        given = search.get("engine", "xla")
        search = {**search, "engine": _shared(given), "checkpoint": checkpoint}
        return Job(model, X, y, target, gpus, {}, search)
    settings = {"engine": _shared(model.engine), "checkpoint": checkpoint}
    return Job(model, X, y, target, gpus, settings, search)


def _shared(engine: Any) -> Xla:
    if engine in ("auto", "xla"):
        return Xla(shared_rows=True)
    if isinstance(engine, Xla):
        return dataclasses.replace(engine, shared_rows=True)
    raise ValueError(f"engine must be 'xla' or a deltaprop.Xla on a cluster, got {engine!r}.")


def _restore_settings(trained: Any, model: Any) -> None:
    """The engine and the checkpoint that the estimator had, in place of the workers'."""
    if isinstance(model, Network):
        return
    for part in (trained, getattr(trained, "mlp_", None)):
        if part is not None:
            part.set_params(engine=model.engine, checkpoint=model.checkpoint)


def _run(
    ray: Any, job: Job, workers: int | tuple[int, int], max_failures: int
) -> tuple[Any, Any] | Exception:
    """What the worker of rank 0 returned."""
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer

    reference = ray.put(job)
    with tempfile.TemporaryDirectory(prefix="deltaprop.") as folder, suppress(FileNotFoundError):
        trainer = DataParallelTrainer(
            lambda: train(ray.get(reference)),
            scaling_config=ScalingConfig(
                num_workers=workers, use_gpu=job.gpus, placement_strategy="SPREAD"
            ),
            run_config=RunConfig(
                storage_path=folder,  # Ray's own notes; the checkpoints are ours
                failure_config=FailureConfig(max_failures=max_failures),
            ),
        )
        outcome: tuple[Any, Any] | Exception = trainer.fit().return_value
    return outcome
