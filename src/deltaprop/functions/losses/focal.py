"""The focal loss: a cross-entropy that gives less weight to well-classified samples.

With φ(p) = -(1 - p)^γ log p:

    value    t_h φ(p_h)
    loss′    t_h φ′(p_h),   φ′(p) = γ (1 - p)^(γ-1) log p - (1 - p)^γ / p
    loss″    t_h φ″(p_h),   φ″(p) = -γ (γ - 1) (1 - p)^(γ-2) log p + 2 γ (1 - p)^(γ-1) / p
                                    + (1 - p)^γ / p²

A single output is the probability of class 1: (1 - t) φ(1 - p) is added for class 0.

Closed form with softmax, z = p, log z_h = a_h - log Σ_k exp(a_k):

    value    -t_h (1 - z_h)^γ log z_h
    δ        q_h - z_h Σ_k q_k,   q_h = t_h (γ (1 - z_h)^(γ-1) z_h log z_h - (1 - z_h)^γ)

Closed form with logistic, z = σ(a), -log z = softplus(-a), 1 - z = σ(-a):

    value    t σ(-a)^γ softplus(-a)  [+ (1 - t) z^γ softplus(a)]
    δ        -t σ(-a)^γ (γ z softplus(-a) + σ(-a))
             [+ (1 - t) z^γ (γ σ(-a) softplus(a) + z)]

The terms in brackets apply only if there is a single output.
"""

from __future__ import annotations

from types import ModuleType
from typing import TYPE_CHECKING

from deltaprop.errors import InputError
from deltaprop.functions.arrays import expit, floored, log_sum_exp, power, softplus
from deltaprop.functions.checks import is_number
from deltaprop.functions.kernels import EachClass, LogProbabilities
from deltaprop.functions.losses.loss import ClosedForm, Loss, register
from deltaprop.functions.losses.targets import OneOrMore

if TYPE_CHECKING:
    from deltaprop.functions.losses.loss import Values

__all__ = ["Focal"]


# ---------------------------------------------------------------- φ, φ′, φ″ of a probability


def _phi(p: Values, xp: ModuleType, gamma: float) -> Values:
    return -power(1 - p, gamma, xp) * xp.log(floored(p, xp))


def _phi_d(p: Values, xp: ModuleType, gamma: float) -> Values:
    p = floored(p, xp)
    return gamma * power(1 - p, gamma - 1, xp) * xp.log(p) - power(1 - p, gamma, xp) / p


def _phi_d2(p: Values, xp: ModuleType, gamma: float) -> Values:
    p = floored(p, xp)
    return (
        -gamma * (gamma - 1) * power(1 - p, gamma - 2, xp) * xp.log(p)
        + 2 * gamma * power(1 - p, gamma - 1, xp) / p
        + power(1 - p, gamma, xp) / p / p
    )


def _value(t: Values, yhat: Values, xp: ModuleType, gamma: float) -> Values:
    value = t * _phi(yhat, xp, gamma)
    if yhat.shape[-1] == 1:
        value = value + (1 - t) * _phi(1 - yhat, xp, gamma)
    return value


def _d(t: Values, yhat: Values, xp: ModuleType, gamma: float) -> Values:
    value = t * _phi_d(yhat, xp, gamma)
    if yhat.shape[-1] == 1:
        value = value - (1 - t) * _phi_d(1 - yhat, xp, gamma)
    return value


def _d2(t: Values, yhat: Values, xp: ModuleType, gamma: float) -> Values:
    value = t * _phi_d2(yhat, xp, gamma)
    if yhat.shape[-1] == 1:
        value = value + (1 - t) * _phi_d2(1 - yhat, xp, gamma)
    return value


# ---------------------------------------------------------------- with softmax


