"""Matrix products in vector registers: C = A B, or C + A B.

A product is computed in *tiles* of MR rows and W columns of C, W being NV vectors wide. The inner
loop, the *micro-kernel*, keeps a tile of C in registers and runs over k: it adds the product of
A[i, k], spread over a vector, and of row k of W columns of B.

B is read in place, W columns at a time, or from *panels*: W columns of B, row after row, so that
the micro-kernel reads memory from one end to the other. Panel p contains columns p W … (p + 1) W of
B; the last one is padded. Panels save time if the rows of B are far apart, and are needed if B is
not stored by rows (W_lᵀ in δ_l W_lᵀ). A is read in place. If the numbers of a row of A are far
apart (Xᵀ in ∂W = Xᵀ δ), a block of A is first copied to panels of MR rows. The blocks are those of
Goto and van de Geijn, "Anatomy of high-performance matrix multiplication" (2008): KC × W numbers of
B stay in the first-level cache and MC × KC numbers of A in the second-level cache.

Results are reproducible: each number of C is one chain of fused multiply-adds over k, whatever tile
it belongs to. Dividing the rows of C among threads in another way gives the same bits.
"""

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from deltaprop.engines.fused.constants import (
    KC,
    MC,
    MR,
    NARROW,
    NV,
    READS_IN_PLACE,
    VECTOR_BYTES,
)
from deltaprop.engines.fused.lowlevel import WORD, plain, prefetch, size_of, vector

LINE = 64  # bytes of a cache line
AHEAD = 16  # columns of A that are fetched into the cache before they are copied

# ---------------------------------------------------------------- micro-kernel


def _micro_kernel(rows, vectors, along_k, code_of, masked):
    """A compiled function for one tile of C, of which it writes the first `columns` columns.

    `code_of` is the class that emits its code: TileCode or a subclass. If it is `masked`, it reads
    only as many columns of B. With `along_k`, the numbers of A are adjacent along k, otherwise
    along its rows. `a_step`, the distance of A's numbers along the other axis, `b_k`, the distance
    of B's rows, and `ldc`, the distance of C's rows, count scalars. With `more`, the product is
    added to C.
    """

    @intrinsic
    def tile(typing, one, A, a_step, B, b_k, C, ldc, K, more, columns):
        one = types.unliteral(one)

        def build(context, builder, signature, args):
            code = code_of(context, builder, one, rows, vectors)
            A, a_step, B, b_k, C, ldc, K, more, columns = args[1:]
            masks = code.masks_of(columns) if masked else None
            sums = code.accumulate(A, a_step, along_k, B, b_k, K, masks)
            code.write(sums, C, ldc, more, columns)
            return context.get_dummy_value()

        return types.void(one, *[types.int64] * 9), build

    @plain
    def call(one, A, a_step, B, b_k, C, ldc, K, more, columns):
        tile(one, A, a_step, B, b_k, C, ldc, K, more, columns)

    return call


