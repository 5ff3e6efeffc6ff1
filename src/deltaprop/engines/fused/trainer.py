"""The fused engine: many steps in one compiled call, threads sharing the work of each step."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from deltaprop.data.rows import Rows
from deltaprop.engines.fused.frame import Frame, address
from deltaprop.engines.fused.interrupts import interrupt_between_calls
from deltaprop.engines.fused.private import kernel_gradient, kernel_noise
from deltaprop.engines.fused.rules import kernel_rule
from deltaprop.engines.protocol import RATES, Order, Rates, Run, begin
from deltaprop.model import Model
from deltaprop.optim.transforms import ScaleSteps

if TYPE_CHECKING:
    from jaxtyping import Float, Int

SECONDS_PER_CALL = 0.05  # the longest delay of Ctrl-C, and of a thread that could assist
SCALES = ("scales", "scales_first", "scales_second")  # the first parts of such a solver's state
SECONDS_OF_EPOCHS, ROWS_OF_EPOCHS = 0.02, 200_000  # limits for epochs that run in one call


class FusedTrainer:
    """Runs steps of first-order training, compiled with Numba.

    Parameters
    ----------
    model : Model
    rows : Rows
    run : Run
    n_threads : int, optional
        At most how many threads share a step. The default is the number of available cores, or
        one if a step is too small to share.
    reproducible : bool, default=False
        Divide the work so that results do not depend on the number of threads.
    precision : {None, "bfloat16"}, default=None
        The dtype of the factors of matrix products. None is the dtype of the network.
    """

    def __init__(
        self,
        model: Model,
        rows: Rows,
        run: Run,
        n_threads: int | None = None,
        reproducible: bool = False,
        precision: str | None = None,
    ) -> None:
        begin(model, run)
        self._model, self._state, self._observer = model, run.state, run.observer
        self._rows, self.batch_size, self.n_samples = rows, run.batch_size, len(rows)
        self._frame = Frame.for_training(
            model, rows, run.batch_size, n_threads, reproducible, precision
        )
        if isinstance(run.chain.links[-1], ScaleSteps):
            self._frame.set_rates(run.chain.links[-1].of(model.layout))
        self._shared = self._frame.n_threads > 1
        self._scales_inputs = run.chain.scales_inputs
        self._frame.set(
            rows_of_epoch=run.rows_per_epoch or len(rows), seed=run.state.dropout_seed or 0,
            **kernel_rule(run.chain),
            **kernel_gradient(run.gradient, model.reduction, run.batch_size),
            **kernel_noise(model, run, self._frame.n_threads),
        )  # fmt: skip
        self._pace = SECONDS_PER_CALL  # seconds per step; a large value until it is measured
        self._before: Any = None
        self._room_for_orders = np.empty(0, np.int64)

    @property
    def epochs_per_call(self) -> int:
        steps = -(-self.n_samples // self.batch_size)
        by_time = int(SECONDS_OF_EPOCHS / max(self._pace * steps, 1e-9))
        return max(1, min(by_time, ROWS_OF_EPOCHS // self.n_samples))

    def run(self, orders: Sequence[Order], rates: Sequence[Rates], first: int = 0) -> list[float]:
        self._before = None
        state = self._state
        if len(orders) > 1:
            kept = [part.copy() for part in (self._model.theta, *state.solver_state)]
            self._before = (kept, state.step, orders, rates)
        order = self._joined([self._row_numbers(each) for each in orders])
        numbers = np.concatenate([each.view(np.float64) for each in rates])
        of_steps: Rates = numbers.view(RATES)  # joining records would take 25 times as long
        result = np.zeros(1 + len(orders))
        result[0] = state.step
        at = self._frame.at
        at["order"][0], at["rates"][0], at["result"][0] = map(address, (order, numbers, result))
        self._place_moments(state.solver_state)
        with ExitStack() as stack:
            check = _nothing
            if self._shared or len(orders) > 1:
                check = stack.enter_context(interrupt_between_calls())
            self._steps(result, of_steps, first, len(rates[0]), check)
        return [float(loss) for loss in result[1:]]

    def _place_moments(self, moments: tuple[Any, ...]) -> None:
        """Tell the kernel where the state of the solver is."""
        at = self._frame.at
        if self._scales_inputs:
            for name, part in zip(SCALES, moments, strict=False):
                at[name][0] = address(part)
            moments = moments[len(SCALES) :]
        at["first"][0], at["second"][0] = address(moments[0]), address(moments[-1])

    def rewind(self, n: int) -> None:
        assert self._before is not None
        kept, self._state.step, orders, rates = self._before
        parts = (self._model.theta, *self._state.solver_state)
        for part, before in zip(parts, kept, strict=True):
            part[...] = before
        self.run(orders[:n], rates[:n])
        if self._observer is not None:
            self._observer.forget_after(self._state.step)

    def _joined(self, orders: list[Int[np.ndarray, " N"]]) -> Int[np.ndarray, " M"]:
        """The orders one after the other, in memory that is kept between calls."""
        if len(orders) == 1:
            return orders[0]
        M = sum(map(len, orders))
        if len(self._room_for_orders) < M:
            self._room_for_orders = np.empty(M, np.int64)
        return np.concatenate(orders, out=self._room_for_orders[:M])

    def _row_numbers(self, order: Order) -> Int[np.ndarray, " N"]:
        return self._as_stored if order is None else self._rows.numbers(order)

    @cached_property
    def _as_stored(self) -> Int[np.ndarray, " N"]:
        return self._rows.numbers()

    def _steps(
        self,
        result: Float[np.ndarray, " E"],
        rates: Rates,
        first: int,
        steps_per_epoch: int,
        check: Callable[[], None],
    ) -> None:
        """Run all steps in calls that last SECONDS_PER_CALL at most and end where observed."""
        at, done, rates_at = self._frame.at, 0, int(self._frame.at["rates"][0])
        state, observer = self._state, self._observer
        while done < len(rates):
            steps = min(max(1, int(SECONDS_PER_CALL / self._pace)), len(rates) - done)
            if observer is not None:
                steps = min(steps, observer.distance(state.step))
            at["start"][0], at["n_steps"][0] = first + done, steps
            at["step"][0], at["rates"][0] = state.step, rates_at + rates.itemsize * done
            started = time.perf_counter()
            try:
                self._frame.run()
            finally:  # with one thread, a Ctrl-C that waited for the call is raised here
                state.step = int(result[0])
            self._pace = max((time.perf_counter() - started) / steps, 1e-9)
            done += steps
            if observer is not None:
                epoch = state.epoch + 1 + (done - 1) // steps_per_epoch
                observer.at(state.step, epoch, float(rates["learning_rate"][done - 1]))
            check()


def _nothing() -> None:
    return
