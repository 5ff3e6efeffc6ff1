"""The compiled units of a network and the entry points of the kernel."""

from __future__ import annotations

import ctypes
import functools
from typing import Any, NamedTuple

import numpy as np

from deltaprop.engines.fused import bfloat16
from deltaprop.engines.fused.objects import Unit, addresses
from deltaprop.functions.activations import Activation
from deltaprop.functions.kernels import ActivationKernel, ClosedKernel, LossKernel
from deltaprop.functions.losses import Loss
from deltaprop.model import Model

ENTRY = {
    dtype: ctypes.CFUNCTYPE(
        ctypes.c_int32, ctypes.c_void_p, ctypes.c_void_p, scalar, ctypes.c_int64, ctypes.c_int64
    )
    for dtype, scalar in (("float32", ctypes.c_float), ("float64", ctypes.c_double))
}


SOURCES = (
    "float32", "float64", "float16", "bfloat16", "uint8", "int8", "uint16", "int16", "int32",
    "int64", "bool",
)  # fmt: skip


class Compiled(NamedTuple):
    """A network's compiled parts: the entry point for Python and addresses for the kernel."""

    enter: Any
    part: int
    forward: np.ndarray
    pull_back: np.ndarray
    loss: int
    gather: int
    products: dict[str, int]
    collapsed: bool


@functools.lru_cache(maxsize=512)
def kernel(dtype: str) -> Unit:
    """The training and prediction loops of kernel.py, in this working dtype."""
    return Unit("kernel", (dtype,), _make_kernel, (dtype,))


def _make_kernel(dtype: str) -> dict[str, Any]:
    from numba import types

    from deltaprop.engines.fused import kernel, parts
    from deltaprop.engines.fused.lowlevel import plain

    entry = plain((getattr(types, dtype), types.int64, types.int64))
    return {"enter": entry(kernel.enter.py_func), "part": parts.part(dtype)}


TIMES = ("rows_times", "columns_times")


@functools.lru_cache(maxsize=512)
def products(dtype: str) -> Unit:
    """The matrix products."""
    return Unit("products", (dtype,), _make_products, (dtype,))


def _make_products(dtype: str) -> dict[str, Any]:
    from deltaprop.engines.fused import products

    return {
        "rows_times": products.product(True, dtype),
        "columns_times": products.product(False, dtype),
        "to_panels": products.to_panels(dtype),
        "to_panels_of_transpose": products.to_panels_of_transpose(dtype),
    }


@functools.lru_cache(maxsize=512)
def bfloat16_products(emulated: bool) -> Unit:
    """The matrix products of float32 networks with factors in bfloat16."""
    return Unit("bfloat16 products", (emulated,), _make_bfloat16_products, (emulated,))


def _make_bfloat16_products(emulated: bool) -> dict[str, Any]:
    from deltaprop.engines.fused import products_bf16

    return {
        "rows_times": products_bf16.product(True, emulated),
        "columns_times": products_bf16.product(False, emulated),
        "to_panels": products_bf16.to_panels(),
        "to_panels_of_transpose": products_bf16.to_panels_of_transpose(),
    }


@functools.lru_cache(maxsize=512)
def activation(f: Activation, dtype: str) -> Unit:
    """The forward and the pull-back function of an activation."""
    describes = (f.name, f.f, f.df, _described(f.kernel), dtype)
    return Unit(f.name, describes, _make_activation, (f, dtype))


def _make_activation(f: Activation, dtype: str) -> dict[str, Any]:
    from deltaprop.engines.fused import blocks

    return {
        "forward": blocks.forward_block(f, dtype),
        "pull_back": blocks.pull_back_block(f, dtype),
    }


def _described(kernel: ActivationKernel | LossKernel | ClosedKernel | None) -> tuple[Any, ...]:
    """A kernel form as a tuple that starts with the name of its type."""
    return () if kernel is None else (type(kernel).__name__, *kernel)


@functools.lru_cache(maxsize=512)
def loss(of: Loss, output: str, dtype: str) -> Unit:
    """A loss for the output activation of that name."""
    closed = dict(of.closed).get(output)
    output = output if closed else ""
    value, slope, kernel = closed or (of.value, of.d, of.kernel)
    describes = (of.name, of.params, value, slope, _described(kernel), output, dtype)
    return Unit(of.name, describes, _make_loss, (of, output, dtype))


def _make_loss(of: Loss, output: str, dtype: str) -> dict[str, Any]:
    from deltaprop.engines.fused import blocks

    return {"loss": blocks.loss_block(of, output, dtype)}


@functools.lru_cache(maxsize=512)
def gather(source: str, dtype: str) -> Unit:
    """The function that copies rows of dtype `source` and converts them to `dtype`."""
    return Unit("gather", (source, dtype), _make_gather, (source, dtype))


def _make_gather(source: str, dtype: str) -> dict[str, Any]:
    from deltaprop.engines.fused import blocks

    return {"gather": blocks.gather_block(source, dtype)}


@functools.lru_cache(maxsize=512)
def noise(dtype: str) -> Unit:
    """The function that computes the noise of private training."""
    return Unit("noise", (dtype,), _make_noise, (dtype,))


def _make_noise(dtype: str) -> dict[str, Any]:
    from deltaprop.engines.fused import normals

    return {"noise": normals.noise_block(dtype)}


def of_functions(f: tuple[Activation, ...], of: Loss, dtype: str, source: str) -> list[Unit]:
    """All units for these activations and this loss, with rows whose dtype is `source`."""
    blocks = [activation(each, dtype) for each in dict.fromkeys(f)]
    shared = [kernel(dtype), products(dtype), gather(source, dtype)]
    return [*shared, loss(of, f[-1].name, dtype), *blocks]


def of(net: Model, source: str, precision: str | None = None) -> list[Unit]:
    """All units of a network for rows whose dtype is `source`."""
    extra = [] if precision is None else [bfloat16_products(bfloat16.emulated())]
    return [*of_functions(net.f, net.loss_function, net.dtype.name, source), *extra]


def compiled(net: Model, source: str, precision: str | None = None) -> Compiled:
    """The compiled parts of a network. Units that are not in the cache are compiled."""
    dtype = net.dtype.name
    factors = products(dtype) if precision is None else bfloat16_products(bfloat16.emulated())
    blocks = [addresses(activation(f, dtype)) for f in net.f]
    return Compiled(
        ENTRY[dtype](addresses(kernel(dtype))["enter"]),
        addresses(kernel(dtype))["part"],
        np.array([block["forward"] for block in blocks]),
        np.array([block["pull_back"] for block in blocks]),
        addresses(loss(net.loss_function, net.f[-1].name, dtype))["loss"],
        addresses(gather(source, dtype))["gather"],
        addresses(factors) | {f"exact_{name}": addresses(products(dtype))[name] for name in TIMES},
        net.loss_function.closed_form(net.f[-1].name) is not None,
    )
