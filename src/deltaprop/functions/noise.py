"""The Gaussian noise of private training, the same on the reference and the fused engine.

Uniform numbers come from NumPy's generator, with a new seed for each step. Box and Muller's
transformation (1958) turns each pair of them into a pair of independent normal numbers. Unlike
NumPy's own method, which draws and rejects, it has no branches, so that compiled code computes
several pairs with one instruction.
"""

from __future__ import annotations

import math
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from jaxtyping import Float


def gaussian(
    seed: int | None, step: int, deviation: float, size: int, dtype: np.dtype
) -> Float[np.ndarray, " P"]:
    """The noise of one step, which depends on the seed and the number of the step alone."""
    pairs = -(-size // 2)
    u = uniform(seed, step, np.empty(2 * pairs))
    noise: np.ndarray = np.concatenate(normals(u[:pairs], u[pairs:], np))[:size]
    return (deviation * noise).astype(dtype)


def uniform(seed: int | None, step: int, out: Float[np.ndarray, " U"]) -> Float[np.ndarray, " U"]:
    """Fill `out` with the uniform numbers in [0, 1) of one step."""
    return np.random.default_rng([seed or 0, step]).random(out=out)


def normals(u: Any, v: Any, xp: ModuleType) -> tuple[Any, Any]:
    """√(-2 log(1 - u)) times cos 2h and sin 2h, with h = π (v - ½)."""
    radius = xp.sqrt(-2 * xp.log(1 - u))
    h = math.pi * (v - 0.5)
    square = h * h
    sine, cosine = h * _sine_over_h(square), _cosine(square)
    return radius * (1 - 2 * sine * sine), radius * (2 * sine * cosine)


def _sine_over_h(x: Any) -> Any:
    """The series of sin(h) / h in x = h². For |h| <= π/2 the rest is below 2e-16."""
    return (
        1 + x * (-1 / 6 + x * (1 / 120 + x * (-1 / 5040 + x * (1 / 362880 + x * (-1 / 39916800 +
        x * (1 / 6227020800 + x * (-1 / 1307674368000 + x * (1 / 355687428096000 + x * (-1 /
        121645100408832000)))))))))
    )  # fmt: skip


def _cosine(x: Any) -> Any:
    """The series of cos(h) in x = h². For |h| <= π/2 the rest is below 2e-17."""
    return (
        1 + x * (-1 / 2 + x * (1 / 24 + x * (-1 / 720 + x * (1 / 40320 + x * (-1 / 3628800 + x *
        (1 / 479001600 + x * (-1 / 87178291200 + x * (1 / 20922789888000 + x * (-1 /
        6402373705728000 + x * (1 / 2432902008176640000))))))))))
    )  # fmt: skip
