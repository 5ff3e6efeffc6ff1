"""``deltaprop.cluster.fit``: one model, trained by many workers under Ray Train."""

from __future__ import annotations

import contextlib
import dataclasses
import signal
import tempfile
import threading
from collections.abc import Iterator
from os import PathLike
from typing import Any

from deltaprop import engines
from deltaprop.cluster.connection import connected
from deltaprop.cluster.data import (
    Parts,
    Whole,
    Workers,
    absolute,
    batch_per_worker,
    is_dataset,
    parts_of,
)
from deltaprop.cluster.transfer import adopt
from deltaprop.cluster.worker import Job, train
from deltaprop.data.streamed_rows import refuse_with_stream
from deltaprop.data.streams.stream import Stream
from deltaprop.errors import InputError
from deltaprop.functions.checks import is_int
from deltaprop.network import Network
from deltaprop.training.checkpoint import Checkpoint, check_checkpoint


def fit(
    model: Any,
    X: Any,
    y: Any = None,
    *,
    target: str | None = None,
    workers: int | tuple[int, int] = 2,
    gpus: bool = False,
    address: str | None = None,
    checkpoint: str | PathLike[str] | Checkpoint | None = None,
    max_failures: int = 3,
    **fit_arguments: Any,
) -> Any:
    """Train one network or estimator on many workers, with the same result as on one.

    Each worker computes a part of every batch, and the gradients are summed over all workers. The
    parameters are therefore those of ``dp.fit(net, X, y, ...)`` and ``estimator.fit(X, y)`` with
    ``engine="xla"`` up to rounding, for any number of workers (for a stream, up to the row order).
    With this engine, a Tabular estimator with ``cv="auto"`` trains one network. If a worker dies,
    all of them restart from the newest checkpoint, with the same final result.

    Parameters
    ----------
    model : Network or estimator
        Changed in place.
    X : array-like, DataFrame, path of a table, Stream, or Ray Dataset
        Each worker reads a table from its path, which must be accessible to all of them. Each
        worker also reads its part of every epoch of a :func:`deltaprop.tables.stream`, and uses no
        more memory than the `memory` of the stream. A Ray Dataset is divided among the workers,
        which keep their parts in memory.
    y : array-like, optional
        The target. Must be omitted if `target` is given or if X is a stream.
    target : str, optional
        The column of X to predict, in place of `y`. A stream has its own target.
    workers : int or (int, int), default=2
        The number of workers, or the minimum and maximum number if the cluster grows and shrinks.
    gpus : bool, default=False
        Whether each worker uses a GPU. Otherwise they compute on CPUs.
    address : str, optional
        The address of the Ray cluster, such as ``"10.0.0.5:6379"``; ``"local"`` starts one on this
        machine. The default is the cluster that the program is connected to, or else that of the
        environment variable ``RAY_ADDRESS``, or else ``"local"``.
    checkpoint : str, Path or Checkpoint, optional
        As in :func:`deltaprop.fit`. All workers must be able to reach it: a shared folder, or an
        address such as ``"s3://bucket/run"``. Without it, training restarts from the beginning
        after a failure.
    max_failures : int, default=3
        How many times workers may die before training fails.
    **fit_arguments
        Arguments of :func:`deltaprop.fit` for a network, of ``fit`` for an estimator. Callbacks are
        called in each worker. An `engine` must be ``"xla"`` or a :class:`deltaprop.Xla`.

    Returns
    -------
    History or estimator
        The History of a network, or the fitted estimator.

    Raises
    ------
    ImportError
        If Ray is not installed.
    ValueError, TypeError
        If an argument is out of range, or if the training raises one of these errors.

    Examples
    --------
    >>> import deltaprop as dp
    >>> net = dp.Network(4, [dp.Dense(512), dp.Dense(3, "softmax")], loss="cross_entropy", seed=0)
    >>> history = dp.cluster.fit(net, X, y, workers=8, gpus=True)  # doctest: +SKIP
    """
    _check(workers, max_failures)
    if isinstance(X, Stream):
        refuse_with_stream(y=y, target=target)
    elif (y is None) == (target is None):
        raise InputError("Give either y, the target's values, or target, its column in X.")
    given = check_checkpoint(checkpoint)
    if given is not None:
        given = dataclasses.replace(given, folder=absolute(given.folder))
    with connected(address) as ray:
        if is_dataset(X):
            data: Whole | Parts = parts_of(X, target, model, workers)
        else:
            data = Whole(absolute(X), y, target)
        job = _job(model, data, gpus, given, workers, fit_arguments)
        outcome = _run(ray, job, workers, max_failures)
    if isinstance(outcome, Exception):
        raise outcome
    trained, result = outcome
    _restore_settings(trained, model)
    adopt(model, trained)
    return result if isinstance(model, Network) else model


def _check(workers: Any, max_failures: Any) -> None:
    least, most = workers if isinstance(workers, tuple) and len(workers) == 2 else (workers,) * 2
    if not (is_int(least, 1) and is_int(most, 1) and least <= most):
        raise InputError(
            "workers must be an int >= 1, or the least and the largest number such as (1, 8); "
            f"got {workers!r}."
        )
    if not is_int(max_failures, 0):
        raise InputError(f"max_failures must be an int >= 0, got {max_failures!r}.")


def _job(
    model: Any,
    data: Whole | Parts,
    gpus: bool,
    checkpoint: Checkpoint | None,
    workers: Any,
    fit_arguments: dict[str, Any],
) -> Job:
    """What is sent to the workers. The engine is an argument of dp.fit or of the estimator."""
    is_network = isinstance(model, Network)
    engine = engines.for_processes(
        fit_arguments.get("engine", "xla") if is_network else model.engine, data.shared
    )
    settings: dict[str, Any] = {"engine": engine, "checkpoint": checkpoint}
    if not is_network:
        return Job(model, data, gpus, settings, fit_arguments)
    if not data.shared:
        settings["batch_size"] = batch_per_worker(fit_arguments.get("batch_size", "auto"), workers)
    return Job(model, data, gpus, {}, fit_arguments | settings)


def _restore_settings(trained: Any, model: Any) -> None:
    """Restore the engine and the checkpoint that were replaced for the workers."""
    if isinstance(model, Network):
        return
    for part in (trained, *getattr(trained, "members_", ())):
        part.set_params(engine=model.engine, checkpoint=model.checkpoint)


def _run(ray: Any, job: Job, workers: Workers, max_failures: int) -> tuple[Any, Any] | Exception:
    """What the worker of rank 0 returned."""
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer

    reference = ray.put(job)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        trainer = DataParallelTrainer(
            lambda: train(ray.get(reference)),
            scaling_config=ScalingConfig(
                num_workers=workers, use_gpu=job.gpus, placement_strategy="SPREAD"
            ),
            run_config=RunConfig(
                storage_path=folder,  # for Ray's own files, not for checkpoints
                failure_config=FailureConfig(max_failures=max_failures),
            ),
        )
        with _interrupts_as_before():
            outcome: tuple[Any, Any] | Exception = trainer.fit().return_value
    return outcome


@contextlib.contextmanager
def _interrupts_as_before() -> Iterator[None]:
    """Restore the handler of Ctrl-C, which Ray Train replaces and does not restore."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGINT)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
