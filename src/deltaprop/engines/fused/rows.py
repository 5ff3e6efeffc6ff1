"""The rows of a search as the kernel reads them: in place, whatever their dtype and layout."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from deltaprop.network import Network

if TYPE_CHECKING:
    from jaxtyping import Float, Int, Num


class Rows:
    """X (dense of any layout, or CSR), targets and weights, as fields of the kernel's frame."""

    def __init__(
        self,
        net: Network,
        X: Any,
        y: Num[np.ndarray, "N ..."] | None = None,
        w: Float[np.ndarray, " N"] | None = None,
        subset: Int[np.ndarray, " M"] | None = None,
    ) -> None:
        self.N, self.sparse = X.shape[0] if subset is None else len(subset), hasattr(X, "tocsr")
        self.source = net.dtype.name if self.sparse else X.dtype.name
        self._fields: dict[str, Any] = {"sparse": self.sparse}
        if self.sparse:
            X = X.tocsr()
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
            # Of one column or one row NumPy's strides may be anything.
            column = column if X.shape[1] > 1 else 1
            self._fields |= {"X": X, "row": row if X.shape[0] > 1 else 0, "column": column}
        self.K = 0
        if y is not None:
            self._set_targets(net, y)
        if w is not None:
            self._fields["weights"] = np.ascontiguousarray(w, net.dtype)

    def _set_targets(self, net: Network, y: Num[np.ndarray, "N ..."]) -> None:
        """Class indices with each class's target row, or the target rows themselves."""
        H, target = net.n_outputs, net.loss_function.target
        if y.ndim == 1 and H > 1 and net.loss_function.outputs_per_target == 1:
            self._fields["codes"] = np.ascontiguousarray(y, np.int64)
            y = np.arange(H)
        t = np.ascontiguousarray(target(y, H, net.theta, np), net.dtype)
        self.K = t.shape[1]
        self._fields |= {"targets": t, "K": self.K}

    def fields(self) -> dict[str, Any]:
        return self._fields
