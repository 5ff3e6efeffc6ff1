"""K-FAC: the natural gradient, with a Kronecker product for the Fisher information of each layer.

An engine computes the factors A_l and G_l of a batch, which :mod:`deltaprop.derivation.fisher`
defines.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from deltaprop.errors import InputError
from deltaprop.functions.arrays import Array, floored, inverse, namespace
from deltaprop.optim.solvers import _FRACTION, _POSITIVE, SGD
from deltaprop.optim.transforms import Shapes, State, Step, Transformation

if TYPE_CHECKING:
    from jaxtyping import Float


@dataclass(frozen=True, repr=False)
class KFAC(SGD):
    """SGD along the natural gradient F⁻¹g, F_l ≈ A_l ⊗ G_l for each layer l (K-FAC).

    With x̃ = (X_l, 1), δ̂ the error signals for labels drawn from the model itself, and
    g_l = [∂L/∂W_l; ∂L/∂b_l] of the loss averaged over the batch:

    - A_l ← average of x̃x̃ᵀ, G_l ← average of δ̂δ̂ᵀ, exponentially decayed over the batches so far
    - n_l = (A_l + π_l √γ I)⁻¹ g_l (G_l + √γ / π_l I)⁻¹, π_l² = mean eigenvalue of A_l / that of G_l
    - v ← μ v - η ν n, θ ← θ + v, where ν ≤ 1 makes η² ν² nᵀg ≤ kl_clip

    Because g is the gradient of the mean loss, the same settings work for every `reduction`.

    Parameters
    ----------
    learning_rate : float, default=0.1
        η > 0.
    momentum : float, default=0.9
        μ in [0, 1].
    nesterov : bool, default=True
        Whether to use Nesterov's look-ahead.
    damping : float, default=1e-2
        γ > 0. A larger value makes steps shorter and closer to those of SGD.
    decay : float, default=0.95
        Decay of the averages, in [0, 1); their start at zero is corrected. 0 uses the factors of
        the current batch alone.
    every : int, default=10
        The inverses are recomputed every `every` steps.
    kl_clip : float, default=1e-3
        > 0. Half of it bounds the mean KL divergence, to second order, by which a step without
        momentum changes the distribution of the model. ``math.inf`` sets no bound.

    References
    ----------
    Martens and Grosse (2015), "Optimizing neural networks with Kronecker-factored approximate
    curvature", arXiv:1503.05671.

    Examples
    --------
    >>> import deltaprop as dp
    >>> net = dp.Network(1, [dp.Dense(1)], loss="squared_error", seed=0)
    >>> newton = dp.KFAC(1.0, momentum=0.0, damping=1e-12, kl_clip=float("inf"))
    >>> X, y = [[0.0], [1.0], [2.0]], [1.0, 3.0, 5.0]
    >>> history = dp.fit(net, X, y, solver=newton, max_epochs=1, engine="reference")
    >>> net.predict([[10.0]]).round(3)  # one step
    array([[21.]])
    """

    name: ClassVar = "kfac"
    ntk_power: ClassVar[float | None] = None  # its steps do not depend on the parametrization

    learning_rate: float = 0.1
    damping: float = 1e-2
    decay: float = 0.95
    every: int = 10
    kl_clip: float = 1e-3

    _ranges: ClassVar = {
        **SGD._ranges,
        "damping": _POSITIVE,
        "decay": _FRACTION,
        "every": (1, 2**53, ">= 1"),
        "kl_clip": (5e-324, math.inf, "> 0"),
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.every != int(self.every):
            raise InputError(f"every of KFAC must be a whole number, got {self.every!r}.")

    def transformations(self) -> tuple[Transformation, ...]:
        natural = NaturalGradient(self.damping, self.decay, self.every, self.kl_clip)
        return (natural, *super().transformations())


@dataclass(frozen=True)
class NaturalGradient(Transformation):
    """n_l = (A_l + π_l √γ I)⁻¹ g_l (G_l + √γ / π_l I)⁻¹, scaled by ν: see :class:`KFAC`.

    The state contains the averages A_0, G_0, A_1, … and then, in the same order, the inverses that
    were computed last.
    """

    damping: float
    decay: float
    every: int
    kl_clip: float

    needs_fisher: ClassVar[bool] = True
    uses_matrices: ClassVar[bool] = True

    def init(self, theta: Float[Array, " P"], shapes: Shapes) -> State:
        xp = namespace(theta)
        sizes = [n for D, H in shapes for n in (D + 1, H)]
        return tuple(xp.zeros((n, n), dtype=theta.dtype) for n in 2 * sizes)

    def state_size(self, n_layers: int) -> int:
        return 4 * n_layers

    def update(
        self, g: Float[Array, " P"], state: State, step: Step
    ) -> tuple[Float[Array, " P"], State]:
        g, t = g / step.total, step.t
        gain = (1 - self.decay) / (1 - self.decay**t)
        averages = state[: len(step.factors)]
        means = [m + gain * (now - m) for m, now in zip(averages, step.factors, strict=True)]
        inverses = _where(
            self.every == 1 or (t - 1) % self.every == 0,
            lambda: damped_inverses(means, self.damping),
            lambda: tuple(state[len(means) :]),
        )
        natural = preconditioned(g, inverses)
        if self.kl_clip < math.inf:
            natural = natural * shrinkage(natural, g, step.learning_rate, self.kl_clip)
        return natural, (*means, *inverses)


def damped_inverses(factors: Sequence[Float[Array, "n n"]], damping: float) -> State:
    """(A_l + π_l √γ I)⁻¹ and (G_l + √γ / π_l I)⁻¹ for each layer; π_l divides γ between them."""
    xp, added = namespace(factors[0]), dampings(factors, damping)
    return tuple(
        inverse(M + more * xp.eye(M.shape[0], dtype=M.dtype), xp)
        for M, more in zip(factors, added, strict=True)
    )


def dampings(factors: Sequence[Float[Array, "n n"]], damping: float) -> list[Float[Array, ""]]:
    """π_l √γ and √γ / π_l for each layer, but at least what rounding errors require."""
    added: list[Array] = []
    for A, G in zip(factors[::2], factors[1::2], strict=True):
        pi = _root_of_mean_eigenvalue(A) / _root_of_mean_eigenvalue(G)
        root = math.sqrt(damping)
        added += [pi * root + _rounding(A), root / pi + _rounding(G)]
    return added


def preconditioned(
    g: Float[Array, " P"], inverses: Sequence[Float[Array, "n n"]]
) -> Float[Array, " P"]:
    """A_l⁻¹ [∂W_l; ∂b_l] G_l⁻¹ of each layer. In θ the bias follows the rows of W_l."""
    parts, start = [], 0
    for A, G in zip(inverses[::2], inverses[1::2], strict=True):
        rows, columns = A.shape[0], G.shape[0]
        g_l = g[start : start + rows * columns].reshape(rows, columns)
        parts.append((A @ g_l @ G).reshape(-1))
        start += rows * columns
    return namespace(g).concat(parts)


def shrinkage(
    natural: Float[Array, " P"], g: Float[Array, " P"], learning_rate: Any, kl_clip: float
) -> Float[Array, ""]:
    """ν = min(1, √(kl_clip / η² nᵀg)), computed without dividing by nᵀg, which may be 0."""
    xp, root = namespace(g), math.sqrt(kl_clip)
    return root / xp.maximum(learning_rate * xp.sqrt(xp.abs(natural @ g)), root)


def _rounding(M: Float[Array, "n n"]) -> Float[Array, ""]:
    xp = namespace(M)
    return 10 * xp.finfo(M.dtype).eps * xp.trace(M)


def _root_of_mean_eigenvalue(M: Float[Array, "n n"]) -> Float[Array, ""]:
    xp = namespace(M)
    return xp.sqrt(floored(xp.trace(M) / M.shape[0], xp))


def _where(condition: Any, then: Callable[[], State], otherwise: Callable[[], State]) -> State:
    """One of two values; only that one is computed, also under `jax.jit`."""
    if isinstance(condition, bool):
        return then() if condition else otherwise()
    from jax import lax

    result: State = lax.cond(condition, then, otherwise)
    return result
