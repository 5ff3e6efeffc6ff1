"""Activations and losses as compiled loops over a block of rows.

The functions of `deltaprop.functions` and custom functions are plain Python over a namespace `xp`.
`specialised` turns one into a function of scalars of the working dtype: its number constants become
scalars of that dtype (a float64 constant would silently promote the whole loop), `xp` becomes
vector.namespace, and the functions that it calls are specialised in turn. A block wraps a loop over
rows and columns around it. If a function is not elementwise, its kernel form
(`deltaprop.functions.kernels`) determines the loops.

The kernel of a training run calls blocks by their address, so it is compiled once for all networks.

A block of rows is stored row by row, (N, H), or for small networks unit by unit, (H, N): loops over
the rows of a batch are then long enough for vector instructions although H is small.
"""

from __future__ import annotations

from types import CellType, FunctionType
from typing import Any

import numpy as np
from numba import njit, types

from deltaprop.engines.fused.lowlevel import FAST, float32_of_bits, matrix, plain, vector
from deltaprop.engines.fused.vector import namespace
from deltaprop.functions import arrays
from deltaprop.functions.activations import Activation
from deltaprop.functions.kernels import (
    EachClass,
    LogLikelihood,
    LogProbabilities,
    MeanAndSpread,
    Normalized,
    PerOutput,
    TwoHalves,
)
from deltaprop.functions.losses import Loss

BLOCK = (types.int64,) * 7  # a, z, bias or gradient, scratch of 2 N scalars, N, H, by_unit
LOSS = (types.int64,) * 9  # t, a, z, δ, loss of each row, scratch of 2 N scalars, N, H, by_unit
GATHER = (types.int64,) * 9  # X, strides, order or first row, N, D, output, by_unit
SOURCES = {name: name for name in ("float32", "float64", "int8", "int16", "int32", "int64",
                                  "uint8", "uint16")} | {
    "bool": "uint8", "float16": "uint16", "bfloat16": "uint16",
}  # fmt: skip

ROWS_TOGETHER = 16  # rows of a softmax whose exponentials are computed in one loop


inlined = njit(fastmath=FAST, error_model="numpy", forceinline=True)
"""Compiles a function that a loop calls: a call that is not inlined prevents vectorisation."""

merged = njit(fastmath=FAST, error_model="numpy", inline="always")
"""Like `inlined`, but before optimisation, so that parameters are constants for the compiler."""


# ---------------------------------------------------------------- from plain Python to scalars


def _replacements(dtype: str) -> dict[Any, Any]:
    """Array helpers that have a different implementation for scalars."""
    xp = namespace(dtype)
    floored, erf, expit, softplus = xp.floored, xp.erf, xp.expit, xp.softplus
    eps = np.finfo(dtype).eps

    def power(base, exponent, xp):
        return (max(base, eps) if exponent < 0 else base) ** exponent

    return {
        arrays.real: inlined(lambda x, xp: x),
        arrays.floored: inlined(lambda x, xp: floored(x)),
        arrays.erf: inlined(lambda x, xp: erf(x)),
        arrays.expit: inlined(lambda x, xp: expit(x)),
        arrays.softplus: inlined(lambda x, xp: softplus(x)),
        arrays.power: inlined(power),
        arrays.per_output: inlined(lambda values, yhat, xp: values[0]),
    }


def specialised(f: Any, dtype: str, seen: dict[Any, Any] | None = None) -> Any:
    """`f` compiled for scalars: numbers retyped, and the functions that it calls specialised."""
    seen = _replacements(dtype) if seen is None else seen
    if f in seen:
        return seen[f]
    T = np.dtype(dtype).type

    def retyped(value: Any) -> Any:
        if isinstance(value, FunctionType):
            return specialised(value, dtype, seen)
        if isinstance(value, tuple):
            return tuple(retyped(item) for item in value)
        number = isinstance(value, (int, float, np.number)) and not isinstance(value, bool)
        return T(value) if number else value

    code = f.__code__
    constants = tuple(retyped(constant) for constant in code.co_consts)
    scope = {name: retyped(f.__globals__[name]) for name in code.co_names if name in f.__globals__}
    cells = tuple(CellType(retyped(cell.cell_contents)) for cell in f.__closure__ or ())
    twin = FunctionType(
        code.replace(co_consts=constants), {**f.__globals__, **scope}, f.__name__,
        f.__defaults__, cells,
    )  # fmt: skip
    seen[f] = inlined(twin)
    return seen[f]


