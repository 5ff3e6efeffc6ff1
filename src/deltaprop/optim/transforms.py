r"""Gradient transformations, which compose into a chain, as in optax.

The first transformation is applied to the gradient g, each other one to the output of the one
before it. The output of the last is the step that is added to θ:

==================  =============================================================
:class:`ClipByNorm`  g ← g min(1, c / ‖g‖)
:class:`Momentum`    v ← μ v - η g; the step is v, or μ v - η g with Nesterov's look-ahead
:class:`AdamMoments` m ← β₁ m + (1-β₁) g, v ← β₂ v + (1-β₂) g²; the step is -η_t m / (√v + ε)
:class:`DecayWeights` step ← step - η · weight_decay · W
:class:`InputScale`  the links of another chain, for r and V instead of W_0 = diag(r) V
:class:`Orthogonal`  the step of a hidden W_l is orthogonal; another chain for everything else
:class:`ScaleSteps`  the step of each group of parameters is multiplied by a factor
==================  =============================================================

K-FAC's preconditioning is in :mod:`deltaprop.optim.natural_gradient`, and the gradients of private
training are in :mod:`deltaprop.optim.batch_gradients`. All of them are pure functions of arrays in
any namespace, so that the reference and the xla engine run the same code. The fused engine has its
own compiled version of some chains: :mod:`deltaprop.engines.fused.rules`.

Examples
--------
>>> import numpy as np
>>> from deltaprop.optim.transforms import Chain, ClipByNorm, Momentum, Step
>>> chain = Chain((ClipByNorm(1.0), Momentum(momentum=0.0, nesterov=False)))
>>> theta = np.zeros(2)
>>> state = chain.init(theta, shapes=[(1, 1)])
>>> chain.update(np.array([3.0, 4.0]), state, Step(theta, 0.1, 1, np.array([1.0, 0.0])))[0]
array([-0.06, -0.08])
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from deltaprop.errors import InputError
from deltaprop.functions.arrays import Array, namespace
from deltaprop.model.parameters import Layout

if TYPE_CHECKING:
    from jaxtyping import Float

State = tuple[Array, ...]
Shapes = Sequence[tuple[int, int]]


class Step(NamedTuple):
    """The inputs of a transformation besides the gradient and its state.

    Attributes
    ----------
    theta : (P,) array
    learning_rate : float
        η of this step.
    t : int
        The number of the step, from 1.
    penalised : (P,) array
        1 for weights and 0 for biases.
    total : float
        The number for which g / total is the gradient of the mean loss of the batch.
    factors : tuple of (n, n) arrays
        A_0, G_0, A_1, … of :func:`deltaprop.derivation.fisher.factors`, if `needs_fisher`.
    layout : Layout
        The order of the parameters in θ.
    decay : float
        The factor by which the schedule multiplies the weight decay in this step.
    """

    theta: Float[Array, " P"]
    learning_rate: Any
    t: Any
    penalised: Float[Array, " P"]
    total: Any = 1.0
    factors: tuple[Float[Array, "n n"], ...] = ()
    layout: Layout = Layout(())
    decay: Any = 1.0


class Transformation(ABC):
    """One link of a :class:`Chain`. By default it has no state."""

    needs_fisher: ClassVar[bool] = False
    """Whether `update` needs ``step.factors``, which engines compute only on request."""

    uses_matrices: ClassVar[bool] = False
    """Whether `update` needs whole W_l and ``step.layout``, so that θ cannot be divided."""

    def init(self, theta: Float[Array, " P"], shapes: Shapes) -> State:
        """The state before the first step, for weight matrices W_l of these shapes."""
        return ()

    def state_size(self, n_layers: int) -> int:
        """The number of arrays in the state of a network with `n_layers` layers."""
        return 0

    @abstractmethod
    def update(
        self, g: Float[Array, " P"], state: State, step: Step
    ) -> tuple[Float[Array, " P"], State]:
        """The transformed gradient and the new state."""


@dataclass(frozen=True)
class ClipByNorm(Transformation):
    """g ← g min(1, max_norm / ‖g‖), with the Euclidean norm over all parameters."""

    max_norm: float

    def update(
        self, g: Float[Array, " P"], state: State, step: Step
    ) -> tuple[Float[Array, " P"], State]:
        xp = namespace(g)
        norm = xp.sqrt(xp.vdot(g, g))  # not g @ g: divided among devices, g is a matrix
        return g / xp.maximum(norm / self.max_norm, 1), state


@dataclass(frozen=True)
class Momentum(Transformation):
    """v ← μ v - η g. The step is v, or μ v - η g with Nesterov's look-ahead."""

    momentum: float
    nesterov: bool

    def init(self, theta: Float[Array, " P"], shapes: Shapes) -> State:
        return (namespace(theta).zeros_like(theta),)

    def state_size(self, n_layers: int) -> int:
        return 1

    def update(
        self, g: Float[Array, " P"], state: State, step: Step
    ) -> tuple[Float[Array, " P"], State]:
        v = self.momentum * state[0] - step.learning_rate * g
        return self.momentum * v - step.learning_rate * g if self.nesterov else v, (v,)


