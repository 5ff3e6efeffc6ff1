"""``TableEncoder``: converts the columns of a table to a float32 matrix.

Each column is encoded by the chain of transformers that skrub's TableVectorizer chooses for it.
Only these chains are stored, so that an encoder behaves the same after it is saved and loaded.
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

    from deltaprop.data.transformers import Chain


def as_frame(X: Any) -> Any:
    """X as a pandas DataFrame with ``str`` column names.

    Parameters
    ----------
    X : pandas, polars or Arrow table, or array-like (N, D)
        Columns of an array are named x0, x1, …

    Returns
    -------
    pandas.DataFrame

    Raises
    ------
    TableError
        If X has no rows or is an array that is not 2-d.

    Examples
    --------
    >>> list(as_frame([[1, "a"]]).columns)
    ['x0', 'x1']
    """
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

    Numbers are kept, a column with few categories becomes one column per category, dates become
    year, month, day and so on, and text becomes 30 columns derived from its n-grams (skrub's
    StringEncoder). Missing values are replaced by the median and marked in an additional column.
    All columns are scaled robustly (skrub's SquashingScaler).

    Parameters
    ----------
    random_state : int or None, default=0
        Seed of the text encoding.

    Attributes
    ----------
    feature_names_in_ : ndarray of str
        The columns seen in ``fit``, in their order.
    kinds_ : dict of str to str
        "numeric", "category", "date", "text" or "dropped" for each column.
    feature_names_out_ : list of str
        The encoded columns, before those that mark missing values.

    Raises
    ------
    TableError
        If a column is missing in ``transform``, or if no column can be used in ``fit``.

    Examples
    --------
    >>> import pandas as pd
    >>> from deltaprop.tables import TableEncoder
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
        """Learn how to encode the columns of X.

        Parameters
        ----------
        X : pandas, polars or Arrow table, or array-like (N, D)
        y : ignored

        Returns
        -------
        self
        """
        self._filled(as_frame(X))
        return self

    def fit_transform(self, X: Any, y: Any = None) -> Float[np.ndarray, "N D"]:
        """Learn how to encode the columns of X, and encode its rows.

        Parameters
        ----------
        X : pandas, polars or Arrow table, or array-like (N, D)
        y : ignored

        Returns
        -------
        ndarray of float32 (N, n_encoded)
        """
        return self._scaled(self._filled(as_frame(X)))

    def transform(self, X: Any) -> Float[np.ndarray, "N D"]:
        """Encode the rows of X.

        Parameters
        ----------
        X : pandas, polars or Arrow table, or array-like (N, D)
            The columns may be in any order. Columns that were not seen in ``fit`` are ignored.

        Returns
        -------
        ndarray of float32 (N, n_encoded)
        """
        check_is_fitted(self)
        return self._scaled(self.imputer_.transform(self._encode(as_frame(X))))

    def _filled(self, frame: Any) -> Float[np.ndarray, "N D"]:
        """Fit all steps. Returns the encoded rows, without missing values and not scaled yet."""
        from sklearn.impute import SimpleImputer
        from skrub import SquashingScaler

        from deltaprop.data import transformers

        self.chains_: dict[str, Chain] = self._fitted_chains(frame)
        self.kinds_ = {name: transformers.kind_of(chain) for name, chain in self.chains_.items()}
        self.feature_names_in_ = np.array(list(frame.columns), dtype=object)
        self.n_features_in_ = len(frame.columns)
        encoded = self._encode(frame)
        if encoded.shape[1] == 0:
            raise TableError("X has no column that could be used: all of them are empty.")
        self.imputer_ = SimpleImputer(
            strategy="median", add_indicator=True, keep_empty_features=True
        )
        filled: np.ndarray = self.imputer_.fit_transform(encoded)
        self.scaler_ = SquashingScaler()
        self.scaler_.fit(filled)
        return filled

    def _scaled(self, filled: Float[np.ndarray, "N D"]) -> Float[np.ndarray, "N D"]:
        scaled = self.scaler_.transform(filled)
        return np.ascontiguousarray(np.nan_to_num(scaled, copy=False), dtype=np.float32)

    def _fitted_chains(self, frame: Any) -> dict[str, Chain]:
        from skrub import StringEncoder

        from deltaprop.data import transformers

        text = StringEncoder(random_state=self.random_state)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # skrub warns about guessed formats of dates
            table = transformers.checked(frame)
            return {name: transformers.fitted_chain(table[name], text) for name in frame.columns}

    def _encode(self, frame: Any) -> Float[np.ndarray, "N D"]:
        from deltaprop.data import transformers

        require_known_columns(frame.columns, self.chains_)
        parts, names = [np.empty((len(frame), 0), np.float32)], []
        for name, chain in self.chains_.items():
            if self.kinds_[name] == "dropped":
                continue
            part = transformers.run(chain, frame[name])
            names += [str(column) for column in part.columns]
            parts.append(part.to_numpy(dtype=np.float32, na_value=np.nan))
        self.feature_names_out_ = names
        encoded = np.concatenate(parts, axis=1)
        encoded[~np.isfinite(encoded)] = np.nan
        return encoded
