"""The loop over epochs and its events. Who computes an epoch is the engine's business."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterable
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from deltaprop.optim.schedules import Adaptive, Clock, Schedule
from deltaprop.training.stopping import Plateau

if TYPE_CHECKING:
    from jaxtyping import Float, Int

    from deltaprop.training.recording import RecordedStep


class Engine(Protocol):
    """Runs one epoch of a first-order search, updating θ in place."""

    theta: Float[np.ndarray, " P"]
    n_samples: int
    batch_size: int

    def epoch(
        self,
        order: Int[np.ndarray, " N"] | None,
        learning_rates: Float[np.ndarray, " S"],
        first: int = 0,
    ) -> float:
        """The steps of a pass over the rows in that order (None: as they lie), from `first` on.

        There are as many steps as learning rates. Returns their part of the epoch's loss: those of
        all steps add up to it.
        """


class Keeper(Protocol):
    """Saves a search now and then, so that it can go on from there."""

    under_way: UnderWay

    def until_cut(self) -> int:
        """How many steps may run before `pause` has to be asked."""

    def pause(self) -> None:
        """Save the search if it is time. Raises KeyboardInterrupt if it has to stop here."""

    def finish(self) -> None:
        """The search has ended by itself."""


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


MOST_STEPS, MOST_WORK = 1000, 5e9  # between two looks at clock and signals: steps, multiplications

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
    order_seed: int | None = None  # in place of an order, where rows are not in memory
    rng: np.random.RandomState | None = None
    dropout_seed: int | None = None  # of K-FAC's signs, too
    noise_seed: int | None = None  # of private training; whoever knows it can undo the noise
    mu_squared: float = 0.0  # what private training has revealed; inf if a part was not private


@dataclass
class UnderWay:
    """Where a search stands inside its epoch, and the best θ so far."""

    best_theta: Float[np.ndarray, " P"] | None = None
    steps: int = 1  # of the epoch
    first: int = 0  # Progress.step when it began
    done: int = 0
    loss: float = 0.0  # of the steps done


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
        Epochs (iterations of L-BFGS) run in this call, and before it where it went on from a
        checkpoint.
    stop_reason : {"converged", "max_epochs", "callback", "interrupted", "diverged"}
    signal : int or None
        Of a search with checkpoints: the signal that interrupted it.
    best_epoch : int or None
        The epoch whose θ was restored, where validation chose one.
    progress : Progress
        For ``dp.fit(..., resume=history)``.
    records : list of RecordedStep
        What ``record=`` asked for, step by step.
    """

    loss_curve: list[float] = field(default_factory=list)
    validation_loss_curve: list[float] | None = None
    validation_scores: list[float] | None = None
    n_epochs: int = 0
    stop_reason: str = "max_epochs"
    signal: int | None = None
    best_epoch: int | None = None
    progress: Progress = field(default_factory=Progress)
    records: list[RecordedStep] = field(default_factory=list)

    def epsilon(self, delta: float) -> float:
        """ε of the (ε, δ)-differential privacy of this search, with all that it went on from.

        Of the epochs that were begun, whether they ended or not. inf where a part of the search ran
        without ``privacy=``. Where the search could have stopped early by what it saw, the ε to
        state is that of all it might have run: ``privacy.epsilon(delta, max_epochs)``.

        Examples
        --------
        >>> from deltaprop.training.loop import History, Progress
        >>> round(History(progress=Progress(mu_squared=20 / 4.0**2)).epsilon(delta=1e-5), 3)
        4.983
        """
        from deltaprop.optim.privacy import epsilon_of

        return epsilon_of(delta, math.sqrt(self.progress.mu_squared))


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
    before_epoch: Callable[[], object] | None = None,
    callbacks: Iterable[Callback] = (),
    horizon: int | None = None,
    network: Any = None,
    keeper: Keeper | None = None,
) -> History:
    """Run epochs until a plateau, `max_epochs`, a callback's True, Ctrl-C or divergence.

    With `stop_on_validation` the plateau is that of the validation score (with `monitor_loss`, or
    where there is no score, of minus the validation loss), and the best θ is put back at the end,
    however the search ends. A `keeper` is asked between steps whether to save the search.
    """
    under_way = UnderWay() if keeper is None else keeper.under_way
    started = time.perf_counter()
    watched = bool(callbacks) or evaluate is not None or before_epoch is not None

    def rates(ahead: int, steps: int) -> Float[np.ndarray, " S"]:
        clock = Clock(progress.samples + ahead * engine.n_samples, (horizon or max_epochs) * steps)
        first = under_way.first + ahead * steps
        factors = schedule.factors(np.arange(first, first + steps), clock)
        return learning_rate * progress.scale * factors

    try:
        while history.n_epochs < max_epochs and history.stop_reason == "max_epochs":
            if (event := cancelled.get()) is not None and event.is_set():
                raise KeyboardInterrupt
            if before_epoch is not None:
                before_epoch()
            most = 1 if watched else getattr(engine, "at_once", 1)
            ahead = _Ahead(engine, rng, shuffle, progress, under_way)
            whole = max_epochs if keeper is None else ahead.whole_epochs(keeper)
            if keeper is not None and whole == 0:
                losses = ahead.run_in_parts(rates, keeper)
            else:
                losses = ahead.run(min(most, whole, max_epochs - history.n_epochs), rates)
            for e, loss in enumerate(losses, 1):
                progress.epoch += 1
                progress.samples += engine.n_samples
                history.n_epochs += 1
                history.loss_curve.append(loss)
                validation_loss, score = evaluate() if evaluate else (None, None)
                value = -loss
                if stop_on_validation:
                    value = monitored(validation_loss, None if monitor_loss else score)
                record(history, validation_loss, score)
                if plateau.update(value) and stop_on_validation:
                    under_way.best_theta = engine.theta.copy()
                    history.best_epoch = progress.epoch

                happened = Epoch(
                    progress.epoch,
                    horizon or max_epochs,
                    loss,
                    ahead.last_rate(e),
                    validation_loss,
                    score,
                    time.perf_counter() - started,
                    network,
                )
                # Every callback sees every epoch, also when an earlier one asks to stop.
                if any([bool(callback(happened)) for callback in callbacks]):  # noqa: C419
                    history.stop_reason = "callback"
                if plateau.reached or not np.isfinite(loss):
                    ahead.end_after(e)
                    break
            if not np.isfinite(losses[e - 1]) and not np.isfinite(engine.theta).all():
                history.stop_reason = "diverged"
            if plateau.reached and history.stop_reason == "max_epochs":
                if not _shrink(schedule, learning_rate, progress):
                    history.stop_reason = "converged"
                plateau.count = 0
            if keeper is not None:
                keeper.pause()
        if keeper is not None:
            keeper.finish()
    except KeyboardInterrupt:
        history.stop_reason = "interrupted"
    finally:
        if under_way.best_theta is not None:
            engine.theta[...] = under_way.best_theta
    history.progress = progress
    return history


