"""The steps of one pass, forward then backward, each with its equation as MathML."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape

from deltaprop.network import Network

# Pairs whose δ = loss′ ⊙ f′ collapses to ŷ - y.
DIFFERENCE = {
    ("softmax", "cross_entropy"),
    ("logistic", "binary_cross_entropy"),
    ("identity", "squared_error"),
    ("exp", "poisson"),
}


@dataclass(frozen=True)
class Step:
    """One equation of the pass.

    Attributes
    ----------
    key : str
        Names the matrix that the step computes, such as "a_0", "delta_1" or "dW_0".
    kind : str
        The form of the right-hand side: "a", "f" or "f of row", "loss", "difference", "slope",
        "coupled", "jacobian", "dW" or "db".
    phase : {"forward", "loss", "backward"}
    layer : int
    title : str
        The computed quantity in words.
    formula : str
        The equation as MathML.
    note : str
        What it means, for a newcomer.
    operands : tuple of str
        The keys of the matrices on the right-hand side.
    function : str
        The activation's name, where the step applies one.
    """

    key: str
    kind: str
    phase: str
    layer: int
    title: str
    formula: str
    note: str
    operands: tuple[str, ...]
    function: str = ""


def steps(net: Network) -> list[Step]:
    """Every step of `net`, in the order in which a pass takes them.

    Examples
    --------
    >>> import deltaprop as dp
    >>> from deltaprop.page.formulas import steps
    >>> net = dp.Network(2, [dp.Dense(3, "tanh"), dp.Dense(1)], loss="squared_error")
    >>> [step.key for step in steps(net)]
    ['a_0', 'X_1', 'a_1', 'X_2', 'loss', 'delta_1', 'dW_1', 'db_1', 'delta_0', 'dW_0', 'db_0']
    """
    last = net.n_layers - 1
    forward = [step for l in range(last + 1) for step in (_sums(l), _outputs(net, l))]
    backward = [
        step
        for l in range(last, -1, -1)
        for step in (
            _last_error(net) if l == last else _hidden_error(net, l),
            _weights(net, l),
            _biases(l),
        )
    ]
    return [*forward, _loss(net), *backward]


def symbol(key: str) -> str:
    """A matrix's name as MathML: "delta_1" is δ with the subscript 1."""
    name, _, index = key.partition("_")
    if name == "slope":
        return f"<mrow>{_sub('f′', index)}{_in(_sub('a', index))}</mrow>"
    if name == "pull":
        return _partial(_sub("X", int(index) + 1))
    if name in ("dW", "db"):
        return _partial(_sub(name[1], index))
    if name in ("t", "loss"):
        return {"t": "<mi>y</mi>", "loss": "<mi>loss</mi>"}[name]
    return _sub({"delta": "δ"}.get(name, name), index)


# ---------------------------------------------------------------- forward


def _sums(l: int) -> Step:
    return Step(
        f"a_{l}", "a", "forward", l, f"The sums of layer {l}",
        _math(_sub("a", l), "=", _sub("X", l), _sub("W", l), "+", _sub("b", l)),
        "Each unit adds up what comes in, each number times the weight of its connection, and "
        "its bias.",
        (f"X_{l}", f"W_{l}", f"b_{l}"),
    )  # fmt: skip


def _outputs(net: Network, l: int) -> Step:
    f, last = net.f[l], l == net.n_layers - 1
    notes = {
        "softmax": "softmax turns each row into shares that add up to 1.",
        "identity": "The activation is the identity: the sums are the outputs.",
    }
    note = notes.get(f.name, f"The activation {f.name} turns each unit's sum into its output.")
    if net.layers[l].dropout:
        note += " (Training drops some of these outputs; here all take part.)"
    return Step(
        f"X_{l + 1}", "f" if f.coupling == "elementwise" else "f of row", "forward", l,
        "The outputs of the network" if last else f"The outputs of layer {l}",
        _math(*([_YHAT, "="] if last else []), _sub("X", l + 1), "=", _of(f.name, _sub("a", l))),
        note,
        (f"a_{l}",),
        f.name,
    )  # fmt: skip


def _loss(net: Network) -> Step:
    last = net.n_layers - 1
    data = _sum_over("n") + _of(net.loss_function.name, "<mi>y</mi>", _YHAT)
    norm = f"<msup><mrow>{_FENCE}‖</mo>{_sub('W', 'l')}{_FENCE}‖</mo></mrow><mn>2</mn></msup>"
    half = _over("<mi>λ</mi>", "<mn>2</mn>")
    penalty = ["+", half, _sum_over("l"), norm] if net.l2 else []
    inside = [data, *penalty]
    if net.reduction == "mean":
        inside = [_SHARE, *inside]
    elif net.reduction == "sklearn":
        inside = [_SHARE, _in(_row(*inside))] if penalty else [_SHARE, data]
    note = "One number says how far the outputs are from the target: training makes it small."
    if net.l2:
        note += f" With λ = {net.l2:g} it also counts how large the weights are."
    return Step(
        "loss", "loss", "loss", last, "The loss", _math("<mi>L</mi>", "=", *inside), note,
        (f"X_{last + 1}", "t"),
    )  # fmt: skip


# ---------------------------------------------------------------- backward


