"""θ: one flat vector of all parameters, and views of its parts."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from deltaprop.derivation.equations import NO_VECTORS, Vectors
from deltaprop.model.groups import Groups

if TYPE_CHECKING:
    from jaxtyping import Float

    from deltaprop.functions.arrays import Array
    from deltaprop.model.layers import Dense


class Part(NamedTuple):
    """A part of θ: W_l, b_l, r_l or α_l ("alpha")."""

    name: str
    layer: int
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """The number of its parameters."""
        return math.prod(self.shape)

    def __str__(self) -> str:
        """The name in code, such as W_0."""
        return f"{self.name}_{self.layer}"


@dataclass(frozen=True)
class Layout:
    """The order of the parameters in θ: W_0 row by row, b_0, W_1, …, b_{L-1}, r_0, α_0, r_1, …

    r_l and α_l are missing for layers without them.

    Parameters
    ----------
    sizes : tuple of int
        D_0, H_0, H_1, …: the number of inputs and the number of units of each layer.
    scaled, mixed : tuples of int
        The layers that have r_l and those that have α_l.
    grouped : tuple of (int, Groups)
        The layers that are not fully connected. The entries of their W_l that do not exist are in θ
        as well, and are 0.

    Examples
    --------
    >>> from deltaprop.model import Layout
    >>> [(part.name, part.layer, part.shape) for part in Layout((3, 2), scaled=(0,)).parts]
    [('W', 0, (3, 2)), ('b', 0, (2,)), ('r', 0, (3,))]
    """

    sizes: tuple[int, ...]
    scaled: tuple[int, ...] = ()
    mixed: tuple[int, ...] = ()
    grouped: tuple[tuple[int, Groups], ...] = ()

    @classmethod
    def of(cls, n_features: int, layers: Sequence[Dense]) -> Layout:
        """The layout of a network with these layers."""
        return cls(
            (n_features, *(layer.units for layer in layers)),
            tuple(l for l, layer in enumerate(layers) if layer.input_scale),
            tuple(l for l, layer in enumerate(layers) if layer.trainable_activation),
            tuple((l, layer.groups) for l, layer in enumerate(layers) if layer.groups is not None),
        )

    @property
    def shapes(self) -> list[tuple[int, int]]:
        """(D_l, H_l), the shape of each W_l."""
        return list(pairwise(self.sizes))

    @property
    def parts(self) -> list[Part]:
        """The parts of θ, in their order."""
        shapes, parts = self.shapes, []
        for l, (D, H) in enumerate(shapes):
            parts += [Part("W", l, (D, H)), Part("b", l, (H,))]
        for l, (D, H) in enumerate(shapes):
            parts += [Part("r", l, (D,))] * (l in self.scaled)
            parts += [Part("alpha", l, (H,))] * (l in self.mixed)
        return parts

    @property
    def size(self) -> int:
        """The number of parameters."""
        return sum(part.size for part in self.parts)

    def split(self, theta: Float[Array, " P"]) -> list[Float[Array, "..."]]:
        """The parts of `theta`; for NumPy arrays, writable views."""
        pieces, start = [], 0
        for part in self.parts:
            pieces.append(theta[start : start + part.size].reshape(part.shape))
            start += part.size
        return pieces

    def views(
        self, theta: Float[Array, " P"]
    ) -> tuple[tuple[Float[Array, "D H"], ...], tuple[Float[Array, " H"], ...]]:
        """W and b as parts of `theta`; for NumPy arrays, writable views."""
        return self.weights(self.split(theta))

    def vectors(self, theta: Float[Array, " P"]) -> Vectors:
        """The r_l and α_l in `theta`; for NumPy arrays, writable views."""
        return self.vectors_of(self.split(theta))

    def weights(
        self, pieces: Sequence[Array]
    ) -> tuple[tuple[Float[Array, "D H"], ...], tuple[Float[Array, " H"], ...]]:
        """W and b among the parts that :meth:`split` returns."""
        end = 2 * len(self.shapes)
        return tuple(pieces[0:end:2]), tuple(pieces[1:end:2])

    def vectors_of(self, pieces: Sequence[Array]) -> Vectors:
        """The r_l and α_l among the parts that :meth:`split` returns, and C_l."""
        found = {(part.name, part.layer): x for part, x in zip(self.parts, pieces, strict=True)}
        layers, groups = range(len(self.shapes)), dict(self.grouped)
        return Vectors(
            tuple(found.get(("r", l)) for l in layers),
            tuple(found.get(("alpha", l)) for l in layers),
            tuple(
                groups[l].connected().astype(pieces[0].dtype) if l in groups else None
                for l in layers
            ),
        )

    @staticmethod
    def flat(
        W: Sequence[Float[np.ndarray, "D H"]],
        b: Sequence[Float[np.ndarray, " H"]],
        vectors: Vectors = NO_VECTORS,
    ) -> Float[np.ndarray, " P"]:
        """θ, or ∂L/∂θ, from its parts: the inverse of :meth:`views` and :meth:`vectors`."""
        return np.concatenate([part.ravel() for part in in_order(W, b, vectors)])


def in_order(W: Sequence[Array], b: Sequence[Array], vectors: Vectors = NO_VECTORS) -> list[Array]:
    """W_0, b_0, W_1, …, b_{L-1}, r_0, α_0, r_1, …: the parts in the order of θ."""
    further = _alternating(vectors.r, vectors.alpha)
    return [*_alternating(W, b), *(vector for vector in further if vector is not None)]


def _alternating(first: Iterable[Array], second: Iterable[Array]) -> list[Array]:
    return [part for pair in zip(first, second, strict=True) for part in pair]


@dataclass(frozen=True, eq=False)
class Gradient(NDArrayOperatorsMixin):
    """∂L/∂θ: flat, and as ∂L/∂W_l, ∂L/∂b_l, ∂L/∂r_l and ∂L/∂α_l, which are views into it.

    In calculations it stands for the flat vector, such as in ``net.theta -= 0.1 * gradient``.

    Attributes
    ----------
    flat : ndarray (P,)
    dW, db : tuples of ndarrays (D_l, H_l) and (H_l,)
    dr, dalpha : tuples of ndarrays (D_l,) and (H_l,) or None
        None for layers without such a vector.

    Examples
    --------
    >>> import deltaprop as dp
    >>> net = dp.Network(1, [dp.Dense(1)], loss="squared_error")
    >>> net.theta = [2.0, 1.0]
    >>> net.theta -= 0.1 * net.gradient([[1.0], [2.0]], [3.0, 6.0])
    >>> net.theta
    array([2.2, 1.1])
    """

    flat: Float[np.ndarray, " P"]
    dW: tuple[Float[np.ndarray, "D H"], ...]
    db: tuple[Float[np.ndarray, " H"], ...]
    dr: tuple[Float[np.ndarray, " D"] | None, ...] = field(default=())
    dalpha: tuple[Float[np.ndarray, " H"] | None, ...] = field(default=())

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Float[np.ndarray, " P"]:
        return np.array(self.flat, dtype=dtype, copy=copy)

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **settings: Any) -> Any:
        arrays = [part.flat if isinstance(part, Gradient) else part for part in inputs]
        return getattr(ufunc, method)(*arrays, **settings)

    def __len__(self) -> int:
        return len(self.flat)

    def __repr__(self) -> str:
        sizes = " → ".join(str(n) for n in (self.dW[0].shape[0], *map(len, self.db)))
        norm = float(np.linalg.norm(self.flat))
        return f"Gradient({sizes}, {self.flat.size} parameters, norm {norm:.4g})"
