"""The kernel: the steps of a search in one call, the same code in every thread.

A step has two halves. First each thread takes its share of the batch's rows through all layers,
forward and back, and leaves X_l and δ_l. After a barrier each thread takes its share of the rows of
every W_l: ∂W_l = X_lᵀ δ_l of the whole batch for some rows at a time, and the solver's update of
these rows of θ while they are in the cache. After a second barrier the next step begins. In both
halves a thread that is done goes on with what others have not begun: processors are not equally
fast, and not ours alone. What comes out does not depend on who did what.
Products are those of products.py. They read W_l and W_lᵀ from panels that the update keeps in step
with θ, and δ_l from panels that each thread fills with its rows.

Large batches (all rows, for L-BFGS) go through in slabs, so that memory does not grow with them.
"""

from __future__ import annotations

import math

import numpy as np
from numba import types, uint32

from deltaprop.engines.fused.constants import (
    ADAM,
    FEW,
    FRAME,
    GRADIENT,
    MOST_PIECES,
    PIECE,
    ROOM,
    SKLEARN,
    SPINS,
    SUM,
    YIELDS,
)
from deltaprop.engines.fused.lowlevel import (
    call_block,
    call_gather,
    call_loss,
    call_product,
    fetch,
    fetch_add,
    matrix,
    number,
    plain,
    record_at,
    size_of,
    vector,
)
from deltaprop.engines.fused.products import panel_width, panels_of, panels_of_transpose

frame_at = record_at(FRAME)
usleep = types.ExternalFunction("usleep", types.int32(types.uint32))
sched_yield = types.ExternalFunction("sched_yield", types.int32())


@plain
def _barrier(sync, n_threads):  # type: ignore[no-untyped-def]
    if n_threads == 1:
        return
    generation = fetch(sync, 8)
    if fetch_add(sync, 0, 1) == n_threads - 1:
        fetch_add(sync, 0, -n_threads)
        fetch_add(sync, 8, 1)
    else:
        spins = 0
        while fetch(sync, 8) == generation:
            spins += 1
            if spins > SPINS + YIELDS:  # on a busy machine who sleeps is soon given a core again
                usleep(uint32(20))
            elif spins > SPINS:  # the other thread may be waiting for this core
                sched_yield()


@plain
def _next(j, k, parts, n_threads):  # type: ignore[no-untyped-def]
    """The part that thread k comes to as its j-th: its own share, then the others' from the end."""
    low, high = parts * k // n_threads, parts * (k + 1) // n_threads
    own = high - low
    return low + j if j < own else (low - 1 - (j - own)) % parts


@plain
def _taken(claims, part, n_threads):  # type: ignore[no-untyped-def]
    """Whether another thread has begun this part; it is the caller's from now on if none has."""
    if n_threads == 1:
        return False
    return fetch(claims, part) != 0 or fetch_add(claims, part, 1) != 0


@plain
def _free_again(claims, parts, k):  # type: ignore[no-untyped-def]
    if k == 0:
        for part in range(parts):
            claims[part] = 0


# ---------------------------------------------------------------- products


@plain
def _affine(one, f, X_at, panels, a_at, N, D, H):  # type: ignore[no-untyped-def]
    """a = X W, W in panels; the bias is added where the activation reads a."""
    W = panel_width(one)
    call_product(f.rows_times, X_at, D, panels, W, D * W, a_at, H, N, H, D, 0, 0)


@plain
def _affine_few(one, X_at, W_at, a_at, N, D, H):  # type: ignore[no-untyped-def]
    X, W, a = matrix(one, X_at, N, D), matrix(one, W_at, D, H), matrix(one, a_at, N, H)
    for n in range(N):
        for h in range(H):
            a[n, h] = 0
        for d in range(D):
            x = X[n, d]
            for h in range(H):
                a[n, h] += x * W[d, h]


@plain
def _affine_by_unit(one, f, X_at, W_at, a_at, N, D, H):  # type: ignore[no-untyped-def]
    """aᵀ = Wᵀ Xᵀ."""
    call_product(f.columns_times, W_at, H, X_at, N, panel_width(one), a_at, N, H, N, D, 0, 0)


