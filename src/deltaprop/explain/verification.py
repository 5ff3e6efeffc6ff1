"""Prove each equation of a network separately, on data, by other means than the equation."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

from deltaprop.derivation import equations
from deltaprop.explain.differences import Numerical, along
from deltaprop.functions.activations import Activation
from deltaprop.functions.arrays import Array
from deltaprop.functions.losses import ClosedForm, Loss

if TYPE_CHECKING:
    from jaxtyping import Float

    from deltaprop.network import Network

# "two forms" of a loss: log(1 - ŷ) for |a| ≤ 10 has lost up to five of its sixteen digits.
TOLERANCE = {"complex step": 1e-9, "central": 1e-4, "exact": 1e-12, "two forms": 1e-9}
BOTH_FORMS = 10.0
LARGE = 1e6  # a slope beyond this is near a pole of the loss
MAX_ROWS = 100
MAX_ENTRIES = 2000


@dataclass(frozen=True)
class Equation:
    """One proven (or refuted) equation.

    Attributes
    ----------
    equation : str
        What was proven.
    method : str
        "complex step", "central" differences or "exact" recomputation, and on how many entries
        where not on all.
    error : float
        The largest difference, relative to the largest entry.
    ok : bool
    where : str
        The layer and entry with the largest difference.
    because : tuple of str
        The equations without whose failing this one would hold; empty where it holds, or is wrong
        in itself.
    """

    equation: str
    method: str
    error: float
    ok: bool
    where: str
    because: tuple[str, ...] = ()


@dataclass(frozen=True)
class Proof:
    """The report of :meth:`deltaprop.Network.check`: one row an equation.

    Examples
    --------
    >>> import deltaprop as dp
    >>> wrong = dp.Activation("sine", lambda a, xp: xp.sin(a), lambda a, z, xp: -xp.cos(a))
    >>> net = dp.Network(2, [dp.Dense(3, wrong), dp.Dense(1)], loss="squared_error", seed=0)
    >>> proof = net.check([[0.1, 0.2]], [1.0])
    >>> [row.equation for row in proof.wrong]
    ['sine′ at a_0']
    >>> print(proof.conclusion)
    Wrong: sine′ at a_0. 3 other equations fail only because of that.
    """

    rows: list[Equation] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether every equation holds."""
        return all(row.ok for row in self.rows)

    @property
    def wrong(self) -> list[Equation]:
        """The equations that fail in themselves, not because another one does."""
        return [row for row in self.rows if not row.ok and not row.because]

    @property
    def conclusion(self) -> str:
        """The report in one line."""
        if self.ok:
            return f"All {len(self.rows)} equations hold."
        others = sum(not row.ok for row in self.rows) - len(self.wrong)
        named = ", ".join(row.equation for row in self.wrong)
        if not others:
            return f"Wrong: {named}."
        fail = "equation fails" if others == 1 else "equations fail"
        return f"Wrong: {named}. {others} other {fail} only because of that."

    def _cells(self) -> list[tuple[str, ...]]:
        lines: list[tuple[str, ...]] = [("equation", "method", "error", "", "where")]
        for row in self.rows:
            verdict = "holds" if row.ok else "follows" if row.because else "FAILS"
            where = (
                f"{row.where}; because of {', '.join(row.because)}" if row.because else row.where
            )
            lines.append((row.equation, row.method, f"{row.error:.1e}", verdict, where))
        return lines

    def __str__(self) -> str:
        lines = self._cells()
        widths = [max(len(line[i]) for line in lines) for i in range(5)]
        table = [
            "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
            for line in lines
        ]
        return "\n".join([*table, self.conclusion])

    def _repr_html_(self) -> str:
        head, *body = self._cells()
        rows = [
            "".join(f"<td>{escape(cell)}</td>" for cell in line).join(
                (f'<tr class="{line[3].lower()}"{_HTML_STYLE.get(line[3], "")}>', "</tr>")
            )
            for line in body
        ]
        titles = "".join(f"<th>{escape(title or 'verdict')}</th>" for title in head)
        return (
            f'<table class="deltaprop-proof"><caption>{escape(self.conclusion)}</caption>'
            f"<thead><tr>{titles}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
        )


