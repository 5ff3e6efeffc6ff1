"""Rows as the kernel reads them: in place, whatever their dtype and memory layout."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from deltaprop.data.rows import Rows
from deltaprop.model import Model

if TYPE_CHECKING:
    from jaxtyping import Num

    from deltaprop.functions.arrays import Array


class KernelRows:
    """X (dense of any layout, or CSR), targets and weights, as fields of the kernel's frame."""

    def __init__(self, model: Model, rows: Rows) -> None:
        self._describe(model, rows.X, len(rows))
        self.K = 0
        self._set_targets(model, rows.y)
        if rows.w is not None:
            self._fields["weights"] = np.ascontiguousarray(rows.w, model.dtype)

    @classmethod
    def without_targets(cls, model: Model, X: Num[Array, "N D"]) -> KernelRows:
        """Rows to predict."""
        rows = cls.__new__(cls)
        rows._describe(model, X, X.shape[0])
        rows.K = 0
        return rows

    def _describe(self, net: Model, X: Any, N: int) -> None:
        """Set the fields that describe how X is stored."""
        self.N, self.sparse = N, hasattr(X, "tocsr")
        self.source = net.dtype.name if self.sparse else X.dtype.name
        self._fields: dict[str, Any] = {"sparse": self.sparse}
        if self.sparse:
            X = X.tocsr()
            if not X.has_canonical_format:  # the norm of a row needs each entry in one piece
                X = X.copy()
                X.sum_duplicates()
            self._fields |= {
                "X": np.ascontiguousarray(X.data, net.dtype),
                "indices": np.ascontiguousarray(X.indices, np.int32),
                "indptr": np.ascontiguousarray(X.indptr, np.int64),
            }
        else:
            item = X.dtype.itemsize
            if not X.dtype.isnative or any(s % item or s < 0 for s in X.strides):
                X = np.ascontiguousarray(X, X.dtype.newbyteorder("="))
            row, column = (stride // item for stride in X.strides)
            # For a single column or row the strides in NumPy are arbitrary.
            column = column if X.shape[1] > 1 else 1
            self._fields |= {"X": X, "row": row if X.shape[0] > 1 else 0, "column": column}

    def _set_targets(self, net: Model, y: Num[np.ndarray, "N ..."]) -> None:
        """Class indices and one target row for each class, or a target row for each sample."""
        H, target = net.n_outputs, net.loss_function.target
        if y.ndim == 1 and H > 1 and net.loss_function.outputs_per_target == 1:
            self._fields["codes"] = np.ascontiguousarray(y, np.int64)
            y = np.arange(H)
        t = np.ascontiguousarray(target(y, H, net.theta, np), net.dtype)
        self.K = t.shape[1]
        self._fields |= {"targets": t, "K": self.K}

    def fields(self) -> dict[str, Any]:
        """The fields of the kernel's frame that describe these rows."""
        return self._fields
