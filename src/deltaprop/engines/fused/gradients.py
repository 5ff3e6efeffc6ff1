"""Gradients over all rows: for L-BFGS, and with the norm of each sample's gradient."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np

from deltaprop.data.rows import Rows
from deltaprop.engines.fused import constants
from deltaprop.engines.fused.frame import Frame
from deltaprop.engines.fused.interrupts import interrupt_between_calls
from deltaprop.engines.fused.private import kernel_gradient
from deltaprop.engines.protocol import Objective
from deltaprop.errors import InputError
from deltaprop.model import Gradient, Model
from deltaprop.optim.batch_gradients import PrivateGradient

if TYPE_CHECKING:
    from jaxtyping import Float


def fused_objective(
    model: Model, rows: Rows, n_threads: int | None, reproducible: bool,
    precision: str | None = None,
) -> Objective:  # fmt: skip
    """L and ∂L/∂θ over all rows at the current θ, for L-BFGS."""
    return WholeGradient(model, rows, n_threads, reproducible, precision)


def sample_norms(model: Model, rows: Rows, n_threads: int | None = None) -> Float[np.ndarray, " N"]:
    """‖∂loss_n/∂θ‖ of each sample. There is no pass over the weights for their gradient."""
    norms = np.zeros(len(rows))
    WholeGradient(
        model, rows, n_threads, rule=constants.NORMS, reduction=constants.SUM, norms=norms
    )()
    return norms.astype(model.dtype)


def gradient(
    net: Model,
    X: Any,
    y: Any,
    sample_weight: Any = None,
    *,
    max_norm: float | None = None,
    n_threads: int | None = None,
) -> tuple[Gradient, Float[np.ndarray, " N"]]:
    """∂L/∂θ, and the norm of the gradient of each sample, in one compiled pass.

    Parameters
    ----------
    net : Network
        The fused engine must support its functions.
    X, y, sample_weight : array-like
        As for :meth:`deltaprop.Network.gradient`.
    max_norm : float, optional
        C > 0. If it is given, the gradient of each sample is multiplied by min(1, C / norm) before
        the sum, as in a step of :class:`deltaprop.Privacy` without noise over all rows.
    n_threads : int, optional
        The default is the number of available cores.

    Returns
    -------
    gradient : Gradient
    norms : ndarray (N,)
        w_n ‖∂loss_n/∂θ‖ before clipping, which is not divided by the reduction.

    References
    ----------
    Goodfellow (2015), "Efficient per-example gradient computations", arXiv:1510.01799.

    Examples
    --------
    >>> import deltaprop as dp
    >>> from deltaprop.engines.fused.gradients import gradient
    >>> net = dp.Network(1, [dp.Dense(1)], loss="squared_error")
    >>> net.theta = [2.0, 1.0]
    >>> g, norms = gradient(net, [[0.0], [1.0]], [3.0, 4.0], max_norm=1.0)  # δ = -2, -1
    >>> norms.round(3), g.db[0].round(3)
    (array([2.   , 1.414]), array([-1.707]))
    """
    if net.vectors:
        raise InputError(
            "the norms of gradients are not compiled for layers with input_scale, "
            "trainable_activation or groups. Use net.gradient and net.sample_norms."
        )
    rows, fields = Rows.checked(net, X, y, sample_weight), {}
    total = float(len(rows)) if rows.w is None else float(rows.w.sum())
    scale = 1.0 if net.reduction == "sum" else total
    norms = np.zeros(len(rows))
    if max_norm is not None:
        scale = 1.0
        fields = kernel_gradient(PrivateGradient(max_norm, 0.0), net.reduction, len(rows))
    evaluate = WholeGradient(net, rows, n_threads, **fields | {"norms": norms})
    _, flat = evaluate()
    return net.as_gradient(flat), (scale * norms).astype(net.dtype)


class WholeGradient:
    """L and ∂L/∂θ over all rows at the current θ; `fields` are further fields of the frame."""

    def __init__(
        self,
        model: Model,
        rows: Rows,
        n_threads: int | None = None,
        reproducible: bool = False,
        precision: str | None = None,
        **fields: Any,
    ) -> None:
        self._frame = Frame.for_training(model, rows, len(rows), n_threads, reproducible, precision)
        self._frame.layers["dropout"] = 0
        self._result, self._G = np.zeros(2), np.zeros_like(model.theta)
        given = {
            "G": self._G, "first": self._G, "second": self._G, "result": self._result,
            "rates": np.zeros(3), "order": rows.numbers(), "n_steps": 1,
            "rule": constants.GRADIENT,
        }  # fmt: skip
        self._frame.set(**given | fields)

    def __call__(self) -> tuple[float, Float[np.ndarray, " P"]]:
        self._result[:] = 0
        self._G[:] = 0  # for sparse rows the kernel adds up only the entries that are present
        with (
            interrupt_between_calls()
            if self._frame.n_threads > 1
            else nullcontext(_nothing) as check
        ):
            self._frame.run()
            check()
        return float(self._result[1]), self._G


def _nothing() -> None:
    return