# Said in words too, so that colour is not needed to read it.
_HTML_STYLE = {"FAILS": ' style="font-weight:bold;color:#c00"', "follows": ' style="color:#a60"'}


@dataclass(frozen=True)
class _Setting:
    """The network and the data of a proof, in float64."""

    net: Network
    X0: Float[np.ndarray, "N D"]
    t: Float[np.ndarray, "N K"]
    weights: Any
    l2: float
    W: tuple[Float[np.ndarray, "D H"], ...]
    b: tuple[Float[np.ndarray, " H"], ...]
    done: equations.Pass

    def losses_from(self, l: int, a_l: Array, W: Any = None, b: Any = None) -> Array:
        """Each sample's weighted loss when layer l's pre-activation is a_l."""
        net, W, b = self.net, W or self.W, b or self.b
        f = net.f
        z = f[l].f(a_l, np)
        if l + 1 < net.n_layers:
            X, a = equations.forward(z, W[l + 1 :], b[l + 1 :], f[l + 1 :])
            a_l, z = a[-1], X[-1]
        losses = equations.sample_losses(self.t, a_l, z, f[-1], net.loss_function)
        return losses * np.squeeze(np.asarray(self.weights))


def prove(net: Network, X: Any, y: Any, sample_weight: Any = None) -> Proof:
    """Prove f′, f″, loss′, loss″, every δ_l, ∂W_l, ∂b_l and the penalty on (X, y).

    Parameters
    ----------
    net : Network
    X, y, sample_weight
        As for :meth:`Network.loss`; at most 100 rows, evenly spaced, are used.

    Returns
    -------
    Proof
        Whether all hold (``.ok``), and a row for each equation (``.rows``); ``str`` gives a table.
        Up to 2000 entries of each W_l are perturbed one at a time; the method says so where
        there are more.

    Notes
    -----
    The proof runs in float64 whatever the network's dtype: it is of the equations, not of
    rounding. At a corner any slope between the two sides holds; jumps and poles are left out.

    Examples
    --------
    >>> import deltaprop as dp
    >>> from deltaprop.inspect import prove
    >>> net = dp.Network(2, [dp.Dense(2, "tanh"), dp.Dense(1)], loss="huber", seed=0)
    >>> [row.equation for row in prove(net, [[1.0, 2.0]], [0.5]).rows][:3]
    ['a_0 = X_0 W_0 + b_0', 'tanh′ at a_0', 'tanh″ at a_0']
    """
    from threadpoolctl import threadpool_limits

    setting = _setting(net, X, y, sample_weight)
    # Thousands of tiny products, which threads only slow down.
    with threadpool_limits(1), np.errstate(all="ignore"):
        return Proof(_with_causes(setting, list(_rows(setting))))


def _setting(net: Network, X: Any, y: Any, sample_weight: Any) -> _Setting:
    """All in float64, on at most `MAX_ROWS` rows."""
    X, t, weights, _ = net._prepare(X, y, sample_weight)
    N = X.shape[0]
    rows = np.unique(np.linspace(0, N - 1, min(N, MAX_ROWS)).round().astype(int))
    X0 = np.asarray((X.tocsr()[rows].toarray() if hasattr(X, "tocsr") else X[rows]), np.float64)
    w = None if sample_weight is None else np.asarray(sample_weight, np.float64)[rows]
    weights, l2 = net.scales(len(rows), w)
    t = t[rows].astype(np.float64)
    W = tuple(W_l.astype(np.float64) for W_l in net.W)
    b = tuple(b_l.astype(np.float64) for b_l in net.b)
    return _Setting(net, X0, t, weights, l2, W, b, _done(net, X0, t, W, b, l2, weights))


