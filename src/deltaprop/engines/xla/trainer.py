"""The xla engine: steps compiled by JAX for CPUs, GPUs and TPUs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from deltaprop.data.rows import Rows
from deltaprop.engines.protocol import Objective, Order, Rates, Run, begin
from deltaprop.engines.xla import devices
from deltaprop.engines.xla.device_rows import on_devices
from deltaprop.engines.xla.processes import check_connected, check_same
from deltaprop.engines.xla.shares import Shares
from deltaprop.engines.xla.steps import Inputs, Optimized, Steps, evaluate, plan_of, run
from deltaprop.engines.xla_options import XlaOptions
from deltaprop.model import Model

if TYPE_CHECKING:
    from jaxtyping import Float, Int

# In 64-bit mode JAX computes what depends on the step alone, such as Adam's 1 - β₂ᵗ, in float64, as
# NumPy does, while arrays keep the dtype of the network. The mode is set for this thread only, and
# only inside calls.
x64 = jax.enable_x64


class XlaTrainer:
    """Runs steps of first-order training, compiled by XLA.

    The rows, θ and the solver's state stay on the devices. θ of the model and the solver state of
    the run are updated at the end of each call.
    """

    epochs_per_call = 1

    def __init__(self, model: Model, rows: Rows, run: Run, options: XlaOptions) -> None:
        check_connected()
        begin(model, run)
        self._model, self._run, self._state = model, run, run.state
        self.n_samples, self.batch_size = len(rows), run.batch_size
        self._mesh = devices.grid(options.devices)
        self._shares = Shares(options.shared_rows, run.batch_size, self._mesh)
        self._rows_of_epoch = self._shares.of_all(run.rows_per_epoch or len(rows))
        self._plan = plan_of(
            model, self._mesh, options, width=self._shares.width,
            rows_of_epoch=self._rows_of_epoch, chain=run.chain, gradient=run.gradient,
            batch_size=self._shares.of_all(run.batch_size),
        )  # fmt: skip
        with x64(True):
            self._data = on_devices(self._mesh, rows)
            self._penalised = self._plan.parameters.put(model.penalised)
        self._on_devices: Any = None  # θ and the solver's state, and their copies in NumPy
        self._check_agreement()

    def run(self, orders: Sequence[Order], rates: Sequence[Rates], first: int = 0) -> list[float]:
        (order,), (of_epoch,) = orders, rates
        order = np.arange(self.n_samples) if order is None else order
        total, done, S = 0.0, 0, len(of_epoch)
        observer, state = self._run.observer, self._state
        while done < S:
            steps = S - done
            if observer is not None:
                steps = min(steps, observer.distance(state.step))
            now = of_epoch[done : done + steps]
            total += self._steps(order, now, first + done)
            done += steps
            if observer is not None:
                observer.at(state.step, state.epoch + 1, float(now["learning_rate"][-1]))
        return [total]

    def rewind(self, n: int) -> None:
        raise AssertionError("every call runs one epoch")

    def _steps(self, order: Int[np.ndarray, " N"], rates: Rates, first: int) -> float:
        rows, counts = self._shares.of_batches(order, first, len(rates))
        with x64(True):
            steps = Steps(
                devices.put(self._mesh, devices.BATCHES, rows),
                self._everywhere(counts),
                self._everywhere(rates["learning_rate"].astype(self._model.dtype)),
                self._everywhere(rates["weight_decay"].astype(self._model.dtype)),
                self._everywhere(rates["dropout"]),
            )
            step = self._everywhere(np.int64(self._state.step))
            now = Optimized(*self._parameters(), step)
            now, losses = run(self._plan, self._mesh, now, self._inputs(), steps)
            self._update(now)
        each = np.asarray(losses, np.float64)
        if self._model.reduction != "sum":
            each = each * (counts / self._rows_of_epoch)
        return float(each.sum())

    def _inputs(self) -> Inputs:
        dropout, noise = self._state.dropout_seed, self._state.noise_seed
        seed = None if dropout is None else self._everywhere(np.int64(dropout))
        key = None
        if noise is not None:
            key = self._everywhere(np.random.SeedSequence(noise).generate_state(2))
        return Inputs(self._data, self._penalised, seed, key)

    def _parameters(self) -> tuple[Any, tuple[Any, ...]]:
        """θ and the solver's state on the devices, sent again if they were changed elsewhere."""
        kept, self._on_devices = self._on_devices, None  # compiled calls overwrite them
        state, theta = self._state.solver_state, self._model.theta
        if kept is not None and kept[1] is state and np.array_equal(kept[2], theta):
            return kept[0].theta, kept[0].state
        put = self._plan.parameters.put
        return put(theta), tuple(map(put, state))

    def _update(self, now: Optimized) -> None:
        fetched = self._plan.parameters.fetched
        self._model.theta[...] = fetched(now.theta)
        self._state.solver_state = tuple(map(fetched, now.state))
        self._state.step = int(now.step)
        self._on_devices = now, self._state.solver_state, self._model.theta.copy()

    def _everywhere(self, array: Any) -> jax.Array:
        return devices.put(self._mesh, devices.EVERYWHERE, np.asarray(array))

    def _check_agreement(self) -> None:
        """Raise if the processes that train together differ in what must be the same."""
        check_same("theta", self._model.theta)
        state = self._state
        check_same(
            "batch_size, the number of rows, seed and the training run that is resumed",
            self.batch_size, self.n_samples, self._rows_of_epoch, state.step,
            state.dropout_seed or 0, *state.solver_state,
        )  # fmt: skip
        check_same("privacy", str(self._run.gradient))


def xla_objective(model: Model, rows: Rows, options: XlaOptions) -> Objective:
    """L and ∂L/∂θ over all rows at the current θ, for L-BFGS."""
    check_connected()
    mesh, N = devices.grid(options.devices), len(rows)
    shares = Shares(options.shared_rows, N, mesh)
    options = replace(options, shard_parameters=False)  # SciPy's L-BFGS needs all of θ
    plan = plan_of(model, mesh, options, width=shares.width, rows_of_epoch=shares.of_all(N))
    check_same("theta and the number of rows", model.theta, N)
    places, counts = shares.of_batches(np.arange(N), 0, 1)

    def everywhere(array: Any) -> jax.Array:
        return devices.put(mesh, devices.EVERYWHERE, np.array(array))

    with x64(True):
        inputs = Inputs(on_devices(mesh, rows), everywhere(model.penalised))
        batch = devices.put(mesh, devices.BATCH, places[0]), everywhere(counts[0])

    def at_theta() -> tuple[float, Float[np.ndarray, " P"]]:
        with x64(True):
            loss, g = evaluate(plan, mesh, everywhere(model.theta), inputs, *batch)
            return float(loss), np.asarray(g)

    return at_theta