class TileCode:
    """Emits the LLVM code of a micro-kernel.

    The sums are stack variables here; LLVM keeps them in registers, because there are no more than
    fit. Rows and vectors are unrolled: each has its own instructions. `factor` is the type of the
    numbers of A and B, `scalar` that of C; they are equally long. If B may be read `in_place`, no
    memory behind its last column is touched.
    """

    in_place = READS_IN_PLACE

    def __init__(self, context, builder, one, rows, vectors):
        self.builder, self.rows, self.vectors = builder, rows, vectors
        self.scalar = self.factor = context.get_data_type(one)
        self.size = context.get_abi_sizeof(self.scalar)
        self.lanes = VECTOR_BYTES // self.size
        self.vector = ir.VectorType(self.scalar, self.lanes)

    def accumulate(self, A, a_step, along_k, B, b_k, K, masks=None):
        """Code for the sums over k of a tile: stack variables, one for each row and vector.

        With `masks`, one for each vector, lanes of B for which a mask is not set are not read.
        """
        builder, one = self.builder, self.word(self.size)
        step = builder.mul(a_step, one)
        row_step, k_step = (step, one) if along_k else (one, step)
        b_step, a_rows = builder.mul(b_k, one), self.addresses(A, row_step)
        zero = ir.Constant(self.vector, [0.0] * self.lanes)
        sums = [
            [cgutils.alloca_once_value(builder, zero) for _ in range(self.vectors)]
            for _ in range(self.rows)
        ]
        factors, masks = ir.VectorType(self.factor, self.lanes), masks or [None] * self.vectors
        with cgutils.for_range(builder, K) as loop:
            b_row = builder.add(B, builder.mul(loop.index, b_step))
            b = [self.load(self.after(b_row, v), factors, mask) for v, mask in enumerate(masks)]
            offset = builder.mul(loop.index, k_step)
            for a_row, sums_of_row in zip(a_rows, sums, strict=True):
                x = self.spread(self.load(builder.add(a_row, offset), self.factor))
                for b_vector, place in zip(b, sums_of_row, strict=True):
                    builder.store(self.multiply_add(x, b_vector, builder.load(place)), place)
        return sums

    def multiply_add(self, x, y, total):
        """The vector x y + total, rounded once."""
        product = self.builder.fmul(x, y, flags=("contract",))
        return self.builder.fadd(product, total, flags=("contract",))

    def write(self, sums, C, ldc, more, columns):
        """Code that writes the sums to C, or adds them; columns beyond `columns` are left out."""
        builder = self.builder
        rows = self.addresses(C, builder.mul(ldc, self.word(self.size)))
        adds = builder.icmp_signed("!=", more, self.word(0))
        for v in range(self.vectors):
            targets = [(sums[i][v], self.after(row, v)) for i, row in enumerate(rows)]
            whole = builder.icmp_signed(">=", columns, self.word((v + 1) * self.lanes))
            with builder.if_else(whole) as (is_whole, is_partial):
                with is_whole, builder.if_else(adds) as (add, replace):
                    with add:
                        for place, address in targets:
                            old = self.load(address, self.vector)
                            self.store(builder.fadd(old, builder.load(place)), address)
                    with replace:
                        for place, address in targets:
                            self.store(builder.load(place), address)
                with is_partial:
                    rest = builder.sub(columns, self.word(v * self.lanes))
                    for place, address in targets:
                        self.store_some(builder.load(place), address, rest, adds)

    def word(self, n):
        return ir.Constant(WORD, n)

    def after(self, address, vectors):
        """The address that is that many vectors after this one."""
        return self.builder.add(address, self.word(vectors * self.lanes * self.size))

    def addresses(self, start, step):
        """The addresses of the tile's rows."""
        rows = [start]
        for _ in range(1, self.rows):
            rows.append(self.builder.add(rows[-1], step))
        return rows

    def load(self, address, kind, mask=None):
        """A scalar or a vector; lanes of a vector for which a mask is not set are 0."""
        pointer = self.builder.inttoptr(address, kind.as_pointer())
        if mask is not None:
            align, zero = ir.Constant(ir.IntType(32), self.size), ir.Constant(kind, None)
            return self.masked("load", kind, kind, [pointer, align, mask, zero])
        value = self.builder.load(pointer)
        value.align = self.size
        return value

    def store(self, value, address):
        pointer = self.builder.inttoptr(address, value.type.as_pointer())
        self.builder.store(value, pointer).align = self.size

    def spread(self, x):
        """A vector whose lanes are all x."""
        undefined = ir.Constant(ir.VectorType(x.type, self.lanes), ir.Undefined)
        lane = ir.IntType(32)
        first = self.builder.insert_element(undefined, x, ir.Constant(lane, 0))
        zeros = ir.Constant(ir.VectorType(lane, self.lanes), [0] * self.lanes)
        return self.builder.shuffle_vector(first, undefined, zeros)

    def masks_of(self, columns):
        """For each vector of a row, which lanes are among the first `columns` columns."""
        first = [self.word(v * self.lanes) for v in range(self.vectors)]
        return [self.mask_of(self.builder.sub(columns, at)) for at in first]

    def mask_of(self, n):
        """A mask that is set for the first n lanes of a vector."""
        numbers = ir.Constant(ir.VectorType(WORD, self.lanes), list(range(self.lanes)))
        return self.builder.icmp_signed("<", numbers, self.spread(n))

    def store_some(self, values, address, n, adds):
        """Store or add the first n lanes of a vector; none where n < 1."""
        builder, vector = self.builder, values.type
        pointer = builder.inttoptr(address, vector.as_pointer())
        align, mask = ir.Constant(ir.IntType(32), self.size), self.mask_of(n)
        with builder.if_else(adds) as (add, replace):
            with add:
                total = builder.fadd(self.load(address, vector, mask), values)
                self.masked("store", vector, ir.VoidType(), [total, pointer, align, mask])
            with replace:  # no load: it would wait for the masked store of the row before
                self.masked("store", vector, ir.VoidType(), [values, pointer, align, mask])

    def masked(self, what, vector, result, args):
        """Load or store the lanes of a vector for which a mask is set; no others are touched."""
        kind = ir.FunctionType(result, [arg.type for arg in args])
        name = f"llvm.masked.{what}.v{self.lanes}f{8 * self.size}.p0"
        function = cgutils.get_or_insert_function(self.builder.module, kind, name)
        return self.builder.call(function, args)


