"""A fingerprint of the rows that a model was trained on, which recognizes them later."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from deltaprop.data.frames import as_frame

if TYPE_CHECKING:
    from jaxtyping import UInt32, UInt64

MOST_HASHES = 4096  # 16 KB in a model file
MOST_COLUMNS = 64  # that are hashed
MISSING = np.array(["NA", "N/A", "nan", "None"], dtype=object)  # as some readers leave them
END = 2**32 - 1
FACTOR = np.uint64(0x9E3779B97F4A7C15)


@dataclass
class Fingerprint:
    """The smallest hashes of the training rows and their targets.

    A row was trained on if its hash is among them. Rows whose hash is larger than all that were
    kept cannot be judged; as hashes are random numbers, the others are a random sample of the rows.

    Attributes
    ----------
    hashes : ndarray of uint32 (K,)
        Sorted, each once; at most 4,096.
    share : float
        The fraction of the training rows that were hashed.

    Notes
    -----
    Whoever has the file can find out whether a row that they know was trained on. So there is no
    fingerprint of private training.

    References
    ----------
    Bar-Yossef et al. (2002), "Counting distinct elements in a data stream".
    """

    hashes: UInt32[np.ndarray, " K"]
    share: float = 1.0

    @classmethod
    def of(cls, X: Any, y: Any, share: float = 1.0) -> Fingerprint:
        """The fingerprint of a table and its target.

        Examples
        --------
        >>> import pandas as pd
        >>> X, y = pd.DataFrame({"a": [1, 2, 3], "b": ["x", "y", None]}), [0, 1, 1]
        >>> fingerprint = Fingerprint.of(X, y)
        >>> fingerprint.seen(X.astype({"a": float}), y), fingerprint.seen(X, [0, 0, 0])
        (1.0, 0.3333333333333333)
        """
        return cls(np.unique(_hashes(X, y))[:MOST_HASHES], float(share))

    def seen(self, X: Any, y: Any) -> float | None:
        """The share of rows that were trained on; None if no row can be judged.

        Parameters
        ----------
        X : DataFrame
            The columns that the model was fitted to, in their order.
        y : array-like (N,)
        """
        hashes = _hashes(X, y)
        largest = self.hashes[-1] if len(self.hashes) == MOST_HASHES else END
        judged = hashes[hashes <= largest]
        if len(judged) == 0:
            return None
        return min(1.0, float(np.isin(judged, self.hashes).mean()) / self.share)

    def is_consistent(self) -> bool:
        """Whether the parts fit together, after reading them from a file."""
        hashes = self.hashes
        return (
            isinstance(hashes, np.ndarray)
            and hashes.dtype == np.uint32
            and hashes.ndim == 1
            and 0 < len(hashes) <= MOST_HASHES
            and bool((hashes[1:] > hashes[:-1]).all())
            and isinstance(self.share, float)
            and 0 < self.share <= 1
        )


def _hashes(X: Any, y: Any) -> UInt32[np.ndarray, " N"]:
    """One hash for each row, which does not depend on how its values are stored."""
    frame = as_frame(X)
    chosen = np.linspace(0, frame.shape[1] - 1, min(frame.shape[1], MOST_COLUMNS)).astype(int)
    target = np.asarray(y)
    columns = [*(frame.iloc[:, i] for i in chosen), *target.reshape(len(frame), -1).T]
    mixed = np.zeros(len(frame), np.uint64)
    for column in columns:
        mixed = (mixed ^ _hashes_of(column)) * FACTOR
    hashes: np.ndarray = (mixed >> np.uint64(32)).astype(np.uint32)
    return hashes


def _hashes_of(column: Any) -> UInt64[np.ndarray, " N"]:
    import pandas as pd

    try:
        hashes: np.ndarray = pd.util.hash_array(_canonical(pd.Series(column).infer_objects()))
    except UnicodeEncodeError:  # half of a surrogate pair
        texts = [ascii(value) for value in np.asarray(column, dtype=object)]
        hashes = pd.util.hash_array(np.array(texts, dtype=object))
    return hashes


def _canonical(column: Any) -> np.ndarray:
    """Numbers as float64, everything else as text."""
    from pandas.api.types import is_numeric_dtype

    if is_numeric_dtype(column.dtype) and column.dtype.kind != "c":
        numbers: np.ndarray = column.to_numpy(dtype=np.float64, na_value=np.nan)
        return np.where(np.isnan(numbers), np.nan, numbers) + 0.0  # one NaN, and one zero
    texts: np.ndarray = column.astype(str).to_numpy(dtype=object)
    return np.where(column.isna().to_numpy() | np.isin(texts, MISSING), "", texts)
