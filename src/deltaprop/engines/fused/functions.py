"""Compile the one definition of each activation and loss into block functions with an address.

The functions of activations.py and losses.py (and the user's own) are plain Python over a
namespace `xp`. Here each is compiled for scalars of the working dtype: its number constants become
scalars of that dtype (a float64 constant would silently promote the whole loop), `xp` becomes
vector.namespace, and a loop over a block of rows is wrapped around it. The kernel calls these loops
by address, so that it is compiled once for all networks.
"""

from __future__ import annotations

import functools
from types import CellType, FunctionType
from typing import Any, NamedTuple

import numpy as np
from numba import carray, cfunc, njit, types  # type: ignore[attr-defined]

from deltaprop import _arrays
from deltaprop.activations import Activation
from deltaprop.engines.fused.lowlevel import float32_pointer, float64_pointer
from deltaprop.engines.fused.vector import namespace
from deltaprop.losses import Loss

FAST = {"contract", "nsz", "arcp", "reassoc"}
BLOCK = types.void(*[types.int64] * 5)
LOSS = types.void(*[types.int64] * 8)
ROW_LOSSES = ("gaussian_nll", "quantile", "focal")


class Compiled(NamedTuple):
    """Block functions of one network; `keep` holds what the addresses point into."""

    forward: np.ndarray
    pull_back: np.ndarray
    loss: int
    collapsed: bool
    keep: tuple[Any, ...]


def specialised(f: Any, dtype: str, seen: dict[Any, Any] | None = None) -> Any:
    """`f` for scalars: numbers retyped, helpers specialised in turn, jitted."""
    seen = {} if seen is None else seen
    if f in seen:
        return seen[f]
    xp, T = namespace(dtype), np.dtype(dtype).type
    if f is _arrays.real:
        return njit(lambda x, xp: x)
    if f is _arrays.floored:
        floored = xp.floored
        return njit(lambda x, xp: floored(x))
    if f is _arrays.erf:
        erf = xp.erf
        return njit(lambda x, xp: erf(x))

    def retyped(value: Any) -> Any:
        if isinstance(value, FunctionType):
            return specialised(value, dtype, seen)
        if isinstance(value, tuple):
            return tuple(retyped(item) for item in value)
        number = isinstance(value, (int, float, np.number)) and not isinstance(value, bool)
        return T(value) if number else value

    code = f.__code__
    constants = tuple(retyped(constant) for constant in code.co_consts)
    scope = {name: retyped(f.__globals__[name]) for name in code.co_names if name in f.__globals__}
    cells = tuple(CellType(retyped(cell.cell_contents)) for cell in f.__closure__ or ())
    twin = FunctionType(
        code.replace(co_consts=constants), {**f.__globals__, **scope}, f.__name__,
        f.__defaults__, cells,
    )  # fmt: skip
    seen[f] = njit(twin, fastmath=FAST)
    return seen[f]


@functools.lru_cache(maxsize=256)
def forward_block(activation: Activation, dtype: str) -> Any:
    """z = f(a) on a block."""
    if activation.name == "softmax":
        return _softmax(dtype)
    f, xp, pointer = specialised(activation.f, dtype), namespace(dtype), _pointer(dtype)

    @cfunc(BLOCK, fastmath=FAST)
    def block(a_at, z_at, g_at, N, H):  # type: ignore[no-untyped-def]
        a, z = carray(pointer(a_at), N * H), carray(pointer(z_at), N * H)
        for i in range(N * H):
            z[i] = f(a[i], xp)

    return block


@functools.lru_cache(maxsize=256)
def pull_back_block(activation: Activation, dtype: str) -> Any:
    """g ← f′(a) ⊙ g on a block."""
    if activation.name == "softmax":
        return _softmax_pull_back(dtype)
    df, xp, pointer = specialised(activation.df, dtype), namespace(dtype), _pointer(dtype)

    @cfunc(BLOCK, fastmath=FAST)
    def block(a_at, z_at, g_at, N, H):  # type: ignore[no-untyped-def]
        a, z = carray(pointer(a_at), N * H), carray(pointer(z_at), N * H)
        g = carray(pointer(g_at), N * H)
        for i in range(N * H):
            g[i] *= df(a[i], z[i], xp)

    return block


