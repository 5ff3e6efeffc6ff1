"""Losses of the residual r = ŷ - y.

==============  ==================================================  ==================  =========
loss            value                                               loss′               loss″
==============  ==================================================  ==================  =========
SquaredError    ½ r²                                                r                   1
AbsoluteError   |r|                                                 sign r              0
Huber           ½ r² if |r| <= κ, else κ (|r| - ½ κ)                r, clipped to ±κ    1{|r| <= κ}
LogCosh         log cosh r = |r| + log(1 + exp(-2 |r|)) - log 2     tanh r              1 - tanh² r
==============  ==================================================  ==================  =========

κ is the setting `delta` of the Huber loss.
"""

from __future__ import annotations

from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np

from deltaprop.errors import InputError
from deltaprop.functions.arrays import absolute, where_positive
from deltaprop.functions.checks import is_number
from deltaprop.functions.losses.loss import Loss, register

if TYPE_CHECKING:
    from deltaprop.functions.losses.loss import Values

__all__ = ["AbsoluteError", "Huber", "LogCosh", "SquaredError"]


@register("squared_error")
def SquaredError() -> Loss:
    """½ (ŷ - y)².

    Examples
    --------
    >>> import numpy as np
    >>> from deltaprop import losses
    >>> y, yhat = np.array([[1.0]]), np.array([[3.0]])
    >>> losses.get("squared_error").evaluate(y, yhat, np).round(3)
    array([[2.]])
    """
    return Loss(
        "squared_error",
        lambda t, yhat, xp: 0.5 * (yhat - t) ** 2,
        lambda t, yhat, xp: yhat - t,
        lambda t, yhat, xp: xp.ones_like(yhat),
    )


@register("absolute_error")
def AbsoluteError() -> Loss:
    """|ŷ - y|.

    loss″ is 0 everywhere but at the kink; the Fisher information is that of Laplace noise, 1.

    Examples
    --------
    >>> import numpy as np
    >>> from deltaprop import losses
    >>> y, yhat = np.array([[1.0]]), np.array([[3.0]])
    >>> losses.get("absolute_error").evaluate(y, yhat, np).round(3)
    array([[2.]])
    """
    return Loss(
        "absolute_error",
        lambda t, yhat, xp: absolute(yhat - t, xp),
        lambda t, yhat, xp: xp.sign(yhat - t),
        lambda t, yhat, xp: xp.zeros_like(yhat),
        information=lambda yhat, xp: xp.ones_like(yhat),
    )


def _huber(t: Values, yhat: Values, xp: ModuleType, delta: float) -> Values:
    r = absolute(yhat - t, xp)
    return where_positive(r - delta, delta * (r - 0.5 * delta), 0.5 * r * r, xp)


def _huber_d(t: Values, yhat: Values, xp: ModuleType, delta: float) -> Values:
    return xp.clip(yhat - t, -delta, delta)


def _huber_d2(t: Values, yhat: Values, xp: ModuleType, delta: float) -> Values:
    return xp.astype(xp.abs(yhat - t) <= delta, yhat.dtype)


@register("huber")
def Huber(delta: float = 1.0) -> Loss:
    """½ r² for |r| <= delta, else delta (|r| - ½ delta), with r = ŷ - y. Huber (1964).

    Parameters
    ----------
    delta : float, default=1.0
        The residual at which the loss changes from quadratic to linear, > 0.

    Raises
    ------
    ValueError
        If `delta` is not a number > 0.

    Examples
    --------
    >>> import numpy as np
    >>> from deltaprop import losses
    >>> y, yhat = np.array([[1.0]]), np.array([[3.0]])
    >>> losses.get("huber", delta=1.0).evaluate(y, yhat, np).round(3)
    array([[1.5]])
    """
    if not is_number(delta) or delta <= 0:
        raise InputError(f"delta of the Huber loss must be a number > 0, got {delta!r}.")
    return Loss("huber", _huber, _huber_d, _huber_d2, {"delta": float(delta)})


def _log_cosh(t: Values, yhat: Values, xp: ModuleType) -> Values:
    r = absolute(yhat - t, xp)
    return r + xp.log1p(xp.exp(-2 * r)) - np.log(2.0).item()


@register("log_cosh")
def LogCosh() -> Loss:
    """log cosh(ŷ - y).

    Examples
    --------
    >>> import numpy as np
    >>> from deltaprop import losses
    >>> y, yhat = np.array([[1.0]]), np.array([[1.0]])
    >>> losses.get("log_cosh").evaluate(y, yhat, np).round(3)
    array([[0.]])
    """
    return Loss(
        "log_cosh",
        _log_cosh,
        lambda t, yhat, xp: xp.tanh(yhat - t),
        lambda t, yhat, xp: 1 - xp.tanh(yhat - t) ** 2,
    )