def _done(net: Network, X0: Any, t: Any, W: Any, b: Any, l2: float, weights: Any) -> equations.Pass:
    with np.errstate(all="ignore"):
        return equations.forward_backward(X0, t, W, b, net.f, net.loss_function, l2, weights)


Row = tuple[str, int, Equation]  # what it is about, and the layer


def _rows(s: _Setting) -> Iterator[Row]:
    last = s.net.n_layers - 1
    for l in range(last + 1):
        yield "a", l, _affine(s, l)
        for kind, row in _activation(s, l):
            yield kind, l, row
    for kind, row in _loss(s):
        yield kind, last, row
    for l in reversed(range(last + 1)):
        yield "δ", l, _error_signal(s, l)
        yield "∂W", l, _weights(s, l)
        yield "∂b", l, _bias(s, l)
    if s.l2:
        for l in range(last + 1):
            yield "λ", l, _penalty(s, l)


# ---------------------------------------------------------------- what follows from what


def _with_causes(s: _Setting, rows: list[Row]) -> list[Equation]:
    """Each row, with the wrong functions without which it would hold.

    Wrong derivatives are replaced by numerical ones, and all is proven again: what holds then
    failed only because of them.
    """
    wrong = {
        (kind, l): row.equation
        for kind, l, row in rows
        if not row.ok and kind in ("f′", "vjp", "loss′", "two forms")
    }
    last, function = s.net.n_layers - 1, s.net.loss_function
    collapsed = function.closed_form(s.net.f[last].name) is not None
    signal = next(row for kind, l, row in rows if (kind, l) == ("δ", last))
    if collapsed and not signal.ok:
        itself = signal
        if ("two forms", last) in wrong:  # against the loss itself, is the collapsed δ right?
            itself = _error_signal(replace(_repaired(s, {*wrong}), done=s.done), last)
        if not itself.ok:
            wrong["δ", last] = signal.equation
    if not wrong:
        return [row for _, _, row in rows]
    mended = {(kind, l) for kind, l, row in _rows(_repaired(s, {*wrong})) if row.ok}
    return [
        row
        if row.ok or (kind, l) in wrong or (kind, l) not in mended
        else replace(row, because=_causes(kind, l, wrong, collapsed, last))
        for kind, l, row in rows
    ]


def _causes(
    kind: str, l: int, wrong: dict[tuple[str, int], str], collapsed: bool, last: int
) -> tuple[str, ...]:
    """The wrong functions that an equation of that kind uses."""

    def used(of: str, at: int) -> bool:
        if kind == "f″":
            return (of, at) == ("f′", l)
        if kind == "loss″":
            return of == "loss′"
        if of in ("two forms", "δ"):
            return True
        if of == "loss′" or at == last:
            return not collapsed
        return at >= l

    return tuple(name for (of, at), name in wrong.items() if used(of, at))


def _repaired(s: _Setting, wrong: set[tuple[str, int]]) -> _Setting:
    """The same with numerical derivatives in place of the wrong ones."""
    net, function = copy.copy(s.net), s.net.loss_function
    layers = []
    for l, layer in enumerate(net.layers):
        f = layer.activation
        if ("f′", l) in wrong:
            f = _changed(f, df=partial(_numerical_df, f), vjp=None)
        elif ("vjp", l) in wrong:
            f = _changed(f, vjp=None)
        layers.append(_changed(layer, activation=f))
    net.layers = tuple(layers)
    last, f = net.n_layers - 1, net.f[-1]
    if ("loss′", last) in wrong:
        function = _changed(function, d=partial(_numerical_d, function))
    closed = function.closed_form(f.name)
    if ("two forms", last) in wrong:
        function = _changed(function, closed=())
    elif closed is not None and ("δ", last) in wrong:
        right = ClosedForm(closed.value, partial(_numerical_delta, closed, f))
        function = _changed(function, closed={f.name: right})
    net.loss_function = function
    done = _done(net, s.X0, s.t, s.W, s.b, s.l2, s.weights)
    return replace(s, net=net, done=done)


