r"""Activations f with f′ and f″: defined once and used by every engine.

An :class:`Activation` holds plain functions of the pre-activation a and of z = f(a), written for
any array namespace `xp`. The derivatives take z so that they can reuse what the forward pass has
computed: for tanh, f′ = 1 - z².

===============  ==============================================  ================================
activation       f(a)                                            f′(a)
===============  ==============================================  ================================
`identity`       a                                               1
`relu`           max(0, a)                                       1{a > 0}
`leaky_relu`     a if a > 0, else 0.01 a                         1 if a > 0, else 0.01
`elu`            a if a > 0, else exp(a) - 1                     1 if a > 0, else z + 1
`selu`           β a if a > 0, else α β (exp(a) - 1)             β if a > 0, else z + α β
`gelu`           a Φ(a), Φ the standard normal distribution      Φ(a) + a φ(a)
`gelu_tanh`      ½ a (1 + tanh u), u = √(2/π) (a + 0.044715 a³)  ½ (1 + tanh u + a sech²(u) u′)
`silu`           a σ(a)                                          σ(a) + z (1 - σ(a))
`mish`           a τ, τ = tanh(softplus(a))                      τ + a σ(a) (1 - τ²)
`softplus`       log(1 + exp(a))                                 σ(a)
`logistic`       σ(a) = 1 / (1 + exp(-a))                        z (1 - z)
`tanh`           tanh(a)                                         1 - z²
`cos`            cos(a)                                          -sin(a)
`exp`            exp(a)                                          z
`softmax`        exp(a_h) / Σ_k exp(a_k)                         z_h (1{h = k} - z_k)
`mean_variance`  a in the first half, exp(a) in the second       1 in the first half, z
===============  ==============================================  ================================

Elementwise activations enter back-propagation as f′(a) ⊙ g, equation (1.8). Softmax couples the
columns of a row, so its f′ is a Jacobian; `pull_back` handles both cases.

To add a built-in activation, pass it to `_register` below.

Examples
--------
>>> import numpy as np
>>> import deltaprop as dp
>>> tanh = dp.activations.get("tanh")
>>> float(tanh.f(np.zeros(1), np)[0])
0.0
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal

from deltaprop.errors import InputError, InputTypeError
from deltaprop.functions.arrays import Array, erf, expit, real, softplus, where_positive
from deltaprop.functions.checks import require_callables
from deltaprop.functions.kernels import ActivationKernel, Normalized, TwoHalves

if TYPE_CHECKING:
    from jaxtyping import Float

    Values = Float[Array, "N H"]
    Function = Callable[[Values, ModuleType], Values]
    Derivative = Callable[[Values, Values, ModuleType], Values]


SQRT_2 = math.sqrt(2)
PDF_0 = 1 / math.sqrt(2 * math.pi)
GELU_TANH_SCALE, GELU_TANH_CUBE = math.sqrt(2 / math.pi), 0.044715
SELU_SCALE = 1.0507009873554804934193349852946
SELU_ALPHA = 1.6732632423543772848170429916717


@dataclass(frozen=True)
class Activation:
    """X_{l+1} = f(a_l), equation (1.1), and what back-propagation needs of f.

    Parameters
    ----------
    name : str
        The name in printed equations and model files.
    f : callable ``f(a, xp)``
        The activation of a, (N, H); `xp` is the array namespace (``numpy``, ``jax.numpy``, ...).
    df : callable ``df(a, z, xp)``
        f′(a), given z = f(a).
    d2f : callable ``d2f(a, z, xp)``, optional
        f″(a). Only curvature and the verification of f″ need it.
    coupling : {"elementwise", "row"}, default="elementwise"
        "elementwise" if ∂f_h/∂a_k = 0 for h ≠ k. With "row", `df` returns the Jacobian (N, H, H)
        and `d2f` the second derivatives (N, H, H, H).
    vjp : callable ``vjp(a, z, g, xp)``, optional
        Σ_h g_h ∂f_h/∂a in closed form. By default df ⊙ g, or the product with the Jacobian.
    kernel : kernel form, optional
        How compiled engines compute f if it is not the same scalar function for each entry
        (see `functions.kernels`). Without it, a compiled engine cannot run coupling "row".
    diagonal : callable ``diagonal(a, z, xp)``, optional
        ∂f_h/∂a_h, (N, H). By default df, or the diagonal of the Jacobian.

    Raises
    ------
    ValueError
        If the name is empty or that of a built-in activation.
    TypeError
        If a function is not callable.

    Examples
    --------
    >>> import deltaprop as dp
    >>> sine = dp.Activation("sine", lambda a, xp: xp.sin(a), lambda a, z, xp: xp.cos(a))
    >>> net = dp.Network(2, [dp.Dense(3, sine), dp.Dense(1)], loss="squared_error")
    >>> net.check([[0.1, 0.2]], [1.0]).ok
    True
    """

    name: str
    f: Function
    df: Derivative
    d2f: Derivative | None = None
    coupling: Literal["elementwise", "row"] = "elementwise"
    vjp: Callable[[Values, Values, Values, ModuleType], Values] | None = None
    kernel: ActivationKernel | None = None
    diagonal: Derivative | None = None

    def __post_init__(self) -> None:
        if not (isinstance(self.name, str) and self.name):
            raise InputError(f"Activation: name must be a non-empty str, got {self.name!r}.")
        if self.name in _builtin:  # files store built-ins by their name
            raise InputError(
                f"Activation: name {self.name!r} is taken by a built-in; choose another name."
            )
        required: dict[str, object] = {"f": self.f, "df": self.df}
        optional: dict[str, object] = {
            "d2f": self.d2f, "vjp": self.vjp, "diagonal": self.diagonal,
        }  # fmt: skip
        require_callables(f"Activation {self.name!r}", required, optional)

    @property
    def is_builtin(self) -> bool:
        """Whether this is a built-in activation, which its name describes completely."""
        return _builtin.get(self.name) is self

    def slopes(
        self, a: Float[Array, "N H"], z: Float[Array, "N H"], xp: ModuleType
    ) -> Float[Array, "N H"]:
        """∂f_h/∂a_h of each entry: f′, or the diagonal of the Jacobian."""
        if self.diagonal is not None:
            return self.diagonal(a, z, xp)
        slopes = self.df(a, z, xp)
        if self.coupling == "elementwise":
            return xp.broadcast_to(slopes, a.shape)
        return xp.sum(slopes * _identity_matrix(z, xp), axis=2)

    def pull_back(
        self,
        a: Float[Array, "N H"],
        z: Float[Array, "N H"],
        g: Float[Array, "N H"],
        xp: ModuleType,
    ) -> Float[Array, "N H"]:
        """∂L/∂a from g = ∂L/∂z: the multiplication by f′ in equations (1.8) and (1.9)."""
        if self.vjp is not None:
            return self.vjp(a, z, g, xp)
        if self.coupling == "elementwise":
            return self.df(a, z, xp) * g
        return xp.sum(g[:, :, None] * self.df(a, z, xp), axis=1)

    def __repr__(self) -> str:
        return f"Activation({self.name!r})"

    def __reduce__(self) -> Any:
        if self.is_builtin:
            return get, (self.name,)
        return type(self), (
            self.name, self.f, self.df, self.d2f, self.coupling, self.vjp, self.kernel,
            self.diagonal,
        )  # fmt: skip


def mixed(f: Activation, alpha: Float[Array, " H"]) -> Activation:
    """a ↦ a + α ⊙ (f(a) - a), the trainable activation; its derivative is 1 + α ⊙ (f′ - 1).

    It moves between the identity (α = 0) and f (α = 1), unit by unit, and may leave that range.

    Examples
    --------
    >>> import numpy as np
    >>> from deltaprop.functions.activations import get, mixed
    >>> halfway = mixed(get("relu"), np.array([0.5, 0.5]))
    >>> halfway.f(np.array([[2.0, -2.0]]), np)
    array([[ 2., -1.]])
    """

    def value(a: Values, xp: ModuleType) -> Values:
        return a + alpha * (f.f(a, xp) - a)

    def pulled_back(a: Values, z: Values, g: Values, xp: ModuleType) -> Values:
        return g - alpha * g + f.pull_back(a, f.f(a, xp), alpha * g, xp)

    def slopes(a: Values, z: Values, xp: ModuleType) -> Values:
        return 1 + alpha * (f.slopes(a, f.f(a, xp), xp) - 1)

    name = f"trainable {f.name}"
    return Activation(name, value, slopes, None, f.coupling, pulled_back, None, slopes)


_builtin: dict[str, Activation] = {}


def _register(activation: Activation, *aliases: str) -> None:
    """Register a built-in activation under its name and its aliases."""
    names = (activation.name, *aliases)
    _builtin.update(dict.fromkeys(names, activation))


# ---------------------------------------------------------------- polynomial and piecewise


def _identity(a: Values, xp: ModuleType) -> Values:
    return a


# A derivative that only reads z allows an engine to overwrite a with z.


def _ones(a: Values, z: Values, xp: ModuleType) -> Values:
    return xp.ones_like(z)


def _zeros(a: Values, z: Values, xp: ModuleType) -> Values:
    return xp.zeros_like(z)


def _step(z: Values, slope: float, xp: ModuleType) -> Values:
    """f′ of max(a, slope · a); z has the sign of a."""
    return where_positive(z, xp.ones_like(z), xp.full_like(z, slope), xp)


def _elu(alpha: float, scale: float, name: str) -> Activation:
    """scale · a for a > 0, scale · alpha (exp(a) - 1) otherwise."""

    def negative(a: Values, xp: ModuleType) -> Values:
        return where_positive(a, xp.zeros_like(a), a, xp)  # exp of a large a would overflow

    def f(a: Values, xp: ModuleType) -> Values:
        return where_positive(a, scale * a, scale * alpha * xp.expm1(negative(a, xp)), xp)

    def df(a: Values, z: Values, xp: ModuleType) -> Values:
        return where_positive(z, xp.full_like(z, scale), z + scale * alpha, xp)

    def d2f(a: Values, z: Values, xp: ModuleType) -> Values:
        return where_positive(z, xp.zeros_like(z), z + scale * alpha, xp)

    return Activation(name, f, df, d2f)


# ---------------------------------------------------------------- smooth


def _logistic_d2(a: Values, z: Values, xp: ModuleType) -> Values:
    return z * (1 - z) * (1 - 2 * z)


def _tanh_d2(a: Values, z: Values, xp: ModuleType) -> Values:
    return -2 * z * (1 - z * z)


def _silu_d1(a: Values, z: Values, xp: ModuleType) -> Values:
    s = expit(a, xp)
    return s + z * (1 - s)


def _silu_d2(a: Values, z: Values, xp: ModuleType) -> Values:
    s = expit(a, xp)
    return s * (1 - s) * (2 + a * (1 - 2 * s))


def _mish(a: Values, xp: ModuleType) -> Values:
    return a * xp.tanh(softplus(a, xp))


def _mish_d1(a: Values, z: Values, xp: ModuleType) -> Values:
    t, s = xp.tanh(softplus(a, xp)), expit(a, xp)
    return t + a * s * (1 - t * t)


def _mish_d2(a: Values, z: Values, xp: ModuleType) -> Values:
    t, s = xp.tanh(softplus(a, xp)), expit(a, xp)
    return s * (1 - t * t) * (2 + a * (1 - s - 2 * t * s))


def _gaussian(a: Values, xp: ModuleType) -> Values:
    return PDF_0 * xp.exp(-0.5 * a * a)


def _gaussian_cdf(a: Values, xp: ModuleType) -> Values:
    return 0.5 * (1 + erf(a / SQRT_2, xp))


def _gelu_tanh_inner(a: Values) -> tuple[Values, Values, Values]:
    """u = √(2/π)(a + 0.044715 a³) with u′ and u″."""
    c, k = GELU_TANH_SCALE, GELU_TANH_CUBE
    return c * (a + k * a * a * a), c * (1 + 3 * k * a * a), 6 * c * k * a


def _gelu_tanh(a: Values, xp: ModuleType) -> Values:
    u, _, _ = _gelu_tanh_inner(a)
    return 0.5 * a * (1 + xp.tanh(u))


def _gelu_tanh_d1(a: Values, z: Values, xp: ModuleType) -> Values:
    u, du, _ = _gelu_tanh_inner(a)
    t = xp.tanh(u)
    return 0.5 * (1 + t) + 0.5 * a * (1 - t * t) * du


def _gelu_tanh_d2(a: Values, z: Values, xp: ModuleType) -> Values:
    u, du, d2u = _gelu_tanh_inner(a)
    t = xp.tanh(u)
    return (1 - t * t) * (du + 0.5 * a * (d2u - 2 * t * du * du))


# ---------------------------------------------------------------- coupled within a row


def _softmax(a: Values, xp: ModuleType) -> Values:
    e = xp.exp(a - xp.max(real(a, xp), axis=-1, keepdims=True))
    return e / xp.sum(e, axis=-1, keepdims=True)


def _identity_matrix(z: Values, xp: ModuleType) -> Float[Array, "H H"]:
    return xp.eye(z.shape[-1], dtype=z.dtype)


def _softmax_d1(a: Values, z: Values, xp: ModuleType) -> Float[Array, "N H H"]:
    """∂z_h/∂a_k = z_h (1{h=k} - z_k), an (N, H, H) array."""
    return z[:, :, None] * (_identity_matrix(z, xp)[None] - z[:, None, :])


def _softmax_d2(a: Values, z: Values, xp: ModuleType) -> Float[Array, "N H H H"]:
    """∂²z_h/∂a_k∂a_m, an (N, H, H, H) array."""
    centred = _identity_matrix(z, xp)[None] - z[:, None, :]  # [n, h, k] = 1{h=k} - z_k
    jacobian = _softmax_d1(a, z, xp)
    return (
        z[:, :, None, None] * centred[:, :, :, None] * centred[:, :, None, :]
        - z[:, :, None, None] * jacobian[:, None, :, :]
    )


def _softmax_vjp(a: Values, z: Values, g: Values, xp: ModuleType) -> Values:
    return z * (g - xp.sum(g * z, axis=-1, keepdims=True))


def _in_halves(first: Function, second: Function) -> Function:
    def apply(a: Values, xp: ModuleType) -> Values:
        K = a.shape[-1] // 2
        return xp.concat([first(a[:, :K], xp), second(a[:, K:], xp)], axis=-1)

    return apply


def _exp(a: Values, xp: ModuleType) -> Values:
    return xp.exp(a)


def _exp_d(a: Values, z: Values, xp: ModuleType) -> Values:
    return z


# ---------------------------------------------------------------- built-in activations by name


_register(Activation("identity", _identity, _ones, _zeros))
_register(
    Activation(
        "relu",
        lambda a, xp: where_positive(a, a, xp.zeros_like(a), xp),
        lambda a, z, xp: _step(z, 0.0, xp),
        _zeros,
    )
)
_register(
    Activation(
        "leaky_relu",
        lambda a, xp: where_positive(a, a, 0.01 * a, xp),
        lambda a, z, xp: _step(z, 0.01, xp),
        _zeros,
    )
)
_register(_elu(1.0, 1.0, "elu"))
_register(_elu(SELU_ALPHA, SELU_SCALE, "selu"))
_register(
    Activation(
        "gelu",
        lambda a, xp: a * _gaussian_cdf(a, xp),
        lambda a, z, xp: _gaussian_cdf(a, xp) + a * _gaussian(a, xp),
        lambda a, z, xp: _gaussian(a, xp) * (2 - a * a),
    )
)
_register(Activation("gelu_tanh", _gelu_tanh, _gelu_tanh_d1, _gelu_tanh_d2))
_register(Activation("silu", lambda a, xp: a * expit(a, xp), _silu_d1, _silu_d2))
_register(Activation("mish", _mish, _mish_d1, _mish_d2))
_register(
    Activation(
        "softplus",
        softplus,
        lambda a, z, xp: expit(a, xp),
        lambda a, z, xp: expit(a, xp) * expit(-a, xp),
    )
)
_register(Activation("logistic", expit, lambda a, z, xp: z * (1 - z), _logistic_d2), "sigmoid")
_register(Activation("tanh", lambda a, xp: xp.tanh(a), lambda a, z, xp: 1 - z * z, _tanh_d2))
_register(
    Activation(
        "cos",
        lambda a, xp: xp.cos(a),
        lambda a, z, xp: -xp.sin(a),
        lambda a, z, xp: -z,
    )
)
_register(Activation("exp", _exp, _exp_d, _exp_d))
_register(
    Activation(
        "softmax",
        _softmax,
        _softmax_d1,
        _softmax_d2,
        "row",
        _softmax_vjp,
        kernel=Normalized(_exp, lambda z, g, inner, xp: z * (g - inner)),
        diagonal=lambda a, z, xp: z * (1 - z),
    )
)
# The outputs of a Gaussian of unknown variance: means, then variances.
_register(
    Activation(
        "mean_variance",
        _in_halves(_identity, _exp),
        lambda a, z, xp: _in_halves(lambda h, xp: xp.ones_like(h), _exp)(a, xp),
        lambda a, z, xp: _in_halves(lambda h, xp: xp.zeros_like(h), _exp)(a, xp),
        kernel=TwoHalves((_identity, _exp), (_ones, _exp_d)),
    )
)

NAMES = tuple(_builtin)
"""The names of all built-in activations and their aliases."""


def get(activation: str | Activation) -> Activation:
    """Return the built-in activation of that name; an :class:`Activation` is returned unchanged.

    Parameters
    ----------
    activation : str or Activation
        One of ``deltaprop.activations.NAMES``, or a custom activation.

    Returns
    -------
    Activation

    Raises
    ------
    ValueError
        If there is no activation of that name.
    TypeError
        If `activation` is neither a name nor an :class:`Activation`.

    Examples
    --------
    >>> from deltaprop import activations
    >>> activations.get("sigmoid")
    Activation('logistic')
    """
    if isinstance(activation, Activation):
        return activation
    if not isinstance(activation, str):
        raise InputTypeError(
            f"activation must be a name or a deltaprop.Activation, got {activation!r} of type "
            f"{type(activation).__name__}. For a custom function write "
            "deltaprop.Activation(name, f, df)."
        )
    if activation not in _builtin:
        near = get_close_matches(activation, NAMES, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise InputError(f"activation must be one of {', '.join(NAMES)}; got {activation!r}.{hint}")
    return _builtin[activation]
