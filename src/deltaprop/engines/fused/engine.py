"""The fused engine as the search sees it: one epoch at a time over checked arrays."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import numpy as np
import scipy.linalg.cython_blas  # noqa: F401  (compiled products need it loaded)
from jaxtyping import Float, Int, Num

from deltaprop.engines.fused import kernel
from deltaprop.engines.fused.functions import ROW_LOSSES, compiled
from deltaprop.engines.reference import penalised
from deltaprop.network import Network
from deltaprop.search import SGD, Adam, AdamW, FirstOrder, Progress

REDUCTIONS = {"sum": kernel.SUM, "mean": kernel.MEAN, "sklearn": kernel.SKLEARN}
WORK_FOR_TWO = 500_000  # multiplications a step below which a second thread costs more than it does
SECONDS_A_CALL = 0.2  # how long Ctrl-C may wait


def unsupported(net: Network, X: Any, solver: Any) -> str | None:
    """Why the fused engine cannot run this search; None where it can."""
    if hasattr(X, "tocsr"):
        return "X is sparse"
    if net.loss_function.name in ROW_LOSSES and net.loss_function.is_ours:
        return f"the loss {net.loss_function.name!r} couples outputs"
    if any(f.coupling == "row" and f.name != "softmax" for f in net.f):
        return "an activation of the user's own couples outputs"
    if any(f.name == "mean_variance" for f in net.f):
        return "the activation 'mean_variance' differs from column to column"
    if type(solver) not in (SGD, Adam, AdamW):
        return f"the solver {type(solver).__name__} is not compiled"
    if net.loss_function.outputs_per_target != 1:
        return "the loss has several outputs for a target"
    return None


class FusedEngine:
    """Epochs of a first-order search, compiled. Arguments as those of ReferenceEngine.

    Parameters
    ----------
    n_threads : int, optional
        How many threads split each batch; by default as many as the machine gives, one where a
        step is too small to share.
    """

    def __init__(
        self,
        net: Network,
        X: Float[np.ndarray, "N D"],
        y: Num[np.ndarray, "N ..."],
        w: Float[np.ndarray, " N"] | None,
        *,
        solver: FirstOrder,
        batch_size: int,
        clip_norm: float | None,
        progress: Progress,
        n_threads: int | None = None,
    ) -> None:
        self.net, self.solver, self.progress = net, solver, progress
        self.theta, self.n_samples, self.batch_size = net.theta, X.shape[0], batch_size
        self.clip_norm = clip_norm
        self._X = np.ascontiguousarray(X, dtype=net.dtype)
        self._w = np.empty(0, net.dtype) if w is None else np.ascontiguousarray(w, net.dtype)
        self._codes, self._table, self._targets = _encoded(net, y)
        self._blocks = compiled(net.f, net.loss_function, net.dtype.name)
        self._sizes = np.array([net.n_features, *(layer.units for layer in net.layers)])
        self._dropout = np.array([layer.dropout for layer in net.layers])
        self._penalised = penalised(net)
        products = int(np.sum(self._sizes[:-1] * self._sizes[1:])) * batch_size
        if n_threads is None:
            n_threads = len(os.sched_getaffinity(0)) if products >= WORK_FOR_TWO else 1
        self.n_threads = max(1, min(n_threads, batch_size))
        self._allocate()
        if not progress.solver_state:
            progress.solver_state = solver.init(net.theta)
        self._steps_a_call = 1  # until the pace is known

    def _allocate(self) -> None:
        rows = -(-self.batch_size // self.n_threads)
        K = (self._table if len(self._codes) else self._targets).shape[1]
        outputs = self._sizes[1:]
        width = self._sizes[0] + K + 2 * outputs.sum() + 2 * outputs.max() + 1
        dtype, P = self.net.dtype, len(self.theta)
        self._work = np.zeros((self.n_threads, int(rows * width) + 64), dtype)
        self._G = np.zeros((self.n_threads, P), dtype)
        self._sync = np.zeros(16, np.int64)
        self._partial = np.zeros((self.n_threads, 8))

    def epoch(
        self, order: Int[np.ndarray, " N"] | None, learning_rates: Float[np.ndarray, " S"]
    ) -> float:
        order = np.arange(self.n_samples) if order is None else order
        rates = np.ascontiguousarray(learning_rates, np.float64)
        self._partial[:] = 0
        self._partial[:, 1] = self.progress.step
        done = 0
        with _one_blas_thread(), _interrupt_between_calls() as check:
            while done < len(rates):
                steps = min(self._steps_a_call, len(rates) - done)
                started = time.perf_counter()
                self._run(order, done * self.batch_size, rates[done : done + steps])
                pace = (time.perf_counter() - started) / steps
                self._steps_a_call = max(1, int(SECONDS_A_CALL / max(pace, 1e-9)))
                done += steps
                check()
        return float(self._partial[:, 0].sum())

    def _run(
        self, order: Int[np.ndarray, " N"], first: int, rates: Float[np.ndarray, " S"]
    ) -> None:
        state = self.progress.solver_state
        memory = (state[0], state[1] if len(state) > 1 else state[0])
        arguments = (
            self.n_threads, self._sync, self.theta, memory, self._G, self._penalised, self._work,
            self._partial, self._X, self._codes, self._table, self._targets, self._w, order, first,
            self.batch_size, self._sizes, self._dropout,
            (1 / (1 - self._dropout)).astype(self.net.dtype),
            self._blocks.forward, self._blocks.pull_back, self._blocks.loss, self._blocks.collapsed,
            *_rule(self.solver), rates, self.progress.step, self.net.l2,
            REDUCTIONS[self.net.reduction], self.clip_norm or 0.0, self.progress.dropout_seed or 0,
        )  # fmt: skip
        threads = [
            threading.Thread(target=kernel.run, args=(k, *arguments))
            for k in range(1, self.n_threads)
        ]
        for thread in threads:
            thread.start()
        kernel.run(0, *arguments)
        for thread in threads:
            thread.join()
        self.progress.step = int(self._partial[0, 1])


def _encoded(
    net: Network, y: Num[np.ndarray, "N ..."]
) -> tuple[Int[np.ndarray, " N"], Float[np.ndarray, "C K"], Float[np.ndarray, "N K"]]:
    """Class indices with each class's target row, or the target rows themselves."""
    nothing, H = np.empty((0, 1), net.dtype), net.n_outputs
    target = net.loss_function.target
    if y.ndim == 1 and H > 1:
        return y.astype(np.int64), target(np.arange(H), H, net.theta, np), nothing
    return np.empty(0, np.int64), nothing, np.ascontiguousarray(target(y, H, net.theta, np))


