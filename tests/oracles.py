"""Reference gradients of networks, from the definition of L(W, b).

The oracle does not use δ: it computes L(W, b), and JAX, PyTorch or a complex step differentiates
it. Activations come from `jax.nn` and `torch.nn.functional` if these have them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.special
import torch
import torch.nn.functional as F

import deltaprop as dp

jax.config.update("jax_enable_x64", True)

SELU_SCALE, SELU_ALPHA = 1.0507009873554804934, 1.6732632423543772848


@dataclass(frozen=True)
class Problem:
    """A network with its weights and data: everything that L depends on."""

    activations: tuple[str, ...]
    W: tuple[np.ndarray, ...]
    b: tuple[np.ndarray, ...]
    X: np.ndarray
    y: np.ndarray
    loss: str
    params: dict[str, Any] = field(default_factory=dict)
    l2: float = 0.0
    reduction: str = "sum"
    sample_weight: np.ndarray | None = None

    def network(self, dtype: str = "float64") -> dp.Network:
        """Return the package's network with these weights."""
        layers = [dp.Dense(W.shape[1], f) for W, f in zip(self.W, self.activations, strict=True)]
        net = dp.Network(
            self.X.shape[1],
            layers,
            loss=dp.losses.get(self.loss, **self.params),
            l2=self.l2,
            reduction=self.reduction,
            dtype=dtype,
        )
        for mine, theirs in zip(self.W + self.b, net.W + net.b, strict=True):
            theirs[...] = mine
        return net

    @property
    def data(self) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        """The arguments of `trace`, `loss` and `gradient`."""
        return self.X, self.y, self.sample_weight

    def with_(self, **changes: Any) -> Problem:
        """Return the problem with some fields changed."""
        return replace(self, **changes)


# ---------------------------------------------------------------- three namespaces


def _positive(x: np.ndarray) -> np.ndarray:
    return x.real > 0


