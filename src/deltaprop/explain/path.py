"""The way to each formula: the chain rule and the algebra of the derivation, line by line.

``net.derivation(steps=True)`` writes, for one network, what docs/derivation.md derives in general:
∂L/∂W_l by the chain rule (1.4)-(1.7), δ of the last layer from ∂L/∂ŷ and f′ (1.8), δ of the other
layers (1.9), the biases and the penalty. The lines are in index notation (:mod:`.indexed`); each
names the rule that leads to it. The equations of matrices that :mod:`.steps` writes come after the
lines that lead to them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from deltaprop.explain import algebra, formulas
from deltaprop.explain.expressions import (
    Equal,
    Equation,
    Expression,
    IndexedSum,
    Item,
    Name,
    Number,
    Partial,
    Symbol,
    exp,
    nodes,
    symbols,
    times,
    tree,
)
from deltaprop.explain.indexed import NotIndexedError, indexed, item
from deltaprop.explain.steps import BatchForm, Step, StepWriter, mentions

if TYPE_CHECKING:
    from deltaprop.model import Model

Line = tuple[Expression, str, str]  # a right side, the rule, the number of the equation

INDICES = (
    "(W_0)_dh is the entry of W_0 in row d and column h. n counts the rows of the batch; d, h, k "
    "and j count columns; [h = k] is 1 if h = k, else 0. Above each line stands the rule that "
    "leads to it. A line that begins with = continues the line before it."
)
PULLED = "[h = k] leaves only the term h = k; the other factor does not depend on h."
EXTENDED = (
    "Layers with scales, with learned mixtures of activations, with groups or with missing targets "
    "are written as matrices only."
)
NUMBERS = "The numbers below a line are those of one entry, and in long sums not all terms."


def path_of(model: Model, form: BatchForm | None = None) -> tuple[Step, ...]:
    """Return the equations of a pass with the lines that lead to each of them.

    Parameters
    ----------
    model : Model
    form : BatchForm, optional
        By default any number of rows, without weights.

    Examples
    --------
    >>> import deltaprop as dp
    >>> from deltaprop.explain.path import path_of
    >>> net = dp.Network(2, [dp.Dense(1, "tanh")], loss="squared_error")
    >>> for step in path_of(net)[3:]:
    ...     print(step.title)
    Layer 0: the gradient of the weights
    Layer 0: the error signal
    Layer 0: the gradient of the bias
    Layer 0: the equations as matrices
    """
    return tuple(_PathWriter(model, form or BatchForm()).steps())


def ways_of(model: Model, form: BatchForm | None = None) -> dict[Name, list[Equation]]:
    """Return the lines that lead to ∂L/∂W_l, δ_l and ∂L/∂b_l of each layer, by their names.

    Examples
    --------
    >>> import deltaprop as dp
    >>> from deltaprop.explain.path import ways_of
    >>> net = dp.Network(2, [dp.Dense(1, "tanh")], loss="squared_error")
    >>> list(ways_of(net))
    [('∂L/∂W', 0), ('δ', 0), ('∂L/∂b', 0)]
    """
    writer = _PathWriter(model, form or BatchForm())
    writer.loss_step()
    layers = reversed(range(model.n_layers))
    return {name: lines for l in layers for name, lines in writer.ways(l).items()}


class _PathWriter(StepWriter):
    """Writes the steps of one network, and the lines that lead to them."""

    def notes(self) -> Iterator[str]:
        yield from super().notes()
        yield INDICES
        if self.form.N is not None:
            yield NUMBERS
        if any(self._is_extended(l) for l in range(self.L)):
            yield EXTENDED

    # ------------------------------------------------------------ loss

    def loss_step(self) -> Step:
        step = super().loss_step()
        penalty = self.penalty()
        lines = list(step.equations)
        self.P = None if penalty is None else Symbol("P", None, ())
        if penalty is not None and self.P is not None:
            value = self.mean(penalty) if self.model.reduction == "sklearn" else penalty
            lines.append(Equation(self.P, value, "L2", "P is a name for the penalty."))
        with suppress(NotIndexedError):
            each = self._weigh(indexed(self._checked(self.summands), "n", "h"))
            total: Expression = IndexedSum("n", IndexedSum("h", each))
            total = total if self.P is None else total + self.P
            rule = "The same in index notation: a sum over the rows n and the outputs h."
            lines.append(Equation(Symbol("L", None, ()), total, "1.3", rule))
        return replace(step, equations=tuple(lines))

    def _weigh(self, x: Expression) -> Expression:
        """Apply the reduction and the weight of row n to an entry."""
        return self.weigh(x, Item(self.w, "n"))

    def _unused_scope(self, l: int | None = None) -> formulas.Scope:
        """A scope whose definitions are not printed here, because they already are."""
        return formulas.Scope(l, self.yhat.shape, self.loss.settings, self.form.proper)

    def _checked(self, x: Expression) -> Expression:
        """Return x if y has a column for each output, as index notation needs."""
        if self.y.shape[1] != self.yhat.shape[1]:
            raise NotIndexedError
        return x

    # ------------------------------------------------------------ one layer

    def backward(self, l: int) -> Iterator[Step]:
        if self._is_extended(l):
            yield self.matrix_step(l)
            return
        ways, matrices = self.ways(l), self._matrices(l)
        yield self._step(l, "the gradient of the weights", ways["∂L/∂W", l])
        yield self._step(l, "the error signal", ways["δ", l])
        yield self._step(l, "the gradient of the bias", ways["∂L/∂b", l])
        yield self._step(l, "the equations as matrices", matrices)

    def ways(self, l: int) -> dict[Name, list[Equation]]:
        """The lines that lead to each result of a layer, by its name."""
        if self._is_extended(l):
            return {}
        return {
            ("∂L/∂W", l): [*self._penalty_path(l), *self._weights(l)],
            ("δ", l): [*self._definitions(l), *self._error(l)],
            ("∂L/∂b", l): self._bias(l),
        }

    def _is_extended(self, l: int) -> bool:
        """Whether the layer has more than the document: r, α, or missing targets.

        These layers have equations of matrices only.
        """
        of_next = l + 1 < self.L and self.r[l + 1] is not None
        missing = l == self.L - 1 and self.form.missing
        grouped = any(C is not None for C in self.C[l : l + 2])
        own = self.r[l] is not None or self.alpha[l] is not None
        return missing or of_next or own or grouped

    def _matrices(self, l: int, after: bool = True) -> list[Equation]:
        """The equations of matrices from δ_l on, or those before it."""
        lines = self.matrix_step(l).equations
        at = next(i for i, line in enumerate(lines) if _key(line) == ("δ", l))
        return list(lines[at:] if after else lines[:at])

    def _step(self, l: int, what: str, lines: Iterable[Equation]) -> Step:
        return Step(f"Layer {l}: {what}", "backward", l, tuple(lines))

    def _definitions(self, l: int) -> list[Equation]:
        """The intermediate results that f′ and δ need, each once."""
        slope = [line for line in self.scopes[l].lines if not mentions(self.f[l], line)]
        unique: dict[object, Equation] = {}
        for line in [*slope, *self._matrices(l, after=False)]:
            unique.setdefault(_key(line), line)
        return list(unique.values())

    def _weights(self, l: int) -> list[Equation]:
        W, a, X = self.W[l], Item(self.a[l], "nh"), Item(self.X[l], "nd")
        entry = Item(W, "dh")
        signal = self._signal(l, "nh")
        extra = self._penalty_slope(l)
        whole = Partial(self._L, entry, Item(replace(W, name="∂L/∂W"), "dh"))
        through = f"(W_{l})_dh acts on L through column h of a_{l}, in every row n"
        penalty = "" if extra is None else ", and through P"
        lines = [
            (IndexedSum("n", signal * Partial(a, entry, X)), extra,
             f"Chain rule: {through}{penalty}."),
            (IndexedSum("n", signal * X), self._penalty_value(l),
             f"(X_{l})_nd is the factor of (W_{l})_dh in a_{l} = X_{l} W_{l} + b_{l}."),
            (IndexedSum("n", Item(self.X[l], "dn", transposed=True) * Item(self.delta[l], "nh")),
             self._penalty_value(l),
             f"δ_{l} is the name of ∂L/∂a_{l}. The sum over n is a product of matrices, "
             f"X_{l}ᵀ δ_{l}."),
        ]  # fmt: skip
        numbers = ["1.4"] * 3 if l == self.L - 1 else ["1.5", "1.6", "1.7"]
        sources = [number if extra is None else f"{number}, L2" for number in numbers]
        return _chain(whole, *(
            (data if more is None else data + more, rule, source)
            for (data, more, rule), source in zip(lines, sources, strict=True)
        ))  # fmt: skip

    def _penalty_slope(self, l: int) -> Partial | None:
        value = self._penalty_value(l)
        return None if self.P is None else Partial(self.P, Item(self.W[l], "dh"), value)

    def _penalty_value(self, l: int) -> Expression | None:
        if self.P is None:
            return None
        λ = self.λ / self.total if self.model.reduction == "sklearn" else self.λ
        return λ * Item(self.W[l], "dh")

    def _penalty_path(self, l: int) -> list[Equation]:
        slope, value = self._penalty_slope(l), self._penalty_value(l)
        if slope is None or value is None:
            return []
        half: Expression = 0.5 * self.λ
        half = self.mean(half) if self.model.reduction == "sklearn" else half
        return _chain(
            slope,
            (half * (2 * Item(self.W[l], "dh")),
             f"Power rule: of the squares in P, only that of (W_{l})_dh contains it.", "L2"),
            (value, "½ · 2 = 1.", "L2"),
        )  # fmt: skip

    def _bias(self, l: int) -> list[Equation]:
        a, entry = Item(self.a[l], "nh"), Item(self.b[l], "h")
        signal, one = self._signal(l, "nh"), Number(1)
        whole = Partial(self._L, entry, Item(replace(self.b[l], name="∂L/∂b"), "h"))
        return _chain(
            whole,
            (IndexedSum("n", signal * Partial(a, entry, one)),
             f"Chain rule: (b_{l})_h acts on L through column h of a_{l}, in every row n.", "bias"),
            (IndexedSum("n", Item(self.delta[l], "nh")),
             f"b_{l} is added to every row of a_{l}, so that ∂(a_{l})_nh/∂(b_{l})_h = 1.", "bias"),
        )  # fmt: skip

    @property
    def _L(self) -> Symbol:
        return Symbol("L", None, ())

    def _signal(self, l: int, indices: str) -> Partial:
        """∂L/∂a_l, whose value is δ_l."""
        return Partial(self._L, Item(self.a[l], indices), Item(self.delta[l], indices))

    def _error(self, l: int) -> list[Equation]:
        coupled = self.model.f[l].coupling == "row"
        if l == self.L - 1:
            return self._last_coupled(l) if coupled else self._last(l)
        return self._hidden_coupled(l) if coupled else self._hidden(l)

    # ------------------------------------------------------------ ∂L/∂ŷ and f′

    def _loss_slope(self) -> Expression | None:
        """∂L/∂ŷ_nh."""
        with suppress(NotIndexedError):
            return self._weigh(indexed(self._checked(self.loss_slope), "n", "h"))
        return None

    def _loss_path(self, slope: Expression) -> list[Equation]:
        left = Partial(self._L, Item(self.yhat, "nh"), slope)
        only = "Only one term of L contains ŷ_nh."
        if any(isinstance(node, IndexedSum) for node in nodes(slope)):
            only = "Only the terms of row n contain ŷ_nh."
        find = algebra.LOSS_SLOPES.get(self.loss.name)
        lines = [] if find is None else find(*self._target_and_output("h"))
        written = [(self._weigh(line), rule, "1.8") for line, rule in lines]
        end = "Simplify." if lines else f"This is the derivative of {self.loss.name}."
        (first, rule, source), *more = [*written, (slope, end, "1.8")]
        return _chain(left, (first, f"{only} {rule}", source), *more)

    def _target_and_output(self, h: str) -> tuple[Expression, Expression, algebra.Classes]:
        """(y, ŷ, class weights) as entries; y is smoothed or weighted if the loss does that."""
        found = [next(self._symbols(line)) for line in self.scope.lines]
        t = next((symbol for symbol in found if symbol.name == "t"), self.y)
        named = {s.key: s for line in self.scope.constants for s in self._symbols(line)}
        c_0, c_1 = (named.get(("c", k), tree(1)) for k in (0, 1))
        return item(t, "n", h), Item(self.yhat, "n" + h), (c_0, c_1)

    @staticmethod
    def _symbols(line: Equation) -> Iterator[Symbol]:
        return symbols(line.left)

    def _slope(self, l: int) -> Expression | None:
        """f′ at (a_l)_nh of an elementwise f."""
        slope = self.slope[l]
        if callable(slope):
            return None
        with suppress(NotIndexedError):
            return indexed(slope, "n", "h")
        return None

    def _slope_path(self, l: int, slope: Expression, source: str) -> list[Equation]:
        f, a, z = self.model.f[l].name, Item(self.a[l], "nh"), Item(self.z[l], "nh")
        helpers = {s.name: s for line in self.scopes[l].lines for s in self._symbols(line)}
        known = algebra.SLOPES.get(f)
        lines = [] if known is None else known.lines(a, z, lambda name: Item(helpers[name], "nh"))
        rule = f"This is the derivative of {f}." if known is None else known.rule
        written = [(line, why, source) for line, why in lines]
        return _chain(Partial(z, a, slope), *written, (slope, rule, source))

    def _jacobian_path(self, l: int, source: str) -> list[Equation]:
        a, z = self.a[l], self.z[l]
        lines = algebra.jacobian_of_softmax(
            Item(a, "nh"), Item(a, "nk"), Equal("h", "k"), IndexedSum("j", exp(Item(a, "nj")))
        )
        written = [(line, why, source) for line, why in lines]
        final = (self._jacobian(l), f"exp over the sum is {_name(z)}.", source)
        return _chain(Partial(Item(z, "nh"), Item(a, "nk"), self._jacobian(l)), *written, final)

    def _jacobian(self, l: int) -> Expression:
        """The Jacobian of softmax, ∂z_nh/∂a_nk."""
        return Item(self.z[l], "nh") * (Equal("h", "k") - Item(self.z[l], "nk"))

    # ------------------------------------------------------------ δ of the last layer

    def _last(self, l: int) -> list[Equation]:
        """δ = loss′ f′ of an elementwise activation, and how the product collapses."""
        f, a, z = self.model.f[l].name, Item(self.a[l], "nh"), Item(self.yhat, "nh")
        loss, slope = self._loss_slope(), self._slope(l)
        through = f"{f} works entry by entry, so that (a_{l})_nh acts on L through ŷ_nh only"
        start = _chain(
            Item(self.delta[l], "nh"),
            (self._signal(l, "nh"), f"This defines δ_{l}.", "1.8"),
            (Partial(self._L, z, loss) * Partial(z, a, slope), f"Chain rule: {through}.", "1.8"),
        )
        if loss is None or slope is None:
            return [*start, *self._product_of_matrices(l)]
        end = _chain(Item(self.delta[l], "nh"), *self._products(l, loss, slope))
        return [*start, *self._loss_path(loss), *self._slope_path(l, slope, "1.8"), *end]

    def _products(self, l: int, loss: Expression, slope: Expression) -> Iterator[Line]:
        pair = (self.loss.name, self.model.f[l].name)
        t, z, c = self._target_and_output("h")
        yield loss * slope, "Insert the two derivatives.", "1.8"
        lines = algebra.PRODUCTS[pair](t, z, c) if pair in algebra.PRODUCTS else []
        for line, rule in lines:
            yield self._weigh(line), rule, "1.8"
        closed = self._closed(l, "h")
        if closed is not None and not (lines and isinstance(c[0], Symbol)):
            yield self._weigh(closed), algebra.LAST_RULES.get(pair, "Simplify."), "1.8"

    def _closed(self, l: int, h: str) -> Expression | None:
        """The collapsed form of δ, without weights."""
        f, scope = self.model.f[l], self._unused_scope(l)
        delta = formulas.collapsed(self.loss, f, self.a[l], self.y, self.yhat, scope)
        with suppress(NotIndexedError):
            return None if delta is None else indexed(delta, "n", h)
        return None

    def _product_of_matrices(self, l: int) -> list[Equation]:
        """loss′ ⊙ f′ where there is no index notation for it, if it collapses afterwards."""
        slope = self.slope[l]
        if callable(slope) or self.loss.closed_form(self.model.f[l].name) is None:
            return []
        product = self.weigh(times(self.loss_slope, slope))
        rule = f"Insert loss′ and f′, as matrices; (1.8) then collapses for {self.loss.name}."
        return [Equation(self.delta[l], product, "1.8", rule)]

    def _last_coupled(self, l: int) -> list[Equation]:
        f, a, z = self.model.f[l].name, Item(self.a[l], "nk"), Item(self.yhat, "nh")
        softmax = f == "softmax"
        collapses = self.loss.closed_form(f) is not None
        loss = self._loss_slope()
        g = self._weigh(Item(Symbol("g", l, self.a[l].shape), "nh"))
        slope = g if not collapses else loss
        jacobian = Partial(z, a, self._jacobian(l) if softmax else None)
        start = _chain(
            Item(self.delta[l], "nk"),
            (self._signal(l, "nk"), f"This defines δ_{l}.", "1.8"),
            (IndexedSum("h", Partial(self._L, z, slope) * jacobian),
             f"Chain rule: {f} couples a row, so that (a_{l})_nk acts on L through every ŷ_nh.",
             "1.8"),
        )  # fmt: skip
        if not softmax or slope is None:
            return start
        of_loss = [] if loss is None else self._loss_path(loss)
        if not collapses:
            left = of_loss[0].left if of_loss else Partial(self._L, z, slope)
            of_loss.append(Equation(left, g, "1.8", f"g_{l} is a name for loss′(y, ŷ)."))
        end = _chain(Item(self.delta[l], "nk"), *self._coupled_products(l, slope))
        return [*start, *of_loss, *self._jacobian_path(l, "1.8"), *end]

    def _coupled_products(self, l: int, slope: Expression) -> Iterator[Line]:
        """From Σ_h ∂L/∂ŷ_nh ∂ŷ_nh/∂a_nk to the final form of δ."""
        yield IndexedSum("h", slope * self._jacobian(l)), "Insert the two derivatives.", "1.8"
        z_k = Item(self.yhat, "nk")
        if self.loss.closed_form("softmax") is None:
            yield self._weigh(self._pulled_back(l)), PULLED, "1.8"
            return
        if self.loss.name != "cross_entropy":
            yield self._final(l), f"Multiply out; {PULLED}", "1.8"
            return
        t_h, t_k = self._target_and_output("h")[0], self._target_and_output("k")[0]
        rest = -IndexedSum("h", t_h * (Equal("h", "k") - z_k))
        yield self._weigh(rest), "ŷ_nh cancels.", "1.8"
        yield self._weigh(z_k * IndexedSum("h", t_h) - t_k), PULLED, "1.8"
        if self.scope.proper and not self.loss.settings["class_weight"]:
            yield self._weigh(z_k - t_k), f"Each row of {_target_name(t_h)} sums to 1.", "1.8"

    def _final(self, l: int) -> Expression:
        closed = self._closed(l, "k")
        assert closed is not None
        return self._weigh(closed)

    def _pulled_back(self, l: int) -> Expression:
        """z_nk (g_nk − Σ_h g_nh z_nh)."""
        g, z = Symbol("g", l, self.a[l].shape), self.z[l]
        total = IndexedSum("h", Item(g, "nh") * Item(z, "nh"))
        return Item(z, "nk") * (Item(g, "nk") - total)

    # ------------------------------------------------------------ δ of the other layers

    def _mask(self, l: int, indices: str) -> Expression:
        if not self.model.layers[l].dropout:
            return Number(1)
        return Item(Symbol("M", l, self.a[l].shape), indices)

    def _hidden(self, l: int) -> list[Equation]:
        m, a, slope = l + 1, Item(self.a[l], "nh"), self._slope(l)
        after, W = Item(self.a[m], "nk"), Item(self.W[m], "hk")
        factor = None if slope is None else self._mask(l, "nh") * slope
        value = None if factor is None else factor * W
        step = Partial(after, a, value)
        start = _chain(
            Item(self.delta[l], "nh"),
            (self._signal(l, "nh"), f"This defines δ_{l}.", "1.9"),
            (IndexedSum("k", self._signal(m, "nk") * step),
             f"Chain rule: (a_{l})_nh acts on L through all entries of row n of a_{m}.", "1.9"),
            (IndexedSum("k", Item(self.delta[m], "nk") * step),
             f"δ_{m} is known from the layer after this one.", "1.9"),
        )  # fmt: skip
        if slope is None or factor is None or value is None:
            return [*start, *self._next_sums(l)]
        only = f"Only the term j = h of the sum contains (a_{l})_nh. Chain rule"
        rule = f"{only}: f′ of layer {l}, times the weight."
        total = IndexedSum("k", Item(self.delta[m], "nk") * Item(self.W[m], "kh", transposed=True))
        end = _chain(
            Item(self.delta[l], "nh"),
            (IndexedSum("k", Item(self.delta[m], "nk") * value), "Insert (1.9).", "1.9"),
            (factor * total,
             f"f′ does not depend on k. The sum over k is a product of matrices, δ_{m} W_{m}ᵀ.",
             "1.9"),
        )  # fmt: skip
        return [
            *start, *self._next_sums(l), *self._slope_path(l, slope, "1.9"),
            *_chain(step, (value, rule, "1.9")), *end,
        ]  # fmt: skip

    def _next_sums(self, l: int) -> list[Equation]:
        """(a_{l+1})_nk as a function of a_l."""
        m = l + 1
        sums = indexed(self.X[m] @ self.W[m] + self.b[m], "n", "k")
        lines = [(sums, f"(1.2): the sums of layer {m}.", "1.2")]
        with suppress(NotIndexedError):
            X = self._mask(l, "nj") * indexed(self.f[l], "n", "j")
            inner = IndexedSum("j", X * Item(self.W[m], "jk")) + Item(self.b[m], "k")
            lines.append((inner, f"(1.1): X_{m} is the output of layer {l}.", "1.1"))
        return _chain(Item(self.a[m], "nk"), *lines)

    def _hidden_coupled(self, l: int) -> list[Equation]:
        m, f, z = l + 1, self.model.f[l].name, Item(self.z[l], "nh")
        g = Item(Symbol("g", l, self.a[l].shape), "nh")
        weight = self._mask(l, "nh") * Item(self.W[m], "hj")
        of_loss, signal = Partial(self._L, z, g), self._signal(m, "nj")
        after = Partial(Item(self.a[m], "nj"), z, weight)
        jacobian = Partial(z, Item(self.a[l], "nk"), self._jacobian(l) if f == "softmax" else None)
        start = [
            *_chain(
                Item(self.delta[l], "nk"),
                (self._signal(l, "nk"), f"This defines δ_{l}.", "1.9"),
                (IndexedSum("h", of_loss * jacobian),
                 f"Chain rule: {f} couples a row, so that (a_{l})_nk acts on L through the whole "
                 f"row n of {_name(self.z[l])}.", "1.9"),
            ),
            *_chain(
                of_loss,
                (IndexedSum("j", signal * after),
                 f"Chain rule: {_name(self.z[l])} acts on L through row n of a_{m}.", "1.9"),
                (IndexedSum("j", Item(self.delta[m], "nj") * weight),
                 f"(1.2): a_{m} is linear in X_{m}; δ_{m} is known from the layer after this one.",
                 "1.9"),
                (g, f"g_{l} is the name of this above.", "1.9"),
            ),
        ]  # fmt: skip
        if f != "softmax":
            return start
        end = _chain(
            Item(self.delta[l], "nk"),
            (IndexedSum("h", g * self._jacobian(l)), "Insert the two derivatives.", "1.9"),
            (self._pulled_back(l), PULLED, "1.9"),
        )
        return [*start, *self._jacobian_path(l, "1.9"), *end]


def _chain(left: Expression, *lines: Line) -> list[Equation]:
    """Equations with one left side, each of which continues the one before."""
    return [Equation(left, right, source, rule) for right, rule, source in lines]


def _key(line: Equation) -> Name:
    return next(symbols(line.left)).key


def _name(x: Symbol) -> str:
    return x.name if x.index is None else f"{x.name}_{x.index}"


def _target_name(t: Expression) -> str:
    return _name(t.symbol) if isinstance(t, Item) else "y"


__all__ = ["path_of", "ways_of"]
