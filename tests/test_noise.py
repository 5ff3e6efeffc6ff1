"""The noise of private training: its cipher, its distribution, and the compiled code."""

import ctypes
import functools
from itertools import pairwise

import numpy as np
import pytest
from scipy.stats import chi2, kstest, norm

import deltaprop as dp
from deltaprop.functions import noise
from deltaprop.functions.noise import CHUNK, blocks, gaussian, key

DTYPES = ["float32", "float64"]
M = 3_000_000  # numbers whose distribution is tested
SEED = 2**127 + 12_345


def as_bytes(words):
    return words.astype("<u4").tobytes().hex()


@functools.cache
def numbers(seed=SEED, step=7):
    return gaussian(seed, step, 1.0, M, np.dtype("float64"))


# ---------------------------------------------------------------- bits


def test_blocks_are_those_of_the_standard():
    """RFC 8439, section 2.3.2: 20 rounds. Its counter and nonce have other lengths than ours."""
    of_rfc = key(int.from_bytes(range(32), "little"))
    block = blocks(of_rfc, 0x4A000000, 1 + (0x09000000 << 32), 1, rounds=10)
    assert as_bytes(block[:, 0]) == (
        "10f1e7e4d13b5915500fdd1fa32071c4c7d1f4c733c068030422aa9ac3d46c4e"
        "d2826446079faa0914c2d705d98b02a2b5129cd1de164eb9cbd083e8a2503c4e"
    )


def test_blocks_of_twelve_rounds():
    """Strombergson's test vectors of ChaCha12 for a key and a nonce of zeros."""
    assert as_bytes(blocks(key(0), 0, 0, 1)[:, 0]) == (
        "9bf49a6a0755f953811fce125f2683d50429c3bb49e074147e0089a52eae155f"
        "0564f879d27ae3c02ce82834acfa8c793a629f2ca0de6919610be82f411326be"
    )


def test_no_bits_are_used_twice():
    """Over seeds, steps and positions, also those that differ in their upper halves only."""
    found = [
        blocks(key(seed), step, first, 50).T
        for seed in (0, 1, 2**64, 2**127)
        for step in (0, 1, 2**32, 2**40)
        for first in (0, 50, 2**32, 2**36)
    ]
    pairs = np.concatenate(found).reshape(-1, 2)
    assert len(np.unique(pairs, axis=0)) == len(pairs) == 4 * 4 * 4 * 50 * 8


# ---------------------------------------------------------------- the distribution


def test_moments_and_distribution():
    z = numbers()
    for power, expected in ((1, 0), (2, 1), (3, 0), (4, 3), (5, 0), (6, 15)):
        spread = np.sqrt(np.prod(np.arange(1.0, 2 * power, 2)) / M)  # E z²ᵖ = 1 · 3 · … · (2p - 1)
        assert abs(np.mean(z**power) - expected) < 5 * spread
    assert kstest(z, "norm").pvalue > 1e-4


def test_tails():
    z = numbers()
    for bound in (2.0, 3.0, 4.0, 4.5):
        for side in (1, -1):
            expected = M * norm.sf(bound)
            assert abs(np.sum(side * z > bound) - expected) < 5 * np.sqrt(expected) + 1
    assert 4.5 < abs(z).max() < 6.5


def test_neighbours_pairs_steps_and_seeds_are_independent():
    """Also the squares are: both numbers of a pair have the same radius."""
    z = numbers()
    others = [np.roll(z, shift) for shift in (1, noise.LANES, 2 * noise.LANES, CHUNK)]
    others += [numbers(step=8), numbers(step=7 + 2**32), numbers(seed=SEED + 1)]
    for other in others:
        for f in (lambda x: x, np.square, abs, np.sign):
            assert abs(np.corrcoef(f(z), f(other))[0, 1]) < 5 / np.sqrt(M)


