"""``dp.Xla``: the xla engine. JAX is imported when the engine is first used."""

from __future__ import annotations

from dataclasses import dataclass, replace

from deltaprop.data.rows import Rows
from deltaprop.engines.protocol import Engine, Objective, Processes, Run, Trainer
from deltaprop.engines.xla_options import XlaOptions
from deltaprop.errors import InputError
from deltaprop.model import Model
from deltaprop.optim.batch_gradients import ExactGradient


@dataclass(frozen=True)
class Xla(XlaOptions):
    """The xla engine: JAX on CPUs, GPUs and TPUs. ``engine="xla"`` is ``engine=Xla()``.

    Parameters
    ----------
    dtype : {None, "bfloat16"}, default=None
        The dtype of the matrix products and activations. None is the dtype of the network. With
        "bfloat16", θ, its updates, the loss and its derivative stay in the dtype of the network.
    devices : int, optional
        How many devices of this process share each batch. The default is all of them.
    shared_rows : bool, default=False
        If several processes train together, whether all of them are given the same rows, as a
        single process would be. Each process then computes its share of every batch or, for a
        stream, reads its part of every epoch. By default each process is given different rows.
    shard_parameters : bool, default=False
        Whether θ and the optimizer state are divided among the devices, for layers that are too
        large for one. Each device keeps a part and gathers the W_l for a step (ZeRO, Rajbhandari et
        al. 2020, arXiv:1910.02054). For first-order solvers only.

    Raises
    ------
    ValueError
        If a setting is out of range.

    Examples
    --------
    >>> import deltaprop as dp
    >>> dp.Xla(dtype="bfloat16")
    Xla(dtype='bfloat16', devices=None, shared_rows=False, shard_parameters=False)
    """

    def trainer(self, model: Model, rows: Rows, run: Run) -> Trainer:
        """A trainer for first-order solvers, compiled by XLA."""
        if self.shard_parameters and run.chain.uses_matrices:
            raise InputError(
                "shard_parameters of Xla is True, but the solver needs the matrices of whole "
                "layers. Leave shard_parameters out, or use SGD, Adam or AdamW without input_scale "
                "and rate_factors."
            )
        if self.dtype is not None and not isinstance(run.gradient, ExactGradient):
            raise InputError(
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
        """The engine for this process's part of the rows, its index, and the number of parts."""
        if not self.shared_rows:
            return self, 0, 1
        processes = self.processes
        return replace(self, shared_rows=False), processes.rank, processes.count

    @property
    def processes(self) -> Processes:
        """The processes that JAX connects."""
        from deltaprop.engines.xla.processes import JaxProcesses

        return JaxProcesses(self.shared_rows)

    def work_layout(self) -> dict[str, str | int]:
        """The settings on which the results depend bit by bit."""
        name = "xla" if self == Xla() else str(self)
        return {"engine": name, "processes": self.processes.count}
