"""The fused engine's matrix products against NumPy's, for all sizes and memory layouts."""

import ctypes
import functools
import mmap
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from .processes import run_with_registers

pytest.importorskip("numba")

from deltaprop.engines.fused import constants, units
from deltaprop.engines.fused.objects import addresses

DTYPES = ["float32", "float64"]
NO_ACCESS = 0  # PROT_NONE
ARGUMENTS = 2 + 12  # Numba's pointers for the result and the exception, then those of the product


@functools.cache
def entry(name, dtype):
    kind = ctypes.CFUNCTYPE(ctypes.c_int32, *[ctypes.c_int64] * ARGUMENTS)
    return kind(addresses(units.products(dtype))[name])


def address(array):
    return array.ctypes.data


def width(dtype):
    return constants.NV * constants.VECTOR_BYTES // np.dtype(dtype).itemsize


def in_panels(B):
    """Copy B into panels of shape (panels, K, W), padded with zeros."""
    W = width(B.dtype)
    padded = np.zeros((len(B), -(-B.shape[1] // W) * W), B.dtype)
    padded[:, : B.shape[1]] = B
    return np.ascontiguousarray(padded.reshape(len(B), -1, W).swapaxes(0, 1))


def product(A, B, C, *, transposed, more, panels, room=None):
    """Write A B to C, or add it, by the compiled product; A may be transposed."""
    name = "columns_times" if transposed else "rows_times"
    A = np.ascontiguousarray(A.T if transposed else A)
    (M, N), K, W = C.shape, len(B), width(B.dtype)
    if panels:
        B_at, b_k, b_panel = in_panels(B), W, K * W
    else:  # B is read in place; some processors read up to W − 1 numbers behind it
        B_at, b_k, b_panel = np.concatenate([B.ravel(), np.full(W, np.nan, B.dtype)]), N, W
    error = np.zeros(2, np.int64)
    entry(name, B.dtype.name)(
        address(error), address(error) + 8, address(A), A.shape[1], address(B_at), b_k, b_panel,
        address(C), C.shape[1], M, N, K, more, 0 if room is None else address(room),
    )  # fmt: skip


@settings(deadline=None, max_examples=150)
@given(
    st.tuples(st.integers(1, 40), st.integers(1, 70), st.integers(1, 40)),
    st.sampled_from(DTYPES), st.booleans(), st.booleans(), st.booleans(), st.booleans(),
)  # fmt: skip
def test_any_small_product(shape, dtype, transposed, more, panels, copied):
    check(shape, dtype, transposed, more, panels, copied)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("copied", [False, True])
def test_products_of_several_blocks(dtype, transposed, copied):
    """Several blocks of rows and of k, of which the last ones are incomplete."""
    M, K = 2 * constants.MC + 7, 2 * constants.KC + 5
    check((M, 3 * width(dtype) + 1, K), dtype, transposed, True, True, copied)


def check(shape, dtype, transposed, more, panels, copied):
    M, N, K = shape
    rng = np.random.RandomState(M * N + K)
    A, B = rng.randn(M, K).astype(dtype), rng.randn(K, N).astype(dtype)
    room = np.full(constants.ROOM, np.nan, dtype) if copied else None
    around = np.full(M * N + 100, 7, dtype)
    C = around[50:-50].reshape(M, N)
    product(A, B, C, transposed=transposed, more=more, panels=panels, room=room)
    expected = A.astype("float64") @ B.astype("float64") + (7 if more else 0)
    rounding = np.finfo(dtype).eps * (np.abs(A) @ np.abs(B) + 7) * (K + 2)
    assert (np.abs(C - expected) <= rounding).all()
    assert (around[:50] == 7).all()
    assert (around[-50:] == 7).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("transposed", [False, True])
def test_results_are_bit_equal_for_any_division_of_the_rows(dtype, transposed):
    rng = np.random.RandomState(0)
    A, B = rng.randn(3 * constants.MR + 5, 500).astype(dtype), rng.randn(500, 45).astype(dtype)
    whole = np.zeros((len(A), 45), dtype)
    product(A, B, whole, transposed=transposed, more=False, panels=True)
    for at in range(1, len(A)):
        parts = [np.zeros((n, 45), dtype) for n in (at, len(A) - at)]
        for part, rows in zip(parts, (A[:at], A[at:]), strict=True):
            product(rows, B, part, transposed=transposed, more=False, panels=True)
        np.testing.assert_array_equal(np.concatenate(parts), whole)


@pytest.mark.skipif(not constants.READS_IN_PLACE, reason="B is copied to padded panels")
@pytest.mark.skipif(sys.platform != "linux", reason="needs mprotect")
@pytest.mark.parametrize("dtype", DTYPES)
def test_no_memory_behind_B_is_read(dtype):
    """θ may end where the memory of the process ends: reading beyond that kills the process."""
    page, W, K = mmap.PAGESIZE, width(dtype), 2
    memory = np.frombuffer(mmap.mmap(-1, 2 * page), np.uint8)
    end, error = address(memory) + page, np.zeros(2, np.int64)
    assert ctypes.CDLL(None).mprotect(ctypes.c_void_p(end), page, NO_ACCESS) == 0
    for M in (1, 2, 4, constants.MR):
        for N in range(1, 2 * W + 2):
            B = memory[:page].view(dtype)[-K * N :].reshape(K, N)
            B[...] = np.arange(K * N).reshape(K, N)
            A, C = np.ones((M, K), dtype), np.zeros((M, N), dtype)
            entry("rows_times", dtype)(
                address(error), address(error) + 8, address(A), K, address(B), N, W,
                address(C), N, M, N, K, 0, 0,
            )  # fmt: skip
            assert (B.sum(axis=0) == C).all()


@pytest.mark.slow
@pytest.mark.parametrize("registers", [(64, 12, 2), (16, 6, 4), (16, 6, 2)])
def test_on_registers_of_other_processors(registers, tmp_path):
    """Results are correct on this machine even if the kernel assumes other registers."""
    run_with_registers(__file__, registers, tmp_path)
