"""What a training run reports: an event after each epoch, and the history of all epochs."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from deltaprop.model import Model
from deltaprop.optim.accounting import epsilon_of
from deltaprop.optim.state import TrainingState

if TYPE_CHECKING:
    from deltaprop.training.recording import RecordedStep


STOP_REASONS = ("converged", "max_epochs", "callback", "interrupted", "diverged")


@dataclass(frozen=True)
class Epoch:
    """The event that callbacks receive after each epoch (each iteration of L-BFGS).

    A callback that returns True stops the training.

    Attributes
    ----------
    epoch, max_epochs : int
        The number of the epoch, from 1, and the number of epochs that the schedule is made for.
    loss : float
        The training loss.
    learning_rate : float or None
        The learning rate at the end of the epoch; None for L-BFGS.
    validation_loss, validation_score : float or None
    seconds : float
        The time since the training began.
    network : Network
        The network with its current parameters; with `ema_decay`, with their average.
    member, n_members : int
        In an ensemble, the number of the member, from 0, and how many members are trained.
    """

    epoch: int
    max_epochs: int
    loss: float
    learning_rate: float | None
    validation_loss: float | None
    validation_score: float | None
    seconds: float
    network: Model
    member: int = 0
    n_members: int = 1


@dataclass
class History:
    """What happened in a training run, epoch by epoch.

    Attributes
    ----------
    loss_curve : list of float
        The training loss of each epoch, averaged over its batches while θ changed.
    validation_loss_curve, validation_scores : list of float or None
        On the validation data after each epoch, if there are any.
    n_epochs : int
        The number of epochs (iterations of L-BFGS) of this call, including those that a checkpoint
        restored.
    stop_reason : {"converged", "max_epochs", "callback", "interrupted", "diverged"}
    signal : int or None
        The signal that interrupted a training run with checkpoints.
    best_epoch : int or None
        The epoch whose θ was restored, if validation data chose one.
    progress : TrainingState
        The state that ``dp.fit(..., resume=history)`` continues from.
    records : list of RecordedStep
        The records that ``record=`` requested, in the order of the steps.
    """

    loss_curve: list[float] = field(default_factory=list)
    validation_loss_curve: list[float] | None = None
    validation_scores: list[float] | None = None
    n_epochs: int = 0
    stop_reason: str = "max_epochs"
    signal: int | None = None
    best_epoch: int | None = None
    progress: TrainingState = field(default_factory=TrainingState)
    records: list[RecordedStep] = field(default_factory=list)

    def add(
        self, loss: float, validation_loss: float | None = None, score: float | None = None
    ) -> None:
        """Append the results of one epoch."""
        self.n_epochs += 1
        self.loss_curve.append(loss)
        if validation_loss is not None:
            self.validation_loss_curve = [*(self.validation_loss_curve or []), validation_loss]
        if score is not None:
            self.validation_scores = [*(self.validation_scores or []), score]

    def epsilon(self, delta: float) -> float:
        """ε of the (ε, δ)-differential privacy of this training run and those it continued.

        Every epoch that was started counts, even if it was not completed. If the data could have
        stopped the training early, report the ε of all epochs that might have run instead:
        ``privacy.epsilon(delta, max_epochs)``.

        Parameters
        ----------
        delta : float
            δ, in (0, 1).

        Returns
        -------
        float
            Infinite if a part of the training ran without ``privacy=``.

        Examples
        --------
        >>> from deltaprop.training.history import History, TrainingState
        >>> history = History(progress=TrainingState(mu_squared=20 / 4.0**2))
        >>> round(history.epsilon(delta=1e-5), 3)
        4.983
        """
        return epsilon_of(delta, math.sqrt(self.progress.mu_squared))
