"""Many processes that train one network: how they find each other, and that they agree."""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

if TYPE_CHECKING:
    from jaxtyping import Shaped

# What launchers tell each process: how many there are, and which of them it is.
LAUNCHERS = (
    ("JAX_NUM_PROCESSES", "JAX_PROCESS_ID"),  # plain variables
    ("OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK"),  # Open MPI
    ("PMI_SIZE", "PMI_RANK"),  # MPICH, Intel MPI
    ("SLURM_STEP_NUM_TASKS", "SLURM_PROCID"),  # srun
)


def connect(
    address: str | None = None, processes: int | None = None, rank: int | None = None
) -> None:
    """Join the processes that train together; each calls it first, before anything else of JAX.

    From then on ``engine="xla"`` trains one network in all of them. Each calls the same
    ``dp.fit``, with its own rows (as many as every other), and takes `batch_size` of them to each
    step: gradients are summed over all, and θ is the same in all.
    Validation losses and scores are means over the processes.

    Parameters
    ----------
    address : str, optional
        Host and port of rank 0, such as "10.0.0.1:1234"; by default ``JAX_COORDINATOR_ADDRESS``,
        or what srun, Open MPI 4, Kubernetes or a TPU pod lets JAX find out.
    processes : int, optional
        How many there are; by default ``JAX_NUM_PROCESSES``, or what srun or mpirun says.
    rank : int, optional
        Which of them this is, from 0; by default ``JAX_PROCESS_ID``, or what srun or mpirun says.

    Raises
    ------
    RuntimeError
        If JAX has been used before, or does not see all of the processes afterwards.
    ValueError
        If an argument is not given and no launcher says it.

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
        raise ValueError(
            f"connect found no launcher that says what was not given: address={address!r}, "
            f"processes={processes!r}, rank={rank!r}. Give all three, or start the processes with "
            "srun, or with mpirun and JAX_COORDINATOR_ADDRESS=HOST:PORT of rank 0."
        ) from error
    check_connected()


def disconnect() -> None:
    """Leave the others, when all have called this: one that just ends looks like a failure."""
    jax.distributed.shutdown()


def check_connected() -> None:
    """Raise, or warn, where this process would train alone although it was not meant to."""
    seen, meant = jax.process_count(), _processes_of_jax()
    if seen != meant:
        raise RuntimeError(
            f"JAX was told of {meant} processes but its devices know of {seen}: this process would "
            "train alone. Call deltaprop.engines.xla.connect() before anything else of JAX."
        )
    launched, _ = _launched()
    if seen == 1 < (launched or 1):
        warnings.warn(
            f"This process is one of {launched} that were launched together, but it trains alone. "
            "Call deltaprop.engines.xla.connect() first for one network in all of them.",
            stacklevel=2,
        )


def check_same(what: str, *parts: Any) -> None:
    """Raise where these are not the same numbers in every process."""
    if jax.process_count() == 1:
        return
    digest = hashlib.sha256()
    for part in parts:
        digest.update(np.ascontiguousarray(part).tobytes())
    mine = np.frombuffer(digest.digest()[:8], np.uint32)
    if (_gathered(mine) != mine).any():
        raise ValueError(
            f"{what} must be the same in all {jax.process_count()} processes. Give each the same "
            "seed (random_state), the same settings and as many rows."
        )


def mean_over_processes(values: Sequence[float | None]) -> tuple[float | None, ...]:
    """The mean of each value over all processes, so that all of them decide alike."""
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
    """The processes that JAX connects, as the training loop sees them.

    Parameters
    ----------
    shared_rows : bool
        Whether all of them are given the same rows, and so must shuffle them alike.
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


def _gathered(mine: Shaped[np.ndarray, " V"]) -> Shaped[np.ndarray, "P V"]:
    """These values of every process."""
    from jax.experimental.multihost_utils import process_allgather

    return np.asarray(process_allgather(mine))


def _launched() -> tuple[int | None, int | None]:
    """How many processes a launcher has started, and which of them this is."""
    for processes, rank in LAUNCHERS:
        if processes in os.environ and rank in os.environ:
            return int(os.environ[processes]), int(os.environ[rank])
    return None, None


def _processes_of_jax() -> int:
    from jax._src.distributed import global_state  # JAX has no public name for it

    return global_state.num_processes or 1
