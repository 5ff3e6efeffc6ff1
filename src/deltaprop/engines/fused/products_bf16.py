"""Matrix products with factors in bfloat16: C = A B, or C + A B, with A and C in float32.

bfloat16 is the upper half of a float32: 8 bits of precision instead of 24, and the same range. The
instruction VDPBF16PS (AVX512_BF16) multiplies *pairs*. For each of 16 sums it adds the products of
two bfloat16 of one operand and two of the other, and takes no longer than a float32 multiply-add
of 16 numbers. A pair is a 32-bit word whose lower half is the number with the even k. So everything
is as in products.py, with a word in place of a scalar and half as many of them along k:

- panels of B contain words: row m of a panel has the pairs of rows 2 m and 2 m + 1 of B;
- A is converted to words block by block, immediately before a block is used.

If K is odd, the second number of the last pair is 0.

The arithmetic of VDPBF16PS is fixed (Intel's manual, and the same on AMD's Zen 4): for each word,
first the upper and then the lower product is added to the float32 sum by a fused multiply-add that
rounds to nearest, ties to even. Subnormal factors and sums are read as 0, and subnormal results
become 0, whatever the processor's settings are. `EmulatedPairs` does the same with instructions
that every processor has.

Results are reproducible for the same reason as in products.py.
"""

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from deltaprop.engines.fused.constants import KC, MC, MR, NV, VECTOR_BYTES
from deltaprop.engines.fused.lowlevel import plain, vector
from deltaprop.engines.fused.products import PRODUCT, TO_PANELS, TileCode, rows_of_tiles_of
from deltaprop.engines.fused.vector import bits_of

