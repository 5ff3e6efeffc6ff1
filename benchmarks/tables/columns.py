"""What the other libraries need before they can read a table: numbers and categories."""

from __future__ import annotations

from typing import Self

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, TransformerMixin

OTHER = "(other)"


class Columns(TransformerMixin, BaseEstimator):
    """Turn dates into numbers, and all that is neither number nor date into categories.

    A date becomes the day (with its fraction), the month, the day of the week and the hour. Names
    of columns become x0, x1, …, because some libraries refuse certain characters. Categories are
    those of the rows of `fit`; others are missing values.

    Parameters
    ----------
    most : int or None, default=None
        Keep only so many of the most frequent values of a column; the rest share one category.
    """

    def __init__(self, most: int | None = None) -> None:
        self.most = most

    def fit(self, X: pd.DataFrame, y: object = None) -> Self:
        self.categories_ = {
            name: self._categories(column) for name, column in X.items() if _is_category(column)
        }
        return self

    def transform(self, X: pd.DataFrame) -> pd.DataFrame:
        found: list[pd.Series] = []
        for name, column in X.items():
            if name in self.categories_:
                found.append(self._categorical(column, self.categories_[name]))
            elif column.dtype.kind == "M":
                found += _parts(column)
            else:
                found.append(column.astype(np.float64))
        return pd.DataFrame(
            {f"x{k}": column.to_numpy() if column.dtype != "category" else column.array
             for k, column in enumerate(found)}
        )  # fmt: skip

    def _categories(self, column: pd.Series) -> pd.Index:
        counts = column.astype(object).dropna().astype(str).value_counts()
        if self.most is None or len(counts) <= self.most:
            return counts.index.sort_values()
        return counts.index[: self.most - 1].sort_values().append(pd.Index([OTHER]))

    def _categorical(self, column: pd.Series, categories: pd.Index) -> pd.Series:
        text = column.astype(object).map(str, na_action="ignore")
        unknown = text.notna() & ~text.isin(categories)
        text = text.mask(unknown, OTHER if OTHER in categories else None)
        return pd.Series(pd.Categorical(text, categories=categories))


def category_names(X: pd.DataFrame) -> list[str]:
    """Return the names of the columns that hold categories."""
    return [str(name) for name, column in X.items() if column.dtype == "category"]


def _is_category(column: pd.Series) -> bool:
    return column.dtype == "category" or column.dtype.kind not in "biufM"


def _parts(column: pd.Series) -> list[pd.Series]:
    day = (column - pd.Timestamp("1970-01-01")) / pd.Timedelta(days=1)
    parts = [day, column.dt.month, column.dt.day_of_week, column.dt.hour]
    return [part.astype(np.float64) for part in parts]
