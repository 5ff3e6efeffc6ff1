r"""Losses with loss′ and loss″: defined once, used by every engine.

A :class:`Loss` holds plain functions of the encoded target t and the network's output ŷ, written
for any array namespace `xp`. They return the summands of equation (1.3), Σ_n Σ_h loss(y, ŷ), and
their derivatives with respect to ŷ. Each function opens with its formula.

Where a loss and the output's activation belong together (softmax with cross-entropy, exp with
Poisson, …) `closed` holds the collapsed, stable form of the loss and of δ in terms of the
pre-activation a. Every other pair goes through the general chain of equation (1.8).

Examples
--------
>>> import numpy as np
>>> import deltaprop as dp
>>> huber = dp.losses.get("huber", delta=2.0)
>>> huber.evaluate(np.array([[0.0]]), np.array([[1.0]]), np)
array([[0.5]])
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from deltaprop.errors import InputError, InputTypeError
from deltaprop.functions.arrays import (
    Array,
    absolute,
    expit,
    floored,
    log_sum_exp,
    real,
    softplus,
    where_positive,
)

if TYPE_CHECKING:
    from jaxtyping import Float, Num

    Values = Float[Array, "N H"]
    Target = Num[Array, "N ..."]
    LossFunction = Callable[..., Values]


class ClosedForm(NamedTuple):
    """Loss and δ = ∂loss/∂a of one (loss, output activation) pair, from a and z = f(a)."""

    value: LossFunction  # value(t, a, z, xp, **params)
    delta: LossFunction  # delta(t, a, z, xp, **params)


# ---------------------------------------------------------------- targets


def as_numbers(y: Target, H: int, dtype: Any, xp: ModuleType, **params: Any) -> Values:
    """Numeric targets: (N,) stands for (N, 1)."""
    return xp.astype(y[:, None] if y.ndim == 1 else y, dtype)


def as_indicators(y: Target, H: int, dtype: Any, xp: ModuleType, **params: Any) -> Values:
    """Class indices (N,) become one-hot rows (N, H); rows of probabilities stay as they are."""
    if y.ndim == 1:
        y = y[:, None] == xp.arange(H, dtype=y.dtype)[None, :]
    return xp.astype(y, dtype)


def check_numbers(y: Target, H: int, name: str, **params: Any) -> None:
    """Numeric targets must give one column an output."""
    columns = 1 if y.ndim == 1 else y.shape[1]
    if columns != H:
        raise InputError(
            f"y has {columns} column(s), but the network has {H} output(s). For loss {name!r} "
            f"give y of shape (N, {H}) or change the last layer's units to {columns}."
        )


def check_at_least(y: Target, H: int, name: str, strictly: bool = False, **params: Any) -> None:
    """The domain of a loss for counts or amounts."""
    check_numbers(y, H, name)
    low = float(y.min())
    if low < 0 or (strictly and low == 0):
        bound = "> 0" if strictly else ">= 0"
        raise InputError(
            f"y must be {bound} for loss {name!r}; its smallest value is {low:g}. "
            "Some value(s) of y are out of the valid range of the loss: remove those rows or use "
            "another loss, such as 'squared_error'."
        )


def check_indicators(y: Target, H: int, name: str, **params: Any) -> None:
    """Class indices in 0 … H-1, or one row of non-negative weights over the H classes."""
    if y.ndim == 1:
        outside = (y < 0) | (y >= H) | (y != np.floor(y))
        if outside.any():
            raise InputError(
                f"y must hold class indices 0 to {H - 1}, one for each of the network's {H} "
                f"output(s); got {y[outside][0]!s}. Encode the classes as 0, 1, … "
                "or give y as one-hot rows (N, H)."
            )
        return
    _check_columns(y, H, name)
    if float(y.min()) < 0:
        raise InputError(
            f"y must hold probabilities >= 0 for loss {name!r}; its smallest value is "
            f"{float(y.min()):g}."
        )


def check_probabilities(y: Target, H: int, name: str, **params: Any) -> None:
    """0/1 targets (or probabilities) for each output."""
    columns = y[:, None] if y.ndim == 1 else y
    _check_columns(columns, H, name)
    low, high = float(columns.min()), float(columns.max())
    if low < 0 or high > 1:
        raise InputError(
            f"y must lie in [0, 1] for loss {name!r}; its values range from {low:g} to {high:g}. "
            "Encode the two classes as 0 and 1."
        )


def check_signs(y: Target, H: int, name: str, **params: Any) -> None:
    """Class indices, or a column of 0/1 or -1/+1 for each output."""
    if y.ndim == 1 and H > 1:
        check_indicators(y, H, name)
        return
    columns = y[:, None] if y.ndim == 1 else y
    _check_columns(columns, H, name)
    if not np.isin(columns, (-1, 0, 1)).all():
        raise InputError(f"y must hold 0/1 or -1/+1 for loss {name!r}; got other values.")


def _check_columns(y: Target, H: int, name: str) -> None:
    if y.shape[1] != H:
        raise InputError(
            f"y has {y.shape[1]} column(s), but the network has {H} output(s): loss {name!r} "
            f"needs one column for each output, or class indices of shape (N,)."
        )


# ---------------------------------------------------------------- the class


@dataclass(frozen=True, repr=False, eq=False)
class Loss:
    """loss(y, ŷ) of equation (1.3) with what back-propagation needs of it.

    Parameters
    ----------
    name : str
        How printed equations and model files call it.
    value : callable ``value(t, yhat, xp, **params)``
        The summands, (N, M); their sum over a row is the loss of that sample.
    d : callable ``d(t, yhat, xp, **params)``
        ∂loss/∂ŷ, (N, H).
    d2 : callable ``d2(t, yhat, xp, **params)``, optional
        ∂²loss/∂ŷ_h², (N, H). Only curvature and the proof of loss″ need it.
    params : mapping, optional
        Parameters that are passed to all functions by name.
    encode : callable ``encode(y, H, dtype, xp, **params)``, optional
        Turns y into t of that dtype; by default (N,) becomes (N, 1).
    check : callable ``check(y, H, name, **params)``, optional
        Raises ValueError where y is outside the loss's domain; by default compares shapes.
    closed : mapping of activation name to ClosedForm, optional
        Stable forms for known output activations.
    outputs_per_target : int, default=1
        How many network outputs describe one column of y.
    information : callable ``information(yhat, xp, **params)``, optional
        E ∂²loss/∂ŷ_h², (N, H), for y drawn from the model: the diagonal of the Fisher information
        in ŷ. By default ``d2(ŷ, ŷ)``, which it is where loss″ is linear in y. Only K-FAC needs it.

    Examples
    --------
    >>> import deltaprop as dp
    >>> fourth = dp.Loss("fourth_power",
    ...                  lambda t, yhat, xp: (yhat - t) ** 4,
    ...                  lambda t, yhat, xp: 4 * (yhat - t) ** 3)
    >>> dp.Network(1, [dp.Dense(1)], loss=fourth).loss([[0.0]], [2.0])
    16.0
    """

    name: str
    value: LossFunction
    d: LossFunction
    d2: LossFunction | None = None
    params: Any = ()
    encode: LossFunction = as_numbers
    check: Callable[..., None] = check_numbers
    closed: Any = ()
    outputs_per_target: int = 1
    information: LossFunction | None = None

    def __post_init__(self) -> None:
        if not (isinstance(self.name, str) and self.name):
            raise InputError(f"Loss: name must be a non-empty str, got {self.name!r}.")
        if self.name in _FACTORIES and not self.is_ours:  # files and collapsed forms go by name
            raise InputError(
                f"Loss: name {self.name!r} is taken by a built-in; choose another name."
            )
        for part in ("value", "d"):
            if not callable(getattr(self, part)):
                raise InputTypeError(f"Loss {self.name!r}: {part} must be callable.")
        for part in ("d2", "information"):
            function = getattr(self, part)
            if function is not None and not callable(function):
                raise InputTypeError(f"Loss {self.name!r}: {part} must be callable or None.")
        # Pairs instead of a dict keep the loss hashable, as compiled engines need it.
        if isinstance(self.params, Mapping):
            object.__setattr__(self, "params", tuple(self.params.items()))

    @property
    def settings(self) -> dict[str, Any]:
        """The parameters by name."""
        return dict(self.params)

    def target(self, y: Num[Array, "N ..."], H: int, like: Array, xp: ModuleType) -> Values:
        """t: the target in the shape that the loss works with, in the dtype of `like`."""
        return self.encode(y, H, like.dtype, xp, **self.settings)

    def evaluate(self, t: Float[Array, "N K"], yhat: Float[Array, "N H"], xp: ModuleType) -> Values:
        """The summands of equation (1.3)."""
        return self.value(t, yhat, xp, **self.settings)

    def first(self, t: Float[Array, "N K"], yhat: Float[Array, "N H"], xp: ModuleType) -> Values:
        """∂loss/∂ŷ, the factor loss′ of equation (1.8)."""
        return self.d(t, yhat, xp, **self.settings)

    def second(self, t: Float[Array, "N K"], yhat: Float[Array, "N H"], xp: ModuleType) -> Values:
        """∂²loss/∂ŷ_h² for each output."""
        if self.d2 is None:
            raise InputError(f"Loss {self.name!r} was given without d2, its second derivative.")
        return self.d2(t, yhat, xp, **self.settings)

    def fisher(self, yhat: Float[Array, "N H"], xp: ModuleType) -> Values:
        """E ∂²loss/∂ŷ_h² for y drawn from the model."""
        if self.information is not None:
            return self.information(yhat, xp, **self.settings)
        return self.second(yhat, yhat, xp)

    def closed_form(self, activation: str) -> ClosedForm | None:
        """The stable form for an output activation of that name, where there is one."""
        return dict(self.closed).get(activation)

    def __repr__(self) -> str:
        settings = "".join(f", {k}={v!r}" for k, v in self.params)
        return f"Loss({self.name!r}{settings})"

    @property
    def is_ours(self) -> bool:
        """Whether name and parameters say all: the loss is not the user's own."""
        return self.name in _FACTORIES and getattr(self.value, "__module__", "") == __name__

    def _identity(self) -> tuple[Any, ...]:
        functions = () if self.is_ours else (self.value, self.d, self.d2, self.information)
        return (self.name, self.params, *functions)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Loss) and self._identity() == other._identity()

    def __hash__(self) -> int:
        return hash(self._identity())

    def __reduce__(self) -> Any:
        if self.is_ours:  # by name, so that models pickle
            return _rebuild, (self.name, self.settings)
        return _rebuild_own, (self.__dict__,)


