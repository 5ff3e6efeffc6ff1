"""The xla engine as the search sees it: one epoch at a time over checked arrays."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from deltaprop.engines.options import Xla
from deltaprop.engines.reference import begin, penalised
from deltaprop.engines.xla import devices
from deltaprop.engines.xla.processes import check_connected, check_same
from deltaprop.engines.xla.rows import on_devices
from deltaprop.engines.xla.shares import Shares
from deltaprop.engines.xla.steps import Steps, evaluate, plan_of, run
from deltaprop.network import Network
from deltaprop.optim.solvers import FirstOrder
from deltaprop.training.loop import Progress

if TYPE_CHECKING:
    from jaxtyping import Float, Int, Num

    from deltaprop.optim.privacy import Privacy
    from deltaprop.training.recording import Recorder

# In 64-bit mode JAX computes what depends on the step alone, as Adam's 1 - β₂ᵗ, in float64, as
# NumPy does; arrays keep the network's dtype. The mode is this thread's, and only inside calls.
wide = jax.enable_x64


class XlaEngine:
    """Epochs of a first-order search, compiled by XLA. Arguments as those of ReferenceEngine.

    The rows, θ and the solver's memory stay on the devices. The network's θ and
    ``progress.solver_state`` are brought up to date at the end of each call.

    Parameters
    ----------
    options : Xla, default=Xla()
    subset : ndarray of int (M,), optional
        The rows of X to train on, in place of all.
    recorder : Recorder, optional
        Called after the steps that it wants: compiled calls end there.
    rows_of_epoch : int, optional
        How many rows an epoch has, where X holds only a part of them.
    privacy : Privacy, optional
    """

    def __init__(
        self,
        net: Network,
        X: Any,
        y: Num[np.ndarray, "N ..."],
        w: Float[np.ndarray, " N"] | None,
        *,
        solver: FirstOrder,
        batch_size: int,
        clip_norm: float | None,
        progress: Progress,
        options: Xla | None = None,
        subset: Int[np.ndarray, " M"] | None = None,
        recorder: Recorder | None = None,
        rows_of_epoch: int | None = None,
        privacy: Privacy | None = None,
    ) -> None:
        check_connected()
        options = options or Xla()
        if options.shard_parameters and solver.needs_fisher:
            raise ValueError(
                f"shard_parameters of Xla is True, but {type(solver).__name__} inverts matrices of "
                "whole layers: leave it out, or use Adam, AdamW or SGD."
            )
        self.net, self.progress, self.theta = net, progress, net.theta
        self.batch_size, self._recorder = batch_size, recorder
        begin(net, solver, progress)
        self._mesh = devices.grid(options.devices)
        with wide(True):
            self._data = on_devices(self._mesh, *_taken(X, y, w, subset))
        self.n_samples = len(y) if subset is None else len(subset)
        self._shares = Shares(options.shared_rows, batch_size, self._mesh)
        self._rows_of_epoch = self._shares.of_all(rows_of_epoch or self.n_samples)
        self._plan = plan_of(
            net, self._mesh, options, solver=solver, clip_norm=clip_norm,
            width=self._shares.width, rows_of_epoch=self._rows_of_epoch,
            privacy=privacy, batch_size=self._shares.of_all(batch_size),
        )  # fmt: skip
        with wide(True):
            self._penalised = self._plan.parameters.put(penalised(net))
        self._on_devices: Any = None  # θ and the solver's memory, with what they are in NumPy
        _check_agreement(self)
        check_same("privacy", str(privacy))

    def epoch(
        self,
        order: Int[np.ndarray, " N"] | None,
        learning_rates: Float[np.ndarray, " S"],
        first: int = 0,
    ) -> float:
        order = np.arange(self.n_samples) if order is None else order
        total, done, S = 0.0, 0, len(learning_rates)
        while done < S:
            steps = S - done
            if self._recorder is not None:
                steps = min(steps, self._recorder.distance(self.progress.step))
            rates = learning_rates[done : done + steps]
            total += self._steps(order, rates, first + done)
            done += steps
            if self._recorder is not None:
                now = self.progress
                self._recorder.at(now.step, now.epoch + 1, float(rates[-1]))
        return total

    def _steps(
        self, order: Int[np.ndarray, " N"], rates: Float[np.ndarray, " S"], first: int
    ) -> float:
        rows, counts = self._shares.of_batches(order, first, len(rates))
        seed = self.progress.dropout_seed
        with wide(True):
            theta, state = self._parameters()
            steps = Steps(
                devices.put(self._mesh, devices.BATCHES, rows),
                self._everywhere(counts),
                self._everywhere(np.asarray(rates, self.net.dtype)),
            )
            theta, state, step, losses = run(
                self._plan, self._mesh, theta, state,
                self._everywhere(np.int64(self.progress.step)),
                None if seed is None else self._everywhere(np.int64(seed)),
                self._data, self._penalised, steps, self._noise_key(),
            )  # fmt: skip
            self._update(theta, state, step)
        each = np.asarray(losses, np.float64)
        if self.net.reduction != "sum":
            each = each * (counts / self._rows_of_epoch)
        return float(each.sum())

    def _parameters(self) -> tuple[Any, tuple[Any, ...]]:
        """θ and the solver's memory on the devices, sent anew where somebody changed them."""
        kept, self._on_devices = self._on_devices, None  # compiled calls write over them
        memory = self.progress.solver_state
        if kept is not None and kept[2] is memory and np.array_equal(kept[3], self.theta):
            return kept[0], kept[1]
        put = self._plan.parameters.put
        return put(self.theta), tuple(map(put, memory))

    def _update(self, theta: jax.Array, state: tuple[jax.Array, ...], step: jax.Array) -> None:
        taken = self._plan.parameters.taken
        self.theta[...] = taken(theta)
        self.progress.solver_state = tuple(map(taken, state))
        self.progress.step = int(step)
        self._on_devices = theta, state, self.progress.solver_state, self.theta.copy()

    def _noise_key(self) -> jax.Array | None:
        if self._plan.privacy is None:
            return None
        seed = self.progress.noise_seed
        return self._everywhere(np.random.SeedSequence(seed).generate_state(2))

    def _everywhere(self, array: Any) -> jax.Array:
        return devices.put(self._mesh, devices.EVERYWHERE, np.asarray(array))


