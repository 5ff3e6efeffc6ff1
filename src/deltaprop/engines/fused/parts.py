"""The parts of a step: what a thread computes for a tile of rows, or for a piece of W_l.

All parts are computed by one compiled function, `part`, which is compiled apart from the loops of
`kernel.py` and called by its address. Otherwise LLVM would optimise its code again in each function
that calls it, which takes several times as long.
"""

import math
from typing import Any, NamedTuple

import numpy as np
from numba import types

from deltaprop.engines.fused.constants import (
    ADAM,
    CLIPPED,
    GRADIENT,
    MOST_PIECES,
    PARAMETERS,
    PIECE,
    PREDICTION,
    ROWS_OF_BATCH,
    TOGETHER,
)
from deltaprop.engines.fused.grouped import block_at
from deltaprop.engines.fused.layer import (
    Slab,
    Tile,
    W_to_panels,
    affine,
    after_pull_back,
    back,
    before_pull_back,
    bias_gradient,
    clear_sparse,
    delta_to_panels,
    drop,
    frame_at,
    keep_existing,
    layer_at,
    mix,
    parameters_at,
    row_at,
    through_scales,
    weight_gradient,
)
from deltaprop.engines.fused.lowlevel import (
    call_block,
    call_gather,
    call_loss,
    number,
    plain,
    size_of,
    vector,
)
from deltaprop.engines.fused.per_sample import clip_samples, privatize
from deltaprop.optim.transforms import SMALLEST_SCALE

WEIGHTS, GRADIENTS = 0, 1  # which sums of squares of a layer: see `place_of_sum`
BIAS = MOST_PIECES  # stands for ∂b_l, after the pieces of ∂W_l
PART = (types.int64,) * 4  # the frame's address, the thread, the kind of the phase, the part


class Step(NamedTuple):
    """One update of θ from one batch."""

    start: int  # position in `order` of the batch's first row
    size: int  # rows of the batch
    number: int  # of updates, this one included
    scale: float  # of each row's loss
    l2: float  # λ of this batch's penalty λ/2 ‖W‖²
    gain: float  # learning rate, with Adam's correction of its moments' bias
    decay: float  # learning rate times weight decay
    dropout: float  # the factor of the layers' probabilities