@dataclass(frozen=True)
class AdamMoments(Transformation):
    """m ← β₁ m + (1-β₁) g, v ← β₂ v + (1-β₂) g². The step is -η_t m / (√v + ε).

    η_t = η √(1-β₂ᵗ) / (1-β₁ᵗ) corrects for the start of m and v at zero.
    """

    beta_1: float
    beta_2: float
    epsilon: float

    def init(self, theta: Float[Array, " P"], shapes: Shapes) -> State:
        xp = namespace(theta)
        return xp.zeros_like(theta), xp.zeros_like(theta)

    def state_size(self, n_layers: int) -> int:
        return 2

    def update(
        self, g: Float[Array, " P"], state: State, step: Step
    ) -> tuple[Float[Array, " P"], State]:
        xp, t = namespace(g), step.t
        m = self.beta_1 * state[0] + (1 - self.beta_1) * g
        v = self.beta_2 * state[1] + (1 - self.beta_2) * (g * g)
        corrected = step.learning_rate * (1 - self.beta_2**t) ** 0.5 / (1 - self.beta_1**t)
        return -corrected * m / (xp.sqrt(v) + self.epsilon), (m, v)


@dataclass(frozen=True)
class DecayWeights(Transformation):
    """step ← step - η · weight_decay · W: decay that is decoupled from the gradient.

    A schedule may multiply `weight_decay` by another factor in each step: ``Step.decay``.
    """

    weight_decay: float

    def update(
        self, g: Float[Array, " P"], state: State, step: Step
    ) -> tuple[Float[Array, " P"], State]:
        decay = step.learning_rate * self.weight_decay * step.decay
        return g - decay * (step.penalised * step.theta), state


@dataclass(frozen=True)
class Chain:
    """Transformations that are applied one after the other; the last one returns the step.

    The state is one flat tuple of arrays. It starts with the state of the last transformation,
    which is the order in model files and checkpoints.
    """

    links: tuple[Transformation, ...]

    def state_size(self, n_layers: int) -> int:
        """The number of arrays in the state."""
        return sum(link.state_size(n_layers) for link in self.links)

    @property
    def needs_fisher(self) -> bool:
        """Whether a transformation needs the factors of the Fisher information."""
        return any(link.needs_fisher for link in self.links)

    @property
    def uses_matrices(self) -> bool:
        """Whether a transformation needs whole W_l."""
        return any(link.uses_matrices for link in self.links)

    @property
    def scales_inputs(self) -> bool:
        """Whether a factor of each input is optimized as well."""
        return any(isinstance(link, InputScale) for link in self.links)

    def init(self, theta: Float[Array, " P"], shapes: Shapes) -> State:
        """The state before the first step."""
        return tuple(part for link in reversed(self.links) for part in link.init(theta, shapes))

    def update(
        self, g: Float[Array, " P"], state: State, step: Step, n_layers: int = 1
    ) -> tuple[Float[Array, " P"], State]:
        """The step to add to θ, and the new state."""
        new: State = ()
        end = len(state)
        for link in self.links:
            size = link.state_size(n_layers)
            g, changed = link.update(g, state[end - size : end], step)
            new = (*changed, *new)
            end -= size
        return g, new