# ---------------------------------------------------------------- activations


def forward_block(activation: Activation, dtype: str) -> Any:
    """a ← a + b (if there is a bias), z = f(a). z may be stored in the place of a."""
    kernel = activation.kernel
    if isinstance(kernel, Normalized):
        return _after_bias(_normalized(kernel, dtype), dtype)
    if isinstance(kernel, TwoHalves):
        return _after_bias(_two_halves(kernel, dtype), dtype)
    return _elementwise(activation, dtype)


def pull_back_block(activation: Activation, dtype: str) -> Any:
    """g ← f′(a) ⊙ g, equations (1.8) and (1.9), or the product with the Jacobian of f."""
    kernel = activation.kernel
    if isinstance(kernel, Normalized):
        return _normalized_pull_back(kernel, dtype)
    if isinstance(kernel, TwoHalves):
        return _two_halves_pull_back(kernel, dtype)
    return _elementwise_pull_back(activation, dtype)


def _elementwise(activation: Activation, dtype: str) -> Any:
    one, xp, f = np.dtype(dtype).type(1), namespace(dtype), specialised(activation.f, dtype)

    @plain
    def shifted(a, b, z, rows, columns, by_unit):
        for i in range(rows):
            if by_unit:
                shift = b[i]
                for j in range(columns):
                    a[i, j] += shift
                    z[i, j] = f(a[i, j], xp)
            else:
                for j in range(columns):
                    a[i, j] += b[j]
                    z[i, j] = f(a[i, j], xp)

    @plain
    def shifted_in_place(a, b, rows, columns, by_unit):
        for i in range(rows):
            if by_unit:
                shift = b[i]
                for j in range(columns):
                    a[i, j] = f(a[i, j] + shift, xp)
            else:
                for j in range(columns):
                    a[i, j] = f(a[i, j] + b[j], xp)

    @plain(BLOCK)
    def block(a_at, z_at, b_at, s_at, N, H, by_unit):
        rows, columns = (H, N) if by_unit else (N, H)
        a, z = matrix(one, a_at, rows, columns), matrix(one, z_at, rows, columns)
        b = vector(one, b_at, H)
        if b_at == 0:
            for i in range(rows):
                for j in range(columns):
                    z[i, j] = f(a[i, j], xp)
        elif a_at == z_at:
            shifted_in_place(a, b, rows, columns, by_unit)
        else:
            shifted(a, b, z, rows, columns, by_unit)

    return block


def _elementwise_pull_back(activation: Activation, dtype: str) -> Any:
    one, xp, df = np.dtype(dtype).type(1), namespace(dtype), specialised(activation.df, dtype)

    @plain(BLOCK)
    def block(a_at, z_at, g_at, s_at, N, H, by_unit):
        a, z, g = vector(one, a_at, N * H), vector(one, z_at, N * H), vector(one, g_at, N * H)
        for i in range(N * H):
            g[i] *= df(a[i], z[i], xp)

    return block


def _after_bias(apply: Any, dtype: str) -> Any:
    one = np.dtype(dtype).type(1)

    @plain(BLOCK)
    def block(a_at, z_at, b_at, s_at, N, H, by_unit):
        if b_at != 0:
            a, b = matrix(one, a_at, N, H), vector(one, b_at, H)
            a_by_unit = matrix(one, a_at, H, N)
            if by_unit:
                for h in range(H):
                    for n in range(N):
                        a_by_unit[h, n] += b[h]
            else:
                for n in range(N):
                    for h in range(H):
                        a[n, h] += b[h]
        apply(a_at, z_at, s_at, N, H, by_unit)

    return block


