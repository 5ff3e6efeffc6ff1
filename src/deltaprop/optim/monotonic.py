"""Networks whose outputs rise or fall with chosen inputs, whatever the other inputs are.

Let the hidden units be divided in two halves, A and B. If all activations are nondecreasing, an
output rises with input d if W_0 leads from d only to units of A, with weights ≥ 0, and no later
weight from A to A, or from A to an output, is negative, and none leads from A to B. The units of B,
which do not depend on d, and the weights from other inputs are free: so the network can still be
any function of these. For an output that falls, the weights from d are ≤ 0.

These are bounds of single entries of θ, which each step keeps (projected gradient descent).

References
----------
Sill (1997), "Monotonic networks"; Daniels and Velikova (2010), "Monotone and partially monotone
neural networks".
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from deltaprop.functions.arrays import namespace
from deltaprop.model.parameters import Layout
from deltaprop.optim.transforms import State, Step, Transformation

if TYPE_CHECKING:
    from jaxtyping import Float

    from deltaprop.functions.arrays import Array

    Bounds = tuple[Float[np.ndarray, " P"], Float[np.ndarray, " P"]]

GRID = np.linspace(-6, 6, 241)


@dataclass(frozen=True)
class KeepMonotonic(Transformation):
    """Shorten the step so that θ stays within the bounds.

    Parameters
    ----------
    signs : tuple of int
        For each input, 1 if the outputs rise with it, -1 if they fall, or 0.
    """

    signs: tuple[int, ...]

    uses_matrices: ClassVar[bool] = True

    def update(
        self, g: Float[Array, " P"], state: State, step: Step
    ) -> tuple[Float[Array, " P"], State]:
        xp, theta = namespace(g), step.theta
        low, high = (
            xp.asarray(bound, dtype=theta.dtype) for bound in bounds(step.layout, self.signs)
        )
        return xp.minimum(xp.maximum(theta + g, low), high) - theta, state


@lru_cache(maxsize=16)
def bounds(layout: Layout, signs: tuple[int, ...]) -> Bounds:
    """The lower and the upper bound of each entry of θ.

    Examples
    --------
    >>> low, high = bounds(Layout((1, 2, 1)), (1,))
    >>> low  # W_0 to A and to B, b_0, W_1 from A and from B, b_1
    array([  0.,   0., -inf, -inf,   0., -inf, -inf])
    >>> high
    array([inf,  0., inf, inf, inf, inf, inf])
    """
    low, high = np.full(layout.size, -np.inf), np.full(layout.size, np.inf)
    (W_low, _), (W_high, _) = layout.views(low), layout.views(high)
    given, last = np.array(signs), len(layout.shapes) - 1
    for l, (D, H) in enumerate(layout.shapes):
        own = H if l == last else _half(H)  # the columns that lead to A or to an output
        rows = given != 0 if l == 0 else np.arange(D) < _half(D)
        falls = given < 0 if l == 0 else np.zeros(D, bool)
        W_low[l][rows, :own], W_high[l][falls, :own] = 0, 0
        W_low[l][falls, :own] = -np.inf
        W_low[l][rows, own:], W_high[l][rows, own:] = 0, 0
    return low, high


def _half(H: int) -> int:
    """The number of units of A."""
    return -(-H // 2)


def start(theta: Float[np.ndarray, " P"], layout: Layout, signs: tuple[int, ...]) -> None:
    """Move initial parameters within the bounds, in place, by their signs.

    A sum of n weights of one sign is about √n times as large as one of both signs: those that lead
    from hidden units are divided by √n.
    """
    low, high = bounds(layout, signs)
    theta[...] = np.where((low == 0) & (theta < 0), -theta, theta)
    theta[...] = np.where((high == 0) & (theta > 0), -theta, theta)
    keep(theta, layout, signs)
    for W, bound in list(zip(layout.views(theta)[0], layout.views(low)[0], strict=True))[1:]:
        W[bound == 0] /= np.sqrt(_half(len(W)))


def keep(theta: Float[np.ndarray, " P"], layout: Layout, signs: tuple[int, ...]) -> None:
    """Clip parameters to the bounds, in place."""
    np.clip(theta, *(bound.astype(theta.dtype) for bound in bounds(layout, signs)), out=theta)


def rises(f: object) -> bool:
    """Whether an activation is nondecreasing, judged by its values on a grid.

    Examples
    --------
    >>> from deltaprop import activations
    >>> [rises(activations.get(name)) for name in ("relu", "softplus", "silu")]
    [True, True, False]
    """
    with np.errstate(all="ignore"):
        values = f.f(GRID[:, None], np)  # type: ignore[attr-defined]
    return bool((np.diff(values[:, 0]) >= -1e-12).all())
