"""The compiled units of a network, and the functions that they are called by."""

from __future__ import annotations

import ctypes
from typing import Any, NamedTuple

import numpy as np

from deltaprop.engines.fused.objects import Unit, addresses, ready
from deltaprop.network import Network

ENTRY = {
    dtype: ctypes.CFUNCTYPE(
        ctypes.c_int32, ctypes.c_void_p, ctypes.c_void_p, scalar, ctypes.c_int64, ctypes.c_int64
    )
    for dtype, scalar in (("float32", ctypes.c_float), ("float64", ctypes.c_double))
}


class Compiled(NamedTuple):
    """A network's compiled parts: entries to call, and addresses that the kernel calls."""

    run: Any
    predict: Any
    forward: np.ndarray
    pull_back: np.ndarray
    loss: int
    gather: int
    collapsed: bool


def kernel(dtype: str) -> Unit:
    def make() -> dict[str, Any]:
        from numba import types

        from deltaprop.engines.fused import kernel
        from deltaprop.engines.fused.lowlevel import plain

        signature = (getattr(types, dtype), types.int64, types.int64)
        return {
            name: plain(signature)(getattr(kernel, name).py_func) for name in ("run", "predict")
        }

    return Unit("kernel", (dtype,), make)


def activation(f: Any, dtype: str) -> Unit:
    def make() -> dict[str, Any]:
        from deltaprop.engines.fused import blocks

        return {
            "forward": blocks.forward_block(f, dtype),
            "pull_back": blocks.pull_back_block(f, dtype),
        }

    return Unit("activation", (f.name, f.f, f.df, dtype), make)


def loss(of: Any, output: str, dtype: str) -> Unit:
    def make() -> dict[str, Any]:
        from deltaprop.engines.fused import blocks

        return {"loss": blocks.loss_block(of, output, dtype)}

    closed = of.closed_form(output)
    functions = closed if closed else (of.value, of.d)
    return Unit("loss", (of.name, of.params, *functions, output if closed else "", dtype), make)


def gather(source: str, dtype: str) -> Unit:
    def make() -> dict[str, Any]:
        from deltaprop.engines.fused import blocks

        return {"gather": blocks.gather_block(source, dtype)}

    return Unit("gather", (source, dtype), make)


def of(net: Network, source: str) -> list[Unit]:
    """All units of a network whose rows come in that dtype."""
    dtype = net.dtype.name
    return [
        kernel(dtype), gather(source, dtype), loss(net.loss_function, net.f[-1].name, dtype),
        *{f: activation(f, dtype) for f in net.f}.values(),
    ]  # fmt: skip


def all_ready(net: Network, source: str) -> bool:
    """Whether nothing has to be compiled."""
    return all(ready(unit) for unit in of(net, source))


def compiled(net: Network, source: str) -> Compiled:
    """The parts, compiled where they must be."""
    dtype = net.dtype.name
    entries = addresses(kernel(dtype))
    blocks = [addresses(activation(f, dtype)) for f in net.f]
    return Compiled(
        ENTRY[dtype](entries["run"]),
        ENTRY[dtype](entries["predict"]),
        np.array([block["forward"] for block in blocks]),
        np.array([block["pull_back"] for block in blocks]),
        addresses(loss(net.loss_function, net.f[-1].name, dtype))["loss"],
        addresses(gather(source, dtype))["gather"],
        net.loss_function.closed_form(net.f[-1].name) is not None,
    )
