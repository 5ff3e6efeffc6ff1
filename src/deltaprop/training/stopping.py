"""When to stop: no progress for some epochs."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Plateau:
    """Counts the epochs in a row that did not beat the best value by `tol`. Higher is better.

    The rule is scikit-learn's: an epoch counts when value < best + tol, and the search stops
    when more than `patience` epochs in a row have counted. NaN never counts and is never best.
    """

    tol: float
    patience: float
    best: float = float("-inf")
    count: int = 0

    def update(self, value: float) -> bool:
        """Take in an epoch's value and say whether it is the best so far."""
        self.count = self.count + 1 if value < self.best + self.tol else 0
        improved = value > self.best
        if improved:
            self.best = value
        return improved

    @property
    def reached(self) -> bool:
        """Whether the search should stop (or the learning rate shrink)."""
        return self.count > self.patience