def _normalized(kernel: Normalized, dtype: str) -> Any:
    one, xp, term = np.dtype(dtype).type(1), namespace(dtype), specialised(kernel.term, dtype)
    zero, item = one - one, one.itemsize

    @plain
    def some_rows(a_at, z_at, N, H):
        a, z = matrix(one, a_at, N, H), matrix(one, z_at, N, H)
        for n in range(N):
            top = a[n, 0]
            for h in range(1, H):
                top = max(top, a[n, h])
            for h in range(H):
                z[n, h] = a[n, h] - top
        terms = vector(one, z_at, N * H)
        for i in range(N * H):  # one loop, because a row may be shorter than a vector register
            terms[i] = term(terms[i], xp)
        for n in range(N):
            total = zero
            for h in range(H):
                total += z[n, h]
            for h in range(H):
                z[n, h] /= total

    @plain
    def units(a, z, top, total, N, H):
        for n in range(N):
            top[n], total[n] = a[0, n], zero
        for h in range(1, H):
            for n in range(N):
                top[n] = max(top[n], a[h, n])
        for h in range(H):
            for n in range(N):
                z[h, n] = term(a[h, n] - top[n], xp)
                total[n] += z[h, n]
        for h in range(H):
            for n in range(N):
                z[h, n] /= total[n]

    @plain
    def apply(a_at, z_at, s_at, N, H, by_unit):
        if by_unit:
            s = matrix(one, s_at, 2, N)
            units(matrix(one, a_at, H, N), matrix(one, z_at, H, N), s[0], s[1], N, H)
        else:
            for n in range(0, N, ROWS_TOGETHER):
                offset = n * H * item
                some_rows(a_at + offset, z_at + offset, min(ROWS_TOGETHER, N - n), H)

    return apply


def _normalized_pull_back(kernel: Normalized, dtype: str) -> Any:
    one, xp, back = np.dtype(dtype).type(1), namespace(dtype), specialised(kernel.pull_back, dtype)
    zero = one - one

    @plain(BLOCK)
    def block(a_at, z_at, g_at, s_at, N, H, by_unit):
        step_n, step_h = (1, N) if by_unit else (H, 1)
        z, g = vector(one, z_at, N * H), vector(one, g_at, N * H)
        for n in range(N):
            inner = zero
            for h in range(H):
                i = n * step_n + h * step_h
                inner += g[i] * z[i]
            for h in range(H):
                i = n * step_n + h * step_h
                g[i] = back(z[i], g[i], inner, xp)

    return block


def _two_halves(kernel: TwoHalves, dtype: str) -> Any:
    one, xp = np.dtype(dtype).type(1), namespace(dtype)
    first, second = (specialised(f, dtype) for f in kernel.f)

    @plain
    def apply(a_at, z_at, s_at, N, H, by_unit):
        step_n, step_h = (1, N) if by_unit else (H, 1)
        a, z = vector(one, a_at, N * H), vector(one, z_at, N * H)
        K = H // 2
        for n in range(N):
            for h in range(H):
                i = n * step_n + h * step_h
                z[i] = first(a[i], xp) if h < K else second(a[i], xp)

    return apply


