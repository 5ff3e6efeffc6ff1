"""Matrix products in vector registers: C = A B, or C + A B.

The inner loop keeps a tile of MR rows and NV vectors of C in registers and runs over k: a number of
A for each row, spread over a vector, times a row of the tile's columns of B. B lies in panels of W
columns, k after k, so that these are read one after the other. A is read where it is; where its
rows are far apart (Xᵀ of ∂W = Xᵀ δ), a block of it is copied to panels of MR rows first. The blocks
are those of Goto and van de Geijn (2008): KC × W of B stay in the first level of the cache,
MC × KC of A in the second.

Each number of C is one chain of fused multiply-adds over k, whatever the tile it is in: the same
bits for any division of the rows among threads.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from deltaprop.engines.fused.constants import KC, MC, MR, NV, VECTOR_BYTES
from deltaprop.engines.fused.lowlevel import WORD, plain, size_of, vector


def _kernel(rows: int, vectors: int, along_k: bool) -> Any:
    """C's tile of `rows` rows and `vectors` vectors, of which `columns` columns are written.

    A's numbers lie next to each other along k, or (not `along_k`) along the rows.
    """

    @intrinsic
    def tile(
        typing: Any, one: Any, A: Any, a_step: Any, B: Any, b_k: Any, C: Any, ldc: Any, K: Any,
        more: Any, columns: Any,
    ) -> Any:  # fmt: skip
        one = types.unliteral(one)

        def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return _Tile(context, builder, one, rows, vectors).build(along_k, *args[1:])

        return types.void(one, *[types.int64] * 9), build

    @plain
    def call(one, A, a_step, B, b_k, C, ldc, K, more, columns):  # type: ignore[no-untyped-def]
        tile(one, A, a_step, B, b_k, C, ldc, K, more, columns)

    return call


class _Tile:
    """The LLVM code of one kernel. LLVM keeps what is allocated here in registers."""

    def __init__(self, context: Any, builder: Any, one: Any, rows: int, vectors: int) -> None:
        self.context, self.builder, self.rows, self.vectors = context, builder, rows, vectors
        self.scalar = context.get_data_type(one)
        self.size = context.get_abi_sizeof(self.scalar)
        self.V = VECTOR_BYTES // self.size
        self.vector = ir.VectorType(self.scalar, self.V)

    def build(
        self, along_k: bool, A: Any, a_step: Any, B: Any, b_k: Any, C: Any, ldc: Any, K: Any,
        more: Any, columns: Any,
    ) -> Any:  # fmt: skip
        builder, word = self.builder, self.word
        one, step = word(self.size), builder.mul(a_step, word(self.size))
        row_step, k_step = (step, one) if along_k else (one, step)
        b_step, c_step = builder.mul(b_k, one), builder.mul(ldc, one)
        a, c = self.ladder(A, row_step), self.ladder(C, c_step)
        zero = ir.Constant(self.vector, [0.0] * self.V)
        sums = [
            [cgutils.alloca_once_value(builder, zero) for _ in range(self.vectors)]
            for _ in range(self.rows)
        ]
        with cgutils.for_range(builder, K) as loop:
            at = builder.add(B, builder.mul(loop.index, b_step))
            b = [
                self.load(builder.add(at, word(v * self.V * self.size)), self.vector)
                for v in range(self.vectors)
            ]
            offset = builder.mul(loop.index, k_step)
            for i in range(self.rows):
                x = self.spread(self.load(builder.add(a[i], offset), self.scalar))
                for v in range(self.vectors):
                    product = builder.fmul(x, b[v], flags=("contract",))
                    total = builder.fadd(product, builder.load(sums[i][v]), flags=("contract",))
                    builder.store(total, sums[i][v])
        adds = builder.icmp_signed("!=", more, word(0))
        for v in range(self.vectors):
            here = [builder.add(row, word(v * self.V * self.size)) for row in c]
            whole = builder.icmp_signed(">=", columns, word((v + 1) * self.V))
            with builder.if_else(whole) as (yes, no):
                with yes, builder.if_else(adds) as (added, written):
                    with added:
                        for i in range(self.rows):
                            old = self.load(here[i], self.vector)
                            total = builder.fadd(old, builder.load(sums[i][v]))
                            self.store(total, here[i])
                    with written:
                        for i in range(self.rows):
                            self.store(builder.load(sums[i][v]), here[i])
                with no:
                    rest = builder.sub(columns, word(v * self.V))
                    for i in range(self.rows):
                        self.store_some(builder.load(sums[i][v]), here[i], rest, adds)
        return self.context.get_dummy_value()

    def word(self, n: int) -> Any:
        return ir.Constant(WORD, n)

    def ladder(self, start: Any, step: Any) -> list[Any]:
        """The addresses of the tile's rows."""
        rungs = [start]
        for _ in range(1, self.rows):
            rungs.append(self.builder.add(rungs[-1], step))
        return rungs

    def load(self, address: Any, kind: Any) -> Any:
        found = self.builder.load(self.builder.inttoptr(address, kind.as_pointer()))
        found.align = self.size
        return found

    def store(self, value: Any, address: Any) -> None:
        place = self.builder.inttoptr(address, value.type.as_pointer())
        self.builder.store(value, place).align = self.size

    def spread(self, x: Any) -> Any:
        nothing, lane = ir.Constant(self.vector, ir.Undefined), ir.IntType(32)
        first = self.builder.insert_element(nothing, x, ir.Constant(lane, 0))
        zeros = ir.Constant(ir.VectorType(lane, self.V), [0] * self.V)
        return self.builder.shuffle_vector(first, nothing, zeros)

    def store_some(self, values: Any, address: Any, n: Any, adds: Any) -> None:
        """The first n numbers of a vector; none where n < 1."""
        builder = self.builder
        with cgutils.for_range(builder, n) as loop:
            offset = builder.mul(loop.index, self.word(self.size))
            x = builder.extract_element(values, builder.trunc(loop.index, ir.IntType(32)))
            to = builder.add(address, offset)
            old = self.load(to, self.scalar)
            self.store(builder.select(adds, builder.fadd(old, x), x), to)


