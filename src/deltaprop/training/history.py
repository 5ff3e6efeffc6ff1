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

MOST_ROWS = 12  # epochs that a printed history shows


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
        See :class:`History`.
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


@dataclass(repr=False)
class History:
    """What happened in a training run, epoch by epoch.

    Attributes
    ----------
    loss_curve : list of float
        The training loss L of each epoch, under the reduction of the network, averaged over its
        batches while θ changed.
    validation_loss_curve, validation_scores : list of float or None
        On the validation data after each epoch, if there are any. The loss is on the scale of
        `loss_curve`: the mean over the validation rows, which for ``reduction="sum"`` is multiplied
        by the (weighted) number of training rows. It does not include the penalty.
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

    Examples
    --------
    >>> import deltaprop as dp
    >>> net = dp.Network(1, [dp.Dense(1)], loss="squared_error", reduction="mean")
    >>> net.theta = [0.0, 0.0]
    >>> X, y = [[0.0], [1.0]], [1.0, 2.0]
    >>> print(dp.fit(net, X, y, solver=dp.SGD(0.1), max_epochs=30, tol=0.0, validation=(X, y)))
    History(30 epochs, max_epochs, best epoch 30)
    epoch   loss         validation loss
    1       1.25         0.709212
    4       0.0428471    0.0138744
    ...
    30      0.000280366  0.000252162
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

    def __str__(self) -> str:
        names = ["epoch", "loss"]
        curves: list[list[float]] = [self.loss_curve]
        for name, curve in (
            ("validation loss", self.validation_loss_curve),
            ("validation score", self.validation_scores),
        ):
            if curve is not None:
                names.append(name)
                curves.append(curve)
        rows = [[str(e + 1), *(f"{curve[e]:.6g}" for curve in curves)] for e in self._shown()]
        lines = [[*names], *rows]
        widths = [max(6, *(len(line[i]) for line in lines)) for i in range(len(names))]
        return "\n".join([
            repr(self),
            *("  ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)).rstrip()
              for line in lines),
        ])  # fmt: skip

    def _shown(self) -> list[int]:
        """At most MOST_ROWS evenly spaced epochs, the first, the best and the last among them."""
        curves = (self.loss_curve, self.validation_loss_curve, self.validation_scores)
        n = min(len(curve) for curve in curves if curve is not None)
        steps = min(n, MOST_ROWS)
        found = {round(i * (n - 1) / max(1, steps - 1)) for i in range(steps)}
        if self.best_epoch is not None and self.best_epoch <= n:
            found.add(self.best_epoch - 1)
        return sorted(found)

    def __repr__(self) -> str:
        best = "" if self.best_epoch is None else f", best epoch {self.best_epoch}"
        return f"History({self.n_epochs} epochs, {self.stop_reason}{best})"

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
