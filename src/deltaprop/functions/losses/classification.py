"""The binary and the categorical cross-entropy.

==================  =======================================  =====================  ==============
loss                value                                    loss′                  loss″
==================  =======================================  =====================  ==============
BinaryCrossEntropy  -(u log p + v log(1 - p))                v / (1 - p) - u / p    v / (1 - p)²
                                                                                    + u / p²
CrossEntropy        -t_h log p_h                             -t_h / p_h             t_h / p_h²
==================  =======================================  =====================  ==============

p = ŷ. u = w_1 t and v = w_0 (1 - t) are the weights of the two classes; in the categorical
cross-entropy t holds the class weights (see `targets.Classes`).

Closed forms, with z = f(a):

==================  ==========  =======================================  =========================
loss                activation  value                                    δ
==================  ==========  =======================================  =========================
BinaryCrossEntropy  logistic    u softplus(-a) + v softplus(a)           v z - u σ(-a)
CrossEntropy        softmax     t_h (log Σ_k exp(a_k) - a_h)             z_h Σ_k t_k - t_h
==================  ==========  =======================================  =========================
"""

from __future__ import annotations

from types import ModuleType
from typing import TYPE_CHECKING

from deltaprop.errors import InputError
from deltaprop.functions.arrays import expit, floored, log_sum_exp, softplus
from deltaprop.functions.kernels import LogLikelihood
from deltaprop.functions.losses.loss import ClosedForm, Loss, register
from deltaprop.functions.losses.targets import (
    Classes,
    Probabilities,
    checked_smoothing,
    checked_weights,
)

if TYPE_CHECKING:
    from deltaprop.functions.losses.loss import Values

    Weights = tuple[float, float]

__all__ = ["BinaryCrossEntropy", "CrossEntropy"]


# ---------------------------------------------------------------- binary


def _pair(t: Values, class_weight: Weights) -> tuple[Values, Values]:
    """The weights of log p and of log(1 - p)."""
    negative, positive = class_weight
    return positive * t, negative * (1 - t)


def _bce(t: Values, yhat: Values, xp: ModuleType, class_weight: Weights) -> Values:
    u, v = _pair(t, class_weight)
    return -(u * xp.log(floored(yhat, xp)) + v * xp.log(floored(1 - yhat, xp)))


def _bce_d(t: Values, yhat: Values, xp: ModuleType, class_weight: Weights) -> Values:
    u, v = _pair(t, class_weight)
    return v / floored(1 - yhat, xp) - u / floored(yhat, xp)


def _bce_d2(t: Values, yhat: Values, xp: ModuleType, class_weight: Weights) -> Values:
    u, v = _pair(t, class_weight)
    p, q = floored(yhat, xp), floored(1 - yhat, xp)
    return v / q / q + u / p / p


def _bce_of_a(t: Values, a: Values, z: Values, xp: ModuleType, class_weight: Weights) -> Values:
    u, v = _pair(t, class_weight)
    return u * softplus(-a, xp) + v * softplus(a, xp)


def _bce_delta(t: Values, a: Values, z: Values, xp: ModuleType, class_weight: Weights) -> Values:
    u, v = _pair(t, class_weight)
    return v * z - u * expit(-a, xp)


@register("binary_cross_entropy")
def BinaryCrossEntropy(
    label_smoothing: float = 0.0, class_weight: tuple[float, float] | None = None
) -> Loss:
    """-(w_1 y log p + w_0 (1 - y) log(1 - p)) for each output: two classes, or multilabel.

    Parameters
    ----------
    label_smoothing : float, default=0.0
        ε in [0, 1) replaces y by y (1 - ε) + ε / 2. Szegedy et al. (2016).
    class_weight : pair of float, optional
        The weights >= 0 of class 0 and of class 1. By default both are 1.

    Raises
    ------
    ValueError
        If a setting is out of its range, or there are not two weights.

    Examples
    --------
    >>> import numpy as np
    >>> from deltaprop import losses
    >>> y, yhat = np.array([[1.0]]), np.array([[0.5]])
    >>> losses.get("binary_cross_entropy").evaluate(y, yhat, np).round(3)
    array([[0.693]])
    """
    weights = checked_weights(class_weight) or (1.0, 1.0)
    if len(weights) != 2:
        raise InputError(
            "class_weight of the binary cross-entropy must hold two weights, of class 0 and of "
            f"class 1; got {class_weight!r}."
        )
    return Loss(
        "binary_cross_entropy",
        _bce,
        _bce_d,
        _bce_d2,
        {"class_weight": weights},
        closed={"logistic": ClosedForm(_bce_of_a, _bce_delta)},
        encoding=Probabilities(checked_smoothing(label_smoothing)),
        link="logistic",
        note="0 log 0 counts as 0.",
    )


# ---------------------------------------------------------------- categorical


@register("cross_entropy")
def CrossEntropy(
    label_smoothing: float = 0.0, class_weight: tuple[float, ...] | None = None
) -> Loss:
    """-Σ_h w_h y_h log p_h: one of H classes, with hard or soft labels.

    Parameters
    ----------
    label_smoothing : float, default=0.0
        ε in [0, 1) replaces y by y (1 - ε) + ε / H. Szegedy et al. (2016).
    class_weight : tuple of H floats, optional
        The weight >= 0 of each class. By default all are 1.

    Raises
    ------
    ValueError
        If a setting is out of its range.

    Examples
    --------
    >>> import numpy as np
    >>> from deltaprop import losses
    >>> y, yhat = np.array([[1.0, 0.0]]), np.array([[0.5, 0.5]])
    >>> losses.get("cross_entropy").evaluate(y, yhat, np).round(3)
    array([[0.693, 0.   ]])
    """
    weights = checked_weights(class_weight)

    def information(yhat: Values, xp: ModuleType) -> Values:
        result = 1 / floored(yhat, xp)
        if weights:  # the encoding multiplies them into t
            result = result * xp.asarray(weights, dtype=yhat.dtype)[None, :]
        return result

    return Loss(
        "cross_entropy",
        lambda t, yhat, xp: -t * xp.log(floored(yhat, xp)),
        lambda t, yhat, xp: -t / floored(yhat, xp),
        lambda t, yhat, xp: t / floored(yhat, xp) / floored(yhat, xp),
        closed={
            "softmax": ClosedForm(
                lambda t, a, z, xp: t * (log_sum_exp(a, xp) - a),
                lambda t, a, z, xp: z * xp.sum(t, axis=-1, keepdims=True) - t,
                LogLikelihood(lambda t, xp: t),
            )
        },
        information=information,
        encoding=Classes(checked_smoothing(label_smoothing), weights),
        link="softmax",
        note="0 log 0 counts as 0.",
    )