def _complex_softmax(a: np.ndarray) -> np.ndarray:
    e = np.exp(a - a.real.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def _complex_elu(a: np.ndarray, alpha: float = 1.0, scale: float = 1.0) -> np.ndarray:
    return scale * np.where(_positive(a), a, alpha * np.expm1(np.where(_positive(a), 0, a)))


NUMPY = SimpleNamespace(
    asarray=lambda x: np.asarray(x, dtype=float),
    log=np.log,
    exp=np.exp,
    where=np.where,
    real=np.real,
    cosh=np.cosh,
    concat=lambda parts: np.concatenate(parts, axis=1),
    activations={
        "identity": lambda a: a,
        "relu": lambda a: np.where(_positive(a), a, 0),
        "leaky_relu": lambda a: np.where(_positive(a), a, 0.01 * a),
        "elu": _complex_elu,
        "selu": lambda a: _complex_elu(a, SELU_ALPHA, SELU_SCALE),
        "gelu": lambda a: a * (1 + scipy.special.erf(a / np.sqrt(2))) / 2,
        "gelu_tanh": lambda a: a * (1 + np.tanh(np.sqrt(2 / np.pi) * (a + 0.044715 * a**3))) / 2,
        "silu": lambda a: a / (1 + np.exp(-a)),
        "mish": lambda a: a * np.tanh(np.log(1 + np.exp(a))),
        "softplus": lambda a: np.log(1 + np.exp(a)),
        "logistic": lambda a: 1 / (1 + np.exp(-a)),
        "tanh": np.tanh,
        "cos": np.cos,
        "exp": np.exp,
        "softmax": _complex_softmax,
    },
)
JAX = SimpleNamespace(
    asarray=lambda x: jnp.asarray(x, dtype=jnp.float64),
    log=jnp.log,
    exp=jnp.exp,
    where=jnp.where,
    real=lambda x: x,
    cosh=jnp.cosh,
    concat=lambda parts: jnp.concatenate(parts, axis=1),
    activations={
        "identity": lambda a: a,
        "relu": jax.nn.relu,
        "leaky_relu": jax.nn.leaky_relu,
        "elu": jax.nn.elu,
        "selu": jax.nn.selu,
        "gelu": lambda a: jax.nn.gelu(a, approximate=False),
        "gelu_tanh": lambda a: jax.nn.gelu(a, approximate=True),
        "silu": jax.nn.silu,
        "mish": jax.nn.mish,
        "softplus": jax.nn.softplus,
        "logistic": jax.nn.sigmoid,
        "tanh": jnp.tanh,
        "cos": jnp.cos,
        "exp": jnp.exp,
        "softmax": jax.nn.softmax,
    },
)
TORCH = SimpleNamespace(
    asarray=lambda x: torch.tensor(np.array(x, dtype=float, order="C")),
    log=torch.log,
    exp=torch.exp,
    where=torch.where,
    real=lambda x: x,
    cosh=torch.cosh,
    concat=lambda parts: torch.cat(parts, dim=1),
    activations={
        "identity": lambda a: a,
        "relu": F.relu,
        "leaky_relu": F.leaky_relu,
        "elu": F.elu,
        "selu": F.selu,
        "gelu": F.gelu,
        "gelu_tanh": lambda a: F.gelu(a, approximate="tanh"),
        "silu": F.silu,
        "mish": F.mish,
        "softplus": F.softplus,
        "logistic": torch.sigmoid,
        "tanh": torch.tanh,
        "cos": torch.cos,
        "exp": torch.exp,
        "softmax": lambda a: F.softmax(a, dim=1),
    },
)


def activate(name: str, a: Any, m: SimpleNamespace) -> Any:
    """f(a)."""
    if name == "mean_variance":
        K = a.shape[1] // 2
        return m.concat([a[:, :K], m.exp(a[:, K:])])
    return m.activations["logistic" if name == "sigmoid" else name](a)


# ---------------------------------------------------------------- losses, by definition


def _absolute(r: Any, m: SimpleNamespace) -> Any:
    return m.where(m.real(r) > 0, r, -r)


def _huber(t: Any, z: Any, m: SimpleNamespace, delta: float = 1.0) -> Any:
    r = _absolute(z - t, m)
    return m.where(m.real(r) > delta, delta * (r - delta / 2), r**2 / 2)


def _quantile(t: Any, z: Any, m: SimpleNamespace, quantiles: tuple[float, ...]) -> Any:
    q = m.asarray(np.tile(quantiles, z.shape[1] // len(quantiles)))
    return m.where(m.real(t - z) > 0, q * (t - z), (1 - q) * (z - t))


def _tweedie(t: Any, z: Any, m: SimpleNamespace, power: float = 1.5) -> Any:
    p = power
    return t ** (2 - p) / (1 - p) / (2 - p) - t * z ** (1 - p) / (1 - p) + z ** (2 - p) / (2 - p)


def _gaussian_nll(t: Any, z: Any, m: SimpleNamespace) -> Any:
    K = z.shape[1] // 2
    mu, v = z[:, :K], z[:, K:]
    return (m.log(v) + (t - mu) ** 2 / v) / 2


def _binary(t: Any, p: Any, m: SimpleNamespace, class_weight: Any = None, **_: Any) -> Any:
    w0, w1 = class_weight or (1.0, 1.0)
    return -(w1 * t * m.log(p) + w0 * (1 - t) * m.log(1 - p))


def _focal(t: Any, p: Any, m: SimpleNamespace, gamma: float = 2.0) -> Any:
    value = -t * (1 - p) ** gamma * m.log(p)
    return value - (1 - t) * p**gamma * m.log(1 - p) if p.shape[1] == 1 else value


def _xlogy(t: np.ndarray) -> np.ndarray:
    return scipy.special.xlogy(t, t)


LOSSES: dict[str, Callable[..., Any]] = {
    "squared_error": lambda t, z, m: (z - t) ** 2 / 2,
    "absolute_error": lambda t, z, m: _absolute(z - t, m),
    "huber": _huber,
    "quantile": _quantile,
    "log_cosh": lambda t, z, m: m.log(m.cosh(z - t)),
    # t log t does not depend on the network; NumPy computes it for all three.
    "poisson": lambda t, z, m: m.asarray(_xlogy(np.asarray(t))) - t * m.log(z) - t + z,
    "gamma": lambda t, z, m: m.log(z / t) + t / z - 1,
    "tweedie": _tweedie,
    "gaussian_nll": _gaussian_nll,
    "binary_cross_entropy": _binary,
    "cross_entropy": lambda t, p, m, **_: -t * m.log(p),
    "focal": _focal,
    "hinge": lambda t, z, m: m.where(m.real(t * z) < 1, 1 - t * z, 0 * z),
}


def encode(problem: Problem) -> np.ndarray:
    """Return the target as the formulas use it."""
    y, H = np.asarray(problem.y), problem.W[-1].shape[1]
    loss, params = problem.loss, problem.params
    eps = params.get("label_smoothing", 0.0)
    classes = loss == "cross_entropy" or (loss in ("focal", "hinge") and H > 1)
    t = np.eye(H)[y.astype(int)] if y.ndim == 1 and classes else y.reshape(len(y), -1)
    t = t.astype(float)
    if loss == "quantile":
        return np.repeat(t, len(params["quantiles"]), axis=1)
    if loss == "binary_cross_entropy":
        return t * (1 - eps) + eps / 2
    if loss == "cross_entropy":
        return (t * (1 - eps) + eps / H) * np.asarray(params.get("class_weight") or np.ones(H))
    if loss == "hinge":
        return np.where(t > 0, 1.0, -1.0)
    return t


# ---------------------------------------------------------------- L and its derivative


def objective(W: Any, b: Any, problem: Problem, m: SimpleNamespace) -> Any:
    """Return L(W, b): data term, L2 penalty and reduction."""
    z = m.asarray(problem.X)
    for l, name in enumerate(problem.activations):
        z = activate(name, z @ W[l] + b[l], m)
    w = np.ones(len(problem.X)) if problem.sample_weight is None else problem.sample_weight
    summands = LOSSES[problem.loss](m.asarray(encode(problem)), z, m, **problem.params)
    data = (m.asarray(w)[:, None] * summands).sum()
    penalty = problem.l2 / 2 * sum((W_l**2).sum() for W_l in W)
    if problem.reduction == "sum":
        return data + penalty
    if problem.reduction == "mean":
        return data / w.sum() + penalty
    return (data + penalty) / w.sum()


def value(problem: Problem) -> float:
    """Return L."""
    return float(objective(problem.W, problem.b, problem, NUMPY))


def complex_step(problem: Problem, h: float = 1e-30) -> list[np.ndarray]:
    """Return ∂L/∂W_l, then ∂L/∂b_l, as Im L(θ + ih) / h, which is exact to rounding."""
    parameters = [p.astype(complex) for p in problem.W + problem.b]
    W, b = parameters[: len(problem.W)], parameters[len(problem.W) :]
    blocks = []
    for block in parameters:
        gradient = np.empty(block.shape)
        for index in np.ndindex(block.shape):
            block[index] += 1j * h
            gradient[index] = objective(W, b, problem, NUMPY).imag / h
            block[index] = block[index].real
        blocks.append(gradient)
    return blocks


def jax_gradient(problem: Problem) -> list[np.ndarray]:
    """Return the blocks of ∂L/∂θ by `jax.grad`."""
    W, b = ([jnp.asarray(p) for p in ps] for ps in (problem.W, problem.b))
    dW, db = jax.grad(objective, argnums=(0, 1))(W, b, problem, JAX)
    return [np.asarray(g) for g in dW + db]


def torch_gradient(problem: Problem) -> list[np.ndarray]:
    """Return the blocks of ∂L/∂θ by PyTorch's autograd."""
    W, b = ([TORCH.asarray(p).requires_grad_() for p in ps] for ps in (problem.W, problem.b))
    gradients = torch.autograd.grad(objective(W, b, problem, TORCH), W + b, materialize_grads=True)
    return [g.numpy() for g in gradients]


def magnitudes(problem: Problem) -> list[np.ndarray]:
    """Return the blocks of the gradient with every summand replaced by its modulus.

    The rounding error of a sum is proportional to this. Where summands cancel (the Jacobian of
    softmax times a constant vector is 0, for example), relative errors refer to it.
    """
    h, L = 1e-30, len(problem.W)
    X, a = [problem.X.astype(float)], []
    for l, name in enumerate(problem.activations):
        a.append(X[l] @ problem.W[l] + problem.b[l])
        X.append(activate(name, a[l], NUMPY))
    w = np.ones(len(problem.X)) if problem.sample_weight is None else problem.sample_weight
    t = encode(problem)

    def columns(f: Callable[[np.ndarray], np.ndarray], at: np.ndarray) -> np.ndarray:
        """|∂f_h/∂at_k|, shape (N, H, K), or (N, M, K) for a loss with M summands."""
        steps = 1j * h * np.eye(at.shape[1])
        return np.stack([np.abs(f(at + step).imag) / h for step in steps], axis=2)

    g = columns(lambda z: LOSSES[problem.loss](t, z, NUMPY, **problem.params), X[L]).sum(axis=1)
    scale = 1.0 if problem.reduction == "sum" else 1 / w.sum()
    penalty_scale = scale if problem.reduction == "sklearn" else 1.0
    g = g * w[:, None] * scale
    dW: list[np.ndarray] = []
    db: list[np.ndarray] = []
    for l in reversed(range(L)):
        name = problem.activations[l]
        if name == "softmax":  # its entries z_h (1{h=k} - z_k) are differences
            z = X[l + 1]
            jacobian = z[:, :, None] * (np.eye(z.shape[1]) + z[:, None, :])
        else:
            jacobian = columns(lambda v, name=name: activate(name, v, NUMPY), a[l])
        delta = np.einsum("nh,nhk->nk", g, jacobian)
        dW.insert(0, np.abs(X[l]).T @ delta + penalty_scale * problem.l2 * np.abs(problem.W[l]))
        db.insert(0, delta.sum(axis=0))
        g = delta @ np.abs(problem.W[l]).T
    return dW + db


def blocks_of(gradient: Any) -> list[np.ndarray]:
    """Return the package's gradient in the oracle's order."""
    return [np.asarray(g) for g in (*gradient.dW, *gradient.db)]


def disagreement(ours: list[np.ndarray], reference: list[np.ndarray], problem: Problem) -> float:
    """Return the largest norm-wise relative error of a block.

    Without cancellation this is ‖ours - reference‖ / ‖reference‖. Where summands of size m cancel
    to less than m / 100, the error is measured against m / 100.
    """
    worst = 0.0
    for g, r, m in zip(ours, reference, magnitudes(problem), strict=True):
        assert g.shape == r.shape
        scale = max(np.linalg.norm(r), 1e-2 * np.linalg.norm(m))
        error = np.linalg.norm(g - r)
        worst = max(worst, 0.0 if error == 0 else error / scale)
    return worst
