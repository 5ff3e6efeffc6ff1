"""Columns of a table to the float32 matrix that a network takes.

skrub's TableVectorizer looks at the columns and fits a chain of transformers for each. From then on
the chains alone are used, for a freshly fitted and for a loaded encoder alike, so that the two
cannot differ.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from deltaprop.data.reading import TableError
from deltaprop.data.task import require_known_columns

if TYPE_CHECKING:
    from jaxtyping import Float

Chains = dict[str, list[Any]]


def as_frame(X: Any) -> Any:
    """X as a pandas DataFrame with str column names: pandas, polars, Arrow or an array."""
    import pandas as pd

    if hasattr(X, "to_pandas"):
        X = X.to_pandas()
    if not isinstance(X, pd.DataFrame):
        X = np.asarray(X)
        if X.ndim != 2:
            raise TableError(f"X must be a table or a 2-d array, got an array of shape {X.shape}.")
        X = pd.DataFrame(X, columns=[f"x{i}" for i in range(X.shape[1])]).infer_objects()
    if len(X) == 0:
        raise TableError("X has no rows (0 sample(s)); a minimum of 1 is required.")
    return X.rename(columns=str)


class TableEncoder(TransformerMixin, BaseEstimator):
    """Encode numbers, categories, dates and text, with missing values, as float32 columns.

    Numbers stay numbers, few-valued columns become one column a value, dates become their parts,
    text becomes 30 columns of its n-grams (skrub's StringEncoder). Missing values take the median
    and mark a column of their own; everything is scaled robustly (skrub's SquashingScaler).

    Parameters
    ----------
    random_state : int or None, default=0
        Of the text encoding.

    Attributes
    ----------
    feature_names_in_ : ndarray of str
        The columns, in the order in which they were fitted.
    kinds_ : dict of str to str
        "numeric", "category", "date", "text" or "dropped" for each column.
    feature_names_out_ : list of str

    Raises
    ------
    TableError
        If a column is missing at transform, or no column is of use at fit.

    Examples
    --------
    >>> import pandas as pd
    >>> from deltaprop.data import TableEncoder
    >>> frame = pd.DataFrame({"size": [1.0, 2.0, None], "colour": ["red", "blue", "red"]})
    >>> encoder = TableEncoder().fit(frame)
    >>> encoder.kinds_
    {'size': 'numeric', 'colour': 'category'}
    >>> encoder.transform(pd.DataFrame({"colour": ["green"], "size": [1.5]})).shape
    (1, 3)
    """

    def __init__(self, random_state: int | None = 0) -> None:
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None) -> TableEncoder:
        """Look at the columns of X; y is not used."""
        from sklearn.impute import SimpleImputer
        from skrub import SquashingScaler, StringEncoder, TableVectorizer

        frame = as_frame(X)
        vectorizer = TableVectorizer(
            high_cardinality=StringEncoder(random_state=self.random_state),
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # skrub warns of dates and text that it guessed
            vectorizer.fit(frame)
        self.chains_: Chains = {
            name: [step for step in vectorizer.all_processing_steps_[name] if _works(step)]
            for name in frame.columns
        }
        self.kinds_ = {name: _kind(chain) for name, chain in self.chains_.items()}
        self.feature_names_in_ = np.array(list(frame.columns), dtype=object)
        self.n_features_in_ = len(frame.columns)
        encoded = self._encode(frame)
        if encoded.shape[1] == 0:
            raise TableError("X has no column that could be used: all of them are empty.")
        self.imputer_ = SimpleImputer(
            strategy="median", add_indicator=True, keep_empty_features=True
        )
        self.scaler_ = SquashingScaler()
        self.scaler_.fit(self.imputer_.fit_transform(encoded))
        return self

    def transform(self, X: Any) -> Float[np.ndarray, "N D"]:
        """Encode the rows of X; columns may come in any order, extra ones are ignored."""
        check_is_fitted(self)
        filled = self.imputer_.transform(self._encode(as_frame(X)))
        scaled = self.scaler_.transform(filled)
        return np.ascontiguousarray(np.nan_to_num(scaled, copy=False), dtype=np.float32)

    def _encode(self, frame: Any) -> Float[np.ndarray, "N D"]:
        require_known_columns(frame.columns, self.chains_)
        parts, names = [np.empty((len(frame), 0), np.float32)], []
        for name, chain in self.chains_.items():
            if self.kinds_[name] == "dropped":
                continue
            part = _run(chain, frame[name])
            names += [str(column) for column in part.columns]
            parts.append(part.to_numpy(dtype=np.float32, na_value=np.nan))
        self.feature_names_out_ = names
        encoded = np.concatenate(parts, axis=1)
        encoded[~np.isfinite(encoded)] = np.nan
        return encoded


def _works(step: Any) -> bool:
    """Whether a step changes values; renaming and final casts do not."""
    return type(step).__name__ not in ("PassThrough", "ShortReprDict", "dict")


def _kind(chain: list[Any]) -> str:
    last = type(chain[-1]).__name__ if chain else "ToFloat"
    kinds = {"OneHotEncoder": "category", "DatetimeEncoder": "date", "StringEncoder": "text"}
    if last == "DropUninformative" and chain[-1].drop_:
        return "dropped"
    return kinds.get(last, "numeric")


def _run(chain: list[Any], column: Any) -> Any:
    """The chain's output for a column, as a DataFrame."""
    import pandas as pd

    value = column.reset_index(drop=True)
    if type(chain[-1]).__name__ in ("OneHotEncoder", "StringEncoder"):
        # Words, whatever the new table's dtype: 1 and "1" are the same category.
        value = value.astype(object).where(value.notna(), None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # unseen categories encode as zeros, on purpose
        for step in chain:
            if type(step).__name__ == "DropUninformative":
                continue
            if type(step).__name__ in ("CleanCategories", "ToStr"):
                value = _words(value)
                continue
            if type(step).__name__ == "DurationToFloat":
                # A CSV file holds the durations of a Parquet file as words.
                value = pd.to_timedelta(value, errors="coerce")
            value = step.transform(
                value.to_frame() if type(step).__name__ == "OneHotEncoder" else value
            )
    return value if isinstance(value, pd.DataFrame) else value.to_frame()


def _words(column: Any) -> Any:
    import pandas as pd

    known = column.notna()
    words = column.astype(object).map(_word, na_action="ignore")
    return pd.Series(words.where(known, np.nan), name=column.name, dtype=object)


def _word(value: Any) -> str:
    """A category's name; 3.0 and 3 are one category, as a column with gaps reads as floats."""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)
