"""The derivation on NumPy, batch by batch: nothing clever, the oracle for every other engine."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from deltaprop.derivation import equations, fisher
from deltaprop.derivation.equations import Masks
from deltaprop.engines.outputs import as_numbers
from deltaprop.engines.private import PrivateGradient
from deltaprop.functions.masks import dropout_mask, signs_of_rows
from deltaprop.network import Layout, Network
from deltaprop.optim.solvers import FirstOrder
from deltaprop.training.loop import Progress

if TYPE_CHECKING:
    from jaxtyping import Float, Int, Num

    from deltaprop.optim.privacy import Privacy
    from deltaprop.training.recording import Recorder


class ReferenceEngine:
    """Epochs of a first-order search over checked arrays.

    Parameters
    ----------
    net : Network
        Its θ is updated in place.
    X : ndarray or CSR matrix (N, D), of the network's dtype
    y : ndarray (N,) or (N, K), already checked
    w : ndarray (N,) or None
        Sample weights.
    subset : ndarray of int (M,), optional
        The rows of X to train on, in place of all.
    recorder : Recorder, optional
        Called after the steps that it wants.
    rows_of_epoch : int, optional
        How many rows an epoch has, where X holds only a part of them.
    privacy : Privacy, optional
    """

    def __init__(
        self,
        net: Network,
        X: Any,
        y: Num[np.ndarray, "N ..."],
        w: Float[np.ndarray, " N"] | None,
        *,
        solver: FirstOrder,
        batch_size: int,
        clip_norm: float | None,
        progress: Progress,
        subset: Int[np.ndarray, " M"] | None = None,
        recorder: Recorder | None = None,
        rows_of_epoch: int | None = None,
        privacy: Privacy | None = None,
    ) -> None:
        if subset is not None:
            X, y, w = X[subset], y[subset], None if w is None else w[subset]
        self.net, self.X, self.y, self.w = net, X, y, w
        self.solver, self.batch_size, self.clip_norm = solver, batch_size, clip_norm
        self.progress, self._recorder = progress, recorder
        self.theta = net.theta
        self.n_samples = X.shape[0]
        self._rows_of_epoch = rows_of_epoch or self.n_samples
        self._penalised = penalised(net)
        self._private = None
        if privacy is not None:
            self._private = PrivateGradient(privacy, progress, batch_size, self._penalised)
        begin(net, solver, progress)

    def epoch(
        self,
        order: Int[np.ndarray, " N"] | None,
        learning_rates: Float[np.ndarray, " S"],
        first: int = 0,
    ) -> float:
        net, total, all_rows = self.net, 0.0, self._rows_of_epoch
        for i, learning_rate in enumerate(learning_rates, first):
            start = i * self.batch_size
            stop = min(start + self.batch_size, self.n_samples)
            rows: Any = slice(start, stop) if order is None else order[start:stop]
            w = None if self.w is None else self.w[rows]
            if w is not None and not w.any() and self._private is None:
                continue  # no sample counts in this batch
            masks, share = self._masks(stop - start), (stop - start) / all_rows
            batch = (
                net, self.X[rows],
                net.loss_function.target(self.y[rows], net.n_outputs, self.theta, np),
                w, share, masks,
            )  # fmt: skip
            if self._private is not None:
                loss, g = self._private(*batch)
            else:
                done = forward_backward(*batch)
                loss, g = float(done.loss), Layout.flat(done.dW, done.db)
            g = clipped(g, self.clip_norm)
            total += loss if self.net.reduction == "sum" else loss * share
            if self.solver.needs_fisher:
                g = self._preconditioned(g, done, w, masks, float(learning_rate))
            self._step(g, float(learning_rate))
            if self._recorder is not None:
                now = self.progress
                self._recorder.at(now.step, now.epoch + 1, float(learning_rate))
        return total

    def _preconditioned(
        self,
        g: Float[np.ndarray, " P"],
        done: equations.Pass,
        w: Float[np.ndarray, " N"] | None,
        masks: Masks | None,
        learning_rate: float,
    ) -> Float[np.ndarray, " P"]:
        net, now, N = self.net, self.progress, len(done.a[0])
        total = float(N) if w is None else float(w.sum())
        shares = 1 / total if w is None else w[:, None] / total
        places = np.arange(N, dtype=np.uint32)
        signs = signs_of_rows(
            now.dropout_seed, now.step, net.n_layers, places, net.n_outputs, net.dtype, np
        )
        factors = fisher.factors(
            done.X, done.a, net.W, net.f, net.loss_function, signs, shares, masks
        )
        g = g / total if net.reduction == "sum" else g
        g, now.solver_state = self.solver.precondition(
            g, now.solver_state, factors, learning_rate, now.step + 1
        )
        return g

    def _step(self, g: Float[np.ndarray, " P"], learning_rate: float) -> None:
        self.progress.step += 1
        step, self.progress.solver_state = self.solver.update(
            g,
            self.progress.solver_state,
            self.theta,
            learning_rate,
            self.progress.step,
            self._penalised,
        )
        self.theta += step

    def _masks(self, N: int) -> Masks | None:
        if self.progress.dropout_seed is None:
            return None
        return [
            dropout_mask(
                self.progress.dropout_seed, self.progress.step, l, N, layer.units, layer.dropout,
                self.net.dtype,
            )
            if layer.dropout
            else None
            for l, layer in enumerate(self.net.layers)
        ]  # fmt: skip


def begin(net: Network, solver: FirstOrder, progress: Progress) -> None:
    """Let `progress` hold the solver's memory: a fresh one, or what is in there and fits."""
    fresh = solver.init(net.theta, net._layout().shapes)
    if not progress.solver_state:
        progress.solver_state = fresh
    sizes = [part.shape for part in progress.solver_state]
    if sizes[: len(fresh)] != [part.shape for part in fresh]:
        raise ValueError(
            f"The search that is resumed has not the memory of {type(solver).__name__}: its solver "
            "or its network was another. Go on with that one, or begin without resume."
        )


def loss_and_gradient(
    net: Network, X: Any, t: Float[np.ndarray, "N K"], w: Float[np.ndarray, " N"] | None
) -> tuple[float, Float[np.ndarray, " P"]]:
    """L and ∂L/∂θ over these rows."""
    done = forward_backward(net, X, t, w)
    return float(done.loss), Layout.flat(done.dW, done.db)


def forward_backward(
    net: Network,
    X: Any,
    t: Float[np.ndarray, "N K"],
    w: Float[np.ndarray, " N"] | None,
    share: float = 1.0,
    masks: Masks | None = None,
) -> equations.Pass:
    """The equations on one batch, which holds that share of all rows.

    Under reduction "sum" a batch carries its share of the penalty, so that the batches of an
    epoch add up to L.
    """
    weights, l2 = net.scales(X.shape[0], w)
    if net.reduction == "sum":
        l2 *= share
    return equations.forward_backward(
        as_numbers(X, net.dtype), t, net.W, net.b, net.f, net.loss_function, l2, weights, masks
    )


def clipped(g: Float[np.ndarray, " P"], norm: float | None) -> Float[np.ndarray, " P"]:
    """g, scaled down to that Euclidean norm where it is longer."""
    if norm is None:
        return g
    length = math.sqrt(float(g @ g))
    return g * (norm / length) if length > norm else g


def penalised(net: Network) -> Float[np.ndarray, " P"]:
    """1 for each entry of a W_l, 0 for each entry of a b_l."""
    ones = np.ones_like(net.theta)
    for b in net._layout().views(ones)[1]:
        b[...] = 0
    return ones
