r"""The Fisher information of a network, one Kronecker product for each layer.

With x̃_n = (X_{l,n}, 1), whose last entry is the input of the bias, and δ̂_n = ∂/∂a_l of the loss of
sample n, the Fisher information of [W_l; b_l] is E_n E_y[(x̃ x̃ᵀ) ⊗ (δ̂ δ̂ᵀ)]. K-FAC averages the
two factors separately (Martens and Grosse 2015, arXiv:1503.05671):

    F_l ≈ A_l ⊗ G_l,   A_l = E_n[x̃ x̃ᵀ] ((D_l + 1)²),   G_l = E_n[δ̂ δ̂ᵀ] (H_l²)

y is drawn from the *model*. With the labels of the data instead, this would be the empirical
Fisher, which is a different matrix and vanishes if all samples are fitted exactly. No label has to
be drawn: with I = E_y[loss″(y, ŷ)], J = ∂ŷ/∂a_{L-1} and independent random signs ε = ±1,

    δ̂_{L-1} = Jᵀ (√I ⊙ ε)   has   E_ε[δ̂ δ̂ᵀ] = Jᵀ diag(I) J,

which is the Fisher information in a_{L-1}: for softmax with the cross-entropy, diag(ŷ) - ŷŷᵀ.
From there δ̂ is propagated back through the layers like every error signal, equation (1.9). With one
output the signs cancel in δ̂ δ̂ᵀ. With several outputs G_l is a random estimate with the right mean,
and its average over the steps approaches that mean.

Examples
--------
>>> import numpy as np
>>> from deltaprop import activations, equations, losses
>>> from deltaprop.derivation import fisher
>>> X0, W, b, f = np.array([[1.0], [3.0]]), [np.eye(1)], [np.zeros(1)], [activations.get("exp")]
>>> X, a = equations.forward(X0, W, b, f)
>>> poisson = losses.get("poisson")
>>> A, G = fisher.factors(X, a, W, f, poisson, np.array([[1.0], [-1.0]]), 0.5)
>>> A
array([[5., 2.],
       [2., 1.]])
>>> np.allclose(G, X[1].mean())  # a Poisson variable's variance is its mean
True
"""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np

from deltaprop.derivation.equations import Masks, error_signals
from deltaprop.errors import InputError
from deltaprop.functions.activations import Activation
from deltaprop.functions.arrays import Array, namespace
from deltaprop.functions.losses import Loss

if TYPE_CHECKING:
    from jaxtyping import Float

    from deltaprop.derivation.equations import Weights


def factors(
    X: Sequence[Array],
    a: Sequence[Array],
    W: Sequence[Float[Array, "D H"]],
    f: Sequence[Activation],
    function: Loss,
    signs: Float[Array, "N H"],
    shares: Weights,
    masks: Masks | None = None,
) -> tuple[Array, ...]:
    """(A_0, G_0, A_1, G_1, …) of a forward pass.

    Parameters
    ----------
    X, a, W, f, function, masks
        As in :mod:`deltaprop.derivation.equations`.
    signs : (N, H) array of ±1
        ε.
    shares : (N, 1) array or float
        The weight of each sample in the means; the weights add up to 1.
    """
    rows = weighted_rows(X, a, W, f, function, signs, shares, masks)
    return tuple(R.T @ R for R in rows)


def weighted_rows(
    X: Sequence[Array],
    a: Sequence[Array],
    W: Sequence[Float[Array, "D H"]],
    f: Sequence[Activation],
    function: Loss,
    signs: Float[Array, "N H"],
    shares: Weights,
    masks: Masks | None = None,
) -> list[Array]:
    """The roots of the shares times x̃ and δ̂ of each layer: R with RᵀR = A_0, G_0, A_1, …

    The parameters are those of :func:`factors`.
    """
    xp = namespace(signs)
    last = output_error(a[-1], X[-1], f[-1], function, signs)
    delta = error_signals(xp.astype(last, W[0].dtype), X, a, W, f, masks)
    roots = shares**0.5
    result: list[Array] = []
    for l in range(len(W)):
        inputs = X[l].toarray() if hasattr(X[l], "toarray") else X[l]  # A_l is dense
        x = xp.astype(inputs, signs.dtype)
        x = roots * xp.concat([x, xp.ones_like(x[:, :1])], axis=1)
        d = roots * xp.astype(delta[l], signs.dtype)
        result += [x, d]
    return result


def output_error(
    a_last: Float[Array, "N H"],
    yhat: Float[Array, "N H"],
    f_last: Activation,
    function: Loss,
    signs: Float[Array, "N H"],
) -> Float[Array, "N H"]:
    """δ̂_{L-1} = Jᵀ (√I ⊙ ε): equation (1.8) with √I ⊙ ε for loss′."""
    xp = namespace(signs)
    return f_last.pull_back(a_last, yhat, xp.sqrt(_information(yhat, function, xp)) * signs, xp)


def _information(yhat: Float[Array, "N H"], function: Loss, xp: ModuleType) -> Float[Array, "N H"]:
    """I where it is positive and finite, else 0. (Where I overflows, J is 0.)"""
    with np.errstate(all="ignore"):
        information = function.fisher(yhat, xp)
    valid = xp.isfinite(information) & (information > 0)
    return xp.where(valid, information, xp.zeros_like(information))


def require_information(function: Loss, f_last: Activation, H: int, dtype: np.dtype) -> None:
    """Raise ValueError for a loss whose second derivative gives no Fisher information."""
    if function.d2 is None and function.information is None:
        why = "it was given without d2, its second derivative. Give it, or use"
    else:
        a = np.linspace(-1, 1, 5, dtype=dtype)[:, None] * np.ones(H, dtype)
        if _information(f_last.f(a, np), function, np).any():
            return
        why = "its second derivative is nowhere positive, so that it has no Fisher information. Use"
    raise InputError(f"KFAC cannot train with the loss {function.name!r}: {why} dp.Adam().")