def _changed(original: Any, **fields: Any) -> Any:
    """A copy with other fields, without the checks that guard a built-in's name."""
    twin = object.__new__(type(original))
    twin.__dict__.update(original.__dict__ | fields)
    return twin


def _numerical_df(f: Activation, a: Array, z: Array, xp: Any) -> Array:
    if np.iscomplexobj(a):
        raise TypeError("a numerical derivative has no complex step")
    first = _column_by_column if f.coupling == "row" else _at_once
    return first(lambda x: f.f(x, np), a).value


def _numerical_d(function: Loss, t: Array, yhat: Array, xp: Any, **params: Any) -> Array:
    if np.iscomplexobj(yhat):
        raise TypeError("a numerical derivative has no complex step")
    return _columns(lambda h, x: np.sum(function.evaluate(t, x, np), axis=1), yhat).value


def _numerical_delta(
    closed: ClosedForm, f: Activation, t: Array, a: Array, z: Array, xp: Any, **params: Any
) -> Array:
    def losses(h: int, x: Array) -> Array:
        return np.sum(closed.value(t, x, f.f(x, np), np, **params), axis=1)

    return _columns(losses, a).value


# ---------------------------------------------------------------- one equation each


def _affine(s: _Setting, l: int) -> Equation:
    summed = np.einsum("nd,dh->nh", s.done.X[l], s.W[l]) + s.b[l]
    everywhere, none = np.ones(summed.shape, bool), np.full(summed.shape, np.inf)
    return _verdict(
        f"a_{l} = X_{l} W_{l} + b_{l}",
        f"layer {l}",
        s.done.a[l],
        Numerical(summed, "exact", everywhere, -none, none),
    )


def _activation(s: _Setting, l: int) -> Iterator[tuple[str, Equation]]:
    f, a, z = s.net.f[l], s.done.a[l], s.done.X[l + 1]
    first = _column_by_column if f.coupling == "row" else _at_once
    slope = first(lambda x: f.f(x, np), a)
    # 1 - z² of a saturated tanh is a difference: errors are relative to at least 1 / 1000.
    place = f"layer {l}"
    yield "f′", _verdict(f"{f.name}′ at a_{l}", place, f.df(a, z, np), slope, None, 1.0)
    if f.vjp is not None:
        g = np.cos(np.arange(a.size, dtype=np.float64)).reshape(a.shape)  # any numbers will do
        pulled = _columns(lambda h, x: np.sum(g * f.f(x, np), axis=1), a)
        equation = f"Σ_h g_h ∂{f.name}_h at a_{l}"
        yield "vjp", _verdict(equation, place, f.vjp(a, z, g, np), pulled, None, 1.0)
    if f.d2f is not None:
        derivative = first(lambda x: f.df(x, f.f(x, np), np), a)
        if derivative.smooth.any():
            equation = f"{f.name}″ at a_{l}"
            yield "f″", _verdict(equation, place, f.d2f(a, z, np), derivative, None, 1.0)


def _loss(s: _Setting) -> Iterator[tuple[str, Equation]]:
    function, yhat = s.net.loss_function, s.done.X[-1]
    slope = _columns(lambda h, x: np.sum(function.evaluate(s.t, x, np), axis=1), yhat)
    claimed = function.first(s.t, yhat, np)
    yield "loss′", _verdict(f"{function.name}′ at ŷ", "loss", claimed, slope)
    if function.d2 is not None:
        bend = _columns(lambda h, x: function.first(s.t, x, np)[:, h], yhat)
        if bend.smooth.any():
            claimed = function.second(s.t, yhat, np)
            # log_cosh″ = 1 - loss′² far out is a difference of numbers of the size of loss′.
            summands = _largest(function.first(s.t, yhat, np))
            equation = f"{function.name}″ at ŷ"
            yield "loss″", _verdict(equation, "loss", claimed, bend, None, summands)
    yield from _two_forms(s)


