"""When to stop: if the monitored value has not improved for some epochs."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Plateau:
    """Counts consecutive epochs that did not exceed the best value by `tol`. Higher is better.

    The rule is that of scikit-learn: an epoch counts if value < best + tol, and training stops when
    more than `patience` consecutive epochs have counted. NaN never counts and is never the best.
    """

    tol: float
    patience: float
    best: float = float("-inf")
    count: int = 0

    def update(self, value: float) -> bool:
        """Add the value of an epoch. Returns whether it is the best so far."""
        self.count = self.count + 1 if value < self.best + self.tol else 0
        improved = value > self.best
        if improved:
            self.best = value
        return improved

    @property
    def reached(self) -> bool:
        """Whether training should stop, or the learning rate be reduced."""
        return self.count > self.patience
