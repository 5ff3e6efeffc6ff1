"""Predictions, and norms of the gradients of samples, with the fastest engine that is ready."""

from __future__ import annotations

import functools
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np

from deltaprop.data.rows import Rows
from deltaprop.derivation import equations
from deltaprop.functions.arrays import as_dtype
from deltaprop.model import Model

if TYPE_CHECKING:
    from jaxtyping import Float, Num

    from deltaprop.engines.fused.prediction import FewRows
    from deltaprop.functions.arrays import Array

FEW, MOST_OF_FEW = 16, 256  # up to so many rows, one thread runs a call that is prepared once
WORK = 4_000_000  # products in a few tenths of a millisecond, which a second thread hardly shortens


def compiled_norms(
    model: Model, X: Num[Array, "N D"], y: Num[np.ndarray, "N ..."]
) -> Float[np.ndarray, " N"] | None:
    """‖∂loss_n/∂θ‖ for rows that have been checked, or None if the code is not compiled yet.

    It is not compiled for layers with r_l, α_l or groups.
    """
    if model.vectors or not _compiled(model, X):
        return None
    from deltaprop.engines.fused.gradients import sample_norms

    return sample_norms(model, Rows(X, y))


def _compiled(model: Model, X: Num[Array, "N D"]) -> bool:
    """Whether the code for these rows is compiled. If it can be, compilation starts."""
    if not _has_numba():
        return False
    from deltaprop.engines.fused import compiling
    from deltaprop.engines.fused.support import cannot_run

    if cannot_run(model) is not None:
        return False
    if compiling.ready(model, X):
        return True
    compiling.start(model, X)
    return False


@functools.cache
def _has_numba() -> bool:
    """Whether Numba is installed, without which the equations compute predictions with NumPy."""
    return find_spec("numba") is not None


class HeldOut:
    """The mean loss of some rows, and ŷ for them, as θ changes.

    Parameters
    ----------
    model : Model
    rows : Rows
        All of them are used, in their order.
    """

    def __init__(self, model: Model, rows: Rows) -> None:
        self._model, self._rows, self._t = model, rows, model.target(rows.y)
        self._last_input = Predictor(model.without_last_activation())

    def evaluate(self) -> tuple[float, Float[np.ndarray, "N H"]]:
        """The (weighted) mean loss without the penalty, and ŷ, at the present θ."""
        model, rows = self._model, self._rows
        a, f = self._last_input(rows.X), model.f[-1]
        z = f.f(a, np)
        losses = equations.sample_losses(self._t, a, z, f, model.loss_function)
        return float(np.average(losses, weights=rows.w)), z


class Predictor:
    """Computes ŷ of a model, with compiled code if it is ready, else with the equations."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._few: FewRows | None = None
        self._few_rows = min(max(FEW, WORK // model.layout.size), MOST_OF_FEW)

    def __call__(self, X: Num[Array, "N D"]) -> Float[np.ndarray, "N H"]:
        """ŷ for rows that have been checked."""
        model = self._model
        if _compiled(model, X):
            from deltaprop.engines.fused.prediction import predict

            return predict(model, X)
        Xs, _ = model.forward(as_dtype(X, model.dtype))
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
            or not 0 < X.shape[0] <= self._few_rows
            or X.shape[1] != self._model.n_features
            or X.dtype.kind != "f"
        ):
            return None
        if self._few is None and not self._prepare():
            return None
        assert self._few is not None
        return self._few(X)

    def _prepare(self) -> bool:
        if not _has_numba():
            return False
        from deltaprop.engines.fused import compiling
        from deltaprop.engines.fused.support import cannot_run

        model = self._model
        if cannot_run(model) is not None or not compiling.ready(model, model.theta):
            return False
        from deltaprop.engines.fused.prediction import FewRows

        self._few = FewRows(model, self._few_rows)
        return True
