"""A trace: every quantity of one forward and backward pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from deltaprop.functions.activations import Activation
from deltaprop.functions.arrays import Array

if TYPE_CHECKING:
    from jaxtyping import Float

    from deltaprop.model.signals import Signals


MOST_LAYERS, HEAD = 16, 6  # of a deeper network, a printed trace shows the first and last layers


@dataclass(frozen=True, repr=False)
class Trace:
    """Every quantity of one pass, with the names of the derivation.

    Attributes
    ----------
    X : list of L + 1 arrays (N, D_l)
        The input of each layer; ``X[L]`` is ŷ.
    a : list of L arrays (N, H_l)
        The pre-activations.
    delta : list of L arrays (N, H_l)
        The error signals ∂L/∂a_l.
    dW, db : lists of L arrays
        ∂L/∂W_l (D_l, H_l) and ∂L/∂b_l (H_l,).
    loss : float
        The value of L.
    W : list of L arrays (D_l, H_l)
        A copy of the weights that were used.
    f : tuple of Activation
    l2 : float
        λ as it enters ∂L/∂W_l under the reduction of the network.
    r, alpha : lists of L arrays or None
        Copies of r_l (D_l,) and α_l (H_l,); None in layers without them.
    dr, dalpha : lists of L arrays or None
        ∂L/∂r_l and ∂L/∂α_l.
    connected : sequence of L arrays or None
        C_l (D_l, H_l), 1 where a unit is connected with an input and 0 elsewhere; None in layers
        without groups.

    Examples
    --------
    >>> import deltaprop as dp
    >>> net = dp.Network(2, [dp.Dense(3, "relu"), dp.Dense(1)], loss="squared_error", seed=0)
    >>> print(net.trace([[1.0, 2.0], [3.0, 4.0]], [0.5, 1.5]))
    Trace(2 → 3 → 1, 2 rows, loss 1.03876)
    layer  f               X            a, δ         ∂W           ∂b
    0      relu            (2, 2)       (2, 3)       (2, 3)       (3,)
    1      identity        (2, 3)       (2, 1)       (3, 1)       (1,)
    """

    X: list[Array]
    a: list[Float[np.ndarray, "N H"]]
    delta: list[Float[np.ndarray, "N H"]]
    dW: list[Float[np.ndarray, "D H"]]
    db: list[Float[np.ndarray, " H"]]
    loss: float
    W: list[Float[np.ndarray, "D H"]]
    f: tuple[Activation, ...]
    l2: float
    r: Sequence[Float[np.ndarray, " D"] | None]
    alpha: Sequence[Float[np.ndarray, " H"] | None]
    dr: Sequence[Float[np.ndarray, " D"] | None]
    dalpha: Sequence[Float[np.ndarray, " H"] | None]
    connected: Sequence[Float[np.ndarray, "D H"] | None]

    def __str__(self) -> str:
        lines = [repr(self), "layer  f               X            a, δ         ∂W           ∂b"]
        numbers = range(len(self.W))
        shown = [*numbers] if len(self.W) <= MOST_LAYERS else [*numbers[:HEAD], *numbers[-HEAD:]]
        for l in shown:
            if l and l - 1 not in shown:
                lines.append(f"…      {shown[HEAD] - HEAD} more")
            shapes = (self.X[l].shape, self.a[l].shape, self.dW[l].shape, self.db[l].shape)
            cells = "".join(f"{tuple(map(int, shape))!s:<13}" for shape in shapes)
            lines.append(f"{l:<6} {self.f[l].name:<15} {cells}".rstrip())
        return "\n".join(lines)

    def __repr__(self) -> str:
        sizes = [str(self.W[0].shape[0]), *(str(W.shape[1]) for W in self.W)]
        if len(sizes) > MOST_LAYERS:
            sizes = [*sizes[:HEAD], "…", *sizes[-HEAD:]]
        return f"Trace({' → '.join(sizes)}, {self.X[0].shape[0]} rows, loss {self.loss:.6g})"

    def summary(self) -> Signals:
        """RMS and range, dead and saturated units, ratios and signal-to-noise of each layer.

        Examples
        --------
        >>> import deltaprop as dp
        >>> net = dp.Network(2, [dp.Dense(3, "tanh"), dp.Dense(1)], loss="squared_error", seed=0)
        >>> summary = net.trace([[1.0, 2.0], [3.0, 4.0]], [0.5, 1.5]).summary()
        >>> summary.layers[0].dead, summary.layers[0].X  # print(summary) shows a table
        (0.0, Spread(rms=2.7386127875258306, low=1.0, high=4.0))
        """
        from deltaprop.model.signals import summarise

        return summarise(self)
