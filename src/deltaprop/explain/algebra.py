"""The algebra between a derivative and its final form, for the functions that have one.

Each entry is a list of lines: a formula that equals the one before it, and the rule that leads to
it, in words. The final form is not part of the list, because :mod:`.formulas` has it. What has no
entry here goes from the rule straight to the final form.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from deltaprop.explain.expressions import Binary, Expression, call, exp, tree

Lines = list[tuple[Expression, str]]
Classes = tuple[Expression, Expression]  # the weights of the classes 0 and 1


class Slope(NamedTuple):
    """How f′ is found: the lines before its final form, and the rule of the last step."""

    lines: Callable[[Any, Any, Callable[[str], Any]], Lines]
    rule: str


def _logistic(a: Any, z: Any, name: Callable[[str], Any]) -> Lines:
    u = 1 + exp(-a)
    return [
        (exp(-a) / u**2, "Chain rule for 1/u with u = 1 + exp(−a), where u′ = −exp(−a)."),
        ((1 / u) * (1 - 1 / u), "Split the fraction: exp(−a) = u − 1."),
    ]


def _tanh(a: Any, z: Any, name: Callable[[str], Any]) -> Lines:
    sinh, cosh = call("sinh", a), call("cosh", a)
    return [
        (
            (cosh**2 - sinh**2) / cosh**2,
            "Quotient rule for tanh = sinh / cosh, with sinh′ = cosh and cosh′ = sinh.",
        )
    ]


def _softplus(a: Any, z: Any, name: Callable[[str], Any]) -> Lines:
    return [(exp(a) / (1 + exp(a)), "Chain rule for log u with u = 1 + exp(a).")]


def _silu(a: Any, z: Any, name: Callable[[str], Any]) -> Lines:
    σ = name("σ")
    return [(σ + a * (σ * (1 - σ)), "Product rule for a σ(a), with σ′ = σ (1 − σ).")]


def _nothing(a: Any, z: Any, name: Callable[[str], Any]) -> Lines:
    return []


SLOPES = {
    "identity": Slope(_nothing, "The derivative of a with respect to itself is 1."),
    "relu": Slope(_nothing, "max(0, a) is a for a > 0 and constant for a < 0."),
    "leaky_relu": Slope(_nothing, "Differentiate each case."),
    "elu": Slope(_nothing, "Differentiate each case; exp(a) is f(a) + 1."),
    "selu": Slope(_nothing, "Differentiate each case."),
    "gelu": Slope(_nothing, "Product rule for a Φ(a), with Φ′ = φ."),
    "gelu_tanh": Slope(_nothing, "Product rule, then the chain rule with tanh′ = 1 − τ²."),
    "silu": Slope(_silu, "a σ is the value of the activation."),
    "mish": Slope(_nothing, "Product rule for a τ; the slope of log(1 + exp(a)) is σ."),
    "softplus": Slope(_softplus, "Divide by exp(a) above and below."),
    "logistic": Slope(_logistic, "1/u is the value of the activation."),
    "tanh": Slope(_tanh, "Divide: sinh / cosh is the value of the activation."),
    "cos": Slope(_nothing, "The derivative of cos is −sin."),
    "exp": Slope(_nothing, "exp is its own derivative."),
}


def jacobian_of_softmax(a_h: Any, a_k: Any, same: Any, total: Any) -> Lines:
    """∂z_h/∂a_k by the quotient rule; `same` is [h = k] and `total` is Σ_j exp(a_j)."""
    return [
        (
            (same * exp(a_h) * total - exp(a_h) * exp(a_k)) / total**2,
            "Quotient rule; exp is its own derivative, and a_k occurs in exp(a_h) only if h = k, "
            "but always in the sum below.",
        ),
        (
            (exp(a_h) / total) * (same - exp(a_k) / total),
            "Factor out exp(a_h) over the sum.",
        ),
    ]


# ---------------------------------------------------------------- loss′


def _squared_error(t: Any, z: Any, c: Classes) -> Lines:
    return [(Binary(" ", Binary(" ", tree(0.5), tree(2)), z - t),
             "Power rule; the derivative of ŷ − y is 1.")]  # fmt: skip


def _cross_entropy(t: Any, z: Any, c: Classes) -> Lines:
    return [(-(t * (1 / z)), "The derivative of log ŷ is 1/ŷ.")]


def _binary(t: Any, z: Any, c: Classes) -> Lines:
    return [
        (-(c[1] * (t * (1 / z)) + c[0] * ((1 - t) * (-(1 / (1 - z))))),
         "The derivative of log ŷ is 1/ŷ, and that of log(1 − ŷ) is −1/(1 − ŷ).")
    ]  # fmt: skip


# (t, ŷ, class weights) → the lines before loss′; t is y, smoothed or weighted.
LOSS_SLOPES: dict[str, Callable[[Any, Any, Classes], Lines]] = {
    "squared_error": _squared_error,
    "cross_entropy": _cross_entropy,
    "binary_cross_entropy": _binary,
}


# ---------------------------------------------------------------- δ = loss′ ⊙ f′


def _binary_logistic(t: Any, z: Any, c: Classes) -> Lines:
    return [
        (c[0] * ((1 - t) * z) - c[1] * (t * (1 - z)),
         "Multiply out: 1 − ŷ cancels in the first term, ŷ in the second.")
    ]  # fmt: skip


# (t, ŷ, class weights) → the lines between loss′ f′ and its collapsed form, by loss and activation.
PRODUCTS: dict[tuple[str, str], Callable[[Any, Any, Classes], Lines]] = {
    ("binary_cross_entropy", "logistic"): _binary_logistic,
}
LAST_RULES = {
    ("binary_cross_entropy", "logistic"): "Expand both products: y ŷ cancels.",
    ("poisson", "exp"): "Multiply out: (y / ŷ) ŷ = y.",
    ("gamma", "exp"): "The factor ŷ cancels.",
    ("tweedie", "exp"): "Multiply out: the powers of ŷ add up.",
    ("focal", "logistic"): "Multiply out: ŷ and 1 − ŷ cancel.",
}


__all__ = [
    "LAST_RULES", "LOSS_SLOPES", "PRODUCTS", "SLOPES", "Classes", "Lines", "Slope",
    "jacobian_of_softmax",
]  # fmt: skip
