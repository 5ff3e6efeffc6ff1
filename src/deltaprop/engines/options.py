"""``dp.Xla``: the xla engine and its settings. JAX is imported when it is first used."""

from __future__ import annotations

from dataclasses import dataclass, replace
from numbers import Integral
from typing import Any

from deltaprop.data.rows import Rows
from deltaprop.engines.protocol import Engine, Objective, Processes, Run, Trainer
from deltaprop.model import Model
from deltaprop.optim.batch_gradients import ExactGradient

DTYPES = (None, "bfloat16")


@dataclass(frozen=True)
class Xla:
    """The xla engine: JAX on CPUs, GPUs and TPUs. ``engine="xla"`` is ``engine=Xla()``.

    Parameters
    ----------
    dtype : {None, "bfloat16"}, default=None
        Of the layers' products and activations. None is the network's own dtype. With "bfloat16"
        θ, its updates, the loss and its derivative stay in the network's dtype.
    devices : int, optional
        How many of this process's devices share each batch; by default all.
    shared_rows : bool, default=False
        Where many processes train together: whether all are given the same rows, as one process
        would be, and each takes its share of every batch. By default each has rows of its own. Of
        a shared stream each reads its part of every epoch.
    shard_parameters : bool, default=False
        Whether θ and the solver's memory are divided among the devices, for layers that are too
        large for one: each keeps a part, and gathers the W_l for a step (ZeRO, Rajbhandari et al.
        2020, arXiv:1910.02054). First-order solvers only.

    Examples
    --------
    >>> import deltaprop as dp
    >>> dp.Xla(dtype="bfloat16")
    Xla(dtype='bfloat16', devices=None, shared_rows=False, shard_parameters=False)
    """

    dtype: str | None = None
    devices: int | None = None
    shared_rows: bool = False
    shard_parameters: bool = False

    def __post_init__(self) -> None:
        if self.dtype not in DTYPES:
            raise ValueError(f"dtype of Xla must be None or 'bfloat16', got {self.dtype!r}.")
        n = self.devices
        if n is not None and (not isinstance(n, Integral) or isinstance(n, bool) or n < 1):
            raise ValueError(f"devices of Xla must be an int >= 1 or None, got {n!r}.")

    def trainer(self, model: Model, rows: Rows, run: Run) -> Trainer:
        """Run first-order steps, compiled by XLA."""
        if self.shard_parameters and run.chain.needs_fisher:
            raise ValueError(
                "shard_parameters of Xla is True, but the solver inverts matrices of whole layers. "
                "Leave shard_parameters out, or use Adam, AdamW or SGD."
            )
        if self.dtype is not None and not isinstance(run.gradient, ExactGradient):
            raise ValueError(
                f"dtype of Xla is {self.dtype!r}, but gradients of this precision cannot be "
                "clipped to max_norm of privacy exactly. Leave dtype out."
            )
        from deltaprop.engines.xla.trainer import XlaTrainer

        return XlaTrainer(model, rows, run, self)

    def objective(self, model: Model, rows: Rows) -> Objective:
        """L and ∂L/∂θ over all rows, for L-BFGS."""
        from deltaprop.engines.xla.trainer import xla_objective

        return xla_objective(model, rows, self)

    def part(self) -> tuple[Engine, int, int]:
        """The engine for this process's part of rows that all processes are given."""
        if not self.shared_rows:
            return self, 0, 1
        processes = self.processes
        return replace(self, shared_rows=False), processes.rank, processes.count

    @property
    def processes(self) -> Processes:
        """The processes that JAX connects."""
        from deltaprop.engines.xla.processes import JaxProcesses

        return JaxProcesses(self.shared_rows)

    def work_layout(self) -> dict[str, Any]:
        """How the work is divided, as far as results depend on it."""
        name = "xla" if self == Xla() else str(self)
        return {"engine": name, "processes": self.processes.count}
