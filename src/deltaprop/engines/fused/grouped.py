"""The products of layers with groups, in which most weights do not exist.

The weights that exist lie in *blocks*. A rectangular block connects each of some adjacent inputs
with each of some adjacent units; a *diagonal* connects the first input with the first unit, the
second with the second, and so on. The products of (1.1) to (1.9) are sums over the blocks. They
read copies of the blocks, and of their transposes, which follow each other in the working memory.
"""

from deltaprop.engines.fused.constants import BLOCK
from deltaprop.engines.fused.lowlevel import (
    call_product,
    matrix,
    plain,
    records_of,
    size_of,
    vector,
)
from deltaprop.engines.fused.products import panel_width

block_at = records_of(BLOCK)


@plain
def affine_of_blocks(one, f, layer, n, X_at, copies, a_at):
    """a_l = X_l W_l for n rows."""
    _times_blocks(one, f, layer, n, X_at, copies, a_at, False)


@plain
def back_of_blocks(one, f, layer, n, delta_at, transposes, g_at):
    """g = δ_l W_lᵀ for n rows."""
    _times_blocks(one, f, layer, n, delta_at, transposes, g_at, True)


@plain
def _times_blocks(one, f, layer, n, A_at, blocks_at, C_at, back):
    """C = A W_l, or with `back` A W_lᵀ, for n rows; the copies of the blocks are at `blocks_at`."""
    a_row, c_row, W, item = layer.D, layer.H, panel_width(one), size_of(one)
    if back:
        a_row, c_row = c_row, a_row
    _clear(one, C_at, n * c_row)
    for i in range(layer.n_blocks):
        block = block_at(layer.blocks, i)
        a, c, K, N = block.d, block.u, block.inputs, block.units
        if back:
            a, c, K, N = c, a, N, K
        A, B, C = A_at + a * item, blocks_at + block.at * item, C_at + c * item
        if block.diagonal:
            _add_products(one, A, a_row, B, C, c_row, n, K)
        else:
            call_product(f.exact_rows_times, A, a_row, B, N, W, C, c_row, n, N, K, 1, 0)


@plain
def gradient_of_blocks(one, f, layer, n, X_at, delta_at, dW_at, low, high, more, room):
    """The existing weights in rows low … high of ∂W_l = X_lᵀ δ_l, or with `more` added to it."""
    D, H, W, item = layer.D, layer.H, panel_width(one), size_of(one)
    for i in range(layer.n_blocks):
        block = block_at(layer.blocks, i)
        first, last = max(low, block.d), min(high, block.d + block.inputs)
        if first >= last:
            continue
        u = block.u + (first - block.d if block.diagonal else 0)
        A_at, B_at, C_at = X_at + first * item, delta_at + u * item, dW_at + (first * H + u) * item
        if block.diagonal:
            _gradient_of_diagonal(one, A_at, D, B_at, H, C_at, n, last - first, more, room)
        else:
            call_product(
                f.exact_columns_times, A_at, D, B_at, H, W, C_at, H, last - first, block.units, n,
                more, room,
            )  # fmt: skip


@plain
def copy_blocks(one, layer, W_at, copies, transposes, low, high):
    """Copy the weights in rows low … high of W_l; also to the transposes, unless they are at 0."""
    H, item = layer.H, size_of(one)
    for i in range(layer.n_blocks):
        block = block_at(layer.blocks, i)
        K, units = block.inputs, block.units
        row_step = H + 1 if block.diagonal else H
        size = K if block.diagonal else K * units
        width = 1 if block.diagonal else units
        to = vector(one, copies + block.at * item, size)
        back = vector(one, (transposes if transposes else copies) + block.at * item, size)
        for k in range(max(low, block.d) - block.d, min(high, block.d + K) - block.d):
            W = vector(one, W_at + (block.d * H + block.u + k * row_step) * item, width)
            for h in range(width):
                to[k * width + h] = W[h]
                if transposes:
                    back[h * K + k] = W[h]


@plain
def _clear(one, at, n):
    values = vector(one, at, n)
    for i in range(n):
        values[i] = 0


@plain
def _add_products(one, A_at, a_row, w_at, C_at, c_row, n, K):
    """C[:, k] += A[:, k] w[k] for n rows, which are `a_row` and `c_row` scalars apart."""
    w, item = vector(one, w_at, K), size_of(one)
    for i in range(n):
        a, c = vector(one, A_at + i * a_row * item, K), vector(one, C_at + i * c_row * item, K)
        for k in range(K):
            c[k] += a[k] * w[k]


@plain
def _gradient_of_diagonal(one, A_at, a_row, B_at, b_row, C_at, n, K, more, room):
    """Σ_n A[n, k] B[n, k], for each k, to C[k, k]; the sums are formed in the room."""
    sums, item = vector(one, room, K), size_of(one)
    _clear(one, room, K)
    for i in range(n):
        a, b = vector(one, A_at + i * a_row * item, K), vector(one, B_at + i * b_row * item, K)
        for k in range(K):
            sums[k] += a[k] * b[k]
    C = matrix(one, C_at, K, b_row)
    for k in range(K):
        C[k, k] = C[k, k] + sums[k] if more else sums[k]