@plain
def _affine_sparse(one, f, start, W_at, a_at, N, H):  # type: ignore[no-untyped-def]
    order, indptr = vector(1, f.order, f.N), vector(1, f.indptr, f.N + 1)
    indices, values = vector(np.int32(1), f.indices, 1), vector(one, f.X, 1)
    a = matrix(one, a_at, N, H)
    for n in range(N):
        for h in range(H):
            a[n, h] = 0
        row = order[start + n] if f.order else start + n
        for j in range(indptr[row], indptr[row + 1]):
            x, W_d = values[j], vector(one, W_at + indices[j] * H * size_of(one), H)
            for h in range(H):
                a[n, h] += x * W_d[h]


@plain
def _back(one, f, delta_at, panels, g_at, N, D, H):  # type: ignore[no-untyped-def]
    """g = δ Wᵀ, Wᵀ in panels."""
    W = panel_width(one)
    call_product(f.rows_times, delta_at, H, panels, W, H * W, g_at, D, N, D, H, 0, 0)


@plain
def _back_by_unit(one, f, delta_at, W_at, g_at, N, D, H):  # type: ignore[no-untyped-def]
    """gᵀ = W δᵀ."""
    call_product(f.rows_times, W_at, H, delta_at, N, panel_width(one), g_at, N, D, N, H, 0, 0)


@plain
def _dW(one, f, X_at, panels, dW_at, N, D, H, low, high, more, room):  # type: ignore[no-untyped-def]
    """Rows low … high of dW = Xᵀ δ, added to what is there where there is `more` than one slab."""
    X_at, dW_at, W = X_at + low * size_of(one), dW_at + low * H * size_of(one), panel_width(one)
    adds = 1 if more else 0
    call_product(
        f.columns_times, X_at, D, panels, W, f.slab * W, dW_at, H, high - low, H, N, adds, room
    )


@plain
def _dW_by_unit(one, f, X_at, panels, dW_at, N, D, H, more):  # type: ignore[no-untyped-def]
    W, adds = panel_width(one), 1 if more else 0
    call_product(f.rows_times, X_at, N, panels, W, f.slab * W, dW_at, H, D, H, N, adds, 0)


@plain
def _dW_sparse(one, f, start, delta_at, dW_at, N, H, low, high):  # type: ignore[no-untyped-def]
    """Rows low … high of dW, added to G, which is zero wherever the batch has no entry."""
    order, indptr = vector(1, f.order, f.N), vector(1, f.indptr, f.N + 1)
    indices, values = vector(np.int32(1), f.indices, 1), vector(one, f.X, 1)
    delta = matrix(one, delta_at, N, H)
    for n in range(N):
        row = order[start + n]
        for j in range(indptr[row], indptr[row + 1]):
            d = indices[j]
            if low <= d < high:
                x, dW_d = values[j], vector(one, dW_at + d * H * size_of(one), H)
                for h in range(H):
                    dW_d[h] += x * delta[n, h]


@plain
def _forget_sparse(one, f, start, dW_at, N, H, low, high):  # type: ignore[no-untyped-def]
    """Rows low … high of G zero again."""
    order, indptr = vector(1, f.order, f.N), vector(1, f.indptr, f.N + 1)
    indices = vector(np.int32(1), f.indices, 1)
    for n in range(N):
        row = order[start + n]
        for j in range(indptr[row], indptr[row + 1]):
            d = indices[j]
            if low <= d < high:
                dW_d = vector(one, dW_at + d * H * size_of(one), H)
                for h in range(H):
                    dW_d[h] = 0


@plain
def _db(one, delta_at, db_at, N, H, by_unit, more):  # type: ignore[no-untyped-def]
    """db = Σ_n δ."""
    db = vector(one, db_at, H)
    if not more:
        for h in range(H):
            db[h] = 0
    if by_unit:
        delta = matrix(one, delta_at, H, N)
        for h in range(H):
            total = one - one
            for n in range(N):
                total += delta[h, n]
            db[h] += total
    else:
        delta = matrix(one, delta_at, N, H)
        for n in range(N):
            for h in range(H):
                db[h] += delta[n, h]


