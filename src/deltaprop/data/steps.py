"""The transformers that skrub's TableVectorizer chains for a column, and how to run them.

skrub is imported with this module, so import it inside functions.
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


def without_formalities(steps: list[Any]) -> Chain:
    """The steps that change values, not names or the final dtype."""
    return [step for step in steps if not isinstance(step, (PassThrough, ShortReprDict, dict))]


def kind_of(chain: Chain) -> str:
    """What the column holds: "numeric", "category", "date", "text" or "dropped"."""
    last = chain[-1] if chain else None
    if isinstance(last, DropUninformative) and last.drop_:
        return "dropped"
    return KINDS.get(type(last), "numeric")


def run(chain: Chain, column: pd.Series) -> pd.DataFrame:
    """The encoded column."""
    value: Any = column.reset_index(drop=True)
    if isinstance(chain[-1], (OneHotEncoder, StringEncoder)):
        # Categories are compared as text, whatever the dtype: 1 and "1" are the same one.
        value = value.astype(object).where(value.notna(), None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an unknown category is encoded as zeros, on purpose
        for step in chain:
            value = apply(step, value)
    return value if isinstance(value, pd.DataFrame) else value.to_frame()


@singledispatch
def apply(step: Any, value: Any) -> Any:
    """The output of a fitted step. Some steps have to be more tolerant here than in skrub."""
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
        durations = pd.to_timedelta(value, errors="coerce")  # in CSV files they are text
    except TypeError as error:
        raise TableError(f"Column {value.name!r} must hold durations: {error}.") from error
    return step.transform(durations)


def _category(value: Any) -> str:
    """A category's name. 3.0 is "3": integers with missing values are read as floats."""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)
