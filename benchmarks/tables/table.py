"""A table of the comparison: where it comes from, what is predicted, and what is left out."""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import pandas as pd

from benchmarks.tables import sources

CLASSIFICATION, REGRESSION = "classification", "regression"
RARE = 10  # rows of a class: classes with fewer are left out


class Rows(NamedTuple):
    """Features with their own dtypes, and a target of numbers or of classes 0 … K−1."""

    X: pd.DataFrame
    y: np.ndarray


@dataclass(frozen=True)
class Table:
    """One table and its task.

    Parameters
    ----------
    name : str
        Name in this comparison.
    source, item : str
        Package that brings the data, and the name of the data there.
    task : {"classification", "regression"}
    target : str
        Column that is predicted. Rows without it are left out.
    rows : int
        Rows that remain; the halves are sorted by it.
    drop : mapping of str to str, default={}
        Columns that are left out, and why: identifiers, copies, and what is known only after the
        target. A key may be a pattern such as ``"paid_*"``.
    dates : tuple of str, default=()
        Columns of text that are parsed as dates.
    codes : tuple of str, default=()
        Columns of numbers that are names of categories.
    slow : bool, default=False
        A fit takes minutes with some contestants, so that one seed must do.
    """

    name: str
    source: str
    item: str
    task: str
    target: str
    rows: int
    drop: Mapping[str, str] = field(default_factory=dict)
    dates: tuple[str, ...] = ()
    codes: tuple[str, ...] = ()
    slow: bool = False

    def load(self) -> Rows:
        """Return the features and the target."""
        frame = sources.read(self.source, self.item)
        frame = frame[frame[self.target].notna()]
        if self.task == CLASSIFICATION:
            counts = frame[self.target].value_counts()
            frame = frame[frame[self.target].isin(counts.index[counts >= RARE])]
        X = frame.drop(columns=[self.target, *self._dropped(frame)]).reset_index(drop=True)
        for column in self.dates:
            X[column] = pd.to_datetime(X[column], utc=True).dt.tz_localize(None)
        for column in self.codes:
            X[column] = X[column].astype("Int64").astype("string").astype("category")
        return Rows(X, self._target(frame[self.target]))

    def _dropped(self, frame: pd.DataFrame) -> list[str]:
        others = [column for column in frame.columns if column != self.target]
        matches = {key: fnmatch.filter(others, key) for key in self.drop}
        for key, found in matches.items():
            if not found:
                raise KeyError(f"{self.name} has no column {key!r} to drop.")
        return [column for found in matches.values() for column in found]

    def _target(self, column: pd.Series) -> np.ndarray:
        if self.task == REGRESSION:
            return column.to_numpy(dtype=np.float64)
        return pd.factorize(column.astype(str), sort=True)[0].astype(np.int64)