# ---------------------------------------------------------------- dropout


@plain
def _mix(x):  # type: ignore[no-untyped-def]
    """The finaliser of engines/masks.py."""
    x = uint32(x)
    x = uint32(x ^ (x >> uint32(16)))
    x = uint32(x * uint32(0x7FEB352D))
    x = uint32(x ^ (x >> uint32(15)))
    x = uint32(x * uint32(0x846CA68B))
    return uint32(x ^ (x >> uint32(16)))


@plain
def _drop(one, at, seed, step, layer, first_row, N, H, p, by_unit):  # type: ignore[no-untyped-def]
    """values ⊙ mask, the mask of engines/masks.py for rows first_row … of the batch."""
    values, scale = vector(one, at, N * H), number(one, 1 / (1 - p))
    step_n, step_h = (1, N) if by_unit else (H, 1)
    key = _mix(uint32(seed))
    key = _mix(key ^ uint32(step))
    key = _mix(key ^ uint32(layer))
    threshold = uint32(min(p * 4294967296.0, 4294967295.0))
    for n in range(N):
        row = _mix(key ^ uint32(first_row + n))
        for h in range(H):
            bits = _mix(row ^ _mix(uint32(uint32(h) + uint32(0x9E3779B9))))
            i = n * step_n + h * step_h
            values[i] = values[i] * scale if bits >= threshold else one - one


# ---------------------------------------------------------------- first half: rows


@plain
def _forward(one, f, start, low, high, batch_row, step, train):  # type: ignore[no-untyped-def]
    """X_l and a_l of rows low … high of the slab that begins at `start` of the order."""
    item, n, by_unit = size_of(one), high - low, f.by_unit
    sizes, places = vector(1, f.sizes, f.L + 1), vector(1, f.places, 6 * f.L + 5)
    forward, dropout = vector(1, f.forward, f.L), vector(1.0, f.dropout, f.L)
    scratch = f.work + (places[3 * f.L + 3] + low * 2) * item
    if not f.sparse:
        D, X_0 = sizes[0], f.work + (places[0] + low * sizes[0]) * item
        first = start + low
        order_at = f.order + first * 8 if f.order else 0
        call_gather(f.gather, f.X, f.row, f.column, order_at, first, n, D, X_0, by_unit)
    W_at = f.theta
    for l in range(f.L):
        D, H = sizes[l], sizes[l + 1]
        X_at = f.work + (places[l] + low * D) * item
        z_at = f.work + (places[l + 1] + low * H) * item
        a_at = f.work + (places[f.L + 1 + l] + low * H) * item
        if l == 0 and f.sparse:
            _affine_sparse(one, f, start + low, W_at, a_at, n, H)
        elif by_unit:
            _affine_by_unit(one, f, X_at, W_at, a_at, n, D, H)
        elif f.N < FEW:
            _affine_few(one, X_at, W_at, a_at, n, D, H)
        else:
            _affine(one, f, X_at, f.work + places[3 * f.L + 4 + l] * item, a_at, n, D, H)
        call_block(forward[l], a_at, z_at, W_at + D * H * item, scratch, n, H, by_unit)
        if train and dropout[l] > 0:
            _drop(one, z_at, f.seed, step, l, batch_row + low, n, H, dropout[l], by_unit)
        W_at += (D * H + H) * item


@plain
def _targets(one, f, start, low, high, t_at):  # type: ignore[no-untyped-def]
    n, K = high - low, f.K
    order, codes = vector(1, f.order, f.N), vector(1, f.codes, f.N)
    t, step_n, step_k = vector(one, t_at, n * K), K, 1
    if f.by_unit:
        step_n, step_k = 1, n
    for i in range(n):
        row = order[start + low + i]
        if f.codes:
            row = codes[row]
        y = vector(one, f.targets + row * K * size_of(one), K)
        for k in range(K):
            t[i * step_n + k * step_k] = y[k]