def _two_halves_pull_back(kernel: TwoHalves, dtype: str) -> Any:
    one, xp = np.dtype(dtype).type(1), namespace(dtype)
    first, second = (specialised(df, dtype) for df in kernel.df)

    @plain(BLOCK)
    def block(a_at, z_at, g_at, s_at, N, H, by_unit):
        step_n, step_h = (1, N) if by_unit else (H, 1)
        a, z, g = vector(one, a_at, N * H), vector(one, z_at, N * H), vector(one, g_at, N * H)
        for n in range(N):
            for h in range(H // 2):
                i = n * step_n + h * step_h
                g[i] *= first(a[i], z[i], xp)
            for h in range(H // 2, H):
                i = n * step_n + h * step_h
                g[i] *= second(a[i], z[i], xp)

    return block


# ---------------------------------------------------------------- losses


def loss_block(loss: Loss, activation: str, dtype: str) -> Any:
    """The loss of each row, and ∂loss/∂a if the pair has a closed form, else ∂loss/∂ŷ."""
    closed = dict(loss.closed).get(activation)
    kernel = closed.kernel if closed else loss.kernel
    if isinstance(kernel, LogLikelihood):
        return _log_likelihood(kernel, loss, dtype)
    if isinstance(kernel, LogProbabilities):
        return _log_probabilities(kernel, loss, dtype)
    if isinstance(kernel, EachClass):
        return _each_class(kernel, loss, dtype)
    if isinstance(kernel, MeanAndSpread):
        return _mean_and_spread(kernel, loss, closed is not None, dtype)
    return _each_entry(loss, activation, dtype)


def _bound(
    function: Any, arguments: str, loss: Loss, dtype: str, signature: str = "", level: str = "",
    how: Any = inlined,
) -> Any:  # fmt: skip
    """`function` of these scalars and xp, specialised and with the loss's parameters filled in.

    The result takes the same arguments, or those of `signature` if it is given. The parameter
    whose name is `level` receives the argument ``level``.
    """
    T = np.dtype(dtype).type

    def retyped(value: Any) -> Any:
        if isinstance(value, tuple):
            return tuple(T(item) for item in value)
        return value if value is None else T(value)

    names = {f"_{k}": retyped(v) for k, v in loss.params}
    filled = "".join(f", {k}=(level,)" if k == level else f", {k}=_{k}" for k, _ in loss.params)
    function = how(specialised(function, dtype).py_func)
    scope: dict[str, Any] = {"function": function, **names}
    exec(  # a compiled function only takes keyword arguments that are written out
        f"def bound({signature or arguments}, xp):\n    return function({arguments}, xp{filled})",
        scope,
    )
    return how(scope["bound"])


def _each_entry(loss: Loss, activation: str, dtype: str) -> Any:
    """An elementwise loss; a `PerOutput` parameter has one value (level) for each column.

    Where t is NaN, the target is missing: its loss and δ are 0.
    """
    one, xp = np.dtype(dtype).type(1), namespace(dtype)
    zero = one - one
    closed = dict(loss.closed).get(activation)
    parameter = loss.kernel.parameter if isinstance(loss.kernel, PerOutput) else ""
    levels = np.array(dict(loss.params).get(parameter, (0,)), dtype)
    Q = len(levels)

    arguments = "t, a, z" if closed else "t, z"
    value, slope = (
        _bound(f, arguments, loss, dtype, "t, a, z, level", parameter)
        for f in (closed[:2] if closed else (loss.value, loss.d))
    )

    @plain(LOSS)
    def block(t_at, a_at, z_at, d_at, rows_at, s_at, N, H, by_unit):
        t, a, z = vector(one, t_at, N * H), vector(one, a_at, N * H), vector(one, z_at, N * H)
        d, rows = vector(one, d_at, N * H), vector(one, rows_at, N)
        if by_unit:
            for n in range(N):
                rows[n] = zero
            for h in range(H):
                level = levels[h % Q]
                for n in range(N):
                    i = h * N + n
                    loss = value(t[i], a[i], z[i], level, xp)
                    delta = slope(t[i], a[i], z[i], level, xp)
                    rows[n] += loss if t[i] == t[i] else zero
                    d[i] = delta if t[i] == t[i] else zero
        else:
            for n in range(N):
                total = zero
                for h in range(H):
                    i, level = n * H + h, levels[h % Q]
                    loss = value(t[i], a[i], z[i], level, xp)
                    delta = slope(t[i], a[i], z[i], level, xp)
                    total += loss if t[i] == t[i] else zero
                    d[i] = delta if t[i] == t[i] else zero
                rows[n] = total

    return block


def _log_likelihood(kernel: LogLikelihood, loss: Loss, dtype: str) -> Any:
    """Σ_h w_h (log Σ exp(a) − a_h) and z Σ_k w_k − w_h. The largest z is 1 / Σ exp(a − top)."""
    one, xp = np.dtype(dtype).type(1), namespace(dtype)
    zero, log = one - one, xp.log
    weight = _bound(kernel.weight, "t", loss, dtype)

    @plain
    def by_row(t, a, z, d, rows, masses, most, N, H):
        for n in range(N):
            top, largest, mass, dot = a[n, 0], z[n, 0], zero, zero
            for h in range(H):
                top, largest = max(top, a[n, h]), max(largest, z[n, h])
                mass += weight(t[n, h], xp)
            for h in range(H):
                dot += weight(t[n, h], xp) * (a[n, h] - top)
                d[n, h] = z[n, h] * mass - weight(t[n, h], xp)
            rows[n], masses[n], most[n] = dot, mass, largest
        for n in range(N):
            rows[n] = -masses[n] * log(most[n]) - rows[n]

    @plain
    def by_units(t, a, z, d, rows, mass, most, N, H):
        for n in range(N):
            mass[n], most[n], rows[n] = weight(t[0, n], xp), a[0, n], zero
        for h in range(1, H):
            for n in range(N):
                mass[n] += weight(t[h, n], xp)
                most[n] = max(most[n], a[h, n])
        for h in range(H):
            for n in range(N):
                rows[n] -= weight(t[h, n], xp) * (a[h, n] - most[n])
                d[h, n] = z[h, n] * mass[n] - weight(t[h, n], xp)
        for n in range(N):
            most[n] = z[0, n]
        for h in range(1, H):
            for n in range(N):
                most[n] = max(most[n], z[h, n])
        for n in range(N):
            rows[n] -= mass[n] * log(most[n])

    @plain(LOSS)
    def block(t_at, a_at, z_at, d_at, rows_at, s_at, N, H, by_unit):
        rows, s = vector(one, rows_at, N), matrix(one, s_at, 2, N)
        if by_unit:
            t, a = matrix(one, t_at, H, N), matrix(one, a_at, H, N)
            z, d = matrix(one, z_at, H, N), matrix(one, d_at, H, N)
            by_units(t, a, z, d, rows, s[0], s[1], N, H)
        else:
            t, a = matrix(one, t_at, N, H), matrix(one, a_at, N, H)
            z, d = matrix(one, z_at, N, H), matrix(one, d_at, N, H)
            by_row(t, a, z, d, rows, s[0], s[1], N, H)

    return block


def _mean_and_spread(kernel: MeanAndSpread, loss: Loss, closed: bool, dtype: str) -> Any:
    """Means and spreads are read from z, or from a in a closed form."""
    one, xp = np.dtype(dtype).type(1), namespace(dtype)
    zero = one - one
    terms = _bound(kernel.terms, "t, m, s", loss, dtype)

    @plain(LOSS)
    def block(t_at, a_at, z_at, d_at, rows_at, s_at, N, H, by_unit):
        step_n, step_h = (1, N) if by_unit else (H, 1)
        K = H // 2
        step_t = 1 if by_unit else K
        t, x = vector(one, t_at, N * K), vector(one, a_at if closed else z_at, N * H)
        d, rows = vector(one, d_at, N * H), vector(one, rows_at, N)
        for n in range(N):
            total = zero
            for h in range(K):
                mean, spread = n * step_n + h * step_h, n * step_n + (h + K) * step_h
                y = t[n * step_t + h * step_h]
                value, slope_m, slope_s = terms(y, x[mean], x[spread], xp)
                is_known = y == y  # else it is NaN: missing
                total += value if is_known else zero
                d[mean] = slope_m if is_known else zero
                d[spread] = slope_s if is_known else zero
            rows[n] = total

    return block


def _each_class(kernel: EachClass, loss: Loss, dtype: str) -> Any:
    """Σ_h t_h value_h; a single output is the probability of the second of two classes."""
    one, xp = np.dtype(dtype).type(1), namespace(dtype)
    zero = one - one
    terms = _bound(kernel.terms, "a, z", loss, dtype)

    @plain(LOSS)
    def block(t_at, a_at, z_at, d_at, rows_at, s_at, N, H, by_unit):
        step_n, step_h = (1, N) if by_unit else (H, 1)
        t, a, z = vector(one, t_at, N * H), vector(one, a_at, N * H), vector(one, z_at, N * H)
        d, rows = vector(one, d_at, N * H), vector(one, rows_at, N)
        for n in range(N):
            total = zero
            for h in range(H):
                i = n * step_n + h * step_h
                value, slope = terms(a[i], z[i], xp)
                total += t[i] * value
                d[i] = t[i] * slope
                if H == 1:  # 1 − σ(a) = σ(−a)
                    value, slope = terms(-a[i], one - z[i], xp)
                    total += (one - t[i]) * value
                    d[i] -= (one - t[i]) * slope
            rows[n] = total

    return block


def _log_probabilities(kernel: LogProbabilities, loss: Loss, dtype: str) -> Any:
    """log z_h = a_h − log Σ exp(a), and δ_h = q_h − z_h Σ_k q_k."""
    one, xp = np.dtype(dtype).type(1), namespace(dtype)
    zero, exp, log = one - one, xp.exp, xp.log
    terms = _bound(kernel.terms, "t, z, log_z", loss, dtype, how=merged)
    single = _bound(kernel.single, "t, z", loss, dtype)

    @plain(LOSS)
    def block(t_at, a_at, z_at, d_at, rows_at, s_at, N, H, by_unit):
        step_n, step_h = (1, N) if by_unit else (H, 1)
        t, a, z = vector(one, t_at, N * H), vector(one, a_at, N * H), vector(one, z_at, N * H)
        d, rows = vector(one, d_at, N * H), vector(one, rows_at, N)
        for n in range(N):
            if H == 1:
                rows[n], d[n] = single(t[n], z[n], xp), zero
                continue
            top, mass, total, q_sum = a[n * step_n], zero, zero, zero
            for h in range(1, H):
                top = max(top, a[n * step_n + h * step_h])
            for h in range(H):
                mass += exp(a[n * step_n + h * step_h] - top)
            for h in range(H):
                i = n * step_n + h * step_h
                log_z = a[i] - top - log(mass)
                value, d[i] = terms(t[i], z[i], log_z, xp)
                total += value
                q_sum += d[i]
            for h in range(H):
                i = n * step_n + h * step_h
                d[i] -= z[i] * q_sum
            rows[n] = total

    return block


# ---------------------------------------------------------------- rows of a batch


def gather_block(source: str, dtype: str) -> Any:
    """Rows `order` of X, which has any source dtype and layout, converted to the working dtype."""
    T, one = types.float32 if dtype == "float32" else types.float64, np.dtype(dtype).type(1)
    item = np.dtype(SOURCES[source]).type(1)
    widened = {"float16": _of_float16, "bfloat16": _of_bfloat16}.get(
        source, inlined(lambda x: T(x))
    )
    size = item.itemsize

    @plain(GATHER)
    def block(X_at, row, column, order_at, first, N, D, out_at, by_unit):
        step_n, step_d = (1, N) if by_unit else (D, 1)
        out, order = vector(one, out_at, N * D), vector(N, order_at, N)
        for n in range(N):
            at = order[n] if order_at else first + n
            x = vector(item, X_at + at * row * size, D * column)
            if column == 1 and not by_unit:
                for d in range(D):
                    out[n * D + d] = widened(x[d])
            else:
                for d in range(D):
                    out[n * step_n + d * step_d] = widened(x[d * column])

    return block


@inlined
def _of_float16(bits):
    """float16 from its bits. A product shifts the exponent, which also handles subnormals."""
    size = float32_of_bits(np.int32((np.int32(bits) & 0x7FFF) << 13)) * np.float32(2.0**112)
    if (bits & 0x7C00) == 0x7C00:
        size = float32_of_bits(np.int32(((np.int32(bits) & 0x3FF) << 13) | 0x7F800000))
    return -size if bits & 0x8000 else size


@inlined
def _of_bfloat16(bits):
    return float32_of_bits(np.int32(np.int32(bits) << 16))
