"""The one definition of each activation and loss, as compiled loops over a block of rows.

The functions of activations.py and losses.py (and the user's own) are plain Python over a namespace
`xp`. Here each is compiled for scalars of the working dtype: its number constants become scalars of
that dtype (a float64 constant would silently promote the whole loop), `xp` becomes
vector.namespace, and a loop over a block is wrapped around it. The kernel calls these loops by
address, so that it is compiled once for all networks.

A block lies in memory row by row, (N, H), or for small networks unit by unit, (H, N):
loops over the rows of a batch are long enough for vector instructions where H is not.
"""

from __future__ import annotations

from types import CellType, FunctionType
from typing import Any

import numpy as np
from numba import njit, types

from deltaprop.engines.fused.lowlevel import FAST, float32_of_bits, matrix, plain, vector
from deltaprop.engines.fused.vector import namespace
from deltaprop.functions import arrays, losses
from deltaprop.functions.activations import Activation
from deltaprop.functions.losses import Loss

BLOCK = (types.int64,) * 7  # a, z, bias or gradient, 2 N scalars of room, N, H, by unit
LOSS = (types.int64,) * 9  # t, a, z, δ, rows' losses, 2 N scalars of room, N, H, by unit
GATHER = (types.int64,) * 9  # X, strides, order or first row, N, D, where to, by unit
SOURCES = {name: name for name in ("float32", "float64", "int8", "int16", "int32", "int64",
                                  "uint8", "uint16")} | {
    "bool": "uint8", "float16": "uint16", "bfloat16": "uint16",
}  # fmt: skip


inlined = njit(fastmath=FAST, error_model="numpy", forceinline=True)
"""What is called in a loop over a block: a call that is left there keeps it from vectorising."""


# ---------------------------------------------------------------- from plain Python to scalars


def _replacements(dtype: str) -> dict[Any, Any]:
    """Helpers of the derivation that scalars do in another way."""
    xp = namespace(dtype)
    floored, erf, expit, softplus = xp.floored, xp.erf, xp.expit, xp.softplus
    eps = np.finfo(dtype).eps

    def power(base, exponent, xp):  # type: ignore[no-untyped-def]
        return (max(base, eps) if exponent < 0 else base) ** exponent

    return {
        arrays.real: inlined(lambda x, xp: x),
        arrays.floored: inlined(lambda x, xp: floored(x)),
        arrays.erf: inlined(lambda x, xp: erf(x)),
        arrays.expit: inlined(lambda x, xp: expit(x)),
        arrays.softplus: inlined(lambda x, xp: softplus(x)),
        losses._levels: inlined(lambda yhat, quantiles, xp: quantiles[0]),
        losses._power: inlined(power),
    }


def specialised(f: Any, dtype: str, seen: dict[Any, Any] | None = None) -> Any:
    """`f` for scalars: numbers retyped, helpers specialised in turn, jitted."""
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
    """a ← a + b (where there is a bias), z = f(a); z may take the place of a."""
    if activation.name == "softmax":
        return _after_bias(_softmax(dtype), dtype)
    if activation.name == "mean_variance":
        return _after_bias(_mean_variance(dtype), dtype)
    one, xp, f = np.dtype(dtype).type(1), namespace(dtype), specialised(activation.f, dtype)

    @plain
    def shifted(a, b, z, rows, columns, by_unit):  # type: ignore[no-untyped-def]
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
    def shifted_in_place(a, b, rows, columns, by_unit):  # type: ignore[no-untyped-def]
        for i in range(rows):
            if by_unit:
                shift = b[i]
                for j in range(columns):
                    a[i, j] = f(a[i, j] + shift, xp)
            else:
                for j in range(columns):
                    a[i, j] = f(a[i, j] + b[j], xp)

    @plain(BLOCK)
    def block(a_at, z_at, b_at, s_at, N, H, by_unit):  # type: ignore[no-untyped-def]
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


