"""The fused engine as the search sees it: one epoch at a time over checked arrays."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from deltaprop.engines.fused import constants, threads
from deltaprop.engines.fused.frame import Frame, address
from deltaprop.engines.fused.layout import training_room
from deltaprop.engines.fused.rows import Rows
from deltaprop.engines.reference import begin
from deltaprop.network import Network
from deltaprop.optim.solvers import SGD, Adam, AdamW, FirstOrder
from deltaprop.training.loop import Progress

if TYPE_CHECKING:
    from jaxtyping import Float, Int, Num

    from deltaprop.training.recording import Recorder

REDUCTIONS = {
    "sum": constants.SUM, "mean": constants.MEAN, "sklearn": constants.SKLEARN
}  # fmt: skip
SECONDS_A_CALL = 0.2  # how long Ctrl-C may wait
SECONDS_AT_ONCE, ROWS_AT_ONCE = 0.02, 200_000  # of epochs that run in one call


class FusedEngine:
    """Epochs of a first-order search, compiled. Arguments as those of ReferenceEngine.

    Parameters
    ----------
    n_threads : int, optional
        How many threads share the work of a step; by default as many as the machine gives, one
        where a step is too small to share.
    reproducible : bool, default=False
        Divide the work so that results do not depend on the number of threads.
    subset : ndarray of int (M,), optional
        The rows of X to train on, in place of all.
    recorder : Recorder, optional
        Called after the steps that it wants: compiled calls end there.
    rows_of_epoch : int, optional
        How many rows an epoch has, where X holds only a part of them.
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
        n_threads: int | None = None,
        reproducible: bool = False,
        subset: Int[np.ndarray, " M"] | None = None,
        recorder: Recorder | None = None,
        rows_of_epoch: int | None = None,
    ) -> None:
        self._recorder = recorder
        self.net, self.solver, self.progress = net, solver, progress
        self.theta, self.batch_size = net.theta, batch_size
        rows = Rows(net, X, y, w, subset)
        self.n_samples, self._subset = rows.N, subset
        self.room = training_room(
            net, rows.K, batch_size, n_threads or threads.available(), rows.sparse,
            reproducible,
        )  # fmt: skip
        begin(net, solver, progress)
        self._frame = Frame(net, rows, self.room)
        self._frame.set(
            G=np.zeros_like(net.theta), batch=batch_size, rows_of_epoch=rows_of_epoch or rows.N,
            parts=np.zeros(2 * net.n_layers * (constants.MOST_PIECES + 1)),
            reduction=REDUCTIONS[net.reduction], l2=net.l2, clip=clip_norm or 0.0,
            seed=progress.dropout_seed or 0, **_rule(solver),
        )  # fmt: skip
        self._pace = SECONDS_A_CALL  # seconds a step, until it is known
        self._before: Any = None
        self._room_for_orders = np.empty(0, np.int64)

    @property
    def at_once(self) -> int:
        """How many epochs one call should run, where nobody looks at each."""
        steps = -(-self.n_samples // self.batch_size)
        most = min(
            int(SECONDS_AT_ONCE / max(self._pace * steps, 1e-9)), ROWS_AT_ONCE // self.n_samples
        )
        return max(1, most)

    def epoch(
        self,
        order: Int[np.ndarray, " N"] | None,
        learning_rates: Float[np.ndarray, " S"],
        first: int = 0,
    ) -> float:
        return self.epochs([order], [learning_rates], first)[0]

    def epochs(
        self,
        orders: list[Int[np.ndarray, " N"] | None],
        learning_rates: list[Float[np.ndarray, " S"]],
        first: int = 0,
    ) -> list[float]:
        """Several epochs in one call (or one, from step `first` on). `again` takes some back."""
        self._before = None
        if len(orders) > 1:
            kept = [part.copy() for part in (self.theta, *self.progress.solver_state)]
            self._before = (kept, self.progress.step, orders, learning_rates)
        order = self._joined([self._rows(each) for each in orders])
        rates = np.concatenate([np.asarray(each, np.float64) for each in learning_rates])
        result = np.zeros(1 + len(orders))
        result[0] = self.progress.step
        state, at = self.progress.solver_state, self._frame.at
        at["order"][0], at["rates"][0], at["result"][0] = map(address, (order, rates, result))
        at["first"][0], at["second"][0] = address(state[0]), address(state[-1])
        with ExitStack() as around:
            check = _nothing
            if self.room.n_threads > 1 or len(orders) > 1:
                check = around.enter_context(threads.interrupt_between_calls())
            self._steps(result, rates, first, len(learning_rates[0]), check)
        return [float(loss) for loss in result[1:]]

    def again(self, n: int) -> None:
        """Back to where only the first n epochs of the last call have been run."""
        assert self._before is not None
        kept, self.progress.step, orders, rates = self._before
        for part, was in zip((self.theta, *self.progress.solver_state), kept, strict=True):
            part[...] = was
        self.epochs(orders[:n], rates[:n])
        if self._recorder is not None:
            self._recorder.forget_after(self.progress.step)

    def _joined(self, orders: list[Int[np.ndarray, " N"]]) -> Int[np.ndarray, " M"]:
        """One after the other, in room that is kept from call to call."""
        if len(orders) == 1:
            return orders[0]
        M = sum(map(len, orders))
        if len(self._room_for_orders) < M:
            self._room_for_orders = np.empty(M, np.int64)
        return np.concatenate(orders, out=self._room_for_orders[:M])

    def _rows(self, order: Int[np.ndarray, " N"] | None) -> Int[np.ndarray, " N"]:
        if order is None:
            return self._in_order
        return order if self._subset is None else self._subset[order]

    @cached_property
    def _in_order(self) -> Int[np.ndarray, " N"]:
        return np.arange(self.n_samples) if self._subset is None else self._subset

    def _steps(
        self,
        result: Float[np.ndarray, " E"],
        rates: Float[np.ndarray, " S"],
        first: int,
        an_epoch: int,
        check: Callable[[], None],
    ) -> None:
        at, done, rates_at = self._frame.at, 0, address(rates)
        progress, recorder = self.progress, self._recorder
        while done < len(rates):
            steps = min(max(1, int(SECONDS_A_CALL / self._pace)), len(rates) - done)
            if recorder is not None:
                steps = min(steps, recorder.distance(progress.step))
            at["start"][0], at["n_steps"][0] = first + done, steps
            at["step"][0], at["rates"][0] = self.progress.step, rates_at + 8 * done
            started = time.perf_counter()
            try:
                self._frame.call(self._frame.compiled.run)
            finally:  # one thread needs no more than this for Ctrl-C: it waits for the call
                self.progress.step = int(result[0])
            self._pace = max((time.perf_counter() - started) / steps, 1e-9)
            done += steps
            if recorder is not None:
                epoch = progress.epoch + 1 + (done - 1) // an_epoch
                recorder.at(progress.step, epoch, float(rates[done - 1]))
            check()


def _nothing() -> None:
    return


def loss_and_gradient(
    net: Network,
    X: Any,
    y: Num[np.ndarray, "N ..."],
    w: Float[np.ndarray, " N"] | None,
    n_threads: int | None = None,
    reproducible: bool = False,
    subset: Int[np.ndarray, " M"] | None = None,
) -> Any:
    """A function that gives L and ∂L/∂θ over all rows at the network's current θ, for L-BFGS."""
    rows = Rows(net, X, y, w, subset)
    order = np.arange(rows.N) if subset is None else subset
    room = training_room(
        net, rows.K, rows.N, n_threads or threads.available(), rows.sparse, reproducible
    )
    frame, result, G = Frame(net, rows, room), np.zeros(2), np.zeros_like(net.theta)
    frame.set(
        G=G, result=result, batch=rows.N, rows_of_epoch=rows.N, n_steps=1,
        rates=np.zeros(1), order=order,
        parts=np.zeros(2 * net.n_layers * (constants.MOST_PIECES + 1)),
        first=G, second=G, rule=constants.GRADIENT, reduction=REDUCTIONS[net.reduction], l2=net.l2,
    )  # fmt: skip

    def evaluate() -> tuple[float, Float[np.ndarray, " P"]]:
        result[:] = 0
        G[:] = 0  # of sparse rows only the entries that are there are added up
        with threads.interrupt_between_calls() as check:
            frame.call(frame.compiled.run)
            check()
        return float(result[1]), G

    return evaluate


def _rule(solver: FirstOrder) -> dict[str, Any]:
    if isinstance(solver, SGD):
        return {"rule": constants.SGD, "b1": solver.momentum, "nesterov": solver.nesterov}
    assert isinstance(solver, Adam)
    decay = solver.weight_decay if isinstance(solver, AdamW) else 0.0
    return {
        "rule": constants.ADAM, "b1": solver.beta_1, "b2": solver.beta_2,
        "epsilon": solver.epsilon, "decay": decay,
    }  # fmt: skip
