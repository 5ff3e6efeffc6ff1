"""The training loop: what happens between epochs, the same for every solver."""

from __future__ import annotations

import math
import time
from typing import Protocol

import numpy as np

from deltaprop.model import Model
from deltaprop.optim.schedules import Adaptive
from deltaprop.optim.state import TrainingState
from deltaprop.training.averaging import Average
from deltaprop.training.callbacks import Callbacks
from deltaprop.training.checkpoint import Checkpoints, NoCheckpoints
from deltaprop.training.history import Epoch, History
from deltaprop.training.interruption import cancelled
from deltaprop.training.settings import Settings
from deltaprop.training.stopping import Plateau
from deltaprop.training.validation import Validation


class Driver(Protocol):
    """Changes θ: epochs of a first-order solver, or iterations of L-BFGS."""

    monitors_training_loss: bool
    """Whether training without validation data stops when the training loss no longer improves."""

    def advance(self, loop: TrainingLoop) -> bool:
        """Run one or more epochs and report each of them to ``loop.end_epoch``.

        Returns False if there is nothing left to do.
        """


class TrainingLoop:
    """One training run: its settings, its state, and the events after each epoch.

    Parameters
    ----------
    model : Model
    settings : Settings
    state : TrainingState
    plateau : Plateau
    callbacks : Callbacks
    validation : Validation, optional
    loss_scale : float, default=1.0
        By which a mean loss is multiplied to be on the scale of the training loss.
    """

    def __init__(
        self,
        model: Model,
        settings: Settings,
        state: TrainingState,
        plateau: Plateau,
        callbacks: Callbacks,
        validation: Validation | None,
        loss_scale: float = 1.0,
    ) -> None:
        self.model, self.settings, self.state = model, settings, state
        self.history = History(progress=state)
        self.plateau, self.callbacks, self.validation = plateau, callbacks, validation
        self._loss_scale = loss_scale
        self.checkpoints: Checkpoints = NoCheckpoints()
        self.average = Average(model.theta, state, settings.ema_decay)
        self._started = time.perf_counter()

    @property
    def horizon(self) -> int:
        """The number of epochs that the schedule is made for."""
        return self.settings.horizon or self.settings.max_epochs

    @property
    def epochs_left(self) -> int:
        """How many epochs may still run."""
        return self.settings.max_epochs - self.history.n_epochs

    @property
    def ended(self) -> bool:
        """Whether no further epoch should run."""
        return self.epochs_left <= 0 or self.history.stop_reason != "max_epochs"

    @property
    def acts_between_epochs(self) -> bool:
        """Whether something happens after each epoch, so that engines run one epoch per call."""
        settings = self.settings
        every_epoch = settings.privacy is not None or settings.ema_decay > 0
        return bool(self.callbacks) or self.validation is not None or every_epoch

    def run(self, driver: Driver) -> None:
        """Run until `max_epochs`, a plateau, a callback that returns True, Ctrl-C or divergence."""
        # What stops private training must not depend on the rows that it protects.
        private = self.settings.privacy is not None
        self._monitors_loss = driver.monitors_training_loss and not private
        try:
            while not self.ended and driver.advance(self):
                pass
            self.checkpoints.finish()
        except KeyboardInterrupt:
            self.history.stop_reason = "interrupted"
        finally:
            self.average.finish()
            best = self.checkpoints.in_progress.best_theta
            if best is not None:
                self.model.theta[...] = best
        if self.has_diverged():
            self.history.stop_reason = "diverged"

    def has_diverged(self) -> bool:
        """Whether θ, or the last loss of a θ that no validation data chose, is not finite."""
        history = self.history
        trusted = (
            history.best_epoch is not None
            or history.stop_reason == "interrupted"
            or self.settings.privacy is not None  # which clips a gradient, but not a loss
        )
        finite = trusted or not history.loss_curve or math.isfinite(history.loss_curve[-1])
        return not (finite and np.isfinite(self.model.theta).all())

    def check_cancelled(self) -> None:
        """Raise KeyboardInterrupt if another thread has cancelled the training."""
        if (event := cancelled.get()) is not None and event.is_set():
            raise KeyboardInterrupt

    def begin_epoch(self) -> None:
        """Call before each epoch. Raises KeyboardInterrupt if the training must stop."""
        self.check_cancelled()
        privacy = self.settings.privacy
        # An epoch that continues from a checkpoint was counted when it began.
        if privacy is not None and not self.checkpoints.in_progress.done:
            self.state.mu_squared += privacy.mu_squared_per_epoch
        self.callbacks.begin_epoch()

    def end_epoch(self, loss: float, learning_rate: float | None, samples: int = 0) -> bool:
        """Call after each epoch, with its loss. Returns whether the training may continue."""
        self.state.epoch += 1
        self.state.samples += samples
        self.average.update(self.checkpoints.in_progress.first)
        with self.average.in_place_of_theta():
            self._report(loss, learning_rate)
        return math.isfinite(loss) and not self.plateau.reached

    def _report(self, loss: float, learning_rate: float | None) -> None:
        """Validate the network, keep θ if it is the best, and call the callbacks."""
        state, history, validation = self.state, self.history, self.validation
        mean_loss, score = validation.evaluate() if validation else (None, None)
        validation_loss = None if mean_loss is None else self._loss_scale * mean_loss
        history.add(loss, validation_loss, score)
        if validation is not None and validation.stops:
            if self.plateau.update(validation.monitored(mean_loss, score)):
                self.checkpoints.in_progress.best_theta = self.model.theta.copy()
                history.best_epoch = state.epoch
        elif self._monitors_loss:
            self.plateau.update(-loss)
        if self.callbacks:
            seconds = time.perf_counter() - self._started
            event = Epoch(
                state.epoch, self.horizon, loss, learning_rate, validation_loss, score, seconds,
                self.model,
            )  # fmt: skip
            if self.callbacks.end_epoch(event):
                history.stop_reason = "callback"

    def settle(self, learning_rate: float | None) -> None:
        """Stop or save if it is time. Call when the driver has undone any epochs run in excess."""
        history = self.history
        if not math.isfinite(history.loss_curve[-1]) and not np.isfinite(self.model.theta).all():
            history.stop_reason = "diverged"
        if self.plateau.reached and history.stop_reason == "max_epochs":
            if not self._reduce_learning_rate(learning_rate):
                history.stop_reason = "converged"
            self.plateau.count = 0
        self.checkpoints.between_steps()

    def _reduce_learning_rate(self, learning_rate: float | None) -> bool:
        """Whether the schedule reduces the learning rate on a plateau, instead of stopping."""
        schedule, state = self.settings.schedule, self.state
        if learning_rate is None or not isinstance(schedule, Adaptive):
            return False
        if learning_rate * state.scale <= schedule.minimum:
            return False
        state.scale /= schedule.divisor
        return True