def _rebuild(name: str, settings: dict[str, Any]) -> Loss:
    return get(name, **settings)


def _rebuild_own(state: dict[str, Any]) -> Loss:
    return Loss(**state)


# ---------------------------------------------------------------- numbers


def SquaredError() -> Loss:
    """½ (ŷ - y)².

    Examples
    --------
    >>> import numpy as np
    >>> from deltaprop import losses
    >>> y, yhat = np.array([[1.0]]), np.array([[3.0]])
    >>> losses.get("squared_error").evaluate(y, yhat, np).round(3)
    array([[2.]])
    """
    return Loss(
        "squared_error",
        lambda t, yhat, xp: 0.5 * (yhat - t) ** 2,
        lambda t, yhat, xp: yhat - t,
        lambda t, yhat, xp: xp.ones_like(yhat),
    )


def AbsoluteError() -> Loss:
    """|ŷ - y|.

    Examples
    --------
    >>> import numpy as np
    >>> from deltaprop import losses
    >>> y, yhat = np.array([[1.0]]), np.array([[3.0]])
    >>> losses.get("absolute_error").evaluate(y, yhat, np).round(3)
    array([[2.]])
    """
    return Loss(
        "absolute_error",
        lambda t, yhat, xp: absolute(yhat - t, xp),
        lambda t, yhat, xp: xp.sign(yhat - t),
        lambda t, yhat, xp: xp.zeros_like(yhat),
        information=lambda yhat, xp: xp.ones_like(yhat),  # the kink's, under Laplace noise
    )