def _last_error(net: Network) -> Step:
    l = net.n_layers - 1
    f, loss = net.f[l], net.loss_function
    share = [] if net.reduction == "sum" else [_SHARE]
    slope_of_loss = _row(*share, _slope(loss.name, "<mi>y</mi>", _YHAT))
    note = "How much L grows when a unit's sum grows: the slope of the loss times that of f."
    if _is_difference(net):
        difference = _row(_YHAT, "−", "<mi>y</mi>")
        right = [*share, _in(difference)] if share else [difference]
        note = (
            f"How much L grows when a unit's sum grows. For {f.name} and {loss.name} this is "
            "simply output minus target."
        )
        return _error(l, "difference", right, note, (f"X_{l + 1}", "t"))
    if f.coupling == "elementwise":
        right = [slope_of_loss, "⊙", _slope(f.name, _sub("a", l))]
        return _error(l, "slope", right, note, (f"slope_{l}", f"pull_{l}"))
    return _coupled(net, l, slope_of_loss, note)


def _hidden_error(net: Network, l: int) -> Step:
    f = net.f[l]
    pulled = _row(_sub("δ", l + 1), f"<msubsup><mi>W</mi><mn>{l + 1}</mn><mi>T</mi></msubsup>")
    note = (
        "A unit is to blame for the errors of the units that it feeds, through the weights that "
        "lead there, times the slope of its own activation."
    )
    if f.coupling == "elementwise":
        right = [_slope(f.name, _sub("a", l)), "⊙", _in(pulled)]
        return _error(l, "slope", right, note, (f"slope_{l}", f"delta_{l + 1}", f"W_{l + 1}"))
    return _coupled(net, l, pulled, note)


def _coupled(net: Network, l: int, g: str, note: str) -> Step:
    """The pull-back through an activation that couples the outputs of a row, such as softmax."""
    name, z = net.f[l].name, _sub("X", l + 1)
    if name == "softmax":
        right = [z, "⊙", _in(_row(g, "−", _sum_over("h"), g, z))]
        return _error(l, "coupled", right, note, (f"X_{l + 1}", f"pull_{l}"))
    right = [_sum_over("h"), g, _slope(name, _sub("a", l))]
    return _error(l, "jacobian", right, note, (f"a_{l}", f"pull_{l}"))


def _error(l: int, kind: str, right: list[str], note: str, operands: tuple[str, ...]) -> Step:
    title = f"The error signals of layer {l}"
    formula = _math(_sub("δ", l), "=", *right)
    return Step(f"delta_{l}", kind, "backward", l, title, formula, note, operands)


def _weights(net: Network, l: int) -> Step:
    transposed = f"<msubsup><mi>X</mi><mn>{l}</mn><mi>T</mi></msubsup>"
    strength = "<mi>λ</mi>"
    if net.reduction == "sklearn":
        strength = _over("<mi>λ</mi>", "<mi>N</mi>")
    penalty = ["+", strength, _sub("W", l)] if net.l2 else []
    return Step(
        f"dW_{l}", "dW", "backward", l, f"The gradient of the weights of layer {l}",
        _math(_partial(_sub("W", l)), "=", transposed, _sub("δ", l), *penalty),
        "A weight's share of the error: what came in through it times the error signal where it "
        "leads, added up over the rows.",
        (f"X_{l}", f"delta_{l}", *([f"W_{l}"] if net.l2 else [])),
    )  # fmt: skip


def _biases(l: int) -> Step:
    return Step(
        f"db_{l}", "db", "backward", l, f"The gradient of the biases of layer {l}",
        _math(_partial(_sub("b", l)), "=", _sum_over("n"), _sub("δ", l)),
        "A bias takes part in every row: its gradient is the sum of the error signals.",
        (f"delta_{l}",),
    )  # fmt: skip


def _is_difference(net: Network) -> bool:
    function = net.loss_function
    weighted = function.settings.get("class_weight") not in (None, (1.0, 1.0))
    return function.is_builtin and (net.f[-1].name, function.name) in DIFFERENCE and not weighted


# ---------------------------------------------------------------- MathML

_YHAT = '<mover accent="true"><mi>y</mi><mo>^</mo></mover>'
_FENCE = '<mo stretchy="false">'
_SHARE = "<mfrac><mn>1</mn><mi>N</mi></mfrac>"


def _row(*parts: str) -> str:
    """Parts side by side; single characters are operators."""
    inside = "".join(f"<mo>{part}</mo>" if len(part) == 1 else part for part in parts)
    return f"<mrow>{inside}</mrow>"


def _math(*parts: str) -> str:
    return f'<math xmlns="http://www.w3.org/1998/Math/MathML">{_row(*parts)}</math>'


def _sub(letter: str, index: int | str) -> str:
    return f"<msub><mi>{letter}</mi><mn>{index}</mn></msub>"


def _over(top: str, bottom: str) -> str:
    return f"<mfrac>{top}{bottom}</mfrac>"


def _in(*parts: str) -> str:
    return f"<mrow>{_FENCE}(</mo>{'<mo>,</mo>'.join(parts)}{_FENCE})</mo></mrow>"


def _of(name: str, *arguments: str) -> str:
    return f"<mrow><mi>{escape(name)}</mi>{_in(*arguments)}</mrow>"


def _slope(name: str, *arguments: str) -> str:
    return f"<mrow><mi>{escape(name)}′</mi>{_in(*arguments)}</mrow>"


def _sum_over(index: str) -> str:
    return f"<munder><mo>∑</mo><mi>{index}</mi></munder>"


def _partial(of: str) -> str:
    return _over("<mrow><mo>∂</mo><mi>L</mi></mrow>", f"<mrow><mo>∂</mo>{of}</mrow>")
