"""The encoded rows as combinations of a few fixed rows, X_0 = S B, from which networks predict.

An encoded column and its bins are linear functions of a number between the ends of its bins, and a
category has one of a few rows. So a row of X_0 is a sum, over the columns of a table, of

- (1 - t) B_k + t B_{k+1} for a number z with bins, where κ_k ≤ z ≤ κ_{k+1} are the ends of a bin,
  t = (z - κ_k) / (κ_{k+1} - κ_k), and B_k has what z = κ_k becomes;
- the row B_k of a category;
- z B_k for any other encoded number z, where B_k has a single 1.

The first layer of a network computes X_0 W_0 = S (B W_0): for each column of the table it adds one
or two rows of B W_0 instead of a row of W_0 for each bin, and X_0 is never written to memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp

from deltaprop.data.columns.bins import Bins
from deltaprop.data.columns.categories import CategoryColumn
from deltaprop.data.frames import Columns
from deltaprop.data.layout import Layout

if TYPE_CHECKING:
    from jaxtyping import Float, Int

    from deltaprop.data.columns.protocol import EncodedColumn

PRODUCTS = 5  # of a number and a row of W_0, which take as long as looking up a row
BEYOND = 8.0  # all encoded numbers
ROWS = 2048  # that are written at a time, which fit into the cache


class Lookup:
    """The rows B for some columns, and where the entries of a row of S are.

    Parameters
    ----------
    columns : sequence of EncodedColumn
    bins : Bins

    Attributes
    ----------
    basis : csr_array of float32 (K, D)
        B.
    entries : int
        How many entries a row of S has.
    """

    def __init__(self, columns: Sequence[EncodedColumn], bins: Bins) -> None:
        whole = Layout(columns, bins)
        categories: dict[int, CategoryColumn] = {
            i: column for i, column in enumerate(columns) if isinstance(column, CategoryColumn)
        }
        self._others = Layout([c for i, c in enumerate(columns) if i not in categories])
        plain = [
            p for i, places in enumerate(whole.features) if i not in categories for p in places
        ]
        basis = _Basis(whole.width)
        self._numbers = [
            _of_number(place, bins, whole.n_plain, basis) for place in [*plain, *whole.flags]
        ]
        self._categories = [
            (column, basis.add(column.table, whole.features[i])) for i, column in categories.items()
        ]
        self.basis = basis.rows()
        self.entries = sum(part.entries for part in self._numbers) + len(categories)

    @property
    def pays(self) -> bool:
        """Whether looking up rows of B W_0 takes less time than the product X_0 W_0."""
        return bool(self.entries * PRODUCTS <= self.basis.shape[1])

    def rows(self, columns: Columns, n_rows: int) -> sp.csr_array:
        """S for a table of pandas Series."""
        numbers = self._others.read(columns)
        slots = [(columns.read(column), k) for column, k in self._categories]
        indices = np.empty((n_rows, self.entries), np.int32)
        values = np.empty((n_rows, self.entries), np.float32)
        for start in range(0, n_rows, ROWS):
            block = slice(start, start + ROWS)
            k, s = indices[block], values[block]
            Z = np.empty((self._others.width, len(k)), np.float32).T
            self._others.write_rows(numbers, block, Z)
            end = 0
            for z, part in zip(Z.T, self._numbers, strict=True):
                places = slice(end, end := end + part.entries)
                part.write(z, k[:, places], s[:, places])
            s[:, end:] = 1
            for at, (slot, first) in enumerate(slots, end):
                np.add(slot[block], first, out=k[:, at], casting="same_kind")
        indptr = np.arange(0, indices.size + 1, self.entries)
        found = sp.csr_array(
            (values.ravel(), indices.ravel(), indptr), shape=(n_rows, self.basis.shape[0])
        )
        found.has_canonical_format = True  # the rows of B are in the order of the columns
        return found


@dataclass(frozen=True)
class _Linear:
    """An encoded number without bins: z times row k of B."""

    k: int
    entries = 1

    def write(
        self, z: Float[np.ndarray, " n"], k: Int[np.ndarray, "n 1"], s: Float[np.ndarray, "n 1"]
    ) -> None:
        k[:, 0], s[:, 0] = self.k, z


@dataclass(frozen=True)
class _PiecewiseLinear:
    """A number with bins: it is between two of the knots, whose rows of B begin with row k."""

    k: int
    knots: Float[np.ndarray, " K"]
    entries = 2

    def write(
        self, z: Float[np.ndarray, " n"], k: Int[np.ndarray, "n 2"], s: Float[np.ndarray, "n 2"]
    ) -> None:
        at = np.searchsorted(self.knots[1:-1], z, side="right")
        low = self.knots[at]
        t = (z - low) / (self.knots[at + 1] - low)
        k[:, 0], k[:, 1] = at + self.k, at + (self.k + 1)
        s[:, 0], s[:, 1] = 1 - t, t


def _of_number(place: int, bins: Bins, n_plain: int, basis: _Basis) -> _Linear | _PiecewiseLinear:
    """An encoded number in column `place` of X_0, whose rows are added to B."""
    own = np.flatnonzero(bins.source == place)
    if len(own) == 0:
        return _Linear(basis.add(np.ones((1, 1), np.float32), [place]))
    of_place = Bins(np.zeros(len(own), np.int64), bins.low[own], bins.high[own])
    ends = np.array([-BEYOND, BEYOND], np.float32)
    knots = np.unique(np.concatenate([ends, of_place.low, of_place.high]))
    rows = np.empty((len(knots), 1 + len(own)), np.float32)
    rows[:, 0] = knots
    of_place.write(rows, rows[:, 1:])
    return _PiecewiseLinear(basis.add(rows, [place, *(n_plain + own)]), knots)


class _Basis:
    """The rows of B, as they are added."""

    def __init__(self, width: int) -> None:
        self._parts: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        self._width, self._n = width, 0

    def add(self, rows: Float[np.ndarray, "k m"], places: Sequence[int]) -> int:
        """Add rows with entries in these columns. Returns the number of the first one."""
        i, j = np.nonzero(rows)
        self._parts.append((rows[i, j], i + self._n, np.asarray(places)[j]))
        first = self._n
        self._n += len(rows)
        return first

    def rows(self) -> sp.csr_array:
        data, i, j = (np.concatenate(parts) for parts in zip(*self._parts, strict=True))
        return sp.csr_array((data, (i, j)), shape=(self._n, self._width))
