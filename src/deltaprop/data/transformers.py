"""The transformers that skrub's TableVectorizer chains for a column: how to fit and run them.

The TableVectorizer itself clones, wraps and joins all columns after each of its steps, which takes
longer than training on a thousand rows. This module fits the same steps to a single column.

Importing this module imports skrub, which is slow, so import it inside functions only.
"""

from __future__ import annotations

import warnings
from functools import singledispatch
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import clone
from sklearn.preprocessing import OneHotEncoder
from skrub import DatetimeEncoder, StringEncoder
from skrub import _dataframe as sbd
from skrub._check_input import CheckInputDataFrame
from skrub._clean_categories import CleanCategories
from skrub._clean_null_strings import CleanNullStrings
from skrub._drop_uninformative import DropUninformative
from skrub._duration_to_float import DurationToFloat
from skrub._single_column_transformer import RejectColumn
from skrub._to_datetime import ToDatetime
from skrub._to_float import ToFloat
from skrub._to_str import ToStr

from deltaprop.data.reading import TableError

MOST_CATEGORIES = 40  # from here on, the text of the categories is encoded
ONE_HOT = OneHotEncoder(
    sparse_output=False, dtype="float32", handle_unknown="ignore", drop="if_binary"
)
KINDS = {OneHotEncoder: "category", DatetimeEncoder: "date", StringEncoder: "text"}

Chain = list[Any]
"""The fitted transformers of one column, in their order."""


def checked(frame: pd.DataFrame) -> pd.DataFrame:
    """The table with unique column names; TypeError if it has sparse columns."""
    return CheckInputDataFrame().fit_transform(frame)


def fitted_chain(column: pd.Series, text: StringEncoder) -> Chain:
    """The steps that ``TableVectorizer(high_cardinality=text)`` fits to the column.

    Left out are the steps that change only names or the final dtype.
    """
    chain: Chain = []
    for step in (
        CleanNullStrings(), DropUninformative(), ToDatetime(), DurationToFloat(), ToFloat(),
        CleanCategories(), ToStr(),
    ):  # fmt: skip
        try:
            column = step.fit_transform(column)
        except RejectColumn:
            continue
        chain.append(step)
        if isinstance(step, DropUninformative) and step.drop_:
            return chain
    if sbd.is_numeric(column):
        return chain
    encoder = _encoder(column, text).set_output(transform="pandas")
    encoder.fit(column.to_frame() if isinstance(encoder, OneHotEncoder) else column)
    return [*chain, encoder]


def _encoder(column: pd.Series, text: StringEncoder) -> Any:
    """The transformer that turns a column of dates or text into numbers."""
    if sbd.is_any_date(column):
        return DatetimeEncoder()
    try:
        few = sbd.n_unique(column) < MOST_CATEGORIES
    except Exception:  # unhashable values
        few = False
    return clone(ONE_HOT if few else text)


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
