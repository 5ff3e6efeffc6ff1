"""exp, tanh, … on scalars, written so that loops over them become vector instructions.

`namespace(dtype)` is a module that stands in for ``numpy`` when the functions of activations.py and
losses.py are compiled: they receive it as `xp` and run on scalars of that dtype.
"""

from __future__ import annotations

import functools
import math
from types import ModuleType
from typing import Any

import numba as nb
import numpy as np
from numba import njit

from deltaprop.engines.fused.lowlevel import float32_of_bits, float64_of_bits

FAST = {"contract", "nsz", "arcp"}


def _exp32() -> Any:
    low, high = np.float32(-104.0), np.float32(88.72284)
    log2e, magic = np.float32(1.44269504), np.float32(12582912.0)
    ln2_head, ln2_tail = np.float32(0.693145752), np.float32(1.42860677e-6)
    c = [np.float32(x) for x in (
        1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1,
        5.0000001201e-1,
    )]  # fmt: skip
    c0, c1, c2, c3, c4, c5 = c
    one, infinity = np.float32(1), np.float32(np.inf)

    @njit(fastmath=FAST)
    def exp(given):  # type: ignore[no-untyped-def]
        x = nb.float32(given)
        y = min(max(x, low), high)
        n = (y * log2e + magic) - magic
        r = y - n * ln2_head - n * ln2_tail
        p = ((((c0 * r + c1) * r + c2) * r + c3) * r + c4) * r + c5
        p = p * r * r + r + one
        k = nb.int32(n)  # 2^k in two halves: k may lie outside the range of one exponent
        half = k >> 1
        scaled = p * float32_of_bits(nb.int32((half + 127) << 23))
        scaled = scaled * float32_of_bits(nb.int32((k - half + 127) << 23))
        return x if x != x else (infinity if x > high else scaled)

    return exp


def _exp64() -> Any:
    low, high = -746.0, 709.782712893384
    log2e, magic = 1.4426950408889634, 6755399441055744.0
    ln2_head, ln2_tail = 6.93147180369123816490e-01, 1.90821492927058770002e-10
    c = [1 / math.factorial(k) for k in range(13, 1, -1)]
    d13, d12, d11, d10, d9, d8, d7, d6, d5, d4, d3, d2 = c

    @njit(fastmath=FAST)
    def exp(x):  # type: ignore[no-untyped-def]
        y = min(max(x, low), high)
        n = (y * log2e + magic) - magic
        r = y - n * ln2_head - n * ln2_tail
        p = (((((d13 * r + d12) * r + d11) * r + d10) * r + d9) * r + d8) * r + d7
        p = ((((p * r + d6) * r + d5) * r + d4) * r + d3) * r + d2
        p = p * r * r + r + 1.0
        k = nb.int64(n)
        half = k >> 1
        scaled = p * float64_of_bits((half + 1023) << 52)
        scaled = scaled * float64_of_bits((k - half + 1023) << 52)
        return x if x != x else (math.inf if x > high else scaled)

    return exp


def _tanh(T: Any, exp: Any) -> Any:
    """Rational near 0 (Moshier's Cephes), 1 - 2 / (exp(2|x|) + 1) beyond 0.625."""
    zero, one, two, near, far = T(0), T(1), T(2), T(0.625), T(22)
    p = [T(x) for x in (-9.64399179425052238628e-1, -9.92877231001918586564e1,
                        -1.61468768441708447952e3)]  # fmt: skip
    q = [T(x) for x in (1.12811678491632931402e2, 2.23548839060100448583e3,
                        4.84406305325125486048e3)]  # fmt: skip
    p0, p1, p2 = p
    q0, q1, q2 = q

    @njit(fastmath=FAST)
    def tanh(given):  # type: ignore[no-untyped-def]
        x = T(given)
        size = min(abs(x), far)
        z = size * size
        small = size + size * z * (((p0 * z + p1) * z + p2) / (((z + q0) * z + q1) * z + q2))
        large = one - two / (exp(two * size) + one)
        value = small if size < near else large
        value = value if x >= zero else -value
        return x if x != x else value

    return tanh


@functools.cache
def namespace(dtype: str) -> ModuleType:
    """The stand-in for ``numpy`` on scalars of that dtype."""
    T: Any = np.dtype(dtype).type
    zero, one = T(0), T(1)
    exp = _exp32() if T is np.float32 else _exp64()
    tiny = T(np.finfo(T).smallest_normal)
    functions = {
        "exp": exp,
        "tanh": _tanh(T, exp),
        "log": njit(lambda x: T(math.log(x)) if x > zero else T(np.log(x))),
        "log1p": njit(lambda x: T(math.log1p(x))),
        "expm1": njit(lambda x: T(math.expm1(x))),
        "sqrt": njit(lambda x: T(math.sqrt(x))),
        "sin": njit(lambda x: T(math.sin(x))),
        "cos": njit(lambda x: T(math.cos(x))),
        "erf": njit(lambda x: T(math.erf(x))),
        "abs": njit(lambda x: abs(x)),
        "sign": njit(lambda x: one if x > zero else (-one if x < zero else x)),
        "where": njit(lambda condition, x, y: x if condition else y),
        "clip": njit(lambda x, low, high: min(max(x, low), high)),
        "maximum": njit(lambda x, y: max(x, y)),
        "minimum": njit(lambda x, y: min(x, y)),
        "zeros_like": njit(lambda x: zero),
        "ones_like": njit(lambda x: one),
        "full_like": njit(lambda x, value: T(value)),
        "floored": njit(lambda x: tiny if x < tiny else x),
    }
    module = ModuleType(f"deltaprop_vector_{dtype}")
    module.__dict__.update(functions)
    return module
