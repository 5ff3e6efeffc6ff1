"""Mean ranks over tables, and whether their differences are more than chance.

Friedman's test asks whether all contestants are alike. Two of them differ, by Nemenyi's test, if
their mean ranks are further apart than the critical difference (J. Demšar, Statistical comparisons
of classifiers over multiple data sets, JMLR 7, 2006, section 3.2.2).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import friedmanchisquare, rankdata, studentized_range

from benchmarks.tables.table import CLASSIFICATION, REGRESSION

LEVEL = 0.05
DIGITS = 10  # of a score: closer ones are ties


@dataclass(frozen=True)
class Family:
    """One score for each task.

    Parameters
    ----------
    title : str
    columns : mapping of str to str
        The column of the results for each task.
    sign : int
        1 if lower is better, −1 if higher is better.
    """

    title: str
    columns: Mapping[str, str]
    sign: int


FAMILIES = (
    Family("log-loss / MAE", {CLASSIFICATION: "log_loss", REGRESSION: "mae"}, 1),
    Family("accuracy / R²", {CLASSIFICATION: "accuracy", REGRESSION: "r2"}, -1),
)


@dataclass(frozen=True)
class Comparison:
    """The ranks of contestants (columns) in tables (index); 1 is the best, ties share a rank."""

    ranks: pd.DataFrame

    @property
    def means(self) -> pd.Series:
        """Mean ranks, the best first."""
        return self.ranks.mean().sort_values(kind="stable")

    @property
    def p_value(self) -> float:
        """Friedman's test; NaN for fewer than three contestants or two tables."""
        n, k = self.ranks.shape
        if k < 3 or n < 2:
            return math.nan
        return float(friedmanchisquare(*self.ranks.to_numpy().T).pvalue)

    @property
    def critical_difference(self) -> float:
        """Nemenyi's critical difference of two mean ranks at the level 0.05."""
        n, k = self.ranks.shape
        quantile = studentized_range.ppf(1 - LEVEL, k, np.inf) / math.sqrt(2)
        return float(quantile * math.sqrt(k * (k + 1) / (6 * n)))


def compare(results: pd.DataFrame, family: Family, contestants: Sequence[str]) -> Comparison:
    """Rank the contestants in the tables that all of them finished."""
    return Comparison(ranked(family.sign * scores(results, family, contestants)))


def scores(results: pd.DataFrame, family: Family, contestants: Sequence[str]) -> pd.DataFrame:
    """Return the score of each contestant in each table, a mean over seeds.

    The seeds of a table are those that all contestants finished; tables without any are left out.
    """
    ours = finished(results, contestants)
    column = ours["task"].map(dict(family.columns))
    score = [row[name] for (_, row), name in zip(ours.iterrows(), column, strict=True)]
    means = ours.assign(score=np.asarray(score, dtype=float)).pivot_table(
        index="table", columns="contestant", values="score", sort=False
    )
    return means.reindex(columns=list(contestants))


def finished(results: pd.DataFrame, contestants: Sequence[str]) -> pd.DataFrame:
    """Return the rows of the tables and seeds that all of the contestants finished."""
    good = results[results["error"].isna() & results["contestant"].isin(list(contestants))]
    count = good.groupby(["table", "seed"])["contestant"].transform("nunique")
    return good[count == len(contestants)]


def ranked(losses: pd.DataFrame) -> pd.DataFrame:
    """Return the rank of each column within its row; ties get the mean of their ranks."""
    rounded = [[float(f"{v:.{DIGITS}g}") for v in row] for row in losses.to_numpy(dtype=float)]
    ranks = rankdata(rounded, axis=1) if rounded else np.empty(losses.shape)
    return pd.DataFrame(ranks, index=losses.index, columns=losses.columns)
