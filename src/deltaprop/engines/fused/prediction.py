"""Compiled predictions, for many rows or for a few rows at a time."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import numpy as np

from deltaprop.engines.fused import constants
from deltaprop.engines.fused.frame import Frame
from deltaprop.engines.fused.kernel_rows import KernelRows
from deltaprop.engines.fused.layout import prediction_room
from deltaprop.model import Model

if TYPE_CHECKING:
    from jaxtyping import Float


def predict(net: Model, X: Any, n_threads: int | None = None) -> Float[np.ndarray, "N H"]:
    """ŷ for each row of a checked X."""
    rows = KernelRows.without_targets(net, X)
    room = prediction_room(net, rows.N, n_threads, rows.sparse)
    frame, out = Frame(net, rows, room), np.empty((rows.N, net.n_outputs), net.dtype)
    frame.set(out=out, task=constants.PREDICT)
    frame.run()
    return out


class FewRows:
    """ŷ for up to `most` rows; the kernel's arguments are prepared once for a network."""

    def __init__(self, net: Model, most: int) -> None:
        self._X = np.zeros((most, net.n_features), net.dtype)
        self._out = np.zeros((most, net.n_outputs), net.dtype)
        rows = KernelRows.without_targets(net, self._X)
        self._frame = Frame(net, rows, prediction_room(net, most, 1, False))
        self._frame.set(out=self._out, task=constants.PREDICT)
        self._N = self._frame.at["N"]
        self._lock = threading.Lock()

    def __call__(self, X: Float[np.ndarray, "N D"]) -> Float[np.ndarray, "N H"] | None:
        """ŷ, or None if X is not finite."""
        N = len(X)
        with self._lock:
            rows = self._X[:N]
            rows[...] = X
            if not np.isfinite(rows).all():
                return None
            self._N[0] = N
            self._frame.enter(0)
            return self._out[:N].copy()
