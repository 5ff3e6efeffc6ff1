"""Which rows are for training, for a table and a seed: always the same."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from sklearn.model_selection import train_test_split

from benchmarks.tables.table import CLASSIFICATION, Rows, Table

TEST_SHARE = 0.3
SEEDS = 5
CHEAP = 5000  # rows: larger tables get one seed


class Split(NamedTuple):
    """Rows for training and rows for testing."""

    train: Rows
    test: Rows


def seeds_of(table: Table, most: int = SEEDS) -> range:
    """Return the seeds of a table: several where a fit is cheap."""
    cheap = table.rows <= CHEAP and not table.slow
    return range(min(most, SEEDS if cheap else 1))


def split(rows: Rows, task: str, seed: int) -> Split:
    """Return 70 % of the rows for training and 30 % for testing, stratified by class."""
    train, test = train_test_split(
        np.arange(len(rows.y)),
        test_size=TEST_SHARE,
        random_state=seed,
        stratify=rows.y if task == CLASSIFICATION else None,
    )
    return Split(*(Rows(rows.X.iloc[k].reset_index(drop=True), rows.y[k]) for k in (train, test)))
