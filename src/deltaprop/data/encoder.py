"""``TableEncoder``: converts the columns of a table to a float32 matrix.

Each column is an object of :mod:`deltaprop.data.columns`, which learns from the values of a column
and writes its part of the matrix.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import scipy.sparse as sp
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from deltaprop.data.columns.bins import Bins
from deltaprop.data.columns.numbers import NumberColumn
from deltaprop.data.columns.quantiles import Quantiles
from deltaprop.data.frames import Columns, OneRow, as_frame
from deltaprop.data.layout import Layout
from deltaprop.data.lookup import Lookup
from deltaprop.data.reading import TableError
from deltaprop.data.sparse_layout import SparseLayout
from deltaprop.data.task import require_known_columns
from deltaprop.errors import InputError
from deltaprop.functions.checks import is_int

if TYPE_CHECKING:
    import pandas as pd
    from jaxtyping import Float

    from deltaprop.data.columns.protocol import EncodedColumn
    from deltaprop.functions.arrays import Array

NUMBERS = ("robust", "normal")
FEW_ROWS = 64  # are encoded faster as an array
MANY_ROWS = 1000  # are predicted faster with B W_0, which takes about a millisecond
ROWS_AT_A_TIME = 131_072  # bounds the memory of what is read besides the result


class TableEncoder(TransformerMixin, BaseEstimator):
    """Encode numbers, categories, dates and text, with missing values, as float32 columns.

    The dtype of a column decides how it is encoded. Strings may be of any kind, so their values
    decide: they are dates if all have one format, numbers if all spell numbers, categories if there
    are fewer than 40 or if each occurs five times on average, and text otherwise.

    - Numbers, booleans and durations are kept.
    - A category becomes one column per value. A column of the dtype category may have up to 1,000;
      if it has more than 40, the values that occur only once share a column, as do all values
      beyond the 1,000 most frequent ones. If each of more than 40 values occurs only once, the
      column is encoded by the dtype of its values instead. A value that was not seen in ``fit`` is
      encoded as a rare one, or as none of the known ones if no value was rare.
    - Dates become year, month, day, hour and seconds since 1970.
    - Text becomes up to 30 columns: the main components of its n-grams.

    Missing values are replaced by the median and marked in an additional column; among categories,
    they have a column of their own. All columns are scaled robustly, and outliers are squashed
    into [-3, 3]; infinite numbers become its ends. With ``numbers="normal"``, numbers and durations
    are given a normal distribution instead: see :mod:`deltaprop.data.columns.quantiles`.

    With `n_bins`, numbers and parts of dates are encoded piecewise linearly as well: see
    :mod:`deltaprop.data.columns.bins`. The values of each are divided at quantiles, and a column
    for each bin rises from 0 at its lower end to 1 at its upper end.

    Parameters
    ----------
    random_state : int or None, default=0
        Seed of the text encoding.
    n_bins : int >= 0, default=0
        The largest number of bins of a number.
    numbers : {"robust", "normal"}, default="robust"
        The scale of numbers: the distance to the median as a multiple of the interquartile range,
        squashed; or that of a standard normal distribution with the same quantiles.

    Attributes
    ----------
    feature_names_in_ : ndarray of str
        The columns seen in ``fit``, in their order.
    n_features_in_ : int
        Their number.
    columns_ : dict of str to object
        What was learned about each column: an object of :mod:`deltaprop.data.columns`.
    kinds_ : dict of str to str
        "numeric", "category", "date", "text" or "dropped" for each column. A column is dropped if
        all of its values are missing.
    feature_names_out_ : list of str
        The encoded columns, before those that mark missing values and those of bins.
    bins_ : Bins
        The bins.

    Raises
    ------
    TableError
        If a column is missing in ``transform``, or if no column can be used in ``fit``.
    ValueError
        If `n_bins` is not an int >= 0, or `numbers` is unknown.

    Examples
    --------
    >>> import pandas as pd
    >>> from deltaprop.tables import TableEncoder
    >>> frame = pd.DataFrame({"size": [1.0, 2.0, None], "colour": ["red", "blue", "red"]})
    >>> encoder = TableEncoder().fit(frame)
    >>> encoder.kinds_
    {'size': 'numeric', 'colour': 'category'}
    >>> list(encoder.get_feature_names_out())
    ['size', 'colour_red', 'size missing']
    >>> encoder.transform(pd.DataFrame({"colour": ["green"], "size": [1.5]})).shape
    (1, 3)
    """

    DERIVED: ClassVar = ("layout", "sparse_layout", "lookup")  # not in model files

    def __init__(
        self, random_state: int | None = 0, *, n_bins: int = 0, numbers: str = "robust"
    ) -> None:
        self.random_state = random_state
        self.n_bins = n_bins
        self.numbers = numbers

    def fit(self, X: Any, y: Any = None) -> TableEncoder:
        """Learn how to encode the columns of X.

        Parameters
        ----------
        X : pandas, polars or Arrow table, dict of columns, sparse matrix or array-like (N, D)
        y : ignored

        Returns
        -------
        self

        Warns
        -----
        UnparsedCells
            If a column looks numeric but contains words that are no numbers.
        """
        self._learn(as_frame(X))
        return self

    def fit_transform(self, X: Any, y: Any = None) -> Float[np.ndarray, "N D"]:
        """Learn how to encode the columns of X, and encode its rows.

        Parameters
        ----------
        X : pandas, polars or Arrow table, dict of columns, sparse matrix or array-like (N, D)
        y : ignored

        Returns
        -------
        ndarray of float32 (N, n_encoded)
        """
        self._learn(as_frame(X))
        return self.encode(X)

    def transform(self, X: Any) -> Float[np.ndarray, "N D"]:
        """Encode the rows of X.

        Parameters
        ----------
        X : pandas, polars or Arrow table, dict of columns, sparse matrix or array-like (N, D)
            The columns may be in any order. Columns that were not seen in ``fit`` are ignored.

        Returns
        -------
        ndarray of float32 (N, n_encoded)

        Warns
        -----
        UnparsedCells
            If a column of numbers or dates contains words that are neither. They are missing.
        """
        return self.encode(X)

    def encode(self, X: Any) -> Float[np.ndarray, "N D"]:
        """The rows of X as an array, whatever ``set_output`` says; otherwise as ``transform``."""
        self._require_fitted()
        if not hasattr(X, "columns"):
            X = as_frame(X)
        out = np.empty((len(X), self.layout.width), np.float32)
        for start, columns in self._parts(X):
            self.layout.write(columns, out[start : start + ROWS_AT_A_TIME])
        return out

    def encode_compactly(self, X: Any) -> Float[Array, "N D"]:
        """The same as a CSR matrix if it is wide, mostly zero and not only a few rows."""
        self._require_fitted()
        if not hasattr(X, "columns"):
            X = as_frame(X)
        if len(X) <= FEW_ROWS or not self.sparse_layout.pays:
            return self.encode(X)
        return self._joined(self.sparse_layout.encoded, X)

    def encode_for_predictions(self, X: Any) -> tuple[Float[Array, "N K"], sp.csr_array | None]:
        """The rows of X as combinations S of the rows of B, if networks predict faster from these.

        Otherwise the second value is None, and the first one is what `encode_compactly` returns.
        """
        self._require_fitted()
        if not hasattr(X, "columns"):
            X = as_frame(X)
        if len(X) < MANY_ROWS or not self.lookup.pays:
            return self.encode_compactly(X), None
        return self._joined(self.lookup.rows, X), self.lookup.basis

    def _joined(self, encoded: Callable[[Columns, int], sp.csr_array], X: Any) -> sp.csr_array:
        """The encoded parts of a table as one matrix."""
        parts = [
            encoded(columns, min(ROWS_AT_A_TIME, len(X) - start))
            for start, columns in self._parts(X)
        ]
        return parts[0] if len(parts) == 1 else sp.vstack(parts, format="csr")

    def _require_fitted(self) -> None:
        if "columns_" not in self.__dict__:  # faster than check_is_fitted
            check_is_fitted(self)

    def _parts(self, X: Any) -> Iterator[tuple[int, Columns]]:
        """The first row and the columns of each part of a table, part by part."""
        from deltaprop.data.columns.unparsed import may_be_unparsed, warn_of_unparsed

        for start in range(0, max(len(X), 1), ROWS_AT_A_TIME):
            frame = as_frame(_part(X, start))
            columns = OneRow(frame) if len(X) == 1 else Columns(frame)
            require_known_columns(columns, self.columns_)
            for column in self.columns_.values():
                if may_be_unparsed(column, columns.dtypes[column.name]):
                    warn_of_unparsed(column, columns[column.name], columns.read(column))
            yield start, columns

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """The names of the encoded columns.

        Parameters
        ----------
        input_features : ignored

        Returns
        -------
        ndarray of str (n_encoded,)
        """
        check_is_fitted(self)
        flags = [flag for column in self.columns_.values() for flag in column.flags()]
        names = self.feature_names_out_ + flags + self.layout.bin_names(self.feature_names_out_)
        return np.array(names, dtype=object)

    def describe(self) -> pd.DataFrame:
        """What was done to each column.

        Returns
        -------
        DataFrame
            A row for each column of the table, with

            - ``kind``: as in ``kinds_``;
            - ``encoded``: the number of its columns in the result, and ``bins``: how many of them
              are bins; ``names``: the names of the others;
            - ``missing``: the number of missing values in ``fit``;
            - ``missing_become``, ``unknown_become``: what missing values become, and values that
              ``fit`` has not seen;
            - ``note``: why it is dropped, or that it is constant.

            Encoders in files of earlier versions do not know ``missing``.

        Examples
        --------
        >>> import pandas as pd
        >>> from deltaprop.tables import TableEncoder
        >>> frame = pd.DataFrame({"size": [1.0, 2.0, None], "unit": ["cm", "cm", "cm"]})
        >>> table = TableEncoder().fit(frame).describe()
        >>> table.loc["size", "missing_become"]
        'the median, marked by another column'
        >>> table.loc["unit", "note"]
        'constant: encoded as 0, so it has no effect'
        """
        import pandas as pd

        check_is_fitted(self)
        rows, names = {}, self.get_feature_names_out()
        for column, (others, bins) in zip(self.columns_.values(), self.layout.parts(), strict=True):
            rows[column.name] = {
                "kind": column.kind,
                "encoded": len(others) + len(bins),
                "bins": len(bins),
                "names": names[others].tolist(),
                **vars(column.describe()),
            }
        table = pd.DataFrame.from_dict(rows, orient="index")
        return table.astype({"missing": "Int64"})

    @cached_property
    def layout(self) -> Layout:
        """Where each column is in the result."""
        return Layout(list(self.columns_.values()), self.bins_)

    @cached_property
    def sparse_layout(self) -> SparseLayout:
        """Where each column is in the result as a CSR matrix."""
        return SparseLayout(list(self.columns_.values()), self.bins_)

    @cached_property
    def lookup(self) -> Lookup:
        """The rows that encoded rows are combinations of."""
        return Lookup(list(self.columns_.values()), self.bins_)

    def _learn(self, frame: Any) -> None:
        from deltaprop.data.columns.recognition import all_learned

        if not is_int(self.n_bins, 0):
            raise InputError(f"n_bins must be an int >= 0, got {self.n_bins!r}.")
        if self.numbers not in NUMBERS:
            raise InputError(f"numbers must be 'robust' or 'normal', got {self.numbers!r}.")
        columns = all_learned(frame, self.random_state)
        if not any(column.names() for column in columns.values()):
            raise TableError("X has no column that could be used: all of them are empty.")
        if self.numbers == "normal":
            for name, column in columns.items():
                if isinstance(column, NumberColumn):
                    column.squash = Quantiles.fitted([column.read(frame[name])])
        self._set_columns(columns)
        self.feature_names_in_ = np.array(list(frame.columns), dtype=object)
        self.n_features_in_ = len(frame.columns)
        self._set_bins(Bins.none())
        if self.n_bins:
            sample = self.encode(frame.iloc[:: -(-len(frame) // ROWS_AT_A_TIME)])
            self._set_bins(Bins.learned(sample, self.layout.binned, self.n_bins))

    def _set_bins(self, bins: Bins) -> None:
        self.bins_ = bins
        for name in self.DERIVED:
            self.__dict__.pop(name, None)

    def _set_columns(self, columns: Mapping[str, EncodedColumn]) -> None:
        self.columns_ = dict(columns)
        self.kinds_ = {name: column.kind for name, column in columns.items()}
        self.feature_names_out_ = [name for c in columns.values() for name in c.names()]

    # ------------------------------------------------------------ model files

    def upgrade(self) -> None:
        """Convert the state that an earlier version wrote to a model file.

        Raises
        ------
        ValueError
            If the parts of the state do not fit together.
        """
        self.__dict__.setdefault("numbers", "robust")
        if "bins_" not in self.__dict__:  # earlier versions had none
            self.n_bins = 0
            self._set_bins(Bins.none())
        if "chains_" in self.__dict__:
            self._upgrade_chains()
        if not self.bins_.fits(len(self.feature_names_out_)):
            raise ValueError("its bins do not fit its columns")

    def _upgrade_chains(self) -> None:
        from deltaprop.data.columns.chains import upgraded

        state = self.__dict__
        imputer, scaler = state.pop("imputer_"), state.pop("scaler_")
        names = state.pop("feature_names_out_")
        self._set_columns(upgraded(state.pop("chains_"), self.kinds_, names, imputer, scaler))


def _part(X: Any, start: int) -> Any:
    """The rows of a table from `start` on that are encoded at a time."""
    if len(X) <= ROWS_AT_A_TIME:
        return X
    if hasattr(X, "iloc"):
        return X.iloc[start : start + ROWS_AT_A_TIME]
    return X.slice(start, ROWS_AT_A_TIME)
