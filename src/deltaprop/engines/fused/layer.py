"""What the kernel computes for one layer: the matrix products of (1.1) to (1.9), and dropout.

``layer.X``, ``layer.a``, ``layer.delta``, … are places in the working memory, and `row_at` returns
the address of a row there. Names that end in ``_at`` are addresses.

Activations are stored row by row, (n, H), or in small networks unit by unit, (H, n)
(``f.by_unit``): loops over the rows of a batch are long enough for vector instructions, and loops
over a few units are not. The products are then those of the transposes.
"""

from typing import NamedTuple

import numpy as np
from numba import uint32

from deltaprop.engines.fused.constants import FEW, FRAME, LAYER, ROOM
from deltaprop.engines.fused.grouped import (
    affine_of_blocks,
    back_of_blocks,
    copy_blocks,
    gradient_of_blocks,
)
from deltaprop.engines.fused.lowlevel import (
    call_panels,
    call_product,
    matrix,
    number,
    plain,
    records_of,
    size_of,
    vector,
)
from deltaprop.engines.fused.products import panel_width

frame_at = records_of(FRAME)
layer_at = records_of(LAYER)


class Tile(NamedTuple):
    """Rows that one thread takes through all layers together."""

    first: int  # position in `order` of its first row
    in_batch: int  # its first row, counted in the batch
    low: int  # its first row, counted in the slab: where its activations are in the working memory
    n: int  # rows
    k: int  # the thread


class Slab(NamedTuple):
    """Rows of a batch whose activations are in memory at the same time."""

    first: int  # position in `order` of its first row
    in_batch: int  # its first row, counted in the batch; 0 for the first slab
    n: int  # rows
    last: bool  # whether it is the last of the batch


@plain
def place_at(one, f, place):
    """The address of a place in the working memory."""
    return f.work + place * size_of(one)


@plain
def row_at(one, f, place, row, width):
    """The address of a row of the quantity at that place, which has `width` scalars in a row."""
    return f.work + (place + row * width) * size_of(one)


@plain
def room_at(one, f, k):
    """The address of thread k's room for copies of a product's blocks.

    Products that read A by rows use it only if they convert A.
    """
    return place_at(one, f, f.blocks + k * ROOM)


@plain
def parameters_at(one, f, position):
    """The address of a position in θ."""
    return f.theta + position * size_of(one)


@plain
def weights_at(one, f, layer):
    """The address of the weights that products read: W_l, or diag(r_l) W_l."""
    return (f.scaled if layer.r >= 0 else f.theta) + layer.W * size_of(one)


# ---------------------------------------------------------------- forward: a_l = X_l W_l, (1.1)


@plain
def affine(one, f, l, tile):
    """a_l = X_l W_l for a tile of rows. The compiled activation adds the bias."""
    layer, n, W = layer_at(f.layers, l), tile.n, panel_width(one)
    D, H, W_at = layer.D, layer.H, weights_at(one, f, layer)
    X_at = row_at(one, f, layer.X, tile.low, D)
    a_at = row_at(one, f, layer.a, tile.low, H)
    if l == 0 and f.sparse:
        _affine_of_sparse(one, f, tile.first, n, W_at, H, a_at)
    elif layer.n_blocks:
        affine_of_blocks(one, f, layer, n, X_at, place_at(one, f, layer.W_panels), a_at)
    elif f.by_unit:  # a_lᵀ = W_lᵀ X_lᵀ
        call_product(f.columns_times, W_at, H, X_at, n, W, a_at, n, H, n, D, 0, 0)
    elif f.N < FEW:
        _affine_of_few(one, X_at, W_at, a_at, n, D, H)
    elif layer.in_place:
        call_product(f.rows_times, X_at, D, W_at, H, W, a_at, H, n, H, D, 0, 0)
    else:
        panels, room = place_at(one, f, layer.W_panels), room_at(one, f, tile.k)
        call_product(f.rows_times, X_at, D, panels, W, D * W, a_at, H, n, H, D, 0, room)


