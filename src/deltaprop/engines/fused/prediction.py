"""Outputs of a network, compiled: many rows, or one at a time for a service."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float

from deltaprop.engines.fused import threads
from deltaprop.engines.fused.engine import Frame
from deltaprop.engines.fused.layout import prediction_room
from deltaprop.engines.fused.rows import Rows
from deltaprop.network import Network


def predict(net: Network, X: Any, n_threads: int | None = None) -> Float[np.ndarray, "N H"]:
    """ŷ for each row of a checked X."""
    rows = Rows(net, X)
    room = prediction_room(net, rows.N, n_threads or threads.available(), rows.sparse)
    frame, out = Frame(net, rows, room), np.empty((rows.N, net.n_outputs), net.dtype)
    frame.set(out=out)
    with threads.one_blas_thread():
        frame.call(frame.compiled.predict)
    return out


class Predictor:
    pass