def _huber(t: Values, yhat: Values, xp: ModuleType, delta: float) -> Values:
    r = absolute(yhat - t, xp)
    return where_positive(r - delta, delta * (r - 0.5 * delta), 0.5 * r * r, xp)


def _huber_d(t: Values, yhat: Values, xp: ModuleType, delta: float) -> Values:
    return xp.clip(yhat - t, -delta, delta)


def _huber_d2(t: Values, yhat: Values, xp: ModuleType, delta: float) -> Values:
    return xp.astype(xp.abs(yhat - t) <= delta, yhat.dtype)


def Huber(delta: float = 1.0) -> Loss:
    """½ r² for |r| ≤ delta, delta (|r| - ½ delta) beyond; r = ŷ - y. Huber (1964).

    Examples
    --------
    >>> import numpy as np
    >>> from deltaprop import losses
    >>> y, yhat = np.array([[1.0]]), np.array([[3.0]])
    >>> losses.get("huber", delta=1.0).evaluate(y, yhat, np).round(3)
    array([[1.5]])
    """
    if not _is_number(delta) or delta <= 0:
        raise InputError(f"delta of the Huber loss must be a number > 0, got {delta!r}.")
    return Loss("huber", _huber, _huber_d, _huber_d2, {"delta": float(delta)})