@plain
def _affine_of_few(one, X_at, W_at, a_at, N, D, H):
    """a_l = X_l W_l for so few rows that copying W_l to panels costs more than it saves."""
    X, W, a = matrix(one, X_at, N, D), matrix(one, W_at, D, H), matrix(one, a_at, N, H)
    for n in range(N):
        for h in range(H):
            a[n, h] = 0
        for d in range(D):
            x = X[n, d]
            for h in range(H):
                a[n, h] += x * W[d, h]


@plain
def _affine_of_sparse(one, f, first, N, W_at, H, a_at):
    """a_0 = X_0 W_0: four rows of W_0 at a time, as each pass over a_0 reads and writes it."""
    order, indptr = vector(1, f.order, f.N), vector(1, f.indptr, f.N + 1)
    indices, values = vector(np.int32(1), f.indices, 1), vector(one, f.X, 1)
    a, step = matrix(one, a_at, N, H), H * size_of(one)
    for n in range(N):
        for h in range(H):
            a[n, h] = 0
        row = order[first + n] if f.order else first + n
        begin, end = indptr[row], indptr[row + 1]
        whole = begin + (end - begin) // 4 * 4
        for entry in range(begin, whole, 4):
            x0, W0 = values[entry], vector(one, W_at + indices[entry] * step, H)
            x1, W1 = values[entry + 1], vector(one, W_at + indices[entry + 1] * step, H)
            x2, W2 = values[entry + 2], vector(one, W_at + indices[entry + 2] * step, H)
            x3, W3 = values[entry + 3], vector(one, W_at + indices[entry + 3] * step, H)
            for h in range(H):
                a[n, h] += (x0 * W0[h] + x1 * W1[h]) + (x2 * W2[h] + x3 * W3[h])
        for entry in range(whole, end):
            x, W_d = values[entry], vector(one, W_at + indices[entry] * step, H)
            for h in range(H):
                a[n, h] += x * W_d[h]


# ---------------------------------------------------------------- backward: δ_l W_lᵀ, (1.9)


@plain
def back(one, f, l, tile):
    """g = δ_l W_lᵀ for a tile of rows, to the place of δ_{l−1}."""
    layer, below = layer_at(f.layers, l), layer_at(f.layers, l - 1)
    D, H, n, W = layer.D, layer.H, tile.n, panel_width(one)
    delta_at = row_at(one, f, layer.delta, tile.low, H)
    g_at = row_at(one, f, below.delta, tile.low, D)
    if layer.n_blocks:
        transposes = place_at(one, f, layer.W_transposed_panels)
        back_of_blocks(one, f, layer, n, delta_at, transposes, g_at)
    elif f.by_unit:  # gᵀ = W_l δ_lᵀ
        W_at = weights_at(one, f, layer)
        call_product(f.rows_times, W_at, H, delta_at, n, W, g_at, n, D, n, H, 0, 0)
    else:
        panels = place_at(one, f, layer.W_transposed_panels)
        room = room_at(one, f, tile.k)
        call_product(f.rows_times, delta_at, H, panels, W, H * W, g_at, D, n, D, H, 0, room)


# ---------------------------------------------------------------- gradients, (1.4) to (1.7)


@plain
def weight_gradient(one, f, k, l, slab, low, high):
    """Rows low … high of ∂W_l = X_lᵀ δ_l over a slab, added to those of earlier slabs."""
    layer, item, W = layer_at(f.layers, l), size_of(one), panel_width(one)
    D, H, n, more = layer.D, layer.H, slab.n, 1 if slab.in_batch else 0
    if l == 0 and f.sparse:
        _weight_gradient_of_sparse(one, f, slab, low, high)
        return
    if layer.n_blocks:
        X_at, delta_at = place_at(one, f, layer.X), place_at(one, f, layer.delta)
        dW_at, room = f.G + layer.W * item, room_at(one, f, k)
        gradient_of_blocks(one, f, layer, n, X_at, delta_at, dW_at, low, high, more, room)
        return
    X_at, delta_at = place_at(one, f, layer.X), place_at(one, f, layer.delta_panels)
    b_k, b_panel = W, f.slab * W
    if layer.in_place:
        delta_at, b_k, b_panel = place_at(one, f, layer.delta), H, W
    dW_at, rows = f.G + (layer.W + low * H) * item, high - low
    if f.by_unit:
        X_at += low * n * item
        call_product(f.rows_times, X_at, n, delta_at, b_k, b_panel, dW_at, H, rows, H, n, more, 0)
    else:
        X_at, room = X_at + low * item, room_at(one, f, k)
        call_product(
            f.columns_times, X_at, D, delta_at, b_k, b_panel, dW_at, H, rows, H, n, more, room
        )


