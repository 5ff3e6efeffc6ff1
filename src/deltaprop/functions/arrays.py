"""What the derivation needs of an array library beyond the array API standard.

Every function of the derivation receives its namespace `xp` (NumPy, `jax.numpy`, any array API
namespace). The helpers here close four gaps: the comparison of complex arrays (the proofs
evaluate each function at a + ih), ``erf``, ``logsumexp``-like reductions without overflow, and
inverses of positive definite matrices.
"""

from __future__ import annotations

from types import ModuleType
from typing import TYPE_CHECKING, Any

Array = Any
"""Any array that speaks the array API: a NumPy or JAX array, or another library's."""

if TYPE_CHECKING:
    from jaxtyping import Shaped

    Values = Shaped[Array, "..."]


def namespace(array: Values) -> ModuleType:
    """The array library that `array` belongs to."""
    xp: ModuleType = array.__array_namespace__()
    return xp


def as_dtype(x: Values, dtype: Any) -> Values:
    """`x` in that dtype; the same array where it has it already."""
    return x if x.dtype == dtype else x.astype(dtype)


def real(x: Values, xp: ModuleType) -> Values:
    """Re x: what decides on which side of a kink a complex argument lies."""
    return xp.real(x) if xp.isdtype(x.dtype, "complex floating") else x


def where_positive(x: Values, then: Values, otherwise: Values, xp: ModuleType) -> Values:
    """`then` where Re x > 0, else `otherwise`."""
    return xp.where(real(x, xp) > 0, then, otherwise)


def absolute(x: Values, xp: ModuleType) -> Values:
    """|x| continued analytically to either side of 0 (``xp.abs`` would be a complex modulus)."""
    return where_positive(x, x, -x, xp)


def floored(x: Values, xp: ModuleType) -> Values:
    """x, but never below the smallest normal number: the argument of a logarithm or divisor."""
    tiny = xp.finfo(x.dtype).smallest_normal
    return xp.where(real(x, xp) < tiny, xp.asarray(tiny, dtype=x.dtype), x)


def erf(x: Values, xp: ModuleType) -> Values:
    """The error function, which the array API leaves out."""
    if xp.__name__.startswith("jax"):
        from jax.scipy.special import erf as jax_erf

        return jax_erf(x)
    import numpy as np
    from scipy.special import erf as scipy_erf

    return xp.asarray(scipy_erf(np.asarray(x)))


def inverse(M: Shaped[Array, "n n"], xp: ModuleType) -> Shaped[Array, "n n"]:
    """M⁻¹ of a symmetric, positive definite M; of numbers that are none, none."""
    if xp.__name__.startswith("jax"):  # whose general inverse takes long to compile
        from jax.scipy.linalg import solve_triangular

        root = solve_triangular(
            xp.linalg.cholesky(M), xp.eye(M.shape[0], dtype=M.dtype), lower=True
        )
        return root.T @ root
    found = xp.linalg.inv(M)
    return 0.5 * (found + found.T)


def log_sum_exp(a: Values, xp: ModuleType) -> Values:
    """log Σ_h exp(a_h) over the last axis, kept as an axis of length 1."""
    top = xp.max(real(a, xp), axis=-1, keepdims=True)
    return top + xp.log(xp.sum(xp.exp(a - top), axis=-1, keepdims=True))


def softplus(a: Values, xp: ModuleType) -> Values:
    """log(1 + exp(a)) without overflow: max(a, 0) + log1p(exp(-|a|))."""
    return where_positive(a, a, xp.zeros_like(a), xp) + xp.log1p(xp.exp(-absolute(a, xp)))


def expit(a: Values, xp: ModuleType) -> Values:
    """1 / (1 + exp(-a)) without overflow and with a full relative precision in both tails."""
    e = xp.exp(-absolute(a, xp))
    return where_positive(a, 1 / (1 + e), e / (1 + e), xp)
