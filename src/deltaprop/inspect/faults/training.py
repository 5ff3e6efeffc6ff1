"""Faults of the training, recognised from the loss curves and the recorded steps."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from deltaprop.inspect.faults.examined import Examination
from deltaprop.inspect.faults.finding import Finding, finding

# Over all epochs the loss rises by more than it fell to its minimum, and at least every fifth epoch
# is such a rise. The noise of batches causes rises below a twentieth of the constant prediction's
# loss.
CLIMB, OFTEN = 0.05, 0.2
# The size of a step relative to that of the weights; 1e-3 is usual.
MOVED = 0.1
# Steps that are far too long throw the weights away within an epoch: the loss leaps above that of
# the constant prediction and settles where units are dead or saturated. Weights begin with an RMS
# of about 1/√D; networks that have learned stay below 7 times that. Large initial weights alone
# give a large loss that hardly changes.
LEAPT, GROWN = 1.5, 10.0
# Training that slows down near its end falls little in its last quarter. If the last quarter brings
# more than half of a quarter of the decrease, the loss still falls in a straight line.
STRAIGHT = 0.5
# The held-out loss exceeds the training loss by two fifths of the constant prediction's loss, or
# the validation loss has risen by a tenth of it from its minimum. Early stopping on a small noisy
# table (diabetes) leaves a gap of 0.2.
GAP, PAST_BEST = 0.4, 0.1
# The loss is above nine tenths of the constant prediction's loss, and changed by less than a
# hundredth of it in the second half of the training.
FAR, STILL = 0.9, 0.01


def rate_too_high(case: Examination) -> Iterator[Finding]:
    curve = case.curve
    if len(curve) >= 5:
        steps = np.diff(curve)
        rises = steps[steps > CLIMB]
        climbed, fell = float(rises.sum()), float(curve[0] - curve.min())
        ends_above = curve[-1] > max(curve[0], 1.0) + CLIMB
        if ends_above or (climbed > fell and len(rises) >= OFTEN * len(steps)):
            seen = (
                f"the loss rose in {len(rises)} of {len(steps)} epochs, by {climbed:.3g} in total, "
                f"and fell by {fell:.3g} from the first to its best (1 is the loss of the best "
                f"constant prediction); it ended at {curve[-1]:.3g}."
            )
            yield finding("learning rate too high", None, seen)
            return
    l, grown = _grown(case)
    leapt = len(curve) > 0 and curve.max() > LEAPT * max(1.0, float(curve.min()))
    if leapt and grown > GROWN:
        seen = (
            f"the loss was {curve.max():.3g} in epoch {int(np.argmax(curve)) + 1} and ended at "
            f"{curve[-1]:.3g} (1 is the loss of the best constant prediction), and the weights of "
            f"layer {l} are {grown:.2g} times as large as usual initial weights."
        )
        yield finding("learning rate too high", None, seen)
        return
    moved = _moved(case)
    moved = moved[len(moved) // 2 :]
    if moved and np.median(moved) > MOVED and case.loss > case.constant / 2:
        seen = f"a step moved the weights by {np.median(moved):.2g} of their norm; 1e-3 is usual."
        yield finding("learning rate too high", None, seen)


def _grown(case: Examination) -> tuple[int, float]:
    """Return the layer with the largest weights, and RMS(W_l) √D_l."""
    sizes = [float(np.sqrt(np.mean(np.square(W)) * W.shape[0])) for W in case.net.W]
    l = int(np.argmax(sizes))
    return l, sizes[l]


def _moved(case: Examination) -> list[float]:
    """Return the update-to-weight ratio of each record, for the layer where it is largest."""
    most = [max(s.update_to_weight for s in r.summary.layers) for r in case.records]
    return [m for m in most if not np.isnan(m)]


def rate_too_low(case: Examination) -> Iterator[Finding]:
    curve = case.curve
    if len(curve) < 8 or not case.loss > case.constant / 2:
        return
    quarter = len(curve) // 4
    fell, lately = float(curve[0] - curve[-1]), float(curve[-1 - quarter] - curve[-1])
    steady = np.mean(np.diff(curve) < 0)
    if fell > 0 and steady >= 0.9 and lately > STRAIGHT * fell * quarter / (len(curve) - 1):
        seen = (
            f"the loss still falls in a straight line: by {fell:.2g} in {len(curve)} epochs, "
            f"{lately:.2g} of it in the last {quarter}, and stands at {curve[-1]:.3g} (1 is the "
            "loss of the best constant prediction)."
        )
        moved = _moved(case)
        if moved:
            seen += f" A step moved the weights by {np.median(moved):.1e} of their norm."
        yield finding("learning rate too low", None, seen)


def overfitting(case: Examination) -> Iterator[Finding]:
    train, curve = case.loss / case.constant, case.validation_curve
    restored = case.history is not None and case.history.best_epoch is not None
    if len(curve) and not restored:
        best = int(np.argmin(curve))
        if curve[-1] > curve[best] + PAST_BEST and case.curve[-1] < case.curve[best]:
            seen = (
                f"the validation loss was best in epoch {best + 1}, at {curve[best]:.3g}, and "
                f"ended at {curve[-1]:.3g}, while the training loss fell to "
                f"{case.curve[-1]:.3g} (1 is the loss of the best constant prediction)."
            )
            yield finding("overfitting", None, seen)
            return
    held = None
    if case.held_out is not None:
        held = case.net.mean_loss(*case.held_out, None) / case.constant
    elif len(curve):
        held = float(curve.min() if restored else curve[-1])
    if held is not None and held > train + GAP and train < 1:
        seen = (
            f"the loss is {train:.3g} on the training rows and {held:.3g} on held-out rows (1 is "
            "the loss of the best constant prediction)."
        )
        yield finding("overfitting", None, seen)


def plateau(case: Examination) -> Iterator[Finding]:
    curve = case.curve
    if len(curve) < 10 or not curve[-1] > FAR:
        return
    second = curve[len(curve) // 2 :]
    if abs(second[0] - second[-1]) < STILL:
        seen = (
            f"the loss has hardly changed since epoch {len(curve) // 2 + 1} of {len(curve)}, at "
            f"{curve[-1]:.3g} (1 is the loss of the best constant prediction)."
        )
        yield finding("plateau", None, seen)