# ---------------------------------------------------------------- whole products

PRODUCT = (types.int64,) * 12  # A, a_step, B, b_k, b_panel, C, ldc, M, N, K, more, room


def product(along_k: bool, dtype: str) -> Any:
    """A compiled function for C (M, N) = A (M, K) B (K, N), or with `more` for C + A B.

    With `along_k`, A is stored by rows: its numbers are adjacent along k, and `a_step` is the
    distance of its rows. Otherwise it is stored by columns, as a transpose is, and `a_step` is the
    distance of its columns. Panels of B are `b_panel` scalars apart, and the rows within them
    `b_k`: if B is read in place, these are W and N, or more if its rows are further apart. Without
    READS_IN_PLACE, up to W − 1 columns beyond N are read. `room` is the address of MC × KC scalars
    for copies of A's blocks, or 0; A is copied if that saves time.
    """
    item = np.dtype(dtype).itemsize
    W = NV * (VECTOR_BYTES // item)
    rows_of_tiles, copy = rows_of_tiles_of(along_k, dtype), _block_copier(dtype)

    # A single loop nest, as in the paper: the inner levels use values that the outer ones compute.
    @plain(PRODUCT)
    def block_by_block(A, a_step, B, b_k, b_panel, C, ldc, M, N, K, more, room):
        a_row, a_k = (a_step, 1) if along_k else (1, a_step)
        far_apart = a_step * item > NARROW
        copied = not along_k and room != 0 and (2 if far_apart else 8) * W < N
        for first_row in range(0, M, MC):
            rows = min(MC, M - first_row)
            for k in range(0, K, KC):
                depth, adds = min(KC, K - k), 1 if more or k else 0
                A_at = A + (first_row * a_row + k * a_k) * item
                if copied:
                    copy(A_at, a_k, room, rows, depth)
                for column in range(0, N, W):
                    B_at = B + (column // W * b_panel + k * b_k) * item
                    columns = min(W, N - column)
                    for row in range(0, rows, MR):
                        tile = min(MR, rows - row)
                        at, step = A_at + row * a_row * item, a_step
                        if copied:
                            at, step = room + row * depth * item, tile
                        C_at = C + ((first_row + row) * ldc + column) * item
                        rows_of_tiles(at, step, tile, B_at, b_k, C_at, ldc, depth, adds, columns)

    return block_by_block


def rows_of_tiles_of(along_k, dtype, code_of=TileCode):
    """A compiled function for up to MR rows and W columns of C.

    Fewer rows than MR are computed four, two and one at a time.
    """
    item = np.dtype(dtype).itemsize
    whole, four, two, single = (
        _as_wide_as_needed(n, along_k, dtype, code_of) for n in (MR, 4, 2, 1)
    )

    @plain
    def some_rows(A, a_step, rows, B, b_k, C, ldc, K, more, columns):
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

    return some_rows


def _as_wide_as_needed(rows, along_k, dtype, code_of):
    """A compiled function for that many rows, which uses a single vector if that is enough."""
    one = np.dtype(dtype).type(1)
    lanes, masked = VECTOR_BYTES // one.itemsize, code_of.in_place
    whole = _micro_kernel(rows, NV, along_k, code_of, False)
    wide, narrow = (_micro_kernel(rows, vectors, along_k, code_of, masked) for vectors in (NV, 1))

    @plain
    def call(A, a_step, B, b_k, C, ldc, K, more, columns):
        if columns == NV * lanes:
            whole(one, A, a_step, B, b_k, C, ldc, K, more, columns)
        elif columns > lanes:
            wide(one, A, a_step, B, b_k, C, ldc, K, more, columns)
        else:
            narrow(one, A, a_step, B, b_k, C, ldc, K, more, columns)

    return call


def _block_copier(dtype):
    """A compiled function that copies a block of A, stored by columns, to panels of MR rows."""
    one = np.dtype(dtype).type(1)
    item = one.itemsize

    @plain
    def copy(A_at, a_k, room, rows, depth):
        full = rows // MR
        rest = rows - full * MR  # the last panel has as many rows as are left
        to = vector(one, room, rows * depth)
        for k in range(depth):
            if depth == KC:  # A is large: fetch what the processor cannot foresee
                for line in range(0, rows * item, LINE):
                    prefetch(A_at + (k + AHEAD) * a_k * item + line)
            a = vector(one, A_at + k * a_k * item, rows)
            for panel in range(full):
                for i in range(MR):
                    to[(panel * depth + k) * MR + i] = a[panel * MR + i]
            for i in range(rest):
                to[full * MR * depth + k * rest + i] = a[full * MR + i]

    return copy


# ---------------------------------------------------------------- panels

TO_PANELS = (types.int64,) * 7  # B, N, to, b_panel, low, high, K


@plain
def panel_width(one):
    """W, the columns of a panel."""
    return NV * (VECTOR_BYTES // size_of(one))


def to_panels(dtype: str) -> Any:
    """A compiled function that copies rows low … high of B (K, N) to panels."""
    one = np.dtype(dtype).type(1)
    item, W = one.itemsize, NV * (VECTOR_BYTES // one.itemsize)

    @plain(TO_PANELS)
    def copy(B_at, N, to_at, b_panel, low, high, K):
        whole = N // W * W
        for k in range(low, high):
            b = vector(one, B_at + k * N * item, N)
            for column in range(0, whole, W):
                to = vector(one, to_at + (column // W * b_panel + k * W) * item, W)
                for i in range(W):
                    to[i] = b[column + i]
            if whole < N:
                to = vector(one, to_at + (whole // W * b_panel + k * W) * item, W)
                for i in range(N - whole):
                    to[i] = b[whole + i]

    return copy


def to_panels_of_transpose(dtype: str) -> Any:
    """A compiled function for the panels of Bᵀ (N, K), where rows low … high of B are columns."""
    one = np.dtype(dtype).type(1)
    item, W = one.itemsize, NV * (VECTOR_BYTES // one.itemsize)

    @plain(TO_PANELS)
    def copy(B_at, N, to_at, b_panel, low, high, K):
        for k in range(low, high):
            b = vector(one, B_at + k * N * item, N)
            to = vector(one, to_at + (k // W * b_panel + k % W) * item, N * W)
            for n in range(N):
                to[n * W] = b[n]

    return copy
