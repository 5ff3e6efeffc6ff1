"""Integrated gradients: how much each input contributes to an output of a network.

The contribution of input j to output k of a row x, compared with a baseline x′, is

    (x_j − x′_j) ∫₀¹ ∂F_k/∂x_j (x′ + t (x − x′)) dt

(Sundararajan, Taly and Yan 2017, equation 1). ∂F_k/∂X_0 = δ_0 W_0ᵀ is equation (1.9) with one more
layer. The integral of the sum over j is that of dF_k/dt, so contributions add up to F(x) − F(x′).
The same holds for each part of the path, so the error of the numerical integration is known, and
the parts in which it is not small (where a ReLU switches) are halved.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from deltaprop.derivation import equations
from deltaprop.model import Model

if TYPE_CHECKING:
    from jaxtyping import Float

PLACES, SHARES = np.polynomial.legendre.leggauss(8)
ROUNDS = 18  # in which parts of the path are halved
ROOM = 2_000_000  # numbers in all X_l of a pass: tens of megabytes


class Integrated(NamedTuple):
    """Contributions of groups of inputs to some outputs.

    Attributes
    ----------
    values : array (N, C, K)
    predicted, base : arrays (N, K)
        The outputs at the rows and at their baselines.
    """

    values: Float[np.ndarray, "N C K"]
    predicted: Float[np.ndarray, "N K"]
    base: Float[np.ndarray, "N K"]

    @property
    def error(self) -> float:
        """The largest difference between a sum of contributions and what it should be."""
        differences = self.values.sum(axis=1) - (self.predicted - self.base)
        return float(np.abs(differences).max(initial=0.0))


def integrated_gradients(
    net: Model,
    X: Float[np.ndarray, "N D"],
    baseline: Float[np.ndarray, "N D"],
    groups: Any,
    outputs: Sequence[int],
    tol: float,
) -> Integrated:
    """Contributions of groups of inputs to outputs of a network, each row with its own baseline.

    Parameters
    ----------
    net : Model
    X, baseline : arrays (N, D)
    groups : sparse matrix or array (D, C)
        1 where an input belongs to a group.
    outputs : sequence of int
        The indices of the outputs.
    tol : float
        The contributions add up to F(x) − F(x′) up to this share of the largest |F|. The path is
        halved at most 18 times.

    Examples
    --------
    >>> import numpy as np
    >>> import deltaprop as dp
    >>> net = dp.Network(2, [dp.Dense(1)], loss="squared_error", seed=0)
    >>> net.theta = [2.0, -1.0, 0.5]
    >>> found = integrated_gradients(
    ...     net, np.array([[1.0, 3.0]]), np.zeros((1, 2)), np.eye(2), [0], tol=1e-6
    ... )
    >>> found.values[0, :, 0].round(9)  # w_j x_j
    array([ 2., -3.])
    """
    path = _Path(net, X, baseline, outputs, groups)
    predicted, base = path.at(np.ones(len(X))), path.at(np.zeros(len(X)))
    largest = np.maximum(np.abs(predicted).max(axis=0), np.abs(base).max(axis=0))
    values, spent = np.zeros((len(X), groups.shape[1], len(outputs))), np.zeros_like(base)
    rows, low, width = np.arange(len(X)), np.zeros(len(X)), 1.0
    for turn in range(ROUNDS):
        found, errors = path.parts(rows, low, width)
        due = spent.copy()
        np.add.at(due, rows, errors)
        share = 2 * ROUNDS * np.bincount(rows, minlength=len(X))[rows, None]
        small = (errors <= tol * largest / share).all(axis=1)
        fine = small | (due <= tol * largest).all(axis=1)[rows] | (turn == ROUNDS - 1)
        np.add.at(values, rows[fine], found[fine])
        np.add.at(spent, rows[fine], errors[fine])
        width /= 2
        rows, low = rows[~fine], low[~fine]
        rows, low = np.concatenate([rows, rows]), np.concatenate([low, low + width])
        if not len(rows):
            break
    return Integrated(values, predicted, base)


class _Path:
    """The straight paths from baselines to rows, and a network along them, in float64."""

    def __init__(
        self,
        net: Model,
        X: Float[np.ndarray, "N D"],
        baseline: Float[np.ndarray, "N D"],
        outputs: Sequence[int],
        groups: Any,
    ) -> None:
        W, self._f = equations.in_effect(net.W, net.f, net.vectors)
        self._W = [W_l.astype(np.float64) for W_l in W]
        self._b = [b_l.astype(np.float64) for b_l in net.b]
        self._start = baseline.astype(np.float64)
        self._difference = X - self._start
        self._outputs, self._groups = list(outputs), groups

    def at(self, t: Float[np.ndarray, " n"], rows: Any = slice(None)) -> Float[np.ndarray, "n K"]:
        """The outputs at x′ + t (x − x′)."""
        start, difference = self._start[rows], self._difference[rows]
        found = []
        for block in self._blocks(len(start), 1):
            X = start[block] + t[block, None] * difference[block]
            found.append(equations.forward(X, self._W, self._b, self._f)[0][-1][:, self._outputs])
        return np.concatenate(found)

    def parts(
        self, rows: np.ndarray, low: Float[np.ndarray, " n"], width: float
    ) -> tuple[Float[np.ndarray, "n C K"], Float[np.ndarray, "n K"]]:
        """The contributions from each `low` to `low` + `width`, and the errors of their sums."""
        blocks = self._blocks(len(rows), len(PLACES))
        found = np.concatenate([self._parts(rows[at], low[at], width) for at in blocks])
        ends = self.at(low + width, rows) - self.at(low, rows)
        return found, np.abs(found.sum(axis=1) - ends)

    def _blocks(self, n: int, points: int) -> list[slice]:
        """n paths in blocks, of whose points all X_l together have at most ROOM numbers."""
        width = self._start.shape[1] + sum(len(b_l) for b_l in self._b)
        size = max(1, ROOM // (points * width))
        return [slice(i, i + size) for i in range(0, max(n, 1), size)]

    def _parts(
        self, rows: np.ndarray, low: Float[np.ndarray, " n"], width: float
    ) -> Float[np.ndarray, "n C K"]:
        difference = self._difference[rows]
        t = low + width * (PLACES[:, None] + 1) / 2
        points = self._start[rows] + t[:, :, None] * difference
        X, a = equations.forward(points.reshape(-1, points.shape[2]), self._W, self._b, self._f)
        found = []
        for k in self._outputs:
            gradients = self._gradient(X, a, k).reshape(points.shape)
            mean = np.tensordot(SHARES * width / 2, gradients, axes=1)
            found.append((difference * mean) @ self._groups)
        return np.stack(found, axis=2)

    def _gradient(self, X: list[Any], a: list[Any], k: int) -> Float[np.ndarray, "N D"]:
        """∂F_k/∂X_0 = δ_0 W_0ᵀ for δ_{L-1} = f′_{L-1}(a_{L-1}) e_k."""
        one = np.zeros_like(X[-1])
        one[:, k] = 1.0
        last = self._f[-1].pull_back(a[-1], X[-1], one, np)
        delta = equations.error_signals(last, X, a, self._W, self._f)
        found: np.ndarray = delta[0] @ self._W[0].T
        return found
