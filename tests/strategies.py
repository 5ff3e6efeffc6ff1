"""Random networks with valid data, on which the gradient is verified.

Hypothesis chooses the structure; numbers come from a seeded generator, and every layer's
pre-activations are moved into a range where the layer's function (at the output also the loss) is
defined and away from overflow.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

from .oracles import NUMPY, Problem, activate, encode

ACTIVATIONS = (
    "identity",
    "relu",
    "leaky_relu",
    "elu",
    "selu",
    "gelu",
    "gelu_tanh",
    "silu",
    "mish",
    "softplus",
    "logistic",
    "tanh",
    "cos",
    "exp",
    "softmax",
)
OUTPUT_ACTIVATIONS = (*ACTIVATIONS, "mean_variance")
LOSSES = (
    "squared_error",
    "absolute_error",
    "huber",
    "quantile",
    "log_cosh",
    "poisson",
    "gamma",
    "tweedie",
    "gaussian_nll",
    "binary_cross_entropy",
    "cross_entropy",
    "focal",
    "hinge",
)
REDUCTIONS = ("sum", "mean", "sklearn")
KINKED = ("relu", "leaky_relu", "selu")

ANYTHING = (-2.0, 2.0)
# Ranges of a for each f in which f(a) > 0, and in which 0 < f(a) < 1.
POSITIVE = (
    dict.fromkeys(ACTIVATIONS, (0.2, 2.0))
    | dict.fromkeys(("softplus", "logistic", "exp", "softmax"), ANYTHING)
    | {"cos": (-1.3, 1.3)}
)
BETWEEN_0_AND_1 = dict.fromkeys(ACTIVATIONS, (0.15, 0.85)) | {
    "softplus": (-2.0, 0.4),
    "cos": (0.6, 1.4),
    "exp": (-2.0, -0.1),
    "logistic": ANYTHING,
    "softmax": ANYTHING,
}


def range_of_a(activation: str, loss: str, h: int, H: int) -> tuple[float, float]:
    """Return the range of the pre-activation of output h in which the loss is defined."""
    first_half = h < H // 2
    if activation == "mean_variance":
        activation = "identity" if first_half else "exp"
    if loss in ("binary_cross_entropy", "focal"):
        return BETWEEN_0_AND_1[activation]
    if loss in ("poisson", "gamma", "tweedie", "cross_entropy"):
        return POSITIVE[activation]
    if loss == "gaussian_nll" and not first_half:
        return POSITIVE[activation]
    return ANYTHING


def outputs_allowed(activation: str, loss: str, params: dict[str, Any], H: int) -> bool:
    """Return whether the loss is defined for H outputs of this activation."""
    if H % 2 and (activation == "mean_variance" or loss == "gaussian_nll"):
        return False
    if loss == "quantile" and H % len(params["quantiles"]):
        return False
    if loss == "cross_entropy" and len(params.get("class_weight") or [0] * H) != H:
        return False
    # A softmax over one class is constantly 1, where log(1 - p) has no value.
    return not (activation == "softmax" and H == 1 and loss in ("focal", "binary_cross_entropy"))


def target(
    rng: np.random.Generator, loss: str, params: dict[str, Any], N: int, H: int, form: str
) -> np.ndarray:
    """Return a valid y; `form` is "hard" (indices, counts, 0/1) or "soft"."""
    if loss == "quantile":
        return rng.normal(size=(N, H // len(params["quantiles"])))
    if loss == "gaussian_nll":
        return rng.normal(size=(N, H // 2))
    if loss == "poisson":
        return rng.poisson(1.5, size=(N, H)).astype(float)
    if loss == "gamma" or (loss == "tweedie" and params.get("power", 1.5) > 2):
        return rng.gamma(2.0, 0.5, size=(N, H)) + 0.01
    if loss == "tweedie":
        return rng.gamma(2.0, 0.5, size=(N, H)) * rng.integers(0, 2, size=(N, H))
    if loss == "cross_entropy" or (loss == "focal" and H > 1):
        return rng.integers(0, H, N) if form == "hard" else rng.dirichlet(np.ones(H), N)
    if loss in ("binary_cross_entropy", "focal"):
        bits = rng.integers(0, 2, size=(N, H)).astype(float)
        return bits if form == "hard" else rng.uniform(size=(N, H))
    if loss == "hinge":
        if H > 1 and form == "hard":
            return rng.integers(0, H, N)
        return rng.choice([-1.0, 1.0] if form == "soft" else [0.0, 1.0], size=(N, H))
    return rng.normal(size=(N, H))


def make_problem(
    seed: int,
    activations: tuple[str, ...],
    units: tuple[int, ...],
    loss: str,
    *,
    N: int = 5,
    D: int = 3,
    params: dict[str, Any] | None = None,
    form: str = "hard",
    weighted: bool = False,
    l2: float = 0.0,
    reduction: str = "sum",
) -> Problem:
    """Return a network with random weights whose outputs lie in the domain of the loss."""
    rng = np.random.default_rng(seed)
    params = params or {}
    X = rng.normal(size=(N, D))
    z, W, b = X, [], []
    for l, (name, H) in enumerate(zip(activations, units, strict=True)):
        W_l = rng.normal(size=(z.shape[1], H))
        b_l = np.empty(H)
        for h in range(H):
            last = l == len(units) - 1
            low, high = range_of_a(name, loss, h, H) if last else ANYTHING
            a = z @ W_l[:, h]
            spread = np.ptp(a)
            W_l[:, h] *= min(1.0, 0.9 * (high - low) / spread) if spread > 0 else 1.0
            a = z @ W_l[:, h]
            b_l[h] = rng.uniform(low - a.min(), high - a.max())
        W.append(W_l)
        b.append(b_l)
        z = activate(name, z @ W_l + b_l, NUMPY)
    y = target(rng, loss, params, N, units[-1], form)
    w = rng.uniform(0.1, 3.0, N) if weighted else None
    return Problem(activations, tuple(W), tuple(b), X, y, loss, params, l2, reduction, w)


def distance_to_kink(problem: Problem) -> float:
    """Return the distance of the nearest a, residual or margin from a point without derivative."""
    z, nearest = problem.X, np.inf
    for l, name in enumerate(problem.activations):
        a = z @ problem.W[l] + problem.b[l]
        if name in KINKED:
            nearest = min(nearest, np.abs(a).min())
        z = activate(name, a, NUMPY)
    t = encode(problem)
    if problem.loss in ("absolute_error", "quantile"):
        nearest = min(nearest, np.abs(z - t).min())
    if problem.loss == "huber":
        delta = problem.params.get("delta", 1.0)
        nearest = min(nearest, np.abs(np.abs(z - t) - delta).min())
    if problem.loss == "hinge":
        nearest = min(nearest, np.abs(1 - t * z).min())
    return float(nearest)


@st.composite
def loss_params(draw: st.DrawFn, loss: str, H: int) -> dict[str, Any]:
    """Draw parameters of the loss, including its defaults."""
    if loss == "huber":
        return draw(st.sampled_from([{}, {"delta": 0.3}, {"delta": 2.5}]))
    if loss == "quantile":
        return {"quantiles": draw(st.sampled_from([(0.5,), (0.1,), (0.1, 0.9), (0.05, 0.5, 0.8)]))}
    if loss == "tweedie":
        return draw(st.sampled_from([{}, {"power": 1.1}, {"power": 1.9}, {"power": 3.0}]))
    if loss == "focal":
        return draw(st.sampled_from([{}, {"gamma": 0.0}, {"gamma": 0.5}, {"gamma": 1.0}]))
    if loss in ("binary_cross_entropy", "cross_entropy"):
        params: dict[str, Any] = {}
        if draw(st.booleans()):
            params["label_smoothing"] = draw(st.sampled_from([0.0, 0.1, 0.4]))
        if draw(st.booleans()):
            K = 2 if loss == "binary_cross_entropy" else H
            params["class_weight"] = tuple(0.5 + 0.75 * k for k in range(K))
        return params
    return {}


@st.composite
def problems(
    draw: st.DrawFn, max_hidden: int = 5, max_width: int = 4, max_samples: int = 5
) -> Problem:
    """Draw problems with any activations and losses, 0 to 5 hidden layers, widths and N from 1."""
    loss = draw(st.sampled_from(LOSSES))
    depth = draw(st.integers(0, max_hidden))
    widths = st.integers(1, max_width)
    hidden = tuple(draw(widths) for _ in range(depth))
    names = tuple(draw(st.sampled_from(ACTIVATIONS)) for _ in range(depth))
    last = draw(st.sampled_from(OUTPUT_ACTIVATIONS))
    H = draw(widths)
    params = draw(loss_params(loss, H))
    if not outputs_allowed(last, loss, params, H):
        H *= 2 * len(params.get("quantiles", (0,)))
        if "class_weight" in params and loss == "cross_entropy":
            params["class_weight"] = params["class_weight"] * 2
    return make_problem(
        draw(st.integers(0, 2**32 - 1)),
        (*names, last),
        (*hidden, H),
        loss,
        N=draw(st.integers(1, max_samples)),
        D=draw(widths),
        params=params,
        form=draw(st.sampled_from(["hard", "soft"])),
        weighted=draw(st.booleans()),
        l2=draw(st.sampled_from([0.0, 0.7])),
        reduction=draw(st.sampled_from(REDUCTIONS)),
    )


def layouts(X: np.ndarray) -> dict[str, np.ndarray]:
    """Return copies of X in all memory layouts of NumPy."""
    N = len(X)
    double = np.zeros((2 * N, *(2 * n for n in X.shape[1:])), dtype=X.dtype)
    every_other = (slice(None, None, 2),) * X.ndim
    double[every_other] = X
    read_only = X.copy()
    read_only.flags.writeable = False
    backwards = (slice(None, None, -1),) * X.ndim
    return {
        "C": np.ascontiguousarray(X),
        "Fortran": np.asfortranarray(X),
        "strided": double[every_other],
        "negative strides": X[backwards].copy()[backwards],
        "read-only": read_only,
        "foreign byte order": X.astype(X.dtype.newbyteorder()),
    }
