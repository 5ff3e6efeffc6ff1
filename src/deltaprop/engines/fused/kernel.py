"""The kernel: an epoch's steps in one call, the same code in every thread.

Thread k takes its share of each batch's rows through all layers, with one-threaded BLAS for the
products (or plain loops where a call would cost more than the product), and leaves its gradient
in G[k]. After a barrier each thread updates its share of θ from all of G, in one pass over θ and
the solver's memory; after a second barrier the next step begins.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit, types, uint32

from deltaprop.engines.fused.lowlevel import call_block, call_loss, fetch, fetch_add

FAST = {"contract", "nsz", "arcp", "reassoc"}
sched_yield = types.ExternalFunction("sched_yield", types.int32())
SGD, ADAM = 0, 1
SUM, MEAN, SKLEARN = 0, 1, 2
SPINS = 2000  # some microseconds
SMALL_PRODUCT = 60_000  # multiplications below which a loop beats a BLAS call


@njit(nogil=True, inline="always")
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
            if spins > SPINS:  # the other thread may be waiting for this core
                sched_yield()


@njit(nogil=True, fastmath=FAST)
def _affine(X, W, b, a, N, D, H):  # type: ignore[no-untyped-def]
    """a = X W + b."""
    if N * D * H > SMALL_PRODUCT:
        np.dot(X, W, a)
        for n in range(N):
            for h in range(H):
                a[n, h] += b[h]
        return
    for n in range(N):
        for h in range(H):
            a[n, h] = b[h]
        for d in range(D):
            x = X[n, d]
            for h in range(H):
                a[n, h] += x * W[d, h]


@njit(nogil=True, fastmath=FAST)
def _gradients(X, delta, dW, db, N, D, H):  # type: ignore[no-untyped-def]
    """dW = Xᵀ δ, db = Σ_n δ."""
    if N * D * H > SMALL_PRODUCT:
        np.dot(X.T, delta, dW)
    else:
        dW[:] = 0
        for n in range(N):
            for d in range(D):
                x = X[n, d]
                for h in range(H):
                    dW[d, h] += x * delta[n, h]
    db[:] = 0
    for n in range(N):
        for h in range(H):
            db[h] += delta[n, h]


@njit(nogil=True, fastmath=FAST)
def _back(delta, W, g, N, D, H):  # type: ignore[no-untyped-def]
    """g = δ Wᵀ."""
    if N * D * H > SMALL_PRODUCT:
        np.dot(delta, W.T, g)
        return
    for n in range(N):
        for d in range(D):
            total = delta[n, 0] * W[d, 0]
            for h in range(1, H):
                total += delta[n, h] * W[d, h]
            g[n, d] = total


@njit(nogil=True, inline="always")
def _mix(x):  # type: ignore[no-untyped-def]
    """The finaliser of engines/masks.py."""
    x = uint32(x)
    x = uint32(x ^ (x >> uint32(16)))
    x = uint32(x * uint32(0x7FEB352D))
    x = uint32(x ^ (x >> uint32(15)))
    x = uint32(x * uint32(0x846CA68B))
    return uint32(x ^ (x >> uint32(16)))


@njit(nogil=True)
def _drop(values, seed, step, layer, first_row, N, H, p, scale):  # type: ignore[no-untyped-def]
    """values ⊙ mask, the mask of engines/masks.py for rows first_row … of the batch."""
    key = _mix(uint32(seed))
    key = _mix(key ^ uint32(step))
    key = _mix(key ^ uint32(layer))
    threshold = uint32(min(p * 4294967296.0, 4294967295.0))
    for n in range(N):
        row = _mix(key ^ uint32(first_row + n))
        for h in range(H):
            bits = _mix(row ^ _mix(uint32(uint32(h) + uint32(0x9E3779B9))))
            if bits >= threshold:
                values[n, h] *= scale
            else:
                values[n, h] = 0


@njit(nogil=True, fastmath=FAST)
def _clip_scale(G, penalised, theta, l2, low, high, partial, k, n_threads, clip, sync):  # type: ignore[no-untyped-def]
    """Gather G into G[0] with the penalty, and the factor that shortens it to the norm `clip`."""
    total = 0.0
    for i in range(low, high):
        g = G[0, i]
        for other in range(1, n_threads):
            g += G[other, i]
        g += l2 * penalised[i] * theta[i]
        G[0, i] = g
        total += float(g) * float(g)
    partial[k, 2] = total
    _barrier(sync, n_threads)
    length = 0.0
    for other in range(n_threads):
        length += partial[other, 2]
    length = math.sqrt(length)
    return clip / length if length > clip else 1.0


@njit(nogil=True, fastmath=FAST, cache=True)
def run(  # type: ignore[no-untyped-def]
    k, n_threads, sync, theta, memory, G, penalised, work, partial,
    X, codes, table, targets, weights, order, first, batch, sizes, dropout, keep_scale,
    forward, pull_back, loss, collapsed,
    rule, settings, rates, step, l2, reduction, clip, seed,
):  # fmt: skip
    """The steps of `rates` from row `first` of `order` on, as thread k of n_threads."""
    N, L, P = len(order), len(sizes) - 1, len(theta)
    K = table.shape[1] if len(codes) else targets.shape[1]
    item = theta.itemsize
    share = (batch + n_threads - 1) // n_threads
    mine, base, G_k = work[k], work[k].ctypes.data, G[k]
    at_X, at_a = np.empty(L + 1, np.int64), np.empty(L, np.int64)
    widest, at = 1, share * sizes[0]
    at_X[0] = 0
    at_t = at
    at += share * K
    for l in range(L):
        at_a[l] = at
        at_X[l + 1] = at + share * sizes[l + 1]
        at += 2 * share * sizes[l + 1]
        widest = max(widest, sizes[l + 1])
    at_one, at_two, at_rows = at, at + share * widest, at + 2 * share * widest
    low, high = P * k // n_threads, P * (k + 1) // n_threads
    moment, second = memory[0], memory[1]
    one = theta[:1].copy()
    one[0] = 1  # a scalar of the working dtype

    for s in range(len(rates)):
        start = first + s * batch
        size = min(batch, N - start)
        total = float(size)
        if len(weights):
            total = 0.0
            for i in range(size):
                total += weights[order[start + i]]
            if total == 0.0:
                continue  # no sample counts in this batch; every thread sees the same
        scale = 1.0 if reduction == SUM else 1.0 / total
        lam = l2 / total if reduction == SKLEARN else l2
        if reduction == SUM:
            lam = l2 * size / N
        row0 = size * k // n_threads
        n = size * (k + 1) // n_threads - row0
        loss_here = 0.0
        if n == 0:
            G_k[:] = 0
        else:
            X_0 = mine[: n * sizes[0]].reshape(n, sizes[0])
            t = mine[at_t : at_t + n * K].reshape(n, K)
            for i in range(n):
                row = order[start + row0 + i]
                X_0[i] = X[row]
                t[i] = table[codes[row]] if len(codes) else targets[row]
            q = 0
            for l in range(L):
                D, H = sizes[l], sizes[l + 1]
                a = mine[at_a[l] : at_a[l] + n * H].reshape(n, H)
                W = theta[q : q + D * H].reshape(D, H)
                b = theta[q + D * H : q + D * H + H]
                _affine(mine[at_X[l] : at_X[l] + n * D].reshape(n, D), W, b, a, n, D, H)
                call_block(forward[l], base + at_a[l] * item, base + at_X[l + 1] * item, 0, n, H)
                if dropout[l] > 0:
                    z = mine[at_X[l + 1] : at_X[l + 1] + n * H].reshape(n, H)
                    _drop(z, seed, step, l, row0, n, H, dropout[l], keep_scale[l])
                q += D * H + H
            H = sizes[L]
            z_at = base + at_X[L] * item
            call_loss(
                loss, base + at_t * item, base + at_a[L - 1] * item, z_at,
                base + at_one * item, base + at_rows * item, n, K, H,
            )  # fmt: skip
            here, there = at_one, at_two
            if not collapsed:
                call_block(
                    pull_back[L - 1], base + at_a[L - 1] * item, z_at, base + here * item, n, H
                )
            delta = mine[here : here + n * H].reshape(n, H)
            for i in range(n):
                w = scale * weights[order[start + row0 + i]] if len(weights) else scale
                loss_here += w * mine[at_rows + i]
                w = w * one[0]
                for h in range(H):
                    delta[i, h] *= w
            for l in range(L - 1, -1, -1):
                D, H = sizes[l], sizes[l + 1]
                q -= D * H + H
                delta = mine[here : here + n * H].reshape(n, H)
                X_l = mine[at_X[l] : at_X[l] + n * D].reshape(n, D)
                dW = G_k[q : q + D * H].reshape(D, H)
                _gradients(X_l, delta, dW, G_k[q + D * H : q + D * H + H], n, D, H)
                if l > 0:
                    g = mine[there : there + n * D].reshape(n, D)
                    _back(delta, theta[q : q + D * H].reshape(D, H), g, n, D, H)
                    a_at, z_at = base + at_a[l - 1] * item, base + at_X[l] * item
                    if dropout[l - 1] > 0:
                        _drop(g, seed, step, l - 1, row0, n, D, dropout[l - 1], keep_scale[l - 1])
                        call_block(forward[l - 1], a_at, z_at, 0, n, D)  # f(a) without its mask
                    call_block(pull_back[l - 1], a_at, z_at, base + there * item, n, D)
                    here, there = there, here
        _barrier(sync, n_threads)

        step += 1
        shorten = one[0]
        gathered = clip > 0
        if gathered:
            shorten = one[0] * _clip_scale(
                G, penalised, theta, one[0] * lam, low, high, partial, k, n_threads, clip, sync
            )
        penalty = _update(
            rule, theta, moment, second, G, penalised, low, high, n_threads, gathered, shorten,
            one[0], lam, rates[s], step, settings,
        )  # fmt: skip
        part = 1.0 if reduction == SUM else size / N
        partial[k, 0] += part * (loss_here + 0.5 * lam * penalty)
        partial[k, 1] = step
        _barrier(sync, n_threads)


@njit(nogil=True, fastmath=FAST)
def _update(  # type: ignore[no-untyped-def]
    rule, theta, moment, second, G, penalised, low, high, n_threads, gathered, shorten,
    one, lam, rate, step, settings,
):  # fmt: skip
    """θ[low:high] by the solver's rule; returns Σ W² of it from before the step."""
    squares = 0.0
    l2, gain = one * lam, one * rate
    first, second_rate, epsilon, decay, nesterov = settings
    b1, b2, eps, shrink = one * first, one * second_rate, one * epsilon, one * (rate * decay)
    c1, c2 = one * (1 - first), one * (1 - second_rate)
    if rule == ADAM:
        gain = one * (rate * math.sqrt(1 - second_rate**step) / (1 - first**step))
    for i in range(low, high):
        x = theta[i]
        g = G[0, i]
        if not gathered:
            for other in range(1, n_threads):
                g += G[other, i]
            g += l2 * penalised[i] * x
        g *= shorten
        squares += penalised[i] * x * x
        if rule == ADAM:
            m = b1 * moment[i] + c1 * g
            v = b2 * second[i] + c2 * (g * g)
            moment[i], second[i] = m, v
            theta[i] = x - gain * m / (math.sqrt(v) + eps) - shrink * penalised[i] * x
        else:
            v = b1 * moment[i] - gain * g
            moment[i] = v
            theta[i] = x + (b1 * v - gain * g if nesterov > 0 else v)
    return squares
