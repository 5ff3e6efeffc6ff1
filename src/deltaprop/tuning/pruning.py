"""When a trial is stopped: if its held-out loss is behind that of most other trials.

This is the median stopping rule of Golovin et al., "Google Vizier" (2017), over the folds of a
cross-validation, which are trained one after another.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, median

Curves = Sequence[Sequence[float]]
"""For each fold, the lowest held-out loss up to each epoch."""

FEWEST = 5  # complete trials before any is stopped
WARMUP = 5  # epochs of a fold before the trial is stopped


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
    """A trial is stopped if its loss is greater than the median of others in the same epoch.

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
        if epoch < WARMUP:
            return epoch == 1 and fold > 0 and self._behind(curves, fold, 0)
        return self._behind(curves, fold, epoch)

    def _behind(self, curves: Curves, fold: int, epoch: int) -> bool:
        others = median(loss_at(other, fold, epoch) for other in self.others)
        return not loss_at(curves, fold, epoch) <= others