def _rule(solver: FirstOrder) -> tuple[int, tuple[float, float, float, float, float]]:
    if isinstance(solver, SGD):
        return kernel.SGD, (solver.momentum, 0.0, 0.0, 0.0, float(solver.nesterov))
    assert isinstance(solver, Adam)
    decay = solver.weight_decay if isinstance(solver, AdamW) else 0.0
    return kernel.ADAM, (solver.beta_1, solver.beta_2, solver.epsilon, decay, 0.0)


@contextmanager
def _interrupt_between_calls() -> Iterator[Callable[[], None]]:
    """Ctrl-C waits for the end of a compiled call: threads meet at barriers, and θ, the solver's
    memory and the step count must agree. The yielded function raises what has been waiting."""
    caught: list[int] = []

    def check() -> None:
        if caught:
            raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield check  # signals reach the main thread only
        return
    before = signal.getsignal(signal.SIGINT)
    if before is not signal.default_int_handler:
        yield check  # the program handles Ctrl-C in its own way
        return
    signal.signal(signal.SIGINT, lambda number, frame: caught.append(number))
    try:
        yield check
    finally:
        signal.signal(signal.SIGINT, before)
    check()


@cache
def _controller() -> Any:
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


def _one_blas_thread() -> Any:
    """Inside, BLAS runs on one thread: ours split the rows. Restored on the way out."""
    return _controller().limit(limits=1, user_api="blas")
