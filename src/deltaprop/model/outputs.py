"""Whether the outputs of a network can be what its loss needs."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from jaxtyping import Float

    from deltaprop.functions.activations import Activation
    from deltaprop.functions.losses import Loss

# Two units on 41 rows: enough to see the range of an activation, and whether rows add up to 1.
GRID = np.linspace(-20, 20, 41)[:, None] * np.array([1.0, 0.5])


def doubt(loss: Loss, f: Activation, n_outputs: int) -> str | None:
    """Why a loss cannot be minimized with this activation of the output layer, or None.

    Custom functions are not judged.

    Examples
    --------
    >>> from deltaprop.functions import activations, losses
    >>> doubt(losses.get("poisson"), activations.get("tanh"), 1)
    "loss 'poisson' needs positive outputs, but 'tanh' gives negative values; use 'exp' as the
    activation of the last layer."
    >>> doubt(losses.get("poisson"), activations.get("softplus"), 1) is None
    True
    """
    return _doubt(loss, f, n_outputs > 1) if loss.is_builtin and f.is_builtin else None


@lru_cache
def _doubt(loss: Loss, f: Activation, several: bool) -> str | None:
    with np.errstate(all="ignore"):
        z = f.f(GRID, np)
    needed = _unmet(loss, z, several)
    if needed is None:
        return None
    link = "tanh' or 'identity" if loss.encoding.margins else loss.link
    if link == "softmax" and not several and not loss.encoding.one_hot_pairs:
        link = "logistic"
    return (
        f"loss {loss.name!r} needs {needed}, but {f.name!r} {_in_words(z)}; use '{link}' as the "
        "activation of the last layer."
    )


def _unmet(loss: Loss, z: Float[np.ndarray, "N 2"], several: bool) -> str | None:
    """What the loss needs of the outputs and these values are not."""
    if loss.encoding.margins:
        return "outputs of both signs" if z.min() >= 0 else None
    if loss.encoding.predicts == "mean_variance":
        return "positive variances" if z[:, 1].min() <= 0 else None
    if loss.link == "exp":
        return "positive outputs" if z.min() <= 0 else None
    if loss.encoding.predicts != "class":
        return None
    if z.min() < 0 or z.max() > 1:
        return "probabilities"
    sums_to_one = np.allclose(z.sum(axis=1), 1)
    if loss.encoding.one_hot_pairs and several and not sums_to_one:
        return "probabilities that add up to 1"
    return None


def _in_words(z: Float[np.ndarray, "N 2"]) -> str:
    """What an activation gives, from its values on the grid."""
    if z.min() < 0:
        return "gives negative values"
    if z.max() <= 1:
        return "does not give these"
    return "gives 0 and values above 1" if z.min() == 0 else "gives values above 1"
