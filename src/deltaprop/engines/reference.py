"""The reference engine: the equations in NumPy, batch by batch.

All other engines are tested against it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from deltaprop.data.rows import Rows
from deltaprop.derivation import equations
from deltaprop.engines.draws import dropout_masks, fisher_rows
from deltaprop.engines.protocol import (
    Engine,
    Objective,
    Order,
    Processes,
    Rates,
    Run,
    SingleProcess,
    begin,
)
from deltaprop.functions.arrays import as_dtype
from deltaprop.functions.noise import gaussian
from deltaprop.model import Layout, Model
from deltaprop.optim.batch_gradients import Batch
from deltaprop.optim.transforms import Step

if TYPE_CHECKING:
    from jaxtyping import Float


@dataclass(frozen=True)
class Reference:
    """``engine="reference"``. It runs on one thread, so `reproducible` changes nothing."""

    reproducible: bool = False

    @property
    def processes(self) -> Processes:
        return SingleProcess()

    def trainer(self, model: Model, rows: Rows, run: Run) -> ReferenceTrainer:
        return ReferenceTrainer(model, rows, run)

    def objective(self, model: Model, rows: Rows) -> Objective:
        rows = rows.used
        t = model.target(rows.y)

        def evaluate() -> tuple[float, Float[np.ndarray, " P"]]:
            result = model.forward_backward(rows.X, t, rows.w)
            return float(result.loss), Layout.flat(result.dW, result.db, result.vectors)

        return evaluate

    def part(self) -> tuple[Engine, int, int]:
        return self, 0, 1

    def work_layout(self) -> dict[str, str | int]:
        return {"engine": "reference", "reproducible": self.reproducible}


class ReferenceTrainer:
    """Runs steps of first-order training with the equations of the derivation."""

    epochs_per_call = 1

    def __init__(self, model: Model, rows: Rows, run: Run) -> None:
        begin(model, run)
        self._model, self._rows, self._run = model, rows.used, run
        self.n_samples, self.batch_size = len(rows), run.batch_size
        self._rows_per_epoch = run.rows_per_epoch or len(rows)
        self._penalised = model.penalised

    def run(self, orders: Sequence[Order], rates: Sequence[Rates], first: int = 0) -> list[float]:
        return [
            self._epoch(order, of_epoch, first)
            for order, of_epoch in zip(orders, rates, strict=True)
        ]

    def rewind(self, n: int) -> None:
        raise AssertionError("every call runs one epoch")

    def _epoch(self, order: Order, rates: Rates, first: int) -> float:
        total, reduction = 0.0, self._model.reduction
        for i, rate in enumerate(rates, first):
            start = i * self.batch_size
            stop = min(start + self.batch_size, self.n_samples)
            rows = slice(start, stop) if order is None else order[start:stop]
            X, y, w = self._rows.batch(rows)
            if w is not None and not w.any() and self._run.gradient.skips_empty:
                continue
            share = (stop - start) / self._rows_per_epoch
            batch = Batch(reduction, self._model.l2, stop - start, share, self.batch_size)
            loss = self._step(X, y, w, batch, rate)
            total += loss if reduction == "sum" else loss * share
            if self._run.observer is not None:
                state = self._run.state
                self._run.observer.at(state.step, state.epoch + 1, float(rate["learning_rate"]))
        return total

    def _step(
        self, X: Any, y: np.ndarray, w: np.ndarray | None, batch: Batch, rate: np.void
    ) -> float:
        """One optimization step on a batch. Returns its loss."""
        model, run, state = self._model, self._run, self._run.state
        total = float(batch.count) if w is None else float(w.sum())
        weights, l2 = run.gradient.scales(batch, 1.0 if w is None else w[:, None], total)
        masks = dropout_masks(model, state, batch.count, float(rate["dropout"]))
        result = equations.forward_backward(
            as_dtype(X, model.dtype), model.target(y), model.W, model.b, model.f,
            model.loss_function, l2, weights, masks, run.gradient.samples, model.vectors,
        )  # fmt: skip
        g = Layout.flat(result.dW, result.db, result.vectors)
        loss, g, l2 = run.gradient.reduced(result.loss, g, batch, self._noise)
        if l2:
            loss = loss + equations.penalty(model.W, l2)
            g = g + l2 * (self._penalised * model.theta)
        factors: tuple[Any, ...] = ()
        if run.chain.needs_fisher:
            shares = 1 / total if w is None else w[:, None] / total
            rows = fisher_rows(model, state, result.X, result.a, shares, masks)
            factors = tuple(R.T @ R for R in rows)
        step = Step(
            model.theta, float(rate["learning_rate"]), state.step + 1, self._penalised,
            run.gradient.total(batch, total), factors, model.layout, float(rate["weight_decay"]),
        )  # fmt: skip
        change, state.solver_state = run.chain.update(g, state.solver_state, step, model.n_layers)
        theta = model.theta
        theta += change
        state.step += 1
        return float(loss)

    def _noise(self, deviation: float) -> Float[np.ndarray, " P"]:
        state, theta = self._run.state, self._model.theta
        return gaussian(state.noise_seed, state.step, deviation, theta.size, theta.dtype)
