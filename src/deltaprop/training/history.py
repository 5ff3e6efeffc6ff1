"""What a training run reports: an event after each epoch, and the history of all epochs."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from deltaprop.model import Model
from deltaprop.optim.accounting import epsilon_of
from deltaprop.optim.state import TrainingState
from deltaprop.training.recording import RecordedStep


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
        At the end of the epoch; None for L-BFGS.
    validation_loss, validation_score : float or None
    seconds : float
        Since the training began.
    network : Network
        With the current parameters.
    """

    epoch: int
    max_epochs: int
    loss: float
    learning_rate: float | None
    validation_loss: float | None
    validation_score: float | None
    seconds: float
    network: Model


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
        The number of epochs (iterations of L-BFGS) of this call, including those before a
        checkpoint from which it continued.
    stop_reason : {"converged", "max_epochs", "callback", "interrupted", "diverged"}
    signal : int or None
        The signal that interrupted a training run with checkpoints.
    best_epoch : int or None
        The epoch whose θ was restored, if validation data chose one.
    progress : TrainingState
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
        """ε of the (ε, δ)-differential privacy of this training run and all that it continued.

        Every epoch that was begun counts, whether it ended or not. The result is infinite if a part
        of the training ran without ``privacy=``. If the training could have stopped early because
        of what it saw, state the ε of all epochs that it might have run:
        ``privacy.epsilon(delta, max_epochs)``.

        Examples
        --------
        >>> from deltaprop.training.history import History, TrainingState
        >>> history = History(progress=TrainingState(mu_squared=20 / 4.0**2))
        >>> round(history.epsilon(delta=1e-5), 3)
        4.983
        """
        return epsilon_of(delta, math.sqrt(self.progress.mu_squared))
