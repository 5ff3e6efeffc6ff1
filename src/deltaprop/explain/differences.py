"""Numerical derivatives: the independent side of every check."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from deltaprop.functions.arrays import Array

if TYPE_CHECKING:
    from jaxtyping import Bool, Float

COMPLEX_STEP = 1e-20
DIFFERENCE = 1e-5
SHRINK = (1.0, 1e-1, 1e-2, 1e-3, 1e-4)  # factors of the difference if it is too coarse
AGREE = 1e-3  # largest difference between complex step and differences, over the largest slope


class Numerical(NamedTuple):
    """A derivative, how it was computed, and where it is reliable.

    At a corner any slope between the two sides is a derivative: `low` and `high` are the slopes of
    the two sides. They are infinite at all other points.
    """

    value: Float[np.ndarray, "..."]
    method: str
    smooth: Bool[np.ndarray, "..."]
    low: Float[np.ndarray, "..."]
    high: Float[np.ndarray, "..."]


class _Differences(NamedTuple):
    """Slopes from differences, point by point, with an error estimate."""

    value: Float[np.ndarray, "..."]
    error: Float[np.ndarray, "..."]
    smooth: Bool[np.ndarray, "..."]
    low: Float[np.ndarray, "..."]
    high: Float[np.ndarray, "..."]

    @property
    def size(self) -> float:
        return float(np.max(np.abs(self.value), initial=0.0, where=self.smooth))


def along(fun: Callable[[Array], Array], x: Array, direction: Array) -> Numerical:
    """Return d/ds fun(x + s · direction) at s = 0.

    Uses the complex step Im fun(x + ih · direction) / h, which is exact to rounding, or central
    differences if `fun` does not extend to complex numbers (it raises, or the two disagree).
    Differences that are too coarse (a unit saturates within h) are repeated with a smaller h, and
    each point keeps the best. Points at a corner, a jump or a pole are marked as not smooth.
    """
    h = DIFFERENCE * max(1.0, float(np.max(np.abs(x), initial=0.0, where=direction != 0)))
    exact = _complex_step(fun, x, direction)
    found: _Differences | None = None
    for shrink in SHRINK:
        finer = _differences(fun, x, direction, h * shrink)
        found = finer if found is None else _better(found, finer)
        if exact is not None and exact.shape == found.value.shape:
            smooth = found.smooth & np.isfinite(exact)
            difference = np.abs(exact - found.value)[smooth]
            if np.all(difference <= AGREE * (found.size + DIFFERENCE)):
                return Numerical(exact, "complex step", smooth, found.low, found.high)
        elif found.smooth.all() and np.all(found.error <= AGREE * AGREE * found.size):
            break
    assert found is not None
    return Numerical(found.value, "central", found.smooth, found.low, found.high)


def _differences(
    fun: Callable[[Array], Array], x: Array, direction: Array, h: float
) -> _Differences:
    f0, up, down = (np.asarray(fun(x + s * direction)) for s in (0.0, h, -h))
    right, left = (up - f0) / h, (f0 - down) / h
    central = (right + left) / 2
    half = (fun(x + h / 2 * direction) - fun(x - h / 2 * direction)) / h
    finite = np.isfinite(right) & np.isfinite(left) & np.isfinite(half)
    size = float(np.max(np.abs(central), initial=0.0, where=finite))
    tolerance = 1e-3 * np.abs(central) + 1e-4 * size + 10 * min(h, DIFFERENCE)
    # At a corner left and right slopes differ; at a jump the slope grows when the step shrinks.
    steady = finite & (np.abs(half - central) <= tolerance)
    smooth = steady & (np.abs(right - left) <= tolerance)
    corner = steady & ~smooth
    refined = (4 * half - central) / 3  # Richardson: the error of both cancels
    low = np.where(corner, np.minimum(left, right), -np.inf)
    high = np.where(corner, np.maximum(left, right), np.inf)
    return _Differences(refined, np.abs(half - central), smooth, low, high)


def _better(old: _Differences, new: _Differences) -> _Differences:
    """Keep the more accurate of two differences at each point; a smooth point is not a corner."""
    take = new.smooth & (~old.smooth | (new.error < old.error))
    low, high = (
        np.where(take, side, before) for side, before in ((-np.inf, old.low), (np.inf, old.high))
    )
    return _Differences(
        np.where(take, new.value, old.value), np.where(take, new.error, old.error),
        old.smooth | take, low, high,
    )  # fmt: skip


def _complex_step(
    fun: Callable[[Array], Array], x: Array, direction: Array
) -> Float[np.ndarray, "..."] | None:
    try:
        value = np.asarray(fun(x + 1j * COMPLEX_STEP * direction))
    except (TypeError, ValueError, AttributeError, NotImplementedError):
        return None  # a custom function that takes real numbers only
    return value.imag / COMPLEX_STEP if np.iscomplexobj(value) else None


# ---------------------------------------------------------------- derivatives of arrays


def all_at_once(fun: Callable[[Array], Array], a: Float[np.ndarray, "N H"]) -> Numerical:
    """Return f′ of each entry, for a function that works entry by entry."""
    return along(fun, a, np.ones_like(a))


def by_columns(fun: Callable[[int, Array], Array], x: Float[np.ndarray, "N H"]) -> Numerical:
    """Return ∂fun(h, x)_n / ∂x_nh for each column h."""
    parts = [along(partial(fun, h), x, unit(x, h)) for h in range(x.shape[1])]
    return stack(parts, axis=1)


def column_by_column(fun: Callable[[Array], Array], a: Float[np.ndarray, "N H"]) -> Numerical:
    """Return the derivatives with respect to each column, as a new last axis."""
    return stack([along(fun, a, unit(a, k)) for k in range(a.shape[1])], axis=-1)


def stack(parts: list[Numerical], axis: int) -> Numerical:
    """Stack derivatives along a new axis."""
    return _combined(parts, partial(np.stack, axis=axis))


def joined(parts: list[Numerical]) -> Numerical:
    """Concatenate derivatives along their first axis."""
    return _combined(parts, np.concatenate)


def _combined(parts: list[Numerical], combine: Callable[..., np.ndarray]) -> Numerical:
    """Combine derivatives; the method is "central" unless all are complex steps."""
    methods = {part.method for part in parts}
    return Numerical(
        combine([part.value for part in parts]),
        "complex step" if methods == {"complex step"} else "central",
        combine([part.smooth for part in parts]),
        combine([part.low for part in parts]),
        combine([part.high for part in parts]),
    )


def unit(a: Float[np.ndarray, "N H"], h: int) -> Float[np.ndarray, "N H"]:
    """Return an array like `a` with ones in column h and zeros elsewhere."""
    direction = np.zeros_like(a)
    direction[:, h] = 1
    return direction
