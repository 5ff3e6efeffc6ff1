"""The negative log-likelihood of a Gaussian whose mean μ and variance v are outputs, ŷ = (μ | v).

    value        ½ (log v + (y - μ)² / v)
    ∂/∂μ         (μ - y) / v
    ∂/∂v         ½ (1 - (y - μ)² / v) / v
    ∂²/∂μ²       1 / v
    ∂²/∂v²       ((y - μ)² / v - ½) / v²
    information  (1 / v | ½ / v²), as E (y - μ)² = v

Closed form with the activation mean_variance, a = (μ | s) with s = log v:

    value        ½ (s + (y - μ)² exp(-s))
    δ            ((μ - y) exp(-s) | ½ (1 - (y - μ)² exp(-s)))
"""

from __future__ import annotations

from types import ModuleType
from typing import TYPE_CHECKING

from deltaprop.functions.arrays import floored
from deltaprop.functions.kernels import MeanAndSpread
from deltaprop.functions.losses.loss import ClosedForm, Loss, register
from deltaprop.functions.losses.targets import HalfTheColumns

if TYPE_CHECKING:
    from deltaprop.functions.losses.loss import Values

__all__ = ["GaussianNLL"]


def _halves(x: Values) -> tuple[Values, Values]:
    K = x.shape[-1] // 2
    return x[:, :K], x[:, K:]


def _of_variance(t: Values, mu: Values, v: Values, xp: ModuleType) -> tuple[Values, Values, Values]:
    """The value and its derivatives with respect to μ and v."""
    r, v = t - mu, floored(v, xp)
    return 0.5 * (xp.log(v) + r * r / v), -r / v, 0.5 * (1 - r * r / v) / v


def _of_log_variance(
    t: Values, mu: Values, log_v: Values, xp: ModuleType
) -> tuple[Values, Values, Values]:
    """The value and its derivatives with respect to μ and log v."""
    r, precision = t - mu, xp.exp(-log_v)
    return (
        0.5 * (log_v + r * r * precision),
        -r * precision,
        0.5 * (1 - r * r * precision),
    )


def _value(t: Values, yhat: Values, xp: ModuleType) -> Values:
    return _of_variance(t, *_halves(yhat), xp)[0]


def _d(t: Values, yhat: Values, xp: ModuleType) -> Values:
    return xp.concat(_of_variance(t, *_halves(yhat), xp)[1:], axis=-1)


def _d2(t: Values, yhat: Values, xp: ModuleType) -> Values:
    mu, v = _halves(yhat)
    v = floored(v, xp)
    return xp.concat([1 / v, ((t - mu) ** 2 / v - 0.5) / v / v], axis=-1)


def _information(yhat: Values, xp: ModuleType) -> Values:
    v = floored(_halves(yhat)[1], xp)
    return xp.concat([1 / v, 0.5 / v / v], axis=-1)


def _value_of_a(t: Values, a: Values, z: Values, xp: ModuleType) -> Values:
    return _of_log_variance(t, *_halves(a), xp)[0]


def _delta(t: Values, a: Values, z: Values, xp: ModuleType) -> Values:
    return xp.concat(_of_log_variance(t, *_halves(a), xp)[1:], axis=-1)


@register("gaussian_nll")
def GaussianNLL() -> Loss:
    """½ (log v + (y - μ)² / v), ŷ = (μ | v). Nix and Weigend (1994).

    K columns of y need 2 K outputs: first the K means, then the K variances.

    Examples
    --------
    >>> import numpy as np
    >>> from deltaprop import losses
    >>> y, yhat = np.array([[2.0]]), np.array([[0.0, 1.0]])
    >>> losses.get("gaussian_nll").evaluate(y, yhat, np).round(3)
    array([[2.]])
    """
    log_form = ClosedForm(_value_of_a, _delta, MeanAndSpread(_of_log_variance))
    return Loss(
        "gaussian_nll",
        _value,
        _d,
        _d2,
        closed={"mean_variance": log_form},
        outputs_per_target=2,
        information=_information,
        encoding=HalfTheColumns(),
        kernel=MeanAndSpread(_of_variance),
        link="mean_variance",
    )