@plain
def _weight_gradient_of_sparse(one, f, slab, low, high):
    """Rows low … high of ∂W_0, added to a gradient that is 0 wherever the batch has no entry."""
    layer = layer_at(f.layers, 0)
    order, indices = vector(1, f.order, f.N), vector(np.int32(1), f.indices, 1)
    values, H, step = vector(one, f.X, 1), layer.H, layer.H * size_of(one)
    delta = matrix(one, place_at(one, f, layer.delta), slab.n, H)
    for n in range(slab.n):
        begin, end = _entries_between(f, order[slab.first + n], low, high)
        whole = begin + (end - begin) // 2 * 2
        for entry in range(begin, whole, 2):
            x0, dW0 = values[entry], vector(one, f.G + indices[entry] * step, H)
            x1, dW1 = values[entry + 1], vector(one, f.G + indices[entry + 1] * step, H)
            for h in range(H):
                dW0[h] += x0 * delta[n, h]
                dW1[h] += x1 * delta[n, h]
        for entry in range(whole, end):
            x, dW_d = values[entry], vector(one, f.G + indices[entry] * step, H)
            for h in range(H):
                dW_d[h] += x * delta[n, h]


@plain
def _entries_between(f, row, low, high):
    """The entries of a sparse row in columns low … high; they are sorted by column."""
    indptr, indices = vector(1, f.indptr, f.N + 1), vector(np.int32(1), f.indices, 1)
    begin, end = indptr[row], indptr[row + 1]
    while begin < end and indices[begin] < low:
        begin += 1
    while begin < end and indices[end - 1] >= high:
        end -= 1
    return begin, end


@plain
def clear_sparse(one, f, first, N, low, high):
    """Set rows low … high of ∂W_0 to 0 again where the N rows of a batch have entries, or noise."""
    if f.noise:
        H = layer_at(f.layers, 0).H
        dW = vector(one, f.G + low * H * size_of(one), (high - low) * H)
        for i in range((high - low) * H):
            dW[i] = 0
        return
    order, indices = vector(1, f.order, f.N), vector(np.int32(1), f.indices, 1)
    H, step = layer_at(f.layers, 0).H, layer_at(f.layers, 0).H * size_of(one)
    for n in range(N):
        begin, end = _entries_between(f, order[first + n], low, high)
        for entry in range(begin, end):
            dW_d = vector(one, f.G + indices[entry] * step, H)
            for h in range(H):
                dW_d[h] = 0


@plain
def bias_gradient(one, f, l, slab):
    """∂b_l = Σ_n δ_l over a slab, added to those of earlier slabs; likewise ∂α_l."""
    layer = layer_at(f.layers, l)
    _add_columns(one, f, slab, layer.H, layer.delta, layer.b)
    if layer.alpha >= 0:
        _add_columns(one, f, slab, layer.H, layer.mixed, layer.alpha)


@plain
def _add_columns(one, f, slab, H, place, position):
    """Σ_n of the rows of a slab at that place, to that position of the gradient."""
    N, delta_at = slab.n, place_at(one, f, place)
    db = vector(one, f.G + position * size_of(one), H)
    if not slab.in_batch:
        for h in range(H):
            db[h] = 0
    if f.by_unit:
        delta = matrix(one, delta_at, H, N)
        for h in range(H):
            total = one - one
            for n in range(N):
                total += delta[h, n]
            db[h] += total
    else:
        delta, whole = matrix(one, delta_at, N, H), N // 4 * 4
        for n in range(0, whole, 4):  # fewer additions that wait for each other
            for h in range(H):
                db[h] += (delta[n, h] + delta[n + 1, h]) + (delta[n + 2, h] + delta[n + 3, h])
        for n in range(whole, N):
            for h in range(H):
                db[h] += delta[n, h]


# ---------------------------------------------------------------- panels


