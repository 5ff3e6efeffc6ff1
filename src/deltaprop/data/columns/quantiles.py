"""The scale that gives numbers a standard normal distribution, by their quantiles.

    p = F(x),  z = Φ⁻¹(p)

F is the distribution of the rows of ``fit``: linear between quantiles of equal distances in p. z is
clipped to [-5.2, 5.2]: scikit-learn's ``QuantileTransformer(output_distribution="normal")``.
Networks for tables often use it, with a thirtieth as many quantiles as rows (Gorishniy et al.,
"Revisiting deep learning models for tabular data", 2021, section 4.3).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from jaxtyping import Float, Num

FEWEST, MOST, ROWS_PER_QUANTILE = 10, 1000, 30
THRESHOLD = 1e-7  # of p: where z is clipped


@dataclass
class Quantiles:
    """The quantiles of k encoded columns.

    Attributes
    ----------
    knots : list of ndarray of shape (Q,)
        For each column, the quantiles for Q equal distances of p from 0 to 1.
    """

    knots: list[Float[np.ndarray, " Q"]]

    @classmethod
    def fitted(cls, columns: Iterable[Num[np.ndarray, " N"]]) -> Quantiles:
        """The quantiles of columns, in which NaN is a missing value.

        Examples
        --------
        >>> import numpy as np
        >>> scale = Quantiles.fitted([np.arange(1001.0)])
        >>> scale.apply(np.array([[500.0, 841.3, np.nan]])).round(3)
        array([[0., 1., 0.]])
        """
        return cls([_knots(column[np.isfinite(column)]) for column in columns])

    @classmethod
    def joined(cls, parts: Iterable[Quantiles]) -> Quantiles:
        """The quantiles of several columns as one."""
        return cls([knots for part in parts for knots in part.knots])

    @property
    def scale(self) -> Float[np.ndarray, " k"]:
        """0 for each column that is constant, else 1."""
        return np.array([float(knots[0] < knots[-1]) for knots in self.knots])

    def apply(self, values: Float[np.ndarray, "k n"]) -> Float[np.ndarray, "k n"]:
        """Map float64 values, one row per encoded column, in place. Missing values become 0."""
        ndtri = _ndtri()
        for x, knots in zip(values, self.knots, strict=True):
            missing = np.isnan(x)
            x[:] = ndtri(_probabilities(x, knots)) if knots[0] < knots[-1] else 0
            x[missing] = 0
        end = ndtri(1 - (THRESHOLD - np.spacing(1)))
        return np.clip(values, -end, end, out=values)

    def inverse(self, z: float, j: int) -> float:
        """The number that column j encodes as z.

        Examples
        --------
        >>> import numpy as np
        >>> round(Quantiles([np.linspace(0.0, 10.0, 11)]).inverse(0.0, 0), 6)
        5.0
        """
        from scipy.special import ndtr

        knots = self.knots[j]
        return float(np.interp(ndtr(float(z)), np.linspace(0, 1, len(knots)), knots))

    def has_width(self, k: int) -> bool:
        """Whether these are quantiles of k columns, after they were read from a file."""
        return (
            isinstance(self.knots, list)
            and len(self.knots) == k
            and all(_are_quantiles(knots) for knots in self.knots)
        )


def _ndtri() -> Any:
    """Φ⁻¹ of an array."""
    try:
        from scipy.special import ndtri
    except ModuleNotFoundError:  # which predictions do not need
        from statistics import NormalDist

        inverse, ends = NormalDist().inv_cdf, {0.0: -np.inf, 1.0: np.inf}
        return np.vectorize(lambda p: ends[p] if p in ends else inverse(p), otypes=[float])
    return ndtri


def _are_quantiles(knots: Any) -> bool:
    return (
        isinstance(knots, np.ndarray)
        and knots.dtype == np.float64
        and knots.ndim == 1
        and len(knots) > 0
        and bool(np.isfinite(knots).all())
        and bool((knots[1:] >= knots[:-1]).all())
    )


def _knots(known: Num[np.ndarray, " n"]) -> Float[np.ndarray, " Q"]:
    if len(known) == 0:
        return np.zeros(1)
    Q = int(np.clip(len(known) // ROWS_PER_QUANTILE, FEWEST, MOST))
    found = np.quantile(known.astype(np.float64), np.linspace(0, 1, Q))
    increasing: np.ndarray = np.maximum.accumulate(found)  # rounding can exchange neighbours
    return increasing


def _probabilities(x: Float[np.ndarray, " n"], knots: Float[np.ndarray, " Q"]) -> Any:
    """F(x); of a value that several quantiles have in common, the middle of their p."""
    P = np.linspace(0, 1, len(knots))
    p = np.interp(x, knots, P)
    if (knots[1:] == knots[:-1]).any():
        p = 0.5 * (p - np.interp(-x, -knots[::-1], -P[::-1]))
    p[x + THRESHOLD > knots[-1]] = 1
    p[x - THRESHOLD < knots[0]] = 0
    return p
