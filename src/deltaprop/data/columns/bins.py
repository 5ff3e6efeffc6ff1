"""The piecewise-linear encoding of numbers: a column for each bin between two quantiles.

    t_k = min(1, max(0, (z - κ_k) / (κ_{k+1} - κ_k)))        k = 0 … K-1

z is an encoded number, and κ_0 < … < κ_K are quantiles of it. A sum Σ_k w_k t_k is a continuous
function of z that is linear in every bin, with the slope w_k / (κ_{k+1} - κ_k). So the first layer
can follow thresholds of a number that a product w z cannot. This is the encoding of Gorishniy,
Rubachev and Babenko, "On embeddings for numerical features in tabular deep learning" (2022),
section 3.2.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

    from jaxtyping import Float, Int

FEWEST = 4  # distinct values: the indicators and powers of fewer are no different from bins


@dataclass
class Bins:
    """The bins of all encoded numbers.

    Attributes
    ----------
    source : ndarray of shape (B,)
        The encoded column that each bin belongs to.
    low, high : ndarray of float32 of shape (B,)
        κ_k and κ_{k+1} of each bin.
    """

    source: Int[np.ndarray, " B"]
    low: Float[np.ndarray, " B"]
    high: Float[np.ndarray, " B"]

    @classmethod
    def learned(cls, Z: Float[np.ndarray, "N D"], columns: Iterable[int], most: int) -> Bins:
        """At most `most` bins for each of these columns, between quantiles of the rows of Z.

        Examples
        --------
        >>> import numpy as np
        >>> bins = Bins.learned(np.arange(9.0)[:, None], [0], most=2)
        >>> bins.low, bins.high
        (array([0., 4.], dtype=float32), array([4., 8.], dtype=float32))
        >>> out = np.empty((1, 2), np.float32)
        >>> bins.write(np.array([[5.0]], np.float32), out)
        >>> out
        array([[1.  , 0.25]], dtype=float32)
        """
        knots = {j: _knots(Z[:, j], most) for j in columns}
        edges = [(j, *pair) for j, k in knots.items() for pair in pairwise(k)]
        return cls(
            np.array([j for j, _, _ in edges], np.int64),
            np.array([low for _, low, _ in edges], np.float32),
            np.array([high for _, _, high in edges], np.float32),
        )

    @classmethod
    def none(cls) -> Bins:
        """No bins."""
        return cls(np.empty(0, np.int64), np.empty(0, np.float32), np.empty(0, np.float32))

    def __len__(self) -> int:
        return len(self.source)

    def write(self, Z: Float[np.ndarray, "n D"], out: Float[np.ndarray, "n B"]) -> None:
        """The t_k of encoded rows."""
        t = Z[:, self.source]
        t -= self.low
        t /= self.high - self.low
        np.clip(t, 0, 1, out=out)

    def fits(self, D: int) -> bool:
        """Whether these are bins of D encoded columns, after they were read from a file."""
        parts = (self.source, self.low, self.high)
        return (
            all(isinstance(part, np.ndarray) and part.shape == (len(self),) for part in parts)
            and self.source.dtype == np.int64
            and self.low.dtype == self.high.dtype == np.float32
            and bool(((self.source >= 0) & (self.source < D)).all())
            and bool((self.low < self.high).all())
            and bool((np.isfinite(self.low) & np.isfinite(self.high)).all())
        )


def _knots(z: Float[np.ndarray, " N"], most: int) -> list[np.float32]:
    """κ_0 … κ_K: all values if they are few, else quantiles."""
    values = np.unique(z).astype(np.float32)
    if len(values) < FEWEST:
        return []
    if len(values) > most + 1:
        values = np.unique(np.quantile(z, np.linspace(0, 1, most + 1)).astype(np.float32))
    return list(values)
