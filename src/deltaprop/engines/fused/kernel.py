"""The compiled kernel: many steps of a training run in one call, the same code in every thread.

A step has two halves, and each half ends at a barrier:

1. Threads divide the rows of the batch. Each takes *tiles* of rows through all layers, forward and
   back, and leaves their X_l, δ_l and losses in memory that all threads share.
2. Threads divide the parameters. Each takes *pieces* of the rows of every W_l, computes their
   gradient ∂W_l = X_lᵀ δ_l over the whole batch, and updates them while they are in the cache.

The first barrier makes sure that all δ_l are complete before a gradient is computed from them, the
second one that all of θ is updated before the next step reads it. A third one is needed only if the
gradient is clipped, because its norm must be known before any parameter is updated.

Results are reproducible to the bit, because they do not depend on which thread computes what. The
activations of a row are computed from that row alone. Each number of a gradient is one sum over all
rows of the slab, by one thread, in an order that is fixed. Sums over pieces (norms, penalties) are
stored piece by piece and then added up in one order. Only the number of pieces depends on the
number of threads, unless `reproducible` fixes it (see `layout.py`). `sharing.py` has the barrier
and explains how a thread that has finished its share takes over parts of others.

A batch larger than a *slab* passes through both halves slab by slab, and its gradient is the sum of
theirs.
"""

import math
from typing import NamedTuple

