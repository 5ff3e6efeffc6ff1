"""The forward and the backward pass of one network, as typed steps.

A step groups the equations that belong together, such as a_l and X_{l+1} of one layer. Each
equation has its left and right side as expression trees whose symbols have shapes, and its number
in the derivation. The steps contain neither values nor markup: :mod:`.values` computes the values,
and :mod:`.unicode`, :mod:`.latex`, :mod:`.mathml`, :mod:`.entry` and the interactive page render
them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from deltaprop.explain import formulas
from deltaprop.explain.expressions import (
    Equation,
    Expression,
    Name,
    Number,
    Power,
    Row,
    Symbol,
    call,
    cases,
    sum_h,
    sum_n,
    symbols,
    times,
)
from deltaprop.explain.formulas import Scope

if TYPE_CHECKING:
    from deltaprop.model import Model

Phase = Literal["setup", "forward", "loss", "backward"]

READING = (
    "⊙, /, powers and functions are applied entry by entry; two matrices side by side are "
    "multiplied. Σ_h sums over each row, Σ_n over each column. The shape of each symbol is written "
    "below it; scalars have none."
)


@dataclass(frozen=True)
class Step:
    """Equations that belong together.

    Attributes
    ----------
    title : str
    phase : {"setup", "forward", "loss", "backward"}
        "setup" names the constants and explains the notation.
    layer : int or None
        The index of the layer; None for the setup and the loss.
    equations : tuple of Equation
        In the order in which they are computed.
    notes : tuple of str
    """

    title: str
    phase: Phase
    layer: int | None
    equations: tuple[Equation, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class BatchForm:
    """Everything about a batch that changes the formulas.

    Attributes
    ----------
    N : int or None
        The number of rows; None writes the symbol N.
    K : int or None
        The number of columns of y; None derives it from the loss.
    weighted : bool
        Whether the rows have sample weights.
    proper : bool
        Whether each row of y sums to 1, which simplifies δ of softmax with cross-entropy.
    missing : bool
        Whether y contains NaN, for targets that are missing.
    """

    N: int | None = None
    K: int | None = None
    weighted: bool = False
    proper: bool = True
    missing: bool = False


def steps_of(model: Model, form: BatchForm | None = None) -> tuple[Step, ...]:
    """Return every equation of a pass through `model`, in the order of computation.

    Parameters
    ----------
    model : Model
    form : BatchForm, optional
        By default any number of rows, without weights.

    Returns
    -------
    tuple of Step
        The setup, one step for each layer forward, the loss, one step for each layer backward.

    Examples
    --------
    >>> import deltaprop as dp
    >>> from deltaprop.explain.steps import steps_of
    >>> net = dp.Network(2, [dp.Dense(3, "tanh"), dp.Dense(1)], loss="squared_error")
    >>> [(step.phase, step.layer) for step in steps_of(net)][1:]
    [('forward', 0), ('forward', 1), ('loss', None), ('backward', 1), ('backward', 0)]
    """
    return tuple(StepWriter(model, form or BatchForm()).steps())


class StepWriter:
    """Writes the steps of one network."""

    def __init__(self, model: Model, form: BatchForm) -> None:
        self.model, self.form = model, form
        self.L, self.loss = model.n_layers, model.loss_function
        self.N: int | str = "N" if form.N is None else form.N
        self._name_symbols()
        self._write_activations()

    def _name_symbols(self) -> None:
        N, sizes = self.N, [self.model.n_features, *(d.units for d in self.model.layers)]
        self.X = [Symbol("X", l, (N, size)) for l, size in enumerate(sizes)]
        self.W = [Symbol("W", l, W.shape) for l, W in enumerate(self.model.W)]
        self.C = [
            None if layer.groups is None else Symbol("C", l, self.W[l].shape)
            for l, layer in enumerate(self.model.layers)
        ]
        self.V: list[Expression] = [
            W if C is None else C * W for W, C in zip(self.W, self.C, strict=True)
        ]
        self.b = [Symbol("b", l, (size,)) for l, size in enumerate(sizes[1:])]
        self.a = [Symbol("a", l, (N, size)) for l, size in enumerate(sizes[1:])]
        self.delta = [Symbol("δ", l, (N, size)) for l, size in enumerate(sizes[1:])]
        self.r = [
            None if r is None else Symbol("r", l, r.shape) for l, r in enumerate(self.model.r)
        ]
        self.alpha = [
            None if alpha is None else Symbol("α", l, alpha.shape)
            for l, alpha in enumerate(self.model.alpha)
        ]
        self.yhat = Symbol("ŷ", None, (N, sizes[-1]))
        self.y = Symbol("y", None, (N, self._target_columns()))
        self.K = Symbol("K", None, self.y.shape)
        self.λ = Symbol("λ", None, ())
        self.w = Symbol("w", None, (N, 1))
        self.total = Symbol("S" if self.form.weighted else "N", None, ())

    def _target_columns(self) -> int:
        if self.form.K is not None:
            return self.form.K
        return self.loss.target_columns(self.model.n_outputs)

    def _write_activations(self) -> None:
        """Write f_l and f_l′ of each layer, and the intermediate results that they define."""
        layers = range(self.L)
        self.scopes = [Scope(l, self.a[l].shape) for l in layers]
        self.scope = Scope(None, self.yhat.shape, self.loss.settings, self.form.proper)
        # The dropout mask is applied after f(a); f′ uses the value before the mask, and before
        # α_l mixes it with a.
        self.z = [
            Symbol("Z", l, self.a[l].shape) if self.model.layers[l].dropout else self.X[l + 1]
            for l in layers
        ]
        self.z[-1] = self.yhat
        self.outputs = list(self.z)
        for l in layers:
            if self.alpha[l] is not None:
                self.z[l] = Symbol("F", l, self.a[l].shape)
        written = [
            formulas.activation(self.model.f[l], self.a[l], self.z[l], self.scopes[l])
            for l in layers
        ]
        self.f, self.slope = [f for f, _ in written], [slope for _, slope in written]

    def steps(self) -> Iterator[Step]:
        passed = [self.forward(l) for l in range(self.L)]
        passed.append(self.loss_step())
        for l in reversed(range(self.L)):
            passed += self.backward(l)
        yield self._setup()  # built last: the other steps define the constants
        yield from passed

    # ------------------------------------------------------------ setup

    def _setup(self) -> Step:
        model = self.model
        sizes = [layer.description for layer in model.layers]
        chain = " → ".join([str(model.n_features), *sizes])
        title = f"Network {chain}, loss {self.loss.name}, reduction {model.reduction}"
        return Step(title, "setup", None, tuple(self._constants()), tuple(self.notes()))

    def notes(self) -> Iterator[str]:
        yield READING
        rows = "1 row" if self.N == 1 else f"{self.N} rows"
        yield f"{rows}: X_0 is the input, y the target{self._target_text()}."
        if self.loss.note:
            yield self.loss.note
        if self.form.missing:
            yield "K is 1 where y is known, and 0 where it is missing (NaN)."
        for l, layer in enumerate(self.model.layers):
            if layer.groups is not None:
                yield (
                    f"C_{l} is 1 where input and unit are in the same of {layer.groups.n_groups} "
                    "groups, else 0: the other weights do not exist."
                )
        dropped = [(l, d.dropout) for l, d in enumerate(self.model.layers) if d.dropout]
        for l, p in dropped:
            yield (
                f"M_{l} is drawn at random in each training step: 0 with probability {p:g}, else "
                f"1/{1 - p:g}."
            )
        if dropped and self.form.N is not None:
            yield "The numbers shown are those outside training, where nothing is dropped: M = 1."

    def _target_text(self) -> str:
        return self.loss.encoding.description(self.model.n_outputs)

    def _constants(self) -> Iterator[Equation]:
        if self.model.l2:
            yield Equation(self.λ, Number(self.model.l2), "L2")
        if self.model.reduction != "sum":
            if self.form.weighted:
                yield Equation(self.total, sum_n(self.w), "1.3")
            elif self.form.N is not None:
                yield Equation(self.total, Number(self.form.N), "1.3")
        constants: dict[Name, Equation] = {}
        for scope in [*self.scopes, self.scope]:
            for line in scope.constants:
                constants.setdefault(next(symbols(line.left)).key, line)
        yield from constants.values()

    # ------------------------------------------------------------ forward and loss

    def forward(self, l: int) -> Step:
        layer = self.model.layers[l]
        lines = [self._sums(l)]
        lines += [line for line in self.scopes[l].lines if mentions(self.f[l], line)]
        f, alpha = self.f[l], self.alpha[l]
        if alpha is not None:
            lines.append(Equation(self.z[l], f, "1.1"))
            f = self.a[l] + alpha * (self.z[l] - self.a[l])
        source = "1.1" if alpha is None else "activation"
        if layer.dropout:
            lines.append(Equation(self.outputs[l], f, source))
            mask = Symbol("M", l, self.a[l].shape)
            lines.append(Equation(self.X[l + 1], self.outputs[l] * mask, "1.1"))
        else:
            lines.append(Equation(self.X[l + 1], f, source))
        if l == self.L - 1:
            lines.append(Equation(self.yhat, self.X[l + 1], "1.2"))
        D, H = self.W[l].shape
        title = f"Forward, layer {l}: {D} → {H}, {layer.activation.name}"
        return Step(title, "forward", l, tuple(lines))

    def _sums(self, l: int) -> Equation:
        r = self.r[l]
        source = "1.2" if self.C[l] is None else "1.2, groups"
        if r is None:
            return Equation(self.a[l], self.X[l] @ self.V[l] + self.b[l], source)
        return Equation(self.a[l], (self.X[l] * r) @ self.V[l] + self.b[l], f"{source}, scale")

    def loss_step(self) -> Step:
        summands, slope = formulas.loss(self.loss, self.y, self.yhat, self.scope)
        self.summands, self.loss_slope = self._of_known(summands), self._of_known(slope)
        rows = sum_h(self.summands)
        data: Expression = sum_n(self.w * rows if self.form.weighted else rows)
        penalty = self.penalty()
        if self.model.reduction == "sklearn":
            total_loss = data if penalty is None else data + penalty
            L: Expression = self.mean(total_loss)
        else:
            L = data if self.model.reduction == "sum" else self.mean(data)
            L = L if penalty is None else L + penalty
        source = "1.3" if penalty is None else "1.3, L2"
        equation = Equation(Symbol("L", None, ()), L, source)
        return Step(f"Loss: {self.loss.name}", "loss", None, (*self.scope.lines, equation))

    def _of_known(self, x: Expression) -> Expression:
        """x with 0 in place of the entries of missing targets."""
        if not self.form.missing:
            return x
        if isinstance(x, Row):
            return Row(tuple(self._of_known(item) for item in x.items))
        return cases((x, self.K > 0), otherwise=0)

    def penalty(self) -> Expression | None:
        if not self.model.l2:
            return None
        total, *others = [Power(call("norm", W), Number(2)) for W in self.W]
        sum_of_squares: Expression = total
        for square in others:
            sum_of_squares = sum_of_squares + square
        return 0.5 * self.λ * sum_of_squares

    def mean(self, x: Expression) -> Expression:
        return (1 / self.total) * x

    # ------------------------------------------------------------ backward

    def backward(self, l: int) -> Iterator[Step]:
        yield self.matrix_step(l)

    def matrix_step(self, l: int) -> Step:
        """The error signal and the gradients of one layer, as equations of matrices."""
        lines = [line for line in self.scopes[l].lines if not mentions(self.f[l], line)]
        if l == self.L - 1:
            title, more = self._output_error(lines)
        else:
            g: Expression = self.delta[l + 1] @ self.V[l + 1].T
            r = self.r[l + 1]
            g = g if r is None else g * r
            if self.model.layers[l].dropout:
                g = g * Symbol("M", l, self.a[l].shape)
            alpha, f = self.alpha[l], f"f′(a_{l})"
            if alpha is None:
                more = self._hidden_error(l, g)
            else:
                more = self._mixed_error(l, g, alpha)
                f = f"(1 + α_{l} ⊙ ({f} − 1))"
            scale = "" if r is None else f" ⊙ r_{l + 1}"
            weights = f"W_{l + 1}" if self.C[l + 1] is None else f"(C_{l + 1} ⊙ W_{l + 1})"
            product = self._product(l, f"δ_{l + 1} {weights}ᵀ", f)
            title = f"Backward, layer {l}: δ_{l} = {product}{scale}"
        lines += [*more, *self._gradients(l), *self._gradient_of_scale(l)]
        return Step(title, "backward", l, tuple(lines))

    def _output_error(self, lines: list[Equation]) -> tuple[str, list[Equation]]:
        """The title and the equations of the last δ; clears `lines` if f′ is not needed."""
        l, f = self.L - 1, self.model.f[-1]
        title = f"Backward, layer {l}: δ_{l} = {self._product(l, 'loss′(y, ŷ)')}"
        scope = Scope(l, self.yhat.shape, self.loss.settings, self.scope.proper)
        delta = formulas.collapsed(self.loss, f, self.a[l], self.y, self.yhat, scope)
        if delta is None:
            slope = self.slope[l]
            if callable(slope):
                return title, self._coupled(l, self.loss_slope, slope, "1.8")
            product = self.weigh(times(self.loss_slope, slope))
            return title, [Equation(self.delta[l], product, "1.8")]
        lines.clear()
        definitions = [Equation(left, right, "1.8") for left, right, *_ in scope.lines]
        title += f", which collapses for {f.name} with {self.loss.name}"
        delta = self.weigh(self._of_known(delta))
        return title, [*definitions, Equation(self.delta[l], delta, "1.8")]

    def _product(self, l: int, g: str, slope: str | None = None) -> str:
        """Words for ∂L/∂a_l: g = ∂L/∂f(a_l) times f′, which is a Jacobian if f couples a row."""
        f = self.model.f[l]
        if f.coupling == "elementwise":
            return f"{g} ⊙ f′(a_{l})" if slope is None else f"{slope} ⊙ ({g})"
        return f"{g} times the Jacobian of {f.name} in each row"

    def _hidden_error(self, l: int, g: Expression) -> list[Equation]:
        slope = self.slope[l]
        if callable(slope):
            return self._coupled(l, g, slope, "1.9")
        return [Equation(self.delta[l], times(slope, g), "1.9")]

    def _mixed_error(self, l: int, g: Expression, alpha: Symbol) -> list[Equation]:
        """g_l = ∂L/∂X_{l+1}, δ_l and ∂L/∂α_l of a trainable activation."""
        name, slope = Symbol("g", l, self.a[l].shape), self.slope[l]
        if callable(slope):
            delta = (1 - alpha) * name + slope(alpha * name)
        else:
            delta = (1 + alpha * (slope - 1)) * name
        dalpha = sum_n(name * (self.z[l] - self.a[l]))
        return [
            Equation(name, g, "1.9"),
            Equation(self.delta[l], delta, "1.9, activation"),
            Equation(replace(alpha, name="∂L/∂α"), dalpha, "activation"),
        ]

    def _coupled(
        self, l: int, g: Expression, pull_back: formulas.PullBack, source: str
    ) -> list[Equation]:
        """δ_l from g = ∂L/∂f(a_l), where f couples the columns of a row (softmax)."""
        name = Symbol("g", l, self.a[l].shape)
        delta = pull_back(name)
        if l == self.L - 1:
            delta = self.weigh(delta)
        return [Equation(name, g, source), Equation(self.delta[l], delta, source)]

    def weigh(self, delta: Expression, w: Expression | None = None) -> Expression:
        """Apply the reduction and the sample weights to the last layer's error signal."""
        w = self.w if w is None else w
        if self.model.reduction == "sum":
            return w * delta if self.form.weighted else delta
        return self.mean(w) * delta if self.form.weighted else self.mean(delta)

    def _gradients(self, l: int) -> Iterator[Equation]:
        r = self.r[l]
        inputs = self.X[l] if r is None else self.X[l] * r
        dW: Expression = inputs.T @ self.delta[l]
        source, C = "1.4" if l == self.L - 1 else "1.7", self.C[l]
        if C is not None:
            dW, source = C * dW, source + ", groups"
        if self.model.l2:
            λ = self.λ / self.total if self.model.reduction == "sklearn" else self.λ
            dW, source = dW + λ * self.W[l], source + ", L2"
        yield Equation(replace(self.W[l], name="∂L/∂W"), dW, source)
        yield Equation(replace(self.b[l], name="∂L/∂b"), sum_n(self.delta[l]), "bias")

    def _gradient_of_scale(self, l: int) -> Iterator[Equation]:
        r = self.r[l]
        if r is not None:
            dr = sum_n(self.X[l] * (self.delta[l] @ self.V[l].T))
            yield Equation(replace(r, name="∂L/∂r"), dr, "scale")


def mentions(x: Expression, line: Equation) -> bool:
    named = {symbol.key for symbol in symbols(line.left)}
    return any(symbol.key in named for symbol in symbols(x))


__all__ = ["READING", "BatchForm", "Phase", "Step", "StepWriter", "mentions", "steps_of"]