@plain
def delta_to_panels(one, f, l, tile):
    """Copy a tile of δ_l to the panels that ∂W_l is computed from, unless it is read in place."""
    layer, W = layer_at(f.layers, l), panel_width(one)
    if layer.in_place or (l == 0 and f.sparse):
        return
    H, n, low, b_panel = layer.H, tile.n, tile.low, f.slab * W
    delta_at, to_at = place_at(one, f, layer.delta), place_at(one, f, layer.delta_panels)
    if f.by_unit:
        call_panels(f.to_panels_of_transpose, delta_at, n, to_at, b_panel, 0, H, H)
    else:
        call_panels(f.to_panels, delta_at, H, to_at, b_panel, low, low + n, low + n)


@plain
def W_to_panels(one, f, l, low, high):
    """Copy rows low … high of W_l, times r_l, to the panels of W_l and W_lᵀ that products read."""
    layer, W = layer_at(f.layers, l), panel_width(one)
    if layer.r >= 0:
        _scale_rows(one, f, layer, low, high)
    if f.by_unit or (l == 0 and f.sparse):
        return
    if layer.n_blocks:
        copies, transposes = place_at(one, f, layer.W_panels), 0
        if l > 0 and f.backward:
            transposes = place_at(one, f, layer.W_transposed_panels)
        copy_blocks(one, layer, weights_at(one, f, layer), copies, transposes, low, high)
        return
    D, H, W_at = layer.D, layer.H, weights_at(one, f, layer)
    if not layer.in_place:
        to_at = place_at(one, f, layer.W_panels)
        call_panels(f.to_panels, W_at, H, to_at, D * W, low, high, D)
    if l > 0 and f.backward:
        to_at = place_at(one, f, layer.W_transposed_panels)
        call_panels(f.to_panels_of_transpose, W_at, H, to_at, H * W, low, high, D)


# ---------------------------------------------------------------- r_l and α_l


@plain
def _scale_rows(one, f, layer, low, high):
    """Rows low … high of diag(r_l) W_l."""
    H = layer.H
    at, size, item = layer.W + low * H, (high - low) * H, size_of(one)
    W, V = vector(one, f.theta + at * item, size), vector(one, f.scaled + at * item, size)
    r = vector(one, parameters_at(one, f, layer.r + low), high - low)
    for d in range(high - low):
        factor = r[d]
        for h in range(H):
            V[d * H + h] = factor * W[d * H + h]


@plain
def keep_existing(one, f, layer, low, high):
    """∂W_dh ← 0 in rows low … high where input d and unit h are in different groups."""
    H = layer.H
    G = vector(one, f.G + (layer.W + low * H) * size_of(one), (high - low) * H)
    inputs, units = vector(1, layer.input_groups, layer.D), vector(1, layer.unit_groups, H)
    for d in range(high - low):
        group = inputs[low + d]
        for h in range(H):
            if units[h] != group:
                G[d * H + h] = 0


@plain
def through_scales(one, f, layer, low, high):
    """∂r_d = Σ_h W_dh ∂V_dh and ∂W_d = r_d ∂V_d for rows low … high, where V_l = diag(r_l) W_l."""
    H = layer.H
    at, size, item = layer.W + low * H, (high - low) * H, size_of(one)
    W, G = vector(one, f.theta + at * item, size), vector(one, f.G + at * item, size)
    r = vector(one, parameters_at(one, f, layer.r + low), high - low)
    dr = vector(one, f.G + (layer.r + low) * item, high - low)
    for d in range(high - low):
        factor, total = r[d], one - one
        for h in range(H):
            i = d * H + h
            total += W[i] * G[i]
            G[i] *= factor
        dr[d] = total


@plain
def mix(one, f, l, tile):
    """z ← a + α ⊙ (f(a) - a) for a tile of the outputs of layer l; f(a) is kept for training."""
    layer, N = layer_at(f.layers, l), tile.n
    H, alpha = layer.H, vector(one, parameters_at(one, f, layer.alpha), layer.H)
    rows, columns = (H, N) if f.by_unit else (N, H)
    a = matrix(one, row_at(one, f, layer.a, tile.low, H), rows, columns)
    z = matrix(one, row_at(one, f, layer.z, tile.low, H), rows, columns)
    if f.backward:
        kept = vector(one, row_at(one, f, layer.f, tile.low, H), N * H)
        values = vector(one, row_at(one, f, layer.z, tile.low, H), N * H)
        for i in range(N * H):
            kept[i] = values[i]
    for i in range(rows):
        if f.by_unit:
            part = alpha[i]
            for j in range(columns):
                z[i, j] = a[i, j] + part * (z[i, j] - a[i, j])
        else:
            for j in range(columns):
                z[i, j] = a[i, j] + alpha[j] * (z[i, j] - a[i, j])


