"""Which equations fail only because another one is wrong."""

from __future__ import annotations

import copy
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from deltaprop.explain.check_setup import Setting, compute_pass
from deltaprop.explain.checks import Row, check_all, error_signal
from deltaprop.explain.differences import all_at_once, by_columns, column_by_column
from deltaprop.explain.verdicts import Equation
from deltaprop.functions.activations import Activation
from deltaprop.functions.arrays import Array
from deltaprop.functions.losses import ClosedForm, Loss


def with_causes(s: Setting, rows: list[Row]) -> list[Equation]:
    """Add to each failing row the wrong functions that make it fail.

    Wrong derivatives are replaced by numerical ones and everything is checked again: rows that hold
    then failed only because of them.
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
        output_row = signal
        if ("two forms", last) in wrong:  # compare the collapsed δ with the loss itself
            output_row = error_signal(replace(_repaired(s, {*wrong}), computed=s.computed), last)
        if not output_row.ok:
            wrong["δ", last] = signal.equation
    if not wrong:
        return [row for _, _, row in rows]
    repaired_rows = {(kind, l) for kind, l, row in check_all(_repaired(s, {*wrong})) if row.ok}
    return [
        row
        if row.ok or (kind, l) in wrong or (kind, l) not in repaired_rows
        else replace(row, because=_causes(kind, l, wrong, collapsed, last))
        for kind, l, row in rows
    ]


def _causes(
    kind: str, l: int, wrong: dict[tuple[str, int], str], collapsed: bool, last: int
) -> tuple[str, ...]:
    """Return the wrong functions that an equation of this kind depends on."""

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


def _repaired(s: Setting, wrong: set[tuple[str, int]]) -> Setting:
    """Return the setting with numerical derivatives in place of the wrong ones."""
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
        corrected = ClosedForm(closed.value, partial(_numerical_delta, closed, f))
        function = _changed(function, closed={f.name: corrected})
    net.loss_function = function
    computed = compute_pass(net, s.X0, s.t, s.W, s.b, s.l2, s.weights, s.vectors)
    return replace(s, net=net, computed=computed)


def _changed(original: Any, **fields: Any) -> Any:
    """Return a copy with other fields; skips the checks that protect the names of built-ins."""
    clone = object.__new__(type(original))
    clone.__dict__.update(original.__dict__ | fields)
    return clone


def _numerical_df(f: Activation, a: Array, z: Array, xp: Any) -> Array:
    if np.iscomplexobj(a):
        raise TypeError("a numerical derivative has no complex step")
    derivative = column_by_column if f.coupling == "row" else all_at_once
    return derivative(lambda x: f.f(x, np), a).value


def _numerical_d(function: Loss, t: Array, yhat: Array, xp: Any, **params: Any) -> Array:
    if np.iscomplexobj(yhat):
        raise TypeError("a numerical derivative has no complex step")
    return by_columns(lambda h, x: np.sum(function.evaluate(t, x, np), axis=1), yhat).value


def _numerical_delta(
    closed: ClosedForm, f: Activation, t: Array, a: Array, z: Array, xp: Any, **params: Any
) -> Array:
    def losses(h: int, x: Array) -> Array:
        return np.sum(closed.value(t, x, f.f(x, np), np, **params), axis=1)

    return by_columns(losses, a).value
