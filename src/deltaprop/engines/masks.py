"""Dropout masks from counters: the same bits in every engine, whatever the order of work."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from jaxtyping import Float, UInt32


def _mix(x: UInt32[np.ndarray, "..."]) -> UInt32[np.ndarray, "..."]:
    """A 32-bit finaliser with low bias ("lowbias32", Wellons 2018)."""
    x = x ^ (x >> np.uint32(16))
    x = x * np.uint32(0x7FEB352D)
    x = x ^ (x >> np.uint32(15))
    x = x * np.uint32(0x846CA68B)
    mixed: np.ndarray = x ^ (x >> np.uint32(16))
    return mixed


def dropout_mask(
    seed: int, step: int, layer: int, N: int, H: int, p: float, dtype: np.dtype
) -> Float[np.ndarray, "N H"]:
    """0 with probability p and 1 / (1 - p) otherwise, for N rows of a batch and H units."""
    key = _mix(np.array([seed & 0xFFFFFFFF], dtype=np.uint32))
    for counter in (step & 0xFFFFFFFF, layer):
        key = _mix(key ^ np.uint32(counter))
    rows = _mix(key ^ np.arange(N, dtype=np.uint32))
    bits = _mix(rows[:, None] ^ _mix(np.arange(H, dtype=np.uint32) + np.uint32(0x9E3779B9)))
    keep = bits >= np.uint32(min(p * 2**32, 2**32 - 1))
    mask: np.ndarray = keep.astype(dtype) / dtype.type(1 - p)
    return mask