def pull_back_block(activation: Activation, dtype: str) -> Any:
    """g ← f′(a) ⊙ g, equation (1.8); for softmax z ⊙ (g − Σ_h g_h z_h)."""
    if activation.name == "softmax":
        return _softmax_pull_back(dtype)
    if activation.name == "mean_variance":
        return _mean_variance_pull_back(dtype)
    one, xp, df = np.dtype(dtype).type(1), namespace(dtype), specialised(activation.df, dtype)

    @plain(BLOCK)
    def block(a_at, z_at, g_at, s_at, N, H, by_unit):  # type: ignore[no-untyped-def]
        a, z, g = vector(one, a_at, N * H), vector(one, z_at, N * H), vector(one, g_at, N * H)
        for i in range(N * H):
            g[i] *= df(a[i], z[i], xp)

    return block


def _after_bias(apply: Any, dtype: str) -> Any:
    one = np.dtype(dtype).type(1)

    @plain(BLOCK)
    def block(a_at, z_at, b_at, s_at, N, H, by_unit):  # type: ignore[no-untyped-def]
        if b_at != 0:
            a, b = matrix(one, a_at, N, H), vector(one, b_at, H)
            turned = matrix(one, a_at, H, N)
            if by_unit:
                for h in range(H):
                    for n in range(N):
                        turned[h, n] += b[h]
            else:
                for n in range(N):
                    for h in range(H):
                        a[n, h] += b[h]
        apply(a_at, z_at, s_at, N, H, by_unit)

    return block


def _softmax(dtype: str) -> Any:
    one, exp = np.dtype(dtype).type(1), namespace(dtype).exp
    zero = one - one

    @plain
    def rows(a, z, N, H):  # type: ignore[no-untyped-def]
        for n in range(N):
            top = a[n, 0]
            for h in range(1, H):
                top = max(top, a[n, h])
            for h in range(H):
                z[n, h] = exp(a[n, h] - top)
            total = zero
            for h in range(H):
                total += z[n, h]
            for h in range(H):
                z[n, h] /= total

    @plain
    def units(a, z, top, total, N, H):  # type: ignore[no-untyped-def]
        for n in range(N):
            top[n], total[n] = a[0, n], zero
        for h in range(1, H):
            for n in range(N):
                top[n] = max(top[n], a[h, n])
        for h in range(H):
            for n in range(N):
                z[h, n] = exp(a[h, n] - top[n])
                total[n] += z[h, n]
        for h in range(H):
            for n in range(N):
                z[h, n] /= total[n]

    @plain
    def apply(a_at, z_at, s_at, N, H, by_unit):  # type: ignore[no-untyped-def]
        if by_unit:
            s = matrix(one, s_at, 2, N)
            units(matrix(one, a_at, H, N), matrix(one, z_at, H, N), s[0], s[1], N, H)
        else:
            rows(matrix(one, a_at, N, H), matrix(one, z_at, N, H), N, H)

    return apply


def _softmax_pull_back(dtype: str) -> Any:
    one = np.dtype(dtype).type(1)
    zero = one - one

    @plain(BLOCK)
    def block(a_at, z_at, g_at, s_at, N, H, by_unit):  # type: ignore[no-untyped-def]
        step_n, step_h = (1, N) if by_unit else (H, 1)
        z, g = vector(one, z_at, N * H), vector(one, g_at, N * H)
        for n in range(N):
            inner = zero
            for h in range(H):
                i = n * step_n + h * step_h
                inner += g[i] * z[i]
            for h in range(H):
                i = n * step_n + h * step_h
                g[i] = z[i] * (g[i] - inner)

    return block


def _mean_variance(dtype: str) -> Any:
    one, exp = np.dtype(dtype).type(1), namespace(dtype).exp

    @plain
    def apply(a_at, z_at, s_at, N, H, by_unit):  # type: ignore[no-untyped-def]
        step_n, step_h = (1, N) if by_unit else (H, 1)
        a, z = vector(one, a_at, N * H), vector(one, z_at, N * H)
        for n in range(N):
            for h in range(H):
                i = n * step_n + h * step_h
                z[i] = a[i] if 2 * h < H else exp(a[i])

    return apply


