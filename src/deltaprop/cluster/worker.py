"""The code that each worker runs: connect to the others, then train as a single process does."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from typing import Any

from deltaprop.cluster.data import Parts, Whole
from deltaprop.cluster.transfer import writable
from deltaprop.network import Network
from deltaprop.training.fitting import fit


@dataclass(frozen=True)
class Job:
    """What is sent to all workers.

    Attributes
    ----------
    settings : dict
        Parameters of an estimator that are set for the workers.
    fit_arguments : dict
    """

    model: Any
    data: Whole | Parts
    gpus: bool
    settings: dict[str, Any]
    fit_arguments: dict[str, Any]


def train(job: Job) -> tuple[Any, Any] | Exception | None:
    """Train. Returns the trained model and the result of its fit on rank 0, and None elsewhere.

    A ValueError or TypeError would occur again after a restart, so it is returned. Any other error
    is raised, so that Ray restarts the workers.
    """
    import ray.train

    rank = ray.train.get_context().get_world_rank()
    _join(rank, ray.train.get_context().get_world_size(), job.gpus)
    outcome: tuple[Any, Any] | Exception
    try:
        outcome = _fit(job, rank)
    except (ValueError, TypeError) as error:
        outcome = error
    _leave()
    return outcome if rank == 0 else None


def _join(rank: int, workers: int, gpus: bool) -> None:
    """Connect JAX across all workers, which Ray's own JaxTrainer does not do on CPUs."""
    import ray
    from ray.train.collective import broadcast_from_rank_zero

    here = ray.util.get_node_ip_address()
    address = broadcast_from_rank_zero(f"{here}:{_free_port(here)}")
    os.environ["JAX_COORDINATOR_BIND_ADDRESS"] = address  # not on all network interfaces
    if not gpus:
        os.environ["JAX_PLATFORMS"] = "cpu"
    import jax

    from deltaprop.engines.xla import connect

    connect(address, workers, rank)
    if jax.process_count() != workers:
        raise RuntimeError(
            f"This worker is one of {workers}, but JAX sees {jax.process_count()} process(es), "
            "and each would train alone."
        )


def _leave() -> None:
    from deltaprop.engines.xla import disconnect

    disconnect()


def _free_port(host: str) -> int:
    with socket.socket() as probe:
        probe.bind((host, 0))
        port: int = probe.getsockname()[1]
        return port


def _fit(job: Job, rank: int) -> tuple[Any, Any]:
    from deltaprop.engines.xla.processes import check_same
    from deltaprop.inspect.opening import open_model

    X, y = job.data.rows(rank)
    model = writable(job.model)
    if isinstance(model, Network):
        result: Any = fit(model, X, y, **job.fit_arguments)
    else:
        result = model.set_params(**job.settings).fit(X, y, **job.fit_arguments)
    check_same("The parameters after the training", open_model(model).network.theta)
    return model, result
