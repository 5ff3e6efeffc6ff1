"""The Gaussian noise of private training, the same on every engine that draws it with NumPy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from jaxtyping import Float


def gaussian(
    seed: int | None, step: int, deviation: float, size: int, dtype: np.dtype
) -> Float[np.ndarray, " P"]:
    """The noise of one step, which depends on the seed and the number of the step alone."""
    random = np.random.default_rng([seed or 0, step])
    noise: np.ndarray = (deviation * random.standard_normal(size)).astype(dtype)
    return noise