from deltaprop.engines.fused.constants import (
    ADAM,
    FEW,
    GRADIENT,
    MOST_PIECES,
    NORMS,
    PIECE,
    SKLEARN,
    SUM,
)
from deltaprop.engines.fused.layer import (
    Slab,
    Tile,
    W_to_panels,
    affine,
    back,
    bias_gradient,
    clear_sparse,
    delta_to_panels,
    drop,
    frame_at,
    layer_at,
    parameters_at,
    place_at,
    row_at,
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
from deltaprop.engines.fused.sharing import barrier, claimed, part_of, release

WEIGHTS, GRADIENTS = 0, 1  # which sums of squares of a layer, one for each piece: see `_part`
BIAS = MOST_PIECES  # stands for ∂b_l, after the pieces of ∂W_l


class Step(NamedTuple):
    """One update of θ from one batch."""

    start: int  # position in `order` of the batch's first row
    size: int  # rows of the batch
    number: int  # of updates, this one included
    scale: float  # of each row's loss
    l2: float  # λ of this batch's penalty λ/2 ‖W‖²
    rate: float  # learning rate
    gain: float  # learning rate with Adam's correction of its moments' bias


# ---------------------------------------------------------------- entry points


@plain
def run(one, k, frame):
    """Train for `n_steps`, from step `start` of the epochs in `order` on, as thread k.

    θ and the optimizer state are changed. `result` receives the number of updates, and each
    epoch's loss is added to it.
    """
    f = frame_at(frame, 0)
    rates, result = vector(1.0, f.rates, f.n_steps), vector(1.0, f.result, 1)
    order, weights = vector(1, f.order, f.N), vector(one, f.weights, f.N)
    steps_per_epoch = (f.N + f.batch - 1) // f.batch
    updates = f.step
    _all_W_to_panels(one, f, k)
    for s in range(f.n_steps):
        epoch, step_of_epoch = (f.start + s) // steps_per_epoch, (f.start + s) % steps_per_epoch
        start = epoch * f.N + step_of_epoch * f.batch
        size = min(f.batch, f.N - step_of_epoch * f.batch)
        total_weight = float(size)
        if f.weights:
            total_weight = 0.0  # in a separate function, LLVM would reorder this sum
            for i in range(size):
                total_weight += weights[order[start + i]]
        if total_weight == 0.0 and f.max_norm == 0:
            continue  # all weights are zero, and every thread skips the batch
        updates += 1
        step = _step(f, start, size, updates, total_weight, rates[s])
        loss = _gradient_and_update(one, f, k, step)
        if f.clip > 0:
            _clipped_update(one, f, k, step, _clip_factor(f))
            barrier(vector(1, f.sync, 16), f.n_threads)
        if k == 0:
            share = 1.0 if f.reduction == SUM else size / f.rows_of_epoch
            penalty = 0.5 * step.l2 * _sum_of_parts(f, WEIGHTS) if step.l2 > 0 else 0.0
            result[1 + epoch] += share * (loss + penalty)
            result[0] = updates


@plain
def predict(one, k, frame):
    """Write the outputs of all N rows to `out`; each thread uses its own part of the memory."""
    f = frame_at(frame, 0)
    if f.N >= FEW:
        _all_W_to_panels(one, f, k)
    last = layer_at(f.layers, f.L - 1)
    H, low = last.H, k * f.tile
    row, end = f.N * k // f.n_threads, f.N * (k + 1) // f.n_threads
    while row < end:
        n = min(f.tile, end - row)
        _forward(one, f, Tile(row, 0, low, n), 0, False)
        z = vector(one, row_at(one, f, last.z, low, H), n * H)
        out = vector(one, f.out + row * H * size_of(one), n * H)
        for i in range(n * H):
            out[i] = z[i]
        row += n


# ---------------------------------------------------------------- a step


@plain
def _step(f, start, size, updates, total_weight, rate):
    """The step for a batch: its factors follow from the reduction and the update rule."""
    if f.max_norm > 0:  # private training divides by public numbers only
        total_weight, batch = float(size), float(f.batch)
    else:
        batch = total_weight
    scale, l2, gain = 1.0 / total_weight, f.l2, rate
    if f.reduction == SUM:
        scale, l2 = 1.0, f.l2 * size / f.rows_of_epoch
    elif f.reduction == SKLEARN:
        l2 = f.l2 / batch
    if f.rule == ADAM:
        gain = rate * math.sqrt(1 - f.b2**updates) / (1 - f.b1**updates)
    return Step(start, size, updates, scale, l2, rate, gain)


@plain
def _gradient_and_update(one, f, k, step):
    """Both halves of a step, for one slab after the other. Returns the loss (to thread 0)."""
    sync, T = vector(1, f.sync, 16), f.n_threads
    tile_claims, piece_claims = vector(1, f.tile_claims, 1), vector(1, f.piece_claims, 1)
    loss, done = 0.0, 0
    while done < step.size:
        n = min(f.slab, step.size - done)
        slab = Slab(step.start + done, done, n, done + n == step.size)
        release(piece_claims, f.L * MOST_PIECES, k)
        _first_half(one, f, k, step, slab)
        barrier(sync, T)
        release(tile_claims, (n + f.tile - 1) // f.tile, k)
        if k == 0:
            losses = vector(one, place_at(one, f, f.batch_losses), n)
            for i in range(n):
                loss += step.scale * losses[i]
        _second_half(one, f, k, step, slab)
        barrier(sync, T)
        done += n
    return loss


# ---------------------------------------------------------------- first half: rows


@plain
def _first_half(one, f, k, step, slab):
    """Forward and backward passes of this thread's tiles of rows."""
    claims, tiles = vector(1, f.tile_claims, 1), (slab.n + f.tile - 1) // f.tile
    for turn in range(tiles):
        i = part_of(turn, k, tiles, f.n_threads)
        if not claimed(claims, i, f.n_threads):
            low = i * f.tile
            n = min(slab.n, low + f.tile) - low
            tile = Tile(slab.first + low, slab.in_batch + low, low, n)
            _forward(one, f, tile, step.number - 1, True)
            _loss(one, f, tile, step.scale)
            _backward(one, f, tile, step.number - 1)


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
            # f′ may need f(a) without the mask, ∂W_l needs it with: the mask is restored below.
            call_block(below.forward, a_at, z_at, 0, scratch, n, H, by_unit)
        call_block(below.pull_back, a_at, z_at, g_at, scratch, n, H, by_unit)
        if dropout > 0:
            drop(one, f, l - 1, tile, step, z_at)
    if f.norms:
        clip_samples(one, f, tile)
        for l in range(f.L):
            delta_to_panels(one, f, l, tile)


# ---------------------------------------------------------------- second half: parameters


@plain
def _second_half(one, f, k, step, slab):
    """Gradients of this thread's pieces of all W_l and its share of all b_l, and their update."""
    if f.rule == NORMS:
        return
    T, whole, together = f.n_threads, _needs_whole_gradient(f), _updates_together(f, step, slab)
    claims = vector(1, f.piece_claims, f.L * MOST_PIECES)
    parts = vector(1.0, f.parts, 1)
    for l in range(f.L):
        pieces = _pieces(f, l)
        for turn in range(pieces):
            piece = part_of(turn, k, pieces, T)
            if claimed(claims, l * MOST_PIECES + piece, T):
                continue
            low, high = _rows_of_piece(f, l, piece, pieces)
            weight_gradient(one, f, k, l, slab, low, high)
            if slab.last and not together:
                _finish_piece(one, f, step, l, piece, low, high)
        if k == l % T:
            bias_gradient(one, f, l, slab)
            layer = layer_at(f.layers, l)
            if slab.last and f.max_norm > 0:
                privatize(one, f, step, layer.b, layer.H)
            if slab.last and whole:
                parts[_part(l, GRADIENTS, BIAS)] = _complete(one, f, layer.b, layer.H, 0.0)
            elif slab.last and not together:
                _update(one, f, layer.b, layer.H, 0.0, 0.0, step.gain, 1.0)
    if together:
        _update(one, f, 0, f.P, 0.0, 0.0, step.gain, 1.0)


@plain
def _needs_whole_gradient(f):
    """Whether the gradient must be complete before any update, or no update is wanted."""
    return f.clip > 0 or f.rule == GRADIENT


@plain
def _updates_together(f, step, slab):
    """Whether one loop updates all parameters, which is faster for small networks."""
    # W_l and b_l are updated by the same rule.
    alike = step.l2 == 0 and f.decay == 0 and f.max_norm == 0
    return f.by_unit and slab.last and alike and not _needs_whole_gradient(f)


@plain
def _pieces(f, l):
    """How many pieces W_l has: each fits the cache, and all threads get equally many."""
    layer = layer_at(f.layers, l)
    D, H = layer.D, layer.H
    if l == 0 and f.sparse:
        return max(1, min(MOST_PIECES, D, f.pieces))  # each piece reads all entries of the batch
    each = (D * H + f.pieces * PIECE - 1) // (f.pieces * PIECE)
    return max(1, min(MOST_PIECES, D // 16, f.pieces * each))


@plain
def _rows_of_piece(f, l, piece, pieces):
    """The first row of a piece of W_l, and the row after its last."""
    D = layer_at(f.layers, l).D
    return D * piece // pieces, D * (piece + 1) // pieces


@plain
def _part(l, which, piece):
    """The position in `parts` of a sum of squares: layer by layer WEIGHTS, then GRADIENTS."""
    return (2 * l + which) * (MOST_PIECES + 1) + piece


@plain
def _finish_piece(one, f, step, l, piece, low, high):
    """After the gradient of rows low … high of W_l: sums of squares, and the update of the rows."""
    layer = layer_at(f.layers, l)
    parts = vector(1.0, f.parts, 1)
    at, size = layer.W + low * layer.H, (high - low) * layer.H
    if step.l2 > 0:
        parts[_part(l, WEIGHTS, piece)] = _squares(one, parameters_at(one, f, at), size)
    if f.max_norm > 0:
        privatize(one, f, step, at, size)
    if _needs_whole_gradient(f):
        parts[_part(l, GRADIENTS, piece)] = _complete(one, f, at, size, step.l2)
        return
    _update(one, f, at, size, step.l2, step.rate * f.decay, step.gain, 1.0)
    W_to_panels(one, f, l, low, high)
    if l == 0 and f.sparse:
        clear_sparse(one, f, step.start, step.size, low, high)


@plain
def _update(one, f, at, n, l2, decay, gain, clip):
    """Update n parameters from position `at` of θ on; the gradient is multiplied by `clip`."""
    at *= size_of(one)
    theta, g_of = vector(one, f.theta + at, n), vector(one, f.G + at, n)
    first, second = vector(one, f.first + at, n), vector(one, f.second + at, n)
    l2, decay = number(one, l2), number(one, decay)
    gain, clip = number(one, gain), number(one, clip)
    b1, b2, eps = number(one, f.b1), number(one, f.b2), number(one, f.epsilon)
    c1, c2, nesterov = number(one, 1 - f.b1), number(one, 1 - f.b2), f.nesterov
    if f.rule == ADAM:
        for i in range(n):
            x = theta[i]
            g = (g_of[i] + l2 * x) * clip
            m = b1 * first[i] + c1 * g
            v = b2 * second[i] + c2 * (g * g)
            first[i], second[i] = m, v
            theta[i] = x - gain * m / (math.sqrt(v) + eps) - decay * x
    else:
        for i in range(n):
            x = theta[i]
            g = (g_of[i] + l2 * x) * clip
            v = b1 * first[i] - gain * g
            first[i] = v
            theta[i] = x + (b1 * v - gain * g if nesterov else v)


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
def _sum_of_parts(f, which):
    """Σ W² (WEIGHTS) or the squared norm of the gradient (GRADIENTS), added up in one order."""
    parts, total = vector(1.0, f.parts, 1), 0.0
    for l in range(f.L):
        first = _part(l, which, 0)
        for piece in range(_pieces(f, l)):
            total += parts[first + piece]
        if which == GRADIENTS:
            total += parts[first + BIAS]
    return total


@plain
def _clip_factor(f):
    """The factor that reduces the gradient's norm to f.clip; 1 if the norm is not larger."""
    norm = math.sqrt(_sum_of_parts(f, GRADIENTS))
    return f.clip / norm if norm > f.clip else 1.0


@plain
def _clipped_update(one, f, k, step, clip):
    """Update this thread's share of the parameters with the gradient, multiplied by `clip`."""
    T, decay = f.n_threads, step.rate * f.decay
    for l in range(f.L):
        layer, pieces = layer_at(f.layers, l), _pieces(f, l)
        low, _ = _rows_of_piece(f, l, pieces * k // T, pieces)
        high, _ = _rows_of_piece(f, l, pieces * (k + 1) // T, pieces)
        at, size = layer.W + low * layer.H, (high - low) * layer.H
        _update(one, f, at, size, 0.0, decay, step.gain, clip)
        W_to_panels(one, f, l, low, high)
        if l == 0 and f.sparse:
            G = vector(one, f.G + at * size_of(one), size)
            for i in range(size):
                G[i] = 0
        if k == T - 1:
            _update(one, f, layer.b, layer.H, 0.0, 0.0, step.gain, clip)


@plain
def _all_W_to_panels(one, f, k):
    """Copy this thread's share of every W_l to panels, and wait for the other threads."""
    T = f.n_threads
    for l in range(f.L):
        low, high = _rows_of_piece(f, l, k, T)
        W_to_panels(one, f, l, low, high)
    barrier(vector(1, f.sync, 16), T)
