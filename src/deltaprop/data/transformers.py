"""The transformers that skrub's TableVectorizer chains for a column, and how to run them.

Importing this module imports skrub, which is slow, so import it inside functions only.
"""

from __future__ import annotations

import warnings
from functools import singledispatch
from typing import Any

import numpy as np
import pandas as pd
from sklearn.preprocessing import OneHotEncoder
from skrub import DatetimeEncoder, StringEncoder
from skrub._clean_categories import CleanCategories
from skrub._drop_uninformative import DropUninformative
from skrub._duration_to_float import DurationToFloat
from skrub._table_vectorizer import PassThrough, ShortReprDict
from skrub._to_str import ToStr

from deltaprop.data.reading import TableError

KINDS = {OneHotEncoder: "category", DatetimeEncoder: "date", StringEncoder: "text"}

Chain = list[Any]
"""The fitted transformers of one column, in their order."""


def encoding_steps(steps: list[Any]) -> Chain:
    """The steps that change values, without those that change only names or the final dtype."""
    return [step for step in steps if not isinstance(step, (PassThrough, ShortReprDict, dict))]


def kind_of(chain: Chain) -> str:
    """The kind of the column: "numeric", "category", "date", "text" or "dropped"."""
    last = chain[-1] if chain else None
    if isinstance(last, DropUninformative) and last.drop_:
        return "dropped"
    return KINDS.get(type(last), "numeric")


def run(chain: Chain, column: pd.Series) -> pd.DataFrame:
    """Encode a column with its fitted transformers."""
    value: Any = column.reset_index(drop=True)
    if isinstance(chain[-1], (OneHotEncoder, StringEncoder)):
        # Categories are compared as text: 1 and "1" are the same category.
        value = value.astype(object).where(value.notna(), None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # unknown categories are encoded as zeros, as intended
        for step in chain:
            value = apply(step, value)
    return value if isinstance(value, pd.DataFrame) else value.to_frame()


@singledispatch
def apply(step: Any, value: Any) -> Any:
    """The output of a fitted step. Some steps must accept more dtypes than in skrub."""
    return step.transform(value)


@apply.register
def _(step: OneHotEncoder, value: Any) -> Any:
    return step.transform(value.to_frame())


@apply.register
def _(step: DropUninformative, value: Any) -> Any:
    return value


@apply.register(CleanCategories)
@apply.register(ToStr)
def _(step: Any, value: Any) -> Any:
    text = value.astype(object).map(_category, na_action="ignore")
    return pd.Series(text.where(value.notna(), np.nan), name=value.name, dtype=object)


@apply.register
def _(step: DurationToFloat, value: Any) -> Any:
    try:
        durations = pd.to_timedelta(value, errors="coerce")  # in CSV files, durations are text
    except TypeError as error:
        raise TableError(f"Column {value.name!r} must hold durations: {error}.") from error
    return step.transform(durations)


def _category(value: Any) -> str:
    """The name of a category; "3" for 3.0, as integers with missing values are read as floats."""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)
