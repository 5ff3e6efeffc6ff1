"""The compiled kernel: many steps of a training run in one call.

Thread 0 runs the steps, and other threads assist it (see `sharing.py`). A step has two phases:

1. The rows of the batch are divided. A thread takes *tiles* of rows through all layers, forward and
   back, and leaves their X_l, δ_l and losses in memory that all threads share.
2. The parameters are divided. A thread takes *pieces* of the rows of every W_l, computes their
   gradient ∂W_l = X_lᵀ δ_l over the whole batch, and updates them while they are in the cache.

All δ_l are complete when the second phase begins, and all of θ is updated when the next step
begins.
A third phase is needed only if the gradient is clipped, because its norm must be known before any
parameter is updated.

Results are reproducible to the bit, because they do not depend on which thread computes what. The
activations of a row are computed from that row alone. Each number of a gradient is one sum over all
rows of the slab, by one thread, in an order that is fixed. Sums over pieces (norms, penalties) are
stored piece by piece and then added up in one order. Only the number of pieces depends on the
number of threads that may share a step, unless `reproducible` fixes it (see `layout.py`); it never
depends on how many threads do assist.

A batch larger than a *slab* passes through both phases slab by slab, and its gradient is the sum of
theirs.
"""

import math
from typing import NamedTuple