@plain
def before_pull_back(one, f, l, tile):
    """Of g = ∂L/∂X_{l+1}, α ⊙ g passes through f; g itself is kept at the place `mixed`."""
    layer, N = layer_at(f.layers, l), tile.n
    H, alpha = layer.H, vector(one, parameters_at(one, f, layer.alpha), layer.H)
    rows, columns = (H, N) if f.by_unit else (N, H)
    g = matrix(one, row_at(one, f, layer.delta, tile.low, H), rows, columns)
    kept = matrix(one, row_at(one, f, layer.mixed, tile.low, H), rows, columns)
    for i in range(rows):
        if f.by_unit:
            part = alpha[i]
            for j in range(columns):
                kept[i, j] = g[i, j]
                g[i, j] *= part
        else:
            for j in range(columns):
                kept[i, j] = g[i, j]
                g[i, j] *= alpha[j]


@plain
def after_pull_back(one, f, l, tile):
    """δ_l with the part of g that passes by f, and the summands g ⊙ (f(a) - a) of ∂α_l."""
    layer, N = layer_at(f.layers, l), tile.n
    H, alpha = layer.H, vector(one, parameters_at(one, f, layer.alpha), layer.H)
    rows, columns = (H, N) if f.by_unit else (N, H)
    a = matrix(one, row_at(one, f, layer.a, tile.low, H), rows, columns)
    f_of_a = matrix(one, row_at(one, f, layer.f, tile.low, H), rows, columns)
    delta = matrix(one, row_at(one, f, layer.delta, tile.low, H), rows, columns)
    kept = matrix(one, row_at(one, f, layer.mixed, tile.low, H), rows, columns)
    for i in range(rows):
        if f.by_unit:
            part = alpha[i]
            for j in range(columns):
                g = kept[i, j]
                delta[i, j] += g - part * g
                kept[i, j] = g * (f_of_a[i, j] - a[i, j])
        else:
            for j in range(columns):
                g = kept[i, j]
                delta[i, j] += g - alpha[j] * g
                kept[i, j] = g * (f_of_a[i, j] - a[i, j])


# ---------------------------------------------------------------- dropout


@plain
def _mix(x):
    """The hash of functions/masks.py."""
    x = uint32(x)
    x = uint32(x ^ (x >> uint32(16)))
    x = uint32(x * uint32(0x7FEB352D))
    x = uint32(x ^ (x >> uint32(15)))
    x = uint32(x * uint32(0x846CA68B))
    return uint32(x ^ (x >> uint32(16)))


@plain
def drop(one, f, l, tile, step, values_at):
    """values ⊙ mask, the mask of layer l for this step and the tile's rows of the batch.

    The mask is that of functions/masks.py, a hash of the seed, the step, the layer, the row and the
    unit, so it does not depend on which thread computes it.
    """
    layer, N = layer_at(f.layers, l), tile.n
    H, p = layer.H, layer.dropout * f.step_dropout
    values, scale = vector(one, values_at, N * H), number(one, 1 / (1 - p))
    step_n, step_h = (1, N) if f.by_unit else (H, 1)
    key = _mix(uint32(f.seed))
    key = _mix(key ^ uint32(step))
    key = _mix(key ^ uint32(l))
    threshold = uint32(min(p * 4294967296.0, 4294967295.0))
    unit_keys = vector(np.uint32(1), f.unit_keys, H)
    for n in range(N):
        row = _mix(key ^ uint32(tile.in_batch + n))
        for h in range(H):
            bits = _mix(row ^ unit_keys[h])
            i = n * step_n + h * step_h
            values[i] = values[i] * scale if bits >= threshold else one - one
