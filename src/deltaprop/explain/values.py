"""The value of each symbol of a pass, from the reference equations."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from deltaprop.derivation import equations
from deltaprop.explain import formulas
from deltaprop.explain.expressions import Equation, Name, Row, Symbol, evaluate
from deltaprop.explain.steps import BatchForm, Step
from deltaprop.model.inputs import check_y

if TYPE_CHECKING:
    from deltaprop.model import Model


@dataclass(frozen=True)
class Batch:
    """One forward and backward pass over (X, y).

    Attributes
    ----------
    form : BatchForm
        The properties of the batch that change the formulas.
    known : dict
        The number or array behind each symbol that the reference equations compute.
    """

    form: BatchForm
    known: dict[Name, Any]

    def values(self, steps: Iterable[Step]) -> dict[Name, Any]:
        """Return the value of every symbol in `steps`.

        Symbols that the reference equations do not name, such as Φ of GELU, are evaluated from
        their own equations. Symbols that depend on a custom function which is known by name only
        have no value.
        """
        values = dict(self.known)
        for step in steps:
            for equation in step.equations:
                with suppress(KeyError):
                    _add_value(values, equation)
        return values


def batch_of(model: Model, X: Any, y: Any, sample_weight: Any = None) -> Batch:
    """Compute one pass through `model` over (X, y) with the reference equations.

    Examples
    --------
    >>> import deltaprop as dp
    >>> from deltaprop.explain.values import batch_of
    >>> net = dp.Network(1, [dp.Dense(1)], loss="squared_error")
    >>> net.theta = [2.0, 1.0]
    >>> batch_of(net, [[1.0], [2.0]], [3.0, 6.0]).known["δ", 0]
    array([[ 0.],
           [-1.]])
    """
    X, t, weights, l2 = model.prepare(X, y, sample_weight)
    X = X.toarray() if hasattr(X, "toarray") else X
    computed = equations.forward_backward(
        X, t, model.W, model.b, model.f, model.loss_function, l2, weights, vectors=model.vectors
    )
    target = _target(model, check_y(model, y))
    N, K = target.shape
    proper = bool(np.allclose(target.sum(axis=1), 1))
    is_known = ~np.isnan(target)
    known: dict[Name, Any] = {
        ("π", None): np.pi, ("N", None): N, ("y", None): target, ("ŷ", None): computed.X[-1],
        ("L", None): computed.loss, ("K", None): is_known.astype(model.dtype),
    }  # fmt: skip
    if sample_weight is not None:
        known["w", None] = np.asarray(sample_weight, dtype=model.dtype)[:, None]
    for l, layer in enumerate(model.layers):
        known |= {
            ("X", l): computed.X[l], ("W", l): model.W[l], ("b", l): model.b[l],
            ("a", l): computed.a[l], ("X", l + 1): computed.X[l + 1], ("Z", l): computed.X[l + 1],
            ("δ", l): computed.delta[l],
            ("∂L/∂W", l): computed.dW[l], ("∂L/∂b", l): computed.db[l],
        }  # fmt: skip
        vectors = {
            ("r", l): model.r[l], ("∂L/∂r", l): computed.vectors.r[l],
            ("α", l): model.alpha[l], ("∂L/∂α", l): computed.vectors.alpha[l],
            ("C", l): model.vectors.connected[l],
        }  # fmt: skip
        known |= {name: vector for name, vector in vectors.items() if vector is not None}
        if layer.dropout:
            known["M", l] = np.ones_like(computed.a[l])
    if model.f[-1].coupling != "elementwise" and not _collapses(model):
        last = model.n_layers - 1
        known["g", last] = model.loss_function.first(t, computed.X[-1], np)
    missing = not is_known.all()
    return Batch(BatchForm(N, K, sample_weight is not None, proper, missing), known)


def _collapses(model: Model) -> bool:
    return model.loss_function.closed_form(model.f[-1].name) is not None


def _target(model: Model, y: Any) -> Any:
    """Return y as the formulas use it: one-hot, ±1 or repeated, but not smoothed or weighted."""
    loss = model.loss_function
    target = loss.printed_target if loss.name in formulas.LOSSES else loss.target
    return target(y, model.n_outputs, model.theta, np)


def _add_value(values: dict[Name, Any], equation: Equation) -> None:
    left, right, *_ = equation
    if isinstance(left, Symbol) and left.key not in values:
        value = evaluate(right, values)
        values[left.key] = value if left.shape else value.reshape(())
    elif isinstance(left, Row):
        start, columns = 0, evaluate(right, values)
        for part in left.items:
            assert isinstance(part, Symbol)
            width = int(part.shape[1])
            values[part.key] = columns[:, start : start + width]
            start += width


__all__ = ["Batch", "batch_of"]
