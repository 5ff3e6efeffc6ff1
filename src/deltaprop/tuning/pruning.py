"""When a trial is stopped: if its held-out loss is behind that of other trials.

This is the median stopping rule of Golovin et al., "Google Vizier" (2017), between the folds of a
cross-validation, which are trained one after another. Inside of a fold only the worst quarter is
stopped, because large batches and small learning rates are slow at first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np

Curves = Sequence[Sequence[float]]
"""For each fold, the lowest held-out loss up to each epoch."""

FEWEST = 5  # complete trials before any is stopped
WARMUP = 5  # epochs of a fold before the trial is stopped
BETWEEN_FOLDS, IN_FOLD = 0.5, 0.75  # the quantile of the others' losses above which it is stopped


def loss_at(curves: Curves, fold: int, epoch: int) -> float:
    """The mean of the lowest losses up to an epoch of a fold, and of all folds before it.

    Examples
    --------
    >>> loss_at([[3.0, 1.0], [4.0, 3.0, 2.0]], fold=1, epoch=2)
    2.0
    """
    losses = [curve[-1] for curve in curves[:fold]]
    if epoch > 0:
        losses.append(curves[fold][min(epoch, len(curves[fold])) - 1])
    return fmean(losses)


@dataclass(frozen=True)
class MedianRule:
    """A trial is stopped if its loss is greater than that of other trials at the same point.

    After a fold, that is the median of the other trials; after an epoch, their third quartile.

    Parameters
    ----------
    others : sequence of Curves
        The curves of complete trials. They do not change while the trial runs, so that the
        decision does not depend on which trials happen to end first.
    """

    others: Sequence[Curves]

    def stops(self, curves: Curves) -> bool:
        """Whether to stop a trial after the last epoch of its curves."""
        fold, epoch = len(curves) - 1, len(curves[-1])
        if len(self.others) < FEWEST:
            return False
        if epoch == 1 and fold > 0 and self._behind(curves, fold, 0, BETWEEN_FOLDS):
            return True
        return epoch >= WARMUP and self._behind(curves, fold, epoch, IN_FOLD)

    def _behind(self, curves: Curves, fold: int, epoch: int, quantile: float) -> bool:
        others = [loss_at(other, fold, epoch) for other in self.others]
        return not loss_at(curves, fold, epoch) <= np.quantile(others, quantile)
