"""The loop over epochs and its events. Who computes an epoch is the engine's business."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from jaxtyping import Float, Int

from deltaprop.search.schedules import Adaptive, Clock, Schedule
from deltaprop.search.stopping import Plateau


class Engine(Protocol):
    """Runs one epoch of a first-order search, updating θ in place."""

    theta: Float[np.ndarray, " P"]
    n_samples: int
    batch_size: int

    def epoch(
        self, order: Int[np.ndarray, " N"] | None, learning_rates: Float[np.ndarray, " S"]
    ) -> float:
        """One pass over the rows in that order (None: as they lie); returns the epoch's loss."""


@dataclass(frozen=True)
class Epoch:
    """The event that callbacks receive after each epoch (each iteration of L-BFGS).

    A callback that returns True stops the search.
    """

    epoch: int
    max_epochs: int
    loss: float
    learning_rate: float | None
    validation_loss: float | None
    validation_score: float | None
    seconds: float
    network: Any


cancelled: ContextVar[threading.Event | None] = ContextVar("cancelled", default=None)
"""Set from another thread, it ends the searches of this context as Ctrl-C would."""


Callback = Callable[[Epoch], object]
Evaluate = Callable[[], tuple[float | None, float | None]]


@dataclass
class Progress:
    """What a later call needs to go on exactly where this one stopped."""

    solver_state: tuple[Any, ...] = ()
    step: int = 0
    epoch: int = 0
    samples: int = 0
    scale: float = 1.0
    order: Int[np.ndarray, " N"] | None = None
    rng: np.random.RandomState | None = None
    dropout_seed: int | None = None


@dataclass
class History:
    """What happened, epoch by epoch.

    Attributes
    ----------
    loss_curve : list of float
        The training loss of each epoch, averaged over its batches while θ moved.
    validation_loss_curve, validation_scores : list of float or None
        On the validation data after each epoch, where there is any.
    n_epochs : int
        Epochs (iterations of L-BFGS) run in this call.
    stop_reason : {"converged", "max_epochs", "callback", "interrupted", "diverged"}
    best_epoch : int or None
        The epoch whose θ was restored, where validation chose one.
    progress : Progress
        For ``dp.fit(..., resume=history)``.
    """

    loss_curve: list[float] = field(default_factory=list)
    validation_loss_curve: list[float] | None = None
    validation_scores: list[float] | None = None
    n_epochs: int = 0
    stop_reason: str = "max_epochs"
    best_epoch: int | None = None
    progress: Progress = field(default_factory=Progress)


def search(
    engine: Engine,
    *,
    learning_rate: float,
    schedule: Schedule,
    max_epochs: int,
    plateau: Plateau,
    rng: np.random.RandomState,
    shuffle: bool,
    progress: Progress,
    history: History,
    evaluate: Evaluate | None = None,
    stop_on_validation: bool = False,
    monitor_loss: bool = False,
    before_epoch: Callable[[], object] = lambda: None,
    callbacks: Iterable[Callback] = (),
    horizon: int | None = None,
    network: Any = None,
) -> History:
    """Run epochs until a plateau, `max_epochs`, a callback's True, Ctrl-C or divergence.

    With `stop_on_validation` the plateau is that of the validation score (with `monitor_loss`, or
    where there is no score, of minus the validation loss), and the best θ is put back at the end,
    however the search ends.
    """
    N = engine.n_samples
    steps_per_epoch = -(-N // engine.batch_size)
    clock_steps = (horizon or max_epochs) * steps_per_epoch
    best_theta: Float[np.ndarray, " P"] | None = None
    started = time.perf_counter()
    try:
        for _ in range(max_epochs):
            if (event := cancelled.get()) is not None and event.is_set():
                raise KeyboardInterrupt
            before_epoch()
            steps = np.arange(progress.step, progress.step + steps_per_epoch)
            factors = schedule.factors(steps, Clock(progress.samples, clock_steps))
            rates = learning_rate * progress.scale * factors
            loss = engine.epoch(_next_order(N, shuffle, rng, progress), rates)

            progress.epoch += 1
            progress.samples += N
            history.n_epochs += 1
            history.loss_curve.append(loss)
            if not np.isfinite(loss) and not np.isfinite(engine.theta).all():
                history.stop_reason = "diverged"

            validation_loss, score = evaluate() if evaluate else (None, None)
            value = -loss
            if stop_on_validation:
                value = monitored(validation_loss, None if monitor_loss else score)
            record(history, validation_loss, score)
            if plateau.update(value) and stop_on_validation:
                best_theta = engine.theta.copy()
                history.best_epoch = progress.epoch

            happened = Epoch(
                progress.epoch,
                horizon or max_epochs,
                loss,
                float(rates[-1]),
                validation_loss,
                score,
                time.perf_counter() - started,
                network,
            )
            # Every callback sees every epoch, also when an earlier one asks to stop.
            if any([bool(callback(happened)) for callback in callbacks]):  # noqa: C419
                history.stop_reason = "callback"
            if history.stop_reason != "max_epochs":
                break
            if plateau.reached:
                if not _shrink(schedule, learning_rate, progress):
                    history.stop_reason = "converged"
                    break
                plateau.count = 0
    except KeyboardInterrupt:
        history.stop_reason = "interrupted"
    finally:
        if best_theta is not None:
            engine.theta[...] = best_theta
    history.progress = progress
    return history


def _next_order(
    N: int, shuffle: bool, rng: np.random.RandomState, progress: Progress
) -> Int[np.ndarray, " N"] | None:
    if not shuffle:
        return None
    if progress.order is None or len(progress.order) != N:
        progress.order = np.arange(N)
    # scikit-learn shuffles the previous epoch's order through a fresh permutation.
    permutation = np.arange(N)
    rng.shuffle(permutation)
    progress.order = progress.order[permutation]
    return progress.order


def monitored(validation_loss: float | None, score: float | None) -> float:
    """What the search maximises on validation data: the score, else minus the loss."""
    if score is not None:
        return score
    assert validation_loss is not None
    return -validation_loss


def record(history: History, validation_loss: float | None, score: float | None) -> None:
    if validation_loss is not None:
        history.validation_loss_curve = [*(history.validation_loss_curve or []), validation_loss]
    if score is not None:
        history.validation_scores = [*(history.validation_scores or []), score]


def _shrink(schedule: Schedule, learning_rate: float, progress: Progress) -> bool:
    if not isinstance(schedule, Adaptive) or learning_rate * progress.scale <= schedule.minimum:
        return False
    progress.scale /= schedule.divisor
    return True
