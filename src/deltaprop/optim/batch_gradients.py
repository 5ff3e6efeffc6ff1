"""How a batch becomes a loss and a gradient, in ordinary and in private training.

An engine computes the sums of the derivation over the rows of a batch. One of two objects
determines the summands, and how the sums become the loss and the gradient for the solver:

- :class:`ExactGradient`: the reduction of the network, with its L2 penalty.
- :class:`PrivateGradient`: every sample's gradient clipped, noise added to the sum, and only then
  the reduction and the penalty.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from deltaprop.derivation import per_sample
from deltaprop.functions.arrays import Array
from deltaprop.model.reduction import scaled

if TYPE_CHECKING:
    from jaxtyping import Float

Noise = Callable[[float], Any]
"""Gaussian noise of this standard deviation, in the shape and dtype of the gradient."""


class Batch(NamedTuple):
    """The size of a batch, and the settings of the reduction.

    Attributes
    ----------
    reduction : {"sum", "mean", "sklearn"}
    l2 : float
        λ of the network.
    count : int
        The number of rows in the batch.
    share : float
        `count` divided by the number of rows of an epoch.
    full : int
        The batch size; the last batch of an epoch may have fewer rows.
    """

    reduction: str
    l2: float
    count: Any
    share: Any
    full: int


class BatchGradient(Protocol):
    """Turns the sums over a batch into a loss and a gradient."""

    @property
    def skips_empty(self) -> bool:
        """Whether a batch whose sample weights are all zero is skipped."""

    def scales(self, batch: Batch, column: Any, total: Any) -> tuple[Any, Any]:
        """The sample weights and the λ that enter the equations.

        `column` contains the weights of the rows, `total` is their sum.
        """

    def total(self, batch: Batch, total: Any) -> Any:
        """The number for which the reduced gradient / total is that of the mean loss."""

    def samples(
        self, X: Sequence[Array], delta: Sequence[Array]
    ) -> tuple[Sequence[Array], Sequence[Array]]:
        """X_l and δ_l as they enter the sums ∂L/∂W_l and ∂L/∂b_l."""

    def reduced(
        self, loss: Any, g: Float[Array, " P"], batch: Batch, noise: Noise
    ) -> tuple[Any, Float[Array, " P"], Any]:
        """Loss and gradient, and the λ of a penalty that is still to be added to both."""


@dataclass(frozen=True)
class ExactGradient:
    """L and ∂L/∂θ of the batch under the reduction of the network."""

    skips_empty = True

    def scales(self, batch: Batch, column: Any, total: Any) -> tuple[Any, Any]:
        weights, l2 = scaled(batch.reduction, batch.l2, column, total)
        return weights, l2 * batch.share if batch.reduction == "sum" else l2

    def total(self, batch: Batch, total: Any) -> Any:
        return total if batch.reduction == "sum" else 1.0

    def samples(
        self, X: Sequence[Array], delta: Sequence[Array]
    ) -> tuple[Sequence[Array], Sequence[Array]]:
        return X, delta

    def reduced(
        self, loss: Any, g: Float[Array, " P"], batch: Batch, noise: Noise
    ) -> tuple[Any, Float[Array, " P"], Any]:
        return loss, g, 0.0


@dataclass(frozen=True)
class PrivateGradient:
    """Σ_n min(1, C / ‖g_n‖) g_n + noise, then the reduction and the penalty.

    The reduction uses public numbers only, never Σ_n w_n. The gradient of a last, shorter batch is
    divided by the full batch size too: otherwise its noise would have a larger weight.

    Parameters
    ----------
    max_norm : float
        C.
    noise : float
        The standard deviation of the noise in units of C.
    """

    max_norm: float
    noise: float

    skips_empty = False

    def scales(self, batch: Batch, column: Any, total: Any) -> tuple[Any, Any]:
        return column, 0.0

    def total(self, batch: Batch, total: Any) -> Any:
        return float(batch.full) if batch.reduction == "sum" else 1.0

    def samples(
        self, X: Sequence[Array], delta: Sequence[Array]
    ) -> tuple[Sequence[Array], Sequence[Array]]:
        return per_sample.clipped(X, delta, self.max_norm)

    def reduced(
        self, loss: Any, g: Float[Array, " P"], batch: Batch, noise: Noise
    ) -> tuple[Any, Float[Array, " P"], Any]:
        g = g + noise(self.noise * self.max_norm)
        if batch.reduction == "sum":
            return loss, g, batch.l2 * batch.share
        l2 = batch.l2 / batch.full if batch.reduction == "sklearn" else batch.l2
        return loss / batch.count, g / batch.full, l2
