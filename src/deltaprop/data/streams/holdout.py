"""Which rows are held out for validation.

A hash of each row's position decides. So the split needs no memory and no pass over the data, and
does not depend on the order in which rows are read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int


class Holdout(NamedTuple):
    """One side of a random split of the rows.

    Attributes
    ----------
    seed : int
        Determines the split.
    share : float
        Expected fraction of held-out rows, in [0, 1].
    held_out : bool
        Whether this side is the held-out rows (True) or the rest (False).

    Examples
    --------
    >>> train, held_out = Holdout(0, 0.3, False), Holdout(0, 0.3, True)
    >>> held_out.keeps(first=0, n=5)
    array([False, False,  True, False,  True])
    >>> bool((train.keeps(0, 5) ^ held_out.keeps(0, 5)).all())
    True
    """

    seed: int
    share: float
    held_out: bool

    def keeps(self, first: int, n: int) -> Bool[np.ndarray, " n"]:
        """Whether each of the n rows from position `first` of the table on is on this side."""
        inside = uniform_hash(np.arange(first, first + n), self.seed) < self.share
        return inside if self.held_out else ~inside


def uniform_hash(positions: Int[np.ndarray, " n"], seed: int) -> Float[np.ndarray, " n"]:
    """A pseudo-random number in [0, 1) for each position.

    References
    ----------
    splitmix64: Steele, Lea and Flood (2014), "Fast splittable pseudorandom number generators".

    Examples
    --------
    >>> uniform_hash(np.arange(3), seed=0).round(3)
    array([0.883, 0.432, 0.026])
    """
    with np.errstate(over="ignore"):
        x = (positions.astype(np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
        x = x + np.uint64(seed) * np.uint64(0xD1B54A32D192ED03)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        x = x ^ (x >> np.uint64(31))
    fraction: np.ndarray = (x >> np.uint64(11)).astype(np.float64) * 2.0**-53
    return fraction