def loss_and_gradient(
    net: Network,
    X: Any,
    y: Num[np.ndarray, "N ..."],
    w: Float[np.ndarray, " N"] | None,
    options: Xla | None = None,
    subset: Int[np.ndarray, " M"] | None = None,
) -> Any:
    """A function that gives L and ∂L/∂θ over all rows at the network's current θ, for L-BFGS."""
    check_connected()
    options = options or Xla()
    mesh = devices.grid(options.devices)
    N = len(y) if subset is None else len(subset)
    shares = Shares(options.shared_rows, N, mesh)
    options = replace(options, shard_parameters=False)  # SciPy's search has θ whole
    plan = plan_of(net, mesh, options, width=shares.width, rows_of_epoch=shares.of_all(N))
    check_same("theta and the number of rows", net.theta, N)
    rows, counts = shares.of_batches(np.arange(N), 0, 1)

    def everywhere(array: Any) -> jax.Array:
        return devices.put(mesh, devices.EVERYWHERE, np.array(array))

    with wide(True):
        data = on_devices(mesh, *_taken(X, y, w, subset))
        fixed = everywhere(penalised(net)), devices.put(mesh, devices.BATCH, rows[0])
        count = everywhere(counts[0])

    def at_theta() -> tuple[float, Float[np.ndarray, " P"]]:
        with wide(True):
            loss, g = evaluate(plan, mesh, everywhere(net.theta), data, *fixed, count)
            return float(loss), np.asarray(g)

    return at_theta


def _taken(
    X: Any,
    y: Num[np.ndarray, "N ..."],
    w: Float[np.ndarray, " N"] | None,
    subset: Int[np.ndarray, " M"] | None,
) -> tuple[Any, Num[np.ndarray, "N ..."], Float[np.ndarray, " N"] | None]:
    if subset is None:
        return X, y, w
    return X[subset], y[subset], None if w is None else w[subset]


def _check_agreement(engine: XlaEngine) -> None:
    check_same("theta", engine.theta)
    now = engine.progress
    check_same(
        "batch_size, the number of rows, seed and the search that is resumed",
        engine.batch_size, engine.n_samples, engine._rows_of_epoch, now.step,
        now.dropout_seed or 0, *now.solver_state,
    )  # fmt: skip