@plain
def _rows(one, f, start, low, high, batch_row, step, scale):  # type: ignore[no-untyped-def]
    """Forward and back for rows low … high of the slab: their X_l, δ_l and losses."""
    item, n, L, by_unit = size_of(one), high - low, f.L, f.by_unit
    _forward(one, f, start, low, high, batch_row, step, True)
    sizes, places = vector(1, f.sizes, L + 1), vector(1, f.places, 6 * L + 5)
    forward, pull_back = vector(1, f.forward, L), vector(1, f.pull_back, L)
    dropout, order = vector(1.0, f.dropout, L), vector(1, f.order, f.N)
    scratch = f.work + (places[3 * L + 3] + low * 2) * item
    t_at = f.work + (places[3 * L + 1] + low * f.K) * item
    rows_at = f.work + (places[3 * L + 2] + low) * item
    H = sizes[L]
    a_at = f.work + (places[2 * L] + low * H) * item
    z_at = f.work + (places[L] + low * H) * item
    delta_at = f.work + (places[3 * L] + low * H) * item
    _targets(one, f, start, low, high, t_at)
    call_loss(f.loss, t_at, a_at, z_at, delta_at, rows_at, scratch, n, H, by_unit)
    if not f.collapsed:
        call_block(pull_back[L - 1], a_at, z_at, delta_at, scratch, n, H, by_unit)
    losses, delta = vector(one, rows_at, n), vector(one, delta_at, n * H)
    if f.weights:
        weights = vector(one, f.weights, f.N)
        step_n, step_h = (1, n) if by_unit else (H, 1)
        for i in range(n):
            w = weights[order[start + low + i]]
            losses[i] *= w
            for h in range(H):
                delta[i * step_n + h * step_h] *= w * number(one, scale)
    elif scale != 1.0:
        for i in range(n * H):
            delta[i] *= number(one, scale)
    W_at = f.theta + f.P * item
    for l in range(L - 1, -1, -1):
        D, H = sizes[l], sizes[l + 1]
        W_at -= (D * H + H) * item
        delta_at = f.work + (places[2 * L + 1 + l] + low * H) * item
        _delta_panels(one, f, l, delta_at, low, n, H)
        if l == 0:
            break
        g_at = f.work + (places[2 * L + l] + low * D) * item
        a_at = f.work + (places[L + l] + low * D) * item
        z_at = f.work + (places[l] + low * D) * item
        if by_unit:
            _back_by_unit(one, f, delta_at, W_at, g_at, n, D, H)
        else:
            _back(one, f, delta_at, f.work + places[4 * L + 4 + l] * item, g_at, n, D, H)
        p = dropout[l - 1]
        if p > 0:
            _drop(one, g_at, f.seed, step, l - 1, batch_row + low, n, D, p, by_unit)
            # f′ may need f(a) without its mask, ∂W_l needs it with: X_l is restored below.
            call_block(forward[l - 1], a_at, z_at, 0, scratch, n, D, by_unit)
        call_block(pull_back[l - 1], a_at, z_at, g_at, scratch, n, D, by_unit)
        if p > 0:
            _drop(one, z_at, f.seed, step, l - 1, batch_row + low, n, D, p, by_unit)


@plain
def _delta_panels(one, f, l, delta_at, low, n, H):  # type: ignore[no-untyped-def]
    """n rows of δ_l, from row `low` of the slab on, into the panels that ∂W_l is computed from."""
    item, W = size_of(one), panel_width(one)
    places = vector(1, f.places, 6 * f.L + 5)
    to_at = f.work + (places[5 * f.L + 4 + l] + low * W) * item
    if l == 0 and f.sparse:
        return
    if f.by_unit:
        panels_of_transpose(one, delta_at, n, to_at, f.slab * W, 0, H)
    else:
        panels_of(one, delta_at, H, to_at, f.slab * W, 0, n)


# ---------------------------------------------------------------- second half: parameters


