"""The gradient of each sample: its norm, and its clipping, as in derivation/per_sample.py.

The gradient of sample n has the squared norm Σ_l (‖X_{l,n}‖² + 1) ‖δ_{l,n}‖². After the backward
pass of a tile all of these rows are at hand, so no gradient of a single sample has to be formed.

Sums are in float64, where squares of float32 numbers neither overflow nor underflow. Squares of
float64 numbers may: the norms of rows for which they do are computed again from scaled numbers.
"""

import math

from deltaprop.engines.fused.layer import layer_at, row_at
from deltaprop.engines.fused.lowlevel import call_noise, matrix, number, plain, size_of, vector
from deltaprop.functions.noise import CHUNK

# Between these bounds, a sum of squares has lost nothing to overflow or underflow.
SMALL, LARGE = 1e-150, 1e150
TINY_4, TINY_8 = 2.0**-126, 2.0**-1022  # the smallest normal numbers of float32 and float64


@plain
def clip_samples(one, f, tile):
    """Write the norms of a tile's gradients to `f.norms`, and clip them to `f.max_norm`.

    Norms are those of the δ_l in memory, which contain sample weights and the reduction's factor.
    """
    norms = vector(1.0, f.norms + tile.in_batch * 8, tile.n)
    _norms(one, f, tile, norms)
    if f.max_norm > 0:
        _clip(one, f, tile, norms)


# ---------------------------------------------------------------- norms


@plain
def _norms(one, f, tile, norms):
    n = tile.n
    squares = vector(1.0, _rows_at(one, f, tile), n)
    for i in range(n):
        norms[i] = 0.0
    for l in range(f.L):
        layer = layer_at(f.layers, l)
        if l == 0 and f.sparse:
            _squares_of_sparse(one, f, tile, squares)
        else:
            X_at = row_at(one, f, layer.X, tile.low, layer.D)
            _squares_of_rows(one, X_at, n, layer.D, f.by_unit, squares)
        for i in range(n):
            squares[i] = squares[i] + 1.0 if squares[i] < LARGE else math.inf
        delta_at = row_at(one, f, layer.delta, tile.low, layer.H)
        _add_products(one, delta_at, n, layer.H, f.by_unit, squares, norms)
    for i in range(n):
        exact = SMALL < norms[i] < LARGE
        norms[i] = math.sqrt(norms[i]) if exact else _norm_of_row(one, f, tile, i)


@plain
def _rows_at(one, f, tile):
    """The address of a float64 number for each row of a tile, in the activations' scratch."""
    return row_at(one, f, f.scratch, tile.low, 2)


@plain
def _squares_of_rows(one, at, n, width, by_unit, squares):
    """Σ x² of each row, stored by rows or by units."""
    if by_unit:
        x = matrix(one, at, width, n)
        for i in range(n):
            squares[i] = 0.0
        for d in range(width):
            for i in range(n):
                value = float(x[d, i])
                squares[i] += value * value
    else:
        x = matrix(one, at, n, width)
        for i in range(n):
            total = 0.0
            for d in range(width):
                value = float(x[i, d])
                total += value * value
            squares[i] = total


@plain
def _squares_of_sparse(one, f, tile, squares):
    order, indptr = vector(1, f.order, f.N), vector(1, f.indptr, f.N + 1)
    values = vector(one, f.X, 1)
    for i in range(tile.n):
        row, total = order[tile.first + i], 0.0
        for entry in range(indptr[row], indptr[row + 1]):
            value = float(values[entry])
            total += value * value
        squares[i] = total


@plain
def _add_products(one, at, n, width, by_unit, factors, sums):
    """sums += factors Σ δ² of each row."""
    if by_unit:
        delta = matrix(one, at, width, n)
        for h in range(width):
            for i in range(n):
                value = float(delta[h, i])
                sums[i] += factors[i] * (value * value)
    else:
        delta = matrix(one, at, n, width)
        for i in range(n):
            total = 0.0
            for h in range(width):
                value = float(delta[i, h])
                total += value * value
            sums[i] += factors[i] * total


@plain
def _norm_of_row(one, f, tile, i):
    """The norm of one row's gradient, also if squares of its entries overflow or underflow."""
    norm = 0.0
    for l in range(f.L):
        layer = layer_at(f.layers, l)
        of_delta = _norm_in(
            one, f, row_at(one, f, layer.delta, tile.low, layer.H), tile.n, i, layer.H
        )
        if of_delta == 0.0:
            continue
        if l == 0 and f.sparse:
            of_X = _norm_of_sparse(one, f, tile, i)
        else:
            X_at = row_at(one, f, layer.X, tile.low, layer.D)
            of_X = _norm_in(one, f, X_at, tile.n, i, layer.D)
        norm = _hypot(norm, _hypot(of_X, 1.0) * of_delta)
    return norm


