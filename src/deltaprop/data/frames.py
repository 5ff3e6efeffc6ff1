"""Tables of all kinds as pandas DataFrames."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse

from deltaprop.data.columns.values import is_numeric
from deltaprop.data.reading import TableError

if TYPE_CHECKING:
    from deltaprop.data.columns.protocol import EncodedColumn

FEW_ROWS = 4096  # whose numbers may be copied


def as_frame(X: Any) -> Any:
    """X as a pandas DataFrame with ``str`` column names.

    Parameters
    ----------
    X : pandas, polars or Arrow table, dict of columns, sparse matrix, or array-like (N, D)
        Columns of an array are named x0, x1, …

    Returns
    -------
    pandas.DataFrame

    Raises
    ------
    TableError
        If X has no rows, two columns of the same name or a name that is not valid Unicode, or is
        not 2-d.

    Examples
    --------
    >>> list(as_frame([[1, "a"]]).columns)
    ['x0', 'x1']
    """
    frame = _frame(X)
    if len(frame) == 0:
        raise TableError("X has no rows (0 sample(s)); a minimum of 1 is required.")
    names = frame.columns.tolist()
    if not all(type(name) is str for name in names):
        names = [str(name) for name in names]
        frame = frame.set_axis(names, axis=1)
    _check_names(names)
    return frame


class Columns(Mapping[str, Any]):
    """The columns of a table, which are made only if they are needed.

    Making a Series of a column takes longer than encoding some hundred numbers.

    Examples
    --------
    >>> import pandas as pd
    >>> columns = Columns(pd.DataFrame({"size": [1, 2], "weight": [0.5, 1.5], "name": ["a", "b"]}))
    >>> columns["name"].tolist(), columns.numbers(["size", "name"])
    (['a', 'b'], {'size': array([1., 2.])})
    """

    def __init__(self, frame: Any) -> None:
        self._frame = frame
        self._read: dict[str, Any] = {}

    def read(self, column: EncodedColumn) -> Any:
        """What the method `read` of an encoded column returns, which is called once."""
        if column.name not in self._read:
            self._read[column.name] = column.read(self[column.name])
        return self._read[column.name]

    @cached_property
    def dtypes(self) -> dict[str, Any]:
        """The dtype of each column."""
        return dict(zip(self._frame.columns, self._frame.dtypes, strict=True))

    def numbers(self, names: Iterable[str]) -> dict[str, np.ndarray]:
        """Those of these columns that have a number dtype of NumPy, unless there are many rows."""
        if len(self._frame) > FEW_ROWS:
            return {}
        known = [name for name in names if is_numeric(self.dtypes[name])]
        return dict(zip(known, self._frame[known].to_numpy(np.float64).T, strict=True))

    def __getitem__(self, name: str) -> Any:
        return self._frame[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._frame.columns)

    def __len__(self) -> int:
        return len(self._frame.columns)


class OneRow(Columns):
    """The columns of a table with a single row. `cells` has the values as Python objects.

    Examples
    --------
    >>> import pandas as pd
    >>> row = OneRow(pd.DataFrame({"size": [1.5], "colour": ["red"]}))
    >>> row.cells, row["size"].dtype
    ({'size': 1.5, 'colour': 'red'}, dtype('float64'))
    """

    def __init__(self, frame: Any) -> None:
        super().__init__(frame)
        cells = frame.iloc[0]
        if cells.dtype != object:  # integers may have become floats
            cells = frame.to_numpy(dtype=object)[0]
        plain = (c.item() if isinstance(c, np.generic) else c for c in cells.tolist())
        self.cells = dict(zip(frame.columns, plain, strict=True))

    def numbers(self, names: Iterable[str]) -> dict[str, np.ndarray]:
        """An empty dict, because cells are read faster."""
        return {}


def _check_names(names: list[str]) -> None:
    if len(set(names)) < len(names):
        twice = [name for name, number in Counter(names).items() if number > 1]
        raise TableError(
            f"X has more than one column named {', '.join(map(repr, twice))}; rename them."
        )
    invalid = [name for name in names if not name.isascii() and _has_surrogates(name)]
    if invalid:
        raise TableError(
            f"X has a column named {invalid[0]!r}, which is not valid text; rename it."
        )


def _has_surrogates(name: str) -> bool:
    return any("\ud800" <= letter <= "\udfff" for letter in name)


def _frame(X: Any) -> Any:
    import pandas as pd

    if hasattr(X, "to_pandas"):
        X = _to_pandas(X)
    if isinstance(X, pd.DataFrame):
        return X
    if scipy.sparse.issparse(X) and X.ndim == 2:
        return pd.DataFrame.sparse.from_spmatrix(X, columns=_numbered(X.shape[1]))
    if isinstance(X, Mapping) or _has_records(X):
        try:
            return pd.DataFrame(X)
        except ValueError as error:
            raise TableError(f"X cannot be converted to a table: {error}.") from error
    return _frame_of_array(X)


def _to_pandas(X: Any) -> Any:
    try:
        return X.to_pandas()
    except (NotImplementedError, TypeError, ValueError) as error:  # as for 128-bit integers
        raise TableError(
            f"X cannot be converted to a pandas DataFrame ({error}); cast its columns to others."
        ) from error


def _has_records(X: Any) -> bool:
    """Whether the rows have named values: a structured array, or a list of dictionaries."""
    if isinstance(X, np.ndarray):
        return X.dtype.names is not None and X.ndim == 1
    return isinstance(X, list) and bool(X) and all(isinstance(row, Mapping) for row in X)


def _frame_of_array(X: Any) -> Any:
    import pandas as pd

    array = _array(X)
    if array.ndim != 2:
        is_array = isinstance(X, (np.ndarray, list, tuple))
        found = f"array of shape {array.shape}" if is_array else type(X).__name__
        hint = " Reshape a single column with X.reshape(-1, 1)." if array.ndim == 1 else ""
        raise TableError(f"X must be a table or a 2-d array with columns, got {found}.{hint}")
    return pd.DataFrame(array, columns=_numbered(array.shape[1])).infer_objects()


def _array(X: Any) -> np.ndarray:
    if isinstance(X, np.ma.MaskedArray):
        values = np.array(X.data, dtype=object)
        values[np.ma.getmaskarray(X)] = None
        return values
    try:
        array = np.asarray(X)
    except ValueError as error:  # rows of different lengths
        raise TableError(f"X must be a table or a 2-d array: {error}") from error
    if array.dtype.kind in "US" and not isinstance(X, np.ndarray):
        array = np.array(X, dtype=object)  # numbers beside strings remain numbers
    return array


def _numbered(n: int) -> list[str]:
    return [f"x{i}" for i in range(n)]
