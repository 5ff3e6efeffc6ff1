"""What a diagnosis examines: a network, some rows, and the record of its training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from deltaprop.model.signals import Signals, summarise
from deltaprop.network import Dense, Network, Trace
from deltaprop.optim.solvers import LBFGS
from deltaprop.training.fitting import fit
from deltaprop.training.history import History
from deltaprop.training.recording import RecordedStep

if TYPE_CHECKING:
    from jaxtyping import Float, Num

ROWS = 1000  # evenly spaced rows of X and y that are examined


@dataclass
class Examination:
    """A network, rows in the form that it takes, and the record of its training."""

    net: Network
    X: Any
    y: Num[np.ndarray, "N ..."]
    names: Sequence[str] | None
    columns: Sequence[tuple[str, list[int]]]  # of the data, and the columns of X that they became
    history: History | None
    held_out: tuple[Any, Any] | None

    def __post_init__(self) -> None:
        N = self.X.shape[0]
        rows = np.unique(np.linspace(0, N - 1, min(N, ROWS)).round().astype(int))
        self.N = N
        self.X, self.y = self.X[rows], self.y[rows]

    @cached_property
    def trace(self) -> Trace:
        return self.net.trace(self.X, self.y)

    @cached_property
    def signals(self) -> Signals:
        return summarise(self.trace)

    @property
    def finite(self) -> bool:
        parts = [self.net.theta, *self.trace.delta, np.array(self.trace.loss)]
        return all(bool(np.isfinite(part).all()) for part in parts)

    @cached_property
    def loss(self) -> float:
        return self.net.mean_loss(self.X, self.y, None)

    @cached_property
    def constant(self) -> float:
        """The mean loss of the best prediction that does not depend on X."""
        net = self.net
        constant_net = Network(1, [Dense(net.n_outputs, net.f[-1])], loss=net.loss_function, seed=0,
                        reduction="mean")  # fmt: skip
        constant_net.theta[...] = 0
        constant_net.b[0][...] = 0.1  # ReLU has no slope at 0
        zeros = np.zeros((len(self.y), 1))
        try:
            fit(constant_net, zeros, self.y, solver=LBFGS(), engine="reference", tol=1e-6)
        except ValueError:  # outside the domain of a custom loss
            return float("nan")
        return constant_net.mean_loss(zeros, self.y, None)

    @cached_property
    def curve(self) -> Float[np.ndarray, " E"]:
        """The mean training loss of each epoch, divided by that of the constant prediction."""
        if self.history is None:
            return np.empty(0)
        progress, curve = self.history.progress, np.asarray(self.history.loss_curve, float)
        if self.net.reduction == "sum":
            curve = curve / (progress.samples / progress.epoch if progress.samples else self.N)
        scaled: np.ndarray = curve / self.constant
        return scaled

    @cached_property
    def validation_curve(self) -> Float[np.ndarray, " E"]:
        curve = None if self.history is None else self.history.validation_loss_curve
        return np.asarray(curve or [], float) / self.constant

    @property
    def records(self) -> list[RecordedStep]:
        return [] if self.history is None else self.history.records
