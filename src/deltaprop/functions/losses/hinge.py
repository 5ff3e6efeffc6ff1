"""The hinge loss of the margin m = y ŷ, y = ±1.

value    max(0, 1 - m)
loss′    -y if m < 1, else 0
loss″    0
"""

from __future__ import annotations

from deltaprop.functions.arrays import where_positive
from deltaprop.functions.losses.loss import Loss, register
from deltaprop.functions.losses.targets import Signs

__all__ = ["Hinge"]


@register("hinge")
def Hinge() -> Loss:
    """max(0, 1 - y ŷ), y = ±1: for each output, one class against the rest.

    Examples
    --------
    >>> import numpy as np
    >>> from deltaprop import losses
    >>> y, yhat = np.array([[-1.0]]), np.array([[0.5]])
    >>> losses.get("hinge").evaluate(y, yhat, np).round(3)
    array([[1.5]])
    """
    return Loss(
        "hinge",
        lambda t, yhat, xp: where_positive(1 - t * yhat, 1 - t * yhat, xp.zeros_like(yhat), xp),
        lambda t, yhat, xp: xp.where(t * yhat < 1, -t, xp.zeros_like(t)),
        lambda t, yhat, xp: xp.zeros_like(yhat),
        encoding=Signs(),
    )
