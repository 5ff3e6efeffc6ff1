"""The encoded matrix as a CSR matrix, for tables whose categories make it wide and mostly zero."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp

from deltaprop.data.columns.categories import CategoryColumn
from deltaprop.data.frames import Columns
from deltaprop.data.layout import Layout

if TYPE_CHECKING:
    from deltaprop.data.columns.bins import Bins
    from deltaprop.data.columns.protocol import EncodedColumn

WIDE = 200  # columns of the result; products with narrower ones take little time
SPARSE = 8  # times as many columns as entries per row: a look-up takes as long as five products


class SparseLayout:
    """Where the entries of each column are in the encoded matrix, which is never made dense.

    A category has one entry per row, and another one if one of the categories has most rows. All
    other columns are written as :class:`Layout` writes them.

    Parameters
    ----------
    columns : sequence of EncodedColumn
    bins : Bins

    Attributes
    ----------
    width : int
        Number of columns of the result.
    entries : float
        About how many entries a row has that are not 0.
    """

    def __init__(self, columns: Sequence[EncodedColumn], bins: Bins) -> None:
        whole = Layout(columns, bins)
        features = [place for places in whole.features for place in places]
        chosen = [
            (column, places)
            for column, places in zip(columns, whole.features, strict=True)
            if isinstance(column, CategoryColumn)
        ]
        taken = {place for _, places in chosen for place in places}
        others = [place for place in features if place not in taken]
        self._categories = [column for column, _ in chosen]
        self._others = Layout(
            [column for column in columns if not isinstance(column, CategoryColumn)],
            replace(bins, source=np.searchsorted(others, bins.source)),
        )
        self._places = np.array(
            [
                *others,
                *range(len(features), whole.width),
                *(place for _, places in chosen for place in places),
            ],
            np.int32,
        )
        self.width = whole.width
        tables = (column.table for column in self._categories)
        per_table = (np.count_nonzero(table) / len(table) for table in tables)
        self.entries = self._others.width - len(bins) / 2 + sum(per_table)

    @property
    def pays(self) -> bool:
        """Whether networks train and predict faster with a CSR matrix than with an array."""
        return self.width >= WIDE and self.entries * SPARSE <= self.width

    def encoded(self, columns: Columns, n_rows: int) -> sp.csr_array:
        """The encoded rows of a table of pandas Series."""
        dense = np.empty((n_rows, self._others.width), np.float32)
        self._others.write(columns, dense)
        parts = [sp.csr_array(dense)]
        for column in self._categories:
            parts.append(sp.csr_array(column.table)[columns.read(column)])
        found = sp.hstack(parts, format="csr", dtype=np.float32)
        found.indices = self._places[found.indices]
        found.has_sorted_indices = False
        found.sort_indices()
        return found