@plain
def _norm_in(one, f, at, n, i, width):
    """The norm of row i of a (n, width) matrix, stored by rows or by units."""
    if f.by_unit:
        return _scaled_norm(vector(one, at, n * width), i, n, width)
    return _scaled_norm(vector(one, at, n * width), i * width, 1, width)


@plain
def _norm_of_sparse(one, f, tile, i):
    order, indptr = vector(1, f.order, f.N), vector(1, f.indptr, f.N + 1)
    row = order[tile.first + i]
    return _scaled_norm(vector(one, f.X, 1), indptr[row], 1, indptr[row + 1] - indptr[row])


@plain
def _scaled_norm(values, first, step, n):
    """The norm of n numbers, divided by the largest of them before they are squared."""
    largest = 0.0
    for k in range(n):
        size = abs(float(values[first + k * step]))
        if not size < math.inf:
            return size
        largest = max(largest, size)
    largest = max(largest, TINY_8)  # its reciprocal is finite
    total = 0.0
    for k in range(n):
        part = float(values[first + k * step]) / largest
        total += part * part
    return largest * math.sqrt(total)


@plain
def _hypot(x, y):
    """√(x² + y²) of numbers >= 0; NaN if one of them is NaN."""
    larger, smaller = (x, y) if x > y else (y, x)
    if larger == math.inf or larger < TINY_8:
        return larger + smaller
    ratio = smaller / larger
    return larger * math.sqrt(1.0 + ratio * ratio)


# ---------------------------------------------------------------- clipping


@plain
def _clip(one, f, tile, norms):
    """Multiply the rows of all δ_l by min(1, C / ‖g_n‖).

    A row whose gradient is not finite contributes nothing. Its X_l are set to 0, too, because
    0 · inf would be NaN. X_0 is finite, because it was checked.
    """
    n, C = tile.n, f.max_norm
    factors = vector(1.0, _rows_at(one, f, tile), n)
    for i in range(n):
        factors[i] = C / norms[i] if norms[i] > C else 1.0
        if not float(number(one, norms[i])) < math.inf:
            factors[i] = 0.0
            for l in range(1, f.L):
                layer = layer_at(f.layers, l)
                X_at = row_at(one, f, layer.X, tile.low, layer.D)
                _clear_row(one, X_at, n, layer.D, i, f.by_unit)
    for l in range(f.L):
        layer = layer_at(f.layers, l)
        delta_at = row_at(one, f, layer.delta, tile.low, layer.H)
        _scale_rows(one, delta_at, n, layer.H, factors, f.by_unit)


@plain
def _clear_row(one, at, n, width, i, by_unit):
    x, first, step = vector(one, at, n * width), i * width, 1
    if by_unit:
        first, step = i, n
    for d in range(width):
        x[first + d * step] = 0


@plain
def _scale_rows(one, at, n, width, factors, by_unit):
    if by_unit:
        delta = matrix(one, at, width, n)
        for h in range(width):
            for i in range(n):
                delta[h, i] = _scaled(one, delta[h, i], number(one, factors[i]))
    else:
        delta = matrix(one, at, n, width)
        for i in range(n):
            factor = number(one, factors[i])
            for h in range(width):
                delta[i, h] = _scaled(one, delta[i, h], factor)


@plain
def _scaled(one, x, factor):
    """factor · x, and 0 for subnormal numbers, which have fewer digits. Also 0 · inf is 0."""
    tiny = number(one, TINY_4 if size_of(one) == 4 else TINY_8)
    return one - one if factor < tiny or abs(x) < tiny else factor * x


# ---------------------------------------------------------------- the sum of clipped gradients


@plain
def privatize(one, f, k, step, at, n):
    """g ← (g + noise) / B for n entries of g, the sum of clipped gradients, from `at` on."""
    item, scale = size_of(one), number(one, f.g_scale)
    if f.noise:
        _privatize(one, f, k, step, at, at + n)
        return
    g = vector(one, f.G + at * item, n)
    for i in range(n):
        g[i] *= scale


@plain
def _privatize(one, f, k, step, low, end):
    """The same with noise, from `low` to `end`. A chunk of noise may begin before and end after."""
    item, deviation, scale = size_of(one), number(one, f.deviation), number(one, f.g_scale)
    room_at = f.noise_room + k * CHUNK * item
    while low < end:
        chunk, skipped = low // CHUNK, low % CHUNK
        n = min(CHUNK - skipped, end - low)
        call_noise(f.noise, f.noise_key, step.number - 1, chunk, room_at)
        g, noise = vector(one, f.G + low * item, n), vector(one, room_at + skipped * item, n)
        for i in range(n):
            g[i] = (g[i] + deviation * noise[i]) * scale
        low += n
