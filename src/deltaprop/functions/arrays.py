"""Array helpers that the array API standard does not have.

Every function of the derivation takes its namespace `xp` as an argument (NumPy, `jax.numpy` or any
other array API namespace). The helpers here add what the standard lacks: comparisons of complex
arrays (verification evaluates each function at a + ih), ``erf``, functions that neither overflow
nor divide by zero, and the inverse of a positive definite matrix.
"""

from __future__ import annotations

import math
from types import ModuleType
from typing import TYPE_CHECKING, Any

Array = Any
"""An array of any library that implements the array API, such as NumPy or JAX."""

if TYPE_CHECKING:
    from jaxtyping import Shaped

    Values = Shaped[Array, "..."]


def namespace(array: Values) -> ModuleType:
    """The array namespace that `array` belongs to."""
    xp: ModuleType = array.__array_namespace__()
    return xp


def as_dtype(x: Values, dtype: Any) -> Values:
    """`x` converted to `dtype`; `x` itself if it has that dtype already."""
    return x if x.dtype == dtype else x.astype(dtype)


def real(x: Values, xp: ModuleType) -> Values:
    """Re x, which decides on which side of a kink a complex argument lies."""
    return xp.real(x) if xp.isdtype(x.dtype, "complex floating") else x


def where_positive(x: Values, then: Values, otherwise: Values, xp: ModuleType) -> Values:
    """`then` where Re x > 0 and `otherwise` elsewhere."""
    return xp.where(real(x, xp) > 0, then, otherwise)


def absolute(x: Values, xp: ModuleType) -> Values:
    """|x|, continued analytically on either side of 0 (``xp.abs`` is the complex modulus)."""
    return where_positive(x, x, -x, xp)


def floored(x: Values, xp: ModuleType) -> Values:
    """max(x, the smallest normal number), so that a logarithm or quotient of it is finite."""
    tiny = xp.finfo(x.dtype).smallest_normal
    return xp.where(real(x, xp) < tiny, xp.asarray(tiny, dtype=x.dtype), x)


def erf(x: Values, xp: ModuleType) -> Values:
    """The error function."""
    if xp.__name__.startswith("jax"):
        from jax.scipy.special import erf as jax_erf

        return jax_erf(x)
    import numpy as np

    try:
        from scipy.special import erf as of_array
    except ModuleNotFoundError:  # which predictions do not need
        of_array = np.vectorize(math.erf, otypes=[x.dtype])
    return xp.asarray(of_array(np.asarray(x)))


def inverse(M: Shaped[Array, "n n"], xp: ModuleType) -> Shaped[Array, "n n"]:
    """M⁻¹ of a symmetric, positive definite M. If M contains NaN, so does the result."""
    if xp.__name__.startswith("jax"):  # JAX's general inverse takes long to compile
        from jax.scipy.linalg import solve_triangular

        root = solve_triangular(
            xp.linalg.cholesky(M), xp.eye(M.shape[0], dtype=M.dtype), lower=True
        )
        return root.T @ root
    if xp.__name__ == "numpy" and (found := _inverse_by_cholesky(M, xp)) is not None:
        return found
    M_inverse = xp.linalg.inv(M)
    return 0.5 * (M_inverse + M_inverse.T)


def _inverse_by_cholesky(M: Shaped[Array, "n n"], np: ModuleType) -> Shaped[Array, "n n"] | None:
    """M⁻¹ in half the time of a general inverse; None if M is not numerically positive definite."""
    from scipy.linalg import get_lapack_funcs

    factorize, invert = get_lapack_funcs(("potrf", "potri"), (M,))
    root, failed = factorize(M.T, lower=True)
    if failed:
        return None
    lower, _ = invert(root, lower=True, overwrite_c=True)
    lower = np.tril(lower)
    return lower + np.tril(lower, -1).T


def log_sum_exp(a: Values, xp: ModuleType) -> Values:
    """log Σ_h exp(a_h) over the last axis, which is kept with length 1."""
    top = xp.max(real(a, xp), axis=-1, keepdims=True)
    return top + xp.log(xp.sum(xp.exp(a - top), axis=-1, keepdims=True))


def softplus(a: Values, xp: ModuleType) -> Values:
    """log(1 + exp(a)) without overflow: max(a, 0) + log1p(exp(-|a|))."""
    return where_positive(a, a, xp.zeros_like(a), xp) + xp.log1p(xp.exp(-absolute(a, xp)))


def expit(a: Values, xp: ModuleType) -> Values:
    """1 / (1 + exp(-a)) without overflow and with full relative precision in both tails."""
    e = xp.exp(-absolute(a, xp))
    return where_positive(a, 1 / (1 + e), e / (1 + e), xp)


def power(base: Values, exponent: float, xp: ModuleType) -> Values:
    """base ** exponent for base >= 0; for a negative exponent, base is at least the machine ε."""
    if exponent < 0:
        eps = xp.finfo(base.dtype).eps
        base = where_positive(base - eps, base, xp.full_like(base, eps), xp)
    return base**exponent


def per_output(values: tuple[float, ...], yhat: Values, xp: ModuleType) -> Values:
    """values[h mod Q] for each of the H columns of `yhat`, (1, H); Q is the number of values."""
    return xp.asarray(values * (yhat.shape[-1] // len(values)), dtype=yhat.dtype)[None, :]
