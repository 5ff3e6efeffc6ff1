"""The scale of encoded numbers: robust, and with outliers squashed into [-3, 3].

    z = (x - median) / (q_0.75 - q_0.25)
    out = z / √(1 + (z / 3)²)

If the quartiles are equal, 2 / (max - min) is the factor. A missing value becomes 0, which is where
the median lies, and an infinite one -3 or 3. Quantiles count both as medians. This is the transform
of RealMLP (Holzmüller, Grinsztajn and Steinwart, "Better by default", 2024, section 3.1).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from jaxtyping import Float, Int, Num

BOUND = 3.0
LARGEST = 1e100  # its square is still finite
LARGEST_SCALE = float(np.finfo(np.float64).max)
ROUNDING = 1e-12  # a smaller spread, relative to the values, is rounding error
MOST_PLACES = 16  # that a partial sort is faster for


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
        return cls.joined(cls.of_table(column[None]) for column in columns)

    @classmethod
    def of_table(cls, columns: Num[np.ndarray, "k N"]) -> Squash:
        """The scale of columns that are rows of an array."""
        return cls(*_center_and_scale(columns.astype(np.float64)))

    @classmethod
    def of_flags(cls, counts: Int[np.ndarray, " k"], N: int) -> Squash:
        """The scale of columns of zeros and ones, from the number of ones among N rows."""
        counts = np.asarray(counts)

        def at(i: int) -> Float[np.ndarray, " k"]:
            return (i >= N - counts).astype(np.float64)

        q1, q3 = _quantile(at, N, 0.25), _quantile(at, N, 0.75)
        return cls((at((N - 1) // 2) + at(N // 2)) / 2, _factors(q1, q3, at(0), at(N - 1)))

    def parts(self) -> Iterator[Squash]:
        """The scale of each column by itself."""
        for j in range(len(self.center)):
            yield Squash(self.center[j : j + 1], self.scale[j : j + 1])

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
        found = self.apply(np.tile([0.0, 1.0], (len(self.center), 1)))
        low, high = np.ascontiguousarray(found.T, np.float32)
        return low, high

    def has_width(self, k: int) -> bool:
        """Whether this is a finite scale of k columns."""
        parts = (self.center, self.scale)
        return all(part.shape == (k,) and bool(np.isfinite(part).all()) for part in parts)


def is_end(value: object, k: int) -> bool:
    """Whether this can be what 0 or 1 become in k columns."""
    return isinstance(value, np.ndarray) and value.shape == (k,) and value.dtype == np.float32


def _center_and_scale(
    values: Float[np.ndarray, "k N"],
) -> tuple[Float[np.ndarray, " k"], Float[np.ndarray, " k"]]:
    """The center and the scale of each row; the rows are sorted partially, in place."""
    N = values.shape[1]
    known = np.isfinite(values)
    n = np.count_nonzero(known, axis=1)
    below = np.count_nonzero(values == -np.inf, axis=1)  # they come first, and missing values last
    infinite = N - n - np.count_nonzero(np.isnan(values), axis=1) > 0
    missing, half = N - n, n // 2

    ranks = np.array([i for q in (0.25, 0.75) for i in _neighbours(N, q)])[:, None]
    wanted = [(n - 1) // 2, half, np.zeros_like(n), n - 1]  # numbers of known values
    wanted += list(np.where(ranks < half, ranks, ranks - missing))
    places = below + np.minimum(np.maximum(wanted, 0), np.maximum(n - 1, 0))
    places = np.minimum(places, N - 1)
    _sort_partially(values, np.unique(places))
    low, high, lowest, highest, *of_ranks = values[np.arange(len(n)), places]
    median = low / 2 + high / 2
    counts_as_median = (half <= ranks) & (ranks < half + missing)
    at = dict(zip(ranks[:, 0], np.where(counts_as_median, median, of_ranks), strict=True))
    with np.errstate(invalid="ignore"):  # of rows without known values
        q1, q3 = _quantile(at.__getitem__, N, 0.25), _quantile(at.__getitem__, N, 0.75)
        scale = _factors(q1, q3, lowest, highest)
    scale = np.where(n > 0, scale, 0.0)
    return np.where(n > 0, median, 0.0), np.where(infinite & (scale == 0), 1.0, scale)


def _sort_partially(values: Float[np.ndarray, "k N"], places: Int[np.ndarray, " p"]) -> None:
    """Sort each row such that these places have the right values."""
    if len(places) <= MOST_PLACES:
        values.partition(places, axis=1)
    else:
        values.sort(axis=1)


def _factors(
    q1: Float[np.ndarray, " k"], q3: Float[np.ndarray, " k"],
    lowest: Float[np.ndarray, " k"], highest: Float[np.ndarray, " k"],
) -> Float[np.ndarray, " k"]:  # fmt: skip
    """The factors that give the quartiles, or else the extremes, their distance of 1 or 2."""
    of_quartiles, of_extremes = _inverse(q3 / 2 - q1 / 2) / 2, _inverse(highest / 2 - lowest / 2)
    of_extremes = np.where(_differ(lowest, highest), of_extremes, 0.0)
    return np.where(_differ(q1, q3), of_quartiles, of_extremes)


def _inverse(half: Float[np.ndarray, " k"]) -> Float[np.ndarray, " k"]:
    """1 / half, of half a distance, which is finite even between the largest numbers."""
    with np.errstate(divide="ignore", over="ignore"):
        found: np.ndarray = np.minimum(1 / half, LARGEST_SCALE)
    return found


def _differ(low: Float[np.ndarray, " k"], high: Float[np.ndarray, " k"]) -> Any:
    return high / 2 - low / 2 > ROUNDING / 2 * np.maximum(np.abs(low), np.abs(high))


def _neighbours(N: int, q: float) -> tuple[int, int]:
    low = int(q * (N - 1))
    return low, min(low + 1, N - 1)


def _quantile(at: Callable[[int], Any], N: int, q: float) -> Any:
    """The quantile between two ranks, interpolated linearly; `at` gives the value of a rank."""
    low, high = _neighbours(N, q)
    share = q * (N - 1) - low
    return at(low) * (1 - share) + at(high) * share