def test_directions_of_pairs_are_uniform():
    pairs = numbers()[: M // CHUNK * CHUNK].reshape(-1, 4, 2, noise.LANES)
    angles = np.arctan2(pairs[:, :, 1], pairs[:, :, 0]).ravel()
    counts, _ = np.histogram(angles, 64, (-np.pi, np.pi))
    expected = len(angles) / 64
    assert chi2.sf(np.sum((counts - expected) ** 2) / expected, 63) > 1e-4


def test_the_noise_of_a_longer_theta_begins_with_that_of_a_shorter_one():
    whole = numbers()
    for size in (1, 50, CHUNK - 1, CHUNK, CHUNK + 1, noise.CHUNKS * CHUNK + 3):
        part = gaussian(SEED, 7, 1.0, size, np.dtype("float64"))
        np.testing.assert_array_equal(part, whole[:size])


# ---------------------------------------------------------------- extreme bits


EXTREME = np.array(
    [0, 1, 2**28, 2**29 - 1, 2**29, 2**30, 2**31 - 1, 2**31, 2**31 + 1, 2**32 - 1], np.uint32
)


def extreme_words():
    """All combinations of extreme values of four words."""
    return [words.ravel() for words in np.meshgrid(*4 * [EXTREME])]


def exact_normals(u, u_low, v, v_low):
    mpmath = pytest.importorskip("mpmath")
    with mpmath.workdps(40):
        below = (mpmath.mpf(int(u) % 2**31) + (mpmath.mpf(int(u_low)) + 0.5) / 2**32) / 2**32
        radius = mpmath.sqrt(-2 * mpmath.log(1 - below if u >= 2**31 else below))
        part = (mpmath.mpf(int(v) % 2**29) + (mpmath.mpf(int(v_low)) + 0.5) / 2**32) / 2**29
        x, y = (radius * f(part * mpmath.pi / 4) for f in (mpmath.cos, mpmath.sin))
        if v >> 29 & 1:
            x, y = y, x
        return float(-x if v >> 31 else x), float(-y if v >> 30 & 1 else y)


def test_numbers_from_extreme_bits():
    """Up to 9.4 standard deviations, and never 0: with all of their digits."""
    words = extreme_words()
    found = np.array(noise.normals(*words))
    expected = np.array([exact_normals(*each) for each in zip(*words, strict=True)]).T
    np.testing.assert_allclose(found, expected, rtol=1e-14)
    assert abs(found).max() > 9.4
    assert abs(found).min() > 0


@pytest.mark.parametrize("dtype", DTYPES)
def test_compiled_numbers_from_extreme_bits(dtype):
    numba = pytest.importorskip("numba")
    from deltaprop.engines.fused import normals

    pair, words = normals.normals(dtype), extreme_words()

    @numba.njit(error_model="numpy")
    def run(u, u_low, v, v_low, out):
        for i in range(len(u)):
            out[0, i], out[1, i] = pair(u[i], u_low[i], v[i], v_low[i])

    found = np.empty((2, len(words[0])), dtype)
    run(*words, found)
    np.testing.assert_allclose(found, noise.normals(*words), rtol=8 * np.finfo(dtype).eps)


# ---------------------------------------------------------------- compiled chunks


def compiled_chunk(seed, step, chunk, dtype):
    from deltaprop.engines.fused import objects, units

    kind = ctypes.CFUNCTYPE(ctypes.c_int32, *[ctypes.c_int64] * 6)
    draw = kind(objects.addresses(units.noise(dtype))["noise"])
    result, out, words = np.zeros(2, np.int64), np.empty(CHUNK, dtype), key(seed)
    at = result.ctypes.data
    draw(at, at + 8, words.ctypes.data, step, chunk, out.ctypes.data)
    return out


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("step", [0, 3, 2**32 + 1])
def test_compiled_chunks_are_those_of_the_reference(step, dtype):
    pytest.importorskip("numba")
    expected = gaussian(SEED, step, 1.0, 100 * CHUNK, np.dtype("float64"))
    for chunk in (0, 1, 64, 99):
        np.testing.assert_allclose(
            compiled_chunk(SEED, step, chunk, dtype),
            expected[chunk * CHUNK : (chunk + 1) * CHUNK],
            rtol=8 * np.finfo(dtype).eps,
        )


def test_a_compiled_chunk_beyond_four_billion_blocks():
    pytest.importorskip("numba")
    chunk = 2**32 // noise.LANES + 5
    expected = noise._chunks(key(SEED), 3, chunk, 1)
    np.testing.assert_allclose(compiled_chunk(SEED, 3, chunk, "float64"), expected, rtol=1e-14)


# ---------------------------------------------------------------- in the fused engine


def added(dtype, epochs=2, sizes=(100, 150, 40), **settings):
    """What is added to θ in each epoch, where gradients are too short to be seen."""
    net = dp.Network(sizes[0], [dp.Dense(H) for H in sizes[1:]], loss="squared_error", dtype=dtype,
                     seed=0)  # fmt: skip
    net.theta[...] = 0
    found = [net.theta.copy()]
    settings["callbacks"] = [lambda event: found.append(event.network.theta.copy())]
    dp.fit(net, np.ones((60, sizes[0])), np.ones((60, sizes[-1])), max_epochs=epochs, batch_size=60,
           solver=dp.SGD(1.0, momentum=0.0), privacy=dp.Privacy(1e15, 1e-15, SEED),
           **settings)  # fmt: skip
    return np.array([after - before for before, after in pairwise(found)])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n_threads", [1, 2, 3])
@pytest.mark.parametrize("reproducible", [False, True])
def test_threads_add_the_noise_of_the_reference_engine(dtype, n_threads, reproducible):
    """Pieces of W_l begin and end within chunks of noise."""
    found = added(dtype, engine="fused", n_threads=n_threads, reproducible=reproducible)
    size = found.shape[1]
    assert size > 20_000
    for step, of_step in enumerate(found):
        expected = gaussian(SEED, step, 1.0, size, np.dtype("float64"))
        tolerance = 1e-12 if dtype == "float64" else 2e-6  # θ is a sum of several steps' noise
        np.testing.assert_allclose(of_step, -expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("sizes", [(2, 3), (3, 70, 1), (16, 32, 1), (600, 1)])
def test_networks_of_any_size_get_the_noise_of_the_reference_engine(sizes):
    reference, fused = (added("float64", sizes=sizes, engine=e) for e in ("reference", "fused"))
    np.testing.assert_allclose(fused, reference, rtol=1e-12, atol=1e-12)