def _two_forms(s: _Setting) -> Iterator[tuple[str, Equation]]:
    """The collapsed form of the loss against the loss of f(a), where both have their digits."""
    function, f, a, yhat = s.net.loss_function, s.net.f[-1], s.done.a[-1], s.done.X[-1]
    closed = function.closed_form(f.name)
    near = np.all(np.abs(a) <= BOTH_FORMS, axis=1)
    if closed is None or not near.any():
        return
    one, other = (
        np.sum(value, axis=1)
        for value in (
            closed.value(s.t, a, yhat, np),
            function.evaluate(s.t, yhat, np),
        )
    )
    none = np.full(other.shape, np.inf)
    found = Numerical(other, "two forms", near, -none, none)
    equation = f"{function.name} collapsed with {f.name} = {function.name}(y, ŷ)"
    rows: list[tuple[int, ...]] = [(n,) for n in range(len(one))]
    row = _verdict(equation, "loss", one, found, rows, 1e3)
    yield "two forms", replace(row, where=row.where.replace("entry", "row"))


def _error_signal(s: _Setting, l: int) -> Equation:
    a = s.done.a[l]
    last, function, f = l == s.net.n_layers - 1, s.net.loss_function, s.net.f[l]
    if last and function.closed_form(f.name) is not None:
        equation = f"collapsed form of {function.name} with {f.name}"
    else:
        equation = "∂L/∂ŷ ⊙ f′" if last else f"f′ ⊙ (δ_{l + 1} W_{l + 1}ᵀ)"
    claimed, found, summands = (
        s.done.delta[l],
        _columns(lambda h, x: s.losses_from(l, x), a),
        _largest(_unsloped(s, l)),
    )
    return _verdict(f"δ_{l} = {equation}", f"layer {l}", claimed, found, None, summands)


def _unsloped(s: _Setting, l: int) -> Float[np.ndarray, "N H"]:
    """The summands of δ_l before f′, which may be a difference of much larger numbers."""
    if l == s.net.n_layers - 1:
        incoming: np.ndarray = s.weights * s.net.loss_function.first(s.t, s.done.X[-1], np)
    else:
        incoming = np.abs(s.done.delta[l + 1]) @ np.abs(s.W[l + 1]).T
    size: np.ndarray = np.abs(incoming)
    return size


def _largest(values: Float[np.ndarray, "..."]) -> float:
    """The largest size but for poles."""
    size = np.abs(values)
    return float(np.max(size, initial=0.0, where=size < LARGE))


def _summands(s: _Setting, l: int) -> Float[np.ndarray, "N H"]:
    """The size of what adds up in ∂W_l and ∂b_l; where a whole layer saturates, before f′."""
    delta: np.ndarray = np.abs(s.done.delta[l])
    return delta if l == s.net.n_layers - 1 else np.maximum(delta, _unsloped(s, l))


def _weights(s: _Setting, l: int) -> Equation:
    W, entries = s.W[l], _entries(s.W[l].shape)

    def total(W_l: Array) -> Array:
        data = np.sum(s.losses_from(l, s.done.X[l] @ W_l + s.b[l]))
        return data + equations.penalty([W_l], s.l2)

    parts = [along(total, W, _one_hot(W, entry)) for entry in entries]
    penalty = f" + λ W_{l}" if s.l2 else ""
    equation = f"∂L/∂W_{l} = X_{l}ᵀ δ_{l}{penalty}"
    summands = np.abs(s.done.X[l]).T @ _summands(s, l)
    return _entry_verdict(equation, l, s.done.dW[l], parts, entries, summands)


def _bias(s: _Setting, l: int) -> Equation:
    b, entries = s.b[l], _entries(s.b[l].shape)

    def total(b_l: Array) -> Array:
        return np.sum(s.losses_from(l, s.done.X[l] @ s.W[l] + b_l))

    parts = [along(total, b, _one_hot(b, entry)) for entry in entries]
    summands = _summands(s, l).sum(axis=0)
    return _entry_verdict(f"∂L/∂b_{l} = Σ_n δ_{l}", l, s.done.db[l], parts, entries, summands)


