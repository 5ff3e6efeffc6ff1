"""The scale of encoded numbers: robust, and with outliers squashed into [-3, 3].

    z = (x - median) / (q_0.75 - q_0.25)
    out = z / √(1 + (z / 3)²)

If the quartiles are equal, 2 / (max - min) is the factor. A missing value becomes 0, which is where
the median lies, and an infinite one -3 or 3. Quantiles count both as medians. This is the transform
of RealMLP (Holzmüller, Grinsztajn and Steinwart, "Better by default", 2024, section 3.1).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from jaxtyping import Float, Int, Num

BOUND = 3.0
LARGEST = 1e100  # its square is still finite
LARGEST_SCALE = float(np.finfo(np.float64).max)
ROUNDING = 1e-12  # a smaller spread, relative to the values, is rounding error


@dataclass
class Squash:
    """The scale of k encoded columns.

    Attributes
    ----------
    center, scale : ndarray of shape (k,)
        z = (x - center) * scale.
    """

    center: Float[np.ndarray, " k"]
    scale: Float[np.ndarray, " k"]

    @classmethod
    def fitted(cls, columns: Iterable[Num[np.ndarray, " N"]]) -> Squash:
        """The scale of columns, in which NaN is a missing value."""
        found = [_of_numbers(column) for column in columns]
        return cls(np.array([c for c, _ in found]), np.array([s for _, s in found]))

    @classmethod
    def of_flags(cls, counts: Int[np.ndarray, " k"], N: int) -> Squash:
        """The scale of columns of zeros and ones, from the number of ones among N rows."""
        counts = np.asarray(counts)

        def at(i: int) -> Float[np.ndarray, " k"]:
            return (i >= N - counts).astype(np.float64)

        q1, q3 = _quantile(at, N, 0.25), _quantile(at, N, 0.75)
        lowest, highest = at(0), at(N - 1)
        return cls(
            (at((N - 1) // 2) + at(N // 2)) / 2,
            np.array([_factor(*ends) for ends in zip(q1, q3, lowest, highest, strict=True)]),
        )

    @classmethod
    def joined(cls, parts: Iterable[Squash]) -> Squash:
        """The scales of several columns as one."""
        parts = list(parts)
        none = np.empty(0)
        return cls(
            np.concatenate([none, *(part.center for part in parts)]),
            np.concatenate([none, *(part.scale for part in parts)]),
        )

    def apply(self, values: Float[np.ndarray, "k n"]) -> Float[np.ndarray, "k n"]:
        """Scale float64 values, one row per encoded column, in place. Missing values become 0."""
        with np.errstate(over="ignore", invalid="ignore"):
            values -= self.center[:, None]
            values *= self.scale[:, None]
        missing = np.isnan(values)  # or infinity, multiplied by 0
        np.clip(values, -LARGEST, LARGEST, out=values)
        size = values / BOUND
        size *= size
        size += 1
        values /= np.sqrt(size, out=size)
        if missing.any():
            values[missing] = 0
        return values

    def inverse(self, z: float, j: int) -> float:
        """The number that column j encodes as z, in (-3, 3).

        Examples
        --------
        >>> import numpy as np
        >>> scale = Squash(np.array([10.0]), np.array([0.5]))
        >>> z = scale.apply(np.array([[13.0]]))[0, 0]
        >>> round(float(scale.inverse(z, 0)), 6)
        13.0
        """
        z = float(z)  # Python floats may overflow without a warning
        scaled = z / max(1 - (z / BOUND) ** 2, 1e-12) ** 0.5
        return float(float(self.center[j]) + scaled / float(self.scale[j]))

    def ends(self) -> tuple[Float[np.ndarray, " k"], Float[np.ndarray, " k"]]:
        """What 0 and 1 become, for columns of zeros and ones."""
        k = len(self.center)
        low, high = self.apply(np.zeros((k, 1))), self.apply(np.ones((k, 1)))
        return low[:, 0].astype(np.float32), high[:, 0].astype(np.float32)

    def has_width(self, k: int) -> bool:
        """Whether this is a finite scale of k columns."""
        parts = (self.center, self.scale)
        return all(part.shape == (k,) and bool(np.isfinite(part).all()) for part in parts)


def is_end(value: object, k: int) -> bool:
    """Whether this can be what 0 or 1 become in k columns."""
    return isinstance(value, np.ndarray) and value.shape == (k,) and value.dtype == np.float32


def _of_numbers(column: Num[np.ndarray, " N"]) -> tuple[float, float]:
    """Center and scale, with a partial sort of the known values only."""
    values = column[np.isfinite(column)].astype(np.float64, copy=False)
    N, n = len(column), len(values)
    infinite = n < N and bool(np.isinf(column).any())
    if n == 0:
        return 0.0, float(infinite)
    missing, half = N - n, n // 2

    def place(i: int) -> int | None:
        """Where rank i of all rows is among the known values; None for a missing value."""
        return i if i < half else i - missing if i >= half + missing else None

    ranks = {i for q in (0.25, 0.75) for i in _neighbours(N, q)}
    places = {p for p in map(place, ranks) if p is not None}
    values.partition(sorted(places | {(n - 1) // 2, half}))
    median = float(values[(n - 1) // 2]) / 2 + float(values[half]) / 2

    def at(i: int) -> float:
        p = place(i)
        return median if p is None else float(values[p])

    q1, q3 = _quantile(at, N, 0.25), _quantile(at, N, 0.75)
    if _differ(q1, q3):
        return median, _factor(q1, q3, q1, q3)
    found = _factor(q1, q3, float(values.min()), float(values.max()))
    return median, found or float(infinite)


def _factor(q1: float, q3: float, lowest: float, highest: float) -> float:
    """The factor that gives the quartiles, or else the extremes, their distance of 1 or 2."""
    if _differ(q1, q3):
        return _inverse(q3 / 2 - q1 / 2) / 2
    if _differ(lowest, highest):
        return _inverse(highest / 2 - lowest / 2)
    return 0.0


def _inverse(half: float) -> float:
    """1 / half, of half a distance, which is finite even between the largest numbers."""
    return float(min(1 / half, LARGEST_SCALE))


def _differ(low: float, high: float) -> bool:
    return bool(high / 2 - low / 2 > ROUNDING / 2 * max(abs(low), abs(high)))


def _neighbours(N: int, q: float) -> tuple[int, int]:
    low = int(q * (N - 1))
    return low, min(low + 1, N - 1)


def _quantile(at: Callable[[int], Any], N: int, q: float) -> Any:
    """The quantile between two ranks, interpolated linearly; `at` gives the value of a rank."""
    low, high = _neighbours(N, q)
    share = q * (N - 1) - low
    return at(low) * (1 - share) + at(high) * share
