"""Columns of model files of earlier versions, which stored the transformers of skrub.

A file contained the chain of transformers that skrub's TableVectorizer had chosen for each column,
and an imputer and a scaler for all encoded columns. `upgraded` turns them into the same encoding,
column by column. Nothing else uses this module, which imports private modules of skrub.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import singledispatch
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from sklearn.preprocessing import OneHotEncoder

from deltaprop.data.columns.description import Description
from deltaprop.data.columns.skrub_home import import_skrub
from deltaprop.data.columns.squashing import Squash, is_end
from deltaprop.data.reading import TableError

# isort: split
import_skrub()  # before the imports that need it
from skrub import StringEncoder  # noqa: E402
from skrub._clean_categories import CleanCategories  # noqa: E402
from skrub._drop_uninformative import DropUninformative  # noqa: E402
from skrub._duration_to_float import DurationToFloat  # noqa: E402
from skrub._to_str import ToStr  # noqa: E402

if TYPE_CHECKING:
    from jaxtyping import Float, Int

Chain = list[Any]
"""The fitted transformers of one column, in their order."""


@dataclass
class ChainColumn:
    """A column that is encoded by transformers of skrub and scikit-learn.

    Attributes
    ----------
    name, kind : str
    chain : list
        The fitted transformers.
    parts : list of str
        The names of the encoded columns.
    fill : ndarray of shape (k,)
        What replaces missing values, before they are scaled.
    squash : Squash
    flagged : ndarray of int (m,)
        The encoded columns whose missing values are marked.
    low, high : ndarray of shape (m,)
        What the columns that mark missing values contain for known and for missing values.
    """

    name: str
    kind: str
    chain: Chain
    parts: list[str]
    fill: Float[np.ndarray, " k"]
    squash: Squash
    flagged: Int[np.ndarray, " m"]
    low: Float[np.ndarray, " m"]
    high: Float[np.ndarray, " m"]

    @property
    def choices(self) -> tuple[str, ...]:
        for step in self.chain:
            if isinstance(step, OneHotEncoder):
                return tuple(str(v) for v in step.categories_[0] if v == v and v)
        return ()

    def names(self) -> list[str]:
        return self.parts

    def flags(self) -> list[str]:
        return [f"{self.parts[i]} missing" for i in self.flagged]

    def read(self, column: Any) -> Float[np.ndarray, "N k"]:
        if not self.parts:
            return np.empty((len(column), 0))
        found: np.ndarray = run(self.chain, column).to_numpy(dtype=np.float32, na_value=np.nan)
        return found

    def write(
        self,
        values: Float[np.ndarray, "n k"],
        out: Float[np.ndarray, "n k"],
        flags: Float[np.ndarray, "n m"],
    ) -> None:
        missing = ~np.isfinite(values)
        flags[:] = np.where(missing[:, self.flagged], self.high, self.low)
        filled = np.where(missing, self.fill, values.astype(np.float64))
        out[:] = self.squash.apply(filled.T.copy()).T

    def describe(self) -> Description:
        return Description(None, note="dropped" if self.kind == "dropped" else "")

    def is_consistent(self) -> bool:
        k, m = len(self.parts), len(self.flagged)
        return (
            self.squash.has_width(k) and self.fill.shape == (k,)
            and all(0 <= i < k for i in self.flagged)
            and is_end(self.low, m) and is_end(self.high, m)
        )  # fmt: skip


def upgraded(
    chains: dict[str, Chain], kinds: dict[str, str], names: list[str], imputer: Any, scaler: Any
) -> dict[str, ChainColumn]:
    """The columns of an encoder of an earlier version; ValueError if its parts do not fit.

    Parameters
    ----------
    chains, kinds : dict
        The transformers and the kind of each column.
    names : list of str
        All encoded columns, in the order of `chains`.
    imputer : SimpleImputer
    scaler : SquashingScaler
    """
    indicator = imputer.indicator_
    flagged = np.empty(0, int) if indicator is None else np.asarray(indicator.features_)
    K = len(names)
    if imputer.statistics_.shape != (K,) or scaler.n_features_in_ != K + len(flagged):
        raise ValueError("the sizes of its imputer and its scaler differ")
    scale = _scale_of(scaler)
    low, high = Squash(scale.center[K:], scale.scale[K:]).ends()
    found = {}
    for name, (start, stop) in zip(chains, _places(chains, kinds), strict=True):
        mine = (start <= flagged) & (flagged < stop)
        found[name] = ChainColumn(
            name, kinds[name], chains[name], names[start:stop],
            np.nan_to_num(imputer.statistics_[start:stop].astype(np.float64)),
            Squash(scale.center[start:stop], scale.scale[start:stop]),
            flagged[mine] - start, low[mine], high[mine],
        )  # fmt: skip
    if sum(len(column.parts) for column in found.values()) != K:
        raise ValueError("its columns do not have the names of its features")
    return found


def _places(chains: dict[str, Chain], kinds: dict[str, str]) -> Iterator[tuple[int, int]]:
    """The first encoded column of each column, and the one after its last one."""
    stop = 0
    for name, chain in chains.items():
        start, stop = stop, stop + _width(name, chain, kinds[name])
        yield start, stop


def _width(name: str, chain: Chain, kind: str) -> int:
    if kind == "dropped":
        return 0
    return int(run(chain, pd.Series([None, "1"], name=name, dtype=object)).shape[1])


def _scale_of(scaler: Any) -> Squash:
    """The scale of a fitted SquashingScaler."""
    center, scale = np.zeros(scaler.n_features_in_), np.zeros(scaler.n_features_in_)
    if scaler.robust_scaler_ is not None:
        center[scaler.robust_cols_] = scaler.robust_scaler_.center_
        scale[scaler.robust_cols_] = 1 / np.asarray(scaler.robust_scaler_.scale_, np.float64)
    if scaler.minmax_scaler_ is not None:
        center[scaler.minmax_cols_] = scaler.minmax_scaler_.median_
        scale[scaler.minmax_cols_] = scaler.minmax_scaler_.scale_
    return Squash(center, scale)


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