def _softmax_terms(
    t: Values, z: Values, log_z: Values, xp: ModuleType, gamma: float
) -> tuple[Values, Values]:
    """The value of each class and q."""
    rest = power(1 - z, gamma, xp)
    slope = gamma * power(1 - z, gamma - 1, xp) * z * log_z
    return -(t * rest * log_z), t * (slope - rest)


def _softmax_single(t: Values, z: Values, xp: ModuleType, gamma: float) -> Values:
    return -(1 - t) * xp.log(floored(1 - z, xp))


def _of_softmax(t: Values, a: Values, z: Values, xp: ModuleType, gamma: float) -> Values:
    if z.shape[-1] == 1:
        return _value(t, z, xp, gamma)
    return _softmax_terms(t, z, a - log_sum_exp(a, xp), xp, gamma)[0]


def _delta_of_softmax(t: Values, a: Values, z: Values, xp: ModuleType, gamma: float) -> Values:
    if z.shape[-1] == 1:  # a softmax over one class is constant
        return xp.zeros_like(z)
    q = _softmax_terms(t, z, a - log_sum_exp(a, xp), xp, gamma)[1]
    return q - z * xp.sum(q, axis=-1, keepdims=True)


# ---------------------------------------------------------------- with logistic


def _logistic_terms(a: Values, z: Values, xp: ModuleType, gamma: float) -> tuple[Values, Values]:
    """The loss of a class that is present, and its derivative with respect to a."""
    q = expit(-a, xp)
    rest, log = power(q, gamma, xp), softplus(-a, xp)
    return rest * log, -rest * (gamma * z * log + q)


def _of_logistic(t: Values, a: Values, z: Values, xp: ModuleType, gamma: float) -> Values:
    value = t * power(expit(-a, xp), gamma, xp) * softplus(-a, xp)
    if z.shape[-1] == 1:
        value = value + (1 - t) * power(z, gamma, xp) * softplus(a, xp)
    return value


def _delta_of_logistic(t: Values, a: Values, z: Values, xp: ModuleType, gamma: float) -> Values:
    q = expit(-a, xp)
    delta = -t * power(q, gamma, xp) * (gamma * z * softplus(-a, xp) + q)
    if z.shape[-1] == 1:
        delta = delta + (1 - t) * power(z, gamma, xp) * (gamma * q * softplus(a, xp) + z)
    return delta


# ---------------------------------------------------------------- the loss


@register("focal")
def Focal(gamma: float = 2.0) -> Loss:
    """-Σ_h y_h (1 - p_h)^γ log p_h; a single output stands for two classes. Lin et al. (2017).

    Parameters
    ----------
    gamma : float, default=2.0
        γ >= 0. With 0 the loss is the cross-entropy; a larger γ gives less weight to
        well-classified samples.

    Raises
    ------
    ValueError
        If `gamma` is not a number >= 0.

    Examples
    --------
    >>> import numpy as np
    >>> from deltaprop import losses
    >>> y, yhat = np.array([[1.0, 0.0]]), np.array([[0.5, 0.5]])
    >>> losses.get("focal", gamma=2.0).evaluate(y, yhat, np).round(3)
    array([[0.173, 0.   ]])
    """
    if not is_number(gamma) or gamma < 0:
        raise InputError(f"gamma of the focal loss must be a number >= 0, got {gamma!r}.")
    log_softmax = LogProbabilities(_softmax_terms, _softmax_single)
    log_logistic = EachClass(_logistic_terms)
    return Loss(
        "focal",
        _value,
        _d,
        _d2,
        {"gamma": float(gamma)},
        closed={
            "softmax": ClosedForm(_of_softmax, _delta_of_softmax, log_softmax),
            "logistic": ClosedForm(_of_logistic, _delta_of_logistic, log_logistic),
        },
        encoding=OneOrMore(),
        kernel=EachClass(lambda a, z, xp, gamma: (_phi(z, xp, gamma), _phi_d(z, xp, gamma))),
        link="softmax",
        note="0 log 0 counts as 0.",
    )
