"""The checks of a verification: each equation is compared with an independent computation."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from deltaprop.derivation import equations
from deltaprop.explain.check_setup import Setting
from deltaprop.explain.differences import (
    Numerical,
    all_at_once,
    along,
    by_columns,
    column_by_column,
    joined,
    stack,
)
from deltaprop.explain.verdicts import Equation
from deltaprop.functions.arrays import Array

if TYPE_CHECKING:
    from jaxtyping import Float

# "two forms" of a loss: log(1 - ŷ) for |a| ≤ 10 has lost up to five of its sixteen digits.
TOLERANCE = {"complex step": 1e-9, "central": 1e-4, "exact": 1e-12, "two forms": 1e-9}
BOTH_FORMS = 10.0  # the largest |a| at which both forms of a loss are compared
SATURATED = 1e-4  # a δ that is smaller than the slope of the loss by this factor has lost digits
MOST_AT_ONCE = 200_000  # numbers in an array of perturbed pre-activations
LARGE = 1e6  # a larger slope is near a pole of the loss

Row = tuple[str, int, Equation]  # the kind of quantity, and the layer


def check_all(s: Setting) -> Iterator[Row]:
    """Check every equation of a pass, in the order of computation."""
    last = s.net.n_layers - 1
    for l in range(last + 1):
        yield "a", l, _affine(s, l)
        for kind, row in _activation(s, l):
            yield kind, l, row
    for kind, row in _loss(s):
        yield kind, last, row
    for l in reversed(range(last + 1)):
        yield "δ", l, error_signal(s, l)
        yield "∂W", l, _weights(s, l)
        yield "∂b", l, _bias(s, l)
        if s.vectors.r[l] is not None:
            yield "∂r", l, _scale(s, l)
        if s.vectors.alpha[l] is not None:
            yield "∂α", l, _mixture(s, l)
    if s.l2:
        for l in range(last + 1):
            yield "λ", l, _penalty(s, l)


# ---------------------------------------------------------------- one equation each


def _affine(s: Setting, l: int) -> Equation:
    summed = np.einsum("nd,dh->nh", s.scaled(l, s.computed.X[l]), s.existing[l]) + s.b[l]
    everywhere, none = np.ones(summed.shape, bool), np.full(summed.shape, np.inf)
    return _verdict(
        f"a_{l} = {_inputs(s, l)} {_weights_of(s, l)} + b_{l}",
        f"layer {l}",
        s.computed.a[l],
        Numerical(summed, "exact", everywhere, -none, none),
    )


def _activation(s: Setting, l: int) -> Iterator[tuple[str, Equation]]:
    f, a = s.net.f[l], s.computed.a[l]
    z = s.computed.X[l + 1] if s.vectors.alpha[l] is None else f.f(a, np)
    derivative = column_by_column if f.coupling == "row" else all_at_once
    slope = derivative(lambda x: f.f(x, np), a)
    # 1 − z² of a saturated tanh cancels: errors are relative to at least 1 / 1000.
    place = f"layer {l}"
    yield "f′", _verdict(f"{f.name}′ at a_{l}", place, f.df(a, z, np), slope, None, 1.0)
    if f.vjp is not None:
        g = np.cos(np.arange(a.size, dtype=np.float64)).reshape(a.shape)  # arbitrary
        numerical = by_columns(lambda h, x: np.sum(g * f.f(x, np), axis=1), a)
        equation = f"Σ_h g_h ∂{f.name}_h at a_{l}"
        yield "vjp", _verdict(equation, place, f.vjp(a, z, g, np), numerical, None, 1.0)
    if f.d2f is not None:
        numerical = derivative(lambda x: f.df(x, f.f(x, np), np), a)
        if numerical.smooth.any():
            equation = f"{f.name}″ at a_{l}"
            yield "f″", _verdict(equation, place, f.d2f(a, z, np), numerical, None, 1.0)


def _loss(s: Setting) -> Iterator[tuple[str, Equation]]:
    function, yhat = s.net.loss_function, s.computed.X[-1]
    slope = by_columns(lambda h, x: np.sum(function.evaluate(s.t, x, np), axis=1), yhat)
    claimed = function.first(s.t, yhat, np)
    yield "loss′", _verdict(f"{function.name}′ at ŷ", "loss", claimed, slope)
    if function.d2 is not None:
        curvature = by_columns(lambda h, x: function.first(s.t, x, np)[:, h], yhat)
        if curvature.smooth.any():
            claimed = function.second(s.t, yhat, np)
            # log_cosh″ = 1 − loss′² cancels far from 0: its summands have the size of loss′.
            summands = _largest(function.first(s.t, yhat, np))
            equation = f"{function.name}″ at ŷ"
            yield "loss″", _verdict(equation, "loss", claimed, curvature, None, summands)
    yield from _two_forms(s)


def _two_forms(s: Setting) -> Iterator[tuple[str, Equation]]:
    """Compare the collapsed form of the loss with the loss of f(a), where both are accurate."""
    function, f, a, yhat = s.net.loss_function, s.net.f[-1], s.computed.a[-1], s.computed.X[-1]
    closed = function.closed_form(f.name)
    near = np.all(np.abs(a) <= BOTH_FORMS, axis=1)
    if closed is None or not near.any():
        return
    one, other = (
        np.sum(value, axis=1)
        for value in (
            closed.value(s.t, a, yhat, np), function.evaluate(s.t, yhat, np)
        )
    )  # fmt: skip
    none = np.full(other.shape, np.inf)
    found = Numerical(other, "two forms", near, -none, none)
    equation = f"{function.name} collapsed with {f.name} = {function.name}(y, ŷ)"
    rows: list[tuple[int, ...]] = [(n,) for n in range(len(one))]
    row = _verdict(equation, "loss", one, found, rows, 1e3)
    yield "two forms", replace(row, where=row.where.replace("entry", "row"))


def error_signal(s: Setting, l: int) -> Equation:
    """Check δ_l against the derivative of the loss with respect to a_l."""
    a = s.computed.a[l]
    last, function, f = l == s.net.n_layers - 1, s.net.loss_function, s.net.f[l]
    if last and function.closed_form(f.name) is not None:
        equation = f"collapsed form of {function.name} with {f.name}"
    else:
        equation = "∂L/∂ŷ ⊙ f′" if last else f"{_slope(s, l)} ⊙ {_incoming(s, l)}"
    claimed, found, summands = (
        s.computed.delta[l],
        by_columns(lambda h, x: s.losses_from(l, x), a),
        _largest(_before_slope(s, l)),
    )
    return _verdict(f"δ_{l} = {equation}", f"layer {l}", claimed, found, None, summands)


def _inputs(s: Setting, l: int) -> str:
    """Return what the equations multiply by W_l."""
    return f"X_{l}" if s.vectors.r[l] is None else f"(X_{l} ⊙ r_{l})"


def _weights_of(s: Setting, l: int) -> str:
    """Return the weights of a layer as the equations write them."""
    return f"W_{l}" if s.vectors.connected[l] is None else f"(C_{l} ⊙ W_{l})"


def _slope(s: Setting, l: int) -> str:
    return "f′" if s.vectors.alpha[l] is None else f"(1 + α_{l} ⊙ (f′ − 1))"


def _incoming(s: Setting, l: int) -> str:
    """Return ∂L/∂X_{l+1} as the equations write it."""
    scale = "" if s.vectors.r[l + 1] is None else f" ⊙ r_{l + 1}"
    return f"(δ_{l + 1} {_weights_of(s, l + 1)}ᵀ){scale}"


def _before_slope(s: Setting, l: int) -> Float[np.ndarray, "N H"]:
    """Return |δ_l| before the multiplication by f′, which may be a difference of large numbers."""
    if l == s.net.n_layers - 1:
        incoming: np.ndarray = s.weights * s.net.loss_function.first(s.t, s.computed.X[-1], np)
    else:
        delta = np.maximum(np.abs(s.computed.delta[l + 1]), _floor(s, l + 1))
        incoming = s.scaled(l + 1, delta @ np.abs(s.existing[l + 1]).T)
    size: np.ndarray = np.abs(incoming)
    return size


def _floor(s: Setting, l: int) -> Float[np.ndarray, "N H"]:
    """Return the size below which entries of δ_l are imprecise, because the output is saturated.

    δ_{L-1} = ŷ - y of a row whose class is certain is the difference of two numbers near 1.
    """
    if l == s.net.n_layers - 1:
        floor: np.ndarray = SATURATED * np.minimum(_before_slope(s, l), LARGE)
    else:
        floor = np.abs(s.scaled(l + 1, _floor(s, l + 1) @ np.abs(s.existing[l + 1]).T))
    return floor


def _largest(values: Float[np.ndarray, "..."]) -> float:
    """Return the largest absolute value, ignoring poles."""
    size = np.abs(values)
    return float(np.max(size, initial=0.0, where=size < LARGE))


def _summands(s: Setting, l: int) -> Float[np.ndarray, "N H"]:
    """Return the absolute values of the summands of ∂b_l; without f′ where the layer saturates."""
    delta: np.ndarray = np.maximum(np.abs(s.computed.delta[l]), _floor(s, l))
    return delta if l == s.net.n_layers - 1 else np.maximum(delta, _before_slope(s, l))


def _weights(s: Setting, l: int) -> Equation:
    W, entries = s.W[l], _entries(s, s.W[l].shape)

    X_l, connected = s.scaled(l, s.computed.X[l]), s.vectors.connected[l]
    C = np.ones(W.shape) if connected is None else connected

    def total(d: np.ndarray, h: np.ndarray, w: Array) -> Array:
        moved = X_l.T[d] * (C[d, h] * (w - W[d, h]))[:, None]
        return np.sum(s.losses_along(l, h, moved), axis=1) + 0.5 * s.l2 * w * w

    found = _slopes(total, W, entries, _at_once(s, l))
    penalty = f" + λ W_{l}" if s.l2 else ""
    product = f"{_inputs(s, l)}ᵀ δ_{l}"
    product = product if connected is None else f"C_{l} ⊙ ({product})"
    equation = f"∂L/∂W_{l} = {product}{penalty}"
    summands = np.abs(X_l).T @ _summands(s, l)
    return _entry_verdict(equation, l, s.computed.dW[l], found, entries, summands)


def _bias(s: Setting, l: int) -> Equation:
    b, entries = s.b[l], _entries(s, s.b[l].shape)

    def total(h: np.ndarray, b_h: Array) -> Array:
        moved = np.ones(len(s.t)) * (b_h - b[h])[:, None]
        return np.sum(s.losses_along(l, h, moved), axis=1)

    found = _slopes(total, b, entries, _at_once(s, l))
    summands = _summands(s, l).sum(axis=0)
    return _entry_verdict(f"∂L/∂b_{l} = Σ_n δ_{l}", l, s.computed.db[l], found, entries, summands)


def _scale(s: Setting, l: int) -> Equation:
    X_l, r = s.computed.X[l], s.vectors.r[l]
    assert r is not None
    entries = _entries(s, r.shape)

    def total(r_l: Array) -> Array:
        return np.sum(s.losses_from(l, s.scaled(l, X_l, r_l) @ s.existing[l] + s.b[l]))

    found = stack([along(total, r, np.eye(len(r))[d]) for (d,) in entries], axis=0)
    claimed = s.computed.vectors.r[l]
    assert claimed is not None
    summands = np.sum(np.abs(X_l) * (_summands(s, l) @ np.abs(s.existing[l]).T), axis=0)
    equation = f"∂L/∂r_{l} = Σ_n X_{l} ⊙ (δ_{l} {_weights_of(s, l)}ᵀ)"
    return _entry_verdict(equation, l, claimed, found, entries, summands)


def _mixture(s: Setting, l: int) -> Equation:
    a, alpha = s.computed.a[l], s.vectors.alpha[l]
    assert alpha is not None
    entries = _entries(s, alpha.shape)

    def total(alpha_l: Array) -> Array:
        return np.sum(s.losses_of_output(l, a, s.outputs(l, a, alpha_l)))

    found = stack([along(total, alpha, np.eye(len(alpha))[h]) for (h,) in entries], axis=0)
    claimed = s.computed.vectors.alpha[l]
    assert claimed is not None
    summands = np.sum(_before_slope(s, l) * np.abs(s.net.f[l].f(a, np) - a), axis=0)
    equation = f"∂L/∂α_{l} = Σ_n {_incoming(s, l)} ⊙ (f(a_{l}) − a_{l})"
    return _entry_verdict(equation, l, claimed, found, entries, summands)


def _penalty(s: Setting, l: int) -> Equation:
    """Check the gradient of the penalty alone: error signals of 0 remove the data term."""
    W, entries = s.W[l], _entries(s, s.W[l].shape)
    zeros = [np.zeros_like(delta) for delta in s.computed.delta]
    if s.vectors:
        dV, db = equations.gradients(s.computed.X, zeros, s.W)
        dW = equations.through_scales(dV, s.W, s.vectors, s.l2)
    else:
        dW, db = equations.gradients(s.computed.X, zeros, s.W, s.l2)

    def total(d: np.ndarray, h: np.ndarray, w: Array) -> Array:
        rows = W[d].astype(w.dtype)  # the other rows of W_l stay the same
        rows[np.arange(len(d)), h] = w
        return np.array([equations.penalty([row[None]], s.l2) for row in rows])

    found = _slopes(total, W, entries, len(entries))
    equation = f"∂(λ/2 ‖W_{l}‖²)/∂W_{l} = λ W_{l}"
    row = _entry_verdict(equation, l, dW[l], found, entries, np.abs(s.l2 * W))
    return row if not db[l].any() else Equation(row.equation, row.method, 1.0, False, f"b_{l}")


# ---------------------------------------------------------------- verdicts


def _slopes(
    total: Callable[..., Array],
    x: Float[np.ndarray, "..."],
    entries: list[tuple[int, ...]],
    at_once: int,
) -> Numerical:
    """Return the derivatives of total(*indices, values) in some entries of x, each by itself."""
    groups = np.array_split(np.array(entries), max(1, -(-len(entries) // at_once)))
    parts = []
    for group in groups:
        places = tuple(group.T)
        parts.append(along(partial(total, *places), x[places], np.ones(len(group))))
    return joined(parts)


def _at_once(s: Setting, l: int) -> int:
    """Return how many perturbed entries are computed together."""
    widest = max(int(W.shape[1]) for W in s.W[l:])
    return max(1, MOST_AT_ONCE // (len(s.t) * widest))


def _entries(s: Setting, shape: tuple[int, ...]) -> list[tuple[int, ...]]:
    size = int(np.prod(shape))
    flat = np.arange(size)
    if size > s.most_entries:
        flat = np.random.RandomState(0).choice(size, s.most_entries, replace=False)
    return [tuple(int(i) for i in np.unravel_index(k, shape)) for k in flat]


def _entry_verdict(
    equation: str,
    l: int,
    claimed: Float[np.ndarray, "..."],
    found: Numerical,
    entries: list[tuple[int, ...]],
    summands: Float[np.ndarray, "..."],
) -> Equation:
    picked = np.array([claimed[entry] for entry in entries])
    row = _verdict(equation, f"layer {l}", picked, found, entries, float(np.max(summands)))
    count = f", {len(entries)} of {claimed.size} entries" if len(entries) < claimed.size else ""
    return Equation(row.equation, row.method + count, row.error, row.ok, row.where)


def _verdict(
    equation: str,
    place: str,
    claimed: Float[np.ndarray, "..."],
    found: Numerical,
    entries: list[tuple[int, ...]] | None = None,
    summands: float = 0.0,
) -> Equation:
    """Compare the values that an equation claims with those that were found independently.

    Errors are relative to the largest entry. If summands of the size `summands` cancel, they are
    relative to at least a thousandth of that size.
    """
    claimed = np.broadcast_to(np.asarray(claimed), found.value.shape)
    corner = np.isfinite(found.low)
    if not (found.smooth | corner).any():
        return Equation(equation, found.method, float("nan"), False, f"{place}: no slope anywhere")
    size = max(
        1e-3 * summands,
        np.max(np.abs(found.value), initial=0.0, where=found.smooth),
        np.max(np.abs(claimed), initial=0.0, where=found.smooth),
        1e-30,
    )
    gap = np.where(found.smooth, np.abs(claimed - found.value) / size, 0.0)
    sides = np.maximum(np.abs(found.low), np.abs(found.high))
    sides = max(size, np.max(sides, initial=0.0, where=corner))
    outside = np.maximum(found.low - claimed, claimed - found.high) / sides
    gap = np.where(corner & (outside > 1e-3), outside, gap)
    gap = np.where(np.isnan(gap), np.inf, gap)
    worst = int(np.argmax(gap))
    at = entries[worst] if entries else tuple(int(i) for i in np.unravel_index(worst, gap.shape))
    names = ("row", "column", "column", "column") if len(at) > 1 else ("entry",)
    where = ", ".join([place, *(f"{n} {i}" for n, i in zip(names, at, strict=False))])
    error = float(gap.flat[worst])
    return Equation(equation, found.method, error, error <= TOLERANCE[found.method], where)
