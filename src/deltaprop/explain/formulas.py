"""The formula of every activation and loss as an expression.

The functions that compute them (:mod:`deltaprop.functions`) guard against overflow; the entries
here state what is computed. Each entry takes a :class:`Scope`, in which it names intermediate
results. Custom functions are called with symbols in place of arrays; if that fails, they are
written by name.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, cast

from deltaprop.explain.expressions import (
    Call,
    Equation,
    Expression,
    Number,
    Row,
    Shape,
    Symbol,
    call,
    cases,
    exp,
    log,
    row,
    sqrt,
    sum_h,
    tanh,
    tree,
)
from deltaprop.functions.activations import GELU_TANH_CUBE, SELU_ALPHA, SELU_SCALE, Activation
from deltaprop.functions.losses import Loss

PullBack = Callable[[Expression], Expression]
π = Symbol("π", None, ())


class Scope:
    """The definitions that a formula needs: intermediate results and constants.

    Parameters
    ----------
    index : int or None
        The index of the layer; None for the loss.
    shape : tuple
        The shape of a (or of ŷ), (N, H).
    settings : dict, optional
        The parameters of the loss.
    proper : bool, default=True
        Whether each row of y sums to 1.
    """

    def __init__(
        self,
        index: int | None,
        shape: Shape,
        settings: dict[str, Any] | None = None,
        proper: bool = True,
    ) -> None:
        self.index, self.shape, self.settings, self.proper = index, shape, settings or {}, proper
        self.lines: list[Equation] = []
        self.constants: list[Equation] = []

    @property
    def H(self) -> int:
        return cast(int, self.shape[1])

    def let(self, name: str, value: Expression, shape: Shape | None = None) -> Symbol:
        """Name an intermediate result; its shape is that of a unless given."""
        symbol = Symbol(name, self.index, self.shape if shape is None else shape)
        self.lines.append(Equation(symbol, value, self._source))
        return symbol

    def halves(self, left: str, right: str, of: Expression) -> tuple[Symbol, Symbol]:
        """Name the left half and the right half of the columns."""
        N, K = self.shape[0], self.H // 2
        pair = Symbol(left, self.index, (N, K)), Symbol(right, self.index, (N, self.H - K))
        self.lines.append(Equation(Row(pair), of, self._source))
        return pair

    def constant(self, name: str, value: Any, index: int | None = None) -> Symbol:
        """Name a number, or a row of numbers."""
        several = isinstance(value, tuple)
        symbol = Symbol(name, index, (len(value),) if several else ())
        self.constants.append(
            Equation(symbol, row(*value) if several else tree(value), self._source)
        )
        return symbol

    @property
    def _source(self) -> str:
        return "1.3" if self.index is None else "1.1"


# ---------------------------------------------------------------- activations: f, f′


def _elu(a: Any, z: Any, s: Scope) -> Any:
    return cases((a, a > 0), otherwise=exp(a) - 1), cases((1, a > 0), otherwise=z + 1)


def _selu(a: Any, z: Any, s: Scope) -> Any:
    α, β = s.constant("α", SELU_ALPHA), s.constant("β", SELU_SCALE)
    f = cases((β * a, a > 0), otherwise=α * β * (exp(a) - 1))
    return f, cases((β, a > 0), otherwise=z + α * β)


def _gelu(a: Any, z: Any, s: Scope) -> Any:
    Φ = s.let("Φ", 0.5 * (1 + call("erf", a / sqrt(2))))
    φ = s.let("φ", exp(-0.5 * a**2) / sqrt(2 * π))
    return a * Φ, Φ + a * φ


def _gelu_tanh(a: Any, z: Any, s: Scope) -> Any:
    k = s.constant("k", GELU_TANH_CUBE)
    τ = s.let("τ", tanh(sqrt(2 / π) * (a + k * a**3)))
    u = s.let("u", sqrt(2 / π) * (1 + 3 * k * a**2))
    return 0.5 * a * (1 + τ), 0.5 * (1 + τ) + 0.5 * a * (1 - τ**2) * u


def _silu(a: Any, z: Any, s: Scope) -> Any:
    σ = s.let("σ", 1 / (1 + exp(-a)))
    return a * σ, σ + z * (1 - σ)


def _mish(a: Any, z: Any, s: Scope) -> Any:
    τ = s.let("τ", tanh(log(1 + exp(a))))
    σ = s.let("σ", 1 / (1 + exp(-a)))
    return a * τ, τ + a * σ * (1 - τ**2)


def _softmax(a: Any, z: Any, s: Scope) -> Any:
    return exp(a) / sum_h(exp(a)), lambda g: z * (g - sum_h(g * z))


def _mean_variance(a: Any, z: Any, s: Scope) -> Any:
    m, r = s.halves("m", "r", a)
    return row(m, exp(r)), row(1, exp(r))


# (a, z = f(a), scope) → (f, f′). A coupled f has, in place of f′, the function g = ∂L/∂z ↦ ∂L/∂a.
ACTIVATIONS: dict[str, Callable[[Any, Any, Scope], tuple[Any, Any]]] = {
    "identity": lambda a, z, s: (a, 1),
    "relu": lambda a, z, s: (call("max", 0, a), cases((1, a > 0), otherwise=0)),
    "leaky_relu": lambda a, z, s: (
        cases((a, a > 0), otherwise=0.01 * a),
        cases((1, a > 0), otherwise=0.01),
    ),
    "elu": _elu,
    "selu": _selu,
    "gelu": _gelu,
    "gelu_tanh": _gelu_tanh,
    "silu": _silu,
    "mish": _mish,
    "softplus": lambda a, z, s: (log(1 + exp(a)), 1 / (1 + exp(-a))),
    "logistic": lambda a, z, s: (1 / (1 + exp(-a)), z * (1 - z)),
    "tanh": lambda a, z, s: (tanh(a), 1 - z**2),
    "cos": lambda a, z, s: (call("cos", a), -call("sin", a)),
    "exp": lambda a, z, s: (exp(a), z),
    "softmax": _softmax,
    "mean_variance": _mean_variance,
}


def activation(
    f: Activation, a: Expression, z: Expression, scope: Scope
) -> tuple[Expression, Expression | PullBack]:
    """f(a), and f′ as a factor; for a coupled f, the function of g = ∂L/∂z that gives ∂L/∂a."""
    if f.name in ACTIVATIONS:
        value, slope = ACTIVATIONS[f.name](a, z, scope)
        return tree(value), slope if callable(slope) else tree(slope)
    if f.coupling == "elementwise":
        value = _called(f.f, (a,), call(f.name, a))
        return value, _called(f.df, (a, z), call(f.name + "′", a))
    value = _called(f.f, (a,), Call(f.name, (a,), rowwise=True))
    by_name = f.name + "′ᵀ"
    return value, lambda g: _called(f.vjp, (a, z, g), Call(by_name, (a, g), rowwise=True))


# ---------------------------------------------------------------- losses: the summands, loss′


def _huber(y: Any, z: Any, s: Scope) -> Any:
    κ, r = s.constant("κ", s.settings["delta"]), s.let("r", z - y)
    value = cases((0.5 * r**2, abs(r) <= κ), otherwise=κ * (abs(r) - 0.5 * κ))
    return value, cases((r, abs(r) <= κ), otherwise=κ * call("sign", r))


def _quantile(y: Any, z: Any, s: Scope) -> Any:
    levels = s.settings["quantiles"]
    q = s.constant("q", levels[0] if len(levels) == 1 else levels * (s.H // len(levels)))
    r = s.let("r", y - z)
    value = cases((q * r, r > 0), otherwise=(q - 1) * r)
    return value, cases((-q, r > 0), (1 - q, r < 0), otherwise=0)


def _tweedie(y: Any, z: Any, s: Scope) -> Any:
    p = s.constant("p", s.settings["power"])
    constant = y ** (2 - p) / ((1 - p) * (2 - p))
    value = constant - y * z ** (1 - p) / (1 - p) + z ** (2 - p) / (2 - p)
    return value, z ** (1 - p) - y * z ** (-p)


def _gaussian_nll(y: Any, z: Any, s: Scope) -> Any:
    μ, v = s.halves("μ", "v", z)
    value = 0.5 * (log(v) + (y - μ) ** 2 / v)
    return value, row((μ - y) / v, 0.5 * (1 - (y - μ) ** 2 / v) / v)


def _binary(y: Any, z: Any, s: Scope) -> Any:
    t, c_0, c_1 = _two_classes(y, s)
    value = -(c_1 * t * log(z) + c_0 * (1 - t) * log(1 - z))
    return value, c_0 * (1 - t) / (1 - z) - c_1 * t / z


def _two_classes(y: Any, s: Scope) -> tuple[Expression, Expression, Expression]:
    ε = s.settings["label_smoothing"]
    if ε:
        e = s.constant("ε", ε)
        y = s.let("t", (1 - e) * y + 0.5 * e)
    if s.settings["class_weight"] == (1.0, 1.0):
        return y, Number(1), Number(1)
    weights = s.settings["class_weight"]
    return y, s.constant("c", weights[0], 0), s.constant("c", weights[1], 1)


def _classes(y: Any, s: Scope) -> Any:
    ε, weights = s.settings["label_smoothing"], s.settings["class_weight"]
    if ε:
        e = s.constant("ε", ε)
        y = (1 - e) * y + e / s.H
    if weights:
        y = s.constant("c", tuple(weights)) * y
    return s.let("t", y) if ε or weights else y


def _cross_entropy(y: Any, z: Any, s: Scope) -> Any:
    t = _classes(y, s)
    return -(t * log(z)), -(t / z)


def _focal(y: Any, z: Any, s: Scope) -> Any:
    γ = s.constant("γ", s.settings["gamma"])

    value = (1 - z) ** γ * log(z)
    slope = γ * (1 - z) ** (γ - 1) * log(z) - (1 - z) ** γ / z
    if s.H > 1:
        return -(y * value), y * slope
    other = z**γ * log(1 - z)
    other_slope = γ * z ** (γ - 1) * log(1 - z) - z**γ / (1 - z)
    return -(y * value + (1 - y) * other), y * slope - (1 - y) * other_slope


# (y, ŷ, scope) → the summands of (1.3) and ∂loss/∂ŷ.
LOSSES: dict[str, Callable[[Any, Any, Scope], tuple[Any, Any]]] = {
    "squared_error": lambda y, z, s: (0.5 * (z - y) ** 2, z - y),
    "absolute_error": lambda y, z, s: (abs(z - y), call("sign", z - y)),
    "huber": _huber,
    "quantile": _quantile,
    "log_cosh": lambda y, z, s: (log(call("cosh", z - y)), tanh(z - y)),
    "poisson": lambda y, z, s: (y * log(y) - y * log(z) - y + z, 1 - y / z),
    "gamma": lambda y, z, s: (log(z / y) + y / z - 1, (1 - y / z) / z),
    "tweedie": _tweedie,
    "gaussian_nll": _gaussian_nll,
    "binary_cross_entropy": _binary,
    "cross_entropy": _cross_entropy,
    "focal": _focal,
    "hinge": lambda y, z, s: (call("max", 0, 1 - y * z), cases((-y, y * z < 1), otherwise=0)),
}


def loss(function: Loss, y: Symbol, z: Symbol, scope: Scope) -> tuple[Expression, Expression]:
    """The summands of equation (1.3) and loss′."""
    if function.name in LOSSES:
        return LOSSES[function.name](y, z, scope)
    value, slope = (partial(f, **dict(function.params)) for f in (function.value, function.d))
    return (
        _called(value, (y, z), call(function.name, y, z)),
        _called(slope, (y, z), call(function.name + "′", y, z)),
    )


# ---------------------------------------------------------------- collapsed forms of δ


def _binary_logistic(y: Any, z: Any, s: Scope) -> Any:
    unused = Scope(None, s.shape, s.settings)  # its definitions belong to the step of the loss
    t, c_0, c_1 = _two_classes(y, unused)
    weighted = isinstance(c_0, Symbol)
    return c_0 * (1 - t) * z - c_1 * t * (1 - z) if weighted else z - t


def _cross_entropy_softmax(y: Any, z: Any, s: Scope) -> Any:
    t = _classes(y, Scope(None, s.shape, s.settings))
    proper = s.proper and not s.settings["class_weight"]
    return z - t if proper else z * sum_h(t) - t


def _tweedie_exp(y: Any, z: Any, s: Scope) -> Any:
    p = Symbol("p", None, ())
    return z ** (2 - p) - y * z ** (1 - p)


def _gaussian_mean_variance(y: Any, z: Any, s: Scope) -> Any:
    μ, v = Scope(None, s.shape).halves("μ", "v", z)
    return row((μ - y) / v, 0.5 * (1 - (y - μ) ** 2 / v))


def _focal_softmax(y: Any, z: Any, s: Scope) -> Any:
    γ = Symbol("γ", None, ())
    if s.H == 1:  # a softmax over one class is constant
        return 0 * z
    q = s.let("q", y * (γ * z * (1 - z) ** (γ - 1) * log(z) - (1 - z) ** γ))
    return q - z * sum_h(q)


def _focal_logistic(y: Any, z: Any, s: Scope) -> Any:
    γ = Symbol("γ", None, ())
    first = -(y * (1 - z) ** γ * (1 - z - γ * z * log(z)))
    if s.H > 1:
        return first
    return first + (1 - y) * z**γ * (z - γ * (1 - z) * log(1 - z))


# (y, ŷ, scope) → δ, by the names of the loss and of its output activation.
CLOSED: dict[tuple[str, str], Callable[[Any, Any, Scope], Any]] = {
    ("poisson", "exp"): lambda y, z, s: z - y,
    ("gamma", "exp"): lambda y, z, s: 1 - y / z,
    ("tweedie", "exp"): _tweedie_exp,
    ("gaussian_nll", "mean_variance"): _gaussian_mean_variance,
    ("binary_cross_entropy", "logistic"): _binary_logistic,
    ("cross_entropy", "softmax"): _cross_entropy_softmax,
    ("focal", "softmax"): _focal_softmax,
    ("focal", "logistic"): _focal_logistic,
}


def collapsed(
    function: Loss, f: Activation, a: Symbol, y: Symbol, z: Symbol, scope: Scope
) -> Expression | None:
    """The collapsed form of δ at the output; None if the loss and the activation have none."""
    closed = dict(function.closed).get(f.name)
    if closed is None:
        return None
    if (function.name, f.name) in CLOSED:
        return tree(CLOSED[function.name, f.name](y, z, scope))
    delta = partial(closed.delta, **dict(function.params))
    return cast("Expression | None", _called(delta, (y, a, z), None))


# ---------------------------------------------------------------- custom functions


class _Symbols:
    """An array namespace of symbols, passed to custom functions as ``xp``."""

    pi = π
    sin, cos, exp, log = (partial(call, name) for name in ("sin", "cos", "exp", "log"))
    tanh, cosh, sinh, sign = (partial(call, name) for name in ("tanh", "cosh", "sinh", "sign"))
    sqrt = partial(call, "√")
    atan = arctan = partial(call, "arctan")
    abs = absolute = partial(call, "abs")
    maximum, minimum = partial(call, "max"), partial(call, "min")
    log1p = staticmethod(lambda x: log(1 + x))
    expm1 = staticmethod(lambda x: exp(x) - 1)
    square = staticmethod(lambda x: x**2)
    where = staticmethod(lambda condition, x, y: cases((x, condition), otherwise=y))
    ones_like = staticmethod(lambda x: Number(1))
    zeros_like = staticmethod(lambda x: Number(0))

    @staticmethod
    def sum(x: Expression, *, axis: int, keepdims: bool) -> Expression:
        if axis not in (1, -1) or not keepdims:
            raise NotImplementedError
        return sum_h(x)


def _called(
    function: Callable[..., Any] | None,
    arguments: tuple[Expression, ...],
    otherwise: Any,
) -> Any:
    """Call a custom function with symbols; return `otherwise` if it needs arrays."""
    if function is None:
        return otherwise
    try:
        return tree(function(*arguments, _Symbols))
    except Exception:  # the function needs arrays: it is printed by name
        return otherwise


__all__ = ["ACTIVATIONS", "CLOSED", "LOSSES", "Scope", "activation", "collapsed", "loss"]
