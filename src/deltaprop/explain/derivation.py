"""The document's derivation, written for one network and, where given, one batch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from deltaprop.derivation import equations
from deltaprop.explain import formulas
from deltaprop.explain.expressions import (
    Cases,
    Equation,
    Expression,
    Name,
    Number,
    Power,
    Row,
    Symbol,
    call,
    evaluate,
    is_scalar,
    nodes,
    parts,
    sum_h,
    sum_n,
    symbols,
    times,
)
from deltaprop.explain.formulas import Scope

if TYPE_CHECKING:
    from deltaprop.network import Network

MOST_ON_THE_BOARD = 4  # arrays in one formula, written out
FORMATS = ("unicode", "latex", "html")
READING = (
    "⊙, /, powers and functions work entry by entry; two matrices side by side are multiplied. "
    "Σ_h adds up each row, Σ_n each column. Below each symbol stands its shape; scalars have none."
)


@dataclass(frozen=True)
class Step:
    """Some equations that belong together."""

    title: str
    equations: tuple[Equation, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Derivation:
    """Every equation of one network; ``str`` and ``print`` write it in its `format`.

    Notebooks show it as HTML with MathML.

    Attributes
    ----------
    steps : tuple of Step
        Titles and equations, in the order of the work.
    values : dict
        The number behind each symbol; empty without a batch.
    format : {"unicode", "latex", "html"}
        What ``str`` gives.

    Examples
    --------
    >>> import deltaprop as dp
    >>> net = dp.Network(2, [dp.Dense(1, "tanh")], loss="squared_error", seed=0)
    >>> len(net.derivation().steps)
    4
    """

    steps: tuple[Step, ...]
    values: dict[Name, Any] = field(default_factory=dict)
    format: str = "unicode"

    @property
    def unicode(self) -> str:
        """For a terminal: each formula with the shapes in the line below."""
        from deltaprop.explain.unicode import document

        return document(self)

    @property
    def latex(self) -> str:
        """One ``align*`` a step, for amsmath, KaTeX or MathJax."""
        from deltaprop.explain.latex import document

        return document(self)

    @property
    def html(self) -> str:
        """A ``<div>`` of MathML, which browsers show without a script."""
        from deltaprop.explain.mathml import document

        return document(self)

    def __str__(self) -> str:
        text: str = getattr(self, self.format)
        return text

    def __repr__(self) -> str:
        count = sum(len(step.equations) for step in self.steps)
        return f"Derivation({count} equations, format={self.format!r})"

    def _repr_html_(self) -> str:
        return self.html

    def _repr_latex_(self) -> str:
        return self.latex


def derive(
    net: Network, X: Any = None, y: Any = None, sample_weight: Any = None, format: str = "unicode"
) -> Derivation:
    """Write every equation of `net`: see :meth:`deltaprop.Network.derivation`.

    Examples
    --------
    >>> import deltaprop as dp
    >>> from deltaprop.inspect import derive
    >>> net = dp.Network(2, [dp.Dense(1, "tanh")], loss="squared_error", seed=0)
    >>> derive(net)
    Derivation(7 equations, format='unicode')
    """
    if format not in FORMATS:
        raise ValueError(f"format must be one of {', '.join(FORMATS)}; got {format!r}.")
    if (X is None) != (y is None):
        missing = "X" if X is None else "y"
        raise ValueError(f"{missing} is missing: give both X and y, or neither.")
    if X is None and sample_weight is not None:
        raise ValueError("sample_weight needs a batch: give X and y too.")
    batch = None if X is None else _Batch(net, X, y, sample_weight)
    author = _Author(net, batch)
    steps = tuple(author.steps())
    return Derivation(steps, batch.all_values(steps) if batch else {}, format)


class _Batch:
    """The numbers behind the symbols: those of one pass of the engine."""

    def __init__(self, net: Network, X: Any, y: Any, sample_weight: Any) -> None:
        X, t, weights, l2 = net._prepare(X, y, sample_weight)
        X = X.toarray() if hasattr(X, "toarray") else X
        self.N: int = t.shape[0]
        self.weighted = sample_weight is not None
        done = equations.forward_backward(X, t, net.W, net.b, net.f, net.loss_function, l2, weights)
        y = self._target(net, net._checked_y(y))
        self.proper = bool(np.allclose(y.sum(axis=1), 1))
        self.known: dict[Name, Any] = {
            ("π", None): np.pi, ("y", None): y, ("ŷ", None): done.X[-1], ("L", None): done.loss,
        }  # fmt: skip
        if self.weighted:
            self.known["w", None] = np.asarray(sample_weight, dtype=net.dtype)[:, None]
        for l, layer in enumerate(net.layers):
            self.known |= {
                ("X", l): done.X[l], ("W", l): net.W[l], ("b", l): net.b[l], ("a", l): done.a[l],
                ("X", l + 1): done.X[l + 1], ("Z", l): done.X[l + 1], ("δ", l): done.delta[l],
                ("∂L/∂W", l): done.dW[l], ("∂L/∂b", l): done.db[l],
            }  # fmt: skip
            if layer.dropout:
                self.known["M", l] = np.ones_like(done.a[l])

    @staticmethod
    def _target(net: Network, y: Any) -> Any:
        """y as the formulas take it: one-hot, ±1, repeated, but not yet smoothed or weighted."""
        loss = net.loss_function
        target = loss.printed_target if loss.name in formulas.LOSSES else loss.target
        return target(y, net.n_outputs, net.theta, np)

    def all_values(self, steps: tuple[Step, ...]) -> dict[Name, Any]:
        """What the engine has no name for is computed from the equations."""
        values = dict(self.known)
        for step in steps:
            for left, right, _ in step.equations:
                if isinstance(left, Symbol) and left.key not in values:
                    with suppress(KeyError):  # a function of the user's, known by name only
                        value = evaluate(right, values)
                        values[left.key] = value if left.shape else value.reshape(())
                elif isinstance(left, Row):
                    at, whole = 0, evaluate(right, values)
                    for part in left.items:
                        assert isinstance(part, Symbol)
                        width = int(part.shape[1])
                        values[part.key] = whole[:, at : at + width]
                        at += width
        return values


class _Author:
    """Writes the steps of one network."""

    def __init__(self, net: Network, batch: _Batch | None) -> None:
        self.net, self.batch = net, batch
        self.L, self.loss = net.n_layers, net.loss_function
        N: int | str = batch.N if batch else "N"
        sizes = [net.n_features, *(layer.units for layer in net.layers)]
        self.N = N
        self.X = [Symbol("X", l, (N, size)) for l, size in enumerate(sizes)]
        self.W = [Symbol("W", l, shape) for l, shape in enumerate(net._layout().shapes)]
        self.b = [Symbol("b", l, (size,)) for l, size in enumerate(sizes[1:])]
        self.a = [Symbol("a", l, (N, size)) for l, size in enumerate(sizes[1:])]
        self.delta = [Symbol("δ", l, (N, size)) for l, size in enumerate(sizes[1:])]
        self.yhat = Symbol("ŷ", None, (N, sizes[-1]))
        self.y = Symbol("y", None, (N, self._target_columns()))
        self.λ = Symbol("λ", None, ())
        self.w = Symbol("w", None, (N, 1))
        self.weighted = batch is not None and batch.weighted
        self.total = Symbol("S" if self.weighted else "N", None, ())

        self.scopes = [Scope(l, (N, size)) for l, size in enumerate(sizes[1:])]
        self.scope = Scope(None, self.yhat.shape, self.loss.settings, batch is None or batch.proper)
        # A mask stands between f(a) and the next layer's X; f′ is of what was not yet dropped.
        self.z = [
            Symbol("Z", l, self.a[l].shape) if net.layers[l].dropout else self.X[l + 1]
            for l in range(self.L)
        ]
        self.z[-1] = self.yhat
        self.f, self.slope = zip(
            *(
                formulas.activation(net.f[l], self.a[l], self.z[l], self.scopes[l])
                for l in range(self.L)
            ),
            strict=True,
        )

    def _target_columns(self) -> int:
        if self.batch:
            return int(self.batch.known["y", None].shape[1])
        return self.loss.target_columns(self.net.n_outputs)

    def steps(self) -> Iterator[Step]:
        forward = [self._forward(l) for l in range(self.L)]
        loss = self._loss()
        backward = [self._backward(l) for l in reversed(range(self.L))]
        yield Step(self._chain(), tuple(self._constants()), tuple(self._notes()))
        yield from [*forward, loss, *backward]

    # ------------------------------------------------------------ the steps

    def _chain(self) -> str:
        net = self.net
        sizes = [f"{layer.units} {layer.activation.name}" for layer in net.layers]
        layers = " → ".join([str(net.n_features), *sizes])
        return f"Network {layers}, loss {self.loss.name}, reduction {net.reduction}"

    def _notes(self) -> Iterator[str]:
        yield READING
        yield f"{self.N} rows: X_0 is the input, y the target{self._target_in_words()}."
        if self.loss.note:
            yield self.loss.note
        dropped = [(l, d.dropout) for l, d in enumerate(self.net.layers) if d.dropout]
        for l, p in dropped:
            yield f"M_{l}, drawn anew in each step, is 0 with probability {p:g}, else 1/{1 - p:g}."
        if dropped and self.batch:
            yield "The numbers are those outside training, where nothing is dropped: M = 1."

    def _target_in_words(self) -> str:
        return self.loss.encoding.description(self.net.n_outputs)

    def _constants(self) -> Iterator[Equation]:
        if self.net.l2:
            yield Equation(self.λ, Number(self.net.l2), "L2")
        if self.net.reduction != "sum":
            if self.weighted:
                yield Equation(self.total, sum_n(self.w), "1.3")
            elif self.batch:
                yield Equation(self.total, Number(self.batch.N), "1.3")
        seen = set()
        for scope in [*self.scopes, self.scope]:
            for line in scope.constants:
                assert isinstance(line.left, Symbol)
                if line.left.key not in seen:
                    yield line
                seen.add(line.left.key)

    def _forward(self, l: int) -> Step:
        layer, last = self.net.layers[l], l == self.L - 1
        lines = [Equation(self.a[l], self.X[l] @ self.W[l] + self.b[l], "1.2")]
        lines += [line for line in self.scopes[l].lines if _mentions(self.f[l], line)]
        if layer.dropout:
            lines.append(Equation(self.z[l], self.f[l], "1.1"))
            mask = Symbol("M", l, self.a[l].shape)
            lines.append(Equation(self.X[l + 1], self.z[l] * mask, "1.1"))
        else:
            lines.append(Equation(self.X[l + 1], self.f[l], "1.1"))
        if last:
            lines.append(Equation(self.yhat, self.X[l + 1], "1.2"))
        D, H = self.net._layout().shapes[l]
        return Step(f"Forward, layer {l}: {D} → {H}, {layer.activation.name}", tuple(lines))

    def _loss(self) -> Step:
        summands, self.loss_slope = formulas.loss(self.loss, self.y, self.yhat, self.scope)
        rows = sum_h(summands)
        data: Expression = sum_n(self.w * rows if self.weighted else rows)
        penalty = self._penalty()
        if self.net.reduction == "sklearn":
            whole = data if penalty is None else data + penalty
            L: Expression = self._mean(whole)
        else:
            L = data if self.net.reduction == "sum" else self._mean(data)
            L = L if penalty is None else L + penalty
        source = "1.3" if penalty is None else "1.3, L2"
        equation = Equation(Symbol("L", None, ()), L, source)
        return Step(f"Loss: {self.loss.name}", (*self.scope.lines, equation))

    def _penalty(self) -> Expression | None:
        if not self.net.l2:
            return None
        squares: list[Expression] = [Power(call("norm", W), Number(2)) for W in self.W]
        total = squares[0]
        for square in squares[1:]:
            total = total + square
        return 0.5 * self.λ * total

    def _mean(self, x: Expression) -> Expression:
        return (1 / self.total) * x

    def _backward(self, l: int) -> Step:
        lines = [line for line in self.scopes[l].lines if not _mentions(self.f[l], line)]
        if l == self.L - 1:
            title, more = self._output_error(lines)
        else:
            g: Expression = self.delta[l + 1] @ self.W[l + 1].T
            if self.net.layers[l].dropout:
                g = g * Symbol("M", l, self.a[l].shape)
            title = f"Backward, layer {l}: δ_{l} = f′(a_{l}) ⊙ (δ_{l + 1} W_{l + 1}ᵀ)"
            more = self._pulled_back(l, g, "1.9", slope_first=True)
        lines += [*more, *self._gradients(l)]
        return Step(title, tuple(lines))

    def _output_error(self, lines: list[Equation]) -> tuple[str, list[Equation]]:
        l, f = self.L - 1, self.net.f[-1]
        title = f"Backward, layer {l}: δ_{l} = loss′(y, ŷ) ⊙ f′(a_{l})"
        scope = Scope(l, self.yhat.shape, self.loss.settings, self.scope.proper)
        delta = formulas.collapsed(self.loss, f, self.a[l], self.y, self.yhat, scope)
        if delta is None:
            return title, self._pulled_back(l, self.loss_slope, "1.8", slope_first=False)
        lines.clear()  # what only f′ needs
        own = [Equation(left, right, "1.8") for left, right, _ in scope.lines]
        title += f", which collapses for {f.name} with {self.loss.name}"
        return title, [*own, Equation(self.delta[l], self._weigh(delta), "1.8")]

    def _pulled_back(
        self, l: int, g: Expression, source: str, *, slope_first: bool
    ) -> list[Equation]:
        """δ_l from g = ∂L/∂f(a_l): f′ ⊙ g, or what a coupled f makes of g."""
        slope, weigh = self.slope[l], (lambda x: x) if slope_first else self._weigh
        if not callable(slope):
            product = times(slope, g) if slope_first else times(g, slope)
            return [Equation(self.delta[l], weigh(product), source)]
        name = Symbol("g", l, self.a[l].shape)
        return [
            Equation(name, g, source),
            Equation(self.delta[l], weigh(slope(name)), source),
        ]

    def _weigh(self, delta: Expression) -> Expression:
        """What the reduction and the weights make of the output's error signal."""
        scaled = self.w * delta if self.weighted else delta
        if self.net.reduction == "sum":
            return scaled
        return self._mean(self.w) * delta if self.weighted else self._mean(delta)

    def _gradients(self, l: int) -> Iterator[Equation]:
        dW: Expression = self.X[l].T @ self.delta[l]
        source = "1.4" if l == self.L - 1 else "1.7"
        if self.net.l2:
            λ = self.λ / self.total if self.net.reduction == "sklearn" else self.λ
            dW, source = dW + λ * self.W[l], source + ", L2"
        yield Equation(replace(self.W[l], name="∂L/∂W"), dW, source)
        yield Equation(replace(self.b[l], name="∂L/∂b"), sum_n(self.delta[l]), "bias")


def _mentions(x: Expression, line: Equation) -> bool:
    named = {symbol.key for symbol in symbols(line.left)}
    return any(symbol.key in named for symbol in symbols(x))


def on_the_board(equation: Equation, values: dict[Name, Any]) -> tuple[bool, Any]:
    """Whether to write the right side with numbers in its symbols, and the result (or None)."""
    left, right, _ = equation
    constant = all(isinstance(part, Number) for part in parts(right) or (right,))
    if not isinstance(left, Symbol) or left.key not in values or constant:
        return False, None
    arrays = [symbol for symbol in symbols(right) if not is_scalar(symbol)]
    known = all(symbol.key in values for symbol in symbols(right))
    few = 0 < len(arrays) <= MOST_ON_THE_BOARD and not isinstance(right, Symbol)
    simple = not any(isinstance(node, Cases) for node in nodes(right))
    return known and few and simple, values[left.key]


__all__ = ["Derivation", "Step", "derive"]
