"""Box and Muller's transformation of functions/noise.py as a compiled loop."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from deltaprop.engines.fused.blocks import specialised
from deltaprop.engines.fused.lowlevel import number, plain, vector
from deltaprop.engines.fused.vector import namespace
from deltaprop.functions import noise


def noise_block(dtype: str) -> Any:
    """A compiled function that turns uniform numbers into n numbers of noise."""
    one, xp = np.dtype(dtype).type(1), namespace("float64")
    item = one.itemsize
    normals = specialised(noise.normals, "float64")

    @plain((types.int64, types.int64, types.int64, types.float64))
    def block(uniform_at, out_at, n, deviation):
        pairs = (n + 1) // 2
        u, v = vector(1.0, uniform_at, pairs), vector(1.0, uniform_at + 8 * pairs, pairs)
        out, more = vector(one, out_at, pairs), vector(one, out_at + pairs * item, pairs)
        for i in range(n - pairs):
            x, y = normals(u[i], v[i], xp)
            out[i], more[i] = number(one, deviation * x), number(one, deviation * y)
        for i in range(n - pairs, pairs):  # the last one of an odd number
            out[i] = number(one, deviation * normals(u[i], v[i], xp)[0])

    return block