@dataclass(frozen=True)
class InputScale(Transformation):
    """Optimize a factor r_d of each input as well: the links see r and V, where W_0 = diag(r) V.

    With ∂L/∂W_0 = G, the chain rule gives ∂L/∂V = diag(r) G and ∂L/∂r_d = Σ_h V_dh G_dh. r starts
    at 1. A useful input soon has a large factor, and a useless one a small factor, so that the
    first layer selects its inputs. The network itself is not changed: after each step, its W_0 is
    diag(r) V.

    Parameters
    ----------
    rate : float
        By which the steps of r are multiplied.
    chain : Chain
        What turns the gradients for r and for V into steps.
    """

    rate: float
    chain: Chain

    uses_matrices: ClassVar[bool] = True

    def init(self, theta: Float[Array, " P"], shapes: Shapes) -> State:
        xp = namespace(theta)
        ones = xp.ones_like(theta[: shapes[0][0]])
        r = xp.concatenate([ones, xp.zeros_like(theta[shapes[0][0] :])])
        # Arrays of the size of θ, as engines expect; entries of those for r from D_0 on are unused.
        return (r, *self.chain.init(theta, shapes), *self.chain.init(theta, shapes))

    def state_size(self, n_layers: int) -> int:
        return 1 + 2 * self.chain.state_size(n_layers)

    def update(
        self, g: Float[Array, " P"], state: State, step: Step
    ) -> tuple[Float[Array, " P"], State]:
        xp, (D, H) = namespace(g), step.layout.shapes[0]
        r, inner = state[0], (len(state) - 1) // 2
        column = r[:D][:, None]

        def with_first(W: Float[Array, "D H"], theta: Float[Array, " P"]) -> Float[Array, " P"]:
            return xp.concatenate([xp.reshape(W, (-1,)), theta[D * H :]])

        G, W = xp.reshape(g[: D * H], (D, H)), xp.reshape(step.theta[: D * H], (D, H))
        V = with_first(W / column, step.theta)
        g_r = xp.concatenate([xp.sum(G * W, axis=1) / r[:D], xp.zeros_like(r[D:])])
        change, state_V = self.chain.update(
            with_first(G * column, g), state[1 + inner :], step._replace(theta=V)
        )
        change_r, state_r = self.chain.update(
            g_r,
            state[1 : 1 + inner],
            step._replace(theta=r, penalised=xp.zeros_like(r), layout=Layout(())),  # no matrices
        )
        r = r + self.rate * change_r
        r = xp.concatenate([_nonzero(r[:D]), r[D:]])
        V = V + change
        W = xp.reshape(V[: D * H], (D, H)) * r[:D][:, None]
        return with_first(W, V) - step.theta, (r, *state_r, *state_V)


SMALLEST_SCALE = 1e-3  # so that W_0 can be divided by r


def _nonzero(r: Float[Array, " D"]) -> Float[Array, " D"]:
    xp = namespace(r)
    return xp.where(xp.abs(r) < SMALLEST_SCALE, SMALLEST_SCALE, r)


@dataclass(frozen=True)
class Orthogonal(Transformation):
    """Muon: the steps of the hidden W_l are scaled orthogonal matrices.

    For 0 < l < L-1, M ← μ M + (1-μ) G with G = ∂L/∂W_l, and the step is
    -η 0.2 √max(D, H) · O((1-μ) G + μ M), where O is :func:`orthogonalized`. The other parameters,
    which are W_0, W_{L-1}, the W_l of layers with groups and all b_l, take the steps of another
    chain.

    Parameters
    ----------
    momentum : float
        μ.
    others : Chain
        Its state is kept for all of θ, as engines expect.
    """

    momentum: float
    others: Chain

    uses_matrices: ClassVar[bool] = True

    def init(self, theta: Float[Array, " P"], shapes: Shapes) -> State:
        return (namespace(theta).zeros_like(theta), *self.others.init(theta, shapes))

    def state_size(self, n_layers: int) -> int:
        return 1 + self.others.state_size(n_layers)

    def update(
        self, g: Float[Array, " P"], state: State, step: Step
    ) -> tuple[Float[Array, " P"], State]:
        mu = self.momentum
        M = mu * state[0] + (1 - mu) * g
        ahead = (1 - mu) * g + mu * M
        change, others = self.others.update(g, state[1:], step)
        parts, end = [], 0
        for start, D, H in _hidden(step.layout):
            O = orthogonalized(ahead[start : start + D * H].reshape(D, H))
            size = step.learning_rate * 0.2 * max(D, H) ** 0.5
            parts += [change[end:start], -size * O.reshape(-1)]
            end = start + D * H
        return namespace(g).concatenate([*parts, change[end:]]), (M, *others)


