"""The Gaussian noise of private training, the same on the reference and the fused engine.

The bits come from ChaCha (Bernstein 2008), a stream cipher: its key is the seed, its nonce is the
number of the step, and its counter is a position in θ. Hence no bits are used twice, noise that
somebody sees does not reveal other noise, and threads can compute the noise of any part of θ. Box
and Muller's transformation (1958) turns 128 bits into two independent normal numbers. Neither has
branches, so that compiled code computes many numbers with one instruction.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from jaxtyping import Float, UInt32

LANES = 64  # blocks of ChaCha that are computed together
CHUNK = 8 * LANES  # consecutive numbers of noise that they give: a number needs two words of 16
CHUNKS = 64  # that NumPy computes together, so that they stay in the cache

# "expand 32-byte k" in ASCII: the words with which every block begins.
CONSTANTS = (0x61707865, 0x3320646E, 0x79622D32, 0x6B206574)
DOUBLE_ROUNDS = 6  # ChaCha12; no attack on 8 or more rounds is known


def gaussian(
    seed: int | None, step: int, deviation: float, size: int, dtype: np.dtype
) -> Float[np.ndarray, " P"]:
    """The noise of one step, which depends on the seed and the number of the step alone."""
    chunks, words = -(-size // CHUNK), key(seed)
    parts = [
        _chunks(words, step, first, min(CHUNKS, chunks - first))
        for first in range(0, chunks, CHUNKS)
    ]
    return (deviation * np.concatenate(parts)[:size]).astype(dtype)


def _chunks(
    words: UInt32[np.ndarray, "8"], step: int, first: int, n: int
) -> Float[np.ndarray, " M"]:
    """The numbers of n chunks of θ. The two numbers of a pair are LANES places apart."""
    bits = blocks(words, step, first * LANES, n * LANES).reshape(4, 4, n, LANES)
    pairs = normals(*bits.transpose(1, 0, 2, 3))
    return np.stack(pairs, axis=1).reshape(8, n, LANES).transpose(1, 0, 2).ravel()


def key(seed: int | None) -> UInt32[np.ndarray, "8"]:
    """The 8 words of ChaCha's key."""
    return np.frombuffer((seed or 0).to_bytes(32, "little"), "<u4").astype(np.uint32)


def blocks(
    words: UInt32[np.ndarray, "8"], step: int, first: int, n: int, rounds: int = DOUBLE_ROUNDS
) -> UInt32[np.ndarray, "16 n"]:
    """ChaCha's blocks number first … first + n - 1, one in each column."""
    counter = np.arange(first, first + n, dtype=np.uint64)
    start = np.empty((16, n), np.uint32)
    start[:12] = np.r_[np.array(CONSTANTS, np.uint32), words][:, None]
    start[12], start[13] = counter & 0xFFFFFFFF, counter >> 32
    start[14], start[15] = step & 0xFFFFFFFF, step >> 32
    a, b, c, d = (start[i : i + 4] for i in (0, 4, 8, 12))
    for _ in range(rounds):
        a, b, c, d = quarter_round(a, b, c, d)
        a, b, c, d = quarter_round(a, b[[1, 2, 3, 0]], c[[2, 3, 0, 1]], d[[3, 0, 1, 2]])
        b, c, d = b[[3, 0, 1, 2]], c[[2, 3, 0, 1]], d[[1, 2, 3, 0]]
    return np.concatenate([a, b, c, d]) + start


def quarter_round(a: Any, b: Any, c: Any, d: Any) -> tuple[Any, Any, Any, Any]:
    """ChaCha's quarter round."""
    a = added(a, b)
    d = rotated(d ^ a, 16)
    c = added(c, d)
    b = rotated(b ^ c, 12)
    a = added(a, b)
    d = rotated(d ^ a, 8)
    c = added(c, d)
    b = rotated(b ^ c, 7)
    return a, b, c, d


def added(x: Any, y: Any) -> Any:
    """x + y modulo 2³²."""
    return x + y


def rotated(x: Any, n: int) -> Any:
    """x with its 32 bits rotated to the left."""
    return (x << n) | (x >> (32 - n))


def normals(
    u: UInt32[np.ndarray, "..."], u_low: UInt32[np.ndarray, "..."],
    v: UInt32[np.ndarray, "..."], v_low: UInt32[np.ndarray, "..."],
) -> tuple[Float[np.ndarray, "..."], Float[np.ndarray, "..."]]:  # fmt: skip
    """√(-2 log U) times cos 2πV and sin 2πV, where U and V are uniform in (0, 1).

    U has 64 bits, and is computed from its distance to 0 or to 1, whichever is nearer. So the tails
    extend to 9.4 standard deviations. V is an octant and the distance from its edge, so that small
    numbers have all their digits as well.
    """
    distance = _fraction(u & 0x7FFFFFFF, u_low, 32)
    log = np.where(u >> 31 == 0, np.log(distance), np.log1p(-distance))
    angle = math.pi / 4 * _fraction(v & 0x1FFFFFFF, v_low, 29)
    x, y = np.sqrt(-2 * log) * (np.cos(angle), np.sin(angle))
    x, y = np.where(v >> 29 & 1, (y, x), (x, y))
    return np.where(v >> 31, -x, x), np.where(v >> 30 & 1, -y, y)


def _fraction(
    high: UInt32[np.ndarray, "..."], low: UInt32[np.ndarray, "..."], bits: int
) -> Float[np.ndarray, "..."]:
    """(high + (low + ½) / 2³²) / 2^bits, which is never 0."""
    return (high + (low + 0.5) * 2.0**-32) * 2.0**-bits
