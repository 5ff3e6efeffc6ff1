"""The network and the data that a verification works on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from deltaprop.derivation import equations
from deltaprop.functions.arrays import Array

if TYPE_CHECKING:
    from jaxtyping import Float

    from deltaprop.model import Model

MAX_ROWS = 100  # evenly spaced rows of the data
MAX_ENTRIES = 2000  # of a W_l that are perturbed


@dataclass(frozen=True)
class Setting:
    """A network, data and parameters in float64, and the pass that is verified.

    Of each W_l, at most `most_entries` entries are perturbed.
    """

    net: Model
    X0: Float[np.ndarray, "N D"]
    t: Float[np.ndarray, "N K"]
    weights: Any
    l2: float
    W: tuple[Float[np.ndarray, "D H"], ...]
    b: tuple[Float[np.ndarray, " H"], ...]
    vectors: equations.Vectors
    computed: equations.Pass
    most_entries: int = MAX_ENTRIES

    def losses_from(self, l: int, a_l: Array) -> Array:
        """Return the weighted loss of each sample if the sums of layer l are a_l."""
        return self.losses_of_output(l, a_l, self.outputs(l, a_l))

    def outputs(self, l: int, a_l: Array, alpha: Array | None = None) -> Array:
        """Return X_{l+1} if the sums of layer l are a_l; `alpha` replaces α_l."""
        f, alpha = self.net.f[l], self.vectors.alpha[l] if alpha is None else alpha
        f_of_a = f.f(a_l, np)
        return f_of_a if alpha is None else a_l + alpha * (f_of_a - a_l)

    def losses_of_output(self, l: int, a_l: Array, z: Array) -> Array:
        """Return the weighted loss of each sample if layer l has the sums a_l and the outputs z."""
        net = self.net
        for k in range(l + 1, net.n_layers):
            a_l = self.scaled(k, z) @ self.W[k] + self.b[k]
            z = self.outputs(k, a_l)
        losses = equations.sample_losses(self.t, a_l, z, net.f[-1], net.loss_function)
        return losses * np.squeeze(np.asarray(self.weights))

    def scaled(self, l: int, X_l: Array, r: Array | None = None) -> Array:
        """Return X_l ⊙ r_l, or X_l if layer l has no r_l; `r` replaces r_l."""
        r = self.vectors.r[l] if r is None else r
        return X_l if r is None else X_l * r


def setting_of(net: Model, X: Any, y: Any, sample_weight: Any) -> Setting:
    """Convert network, data and weights to float64, with at most `MAX_ROWS` rows."""
    X, t, weights, _ = net.prepare(X, y, sample_weight)
    N = X.shape[0]
    rows = np.unique(np.linspace(0, N - 1, min(N, MAX_ROWS)).round().astype(int))
    X0 = np.asarray((X.tocsr()[rows].toarray() if hasattr(X, "tocsr") else X[rows]), np.float64)
    w = None if sample_weight is None else np.asarray(sample_weight, np.float64)[rows]
    weights, l2 = net.scales(len(rows), w)
    t = t[rows].astype(np.float64)
    W = tuple(W_l.astype(np.float64) for W_l in net.W)
    b = tuple(b_l.astype(np.float64) for b_l in net.b)
    r, alpha = (
        tuple(None if v is None else v.astype(np.float64) for v in each) for each in net.vectors
    )
    vectors = equations.Vectors(r, alpha)
    computed = compute_pass(net, X0, t, W, b, l2, weights, vectors)
    return Setting(net, X0, t, weights, l2, W, b, vectors, computed)


def compute_pass(
    net: Model, X0: Any, t: Any, W: Any, b: Any, l2: float, weights: Any,
    vectors: equations.Vectors,
) -> equations.Pass:  # fmt: skip
    """Run the reference equations forward and backward, without floating-point warnings."""
    with np.errstate(all="ignore"):
        return equations.forward_backward(
            X0, t, W, b, net.f, net.loss_function, l2, weights, vectors=vectors
        )