class _Ahead:
    """Epochs that run in one call of the engine, and can be taken back where one was the last."""

    def __init__(
        self,
        engine: Engine,
        rng: np.random.RandomState,
        shuffle: bool,
        progress: Progress,
        under_way: UnderWay,
    ) -> None:
        self._engine, self._rng, self._shuffle, self._progress = engine, rng, shuffle, progress
        self._before: Any = None
        self._steps = under_way.steps = -(-engine.n_samples // engine.batch_size)
        self._under_way = under_way
        if not under_way.done:
            under_way.first = progress.step

    def run(self, n: int, rates: Callable[[int, int], Float[np.ndarray, " S"]]) -> list[float]:
        """The losses of n epochs; `rates(e, steps)` are the learning rates e from now."""
        engine, progress = self._engine, self._progress
        if n > 1:
            self._before = self._rng.get_state(), progress.order
        self._rates = [rates(e, self._steps) for e in range(n)]
        orders = [self._next_order() for _ in range(n)]
        if n == 1:
            return [engine.epoch(orders[0], self._rates[0])]
        losses: list[float] = engine.epochs(orders, self._rates)  # type: ignore[attr-defined]
        return losses

    def whole_epochs(self, keeper: Keeper) -> int:
        """How many may run without a stop: none if the next one is long, or begun already."""
        if self._under_way.done or self._steps > self._grain:
            return 0
        return keeper.until_cut() // self._steps

    def run_in_parts(
        self, rates: Callable[[int, int], Float[np.ndarray, " S"]], keeper: Keeper
    ) -> list[float]:
        """The loss of one epoch, between whose parts the keeper has its say.

        Where the parts end depends on the search alone, never on the clock: so does their sum.
        """
        now, grain = self._under_way, self._grain
        order = self._next_order() if now.done == 0 else self._present_order()
        self._rates = [rates(0, self._steps)]
        while now.done < self._steps:
            if now.done:
                keeper.pause()
            stop = min(now.done - now.done % grain + grain, now.done + keeper.until_cut())
            part = self._rates[0][now.done : stop]
            now.loss += self._engine.epoch(order, part, now.done)
            now.done += len(part)
        loss, now.done, now.loss = now.loss, 0, 0.0
        return [loss]

    @property
    def _grain(self) -> int:
        """Most steps of a part: about a second of them at most."""
        engine = self._engine
        work = 3 * engine.batch_size * engine.theta.size
        return max(1, min(MOST_STEPS, int(MOST_WORK / work)))

    def last_rate(self, e: int) -> float:
        """The learning rate at the end of the e-th epoch, from 1 on."""
        return float(self._rates[e - 1][-1])

    def end_after(self, n: int) -> None:
        """Undo all but the first n epochs: θ, the solver's memory, the order and the seeds."""
        if n == len(self._rates):
            return
        self._engine.again(n)  # type: ignore[attr-defined]
        state, self._progress.order = self._before
        self._rng.set_state(state)
        for _ in range(n):
            self._next_order()

    def _present_order(self) -> Int[np.ndarray, " N"] | None:
        seed = self._progress.order_seed
        return self._progress.order if seed is None else np.array([seed])

    def _next_order(self) -> Int[np.ndarray, " N"] | None:
        progress, N = self._progress, self._engine.n_samples
        if not self._shuffle:
            return None
        if hasattr(self._engine, "row_order"):  # of rows that are not in memory
            progress.order_seed = int(self._rng.randint(2**31 - 1))
            return self._present_order()
        if progress.order is None or len(progress.order) != N:
            progress.order = np.arange(N)
        # scikit-learn shuffles the previous epoch's order through a fresh permutation.
        permutation = np.arange(N)
        self._rng.shuffle(permutation)
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