def _hidden(layout: Layout) -> Iterator[tuple[int, int, int]]:
    """Where in θ each W_l begins that takes orthogonal steps, and its shape."""
    start, shapes, grouped = 0, layout.shapes, dict(layout.grouped)
    for l, (D, H) in enumerate(shapes):
        if 0 < l < len(shapes) - 1 and l not in grouped:
            yield start, D, H
        start += D * H + H


NTK = "ntk"


@dataclass(frozen=True)
class ScaleSteps(Transformation):
    """Multiply the step of each group of parameters by its factor: a learning rate for each group.

    Parameters
    ----------
    factors : tuple of (str, float or "ntk")
        Names and factors. "W", "b", "r" and "alpha" stand for these parameters of all layers, and
        "W_0" for those of one layer, for which it replaces the factor of "W".
    ntk_power : float, default=0.0
        The factor "ntk" of a W_l with D_l inputs is (1/D_l) to this power.
    """

    factors: tuple[tuple[str, float | str], ...]
    ntk_power: float = 0.0

    uses_matrices: ClassVar[bool] = True

    def update(
        self, g: Float[Array, " P"], state: State, step: Step
    ) -> tuple[Float[Array, " P"], State]:
        layout = step.layout
        pieces = [
            factor * piece.reshape(-1)
            for factor, piece in zip(self.of(layout), layout.split(g), strict=True)
        ]
        return namespace(g).concatenate(pieces), state

    def of(self, layout: Layout) -> list[float]:
        """The factor of each part of θ.

        Raises
        ------
        ValueError
            If a factor is given for parameters that the network does not have.
        """
        given, parts = dict(self.factors), layout.parts
        known = {name for part in parts for name in (part.name, str(part))}
        if unknown := [name for name in given if name not in known]:
            raise InputError(
                f"rate_factors name {', '.join(unknown)}, which the network does not have. It has "
                f"{', '.join(map(str, parts))}."
            )
        found = [(part, given.get(str(part), given.get(part.name, 1.0))) for part in parts]
        return [
            part.shape[0] ** -self.ntk_power if factor == NTK else float(factor)
            for part, factor in found
        ]


ITERATIONS, COEFFICIENTS = 5, (3.4445, -4.7750, 2.0315)
SMALLEST_NORM = 1e-7


def orthogonalized(G: Float[Array, "D H"]) -> Float[Array, "D H"]:
    """About U Vᵀ, where G = U S Vᵀ is the singular value decomposition.

    Newton and Schulz's iteration X ← a X + (b A + c A²) X with A = X Xᵀ, from X = G / ‖G‖. In each
    iteration a singular value s becomes a s + b s³ + c s⁵. With Jordan's (a, b, c), five iterations
    bring all singular values of X from 0.01 on near 1, between 0.68 and 1.14.

    Examples
    --------
    >>> import numpy as np
    >>> from deltaprop.optim.transforms import orthogonalized
    >>> orthogonalized(np.array([[4.0, 0.0], [0.0, -2.0]])).round(2) + 0.0
    array([[ 0.69,  0.  ],
           [ 0.  , -1.11]])
    """
    xp, (a, b, c) = namespace(G), COEFFICIENTS
    X = G / xp.maximum(xp.sqrt(xp.sum(G * G)), SMALLEST_NORM)
    wide = X.T if X.shape[0] > X.shape[1] else X
    for _ in range(ITERATIONS):
        A = wide @ wide.T
        wide = a * wide + (b * A + c * (A @ A)) @ wide
    return wide.T if X.shape[0] > X.shape[1] else wide