@plain
def _pieces(f, l, D, H):  # type: ignore[no-untyped-def]
    """In how many pieces the rows of W are worked on: they fit the cache, each thread has some."""
    if l == 0 and f.sparse:
        return max(1, min(MOST_PIECES, D, f.pieces))  # each reads all of the batch's entries
    each = (D * H + f.pieces * PIECE - 1) // (f.pieces * PIECE)
    return max(1, min(MOST_PIECES, D // 16, f.pieces * each))


@plain
def _update(one, f, at, n, lam, decay, gain, shorten):  # type: ignore[no-untyped-def]
    """n parameters from position `at` of θ on, by the solver's rule."""
    at *= size_of(one)
    theta, g_of = vector(one, f.theta + at, n), vector(one, f.G + at, n)
    first, second = vector(one, f.first + at, n), vector(one, f.second + at, n)
    lam, decay = number(one, lam), number(one, decay)
    gain, shorten = number(one, gain), number(one, shorten)
    b1, b2, eps = number(one, f.b1), number(one, f.b2), number(one, f.epsilon)
    c1, c2, nesterov = number(one, 1 - f.b1), number(one, 1 - f.b2), f.nesterov
    if f.rule == ADAM:
        for i in range(n):
            x = theta[i]
            g = (g_of[i] + lam * x) * shorten
            m = b1 * first[i] + c1 * g
            v = b2 * second[i] + c2 * (g * g)
            first[i], second[i] = m, v
            theta[i] = x - gain * m / (math.sqrt(v) + eps) - decay * x
    else:
        for i in range(n):
            x = theta[i]
            g = (g_of[i] + lam * x) * shorten
            v = b1 * first[i] - gain * g
            first[i] = v
            theta[i] = x + (b1 * v - gain * g if nesterov else v)


@plain
def _squares(one, at, n):  # type: ignore[no-untyped-def]
    values, total = vector(one, at, n), one - one
    for i in range(n):
        total += values[i] * values[i]
    return float(total)


@plain
def _complete(one, f, at, n, lam):  # type: ignore[no-untyped-def]
    """G with the penalty's part; returns its squared length."""
    at *= size_of(one)
    theta, g, lam = vector(one, f.theta + at, n), vector(one, f.G + at, n), number(one, lam)
    for i in range(n):
        g[i] += lam * theta[i]
    return _squares(one, f.G + at, n)


@plain
def _W_panels(one, f, l, W_at, low, high):  # type: ignore[no-untyped-def]
    """Rows low … high of W_l into the panels of W_l and, where error signals pass, of W_lᵀ."""
    item, L, W = size_of(one), f.L, panel_width(one)
    sizes, places = vector(1, f.sizes, L + 1), vector(1, f.places, 6 * L + 5)
    D, H = sizes[l], sizes[l + 1]
    if f.by_unit or (l == 0 and f.sparse):
        return
    panels_of(one, W_at, H, f.work + places[3 * L + 4 + l] * item, D * W, low, high)
    if l > 0 and f.backward:
        to_at = f.work + places[4 * L + 4 + l] * item
        panels_of_transpose(one, W_at, H, to_at, H * W, low, high)


@plain
def _all_W_panels(one, f, k):  # type: ignore[no-untyped-def]
    """The panels of θ as it is; thread k does its share."""
    sizes, W_at, T = vector(1, f.sizes, f.L + 1), f.theta, f.n_threads
    for l in range(f.L):
        D, H = sizes[l], sizes[l + 1]
        _W_panels(one, f, l, W_at, D * k // T, D * (k + 1) // T)
        W_at += (D * H + H) * size_of(one)
    _barrier(vector(1, f.sync, 16), T)


@plain
def _parameters(one, f, k, start, n, batch_rows, more, last, lam, rate, gain):  # type: ignore[no-untyped-def]
    """∂W_l, ∂b_l of this thread's rows of W_l from n rows of the batch; then their update."""
    item, L, T, by_unit = size_of(one), f.L, f.n_threads, f.by_unit
    sizes, places = vector(1, f.sizes, L + 1), vector(1, f.places, 6 * L + 5)
    parts = vector(1.0, f.parts, 2 * L * (MOST_PIECES + 1))
    whole = f.clip > 0 or f.rule == GRADIENT  # all of G is wanted before any update
    at_once = by_unit and last and not whole and lam == 0 and f.decay == 0  # loops that pay
    decay, at = rate * f.decay, 0
    room = f.work + (places[6 * L + 4] + k * ROOM) * item
    claims = vector(1, f.piece_claims, L * MOST_PIECES)
    for l in range(L):
        D, H = sizes[l], sizes[l + 1]
        panels = f.work + places[5 * L + 4 + l] * item
        pieces, slots = _pieces(f, l, D, H), 2 * l * (MOST_PIECES + 1)
        X_at, delta_at = f.work + places[l] * item, f.work + places[2 * L + 1 + l] * item
        sparse = l == 0 and f.sparse
        for j in range(pieces):
            piece = _next(j, k, pieces, T)
            if _taken(claims, l * MOST_PIECES + piece, T):
                continue
            low, high = D * piece // pieces, D * (piece + 1) // pieces
            size, here = (high - low) * H, at + low * H
            if sparse:
                _dW_sparse(one, f, start, delta_at, f.G + at * item, n, H, low, high)
            elif by_unit:
                _dW_by_unit(one, f, X_at, panels, f.G + at * item, n, D, H, more)
            else:
                _dW(one, f, X_at, panels, f.G + at * item, n, D, H, low, high, more, room)
            if not last or at_once:
                continue
            if lam > 0:
                parts[slots + piece] = _squares(one, f.theta + here * item, size)
            if whole:
                parts[slots + MOST_PIECES + 1 + piece] = _complete(one, f, here, size, lam)
            else:
                _update(one, f, here, size, lam, decay, gain, 1.0)
                _W_panels(one, f, l, f.theta + at * item, low, high)
                if sparse:
                    back, rows = start + n - batch_rows, batch_rows
                    _forget_sparse(one, f, back, f.G + at * item, rows, H, low, high)
        at += D * H
        if k == l % T:
            _db(one, delta_at, f.G + at * item, n, H, by_unit, more)
            if last and whole:
                parts[slots + 2 * MOST_PIECES + 1] = _complete(one, f, at, H, 0.0)
            elif last and not at_once:
                _update(one, f, at, H, 0.0, 0.0, gain, 1.0)
        at += H
    if at_once:
        _update(one, f, 0, f.P, 0.0, 0.0, gain, 1.0)


@plain
def _sum_of_parts(f, which):  # type: ignore[no-untyped-def]
    """Σ W² (0) or the squared length of the gradient (1), added up in one order by any thread."""
    sizes, parts = vector(1, f.sizes, f.L + 1), vector(1.0, f.parts, 1)
    total = 0.0
    for l in range(f.L):
        slots = (2 * l + which) * (MOST_PIECES + 1)
        for piece in range(_pieces(f, l, sizes[l], sizes[l + 1])):
            total += parts[slots + piece]
        if which == 1:
            total += parts[slots + MOST_PIECES]
    return total


@plain
def _update_all(one, f, k, rate, gain, shorten):  # type: ignore[no-untyped-def]
    """The update alone, where the whole gradient had to be known first."""
    sizes, at, T = vector(1, f.sizes, f.L + 1), 0, f.n_threads
    for l in range(f.L):
        D, H = sizes[l], sizes[l + 1]
        pieces = _pieces(f, l, D, H)
        low, high = D * (pieces * k // T) // pieces, D * (pieces * (k + 1) // T) // pieces
        decay = rate * f.decay
        _update(one, f, at + low * H, (high - low) * H, 0.0, decay, gain, shorten)
        _W_panels(one, f, l, f.theta + at * size_of(one), low, high)
        if l == 0 and f.sparse:
            G = vector(one, f.G + low * H * size_of(one), (high - low) * H)
            for i in range((high - low) * H):
                G[i] = 0
        at += D * H
        if k == T - 1:
            _update(one, f, at, H, 0.0, 0.0, gain, shorten)
        at += H


# ---------------------------------------------------------------- entries


@plain
def run(one, k, frame):  # type: ignore[no-untyped-def]
    """n_steps from step `start` of the epochs whose orders follow one another, as thread k.

    θ and the solver's memory are changed; `result` is the step and then each epoch's loss.
    """
    f = frame_at(frame)
    T, N, tile, step = f.n_threads, f.N, f.tile, f.step
    a_pass = (N + f.batch - 1) // f.batch  # steps of an epoch
    _all_W_panels(one, f, k)
    sync, rates = vector(1, f.sync, 16), vector(1.0, f.rates, f.n_steps)
    order, weights = vector(1, f.order, N), vector(one, f.weights, N)
    places, result = vector(1, f.places, 6 * f.L + 5), vector(1.0, f.result, 1)
    tile_claims, piece_claims = vector(1, f.tile_claims, 1), vector(1, f.piece_claims, 1)
    for s in range(f.n_steps):
        epoch, i = (f.start + s) // a_pass, (f.start + s) % a_pass
        start, size = epoch * N + i * f.batch, min(f.batch, N - i * f.batch)
        total = float(size)
        if f.weights:
            total = 0.0
            for i in range(size):
                total += weights[order[start + i]]
            if total == 0.0:
                continue  # no sample counts in this batch; every thread sees the same
        scale, lam, rate = 1.0 / total, f.l2, rates[s]
        if f.reduction == SUM:
            scale, lam = 1.0, f.l2 * size / f.rows_of_epoch
        elif f.reduction == SKLEARN:
            lam = f.l2 / total
        if f.rule != GRADIENT:
            step += 1
        gain = rate
        if f.rule == ADAM:
            gain = rate * math.sqrt(1 - f.b2**step) / (1 - f.b1**step)
        loss, done = 0.0, 0
        while done < size:
            n = min(f.slab, size - done)
            last = done + n == size
            tiles = (n + tile - 1) // tile
            _free_again(piece_claims, f.L * MOST_PIECES, k)
            for j in range(tiles):
                i = _next(j, k, tiles, T)
                if not _taken(tile_claims, i, T):
                    high = min(n, (i + 1) * tile)
                    _rows(one, f, start + done, i * tile, high, done, step - 1, scale)
            _barrier(sync, T)
            _free_again(tile_claims, tiles, k)
            if k == 0:
                losses = vector(one, f.work + places[3 * f.L + 2] * size_of(one), n)
                for i in range(n):
                    loss += scale * losses[i]
            _parameters(one, f, k, start + done, n, size, done > 0, last, lam, rate, gain)
            _barrier(sync, T)
            done += n
        if f.clip > 0 and f.rule != GRADIENT:
            length = math.sqrt(_sum_of_parts(f, 1))
            shorten = f.clip / length if length > f.clip else 1.0
            _update_all(one, f, k, rate, gain, shorten)
            _barrier(sync, T)
        if k == 0:
            part = 1.0 if f.reduction == SUM else size / f.rows_of_epoch
            penalty = 0.5 * lam * _sum_of_parts(f, 0) if lam > 0 else 0.0
            result[1 + epoch] += part * (loss + penalty)
            result[0] = step


@plain
def predict(one, k, frame):  # type: ignore[no-untyped-def]
    """The outputs of all N rows into `out`; thread k works in its own rows of the room."""
    f = frame_at(frame)
    if f.N >= FEW:
        _all_W_panels(one, f, k)
    sizes, places = vector(1, f.sizes, f.L + 1), vector(1, f.places, 6 * f.L + 5)
    H, low = sizes[f.L], k * f.tile
    end, row = f.N * (k + 1) // f.n_threads, f.N * k // f.n_threads
    while row < end:
        n = min(f.tile, end - row)
        _forward(one, f, row - low, low, low + n, 0, 0, False)
        z = vector(one, f.work + (places[f.L] + low * H) * size_of(one), n * H)
        out = vector(one, f.out + row * H * size_of(one), n * H)
        for i in range(n * H):
            out[i] = z[i]
        row += n
