"""The noise of functions/noise.py, compiled: a vector has one number of each of several blocks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numba import int32, types, uint32

from deltaprop.engines.fused.blocks import inlined, specialised
from deltaprop.engines.fused.lowlevel import plain, vector
from deltaprop.engines.fused.vector import Format, bits_of
from deltaprop.functions import noise
from deltaprop.functions.noise import CHUNK, LANES

# Numba computes with integers of 64 bits unless it is told not to.
REPLACED = {
    noise.added: inlined(lambda x, y: uint32(x + y)),
    noise.rotated: inlined(lambda x, n: uint32((uint32(x) << n) | (uint32(x) >> uint32(32 - n)))),
}
quarter_round = specialised(noise.quarter_round, "uint32", REPLACED)
# How many terms of the series of log, sine and cosine are needed, by dtype.
TERMS = {"float32": (8, 6, 6), "float64": (17, 10, 10)}


def noise_block(dtype: str) -> Any:
    """A compiled function that computes a chunk of standard normal numbers."""
    one, word, pair = np.dtype(dtype).type(1), np.uint32(1), normals(dtype)
    k0, k1, k2, k3 = map(np.uint32, noise.CONSTANTS)

    @plain((types.int64, types.int64, types.int64, types.int64))
    def draw(key_at, step, chunk, out_at):
        key, out, first = vector(word, key_at, 8), vector(one, out_at, CHUNK), chunk * LANES
        start = (
            k0, k1, k2, k3, key[0], key[1], key[2], key[3], key[4], key[5], key[6], key[7],
        )  # fmt: skip
        end = (uint32(first >> 32), uint32(step), uint32(step >> 32))
        first = uint32(first)
        for i in range(LANES):
            # The lower half of the counter does not overflow, because LANES is a power of two.
            bits = _block((*start, uint32(first + uint32(i)), *end))
            b0, b1, b2, b3, b4, b5, b6, b7, b8, b9, b10, b11, b12, b13, b14, b15 = bits
            out[i], out[LANES + i] = pair(b0, b1, b2, b3)
            out[2 * LANES + i], out[3 * LANES + i] = pair(b4, b5, b6, b7)
            out[4 * LANES + i], out[5 * LANES + i] = pair(b8, b9, b10, b11)
            out[6 * LANES + i], out[7 * LANES + i] = pair(b12, b13, b14, b15)

    return draw


# ---------------------------------------------------------------- ChaCha


@inlined
def _block(x):
    """A block. There is no loop over the rounds, because LLVM vectorizes only innermost loops."""
    y = _two_rounds(_two_rounds(_two_rounds(_two_rounds(_two_rounds(_two_rounds(x))))))
    x0, x1, x2, x3, x4, x5, x6, x7, x8, x9, x10, x11, x12, x13, x14, x15 = x
    y0, y1, y2, y3, y4, y5, y6, y7, y8, y9, y10, y11, y12, y13, y14, y15 = y
    return (
        uint32(x0 + y0), uint32(x1 + y1), uint32(x2 + y2), uint32(x3 + y3),
        uint32(x4 + y4), uint32(x5 + y5), uint32(x6 + y6), uint32(x7 + y7),
        uint32(x8 + y8), uint32(x9 + y9), uint32(x10 + y10), uint32(x11 + y11),
        uint32(x12 + y12), uint32(x13 + y13), uint32(x14 + y14), uint32(x15 + y15),
    )  # fmt: skip


@inlined
def _two_rounds(x):
    x0, x1, x2, x3, x4, x5, x6, x7, x8, x9, x10, x11, x12, x13, x14, x15 = x
    x0, x4, x8, x12 = quarter_round(x0, x4, x8, x12)
    x1, x5, x9, x13 = quarter_round(x1, x5, x9, x13)
    x2, x6, x10, x14 = quarter_round(x2, x6, x10, x14)
    x3, x7, x11, x15 = quarter_round(x3, x7, x11, x15)
    x0, x5, x10, x15 = quarter_round(x0, x5, x10, x15)
    x1, x6, x11, x12 = quarter_round(x1, x6, x11, x12)
    x2, x7, x8, x13 = quarter_round(x2, x7, x8, x13)
    x3, x4, x9, x14 = quarter_round(x3, x4, x9, x14)
    return x0, x1, x2, x3, x4, x5, x6, x7, x8, x9, x10, x11, x12, x13, x14, x15


# ---------------------------------------------------------------- Box and Muller


def normals(dtype: str) -> Any:
    """`normals` of functions/noise.py for scalars, within a few units in the last place."""
    F, (of_log, of_sine, of_cosine) = Format(dtype), TERMS[dtype]
    T, minus_log = F.T, _minus_log(F, of_log)
    sine = _series([(-1) ** i / math.factorial(2 * i + 1) for i in range(of_sine)], T)
    cosine = _series([(-1) ** i / math.factorial(2 * i) for i in range(of_cosine)], T)
    half, two, scale, eighth = F.numbers(0.5, 2, 2.0**-32, math.pi / 4 * 2.0**-29)
    low_31, low_29, zero = uint32(0x7FFFFFFF), uint32(0x1FFFFFFF), uint32(0)
    swaps, negates_y, negates_x = uint32(1 << 29), uint32(1 << 30), uint32(1 << 31)

    @inlined
    def fraction(high, low):
        return T(int32(high)) + (T(low) + half) * scale

    @inlined
    def normals(u, u_low, v, v_low):
        distance = fraction(u & low_31, u_low) * scale
        radius = T(math.sqrt(two * minus_log(distance, u > low_31)))
        angle = fraction(v & low_29, v_low) * eighth
        square = angle * angle
        x, y = radius * cosine(square), radius * (angle * sine(square))
        x, y = y if v & swaps != zero else x, x if v & swaps != zero else y
        return -x if v & negates_x != zero else x, -y if v & negates_y != zero else y

    return normals


def _minus_log(F: Format, terms: int) -> Any:
    """-log U, where U has the given distance of at most ½ from 0, or from 1.

    U = (1 - x) / 2^k with 0 <= x <= ½, and -log(1 - x) = s (2 + 2 s² / 3 + …) with s = x / (2 - x).
    No difference of numbers close to each other loses digits.
    """
    T, I, of_bits, shift = F.T, F.I, F.of_bits, F.shift
    zero, one, two, ln2 = F.numbers(0, 1, 2, math.log(2))
    fraction, of_half, exponent = I((1 << shift) - 1), I(F.bits(0.5)), I(F.bias - 1)
    series = _series([2 / (2 * i + 1) for i in range(terms)], T)

    @inlined
    def minus_log(distance, to_one):
        bits = bits_of(distance)
        k = T(int32(exponent - I(bits >> shift)))
        x = one - of_bits(I((bits & fraction) | of_half))
        x, k = distance if to_one else x, zero if to_one else k
        s = x / (two - x)
        return k * ln2 + s * series(s * s)

    return minus_log


def _series(coefficients: Sequence[float], T: Any) -> Any:
    """The polynomial with these coefficients, from the constant term upwards."""
    scope = {f"c{i}": T(c) for i, c in enumerate(coefficients)}
    terms = " + x * (".join(scope) + ")" * (len(coefficients) - 1)
    return inlined(eval(f"lambda x: {terms}", scope))