def _penalty(s: _Setting, l: int) -> Equation:
    """The penalty's gradient alone: error signals of zero switch the data term off."""
    W, entries = s.W[l], _entries(s.W[l].shape)
    off = [np.zeros_like(delta) for delta in s.done.delta]
    dW, db = equations.gradients(s.done.X, off, s.W, s.l2)
    parts = [
        along(lambda W_l: equations.penalty([W_l], s.l2), W, _one_hot(W, entry))
        for entry in entries
    ]
    equation = f"∂(λ/2 ‖W_{l}‖²)/∂W_{l} = λ W_{l}"
    row = _entry_verdict(equation, l, dW[l], parts, entries, np.abs(s.l2 * W))
    return row if not db[l].any() else Equation(row.equation, row.method, 1.0, False, f"b_{l}")


# ---------------------------------------------------------------- pieces


def _at_once(fun: Callable[[Array], Array], a: Float[np.ndarray, "N H"]) -> Numerical:
    return along(fun, a, np.ones_like(a))


def _columns(fun: Callable[[int, Array], Array], x: Float[np.ndarray, "N H"]) -> Numerical:
    """∂fun(h, x)_n / ∂x_nh for each column h."""
    parts = [along(partial(fun, h), x, _unit(x, h)) for h in range(x.shape[1])]
    return _stack(parts, axis=1)


def _column_by_column(fun: Callable[[Array], Array], a: Float[np.ndarray, "N H"]) -> Numerical:
    """Derivatives with respect to each column, as a new last axis."""
    return _stack([along(fun, a, _unit(a, k)) for k in range(a.shape[1])], axis=-1)


def _stack(parts: list[Numerical], axis: int) -> Numerical:
    methods = {part.method for part in parts}
    return Numerical(
        np.stack([part.value for part in parts], axis=axis),
        "complex step" if methods == {"complex step"} else "central",
        np.stack([part.smooth for part in parts], axis=axis),
        np.stack([part.low for part in parts], axis=axis),
        np.stack([part.high for part in parts], axis=axis),
    )


def _unit(a: Float[np.ndarray, "N H"], h: int) -> Float[np.ndarray, "N H"]:
    direction = np.zeros_like(a)
    direction[:, h] = 1
    return direction


def _one_hot(x: Float[np.ndarray, "..."], entry: tuple[int, ...]) -> Float[np.ndarray, "..."]:
    direction = np.zeros_like(x)
    direction[entry] = 1
    return direction


def _entries(shape: tuple[int, ...]) -> list[tuple[int, ...]]:
    size = int(np.prod(shape))
    flat = np.arange(size)
    if size > MAX_ENTRIES:
        flat = np.random.RandomState(0).choice(size, MAX_ENTRIES, replace=False)
    return [tuple(int(i) for i in np.unravel_index(k, shape)) for k in flat]


def _entry_verdict(
    equation: str,
    l: int,
    claimed: Float[np.ndarray, "..."],
    parts: list[Numerical],
    entries: list[tuple[int, ...]],
    summands: Float[np.ndarray, "..."],
) -> Equation:
    picked = np.array([claimed[entry] for entry in entries])
    found = _stack(parts, axis=0)
    row = _verdict(equation, f"layer {l}", picked, found, entries, float(np.max(summands)))
    some = f", {len(entries)} of {claimed.size} entries" if len(entries) < claimed.size else ""
    return Equation(row.equation, row.method + some, row.error, row.ok, row.where)


def _verdict(
    equation: str,
    place: str,
    claimed: Float[np.ndarray, "..."],
    found: Numerical,
    entries: list[tuple[int, ...]] | None = None,
    summands: float = 0.0,
) -> Equation:
    """Compare; where summands of that size cancel, errors are relative to a thousandth of it."""
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
