"""ŷ by the fastest engine that is ready."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from deltaprop.derivation import equations

if TYPE_CHECKING:
    from jaxtyping import Float

    from deltaprop.network import Network

FEW = 16


def outputs(net: Network, X: Any) -> Float[np.ndarray, "N H"]:
    """ŷ for checked rows: compiled where that is ready, by the equations otherwise."""
    from deltaprop.engines.fused import compiling
    from deltaprop.engines.fused.support import cannot_run

    if cannot_run(net) is None:
        if compiling.ready(net, X):
            from deltaprop.engines.fused import predict

            return predict(net, X)
        compiling.start(net, X)
    Xs, _ = equations.forward(as_numbers(X, net.dtype), net.W, net.b, net.f)
    z: np.ndarray = Xs[-1]
    return z


def few(net: Network, X: Any) -> Float[np.ndarray, "N H"] | None:
    """ŷ for a few rows of numbers; None where X needs a closer look or nothing is compiled."""
    if (
        type(X) is not np.ndarray
        or X.ndim != 2
        or not 0 < X.shape[0] <= FEW
        or X.shape[1] != net.n_features
        or X.dtype.kind != "f"
    ):
        return None
    if net._few is None:
        from deltaprop.engines.fused import compiling
        from deltaprop.engines.fused.support import cannot_run

        if cannot_run(net) is not None or not compiling.ready(net, net.theta):
            return None
        from deltaprop.engines.fused.prediction import FewRows

        net._few = FewRows(net)
    z: np.ndarray | None = net._few(X)
    return z


def as_numbers(X: Any, dtype: np.dtype) -> Any:
    """Rows in the working dtype."""
    return X if X.dtype == dtype else X.astype(dtype)
