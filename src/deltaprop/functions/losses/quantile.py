"""The quantile (pinball) loss of the residual r = y - ŷ at the levels q.

    value        max(q r, (q - 1) r)
    loss′        -q if r > 0, 1 - q if r < 0, 0 if r = 0
    loss″        0
    information  q (1 - q), that of asymmetric Laplace noise

With Q levels, column k of y has the Q outputs k Q ... k Q + Q - 1.
"""

from __future__ import annotations

from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from deltaprop.errors import InputError
from deltaprop.functions.arrays import per_output, real, where_positive
from deltaprop.functions.checks import is_number
from deltaprop.functions.kernels import PerOutput
from deltaprop.functions.losses.loss import Loss, register
from deltaprop.functions.losses.targets import Repeated

if TYPE_CHECKING:
    from deltaprop.functions.losses.loss import Values

__all__ = ["Quantile"]


def _value(t: Values, yhat: Values, xp: ModuleType, quantiles: tuple[float, ...]) -> Values:
    r, q = t - yhat, per_output(quantiles, real(yhat, xp), xp)
    return where_positive(r, q * r, (q - 1) * r, xp)


def _d(t: Values, yhat: Values, xp: ModuleType, quantiles: tuple[float, ...]) -> Values:
    q = per_output(quantiles, yhat, xp)
    return xp.where(t > yhat, -q, xp.where(t < yhat, 1 - q, xp.zeros_like(q)))


def _d2(t: Values, yhat: Values, xp: ModuleType, quantiles: tuple[float, ...]) -> Values:
    return xp.zeros_like(yhat)


def _information(yhat: Values, xp: ModuleType, quantiles: tuple[float, ...]) -> Values:
    q = per_output(quantiles, yhat, xp)
    return q * (1 - q) * xp.ones_like(yhat)


@register("quantile")
def Quantile(quantiles: float | tuple[float, ...] = 0.5) -> Loss:
    """max(q r, (q - 1) r), r = y - ŷ, for each level q. Koenker and Bassett (1978).

    Parameters
    ----------
    quantiles : float or tuple of float, default=0.5
        One or more levels, each strictly between 0 and 1. With Q levels each column k of y has
        the Q outputs k Q ... k Q + Q - 1.

    Raises
    ------
    ValueError
        If there is no level, or a level is not a number strictly between 0 and 1.

    Examples
    --------
    >>> import numpy as np
    >>> from deltaprop import losses
    >>> y, yhat = np.array([[1.0]]), np.array([[3.0]])
    >>> losses.get("quantile", quantiles=0.9).evaluate(y, yhat, np).round(3)
    array([[0.2]])
    """
    levels: tuple[Any, ...] = tuple(np.atleast_1d(quantiles).tolist())
    if not levels or not all(is_number(q) and 0 < q < 1 for q in levels):
        raise InputError(
            f"quantiles must be one or more numbers strictly between 0 and 1, got {quantiles!r}."
        )
    return Loss(
        "quantile",
        _value,
        _d,
        _d2,
        {"quantiles": tuple(float(q) for q in levels)},
        outputs_per_target=len(levels),
        information=_information,
        encoding=Repeated(len(levels)),
        kernel=PerOutput("quantiles"),
    )