def _levels(yhat: Values, quantiles: tuple[float, ...], xp: ModuleType) -> Values:
    """The level of each output column: targets are the outer index, levels the inner one."""
    return xp.asarray(quantiles * (yhat.shape[-1] // len(quantiles)), dtype=yhat.dtype)[None, :]


def _pinball(t: Values, yhat: Values, xp: ModuleType, quantiles: tuple[float, ...]) -> Values:
    r, q = t - yhat, _levels(real(yhat, xp), quantiles, xp)
    return where_positive(r, q * r, (q - 1) * r, xp)


def _pinball_d(t: Values, yhat: Values, xp: ModuleType, quantiles: tuple[float, ...]) -> Values:
    q = _levels(yhat, quantiles, xp)
    return xp.where(t > yhat, -q, xp.where(t < yhat, 1 - q, xp.zeros_like(q)))


def _repeat_levels(
    y: Target, H: int, dtype: Any, xp: ModuleType, quantiles: tuple[float, ...]
) -> Values:
    columns = as_numbers(y, H, dtype, xp)
    N, K = columns.shape
    return xp.reshape(
        xp.broadcast_to(columns[:, :, None], (N, K, len(quantiles))), (N, K * len(quantiles))
    )


def _check_levels(y: Target, H: int, name: str, quantiles: tuple[float, ...]) -> None:
    columns = 1 if y.ndim == 1 else y.shape[1]
    if columns * len(quantiles) != H:
        raise InputError(
            f"y has {columns} column(s) and the loss {len(quantiles)} quantile(s), which needs "
            f"{columns * len(quantiles)} outputs; the network has {H}."
        )


def _pinball_information(yhat: Values, xp: ModuleType, quantiles: tuple[float, ...]) -> Values:
    q = _levels(yhat, quantiles, xp)  # the kink's, under asymmetric Laplace noise
    return q * (1 - q) * xp.ones_like(yhat)


def Quantile(quantiles: float | tuple[float, ...] = 0.5) -> Loss:
    """max(q r, (q - 1) r), r = y - ŷ, for each level q. Koenker and Bassett (1978).

    With Q levels each column k of y has the Q outputs k Q … k Q + Q - 1.

    Examples
    --------
    >>> import numpy as np
    >>> from deltaprop import losses
    >>> y, yhat = np.array([[1.0]]), np.array([[3.0]])
    >>> losses.get("quantile", quantiles=0.9).evaluate(y, yhat, np).round(3)
    array([[0.2]])
    """
    levels: tuple[Any, ...] = tuple(np.atleast_1d(quantiles).tolist())
    if not levels or not all(_is_number(q) and 0 < q < 1 for q in levels):
        raise InputError(
            f"quantiles must be one or more numbers strictly between 0 and 1, got {quantiles!r}."
        )
    return Loss(
        "quantile",
        _pinball,
        _pinball_d,
        lambda t, yhat, xp, quantiles: xp.zeros_like(yhat),
        {"quantiles": tuple(float(q) for q in levels)},
        encode=_repeat_levels,
        check=_check_levels,
        outputs_per_target=len(levels),
        information=_pinball_information,
    )


def _log_cosh(t: Values, yhat: Values, xp: ModuleType) -> Values:
    r = absolute(yhat - t, xp)
    return r + xp.log1p(xp.exp(-2 * r)) - np.log(2.0).item()


def LogCosh() -> Loss:
    """log cosh(ŷ - y).

    Examples
    --------
    >>> import numpy as np
    >>> from deltaprop import losses
    >>> y, yhat = np.array([[1.0]]), np.array([[1.0]])
    >>> losses.get("log_cosh").evaluate(y, yhat, np).round(3)
    array([[0.]])
    """
    return Loss(
        "log_cosh",
        _log_cosh,
        lambda t, yhat, xp: xp.tanh(yhat - t),
        lambda t, yhat, xp: 1 - xp.tanh(yhat - t) ** 2,
    )


# ---------------------------------------------------------------- counts and amounts


def _y_log_y(t: Values, xp: ModuleType) -> Values:
    return t * xp.log(floored(t, xp))


def _poisson(t: Values, yhat: Values, xp: ModuleType) -> Values:
    return _y_log_y(t, xp) - t * xp.log(floored(yhat, xp)) - t + yhat


def Poisson() -> Loss:
    """y log(y / ŷ) - y + ŷ: half the Poisson deviance, y ≥ 0, ŷ > 0.

    Examples
    --------
    >>> import numpy as np
    >>> from deltaprop import losses
    >>> y, yhat = np.array([[2.0]]), np.array([[2.0]])
    >>> losses.get("poisson").evaluate(y, yhat, np).round(3)
    array([[0.]])
    """
    return Loss(
        "poisson",
        _poisson,
        lambda t, yhat, xp: 1 - t / floored(yhat, xp),
        lambda t, yhat, xp: t / floored(yhat, xp) / floored(yhat, xp),
        check=check_at_least,
        closed={
            "exp": ClosedForm(
                lambda t, a, z, xp: _y_log_y(t, xp) - t * a - t + z,
                lambda t, a, z, xp: z - t,
            )
        },
    )


def _check_positive(y: Target, H: int, name: str, **params: Any) -> None:
    check_at_least(y, H, name, strictly=True)


def Gamma() -> Loss:
    """log(ŷ / y) + y / ŷ - 1: half the gamma deviance, y > 0, ŷ > 0.

    Examples
    --------
    >>> import numpy as np
    >>> from deltaprop import losses
    >>> y, yhat = np.array([[2.0]]), np.array([[2.0]])
    >>> losses.get("gamma").evaluate(y, yhat, np).round(3)
    array([[0.]])
    """
    return Loss(
        "gamma",
        lambda t, yhat, xp: xp.log(floored(yhat, xp)) - xp.log(t) + t / floored(yhat, xp) - 1,
        lambda t, yhat, xp: (1 - t / floored(yhat, xp)) / floored(yhat, xp),
        lambda t, yhat, xp: (2 * t / floored(yhat, xp) - 1) / floored(yhat, xp) / floored(yhat, xp),
        check=_check_positive,
        closed={
            "exp": ClosedForm(
                lambda t, a, z, xp: a - xp.log(t) + t * xp.exp(-a) - 1,
                lambda t, a, z, xp: 1 - t * xp.exp(-a),
            )
        },
    )


def _tweedie_constant(t: Values, xp: ModuleType, p: float) -> Values:
    base = floored(t, xp) if p > 2 else t
    return base ** (2 - p) / ((1 - p) * (2 - p))


def _tweedie(t: Values, yhat: Values, xp: ModuleType, power: float) -> Values:
    p, mu = power, floored(yhat, xp)
    return _tweedie_constant(t, xp, p) - t * mu ** (1 - p) / (1 - p) + mu ** (2 - p) / (2 - p)


def _tweedie_d(t: Values, yhat: Values, xp: ModuleType, power: float) -> Values:
    mu = floored(yhat, xp)
    return mu ** (1 - power) - t * mu ** (-power)


def _tweedie_d2(t: Values, yhat: Values, xp: ModuleType, power: float) -> Values:
    mu = floored(yhat, xp)
    return (1 - power) * mu ** (-power) + power * t * mu ** (-power - 1)


def _tweedie_of_a(t: Values, a: Values, z: Values, xp: ModuleType, power: float) -> Values:
    p = power
    return (
        _tweedie_constant(t, xp, p)
        - t * xp.exp((1 - p) * a) / (1 - p)
        + xp.exp((2 - p) * a) / (2 - p)
    )


def _tweedie_delta(t: Values, a: Values, z: Values, xp: ModuleType, power: float) -> Values:
    return xp.exp((2 - power) * a) - t * xp.exp((1 - power) * a)


def _check_tweedie(y: Target, H: int, name: str, power: float) -> None:
    check_at_least(y, H, name, strictly=power > 2)


def Tweedie(power: float = 1.5) -> Loss:
    """y^{2-p}/((1-p)(2-p)) - y ŷ^{1-p}/(1-p) + ŷ^{2-p}/(2-p): half the Tweedie deviance, ŷ > 0.

    Examples
    --------
    >>> import numpy as np
    >>> from deltaprop import losses
    >>> y, yhat = np.array([[4.0]]), np.array([[1.0]])
    >>> losses.get("tweedie", power=1.5).evaluate(y, yhat, np).round(3)
    array([[2.]])
    """
    if not _is_number(power) or power <= 1 or power == 2:
        raise InputError(
            f"power of the Tweedie loss must be a number > 1 other than 2, got {power!r}. Powers "
            "0, 1 and 2 are the losses 'squared_error', 'poisson' and 'gamma'."
        )
    return Loss(
        "tweedie",
        _tweedie,
        _tweedie_d,
        _tweedie_d2,
        {"power": float(power)},
        check=_check_tweedie,
        closed={"exp": ClosedForm(_tweedie_of_a, _tweedie_delta)},
    )


# ---------------------------------------------------------------- mean and variance


def _halves(x: Values) -> tuple[Values, Values]:
    K = x.shape[-1] // 2
    return x[:, :K], x[:, K:]


def _gaussian_nll(t: Values, yhat: Values, xp: ModuleType) -> Values:
    mu, v = _halves(yhat)
    v = floored(v, xp)
    return 0.5 * (xp.log(v) + (t - mu) ** 2 / v)


def _gaussian_nll_d(t: Values, yhat: Values, xp: ModuleType) -> Values:
    mu, v = _halves(yhat)
    v = floored(v, xp)
    return xp.concat([(mu - t) / v, 0.5 * (1 - (t - mu) ** 2 / v) / v], axis=-1)


def _gaussian_nll_d2(t: Values, yhat: Values, xp: ModuleType) -> Values:
    mu, v = _halves(yhat)
    v = floored(v, xp)
    return xp.concat([1 / v, ((t - mu) ** 2 / v - 0.5) / v / v], axis=-1)


def _gaussian_nll_information(yhat: Values, xp: ModuleType) -> Values:
    v = floored(_halves(yhat)[1], xp)
    return xp.concat([1 / v, 0.5 / v / v], axis=-1)  # E (y - μ)² = v


def _gaussian_nll_of_a(t: Values, a: Values, z: Values, xp: ModuleType) -> Values:
    mu, log_v = _halves(a)
    return 0.5 * (log_v + (t - mu) ** 2 * xp.exp(-log_v))


def _gaussian_nll_delta(t: Values, a: Values, z: Values, xp: ModuleType) -> Values:
    mu, log_v = _halves(a)
    precision = xp.exp(-log_v)
    return xp.concat([(mu - t) * precision, 0.5 * (1 - (t - mu) ** 2 * precision)], axis=-1)


def _check_gaussian(y: Target, H: int, name: str, **params: Any) -> None:
    columns = 1 if y.ndim == 1 else y.shape[1]
    if 2 * columns != H:
        raise InputError(
            f"y has {columns} column(s); loss {name!r} needs a mean and a variance for each, so "
            f"{2 * columns} outputs, but the network has {H}."
        )


def GaussianNLL() -> Loss:
    """½ (log v + (y - μ)² / v), ŷ = (μ | v). Nix and Weigend (1994).

    Examples
    --------
    >>> import numpy as np
    >>> from deltaprop import losses
    >>> y, yhat = np.array([[2.0]]), np.array([[0.0, 1.0]])
    >>> losses.get("gaussian_nll").evaluate(y, yhat, np).round(3)
    array([[2.]])
    """
    return Loss(
        "gaussian_nll",
        _gaussian_nll,
        _gaussian_nll_d,
        _gaussian_nll_d2,
        check=_check_gaussian,
        closed={"mean_variance": ClosedForm(_gaussian_nll_of_a, _gaussian_nll_delta)},
        outputs_per_target=2,
        information=_gaussian_nll_information,
    )


# ---------------------------------------------------------------- classes


def _smoothed_binary(
    y: Target, H: int, dtype: Any, xp: ModuleType, label_smoothing: float, class_weight: Any
) -> Values:
    return as_numbers(y, H, dtype, xp) * (1 - label_smoothing) + label_smoothing / 2


def _pair(t: Values, class_weight: tuple[float, float]) -> tuple[Values, Values]:
    """Weights of log p and of log(1 - p)."""
    negative, positive = class_weight
    return positive * t, negative * (1 - t)


def _bce(
    t: Values, yhat: Values, xp: ModuleType, label_smoothing: float, class_weight: Any
) -> Values:
    u, v = _pair(t, class_weight)
    return -(u * xp.log(floored(yhat, xp)) + v * xp.log(floored(1 - yhat, xp)))


def _bce_d(
    t: Values, yhat: Values, xp: ModuleType, label_smoothing: float, class_weight: Any
) -> Values:
    u, v = _pair(t, class_weight)
    return v / floored(1 - yhat, xp) - u / floored(yhat, xp)


def _bce_d2(
    t: Values, yhat: Values, xp: ModuleType, label_smoothing: float, class_weight: Any
) -> Values:
    u, v = _pair(t, class_weight)
    return v / floored(1 - yhat, xp) / floored(1 - yhat, xp) + u / floored(yhat, xp) / floored(
        yhat, xp
    )


def _bce_of_a(
    t: Values, a: Values, z: Values, xp: ModuleType, label_smoothing: float, class_weight: Any
) -> Values:
    u, v = _pair(t, class_weight)
    return u * softplus(-a, xp) + v * softplus(a, xp)


def _bce_delta(
    t: Values, a: Values, z: Values, xp: ModuleType, label_smoothing: float, class_weight: Any
) -> Values:
    u, v = _pair(t, class_weight)
    return v * z - u * expit(-a, xp)


def BinaryCrossEntropy(
    label_smoothing: float = 0.0, class_weight: tuple[float, float] | None = None
) -> Loss:
    """-(w₁ y log p + w₀ (1 - y) log(1 - p)) for each output: two classes, or many labels.

    Smoothing by ε replaces y by y (1 - ε) + ε / 2.

    Examples
    --------
    >>> import numpy as np
    >>> from deltaprop import losses
    >>> y, yhat = np.array([[1.0]]), np.array([[0.5]])
    >>> losses.get("binary_cross_entropy").evaluate(y, yhat, np).round(3)
    array([[0.693]])
    """
    weights = _class_weights(class_weight) or (1.0, 1.0)
    if len(weights) != 2:
        raise InputError(
            "class_weight of the binary cross-entropy must hold two weights, of class 0 and of "
            f"class 1; got {class_weight!r}."
        )
    return Loss(
        "binary_cross_entropy",
        _bce,
        _bce_d,
        _bce_d2,
        {"label_smoothing": _smoothing(label_smoothing), "class_weight": weights},
        encode=_smoothed_binary,
        check=check_probabilities,
        closed={"logistic": ClosedForm(_bce_of_a, _bce_delta)},
    )


def _smoothed_classes(
    y: Target, H: int, dtype: Any, xp: ModuleType, label_smoothing: float, class_weight: Any
) -> Values:
    t = as_indicators(y, H, dtype, xp) * (1 - label_smoothing) + label_smoothing / H
    if class_weight:
        t = t * xp.asarray(class_weight, dtype=t.dtype)[None, :]
    return t


def _check_weighted_classes(y: Target, H: int, name: str, **params: Any) -> None:
    weights = params["class_weight"]
    if weights and len(weights) != H:
        raise InputError(
            f"class_weight holds {len(weights)} weight(s), but the network has {H} output(s)."
        )
    check_indicators(y, H, name)


def _cross_entropy(
    t: Values, yhat: Values, xp: ModuleType, label_smoothing: float, class_weight: Any
) -> Values:
    return -t * xp.log(floored(yhat, xp))


def _cross_entropy_d(
    t: Values, yhat: Values, xp: ModuleType, label_smoothing: float, class_weight: Any
) -> Values:
    return -t / floored(yhat, xp)


def _cross_entropy_information(
    yhat: Values, xp: ModuleType, label_smoothing: float, class_weight: Any
) -> Values:
    information = 1 / floored(yhat, xp)
    if class_weight:  # which `encode` puts into t
        information = information * xp.asarray(class_weight, dtype=yhat.dtype)[None, :]
    return information


def CrossEntropy(
    label_smoothing: float = 0.0, class_weight: tuple[float, ...] | None = None
) -> Loss:
    """-Σ_h w_h y_h log p_h: one of H classes, hard or soft labels.

    Smoothing by ε replaces y by y (1 - ε) + ε / H. Szegedy et al. (2016).

    Examples
    --------
    >>> import numpy as np
    >>> from deltaprop import losses
    >>> y, yhat = np.array([[1.0, 0.0]]), np.array([[0.5, 0.5]])
    >>> losses.get("cross_entropy").evaluate(y, yhat, np).round(3)
    array([[0.693, 0.   ]])
    """
    return Loss(
        "cross_entropy",
        _cross_entropy,
        _cross_entropy_d,
        lambda t, yhat, xp, **_: t / floored(yhat, xp) / floored(yhat, xp),
        {
            "label_smoothing": _smoothing(label_smoothing),
            "class_weight": _class_weights(class_weight),
        },
        encode=_smoothed_classes,
        check=_check_weighted_classes,
        closed={
            "softmax": ClosedForm(
                lambda t, a, z, xp, **_: t * (log_sum_exp(a, xp) - a),
                lambda t, a, z, xp, **_: z * xp.sum(t, axis=-1, keepdims=True) - t,
            )
        },
        information=_cross_entropy_information,
    )


def _power(base: Values, exponent: float, xp: ModuleType) -> Values:
    if exponent < 0:  # 0 to a negative power: kept finite
        eps = xp.finfo(base.dtype).eps
        base = where_positive(base - eps, base, xp.full_like(base, eps), xp)
    return base**exponent


def _focal_term(p: Values, xp: ModuleType, gamma: float) -> Values:
    return -_power(1 - p, gamma, xp) * xp.log(floored(p, xp))


def _focal_term_d(p: Values, xp: ModuleType, gamma: float) -> Values:
    p = floored(p, xp)
    return gamma * _power(1 - p, gamma - 1, xp) * xp.log(p) - _power(1 - p, gamma, xp) / p


def _focal_term_d2(p: Values, xp: ModuleType, gamma: float) -> Values:
    p = floored(p, xp)
    return (
        -gamma * (gamma - 1) * _power(1 - p, gamma - 2, xp) * xp.log(p)
        + 2 * gamma * _power(1 - p, gamma - 1, xp) / p
        + _power(1 - p, gamma, xp) / p / p
    )


def _focal(t: Values, yhat: Values, xp: ModuleType, gamma: float) -> Values:
    value = t * _focal_term(yhat, xp, gamma)
    if yhat.shape[-1] == 1:
        value = value + (1 - t) * _focal_term(1 - yhat, xp, gamma)
    return value


def _focal_d(t: Values, yhat: Values, xp: ModuleType, gamma: float) -> Values:
    value = t * _focal_term_d(yhat, xp, gamma)
    if yhat.shape[-1] == 1:
        value = value - (1 - t) * _focal_term_d(1 - yhat, xp, gamma)
    return value


def _focal_d2(t: Values, yhat: Values, xp: ModuleType, gamma: float) -> Values:
    value = t * _focal_term_d2(yhat, xp, gamma)
    if yhat.shape[-1] == 1:
        value = value + (1 - t) * _focal_term_d2(1 - yhat, xp, gamma)
    return value


def _focal_softmax(t: Values, a: Values, z: Values, xp: ModuleType, gamma: float) -> Values:
    if z.shape[-1] == 1:
        return _focal(t, z, xp, gamma)
    return t * _power(1 - z, gamma, xp) * (log_sum_exp(a, xp) - a)


def _focal_softmax_delta(t: Values, a: Values, z: Values, xp: ModuleType, gamma: float) -> Values:
    if z.shape[-1] == 1:  # a softmax over one class is constant
        return xp.zeros_like(z)
    log_p = a - log_sum_exp(a, xp)
    q = t * (gamma * _power(1 - z, gamma - 1, xp) * z * log_p - _power(1 - z, gamma, xp))
    return q - z * xp.sum(q, axis=-1, keepdims=True)


def _focal_logistic(t: Values, a: Values, z: Values, xp: ModuleType, gamma: float) -> Values:
    value = t * _power(expit(-a, xp), gamma, xp) * softplus(-a, xp)
    if z.shape[-1] == 1:
        value = value + (1 - t) * _power(z, gamma, xp) * softplus(a, xp)
    return value


def _focal_logistic_delta(t: Values, a: Values, z: Values, xp: ModuleType, gamma: float) -> Values:
    q = expit(-a, xp)
    delta = -t * _power(q, gamma, xp) * (gamma * z * softplus(-a, xp) + q)
    if z.shape[-1] == 1:
        delta = delta + (1 - t) * _power(z, gamma, xp) * (gamma * q * softplus(a, xp) + z)
    return delta


def _as_classes(y: Target, H: int, dtype: Any, xp: ModuleType, **params: Any) -> Values:
    return (as_numbers if H == 1 else as_indicators)(y, H, dtype, xp)


def _check_classes(y: Target, H: int, name: str, **params: Any) -> None:
    (check_probabilities if H == 1 else check_indicators)(y, H, name)


def Focal(gamma: float = 2.0) -> Loss:
    """-Σ_h y_h (1 - p_h)^γ log p_h; with one output, both classes of it. Lin et al. (2017).

    Examples
    --------
    >>> import numpy as np
    >>> from deltaprop import losses
    >>> y, yhat = np.array([[1.0, 0.0]]), np.array([[0.5, 0.5]])
    >>> losses.get("focal", gamma=2.0).evaluate(y, yhat, np).round(3)
    array([[0.173, 0.   ]])
    """
    if not _is_number(gamma) or gamma < 0:
        raise InputError(f"gamma of the focal loss must be a number >= 0, got {gamma!r}.")
    return Loss(
        "focal",
        _focal,
        _focal_d,
        _focal_d2,
        {"gamma": float(gamma)},
        encode=_as_classes,
        check=_check_classes,
        closed={
            "softmax": ClosedForm(_focal_softmax, _focal_softmax_delta),
            "logistic": ClosedForm(_focal_logistic, _focal_logistic_delta),
        },
    )


def _as_signs(y: Target, H: int, dtype: Any, xp: ModuleType, **params: Any) -> Values:
    return 2 * xp.astype(_as_classes(y, H, dtype, xp) > 0, dtype) - 1


def Hinge() -> Loss:
    """max(0, 1 - y ŷ), y = ±1: for each output, one class against the rest.

    Examples
    --------
    >>> import numpy as np
    >>> from deltaprop import losses
    >>> y, yhat = np.array([[-1.0]]), np.array([[0.5]])
    >>> losses.get("hinge").evaluate(y, yhat, np).round(3)
    array([[1.5]])
    """
    return Loss(
        "hinge",
        lambda t, yhat, xp: where_positive(1 - t * yhat, 1 - t * yhat, xp.zeros_like(yhat), xp),
        lambda t, yhat, xp: xp.where(t * yhat < 1, -t, xp.zeros_like(t)),
        lambda t, yhat, xp: xp.zeros_like(yhat),
        encode=_as_signs,
        check=check_signs,
    )


# ---------------------------------------------------------------- by name


def _is_number(x: Any) -> bool:
    return isinstance(x, (int, float, np.number)) and not isinstance(x, bool) and np.isfinite(x)


def _smoothing(label_smoothing: float) -> float:
    if not _is_number(label_smoothing) or not 0 <= label_smoothing < 1:
        raise InputError(f"label_smoothing must be a number in [0, 1), got {label_smoothing!r}.")
    return float(label_smoothing)


def _class_weights(class_weight: Any) -> tuple[float, ...] | None:
    if class_weight is None:
        return None
    weights = tuple(class_weight)
    if not weights or not all(_is_number(w) and w >= 0 for w in weights):
        raise InputError(
            "class_weight must be a sequence of numbers >= 0, one for each class, or None; "
            f"got {class_weight!r}."
        )
    return tuple(float(w) for w in weights)


_FACTORIES: dict[str, Callable[..., Loss]] = {
    "squared_error": SquaredError,
    "absolute_error": AbsoluteError,
    "huber": Huber,
    "quantile": Quantile,
    "log_cosh": LogCosh,
    "poisson": Poisson,
    "gamma": Gamma,
    "tweedie": Tweedie,
    "gaussian_nll": GaussianNLL,
    "binary_cross_entropy": BinaryCrossEntropy,
    "cross_entropy": CrossEntropy,
    "focal": Focal,
    "hinge": Hinge,
}
NAMES = tuple(_FACTORIES)


def get(loss: str | Loss, **params: Any) -> Loss:
    """The loss of that name with its parameters; a :class:`Loss` is returned as it is.

    Parameters
    ----------
    loss : str or Loss
        One of ``deltaprop.losses.NAMES``, or the user's own.
    **params
        Parameters of the named loss, such as ``delta`` of ``"huber"``.

    Raises
    ------
    ValueError
        If there is no loss of that name, or a parameter is out of its range.
    TypeError
        If `loss` is neither a name nor a :class:`Loss`, or does not take a parameter.

    Examples
    --------
    >>> from deltaprop import losses
    >>> losses.get("quantile", quantiles=(0.1, 0.9))
    Loss('quantile', quantiles=(0.1, 0.9))
    """
    if isinstance(loss, Loss):
        return loss
    if not isinstance(loss, str):
        raise InputTypeError(
            f"loss must be a name or a deltaprop.Loss, got {loss!r} of type "
            f"{type(loss).__name__}. For your own function write deltaprop.Loss(name, value, d)."
        )
    if loss not in _FACTORIES:
        near = get_close_matches(loss, NAMES, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise InputError(f"loss must be one of {', '.join(NAMES)}; got {loss!r}.{hint}")
    return _FACTORIES[loss](**params)
