"""Half the unit deviances of counts and amounts, with μ = ŷ > 0.

=======  ==================================================  ================  ==================
loss     value                                               loss′             loss″
=======  ==================================================  ================  ==================
Poisson  y log(y / μ) - y + μ                                1 - y / μ         y / μ²
Gamma    log(μ / y) + y / μ - 1                              (1 - y / μ) / μ   (2 y / μ - 1) / μ²
Tweedie  y^(2-p) / ((1-p) (2-p))                             μ^(1-p) - y       (1-p) μ^(-p)
         - y μ^(1-p) / (1-p) + μ^(2-p) / (2-p)               μ^(-p)            + p y μ^(-p-1)
=======  ==================================================  ================  ==================

Closed forms with the activation exp, z = μ = exp(a):

=======  ==================================================  ================================
loss     value                                               δ
=======  ==================================================  ================================
Poisson  y log y - y a - y + z                               z - y
Gamma    a - log y + y exp(-a) - 1                           1 - y exp(-a)
Tweedie  the formula above with μ^k = exp(k a)               exp((2-p) a) - y exp((1-p) a)
=======  ==================================================  ================================
"""

from __future__ import annotations

from types import ModuleType
from typing import TYPE_CHECKING

from deltaprop.errors import InputError
from deltaprop.functions.arrays import floored
from deltaprop.functions.checks import is_number
from deltaprop.functions.losses.loss import ClosedForm, Loss, register
from deltaprop.functions.losses.targets import Amounts

if TYPE_CHECKING:
    from deltaprop.functions.losses.loss import Values

__all__ = ["Gamma", "Poisson", "Tweedie"]


def _y_log_y(t: Values, xp: ModuleType) -> Values:
    return t * xp.log(floored(t, xp))


def _poisson(t: Values, yhat: Values, xp: ModuleType) -> Values:
    return _y_log_y(t, xp) - t * xp.log(floored(yhat, xp)) - t + yhat


@register("poisson")
def Poisson() -> Loss:
    """y log(y / ŷ) - y + ŷ: half the Poisson deviance, for y >= 0 and ŷ > 0.

    Examples
    --------
    >>> import numpy as np
    >>> from deltaprop import losses
    >>> y, yhat = np.array([[2.0]]), np.array([[2.0]])
    >>> losses.get("poisson").evaluate(y, yhat, np).round(3)
    array([[0.]])
    """
    return Loss(
        "poisson",
        _poisson,
        lambda t, yhat, xp: 1 - t / floored(yhat, xp),
        lambda t, yhat, xp: t / floored(yhat, xp) / floored(yhat, xp),
        closed={
            "exp": ClosedForm(
                lambda t, a, z, xp: _y_log_y(t, xp) - t * a - t + z,
                lambda t, a, z, xp: z - t,
            )
        },
        encoding=Amounts(),
        link="exp",
        note="0 log 0 counts as 0.",
    )


@register("gamma")
def Gamma() -> Loss:
    """log(ŷ / y) + y / ŷ - 1: half the gamma deviance, for y > 0 and ŷ > 0.

    Examples
    --------
    >>> import numpy as np
    >>> from deltaprop import losses
    >>> y, yhat = np.array([[2.0]]), np.array([[2.0]])
    >>> losses.get("gamma").evaluate(y, yhat, np).round(3)
    array([[0.]])
    """
    return Loss(
        "gamma",
        lambda t, yhat, xp: xp.log(floored(yhat, xp)) - xp.log(t) + t / floored(yhat, xp) - 1,
        lambda t, yhat, xp: (1 - t / floored(yhat, xp)) / floored(yhat, xp),
        lambda t, yhat, xp: (2 * t / floored(yhat, xp) - 1) / floored(yhat, xp) / floored(yhat, xp),
        closed={
            "exp": ClosedForm(
                lambda t, a, z, xp: a - xp.log(t) + t * xp.exp(-a) - 1,
                lambda t, a, z, xp: 1 - t * xp.exp(-a),
            )
        },
        encoding=Amounts(positive=True),
        link="exp",
    )


def _tweedie_constant(t: Values, xp: ModuleType, p: float) -> Values:
    base = floored(t, xp) if p > 2 else t
    return base ** (2 - p) / ((1 - p) * (2 - p))


def _tweedie(t: Values, yhat: Values, xp: ModuleType, power: float) -> Values:
    p, mu = power, floored(yhat, xp)
    return _tweedie_constant(t, xp, p) - t * mu ** (1 - p) / (1 - p) + mu ** (2 - p) / (2 - p)


def _tweedie_d(t: Values, yhat: Values, xp: ModuleType, power: float) -> Values:
    mu = floored(yhat, xp)
    return mu ** (1 - power) - t * mu ** (-power)


def _tweedie_d2(t: Values, yhat: Values, xp: ModuleType, power: float) -> Values:
    mu = floored(yhat, xp)
    return (1 - power) * mu ** (-power) + power * t * mu ** (-power - 1)


def _tweedie_of_a(t: Values, a: Values, z: Values, xp: ModuleType, power: float) -> Values:
    p = power
    return (
        _tweedie_constant(t, xp, p)
        - t * xp.exp((1 - p) * a) / (1 - p)
        + xp.exp((2 - p) * a) / (2 - p)
    )


def _tweedie_delta(t: Values, a: Values, z: Values, xp: ModuleType, power: float) -> Values:
    return xp.exp((2 - power) * a) - t * xp.exp((1 - power) * a)


@register("tweedie")
def Tweedie(power: float = 1.5) -> Loss:
    """y^{2-p}/((1-p)(2-p)) - y ŷ^{1-p}/(1-p) + ŷ^{2-p}/(2-p): half the Tweedie deviance, ŷ > 0.

    Parameters
    ----------
    power : float, default=1.5
        p > 1, but not 2. y must be >= 0 for p < 2 and > 0 for p > 2.

    Raises
    ------
    ValueError
        If `power` is not a number > 1 other than 2.

    Examples
    --------
    >>> import numpy as np
    >>> from deltaprop import losses
    >>> y, yhat = np.array([[4.0]]), np.array([[1.0]])
    >>> losses.get("tweedie", power=1.5).evaluate(y, yhat, np).round(3)
    array([[2.]])
    """
    if not is_number(power) or power <= 1 or power == 2:
        raise InputError(
            f"power of the Tweedie loss must be a number > 1 other than 2, got {power!r}. Powers "
            "0, 1 and 2 are the losses 'squared_error', 'poisson' and 'gamma'."
        )
    return Loss(
        "tweedie",
        _tweedie,
        _tweedie_d,
        _tweedie_d2,
        {"power": float(power)},
        closed={"exp": ClosedForm(_tweedie_of_a, _tweedie_delta)},
        encoding=Amounts(positive=power > 2),
        link="exp",
    )