PRODUCT = (types.int64,) * 12  # A, step, B, row, panel, C, row, M, N, K, more, room


def product(along_k: bool, dtype: str) -> Any:
    """C (M, N) = A (M, K) B (K, N), added to C where there is `more`.

    `along_k`: A's numbers lie next to each other along k, and a_step is from row to row. Otherwise
    they do along the rows, as those of a transpose, and a_step is from k to k.
    Panels of B are b_panel numbers apart, their rows b_k; of the last panel some columns beyond N
    are read. `room` for MC × KC numbers, or 0: to copy A's blocks to, where that pays.
    """
    one = np.dtype(dtype).type(1)
    item = one.itemsize
    V = VECTOR_BYTES // item
    W = NV * V

    def kernel(rows: int) -> Any:
        """That many rows, and as few vectors as the columns need."""
        wide, narrow = _kernel(rows, NV, along_k), _kernel(rows, 1, along_k)

        @plain
        def call(A, a_step, B, b_k, C, ldc, K, more, columns):  # type: ignore[no-untyped-def]
            if columns > V:
                wide(one, A, a_step, B, b_k, C, ldc, K, more, columns)
            else:
                narrow(one, A, a_step, B, b_k, C, ldc, K, more, columns)

        return call

    whole, four, two, single = (kernel(rows) for rows in (MR, 4, 2, 1))

    @plain
    def some_rows(A, a_step, rows, B, b_k, C, ldc, K, more, columns):  # type: ignore[no-untyped-def]
        """At most MR rows and W columns of C."""
        a_row, c_row = (a_step if along_k else 1) * item, ldc * item
        if rows == MR:
            whole(A, a_step, B, b_k, C, ldc, K, more, columns)
            return
        while rows >= 4:
            four(A, a_step, B, b_k, C, ldc, K, more, columns)
            A, C, rows = A + 4 * a_row, C + 4 * c_row, rows - 4
        if rows >= 2:
            two(A, a_step, B, b_k, C, ldc, K, more, columns)
            A, C, rows = A + 2 * a_row, C + 2 * c_row, rows - 2
        if rows == 1:
            single(A, a_step, B, b_k, C, ldc, K, more, columns)

    @plain
    def copy(A_at, a_k, room, block, depth):  # type: ignore[no-untyped-def]
        """A block whose numbers lie together along its rows, as panels of MR rows, k after k."""
        full = block // MR
        rest = block - full * MR
        to = vector(one, room, block * depth)
        for k in range(depth):
            a = vector(one, A_at + k * a_k * item, block)
            for panel in range(full):
                for i in range(MR):
                    to[(panel * depth + k) * MR + i] = a[panel * MR + i]
            for i in range(rest):
                to[full * MR * depth + k * rest + i] = a[full * MR + i]

    @plain(PRODUCT)
    def block_by_block(A, a_step, B, b_k, b_panel, C, ldc, M, N, K, more, room):  # type: ignore[no-untyped-def]
        a_row, a_k = (a_step, 1) if along_k else (1, a_step)
        copied = not along_k and room != 0 and N > 2 * W
        for first in range(0, M, MC):
            rows = min(MC, M - first)
            for k in range(0, K, KC):
                depth, adds = min(KC, K - k), 1 if more or k else 0
                A_at = A + (first * a_row + k * a_k) * item
                if copied:
                    copy(A_at, a_k, room, rows, depth)
                for j in range(0, N, W):
                    B_at, columns = B + (j // W * b_panel + k * b_k) * item, min(W, N - j)
                    for i in range(0, rows, MR):
                        tile = min(MR, rows - i)
                        at, step = A_at + i * a_row * item, a_step
                        if copied:
                            at, step = room + i * depth * item, tile
                        C_at = C + ((first + i) * ldc + j) * item
                        some_rows(at, step, tile, B_at, b_k, C_at, ldc, depth, adds, columns)

    return block_by_block


# ---------------------------------------------------------------- panels


@plain
def panel_width(one):  # type: ignore[no-untyped-def]
    """W, the columns of a panel."""
    return NV * (VECTOR_BYTES // size_of(one))


@plain
def panels_of(one, B_at, N, to_at, b_panel, low, high):  # type: ignore[no-untyped-def]
    """Rows low … high of B (K, N) in panels of W columns that are b_panel numbers apart."""
    item, W = size_of(one), panel_width(one)
    whole = N // W * W
    for k in range(low, high):
        b = vector(one, B_at + k * N * item, N)
        for j in range(0, whole, W):
            to = vector(one, to_at + (j // W * b_panel + k * W) * item, W)
            for i in range(W):
                to[i] = b[j + i]
        if whole < N:
            to = vector(one, to_at + (whole // W * b_panel + k * W) * item, W)
            for i in range(N - whole):
                to[i] = b[whole + i]


@plain
def panels_of_transpose(one, B_at, N, to_at, b_panel, low, high):  # type: ignore[no-untyped-def]
    """Rows low … high of B (K, N) as columns of the panels of Bᵀ (N, K)."""
    item, W = size_of(one), panel_width(one)
    for k in range(low, high):
        b = vector(one, B_at + k * N * item, N)
        to = vector(one, to_at + (k // W * b_panel + k % W) * item, N * W)
        for j in range(N):
            to[j * W] = b[j]