W = NV * (VECTOR_BYTES // 4)  # words in a row of a panel, and columns of B
ONE = np.float32(1)
HALF, WORD = np.uint16(0), np.int32(0)  # for views of memory as bfloat16 or as pairs of them

# ---------------------------------------------------------------- micro-kernel


class Pairs(TileCode):
    """A tile whose factors are words, multiplied by VDPBF16PS."""

    in_place = False

    def __init__(self, *args):
        super().__init__(*args)
        self.factor = ir.IntType(32)

    def multiply_add(self, x, y, total):
        words = ir.VectorType(self.factor, self.lanes)
        kind = ir.FunctionType(self.vector, [self.vector, words, words])
        name = "llvm.x86.avx512bf16.dpbf16ps.512"
        return self.builder.call(self.function(name, kind), [total, x, y])

    def function(self, name, kind):
        """LLVM's function of that name."""
        module = self.builder.module
        return module.globals.get(name) or ir.Function(module, kind, name)


class EmulatedPairs(Pairs):
    """The arithmetic of VDPBF16PS for any processor; slow."""

    def multiply_add(self, x, y, total):
        total = self.flushed(total, total, 2.0**-126)
        for half in (self.upper, self.lower):
            total = self.fused(half(x), half(y), total)
        return total

    def upper(self, words):
        """The numbers in the upper halves."""
        mask = ir.Constant(words.type, [0xFFFF0000] * self.lanes)
        return self.number(self.builder.and_(words, mask))

    def lower(self, words):
        """The numbers in the lower halves."""
        return self.number(self.builder.shl(words, ir.Constant(words.type, [16] * self.lanes)))

    def number(self, bits):
        x = self.builder.bitcast(bits, self.vector)
        return self.flushed(x, x, 2.0**-126)

    def fused(self, x, y, total):
        """x y + total, rounded once; 0 if rounding with unlimited exponents gives a subnormal.

        Rounding to a subnormal differs, so the same sum is computed again, 2²⁴ times as large.
        """
        kind = ir.FunctionType(self.vector, [self.vector] * 3)
        fma = self.function(f"llvm.fma.v{self.lanes}f32", kind)
        scale = ir.Constant(self.vector, [2.0**24] * self.lanes)
        call, times = self.builder.call, self.builder.fmul
        larger = call(fma, [times(x, scale), y, times(total, scale)])
        return self.flushed(call(fma, [x, y, total]), larger, 2.0**-102)

    def flushed(self, x, size, least):
        """x, or 0 with the sign of x where |size| < least."""
        kind = ir.FunctionType(self.vector, [self.vector])
        absolute = self.function(f"llvm.fabs.v{self.lanes}f32", kind)
        least = ir.Constant(self.vector, [least] * self.lanes)
        small = self.builder.fcmp_ordered("<", self.builder.call(absolute, [size]), least)
        words = ir.VectorType(self.factor, self.lanes)
        sign = ir.Constant(words, [0x80000000] * self.lanes)
        zero = self.builder.and_(self.builder.bitcast(x, words), sign)
        return self.builder.select(small, self.builder.bitcast(zero, self.vector), x)


# ---------------------------------------------------------------- conversion

AT_ONCE = 16  # numbers that are converted together
LAST = max(1, -(-AT_ONCE // MR) - 1)  # rows of a panel behind which AT_ONCE words have no space


def _rounded(builder, x):
    """The bfloat16 nearest to each float32 of a vector, ties to even: lower halves of words."""
    words = ir.VectorType(ir.IntType(32), AT_ONCE)

    def all_of(n):
        return ir.Constant(words, [n] * AT_ONCE)

    bits = builder.bitcast(x, words)
    upper = builder.lshr(bits, all_of(16))
    half = builder.add(all_of(0x7FFF), builder.and_(upper, all_of(1)))
    nearest = builder.lshr(builder.add(bits, half), all_of(16))
    nan = builder.fcmp_unordered("uno", x, x)
    return builder.select(nan, builder.or_(upper, all_of(0x40)), nearest)


def _load(builder, address):
    kind = ir.VectorType(ir.FloatType(), AT_ONCE)
    x = builder.load(builder.inttoptr(address, kind.as_pointer()))
    x.align = 4
    return x


def _store(builder, value, address):
    builder.store(value, builder.inttoptr(address, value.type.as_pointer())).align = 2


@intrinsic
def write_numbers(typing, x_at, to_at):
    """Convert AT_ONCE numbers."""

    def build(context, builder, signature, args):
        halves = ir.VectorType(ir.IntType(16), AT_ONCE)
        numbers = _rounded(builder, _load(builder, args[0]))
        _store(builder, builder.trunc(numbers, halves), args[1])
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), build


@intrinsic
def write_pairs(typing, even_at, odd_at, to_at):
    """Convert AT_ONCE numbers each of two rows to words."""

    def build(context, builder, signature, args):
        even, odd = (_rounded(builder, _load(builder, at)) for at in args[:2])
        sixteen = ir.Constant(odd.type, [16] * AT_ONCE)
        _store(builder, builder.or_(even, builder.shl(odd, sixteen)), args[2])
        return context.get_dummy_value()

    return types.void(*[types.int64] * 3), build


@plain
def number(x):
    """The bits of x as a bfloat16."""
    bits = np.uint32(bits_of(x))
    upper = np.uint32(bits >> np.uint32(16))
    if x != x:
        return np.uint16(upper | np.uint32(0x40))
    return np.uint16((bits + np.uint32(0x7FFF) + (upper & np.uint32(1))) >> np.uint32(16))


@plain
def pair(even, odd):
    """Two numbers as a word."""
    return np.int32(np.uint32(number(even)) | (np.uint32(number(odd)) << np.uint32(16)))


@plain
def _rows_to_words(A_at, a_step, room, rows, K):
    """A block of A, stored by rows, as rows of words."""
    width = (K + 1) // 2 * 2
    for i in range(rows):
        a_at, to_at = A_at + i * a_step * 4, room + i * width * 2
        whole = K // AT_ONCE * AT_ONCE
        for k in range(0, whole, AT_ONCE):
            write_numbers(a_at + k * 4, to_at + k * 2)
        a, to = vector(ONE, a_at, K), vector(HALF, to_at, width)
        for k in range(whole, K):
            to[k] = number(a[k])
        if width > K:
            to[K] = 0


@plain
def _columns_to_words(A_at, a_step, room, rows, K):
    """A block of A, stored by columns, as panels of MR rows of words.

    AT_ONCE words are written together, more than a row of a panel has, and the next rows overwrite
    those behind it. In the last rows the words are written one by one, because the next panel
    follows. (Behind an incomplete panel, which is the last one, there is space in the room.)
    """
    depth, full = (K + 1) // 2, rows // MR
    rest = rows - full * MR  # the last panel has as many rows as are left
    together = max(0, depth - LAST)
    for m in range(together):
        even_at, to_at = A_at + 2 * m * a_step * 4, room + m * MR * 4
        odd_at = even_at + a_step * 4
        for panel in range(full):
            at = panel * MR * 4
            write_pairs(even_at + at, odd_at + at, to_at + at * depth)
        if rest:
            at = full * MR * 4
            write_pairs(even_at + at, odd_at + at, room + at * depth + m * rest * 4)
    to = vector(WORD, room, rows * depth)
    for m in range(together, depth):
        even = vector(ONE, A_at + 2 * m * a_step * 4, rows)
        odd, none = vector(ONE, A_at + (2 * m + 1) * a_step * 4, rows), 2 * m + 1 == K
        for i in range(rows):
            panel = i // MR
            words = MR if panel < full else rest
            at = panel * MR * depth + m * words + i - panel * MR
            to[at] = pair(even[i], ONE - ONE if none else odd[i])


# ---------------------------------------------------------------- whole products


def product(along_k: bool, emulated: bool) -> Any:
    """A compiled function with the arguments of `products.product`, of which it ignores `b_k`.

    `b_panel` is the number of rows that B has room for, times W. The room for A's blocks is needed.
    """
    rows_of_tiles = rows_of_tiles_of(along_k, "float32", EmulatedPairs if emulated else Pairs)
    to_words = _rows_to_words if along_k else _columns_to_words

    @plain(PRODUCT)
    def block_by_block(A, a_step, B, b_k, b_panel, C, ldc, M, N, K, more, room):
        a_row, a_k = (a_step, 1) if along_k else (1, a_step)
        pairs, panel_words = (K + 1) // 2, _words(b_panel)
        for first_row in range(0, M, MC):
            rows = min(MC, M - first_row)
            for k in range(0, pairs, KC):
                depth, adds = min(KC, pairs - k), 1 if more or k else 0
                A_at = A + (first_row * a_row + 2 * k * a_k) * 4
                to_words(A_at, a_step, room, rows, min(2 * depth, K - 2 * k))
                for column in range(0, N, W):
                    B_at = B + (column // W * panel_words + k * W) * 4
                    columns = min(W, N - column)
                    for row in range(0, rows, MR):
                        tile = min(MR, rows - row)
                        at, step = room + row * depth * 4, depth if along_k else tile
                        C_at = C + ((first_row + row) * ldc + column) * 4
                        rows_of_tiles(at, step, tile, B_at, W, C_at, ldc, depth, adds, columns)

    return block_by_block


# ---------------------------------------------------------------- panels


@plain
def _words(b_panel):
    """The words of a panel, for as many rows of B as `b_panel` scalars have."""
    return (b_panel // W + 1) // 2 * W


@plain
def _two_rows(even_at, odd_at, N, to_at, panel_words):
    """Write a row of words to the panels; without a second row (0) its numbers are 0."""
    even, odd = vector(ONE, even_at, N), vector(ONE, odd_at, N)
    for column in range(0, N, W):
        words_at, columns = to_at + column // W * panel_words * 4, min(W, N - column)
        whole = columns // AT_ONCE * AT_ONCE if odd_at else 0
        for i in range(0, whole, AT_ONCE):
            at = (column + i) * 4
            write_pairs(even_at + at, odd_at + at, words_at + i * 4)
        to = vector(WORD, words_at, W)
        for i in range(whole, columns):
            to[i] = pair(even[column + i], odd[column + i] if odd_at else ONE - ONE)


@plain
def _one_row(b_at, N, to_at, panel_words):
    """Write one half of each word in a row of the panels."""
    b = vector(ONE, b_at, N)
    for column in range(0, N, W):
        to = vector(HALF, to_at + column // W * panel_words * 4, 2 * W)
        for i in range(min(W, N - column)):
            to[2 * i] = number(b[column + i])


def to_panels() -> Any:
    """A compiled function that copies rows low … high of B (K, N) to panels of words.

    The number beside the last one of an odd K becomes 0. Otherwise the words are divided with a
    thread that may write the other half at the same time, if low or high is odd.
    """

    @plain(TO_PANELS)
    def copy(B_at, N, to_at, b_panel, low, high, K):
        panel_words, k = _words(b_panel), low
        while k < high:
            b_at, at = B_at + k * N * 4, to_at + k // 2 * W * 4
            if k % 2:
                _one_row(b_at, N, at + 2, panel_words)
                k += 1
            elif k + 1 < high or k + 1 == K:
                _two_rows(b_at, b_at + N * 4 if k + 1 < K else 0, N, at, panel_words)
                k += 2
            else:
                _one_row(b_at, N, at, panel_words)
                k += 1

    return copy


def to_panels_of_transpose() -> Any:
    """A compiled function for the panels of Bᵀ (N, K), where rows low … high of B are columns."""

    @plain(TO_PANELS)
    def copy(B_at, N, to_at, b_panel, low, high, K):
        panel_words = _words(b_panel)
        for k in range(low, high):
            b = vector(ONE, B_at + k * N * 4, N)
            to = vector(WORD, to_at + (k // W * panel_words + k % W) * 4, (N + 1) // 2 * W)
            for m in range(N // 2):
                to[m * W] = pair(b[2 * m], b[2 * m + 1])
            if N % 2:
                to[N // 2 * W] = pair(b[N - 1], ONE - ONE)

    return copy