def _mean_variance_pull_back(dtype: str) -> Any:
    one = np.dtype(dtype).type(1)

    @plain(BLOCK)
    def block(a_at, z_at, g_at, s_at, N, H, by_unit):  # type: ignore[no-untyped-def]
        step_n, step_h = (1, N) if by_unit else (H, 1)
        z, g = vector(one, z_at, N * H), vector(one, g_at, N * H)
        for n in range(N):
            for h in range(H // 2, H):
                i = n * step_n + h * step_h
                g[i] *= z[i]

    return block


# ---------------------------------------------------------------- losses


def loss_block(loss: Loss, activation: str, dtype: str) -> Any:
    """Each row's loss; and ∂loss/∂a where the pair has a collapsed form, else ∂loss/∂ŷ."""
    if loss.is_ours and loss.name == "cross_entropy" and activation == "softmax":
        return _softmax_cross_entropy(dtype)
    if loss.is_ours and loss.name == "gaussian_nll":
        return _gaussian_nll(activation == "mean_variance", dtype)
    if loss.is_ours and loss.name == "focal":
        return _focal(loss, activation, dtype)
    closed = loss.closed_form(activation)
    one, xp = np.dtype(dtype).type(1), namespace(dtype)
    zero = one - one
    value, slope = closed or (loss.value, loss.d)
    levels = np.array(loss.settings.get("quantiles", (0,)), dtype)
    Q = len(levels)
    value = _bound(value, loss, dtype, bool(closed))
    slope = _bound(slope, loss, dtype, bool(closed))

    @plain(LOSS)
    def block(t_at, a_at, z_at, d_at, rows_at, s_at, N, H, by_unit):  # type: ignore[no-untyped-def]
        t, a, z = vector(one, t_at, N * H), vector(one, a_at, N * H), vector(one, z_at, N * H)
        d, rows = vector(one, d_at, N * H), vector(one, rows_at, N)
        if by_unit:
            for n in range(N):
                rows[n] = zero
            for h in range(H):
                level = levels[h % Q]
                for n in range(N):
                    i = h * N + n
                    rows[n] += value(t[i], a[i], z[i], level, xp)
                    d[i] = slope(t[i], a[i], z[i], level, xp)
        else:
            for n in range(N):
                total = zero
                for h in range(H):
                    i, level = n * H + h, levels[h % Q]
                    total += value(t[i], a[i], z[i], level, xp)
                    d[i] = slope(t[i], a[i], z[i], level, xp)
                rows[n] = total

    return block


def _bound(function: Any, loss: Loss, dtype: str, closed: bool) -> Any:
    """`function` of (t, a, z, level, xp), with the loss's parameters filled in."""
    T = np.dtype(dtype).type

    def retyped(value: Any) -> Any:
        if isinstance(value, tuple):
            return tuple(T(item) for item in value)
        return value if value is None else T(value)

    names = {f"_{k}": retyped(v) for k, v in loss.settings.items()}
    filled = "".join(
        ", quantiles=(level,)" if k == "quantiles" else f", {k}=_{k}" for k in loss.settings
    )
    scope: dict[str, Any] = {"function": specialised(function, dtype), **names}
    exec(  # parameters by keyword, which a compiled function takes only when spelt out
        "def bound(t, a, z, level, xp):\n"
        f"    return function({'t, a, z' if closed else 't, z'}, xp{filled})",
        scope,
    )
    return inlined(scope["bound"])


def _softmax_cross_entropy(dtype: str) -> Any:
    """z Σ_h t_h − t, and Σ_h t_h (log Σ exp(a) − a_h): the largest z is 1 / Σ exp(a − top)."""
    one, log = np.dtype(dtype).type(1), namespace(dtype).log
    zero = one - one

    @plain
    def by_row(t, a, z, d, rows, N, H):  # type: ignore[no-untyped-def]
        for n in range(N):
            top, largest, mass, dot = a[n, 0], z[n, 0], zero, zero
            for h in range(H):
                top, largest = max(top, a[n, h]), max(largest, z[n, h])
                mass += t[n, h]
            for h in range(H):
                dot += t[n, h] * (a[n, h] - top)
                d[n, h] = z[n, h] * mass - t[n, h]
            rows[n] = -mass * log(largest) - dot

    @plain
    def by_units(t, a, z, d, rows, mass, most, N, H):  # type: ignore[no-untyped-def]
        for n in range(N):
            mass[n], most[n], rows[n] = t[0, n], a[0, n], zero
        for h in range(1, H):
            for n in range(N):
                mass[n] += t[h, n]
                most[n] = max(most[n], a[h, n])
        for h in range(H):
            for n in range(N):
                rows[n] -= t[h, n] * (a[h, n] - most[n])
                d[h, n] = z[h, n] * mass[n] - t[h, n]
        for n in range(N):
            most[n] = z[0, n]
        for h in range(1, H):
            for n in range(N):
                most[n] = max(most[n], z[h, n])
        for n in range(N):
            rows[n] -= mass[n] * log(most[n])

    @plain(LOSS)
    def block(t_at, a_at, z_at, d_at, rows_at, s_at, N, H, by_unit):  # type: ignore[no-untyped-def]
        rows, s = vector(one, rows_at, N), matrix(one, s_at, 2, N)
        if by_unit:
            t, a = matrix(one, t_at, H, N), matrix(one, a_at, H, N)
            z, d = matrix(one, z_at, H, N), matrix(one, d_at, H, N)
            by_units(t, a, z, d, rows, s[0], s[1], N, H)
        else:
            t, a = matrix(one, t_at, N, H), matrix(one, a_at, N, H)
            z, d = matrix(one, z_at, N, H), matrix(one, d_at, N, H)
            by_row(t, a, z, d, rows, N, H)

    return block


def _gaussian_nll(closed: bool, dtype: str) -> Any:
    """½ (log v + (y − μ)² / v) of means and variances, or of means and log-variances."""
    one, xp = np.dtype(dtype).type(1), namespace(dtype)
    log, exp, floored = xp.log, xp.exp, xp.floored
    half, zero = one / (one + one), one - one

    @plain(LOSS)
    def block(t_at, a_at, z_at, d_at, rows_at, s_at, N, H, by_unit):  # type: ignore[no-untyped-def]
        step_n, step_h = (1, N) if by_unit else (H, 1)
        K = H // 2
        step_t = 1 if by_unit else K
        t, a, z = vector(one, t_at, N * K), vector(one, a_at, N * H), vector(one, z_at, N * H)
        d, rows = vector(one, d_at, N * H), vector(one, rows_at, N)
        for n in range(N):
            total = zero
            for h in range(K):
                mean, spread = n * step_n + h * step_h, n * step_n + (h + K) * step_h
                r = t[n * step_t + h * step_h] - z[mean]
                if closed:
                    precision = exp(-a[spread])
                    total += half * (a[spread] + r * r * precision)
                    d[mean] = -r * precision
                    d[spread] = half * (one - r * r * precision)
                else:
                    v = floored(z[spread])
                    total += half * (log(v) + r * r / v)
                    d[mean] = -r / v
                    d[spread] = half * (one - r * r / v) / v
            rows[n] = total

    return block


def _focal(loss: Loss, activation: str, dtype: str) -> Any:
    """−t (1 − p)^γ log p; a single output is the probability of the second class."""
    one, xp = np.dtype(dtype).type(1), namespace(dtype)
    zero, gamma = one - one, np.dtype(dtype).type(loss.settings["gamma"])
    if activation == "softmax":
        return _focal_softmax(gamma, dtype)
    power = specialised(losses._power, dtype)
    if activation == "logistic":
        softplus = specialised(arrays.softplus, dtype)
        expit = specialised(arrays.expit, dtype)

        @inlined
        def term(a, z):  # type: ignore[no-untyped-def]
            return power(expit(-a, xp), gamma, xp) * softplus(-a, xp)

        @inlined
        def term_d(a, z):  # type: ignore[no-untyped-def]
            q = expit(-a, xp)
            return -power(q, gamma, xp) * (gamma * z * softplus(-a, xp) + q)
    else:
        of_p, of_p_d = (specialised(f, dtype) for f in (losses._focal_term, losses._focal_term_d))
        term = inlined(lambda a, z: of_p(z, xp, gamma))
        term_d = inlined(lambda a, z: of_p_d(z, xp, gamma))

    @plain(LOSS)
    def block(t_at, a_at, z_at, d_at, rows_at, s_at, N, H, by_unit):  # type: ignore[no-untyped-def]
        step_n, step_h = (1, N) if by_unit else (H, 1)
        t, a, z = vector(one, t_at, N * H), vector(one, a_at, N * H), vector(one, z_at, N * H)
        d, rows = vector(one, d_at, N * H), vector(one, rows_at, N)
        for n in range(N):
            total = zero
            for h in range(H):
                i = n * step_n + h * step_h
                total += t[i] * term(a[i], z[i])
                d[i] = t[i] * term_d(a[i], z[i])
                if H == 1:  # 1 − σ(a) = σ(−a)
                    total += (one - t[i]) * term(-a[i], one - z[i])
                    d[i] -= (one - t[i]) * term_d(-a[i], one - z[i])
            rows[n] = total

    return block


def _focal_softmax(gamma: Any, dtype: str) -> Any:
    one, xp = np.dtype(dtype).type(1), namespace(dtype)
    zero, exp, log, floored = one - one, xp.exp, xp.log, xp.floored
    power = specialised(losses._power, dtype)

    @plain(LOSS)
    def block(t_at, a_at, z_at, d_at, rows_at, s_at, N, H, by_unit):  # type: ignore[no-untyped-def]
        step_n, step_h = (1, N) if by_unit else (H, 1)
        t, a, z = vector(one, t_at, N * H), vector(one, a_at, N * H), vector(one, z_at, N * H)
        d, rows = vector(one, d_at, N * H), vector(one, rows_at, N)
        for n in range(N):
            if H == 1:  # a softmax over one class is constant
                rows[n], d[n] = -(one - t[n]) * log(floored(one - z[n])), zero
                continue
            top, mass, total, both = a[n * step_n], zero, zero, zero
            for h in range(1, H):
                top = max(top, a[n * step_n + h * step_h])
            for h in range(H):
                mass += exp(a[n * step_n + h * step_h] - top)
            for h in range(H):
                i = n * step_n + h * step_h
                log_p, rest = a[i] - top - log(mass), power(one - z[i], gamma, xp)
                total -= t[i] * rest * log_p
                slope = gamma * power(one - z[i], gamma - one, xp) * z[i] * log_p
                d[i] = t[i] * (slope - rest)
                both += d[i]
            for h in range(H):
                i = n * step_n + h * step_h
                d[i] -= z[i] * both
            rows[n] = total

    return block


# ---------------------------------------------------------------- rows of a batch


def gather_block(source: str, dtype: str) -> Any:
    """Rows `order` of X, of any source dtype and layout, as numbers of the working dtype."""
    T, one = types.float32 if dtype == "float32" else types.float64, np.dtype(dtype).type(1)
    item = np.dtype(SOURCES[source]).type(1)
    widened = {"float16": _of_half, "bfloat16": _of_brain}.get(source, inlined(lambda x: T(x)))
    size = item.itemsize

    @plain(GATHER)
    def block(X_at, row, column, order_at, first, N, D, out_at, by_unit):  # type: ignore[no-untyped-def]
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
def _of_half(bits):  # type: ignore[no-untyped-def]
    """float16 by its bits: the exponent is moved by a product, which also mends subnormals."""
    size = float32_of_bits(np.int32((np.int32(bits) & 0x7FFF) << 13)) * np.float32(2.0**112)
    if (bits & 0x7C00) == 0x7C00:
        size = float32_of_bits(np.int32(((np.int32(bits) & 0x3FF) << 13) | 0x7F800000))
    return -size if bits & 0x8000 else size


@inlined
def _of_brain(bits):  # type: ignore[no-untyped-def]
    return float32_of_bits(np.int32(np.int32(bits) << 16))
