"""Clipping of per-sample gradients by scaling rows of δ_l, without forming the gradients.

The gradient of sample n has the blocks X_{l,n}ᵀ δ_{l,n}. Multiplying row n of every δ_l by a factor
therefore multiplies the gradient by that factor, and its norm follows from these rows:
:func:`deltaprop.derivation.equations.sample_norms`.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType

from deltaprop.derivation import equations
from deltaprop.functions.arrays import Array, namespace


def clipped(
    X: Sequence[Array], delta: Sequence[Array], max_norm: float
) -> tuple[list[Array], list[Array]]:
    """X_l and min(1, max_norm / ‖g_n‖) δ_l, so that no sample's gradient is longer than `max_norm`.

    A sample whose gradient is not finite contributes nothing; otherwise no sum would be finite.

    References
    ----------
    Abadi et al. (2016), "Deep learning with differential privacy", algorithm 1.

    Examples
    --------
    >>> import numpy as np
    >>> X, delta = clipped([np.array([[0.0]])], [np.array([[5.0]])], max_norm=2.0)
    >>> delta[0]
    array([[2.]])
    """
    xp = namespace(delta[0])
    delta = [_without_subnormals(delta_l, xp) for delta_l in delta]
    norms = equations.sample_norms(X, delta)
    finite = xp.isfinite(norms)[:, None]
    divisor = xp.where(norms > max_norm, norms, max_norm)
    factors = _without_subnormals(max_norm / divisor, xp)[:, None]
    # X_0 is finite, because it was checked. In the other X_l, 0 · inf would be NaN.
    hidden = [xp.where(finite, X_l, xp.zeros_like(X_l)) for X_l in X[1 : len(delta)]]
    return [X[0], *hidden], [
        xp.where(finite, factors * delta_l, xp.zeros_like(delta_l)) for delta_l in delta
    ]


def _without_subnormals(x: Array, xp: ModuleType) -> Array:
    """x with 0 in place of subnormal numbers, which have fewer digits and are 0 on some devices."""
    return xp.where(xp.abs(x) < xp.finfo(x.dtype).smallest_normal, xp.zeros_like(x), x)
