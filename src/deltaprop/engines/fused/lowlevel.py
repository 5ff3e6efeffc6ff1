"""Low-level operations of compiled code: views of memory, atomics, calls by address, bit casts.

Compiled code receives addresses and sizes only. It allocates no object, raises no exception and
calls no Python, so that its machine code can be stored on disk and run without Numba (see
objects.py). An *intrinsic* is a function whose LLVM code is written here by hand: the outer
function gives its signature, and `build` emits its code into the caller.

Functions that must work in float32 and float64 take a scalar `one` of the working dtype. Its type,
not its value, decides what they compile to.
"""

import platform
from typing import Any

import numba
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic
from numba.np.arrayobj import populate_array

# Sums may be reordered for vector instructions. NaN and infinity keep their meaning, so that a
# diverging training run is noticed.
FAST = {"contract", "nsz", "arcp", "reassoc"}
WORD = ir.IntType(64)
STATUS = ir.IntType(32)
POINTER = WORD.as_pointer()

OPTIONS = {
    "fastmath": FAST, "error_model": "numpy", "_nrt": False,
    "no_cpython_wrapper": True, "no_cfunc_wrapper": True,
}  # fmt: skip


def plain(given: Any) -> Any:
    """Decorator: compile a function to machine code that needs neither Numba nor Python.

    With a tuple of argument types, ``@plain((types.int64, ...))``, the function is compiled at
    once; as ``@plain`` alone, it is compiled where it is called.
    """
    if isinstance(given, tuple):
        return lambda function: njit(types.void(*given), **OPTIONS)(function)
    return njit(given, **OPTIONS)


# ---------------------------------------------------------------- views of memory


def _view(scalar, context, builder, address, shape):
    """An array over memory that it does not own."""
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
def vector(typing, one, address, n):
    """n scalars of the type of `one` at that address."""
    one = types.unliteral(one)

    def build(context, builder, signature, args):
        return _view(one, context, builder, args[1], [args[2]])

    return types.Array(one, 1, "C")(one, types.int64, types.int64), build


@intrinsic
def matrix(typing, one, address, rows, columns):
    """rows × columns scalars of the type of `one` at that address."""
    one = types.unliteral(one)

    def build(context, builder, signature, args):
        return _view(one, context, builder, args[1], [args[2], args[3]])

    return types.Array(one, 2, "C")(one, types.int64, types.int64, types.int64), build


@intrinsic
def size_of(typing, one):
    """Bytes of a scalar of the type of `one`."""

    def build(context, builder, signature, args):
        return ir.Constant(WORD, context.get_abi_sizeof(context.get_data_type(one)))

    return types.int64(one), build


@intrinsic
def number(typing, one, x):
    """x as a scalar of the type of `one`, so that computing with it stays in that precision."""
    one = types.unliteral(one)

    def build(context, builder, signature, args):
        return context.cast(builder, args[1], types.float64, one)

    return one(one, types.float64), build


def records_of(dtype):
    """An intrinsic for record i of the array of records of a NumPy dtype at an address."""
    kind = numba.from_dtype(dtype)

    @intrinsic
    def record(typing, address, i):
        def build(context, builder, signature, args):
            offset = builder.mul(args[1], ir.Constant(WORD, dtype.itemsize))
            return builder.inttoptr(builder.add(args[0], offset), context.get_value_type(kind))

        return kind(types.int64, types.int64), build

    return record


# ---------------------------------------------------------------- bit casts


def _bits_to(number, bits, kind):
    @intrinsic
    def cast(typing, given):
        def build(context, builder, signature, args):
            return builder.bitcast(args[0], kind)

        return number(bits), build

    return cast


float32_of_bits = _bits_to(types.float32, types.int32, ir.FloatType())
float64_of_bits = _bits_to(types.float64, types.int64, ir.DoubleType())


# ---------------------------------------------------------------- atomics


def _element(context, builder, signature, args):
    data = context.make_array(signature.args[0])(context, builder, args[0]).data
    return builder.gep(data, [args[1]])


@intrinsic
def fetch_add(typing, array, index, value):
    """Atomic ``array[index] += value``; returns the old value."""

    def build(context, builder, signature, args):
        element = _element(context, builder, signature, args)
        return builder.atomic_rmw("add", element, args[2], "seq_cst")

    return types.int64(array, types.intp, types.int64), build


@intrinsic
def fetch(typing, array, index):
    """Atomic read of ``array[index]``: what other threads have written by now."""

    def build(context, builder, signature, args):
        return builder.load_atomic(_element(context, builder, signature, args), "seq_cst", 8)

    return types.int64(array, types.intp), build


@intrinsic
def put(typing, array, index, value):
    """Atomic ``array[index] = value``; other threads that read it see all earlier writes."""

    def build(context, builder, signature, args):
        element = _element(context, builder, signature, args)
        builder.store_atomic(args[2], element, "seq_cst", 8)
        return context.get_dummy_value()

    return types.void(array, types.intp, types.int64), build


@intrinsic
def replaced(typing, array, index, old, new):
    """Atomic ``array[index] = new`` if it is `old`; returns whether it was."""

    def build(context, builder, signature, args):
        element = _element(context, builder, signature, args)
        result = builder.cmpxchg(element, args[2], args[3], "seq_cst", "seq_cst")
        return builder.extract_value(result, 1)

    return types.boolean(array, types.intp, types.int64, types.int64), build


