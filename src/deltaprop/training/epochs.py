"""Epochs of a first-order solver: row orders, scheduled rates, and the calls of a trainer.

If nothing happens between epochs, a trainer runs several of them in one call. If training should
have ended before the last of these, the epochs after its end are undone. With checkpoints, a long
epoch runs in parts, so that training can be saved and interrupted within an epoch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from deltaprop.data.rows import TrainingRows
from deltaprop.engines.protocol import RATES, Order, Rates, Trainer
from deltaprop.errors import InputError
from deltaprop.optim.schedules import Clock, Constant
from deltaprop.optim.solvers import FirstOrder
from deltaprop.training.loop import TrainingLoop

if TYPE_CHECKING:
    from jaxtyping import Float, Int

# Limits of one part of an epoch. Checkpoints and signals are handled between parts.
MOST_STEPS, MOST_MULTIPLICATIONS = 1000, 5e9


class Epochs:
    """Drives a :class:`TrainingLoop` with the epochs of a trainer.

    Parameters
    ----------
    trainer : Trainer
    rows : TrainingRows
        Draws the row orders.
    solver : FirstOrder
        Its learning rate and weight decay, to which the schedules are applied.
    rng : RandomState
    """

    monitors_training_loss = True

    def __init__(
        self,
        trainer: Trainer,
        rows: TrainingRows,
        solver: FirstOrder,
        rng: np.random.RandomState,
    ) -> None:
        self._trainer, self._rows, self._rng = trainer, rows, rng
        self._solver, self._decay_schedule = solver, solver.decay_schedule
        self._steps = -(-trainer.n_samples // trainer.batch_size)
        self._constant: tuple[float, Rates] | None = None
        self._before: Any = None

    def advance(self, loop: TrainingLoop) -> bool:
        current = loop.checkpoints.in_progress
        if not current.done:
            current.first = loop.state.step
        current.steps = self._steps
        loop.begin_epoch()
        n = self._epochs_at_once(loop)
        self._rates = [self._rates_of_epoch(loop, e) for e in range(n or 1)]
        losses = self._run(loop, n) if n else [self._run_in_parts(loop)]
        for e, loss in enumerate(losses):
            rate = float(self._rates[e]["learning_rate"][-1])
            if not loop.end_epoch(loss, rate, self._trainer.n_samples):
                self._undo_after(loop, e + 1)
                break
        loop.settle(self._solver.learning_rate)
        return True

    def _epochs_at_once(self, loop: TrainingLoop) -> int:
        """How many epochs one call may run; 0 if the next one is to run in parts."""
        checkpoints = loop.checkpoints
        most = 1 if loop.acts_between_epochs else self._trainer.epochs_per_call
        if checkpoints.splits_epochs:
            if checkpoints.in_progress.done or self._steps > self._steps_per_part(loop):
                return 0
            most = min(most, checkpoints.steps_until_save() // self._steps)
        return min(most, loop.epochs_left)

    def _rates_of_epoch(self, loop: TrainingLoop, ahead: int) -> Rates:
        """The learning rates of an epoch, `ahead` epochs from now, and what else is scheduled."""
        state, settings = loop.state, loop.settings
        scheduled = (settings.schedule, self._decay_schedule, settings.dropout_schedule)
        if all(type(schedule) is Constant for schedule in scheduled):
            return self._constant_rates(state.scale)
        first = loop.checkpoints.in_progress.first + ahead * self._steps
        clock = Clock(state.samples + ahead * self._trainer.n_samples, loop.horizon * self._steps)
        steps, rates = np.arange(first, first + self._steps), np.empty(self._steps, RATES)
        factors, decays, dropouts = (each.factors(steps, clock) for each in scheduled)
        rates["learning_rate"] = self._solver.learning_rate * state.scale * factors
        rates["weight_decay"], rates["dropout"] = decays, _probabilities(dropouts)
        return rates

    def _constant_rates(self, scale: float) -> Rates:
        """The rates of any epoch without a schedule; kept, because small epochs take no longer."""
        if self._constant is None or self._constant[0] != scale:
            rates = np.ones(self._steps, RATES)
            rates["learning_rate"] = self._solver.learning_rate * scale
            self._constant = scale, rates
        return self._constant[1]

    def _run(self, loop: TrainingLoop, n: int) -> list[float]:
        """The losses of n epochs that run in one call."""
        if n > 1:
            self._before = self._rng.get_state(), loop.state.order
        orders = [self._next_order(loop) for _ in range(n)]
        return self._trainer.run(orders, self._rates)

    def _run_in_parts(self, loop: TrainingLoop) -> float:
        """The loss of one epoch that runs in parts, between which checkpoints may be saved.

        Where the parts end does not depend on the clock, so that the sum of their losses is
        reproducible.
        """
        checkpoints, part_size = loop.checkpoints, self._steps_per_part(loop)
        current, (rates,) = checkpoints.in_progress, self._rates
        order = self._next_order(loop) if current.done == 0 else self._present_order(loop)
        while current.done < self._steps:
            if current.done:
                checkpoints.between_steps()
            end = current.done - current.done % part_size + part_size
            part = rates[current.done : min(end, current.done + checkpoints.steps_until_save())]
            current.loss += self._trainer.run([order], [part], current.done)[0]
            current.done += len(part)
        loss, current.done, current.loss = current.loss, 0, 0.0
        return loss

    def _steps_per_part(self, loop: TrainingLoop) -> int:
        """The number of steps of one part of an epoch, which takes about one second at most."""
        multiplications = 3 * self._trainer.batch_size * loop.model.theta.size
        return max(1, min(MOST_STEPS, int(MOST_MULTIPLICATIONS / multiplications)))

    def _undo_after(self, loop: TrainingLoop, n: int) -> None:
        """Undo all but the first n epochs: θ, the solver's state, the row order and the seeds."""
        if n == len(self._rates):
            return
        self._trainer.rewind(n)
        random_state, loop.state.order = self._before
        self._rng.set_state(random_state)
        for _ in range(n):
            self._next_order(loop)

    def _present_order(self, loop: TrainingLoop) -> Order:
        return self._rows.present_order(loop.state) if loop.settings.shuffle else None

    def _next_order(self, loop: TrainingLoop) -> Order:
        if not loop.settings.shuffle:
            return None
        order: Int[np.ndarray, " N"] = self._rows.next_order(loop.state, self._rng)
        return order


def _probabilities(factors: Float[np.ndarray, " S"]) -> Float[np.ndarray, " S"]:
    """The factors of the dropout probabilities, unless one of them could make a probability 1."""
    if not (factors.min() >= 0 and factors.max() <= 1):
        raise InputError(
            "dropout_schedule must give factors in [0, 1], which multiply the dropout "
            f"probabilities; it gives {factors.min():g} to {factors.max():g}."
        )
    return factors