from deltaprop.engines.fused.constants import (
    ADAM,
    CLIPPED,
    FEW,
    GRADIENT,
    MOST_PIECES,
    NORMS,
    PANELS,
    PARAMETERS,
    PIECE,
    PREDICT,
    PREDICTION,
    ROWS_OF_BATCH,
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
from deltaprop.engines.fused.sharing import (
    audition,
    begin_parts,
    begin_window,
    claim,
    close_phase,
    count_part,
    finish_parts,
    kind_of,
    next_ticket,
    number_of,
    open_phase,
    part_of,
    parts_of,
    settle,
)

WEIGHTS, GRADIENTS = 0, 1  # which sums of squares of a layer: see `_part_of_sums`
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


# ---------------------------------------------------------------- the entry point and its tasks


@plain
def enter(one, k, frame):
    """Thread 0 trains or predicts, depending on the frame's task; the others assist it."""
    f = frame_at(frame, 0)
    if k > 0:
        _assist(one, f, k)
    elif f.task == PREDICT:
        _predict(one, f)
    else:
        _train(one, f)


@plain
def _train(one, f):
    """Train for `n_steps`, from step `start` of the epochs in `order` on.

    θ and the optimizer state are changed. `result` receives the number of updates, and each
    epoch's loss is added to it.
    """
    rates, result = vector(1.0, f.rates, f.n_steps), vector(1.0, f.result, 1)
    order, weights = vector(1, f.order, f.N), vector(one, f.weights, f.N)
    steps_per_epoch = (f.N + f.batch - 1) // f.batch
    updates = f.step
    begin_window(f)
    _share(one, f, PANELS, f.n_threads)
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
            continue  # all weights are zero
        updates += 1
        step = _step(f, start, size, updates, total_weight, rates[s])
        loss = _gradient_and_update(one, f, step)
        if f.clip > 0:
            f.clip_factor = _clip_factor(f)
            _share(one, f, CLIPPED, _all_pieces(f))
        share = 1.0 if f.reduction == SUM else size / f.rows_of_epoch
        penalty = 0.5 * step.l2 * _sum_of_parts(f, WEIGHTS) if step.l2 > 0 else 0.0
        result[1 + epoch] += share * (loss + penalty)
        result[0] = updates
        if f.n_threads > 1:
            settle(f)


@plain
def _predict(one, f):
    """Write the outputs of all N rows to `out`; each thread uses its own part of the memory."""
    begin_window(f)
    if f.N >= FEW:
        _share(one, f, PANELS, f.n_threads)
    _share(one, f, PREDICTION, (f.N + f.tile - 1) // f.tile)


@plain
def _assist(one, f, k):
    """Compute parts of the phases that thread 0 opens, as thread k, until there is no more need."""
    if not audition(f, k):
        return
    ticket = next_ticket(f, k, 0)
    while ticket:
        begin_parts(f, k)
        finish_parts(f, k, _take_parts(one, f, k, ticket))
        ticket = next_ticket(f, k, ticket)


# ---------------------------------------------------------------- phases and their parts


@plain
def _share(one, f, kind, parts):
    """Compute all parts of a phase, together with the threads that assist."""
    if f.n_threads > 1:
        ticket = open_phase(f, kind, parts)
        close_phase(f, parts, _take_parts(one, f, 0, ticket))
    elif _is_of_pieces(kind):
        for l in range(f.L):
            for piece in range(_pieces(f, l)):
                _part(one, f, 0, kind, l * MOST_PIECES + piece)
    else:
        for part in range(parts):
            _part(one, f, 0, kind, part)


@plain
def _take_parts(one, f, k, ticket):
    """Compute parts of a phase, as thread k, until none is left. Returns their number."""
    phase, kind, taken = number_of(ticket), kind_of(ticket), 0
    groups = f.L if _is_of_pieces(kind) else 1
    for l in range(groups):
        parts = _pieces(f, l) if groups > 1 or _is_of_pieces(kind) else parts_of(ticket)
        for turn in range(parts):
            part = l * MOST_PIECES + part_of(turn, k, parts, f.n_threads)
            if claim(f, part, phase):
                _part(one, f, k, kind, part)
                count_part(f, k)
                taken += 1
    return taken


@plain
def _is_of_pieces(kind):
    """Whether part l · MOST_PIECES + i of such a phase is piece i of W_l."""
    return kind in (PARAMETERS, CLIPPED)


@plain
def _part(one, f, k, kind, part):
    """Compute a part of a phase, as thread k."""
    if kind == ROWS_OF_BATCH:
        _tile_of_batch(one, f, k, part)
    elif kind == PARAMETERS:
        _piece_of_gradient(one, f, k, part // MOST_PIECES, part % MOST_PIECES)
    elif kind == CLIPPED:
        _clipped_update(one, f, part // MOST_PIECES, part % MOST_PIECES)
    elif kind == PREDICTION:
        _predict_tile(one, f, k, part)
    else:
        _share_of_panels(one, f, part)


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
def _gradient_and_update(one, f, step):
    """Both phases of a step, for one slab after the other. Returns the loss."""
    _publish_step(f, step)
    loss, done = 0.0, 0
    while done < step.size:
        n = min(f.slab, step.size - done)
        _publish_slab(f, Slab(step.start + done, done, n, done + n == step.size))
        _share(one, f, ROWS_OF_BATCH, (n + f.tile - 1) // f.tile)
        losses = vector(one, place_at(one, f, f.batch_losses), n)
        for i in range(n):
            loss += step.scale * losses[i]
        if f.rule != NORMS:
            _share(one, f, PARAMETERS, _all_pieces(f))
        done += n
    if _updates_together(f, step):
        _update(one, f, 0, f.P, 0.0, 0.0, step.gain, 1.0)
    return loss


@plain
def _publish_step(f, step):
    """Write the step to where the threads that assist read it."""
    f.step_start, f.step_size, f.step_number = step.start, step.size, step.number
    f.step_scale, f.step_l2 = step.scale, step.l2
    f.step_rate, f.step_gain = step.rate, step.gain


@plain
def _publish_slab(f, slab):
    f.slab_first, f.slab_in_batch, f.slab_n = slab.first, slab.in_batch, slab.n
    f.slab_last = 1 if slab.last else 0


@plain
def _present_step(f):
    return Step(
        f.step_start, f.step_size, f.step_number, f.step_scale, f.step_l2, f.step_rate, f.step_gain
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
    for i in range(n * H):
        out[i] = z[i]


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


# ---------------------------------------------------------------- second phase: parameters


@plain
def _piece_of_gradient(one, f, k, l, piece):
    """The gradient of a piece of W_l, with one piece also that of b_l, and their update."""
    step, slab = _present_step(f), _present_slab(f)
    layer, pieces, together = layer_at(f.layers, l), _pieces(f, l), _updates_together(f, step)
    low, high = _rows_of_piece(f, l, piece, pieces)
    weight_gradient(one, f, k, l, slab, low, high)
    if slab.last and not together:
        _finish_piece(one, f, step, l, piece, low, high)
    if not _has_bias(l, piece, pieces):
        return
    bias_gradient(one, f, l, slab)
    if slab.last and f.max_norm > 0:
        privatize(one, f, step, layer.b, layer.H)
    if slab.last and _needs_whole_gradient(f):
        parts = vector(1.0, f.parts, 1)
        parts[_part_of_sums(l, GRADIENTS, BIAS)] = _complete(one, f, layer.b, layer.H, 0.0)
    elif slab.last and not together:
        _update(one, f, layer.b, layer.H, 0.0, 0.0, step.gain, 1.0)


@plain
def _has_bias(l, piece, pieces):
    """Whether b_l belongs to this piece of W_l, the first or the last: so threads alternate."""
    return piece == (pieces - 1 if l % 2 else 0)


@plain
def _needs_whole_gradient(f):
    """Whether the gradient must be complete before any update, or no update is wanted."""
    return f.clip > 0 or f.rule == GRADIENT


@plain
def _updates_together(f, step):
    """Whether one loop updates all parameters, which is faster for small networks."""
    # W_l and b_l are updated by the same rule.
    alike = step.l2 == 0 and f.decay == 0 and f.max_norm == 0
    return f.by_unit and alike and not _needs_whole_gradient(f)


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
def _all_pieces(f):
    """How many pieces all W_l have together."""
    total = 0
    for l in range(f.L):
        total += _pieces(f, l)
    return total


@plain
def _rows_of_piece(f, l, piece, pieces):
    """The first row of a piece of W_l, and the row after its last."""
    D = layer_at(f.layers, l).D
    return D * piece // pieces, D * (piece + 1) // pieces


@plain
def _part_of_sums(l, which, piece):
    """The position in `parts` of a sum of squares: layer by layer WEIGHTS, then GRADIENTS."""
    return (2 * l + which) * (MOST_PIECES + 1) + piece


@plain
def _finish_piece(one, f, step, l, piece, low, high):
    """After the gradient of rows low … high of W_l: sums of squares, and the update of the rows."""
    layer = layer_at(f.layers, l)
    parts = vector(1.0, f.parts, 1)
    at, size = layer.W + low * layer.H, (high - low) * layer.H
    if step.l2 > 0:
        parts[_part_of_sums(l, WEIGHTS, piece)] = _squares(one, parameters_at(one, f, at), size)
    if f.max_norm > 0:
        privatize(one, f, step, at, size)
    if _needs_whole_gradient(f):
        parts[_part_of_sums(l, GRADIENTS, piece)] = _complete(one, f, at, size, step.l2)
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
        first = _part_of_sums(l, which, 0)
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
def _clipped_update(one, f, l, piece):
    """Update a piece of W_l with its gradient times the clip factor, with one piece also b_l."""
    step, layer, pieces = _present_step(f), layer_at(f.layers, l), _pieces(f, l)
    low, high = _rows_of_piece(f, l, piece, pieces)
    at, size = layer.W + low * layer.H, (high - low) * layer.H
    _update(one, f, at, size, 0.0, step.rate * f.decay, step.gain, f.clip_factor)
    W_to_panels(one, f, l, low, high)
    if l == 0 and f.sparse:
        G = vector(one, f.G + at * size_of(one), size)
        for i in range(size):
            G[i] = 0
    if _has_bias(l, piece, pieces):
        _update(one, f, layer.b, layer.H, 0.0, 0.0, step.gain, f.clip_factor)


@plain
def _share_of_panels(one, f, i):
    """Copy the i-th of n_threads shares of every W_l to panels."""
    for l in range(f.L):
        low, high = _rows_of_piece(f, l, i, f.n_threads)
        W_to_panels(one, f, l, low, high)
