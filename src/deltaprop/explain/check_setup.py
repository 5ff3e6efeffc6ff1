"""The network and the data that a verification works on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
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
            a_l = self.scaled(k, z) @ self.existing[k] + self.b[k]
            z = self.outputs(k, a_l)
        losses = equations.sample_losses(self.t, a_l, z, net.f[-1], net.loss_function)
        return losses * np.squeeze(np.asarray(self.weights))

    def scaled(self, l: int, X_l: Array, r: Array | None = None) -> Array:
        """Return X_l ⊙ r_l, or X_l if layer l has no r_l; `r` replaces r_l."""
        r = self.vectors.r[l] if r is None else r
        return X_l if r is None else X_l * r

    def losses_along(self, l: int, columns: np.ndarray, change: Array) -> Array:
        """Return the weighted loss of each sample if one column of a_l changes.

        Parameters
        ----------
        columns : ndarray (K,)
            The column that changes, in each of K cases that are computed together.
        change : ndarray (K, N)
            What is added to it.

        Returns
        -------
        ndarray (K, N)

        Notes
        -----
        If f_l works on each column by itself, only that column of X_{l+1} changes, and a_{l+1} by
        a product with one row of W_{l+1}: the cost does not depend on the size of layer l.
        """
        m, X, a = l + 1, self.computed.X, self.computed.a
        if m < self.net.n_layers and self.columns_apart[l]:
            z = self.net.f[l].f(a[l].T[columns] + change, np) - X[m].T[columns]
            V = self.scaled(m, self.existing[m].T).T[columns]
            l, a_l = m, a[m] + z[:, :, None] * V[:, None, :]
        else:
            a_l = np.tile(a[l].astype(np.result_type(a[l], change)), (len(columns), 1, 1))
            a_l[np.arange(len(columns)), :, columns] += change
        return (
            self._repeated(len(columns)).losses_from(l, np.concatenate(a_l)).reshape(change.shape)
        )

    def _repeated(self, K: int) -> Setting:
        """The setting with every sample K times, for `losses_from`."""
        weights = np.broadcast_to(np.squeeze(np.asarray(self.weights)), len(self.t))
        return replace(self, t=np.tile(self.t, (K, 1)), weights=np.tile(weights, K))

    @cached_property
    def existing(self) -> list[Float[np.ndarray, "D H"]]:
        """C_l ⊙ W_l, or W_l in layers without groups."""
        connected = self.vectors.connected
        return [
            W if C is None else np.where(C > 0, W, 0)
            for W, C in zip(self.W, connected, strict=True)
        ]

    @cached_property
    def columns_apart(self) -> list[bool]:
        """Whether each f_l gives a column the same values alone as among the others."""
        layers = zip(self.net.f, self.computed.a, self.vectors.alpha, strict=True)
        return [alpha is None and _is_columnwise(f.f, a) for f, a, alpha in layers]


def _is_columnwise(f: Callable[[Array, Any], Array], a: Float[np.ndarray, "N H"]) -> bool:
    with np.errstate(all="ignore"):
        alone = [f(a[:, [h]], np) for h in range(a.shape[1])]
        return np.allclose(np.hstack(alone), f(a, np), rtol=1e-14, atol=0, equal_nan=True)


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
    vectors = equations.Vectors(
        *(tuple(None if v is None else v.astype(np.float64) for v in each) for each in net.vectors)
    )
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