def part(dtype: str) -> Any:
    """A compiled function that computes a part of a phase in this dtype, as thread k."""
    one = np.dtype(dtype).type(1)

    @plain(PART)
    def compute(frame, k, kind, part):
        f = frame_at(frame, 0)
        if kind == ROWS_OF_BATCH:
            _tile_of_batch(one, f, k, part)
        elif kind == PARAMETERS:
            _piece_of_gradient(one, f, k, part // MOST_PIECES, part % MOST_PIECES)
        elif kind == CLIPPED:
            _clipped_update(one, f, part // MOST_PIECES, part % MOST_PIECES)
        elif kind == TOGETHER:
            _update(one, f, 0, f.P, 0.0, 0.0, f.step_gain, 1.0, 1.0)
        elif kind == PREDICTION:
            _predict_tile(one, f, k, part)
        else:
            _share_of_panels(one, f, part)

    return compute


@plain
def _present_step(f):
    return Step(
        f.step_start,
        f.step_size,
        f.step_number,
        f.step_scale,
        f.step_l2,
        f.step_gain,
        f.step_decay,
        f.step_dropout,
    )


@plain
def _present_slab(f):
    return Slab(f.slab_first, f.slab_in_batch, f.slab_n, f.slab_last != 0)


# ---------------------------------------------------------------- first phase: rows


@plain
def _tile_of_batch(one, f, k, i):
    """Forward and backward pass of tile i of the slab."""
    step, slab = _present_step(f), _present_slab(f)
    tiles = (slab.n + f.tile - 1) // f.tile
    low, high = _first_row(f, slab.n, i, tiles), _first_row(f, slab.n, i + 1, tiles)
    n = high - low
    tile = Tile(slab.first + low, slab.in_batch + low, low, n, k)
    _forward(one, f, tile, step.number - 1, True)
    _loss(one, f, tile, step.scale)
    _backward(one, f, tile, step.number - 1)


@plain
def _first_row(f, n, i, tiles):
    """The first row of tile i of n rows: tiles are equally large, but for multiples of f.unit."""
    units = (n + f.unit - 1) // f.unit
    return min(n, units * i // tiles * f.unit)


@plain
def _predict_tile(one, f, k, i):
    """The outputs of tile i of all rows, in thread k's part of the working memory."""
    last = layer_at(f.layers, f.L - 1)
    H, low, row = last.H, k * f.tile, i * f.tile
    n = min(f.tile, f.N - row)
    _forward(one, f, Tile(row, 0, low, n, k), 0, False)
    z = vector(one, row_at(one, f, last.z, low, H), n * H)
    out = vector(one, f.out + row * H * size_of(one), n * H)
    for j in range(n * H):
        out[j] = z[j]


@plain
def _forward(one, f, tile, step, train):
    """X_l and a_l of a tile, for all layers."""
    n, by_unit, scratch = tile.n, f.by_unit, row_at(one, f, f.scratch, tile.low, 2)
    if not f.sparse:
        first = layer_at(f.layers, 0)
        X_at = row_at(one, f, first.X, tile.low, first.D)
        order_at = f.order + tile.first * 8 if f.order else 0
        call_gather(f.gather, f.X, f.row, f.column, order_at, tile.first, n, first.D, X_at, by_unit)
    for l in range(f.L):
        layer = layer_at(f.layers, l)
        H, b_at = layer.H, parameters_at(one, f, layer.b)
        z_at = row_at(one, f, layer.z, tile.low, H)
        a_at = row_at(one, f, layer.a, tile.low, H)
        affine(one, f, l, tile)
        call_block(layer.forward, a_at, z_at, b_at, scratch, n, H, by_unit)
        if layer.alpha >= 0:
            mix(one, f, l, tile)
        if train and layer.dropout > 0:
            drop(one, f, l, tile, step, z_at)


@plain
def _loss(one, f, tile, scale):
    """The loss of each row of a tile, and δ of the last layer, times `scale` and the weights."""
    if f.max_norm > 0:
        scale = 1.0  # a gradient is clipped before it is divided by anything
    last, n = layer_at(f.layers, f.L - 1), tile.n
    H, by_unit, scratch = last.H, f.by_unit, row_at(one, f, f.scratch, tile.low, 2)
    t_at = row_at(one, f, f.batch_targets, tile.low, f.K)
    losses_at = row_at(one, f, f.batch_losses, tile.low, 1)
    a_at = row_at(one, f, last.a, tile.low, H)
    z_at = row_at(one, f, last.z, tile.low, H)
    delta_at = row_at(one, f, last.delta, tile.low, H)
    _gather_targets(one, f, tile, t_at)
    call_loss(f.loss, t_at, a_at, z_at, delta_at, losses_at, scratch, n, H, by_unit)
    if not f.collapsed:
        call_block(last.pull_back, a_at, z_at, delta_at, scratch, n, H, by_unit)
    losses, delta = vector(one, losses_at, n), vector(one, delta_at, n * H)
    if f.weights:
        order, weights = vector(1, f.order, f.N), vector(one, f.weights, f.N)
        step_n, step_h = (1, n) if by_unit else (H, 1)
        for i in range(n):
            w = weights[order[tile.first + i]]
            losses[i] *= w
            for h in range(H):
                delta[i * step_n + h * step_h] *= w * number(one, scale)
    elif scale != 1.0:
        for i in range(n * H):
            delta[i] *= number(one, scale)


@plain
def _gather_targets(one, f, tile, t_at):
    """Copy the targets of a tile."""
    n, K = tile.n, f.K
    order, codes = vector(1, f.order, f.N), vector(1, f.codes, f.N)
    t, step_n, step_k = vector(one, t_at, n * K), K, 1
    if f.by_unit:
        step_n, step_k = 1, n
    for i in range(n):
        row = order[tile.first + i]
        if f.codes:
            row = codes[row]
        y = vector(one, f.targets + row * K * size_of(one), K)
        for j in range(K):
            t[i * step_n + j * step_k] = y[j]


@plain
def _backward(one, f, tile, step):
    """δ_l of a tile from the last layer's, (1.9), and the panels that ∂W_l is computed from."""
    n, by_unit, scratch = tile.n, f.by_unit, row_at(one, f, f.scratch, tile.low, 2)
    for l in range(f.L - 1, -1, -1):
        if not f.norms:
            delta_to_panels(one, f, l, tile)
        if l == 0:
            break
        back(one, f, l, tile)
        below = layer_at(f.layers, l - 1)
        H, dropout = below.H, below.dropout
        g_at = row_at(one, f, below.delta, tile.low, H)
        a_at = row_at(one, f, below.a, tile.low, H)
        z_at = row_at(one, f, below.z, tile.low, H)
        if dropout > 0:
            drop(one, f, l - 1, tile, step, g_at)
        if below.alpha >= 0:
            f_at = row_at(one, f, below.f, tile.low, H)
            before_pull_back(one, f, l - 1, tile)
            call_block(below.pull_back, a_at, f_at, g_at, scratch, n, H, by_unit)
            after_pull_back(one, f, l - 1, tile)
            continue
        if dropout > 0:
            # f′ may need f(a) without the mask, ∂W_l needs it with: the mask is restored below.
            call_block(below.forward, a_at, z_at, 0, scratch, n, H, by_unit)
        call_block(below.pull_back, a_at, z_at, g_at, scratch, n, H, by_unit)
        if dropout > 0:
            drop(one, f, l - 1, tile, step, z_at)
    if f.norms:
        clip_samples(one, f, tile)
        for l in range(f.L):
            delta_to_panels(one, f, l, tile)


# ---------------------------------------------------------------- second phase: parameters


@plain
def _piece_of_gradient(one, f, k, l, piece):
    """The gradient of a piece of W_l, with one piece also that of b_l, and their update."""
    step, slab = _present_step(f), _present_slab(f)
    layer, pieces, together = layer_at(f.layers, l), pieces_of(f, l), updates_together(f, step)
    low, high = _rows_of_piece(f, l, piece, pieces)
    weight_gradient(one, f, k, l, slab, low, high)
    if slab.last and not together:
        _finish_piece(one, f, k, step, l, piece, low, high)
    if not _has_bias(l, piece, pieces):
        return
    bias_gradient(one, f, l, slab)
    if slab.last and f.max_norm > 0:
        privatize(one, f, k, step, layer.b, layer.H)
    if slab.last and _needs_whole_gradient(f):
        parts = vector(1.0, f.parts, 1)
        total = _complete(one, f, layer.b, layer.H, 0.0)
        if layer.alpha >= 0:
            total += _complete(one, f, layer.alpha, layer.H, 0.0)
        parts[place_of_sum(l, GRADIENTS, BIAS)] = total
    elif slab.last and not together:
        _update_by_unit(one, f, layer, step, 1.0)


@plain
def _has_bias(l, piece, pieces):
    """Whether b_l belongs to this piece of W_l, the first or the last: so threads alternate."""
    return piece == (pieces - 1 if l % 2 else 0)


@plain
def _needs_whole_gradient(f):
    """Whether the gradient must be complete before any update, or no update is wanted."""
    return f.clip > 0 or f.rule == GRADIENT


@plain
def updates_together(f, step):
    """Whether one loop updates all parameters, which is faster for small networks."""
    # W_l and b_l are updated by the same rule.
    alike = step.l2 == 0 and f.decay == 0 and f.max_norm == 0 and f.scales == 0
    alike = alike and f.scaled == 0 and f.by_layer == 0
    return f.by_unit and alike and not _needs_whole_gradient(f)


@plain
def pieces_of(f, l):
    """How many pieces W_l has: each fits the cache, and all threads get equally many."""
    layer = layer_at(f.layers, l)
    D, H = layer.D, layer.H
    if l == 0 and f.sparse:
        return max(1, min(MOST_PIECES, D, f.pieces))  # each piece reads all entries of the batch
    each = (D * H + f.pieces * PIECE - 1) // (f.pieces * PIECE)
    return max(1, min(MOST_PIECES, D // 16, f.pieces * each))


@plain
def all_pieces(f):
    """How many pieces all W_l have together."""
    total = 0
    for l in range(f.L):
        total += pieces_of(f, l)
    return total


@plain
def _rows_of_piece(f, l, piece, pieces):
    """The first row of a piece of W_l, and the row after its last."""
    D = layer_at(f.layers, l).D
    return D * piece // pieces, D * (piece + 1) // pieces


@plain
def place_of_sum(l, which, piece):
    """The position in `parts` of a sum of squares: layer by layer WEIGHTS, then GRADIENTS."""
    return (2 * l + which) * (MOST_PIECES + 1) + piece


@plain
def _finish_piece(one, f, k, step, l, piece, low, high):
    """After the gradient of rows low … high of W_l: sums of squares, and the update of the rows."""
    layer = layer_at(f.layers, l)
    parts = vector(1.0, f.parts, 1)
    at, size = layer.W + low * layer.H, (high - low) * layer.H
    if layer.unit_groups != 0:
        keep_existing(one, f, layer, low, high)
    if layer.r >= 0:
        through_scales(one, f, layer, low, high)
    if step.l2 > 0:
        parts[place_of_sum(l, WEIGHTS, piece)] = _squares(one, parameters_at(one, f, at), size)
    if f.max_norm > 0:
        privatize(one, f, k, step, at, size)
    if _needs_whole_gradient(f):
        total = _complete(one, f, at, size, step.l2)
        if layer.r >= 0:
            total += _complete(one, f, layer.r + low, high - low, 0.0)
        parts[place_of_sum(l, GRADIENTS, piece)] = total
        return
    _update_weights(one, f, l, low, high, step, step.l2, 1.0)
    W_to_panels(one, f, l, low, high)
    if l == 0 and f.sparse:
        clear_sparse(one, f, step.start, step.size, low, high)


@plain
def _update(one, f, at, n, l2, decay, gain, clip, factor):
    """Update n parameters from position `at` of θ on.

    The gradient is multiplied by `clip`, and the step, but for `decay`, by `factor`.
    """
    at *= size_of(one)
    theta, g_of = vector(one, f.theta + at, n), vector(one, f.G + at, n)
    first, second = vector(one, f.first + at, n), vector(one, f.second + at, n)
    rule = _rule(one, f, l2, decay, gain, clip, factor)
    if f.rule == ADAM:
        for i in range(n):
            _adam(rule, theta, g_of, first, second, i)
    else:
        for i in range(n):
            _sgd(rule, theta, g_of, first, i)


@plain
def _update_rows(one, f, at, rows, row_step, n, l2, decay, gain, clip, factor):
    """The same for the first n parameters of rows that begin `row_step` parameters apart."""
    at, size = at * size_of(one), (rows - 1) * row_step + n
    theta, g_of = vector(one, f.theta + at, size), vector(one, f.G + at, size)
    first, second = vector(one, f.first + at, size), vector(one, f.second + at, size)
    rule = _rule(one, f, l2, decay, gain, clip, factor)
    if f.rule == ADAM:
        for row in range(0, rows * row_step, row_step):
            for i in range(row, row + n):
                _adam(rule, theta, g_of, first, second, i)
    else:
        for row in range(0, rows * row_step, row_step):
            for i in range(row, row + n):
                _sgd(rule, theta, g_of, first, i)


class Rule(NamedTuple):
    """The numbers of an update rule, in the dtype of the network."""

    l2: float
    decay: float
    gain: float
    clip: float
    factor: float
    b1: float
    b2: float
    c1: float
    c2: float
    epsilon: float
    nesterov: int


@plain
def _rule(one, f, l2, decay, gain, clip, factor):
    return Rule(
        number(one, l2), number(one, decay), number(one, gain), number(one, clip),
        number(one, factor), number(one, f.b1), number(one, f.b2), number(one, 1 - f.b1),
        number(one, 1 - f.b2), number(one, f.epsilon), f.nesterov,
    )  # fmt: skip


@plain
def _adam(rule, theta, g_of, first, second, i):
    x = theta[i]
    g = (g_of[i] + rule.l2 * x) * rule.clip
    m = rule.b1 * first[i] + rule.c1 * g
    v = rule.b2 * second[i] + rule.c2 * (g * g)
    first[i], second[i] = m, v
    step = rule.gain * rule.factor * m / (math.sqrt(v) + rule.epsilon)
    theta[i] = x - step - rule.decay * x


@plain
def _sgd(rule, theta, g_of, first, i):
    x = theta[i]
    g = (g_of[i] + rule.l2 * x) * rule.clip
    v = rule.b1 * first[i] - rule.gain * g
    first[i] = v
    theta[i] = x + rule.factor * (rule.b1 * v - rule.gain * g if rule.nesterov else v)


@plain
def _update_weights(one, f, l, low, high, step, l2, clip):
    """Update rows low … high of W_l, and of r_l; the gradient is multiplied by `clip`."""
    layer = layer_at(f.layers, l)
    if l == 0 and f.scales != 0:
        for d in range(low, high):
            _update_scaled(one, f, d, layer.W + d * layer.H, layer.H, step, l2, clip)
    elif layer.n_blocks:
        _update_blocks(one, f, layer, low, high, step, l2, clip)
    else:
        at, size, rate = layer.W + low * layer.H, (high - low) * layer.H, layer.rate_W
        _update(one, f, at, size, l2, step.decay * rate, step.gain, clip, rate)
    if layer.r >= 0:
        at = layer.r + low
        _update(one, f, at, high - low, 0.0, 0.0, step.gain, clip, layer.rate_r)


@plain
def _update_blocks(one, f, layer, low, high, step, l2, clip):
    """Update the weights that exist in rows low … high of W_l."""
    H, rate, decay = layer.H, layer.rate_W, step.decay * layer.rate_W
    for i in range(layer.n_blocks):
        block = block_at(layer.blocks, i)
        d, last = max(low, block.d), min(high, block.d + block.inputs)
        if d >= last:
            continue
        u, n, row_step = block.u, block.units, H
        if block.diagonal:
            u, n, row_step = block.u + d - block.d, 1, H + 1
        at = layer.W + d * H + u
        _update_rows(one, f, at, last - d, row_step, n, l2, decay, step.gain, clip, rate)


@plain
def _update_by_unit(one, f, layer, step, clip):
    """Update b_l and α_l; the gradient is multiplied by `clip`."""
    _update(one, f, layer.b, layer.H, 0.0, 0.0, step.gain, clip, layer.rate_b)
    if layer.alpha >= 0:
        _update(one, f, layer.alpha, layer.H, 0.0, 0.0, step.gain, clip, layer.rate_alpha)


@plain
def _update_scaled(one, f, d, at, H, step, l2, clip):
    """Update r_d and row d of V, where W_0 = diag(r) V; the row begins at position `at` of θ."""
    at *= size_of(one)
    W, g_of = vector(one, f.theta + at, H), vector(one, f.G + at, H)
    first, second = vector(one, f.first + at, H), vector(one, f.second + at, H)
    n = d + 1
    scales = vector(one, f.scales, n)
    r_first, r_second = vector(one, f.scales_first, n), vector(one, f.scales_second, n)
    l2, clip, gain = number(one, l2), number(one, clip), number(one, step.gain)
    decay, rate = number(one, step.decay), number(one, f.scale_rate)
    b1, b2, eps = number(one, f.b1), number(one, f.b2), number(one, f.epsilon)
    c1, c2, smallest = number(one, 1 - f.b1), number(one, 1 - f.b2), number(one, SMALLEST_SCALE)
    r, total = scales[d], one - one
    for h in range(H):
        total += (g_of[h] + l2 * W[h]) * clip * W[h]
    g = total / r
    m = b1 * r_first[d] + c1 * g
    v = b2 * r_second[d] + c2 * (g * g)
    r_first[d], r_second[d] = m, v
    new = r - rate * gain * m / (math.sqrt(v) + eps)
    if abs(new) < smallest:
        new = smallest
    scales[d] = new
    for h in range(H):
        x = W[h] / r
        g = (g_of[h] + l2 * W[h]) * clip * r
        m = b1 * first[h] + c1 * g
        v = b2 * second[h] + c2 * (g * g)
        first[h], second[h] = m, v
        W[h] = (x - gain * m / (math.sqrt(v) + eps) - decay * x) * new


@plain
def _complete(one, f, at, n, l2):
    """Add the gradient of the penalty to n entries of G; returns the sum of their squares."""
    at *= size_of(one)
    theta, g, l2 = vector(one, f.theta + at, n), vector(one, f.G + at, n), number(one, l2)
    for i in range(n):
        g[i] += l2 * theta[i]
    return _squares(one, f.G + at, n)


@plain
def _squares(one, at, n):
    values, total = vector(one, at, n), one - one
    for i in range(n):
        total += values[i] * values[i]
    return float(total)


@plain
def _clipped_update(one, f, l, piece):
    """Update a piece of W_l with its gradient times the clip factor, with one piece also b_l."""
    step, layer, pieces = _present_step(f), layer_at(f.layers, l), pieces_of(f, l)
    low, high = _rows_of_piece(f, l, piece, pieces)
    at, size = layer.W + low * layer.H, (high - low) * layer.H
    _update_weights(one, f, l, low, high, step, 0.0, f.clip_factor)
    W_to_panels(one, f, l, low, high)
    if l == 0 and f.sparse:
        G = vector(one, f.G + at * size_of(one), size)
        for i in range(size):
            G[i] = 0
    if _has_bias(l, piece, pieces):
        _update_by_unit(one, f, layer, step, f.clip_factor)


@plain
def _share_of_panels(one, f, i):
    """Copy the i-th of n_threads shares of every W_l to panels."""
    for l in range(f.L):
        low, high = _rows_of_piece(f, l, i, f.n_threads)
        W_to_panels(one, f, l, low, high)
