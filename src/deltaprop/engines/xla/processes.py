"""Processes that train one network together: how they connect, and checks that they agree."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from deltaprop.errors import InputError, warn

if TYPE_CHECKING:
    from jaxtyping import Shaped

# The environment variables with the number of processes and the rank of this one.
LAUNCHERS = (
    ("JAX_NUM_PROCESSES", "JAX_PROCESS_ID"),  # set by hand
    ("OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK"),  # Open MPI
    ("PMI_SIZE", "PMI_RANK"),  # MPICH, Intel MPI
    ("SLURM_STEP_NUM_TASKS", "SLURM_PROCID"),  # srun
)


def connect(
    address: str | None = None, processes: int | None = None, rank: int | None = None
) -> None:
    """Connect the processes that train together. Call it in each of them before using JAX.

    From then on ``engine="xla"`` trains one network in all of them. Each process calls the same
    ``dp.fit`` with its own rows, the same number in all, and contributes `batch_size` of them to
    each step. Gradients are summed over all processes, and θ is the same in all of them. Validation
    losses and scores are averaged over the processes.

    Parameters
    ----------
    address : str, optional
        Host and port of rank 0, such as "10.0.0.1:1234". The default is the environment variable
        ``JAX_COORDINATOR_ADDRESS``, or what JAX detects under srun, Open MPI 4, Kubernetes or on a
        TPU pod.
    processes : int, optional
        The number of processes. The default is ``JAX_NUM_PROCESSES``, or the number given by srun
        or mpirun.
    rank : int, optional
        The rank of this process, from 0. The default is ``JAX_PROCESS_ID``, or the rank given by
        srun or mpirun.

    Raises
    ------
    RuntimeError
        If JAX has been used before, or does not see all processes afterwards.
    ValueError
        If an argument is neither given nor set by a launcher.

    Examples
    --------
    >>> from deltaprop.engines import xla
    >>> xla.connect("localhost:1234", processes=2, rank=0)  # doctest: +SKIP
    """
    if processes is None and rank is None:
        processes, rank = _launched()
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    try:
        jax.distributed.initialize(address, processes, rank)
    except ValueError as error:
        raise InputError(
            f"connect got address={address!r}, processes={processes!r} and rank={rank!r}, and "
            "found no launcher that sets the missing ones. Give all three, or start the processes "
            "with srun, or with mpirun and JAX_COORDINATOR_ADDRESS=HOST:PORT of rank 0."
        ) from error
    check_connected()


def disconnect() -> None:
    """Disconnect. All processes must call it: one that exits without it is treated as failed."""
    jax.distributed.shutdown()


def check_connected() -> None:
    """Raise or warn if this process is one of several but would train alone."""
    seen, configured = jax.process_count(), _processes_of_jax()
    if seen != configured:
        raise RuntimeError(
            f"JAX was configured for {configured} processes, but its devices belong to {seen}, so "
            "this process would train alone. Call deltaprop.engines.xla.connect() before using JAX."
        )
    launched, _ = _launched()
    if seen == 1 < (launched or 1):
        warn(
            f"This process is one of {launched} that were launched together, but it trains alone. "
            "Call deltaprop.engines.xla.connect() first to train one network in all of them."
        )


def check_same(what: str, *parts: Any) -> None:
    """Raise ValueError unless these numbers are the same in every process."""
    if jax.process_count() == 1:
        return
    digest = hashlib.sha256()
    for part in parts:
        digest.update(np.ascontiguousarray(part).tobytes())
    own = np.frombuffer(digest.digest()[:8], np.uint32)
    if (_gathered(own) != own).any():
        raise InputError(
            f"{what} must be the same in all {jax.process_count()} processes. Give each the same "
            "seed (random_state), the same settings and the same number of rows."
        )


def mean_over_processes(values: Sequence[float | None]) -> tuple[float | None, ...]:
    """The mean of each value over all processes, so that all make the same decisions."""
    if jax.process_count() == 1:
        return tuple(values)
    with jax.enable_x64(True):
        all_values = _gathered(np.array([np.nan if v is None else v for v in values]))
    means = all_values.mean(axis=0)
    return tuple(None if v is None else float(m) for v, m in zip(values, means, strict=True))


def seed_of_first(seed: int) -> int:
    """The seed of process 0, below 2¹²⁸."""
    if jax.process_count() == 1:
        return seed
    words = np.frombuffer(seed.to_bytes(16, "little"), np.uint32)
    return int.from_bytes(_gathered(words)[0].tobytes(), "little")


class JaxProcesses:
    """The processes that JAX connects, for the training loop.

    Parameters
    ----------
    shared_rows : bool
        Whether all of them are given the same rows, and must shuffle them in the same way.
    """

    def __init__(self, shared_rows: bool) -> None:
        self._shared_rows = shared_rows
        self.rank, self.count = jax.process_index(), jax.process_count()

    def mean(self, values: Sequence[float | None]) -> tuple[float | None, ...]:
        return mean_over_processes(values)

    def first(self, seed: int) -> int:
        return seed_of_first(seed)

    def check_same_order(self, rng: np.random.RandomState) -> None:
        if self._shared_rows:
            _, keys, at, *_ = rng.get_state()
            check_same("seed, or random_state,", keys, at)


def _gathered(own: Shaped[np.ndarray, " V"]) -> Shaped[np.ndarray, "P V"]:
    """The values of every process."""
    from jax.experimental.multihost_utils import process_allgather

    return np.asarray(process_allgather(own))


def _launched() -> tuple[int | None, int | None]:
    """The number of processes that a launcher has started, and the rank of this one."""
    for processes, rank in LAUNCHERS:
        if processes in os.environ and rank in os.environ:
            return int(os.environ[processes]), int(os.environ[rank])
    return None, None


def _processes_of_jax() -> int:
    from jax._src.distributed import global_state  # JAX has no public name for it

    return global_state.num_processes or 1
