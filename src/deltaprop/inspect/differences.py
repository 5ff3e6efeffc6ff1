"""Derivatives without calculus: the independent side of every proof."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from deltaprop._arrays import Array

COMPLEX_STEP = 1e-20
DIFFERENCE = 1e-5


class Numerical(NamedTuple):
    """A derivative, how it was found, and where it can be trusted."""

    value: Float[np.ndarray, "..."]
    method: str
    smooth: Bool[np.ndarray, "..."]


def along(fun: Callable[[Array], Array], x: Array, direction: Array) -> Numerical:
    """d/ds fun(x + s · direction) at s = 0.

    By complex step, Im fun(x + ih · direction) / h, which is exact to rounding; by central
    differences where `fun` does not continue to complex numbers (it raises, or the two disagree).
    Points where left and right difference disagree lie at a kink and are marked as not smooth.
    """
    f0 = np.asarray(fun(x))
    right = (np.asarray(fun(x + DIFFERENCE * direction)) - f0) / DIFFERENCE
    left = (f0 - np.asarray(fun(x - DIFFERENCE * direction))) / DIFFERENCE
    central = (right + left) / 2
    size = np.max(np.abs(central), initial=0.0, where=np.isfinite(central))
    smooth = np.abs(right - left) <= 1e-3 * np.abs(central) + 1e-4 * size + 10 * DIFFERENCE
    exact = _complex_step(fun, x, direction)
    if exact is not None and exact.shape == central.shape:
        apart = np.abs(exact - central)[smooth]
        if np.all(apart <= 1e-3 * (size + DIFFERENCE)):
            return Numerical(exact, "complex step", smooth)
    return Numerical(central, "central", smooth)


def _complex_step(
    fun: Callable[[Array], Array], x: Array, direction: Array
) -> Float[np.ndarray, "..."] | None:
    try:
        value = np.asarray(fun(x + 1j * COMPLEX_STEP * direction))
    except (TypeError, ValueError, AttributeError, NotImplementedError):
        return None  # the user's own function knows real numbers only
    return value.imag / COMPLEX_STEP if np.iscomplexobj(value) else None
