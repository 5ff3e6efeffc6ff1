"""BLAS and LAPACK without Python's lock, on one thread per call.

SciPy's wrappers hold the global interpreter lock, so that two Python threads would take turns.
These functions call the same routines by the addresses that SciPy publishes for compiled code.
Matrices are symmetric or triangular NumPy arrays in C order. To Fortran they are their transposes,
so that its lower triangle is the upper triangle here.
"""

from __future__ import annotations

import ctypes
import functools
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from deltaprop.engines.fused.frame import address

if TYPE_CHECKING:
    from jaxtyping import Float

_lock = threading.Lock()
_users = 0
_limits: Any = None


@contextmanager
def on_one_thread() -> Iterator[None]:
    """Context in which NumPy's and SciPy's BLAS run on one thread.

    Their own threads keep waiting actively for some time after a product, and would then compete
    with the threads that share a step. The context may be entered by several threads.
    """
    global _users, _limits
    with _lock:
        _users += 1
        if _users == 1:
            _limits = _controller().limit(limits=1, user_api="blas")
    try:
        yield
    finally:
        with _lock:
            _users -= 1
            if _users == 0:
                _limits.restore_original_limits()


@functools.cache
def _controller() -> Any:
    import scipy.linalg  # noqa: F401  # loads its BLAS
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


def add_gram(
    C: Float[np.ndarray, "n n"], R: Float[np.ndarray, "N n"], alpha: float, beta: float
) -> None:
    """C ← alpha RᵀR + beta C, in the upper triangle of C only."""
    R = np.ascontiguousarray(R)
    n, N, T = C.shape[0], R.shape[0], _scalar(C.dtype)
    _routine("cython_blas", "syrk", C.dtype)(
        b"L", b"N", _int(n), _int(N), T(alpha), address(R), _int(n), T(beta), address(C), _int(n)
    )


def invert(M: Float[np.ndarray, "n n"]) -> bool:
    """M ← M⁻¹ by Cholesky's decomposition, in its upper triangle. Returns whether M has one."""
    n, info = M.shape[0], ctypes.c_int(0)
    for name in ("potrf", "potri"):
        _routine("cython_lapack", name, M.dtype)(
            b"L", _int(n), address(M), _int(n), ctypes.byref(info)
        )
        if info.value:
            return False
    return True


def mirror(M: Float[np.ndarray, "n n"]) -> None:
    """Copy the upper triangle of M to the lower one."""
    upper = np.triu(M, 1)
    M[...] = np.triu(M)
    M += upper.T


def _int(value: int) -> Any:
    return ctypes.byref(ctypes.c_int(value))


def _scalar(dtype: np.dtype) -> Any:
    T = ctypes.c_float if dtype == np.float32 else ctypes.c_double
    return lambda value: ctypes.byref(T(value))


@functools.cache
def _routine(module: str, name: str, dtype: np.dtype) -> Any:
    """A Fortran routine, all of whose arguments are addresses; a call releases the lock."""
    from scipy.linalg import cython_blas, cython_lapack

    routines = {"cython_blas": cython_blas, "cython_lapack": cython_lapack}[module].__pyx_capi__
    capsule = routines[("s" if dtype == np.float32 else "d") + name]
    api = ctypes.pythonapi
    api.PyCapsule_GetName.restype = ctypes.c_char_p
    api.PyCapsule_GetName.argtypes = [ctypes.py_object]
    api.PyCapsule_GetPointer.restype = ctypes.c_void_p
    api.PyCapsule_GetPointer.argtypes = [ctypes.py_object, ctypes.c_char_p]
    at = api.PyCapsule_GetPointer(capsule, api.PyCapsule_GetName(capsule))
    n_arguments = {"syrk": 10, "potrf": 5, "potri": 5}[name]
    return ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * n_arguments)(at)
