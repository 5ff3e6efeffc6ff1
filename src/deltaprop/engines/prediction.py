"""Predictions with the fastest engine that is ready."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from deltaprop.derivation import equations
from deltaprop.functions.arrays import as_dtype
from deltaprop.model import Model

if TYPE_CHECKING:
    from jaxtyping import Float, Num

    from deltaprop.engines.fused.prediction import FewRows
    from deltaprop.functions.arrays import Array

FEW = 16  # up to this many rows, the arguments of the compiled call are prepared only once


class Predictor:
    """Computes ŷ of a model, with compiled code if it is ready, else with the equations."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._few: FewRows | None = None

    def __call__(self, X: Num[Array, "N D"]) -> Float[np.ndarray, "N H"]:
        """ŷ for rows that have been checked."""
        from deltaprop.engines.fused import compiling
        from deltaprop.engines.fused.support import cannot_run

        model = self._model
        if cannot_run(model) is None:
            if compiling.ready(model, X):
                from deltaprop.engines.fused.prediction import predict

                return predict(model, X)
            compiling.start(model, X)
        Xs, _ = equations.forward(as_dtype(X, model.dtype), model.W, model.b, model.f)
        z: np.ndarray = Xs[-1]
        return z

    def few(self, X: Any) -> Float[np.ndarray, "N H"] | None:
        """ŷ for a few rows of numbers, without the usual checks of the input.

        Returns None if X is not a small, finite, two-dimensional array of floats, or if the code is
        not compiled yet.
        """
        if (
            type(X) is not np.ndarray
            or X.ndim != 2
            or not 0 < X.shape[0] <= FEW
            or X.shape[1] != self._model.n_features
            or X.dtype.kind != "f"
        ):
            return None
        if self._few is None and not self._prepare():
            return None
        assert self._few is not None
        return self._few(X)

    def _prepare(self) -> bool:
        from deltaprop.engines.fused import compiling
        from deltaprop.engines.fused.support import cannot_run

        model = self._model
        if cannot_run(model) is not None or not compiling.ready(model, model.theta):
            return False
        from deltaprop.engines.fused.prediction import FewRows

        self._few = FewRows(model, FEW)
        return True
