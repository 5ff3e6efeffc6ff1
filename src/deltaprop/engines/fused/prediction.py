"""Outputs of a network, compiled: many rows, or a few at a time without set-up."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import numpy as np

from deltaprop.engines.fused import threads
from deltaprop.engines.fused.frame import Frame
from deltaprop.engines.fused.layout import prediction_room
from deltaprop.engines.fused.rows import Rows
from deltaprop.network import Network

if TYPE_CHECKING:
    from jaxtyping import Float

FEW = 16


def predict(net: Network, X: Any, n_threads: int | None = None) -> Float[np.ndarray, "N H"]:
    """ŷ for each row of a checked X."""
    rows = Rows(net, X)
    room = prediction_room(net, rows.N, n_threads or threads.available(), rows.sparse)
    frame, out = Frame(net, rows, room), np.empty((rows.N, net.n_outputs), net.dtype)
    frame.set(out=out)
    frame.call(frame.compiled.predict)
    return out


class FewRows:
    """ŷ for up to FEW rows: everything but the numbers is prepared once for a network."""

    def __init__(self, net: Network) -> None:
        self._X = np.zeros((FEW, net.n_features), net.dtype)
        self._out = np.zeros((FEW, net.n_outputs), net.dtype)
        self._frame = Frame(net, Rows(net, self._X), prediction_room(net, FEW, 1, False))
        self._frame.set(out=self._out)
        self._N = self._frame.at["N"]
        self._lock = threading.Lock()

    def __call__(self, X: Float[np.ndarray, "N D"]) -> Float[np.ndarray, "N H"] | None:
        """None where X is not finite."""
        N = len(X)
        with self._lock:
            self._X[:N] = X
            if not np.isfinite(self._X[:N]).all():
                return None
            self._N[0] = N
            self._frame.call(self._frame.compiled.predict)
            return self._out[:N].copy()
