"""What the kernel needs below NumPy: views of addresses, atomics, calls, numbers from bits.

Compiled code receives addresses and sizes only. It makes no object, raises nothing and calls no
Python, so that its machine code can be kept on disk and run without Numba (see objects.py).
"""

from __future__ import annotations

from typing import Any

import numba
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic
from numba.np.arrayobj import populate_array

FAST = {"contract", "nsz", "arcp", "reassoc"}
WORD = ir.IntType(64)
STATUS = ir.IntType(32)
NOTHING = WORD.as_pointer()

OPTIONS = {
    "fastmath": FAST, "error_model": "numpy", "_nrt": False,
    "no_cpython_wrapper": True, "no_cfunc_wrapper": True,
}  # fmt: skip


def plain(given: Any) -> Any:
    """Decorate a function (or a signature, and then the function) to compile to plain code."""
    if isinstance(given, tuple):
        return lambda function: njit(types.void(*given), **OPTIONS)(function)
    return njit(given, **OPTIONS)


# ---------------------------------------------------------------- views


def _view(scalar: Any, context: Any, builder: Any, address: Any, shape: Any) -> Any:
    kind = types.Array(scalar, len(shape), "C")
    array = context.make_array(kind)(context, builder)
    of = context.get_data_type(scalar)
    item = ir.Constant(WORD, context.get_abi_sizeof(of))
    strides, step = [], item
    for size in reversed(shape):
        strides.insert(0, step)
        step = builder.mul(step, size)
    data = builder.inttoptr(address, of.as_pointer())
    populate_array(array, data, shape, strides, item, meminfo=None)
    return array._getvalue()


@intrinsic
def vector(typing: Any, one: Any, address: Any, n: Any) -> Any:
    """n scalars of the type of `one` at that address."""
    one = types.unliteral(one)

    def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return _view(one, context, builder, args[1], [args[2]])

    return types.Array(one, 1, "C")(one, types.int64, types.int64), build


@intrinsic
def matrix(typing: Any, one: Any, address: Any, rows: Any, columns: Any) -> Any:
    """rows × columns scalars of the type of `one` at that address."""
    one = types.unliteral(one)

    def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return _view(one, context, builder, args[1], [args[2], args[3]])

    return types.Array(one, 2, "C")(one, types.int64, types.int64, types.int64), build


@intrinsic
def size_of(typing: Any, one: Any) -> Any:
    """Bytes of a scalar of the type of `one`."""

    def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return ir.Constant(WORD, context.get_abi_sizeof(context.get_data_type(one)))

    return types.int64(one), build


@intrinsic
def number(typing: Any, one: Any, x: Any) -> Any:
    """x as a scalar of the type of `one`: what is computed with it stays in that precision."""
    one = types.unliteral(one)

    def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return context.cast(builder, args[1], types.float64, one)

    return one(one, types.float64), build


def record_at(dtype: Any) -> Any:
    """An intrinsic that views an address as one record of that NumPy dtype."""
    kind = numba.from_dtype(dtype)

    @intrinsic
    def record(typing: Any, address: Any) -> Any:
        def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return builder.inttoptr(args[0], context.get_value_type(kind))

        return kind(types.int64), build

    return record


# ---------------------------------------------------------------- bits


def _bits_to(number: Any, bits: Any, kind: Any) -> Any:
    @intrinsic
    def cast(typing: Any, given: Any) -> Any:
        def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return builder.bitcast(args[0], kind)

        return number(bits), build

    return cast


float32_of_bits = _bits_to(types.float32, types.int32, ir.FloatType())
float64_of_bits = _bits_to(types.float64, types.int64, ir.DoubleType())


# ---------------------------------------------------------------- threads


def _place(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    data = context.make_array(signature.args[0])(context, builder, args[0]).data
    return builder.gep(data, [args[1]])


@intrinsic
def fetch_add(typing: Any, array: Any, index: Any, value: Any) -> Any:
    """array[index] += value for all threads at once; returns the old value."""

    def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        place = _place(context, builder, signature, args)
        return builder.atomic_rmw("add", place, args[2], "seq_cst")

    return types.int64(array, types.intp, types.int64), build


@intrinsic
def fetch(typing: Any, array: Any, index: Any) -> Any:
    """array[index] as the other threads have left it."""

    def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.load_atomic(_place(context, builder, signature, args), "seq_cst", 8)

    return types.int64(array, types.intp), build


# ---------------------------------------------------------------- calls


def _caller(n_arguments: int) -> Any:
    """An intrinsic that calls the block (see blocks.py) at an address with that many words."""

    def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        # Numba's own convention: where to put a result and an error, then the arguments.
        kind = ir.FunctionType(STATUS, [NOTHING.as_pointer()] * 2 + [WORD] * n_arguments)
        result = cgutils.alloca_once(builder, NOTHING)
        error = cgutils.alloca_once(builder, NOTHING)
        builder.call(builder.inttoptr(args[0], kind.as_pointer()), [result, error, *args[1:]])
        return context.get_dummy_value()

    return types.void(*[types.int64] * (n_arguments + 1)), build


@intrinsic
def call_block(
    typing: Any, f: Any, a: Any, z: Any, other: Any, room: Any, N: Any, H: Any, by_unit: Any
) -> Any:
    return _caller(7)


@intrinsic
def call_loss(
    typing: Any, f: Any, t: Any, a: Any, z: Any, delta: Any, rows: Any, room: Any, N: Any, H: Any,
    by_unit: Any,
) -> Any:  # fmt: skip
    return _caller(9)


@intrinsic
def call_gather(
    typing: Any, f: Any, X: Any, row: Any, column: Any, order: Any, first: Any, N: Any, D: Any,
    out: Any, by_unit: Any,
) -> Any:  # fmt: skip
    return _caller(9)


@intrinsic
def call_product(
    typing: Any, f: Any, A: Any, a_step: Any, B: Any, b_k: Any, b_panel: Any, C: Any, ldc: Any,
    M: Any, N: Any, K: Any, more: Any, room: Any,
) -> Any:  # fmt: skip
    return _caller(12)