@functools.lru_cache(maxsize=256)
def loss_block(loss: Loss, activation: str, dtype: str) -> tuple[Any, bool]:
    """Each row's loss and ∂loss/∂a (collapsed form, True) or ∂loss/∂ŷ (False) on a block."""
    if loss.name == "cross_entropy" and activation == "softmax":
        return _softmax_cross_entropy(dtype), True
    closed = loss.closed_form(activation)
    pointer, T, xp = _pointer(dtype), np.dtype(dtype).type, namespace(dtype)
    zero = T(0)
    arguments = "t, a, z" if closed else "t, z"
    value, slope = closed if closed else (loss.value, loss.d)
    value = _bound(value, arguments, loss, dtype)
    slope = _bound(slope, arguments, loss, dtype)
    if closed:

        @cfunc(LOSS, fastmath=FAST)
        def block(t_at, a_at, z_at, d_at, rows_at, N, K, H):  # type: ignore[no-untyped-def]
            t, a = carray(pointer(t_at), (N, H)), carray(pointer(a_at), (N, H))
            z, d = carray(pointer(z_at), (N, H)), carray(pointer(d_at), (N, H))
            rows = carray(pointer(rows_at), N)
            for n in range(N):
                total = zero
                for h in range(H):
                    total += value(t[n, h], a[n, h], z[n, h], xp)
                    d[n, h] = slope(t[n, h], a[n, h], z[n, h], xp)
                rows[n] = total

    else:

        @cfunc(LOSS, fastmath=FAST)
        def block(t_at, a_at, z_at, d_at, rows_at, N, K, H):  # type: ignore[no-untyped-def]
            t, z = carray(pointer(t_at), (N, H)), carray(pointer(z_at), (N, H))
            d, rows = carray(pointer(d_at), (N, H)), carray(pointer(rows_at), N)
            for n in range(N):
                total = zero
                for h in range(H):
                    total += value(t[n, h], z[n, h], xp)
                    d[n, h] = slope(t[n, h], z[n, h], xp)
                rows[n] = total

    return block, closed is not None


def compiled(activations: tuple[Activation, ...], loss: Loss, dtype: str) -> Compiled:
    """All block functions of a network."""
    forward = [forward_block(f, dtype) for f in activations]
    pull_back = [pull_back_block(f, dtype) for f in activations]
    block, collapsed = loss_block(loss, activations[-1].name, dtype)
    return Compiled(
        np.array([f.address for f in forward], np.int64),
        np.array([f.address for f in pull_back], np.int64),
        block.address,
        collapsed,
        (forward, pull_back, block),
    )


def _bound(function: Any, arguments: str, loss: Loss, dtype: str) -> Any:
    """`function` with the loss's parameters filled in."""
    T = np.dtype(dtype).type

    def retyped(value: Any) -> Any:
        if isinstance(value, tuple):
            return tuple(T(item) for item in value)
        return value if value is None else T(value)

    names = {f"_{k}": retyped(v) for k, v in loss.settings.items()}
    filled = "".join(f", {k}=_{k}" for k in loss.settings)
    scope: dict[str, Any] = {"function": specialised(function, dtype), **names}
    exec(  # parameters by keyword, which a compiled function takes only when spelt out
        f"def bound({arguments}, xp):\n    return function({arguments}, xp{filled})", scope
    )
    return njit(scope["bound"], fastmath=FAST)


def _pointer(dtype: str) -> Any:
    return float32_pointer if dtype == "float32" else float64_pointer


@functools.cache
def _softmax(dtype: str) -> Any:
    exp, pointer, T = namespace(dtype).exp, _pointer(dtype), np.dtype(dtype).type
    zero = T(0)

    @cfunc(BLOCK, fastmath=FAST)
    def block(a_at, z_at, g_at, N, H):  # type: ignore[no-untyped-def]
        a, z = carray(pointer(a_at), (N, H)), carray(pointer(z_at), (N, H))
        for n in range(N):
            top = a[n, 0]
            for h in range(1, H):
                top = max(top, a[n, h])
            for h in range(H):
                z[n, h] = exp(a[n, h] - top)
            total = zero
            for h in range(H):
                total += z[n, h]
            for h in range(H):
                z[n, h] /= total

    return block


@functools.cache
def _softmax_pull_back(dtype: str) -> Any:
    pointer, zero = _pointer(dtype), np.dtype(dtype).type(0)

    @cfunc(BLOCK, fastmath=FAST)
    def block(a_at, z_at, g_at, N, H):  # type: ignore[no-untyped-def]
        z, g = carray(pointer(z_at), (N, H)), carray(pointer(g_at), (N, H))
        for n in range(N):
            inner = zero
            for h in range(H):
                inner += g[n, h] * z[n, h]
            for h in range(H):
                g[n, h] = z[n, h] * (g[n, h] - inner)

    return block


@functools.cache
def _softmax_cross_entropy(dtype: str) -> Any:
    xp, pointer, zero = namespace(dtype), _pointer(dtype), np.dtype(dtype).type(0)
    exp, log = xp.exp, xp.log

    @cfunc(LOSS, fastmath=FAST)
    def block(t_at, a_at, z_at, d_at, rows_at, N, K, H):  # type: ignore[no-untyped-def]
        t, a = carray(pointer(t_at), (N, H)), carray(pointer(a_at), (N, H))
        z, d = carray(pointer(z_at), (N, H)), carray(pointer(d_at), (N, H))
        rows = carray(pointer(rows_at), N)
        for n in range(N):
            top, mass, dot, total = a[n, 0], zero, zero, zero
            for h in range(1, H):
                top = max(top, a[n, h])
            for h in range(H):
                total += exp(a[n, h] - top)
                mass += t[n, h]
            for h in range(H):
                dot += t[n, h] * (a[n, h] - top)
                d[n, h] = z[n, h] * mass - t[n, h]
            rows[n] = mass * log(total) - dot

    return block