@intrinsic
def prefetch(typing, address):
    """Fetch a cache line that will be read soon. The address need not be valid."""

    def build(context, builder, signature, args):
        pointer = builder.inttoptr(args[0], ir.IntType(8).as_pointer())
        number = ir.IntType(32)
        read, keep, data = number(0), number(3), number(1)
        kind = ir.FunctionType(ir.VoidType(), [pointer.type, number, number, number])
        function = builder.module.declare_intrinsic("llvm.prefetch", (pointer.type,), kind)
        builder.call(function, [pointer, read, keep, data])
        return context.get_dummy_value()

    return types.void(types.int64), build


def _intrinsic(builder, name, *args):
    """Call an intrinsic of LLVM that returns nothing."""
    kind = ir.FunctionType(ir.VoidType(), [arg.type for arg in args])
    builder.call(cgutils.get_or_insert_function(builder.module, kind, name), args)


@intrinsic
def relax(typing):
    """Tell the processor that this is a loop that waits: it saves power and helps its sibling."""
    machine = platform.machine().lower()

    def build(context, builder, signature, args):
        if machine in ("x86_64", "amd64"):
            _intrinsic(builder, "llvm.x86.sse2.pause")
        elif machine in ("arm64", "aarch64"):
            _intrinsic(builder, "llvm.aarch64.hint", ir.Constant(STATUS, 1))
        return context.get_dummy_value()

    return types.void(), build


# ---------------------------------------------------------------- subnormal numbers

# Intel processors take about 150 cycles for an operation on a subnormal number (below 1.2e-38 in
# float32), and the moments of units that have died decay through these numbers for many epochs.
FLUSH_TO_ZERO, SUBNORMALS_ARE_ZERO = 0x8000, 0x0040  # bits of MXCSR
X86 = platform.machine().lower() in ("x86_64", "amd64")


def _control(builder, name, place):
    pointer = builder.bitcast(place, ir.IntType(8).as_pointer())
    _intrinsic(builder, f"llvm.x86.sse.{name}", pointer)


@intrinsic
def flush_subnormals(typing):
    """Take subnormal numbers for zero in this thread; returns what `restore_subnormals` needs."""

    def build(context, builder, signature, args):
        if not X86:
            return ir.Constant(STATUS, 0)
        place = cgutils.alloca_once(builder, STATUS)
        _control(builder, "stmxcsr", place)
        before = builder.load(place)
        bits = ir.Constant(STATUS, FLUSH_TO_ZERO | SUBNORMALS_ARE_ZERO)
        builder.store(builder.or_(before, bits), place)
        _control(builder, "ldmxcsr", place)
        return before

    return types.int32(), build


@intrinsic
def restore_subnormals(typing, before):
    """Undo `flush_subnormals`, which returned `before`."""

    def build(context, builder, signature, args):
        if X86:
            place = cgutils.alloca_once(builder, STATUS)
            builder.store(args[0], place)
            _control(builder, "ldmxcsr", place)
        return context.get_dummy_value()

    return types.void(types.int32), build


# ---------------------------------------------------------------- calls by address

# A network's activations, losses and products are compiled separately and called by address, so
# that the kernel is compiled once for all networks.


def _caller(n_arguments):
    """Signature and code of a call of the function at an address, with that many integers."""

    def build(context, builder, signature, args):
        # Numba's calling convention: pointers for the result and an error, then the arguments.
        kind = ir.FunctionType(STATUS, [POINTER.as_pointer()] * 2 + [WORD] * n_arguments)
        result = cgutils.alloca_once(builder, POINTER)
        error = cgutils.alloca_once(builder, POINTER)
        builder.call(builder.inttoptr(args[0], kind.as_pointer()), [result, error, *args[1:]])
        return context.get_dummy_value()

    return types.void(*[types.int64] * (n_arguments + 1)), build


@intrinsic
def call_part(typing, f, frame, k, kind, part):
    """A part of a phase: see parts.py."""
    return _caller(4)


@intrinsic
def call_block(typing, f, a, z, other, room, N, H, by_unit):
    """A block of blocks.py: `other` is the bias (forward) or the gradient (pull back)."""
    return _caller(7)


@intrinsic
def call_loss(typing, f, t, a, z, delta, rows, room, N, H, by_unit):
    """A loss of blocks.py: writes each row's loss, and ∂loss/∂a or ∂loss/∂ŷ into `delta`."""
    return _caller(9)


@intrinsic
def call_noise(typing, f, key, step, chunk, out):
    """Compute a chunk of standard normal numbers: see normals.py."""
    return _caller(4)


@intrinsic
def call_gather(typing, f, X, row, column, order, first, N, D, out, by_unit):
    """Copy N rows of X, of any dtype and layout, to `out` in the working dtype."""
    return _caller(9)


@intrinsic
def call_panels(typing, f, B, N, to, b_panel, low, high, K):
    """Copy rows low … high of B (K, N), or of its transpose, to panels: see products.py."""
    return _caller(7)


@intrinsic
def call_product(typing, f, A, a_step, B, b_k, b_panel, C, ldc, M, N, K, more, room):
    """C (M, N) = A (M, K) B (K, N): see `product` in products.py for the arguments."""
    return _caller(12)
