"""θ: one flat vector of all parameters, and the views W_l, b_l into it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

if TYPE_CHECKING:
    from jaxtyping import Float

    from deltaprop.functions.arrays import Array


class Layout:
    """The order of the parameters in θ: layer by layer, W_l row by row, then b_l.

    Parameters
    ----------
    sizes : sequence of int
        D_0, H_0, H_1, …: the number of inputs and the number of units of each layer.
    """

    def __init__(self, sizes: Sequence[int]) -> None:
        self.shapes = list(pairwise(sizes))
        self.size = sum(D * H + H for D, H in self.shapes)

    def views(
        self, theta: Float[Array, " P"]
    ) -> tuple[tuple[Float[Array, "D H"], ...], tuple[Float[Array, " H"], ...]]:
        """W and b as parts of `theta`; for NumPy arrays, writable views."""
        W, b, start = [], [], 0
        for D, H in self.shapes:
            W.append(theta[start : start + D * H].reshape(D, H))
            b.append(theta[start + D * H : start + D * H + H])
            start += D * H + H
        return tuple(W), tuple(b)

    @staticmethod
    def flat(
        W: Sequence[Float[np.ndarray, "D H"]], b: Sequence[Float[np.ndarray, " H"]]
    ) -> Float[np.ndarray, " P"]:
        """θ, or ∂L/∂θ, from its parts: the inverse of :meth:`views`."""
        return np.concatenate([part.ravel() for pair in zip(W, b, strict=True) for part in pair])


@dataclass(frozen=True, eq=False)
class Gradient(NDArrayOperatorsMixin):
    """∂L/∂θ: flat, and as ∂L/∂W_l and ∂L/∂b_l, which are views into the flat vector.

    In calculations it stands for the flat vector, such as in ``net.theta -= 0.1 * gradient``.

    Attributes
    ----------
    flat : ndarray (P,)
    dW, db : tuples of ndarrays (D_l, H_l) and (H_l,)

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
