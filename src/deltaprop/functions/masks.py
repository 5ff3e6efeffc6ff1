"""Random masks and signs computed from counters (seed, step, layer, row, unit).

They do not depend on the order in which rows are processed, so every engine gets the same bits.
"""

from __future__ import annotations

from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from deltaprop.functions.arrays import Array

if TYPE_CHECKING:
    from jaxtyping import Float, UInt32


def _mix(x: UInt32[Array, "..."]) -> UInt32[Array, "..."]:
    """A 32-bit integer hash with low bias ("lowbias32", Wellons 2018)."""
    x = x ^ (x >> np.uint32(16))
    x = x * np.uint32(0x7FEB352D)
    x = x ^ (x >> np.uint32(15))
    x = x * np.uint32(0x846CA68B)
    return x ^ (x >> np.uint32(16))


def dropout_mask(
    seed: Any, step: Any, layer: int, N: int, H: int, p: float, dtype: np.dtype
) -> Float[np.ndarray, "N H"]:
    """0 with probability p and 1 / (1 - p) otherwise, for the N rows of a batch and H units."""
    rows = np.arange(N, dtype=np.uint32)
    mask: np.ndarray = mask_of_rows(seed, step, layer, rows, H, p, dtype, np)
    return mask


def mask_of_rows(
    seed: Any,
    step: Any,
    layer: int,
    rows: UInt32[Array, " N"],
    H: int,
    p: Any,
    dtype: np.dtype,
    xp: ModuleType,
) -> Float[Array, "N H"]:
    """The dropout mask of the rows at these positions of a batch, in any array namespace."""
    key = _mix(xp.asarray([seed & 0xFFFFFFFF], dtype=xp.uint32))
    for counter in (step & 0xFFFFFFFF, layer):
        key = _mix(key ^ xp.asarray(counter, dtype=xp.uint32))
    bits = _mix(_mix(key ^ rows)[:, None] ^ keys_of_units(H, xp))
    keep = bits >= xp.asarray(xp.minimum(p * 2.0**32, 2.0**32 - 1), dtype=xp.uint32)
    return xp.astype(keep, dtype) / xp.asarray(1 - p, dtype=dtype)


def keys_of_units(H: int, xp: ModuleType) -> UInt32[Array, " H"]:
    """The part of the hash that depends on the unit alone."""
    return _mix(xp.arange(H, dtype=xp.uint32) + np.uint32(0x9E3779B9))


def signs_of_rows(
    seed: Any,
    step: Any,
    layer: int,
    rows: UInt32[Array, " N"],
    H: int,
    dtype: np.dtype,
    xp: ModuleType,
) -> Float[Array, "N H"]:
    """±1 for the rows at these positions of a batch. `layer` must not have a dropout mask."""
    return mask_of_rows(seed, step, layer, rows, H, 0.5, dtype, xp) - 1
