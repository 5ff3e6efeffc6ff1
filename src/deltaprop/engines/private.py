"""The gradient of private training: each sample's held to a norm, summed, and noise added.

With X_l and δ_l in hand a sample's gradient is never formed: to scale it is to scale its row of
every δ_l. What is here holds for every engine, but the noise, whose generators differ.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from deltaprop.derivation import equations
from deltaprop.engines.outputs import as_numbers
from deltaprop.functions.activations import Activation
from deltaprop.functions.arrays import Array, namespace
from deltaprop.functions.losses import Loss
from deltaprop.network import Layout, Network
from deltaprop.optim.privacy import Privacy
from deltaprop.training.loop import Progress

if TYPE_CHECKING:
    from jaxtyping import Float


def clipped(
    X: Sequence[Array], delta: Sequence[Array], max_norm: float
) -> tuple[list[Array], list[Array]]:
    """X_l and min(1, C/‖g_n‖) δ_l: no sample's gradient is longer than C.

    A sample whose gradient is not finite counts nothing, else it would show in every sum.
    """
    xp = namespace(delta[0])
    delta = [_normal(delta_l, xp) for delta_l in delta]
    norms = equations.sample_norms(X, delta)
    finite = xp.isfinite(norms)[:, None]
    factors = _normal(max_norm / xp.where(norms > max_norm, norms, max_norm), xp)[:, None]
    # X_0 has been checked; of others 0 · inf would be NaN.
    hidden = [xp.where(finite, X_l, xp.zeros_like(X_l)) for X_l in X[1 : len(delta)]]
    return [X[0], *hidden], [
        xp.where(finite, factors * delta_l, xp.zeros_like(delta_l)) for delta_l in delta
    ]


def _normal(x: Array, xp: Any) -> Array:
    """x, with 0 for numbers so small that they are held to fewer digits, or are 0 to some chips."""
    return xp.where(xp.abs(x) < xp.finfo(x.dtype).smallest_normal, xp.zeros_like(x), x)


def clipped_sums(
    X0: Float[Array, "N D"],
    t: Float[Array, "N K"],
    W: Sequence[Float[Array, "D H"]],
    b: Sequence[Float[Array, " H"]],
    f: Sequence[Activation],
    function: Loss,
    max_norm: float,
    weights: Any,
    masks: Any,
) -> equations.Pass:
    """The pass with Σ_n w_n loss_n as it is, but ∂W_l, ∂b_l summed over the clipped samples."""
    X, a = equations.forward(X0, W, b, f, masks)
    L = equations.loss(t, a[-1], X[-1], W, f[-1], function, weights=weights)
    delta_last = equations.output_error(t, a[-1], X[-1], f[-1], function, weights)
    delta = equations.error_signals(delta_last, X, a, W, f, masks)
    dW, db = equations.gradients(*clipped(X, delta, max_norm), W)
    return equations.Pass(X, a, delta, dW, db, L)


def reduced(
    reduction: str, l2: float, loss: Any, g: Any, count: Any, batch_size: int, share: Any
) -> tuple[Any, Any, Any]:
    """Loss, gradient and λ of a batch, by numbers alone that are public: never by Σ_n w_n.

    A last, shorter batch is divided by `batch_size`, too: its noise would weigh more otherwise.
    """
    if reduction == "sum":
        return loss, g, l2 * share
    return loss / count, g / batch_size, l2 / batch_size if reduction == "sklearn" else l2


class PrivateGradient:
    """What `loss_and_gradient` is to the reference engine, in private training."""

    def __init__(
        self,
        privacy: Privacy,
        progress: Progress,
        batch_size: int,
        penalised: Float[np.ndarray, " P"],
    ) -> None:
        self._privacy, self._progress = privacy, progress
        self._batch_size, self._penalised = batch_size, penalised

    def __call__(
        self,
        net: Network,
        X: Any,
        t: Float[np.ndarray, "N K"],
        w: Float[np.ndarray, " N"] | None,
        share: float,
        masks: Any,
    ) -> tuple[float, Float[np.ndarray, " P"]]:
        weights = 1.0 if w is None else w[:, None]
        done = clipped_sums(
            as_numbers(X, net.dtype), t, net.W, net.b, net.f, net.loss_function,
            self._privacy.max_norm, weights, masks,
        )  # fmt: skip
        g = Layout.flat(done.dW, done.db) + self._noise()
        loss, g, l2 = reduced(net.reduction, net.l2, done.loss, g, len(t), self._batch_size, share)
        loss += equations.penalty(net.W, l2)
        return float(loss), g + l2 * (self._penalised * net.theta)

    def _noise(self) -> Float[np.ndarray, " P"]:
        now, scale = self._progress, self._privacy.noise * self._privacy.max_norm
        random = np.random.default_rng([now.noise_seed or 0, now.step])
        noise = scale * random.standard_normal(self._penalised.size)
        return noise.astype(self._penalised.dtype)
