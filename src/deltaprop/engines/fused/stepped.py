"""Training with a compiled gradient, for solvers whose update is not compiled.

In each step the kernel computes the loss and the gradient of a batch, with clipping of single
samples and noise in private training. The chain of gradient transformations then updates θ with
NumPy, as in the reference engine. K-FAC finds X_l and a_l of the batch in the kernel's memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from deltaprop.data.rows import Rows
from deltaprop.engines.draws import dropout_masks, fisher_rows
from deltaprop.engines.fused import constants
from deltaprop.engines.fused.blas import on_one_thread
from deltaprop.engines.fused.frame import Frame, address
from deltaprop.engines.fused.interrupts import interrupt_between_calls
from deltaprop.engines.fused.natural import InPlace, settle
from deltaprop.engines.fused.private import kernel_gradient, kernel_noise
from deltaprop.engines.protocol import Order, Rates, Run, begin
from deltaprop.functions.arrays import as_dtype
from deltaprop.model import Model
from deltaprop.optim.batch_gradients import Batch
from deltaprop.optim.natural_gradient import NaturalGradient
from deltaprop.optim.transforms import Chain, Step

if TYPE_CHECKING:
    from jaxtyping import Int


class SteppedTrainer:
    """Runs first-order training step by step; the arguments are those of `FusedTrainer`."""

    epochs_per_call = 1

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
        self._model, self._rows, self._run = model, rows, run
        self.n_samples, self.batch_size = len(rows), run.batch_size
        self._rows_per_epoch = run.rows_per_epoch or len(rows)
        self._penalised, self._G = model.penalised, np.zeros_like(model.theta)
        frame = Frame.for_training(model, rows, run.batch_size, n_threads, reproducible, precision)
        self._chain = Chain(
            tuple(
                InPlace(link, model.theta, frame.n_threads)
                if isinstance(link, NaturalGradient)
                else link
                for link in run.chain.links
            )
        )
        self._result = np.zeros(2)
        frame.set(
            G=self._G, first=self._G, second=self._G, result=self._result,
            rows_of_epoch=self._rows_per_epoch, n_steps=1, rule=constants.GRADIENT,
            seed=run.state.dropout_seed or 0,
            **kernel_gradient(run.gradient, model.reduction, run.batch_size),
            **kernel_noise(model, run, frame.n_threads),
        )  # fmt: skip
        self._frame = frame

    def run(self, orders: Sequence[Order], rates: Sequence[Rates], first: int = 0) -> list[float]:
        (order,), (of_epoch,) = orders, rates
        numbers = self._rows.numbers(order)
        self._frame.at["order"][0] = address(numbers)
        loss = 0.0
        with interrupt_between_calls() as check, self._products():
            self._frame.at["rates"][0] = address(of_epoch.view(np.float64))
            for i, rate in enumerate(of_epoch, first):
                loss += self._step(numbers, i, rate)
                self._frame.at["rates"][0] += of_epoch.itemsize
                check()
        return [loss]

    @contextmanager
    def _products(self) -> Iterator[None]:
        """Context of steps whose products NumPy computes."""
        chain = self._run.chain
        if not chain.uses_matrices:
            yield
            return
        with on_one_thread():
            try:
                yield
            finally:
                if chain.needs_fisher:
                    settle(self._run.state.solver_state, self._model.n_layers)

    def rewind(self, n: int) -> None:
        raise AssertionError("every call runs one epoch")

    def _step(self, numbers: Int[np.ndarray, " N"], i: int, rate: np.void) -> float:
        """One step on batch i of an epoch. Returns its share of the epoch's loss."""
        model, run, state = self._model, self._run, self._run.state
        if not self._computes_gradient(i):
            return 0.0
        rows = numbers[i * self.batch_size : (i + 1) * self.batch_size]
        w = None if self._rows.w is None else self._rows.w[rows]
        total = float(len(rows)) if w is None else float(w.sum())
        factors: tuple[Any, ...] = ()
        if run.chain.needs_fisher:
            shares = 1 / total if w is None else w[:, None] / total
            factors = self._fisher_rows(rows, shares, float(rate["dropout"]))
        share = len(rows) / self._rows_per_epoch
        batch = Batch(model.reduction, model.l2, len(rows), share, self.batch_size)
        step = Step(
            model.theta, float(rate["learning_rate"]), state.step + 1, self._penalised,
            run.gradient.total(batch, total), factors, model.layout, float(rate["weight_decay"]),
        )  # fmt: skip
        change, state.solver_state = self._chain.update(
            self._G, state.solver_state, step, model.n_layers
        )
        theta = model.theta
        theta += change
        state.step += 1
        if run.observer is not None:
            run.observer.at(state.step, state.epoch + 1, step.learning_rate)
        return float(self._result[1])

    def _computes_gradient(self, i: int) -> bool:
        """Compute the loss and the gradient of batch i, unless all of its weights are zero."""
        state, at = self._run.state, self._frame.at
        at["start"][0], at["step"][0] = i, state.step
        self._result[:] = state.step, 0
        if self._frame.sparse:
            self._G[:] = 0  # the kernel adds up only the entries that are present
        self._frame.run()
        return bool(self._result[0] > state.step)

    def _fisher_rows(
        self, rows: Int[np.ndarray, " B"], shares: Any, dropout: float
    ) -> tuple[Any, ...]:
        model, state, N = self._model, self._run.state, len(rows)
        layers = self._frame.room.places.layers
        X = [self._frame.rows_of(int(layer["X"]), N, int(layer["D"])) for layer in layers]
        if self._frame.sparse:
            X[0] = as_dtype(self._rows.X[rows], model.dtype)
        last = layers[-1]
        X.append(self._frame.rows_of(int(last["z"]), N, int(last["H"])))
        a = [self._frame.rows_of(int(layer["a"]), N, int(layer["H"])) for layer in layers]
        masks = dropout_masks(model, state, N, dropout)
        return tuple(fisher_rows(model, state, X, a, shares, masks))
