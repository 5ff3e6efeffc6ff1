"""The gradient matches the complex step, JAX, PyTorch and the equations."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.sparse
import sklearn._loss.loss as sklearn_loss
import torch
import torch.nn.functional as F
from hypothesis import HealthCheck, assume, given, settings

import deltaprop as dp
from deltaprop import equations

from . import oracles
from .oracles import Problem, blocks_of, disagreement
from .strategies import (
    ACTIVATIONS,
    KINKED,
    LOSSES,
    OUTPUT_ACTIVATIONS,
    REDUCTIONS,
    distance_to_kink,
    layouts,
    make_problem,
    problems,
)

COMPLEX_STEP = 1e-12
AUTOGRAD = 1e-10
PARAMS: dict[str, dict[str, Any]] = {"quantile": {"quantiles": (0.1, 0.9)}}
PAIRS = [(f, loss) for f in OUTPUT_ACTIVATIONS for loss in LOSSES]

quick = settings(
    max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True
)
thorough = settings(max_examples=2000, deadline=None, suppress_health_check=list(HealthCheck))


def pair_problem(f: str, loss: str, **options: Any) -> Problem:
    """Return a network with one hidden layer, and f and loss at the output."""
    seed = 1000 * OUTPUT_ACTIVATIONS.index(f) + LOSSES.index(loss)
    hidden = ACTIVATIONS[seed % len(ACTIVATIONS)]
    options = {"weighted": True, "l2": 0.3, "params": PARAMS.get(loss)} | options
    problem = make_problem(seed, (hidden, f), (5, 4), loss, **options)
    assert distance_to_kink(problem) > 1e-6
    return problem


def away_from_kinks(problem: Problem) -> Problem:
    assume(distance_to_kink(problem) > 1e-6)
    return problem


def gradient_of(problem: Problem) -> list[np.ndarray]:
    return blocks_of(problem.network().gradient(*problem.data))


# ---------------------------------------------------------------- the oracle


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_oracle_activations_match_jax_and_pytorch(name: str) -> None:
    a = np.linspace(-3, 3, 24).reshape(4, 6)
    ours = dp.activations.get(name).f(a, np)
    assert ours == pytest.approx(np.asarray(oracles.activate(name, a, oracles.JAX)), rel=1e-13)
    reference = oracles.activate(name, torch.tensor(a), oracles.TORCH).numpy()
    assert ours == pytest.approx(reference, rel=1e-13)


def test_every_built_in_function_is_covered() -> None:
    assert set(dp.activations.NAMES) == {*OUTPUT_ACTIVATIONS, "sigmoid"}
    assert set(dp.losses.NAMES) == set(LOSSES)
    assert dp.activations.get("sigmoid") is dp.activations.get("logistic")


@pytest.mark.parametrize(
    ("loss", "params", "theirs"),
    [
        ("squared_error", {}, sklearn_loss.HalfSquaredError()),
        ("absolute_error", {}, sklearn_loss.AbsoluteError()),
        ("huber", {"delta": 0.7}, sklearn_loss.HuberLoss(delta=0.7)),
        ("quantile", {"quantiles": (0.3,)}, sklearn_loss.PinballLoss(quantile=0.3)),
        ("poisson", {}, sklearn_loss.HalfPoissonLoss()),
        ("gamma", {}, sklearn_loss.HalfGammaLoss()),
        ("tweedie", {"power": 1.5}, sklearn_loss.HalfTweedieLoss(power=1.5)),
    ],
)
def test_losses_match_scikit_learn_half_deviances(
    loss: str, params: dict[str, Any], theirs: Any
) -> None:
    rng = np.random.default_rng(0)
    y, a = rng.gamma(2, size=20), rng.normal(size=20)
    f = "exp" if loss in ("poisson", "gamma", "tweedie") else "identity"
    net = dp.Network(1, [dp.Dense(1, f)], loss=dp.losses.get(loss, **params))
    net.theta[:] = [1, 0]
    # scikit-learn omits the terms that do not depend on the prediction.
    expected = theirs.loss(y, a).sum() + theirs.constant_to_optimal_zero(y).sum()
    assert net.loss(a[:, None], y) == pytest.approx(expected, rel=1e-12)


def test_cross_entropies_match_pytorch() -> None:
    rng = np.random.default_rng(0)
    a, y = rng.normal(size=(20, 3)), rng.integers(0, 3, 20)
    bits, w = rng.integers(0, 2, (20, 3)).astype(float), (0.5, 2.0, 1.5)

    def ours(f: str, name: str, target: np.ndarray, **params: Any) -> float:
        net = dp.Network(3, [dp.Dense(3, f)], loss=dp.losses.get(name, **params))
        net.W[0][...], net.b[0][...] = np.eye(3), 0
        return net.loss(a, target)

    logits = torch.tensor(a)
    # PyTorch 2.13 smooths first and then applies the class weights, as the definition here.
    theirs = F.cross_entropy(
        logits, torch.tensor(y), torch.tensor(w).double(), label_smoothing=0.1, reduction="sum"
    )
    assert ours("softmax", "cross_entropy", y, label_smoothing=0.1, class_weight=w) == (
        pytest.approx(theirs.item(), rel=1e-12)
    )
    theirs = F.binary_cross_entropy_with_logits(logits, torch.tensor(bits), reduction="sum")
    assert ours("logistic", "binary_cross_entropy", bits) == pytest.approx(theirs.item(), rel=1e-12)


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("loss", LOSSES)
def test_loss_value(loss: str, weighted: bool, reduction: str) -> None:
    f = {"gaussian_nll": "mean_variance", "cross_entropy": "softmax", "poisson": "exp"}
    problem = pair_problem(f.get(loss, "logistic"), loss, weighted=weighted, reduction=reduction)
    value = problem.network().loss(*problem.data)
    assert isinstance(value, float)
    assert value == pytest.approx(oracles.value(problem), rel=1e-12)
    assert problem.network().trace(*problem.data).loss == pytest.approx(value, rel=1e-15)


# ---------------------------------------------------------------- complex step


@quick
@given(problems())
def test_gradient_matches_the_complex_step(problem: Problem) -> None:
    away_from_kinks(problem)
    reference = oracles.complex_step(problem)
    assert disagreement(gradient_of(problem), reference, problem) <= COMPLEX_STEP


@pytest.mark.slow
@thorough
@given(problems(max_width=7, max_samples=9))
def test_gradient_matches_the_complex_step_thoroughly(problem: Problem) -> None:
    away_from_kinks(problem)
    reference = oracles.complex_step(problem)
    # Among so many examples are some where the terms of f′ nearly cancel.
    assert disagreement(gradient_of(problem), reference, problem) <= 10 * COMPLEX_STEP
    assert disagreement(gradient_of(problem), oracles.torch_gradient(problem), problem) <= AUTOGRAD


@pytest.mark.parametrize(("f", "loss"), PAIRS)
def test_gradient_of_every_pair_matches_the_complex_step(f: str, loss: str) -> None:
    problem = pair_problem(f, loss)
    reference = oracles.complex_step(problem)
    assert disagreement(gradient_of(problem), reference, problem) <= COMPLEX_STEP


@pytest.mark.parametrize(("f", "loss"), PAIRS)
def test_package_loss_at_complex_parameters(f: str, loss: str) -> None:
    """The package's own functions accept complex θ: Im L(θ + ihv) / h = v · ∂L/∂θ."""
    problem = pair_problem(f, loss, weighted=False)
    net, h = problem.network(), 1e-30
    gradient = net.gradient(*problem.data)
    rng = np.random.default_rng(0)
    v = [rng.normal(size=g.shape) for g in (*gradient.dW, *gradient.db)]
    theta = [p + 1j * h * v_p for p, v_p in zip(net.W + net.b, v, strict=True)]
    W, b = theta[:2], theta[2:]
    X, a = equations.forward(problem.X, W, b, net.f)
    t = net.encode(problem.y)
    L = equations.loss(t, a[-1], X[-1], W, net.f[-1], net.loss_function, net.l2)
    expected = sum(np.vdot(g, v_p) for g, v_p in zip(blocks_of(gradient), v, strict=True))
    scale = sum(np.vdot(m, abs(v_p)) for m, v_p in zip(oracles.magnitudes(problem), v, strict=True))
    assert abs(L.imag / h - expected) <= 1e-14 * scale


# ---------------------------------------------------------------- JAX and PyTorch


@settings(quick, max_examples=300)
@given(problems())
def test_gradient_matches_pytorch(problem: Problem) -> None:
    away_from_kinks(problem)
    reference = oracles.torch_gradient(problem)
    assert disagreement(gradient_of(problem), reference, problem) <= AUTOGRAD


@settings(quick, max_examples=6)  # JAX compiles every new shape
@given(problems())
def test_gradient_matches_jax(problem: Problem) -> None:
    away_from_kinks(problem)
    reference = oracles.jax_gradient(problem)
    assert disagreement(gradient_of(problem), reference, problem) <= AUTOGRAD


@pytest.mark.parametrize(("f", "loss"), PAIRS)
def test_gradient_of_every_pair_matches_jax_and_pytorch(f: str, loss: str) -> None:
    reduction = REDUCTIONS[PAIRS.index((f, loss)) % 3]
    problem = pair_problem(f, loss, reduction=reduction)
    ours = gradient_of(problem)
    assert disagreement(ours, oracles.jax_gradient(problem), problem) <= AUTOGRAD
    assert disagreement(ours, oracles.torch_gradient(problem), problem) <= AUTOGRAD


@pytest.mark.parametrize("f", ACTIVATIONS)
def test_gradient_of_every_hidden_activation(f: str) -> None:
    problem = make_problem(5, (f, f, "tanh", f, "identity"), (4, 3, 3, 4, 2), "squared_error", N=6)
    assert distance_to_kink(problem) > 1e-6
    ours = gradient_of(problem)
    assert disagreement(ours, oracles.complex_step(problem), problem) <= COMPLEX_STEP
    assert disagreement(ours, oracles.jax_gradient(problem), problem) <= AUTOGRAD


@pytest.mark.parametrize("depth", range(6))
@pytest.mark.parametrize("l2", [0.0, 0.5])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_gradient_at_every_depth(depth: int, l2: float, weighted: bool, reduction: str) -> None:
    hidden = ("tanh", "softmax", "gelu", "softplus", "silu")[:depth]
    problem = make_problem(
        depth,
        (*hidden, "softmax"),
        (3,) * (depth + 1),
        "cross_entropy",
        l2=l2,
        weighted=weighted,
        reduction=reduction,
    )
    reference = oracles.complex_step(problem)
    assert disagreement(gradient_of(problem), reference, problem) <= COMPLEX_STEP


# ---------------------------------------------------------------- the smallest networks


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("depth", [0, 1, 3])
def test_one_sample_one_feature_one_unit(loss: str, depth: int) -> None:
    H = 2 if loss == "gaussian_nll" else 1
    f = "softmax" if loss == "cross_entropy" else "logistic"
    params = {"quantiles": (0.25,)} if loss == "quantile" else None
    problem = make_problem(
        3, (*("tanh",) * depth, f), (*(1,) * depth, H), loss, N=1, D=1, params=params
    )
    ours = problem.network().gradient(*problem.data)
    assert disagreement(blocks_of(ours), oracles.complex_step(problem), problem) <= COMPLEX_STEP
    assert ours.flat.shape == (2 * depth + 2 * H,)


# ---------------------------------------------------------------- the trace


@quick
@given(problems())
def test_trace_satisfies_the_derivation(problem: Problem) -> None:
    net = problem.network()
    trace = net.trace(*problem.data)
    N, L = len(problem.X), len(problem.W)
    D = [problem.X.shape[1], *(W.shape[1] for W in problem.W)]
    lengths = {len(quantity) for quantity in (trace.a, trace.delta, trace.dW, trace.db)}
    assert lengths == {L}
    assert [X.shape for X in trace.X] == [(N, d) for d in D]
    np.testing.assert_array_equal(trace.X[0], problem.X)
    w = np.ones(N) if problem.sample_weight is None else problem.sample_weight
    penalty = problem.l2 / (w.sum() if problem.reduction == "sklearn" else 1)
    for l in range(L):
        assert trace.a[l].shape == trace.delta[l].shape == (N, D[l + 1])
        assert trace.dW[l].shape == (D[l], D[l + 1])
        assert trace.db[l].shape == (D[l + 1],)
        close = {"rtol": 1e-12, "atol": 1e-13}
        f = net.layers[l].activation
        np.testing.assert_allclose(trace.a[l], trace.X[l] @ problem.W[l] + problem.b[l], **close)
        np.testing.assert_allclose(trace.X[l + 1], f.f(trace.a[l], np), **close)
        scale = np.abs(trace.X[l]).T @ np.abs(trace.delta[l]) + np.abs(problem.W[l])
        dW = trace.X[l].T @ trace.delta[l] + penalty * problem.W[l]
        assert (np.abs(trace.dW[l] - dW) <= 1e-14 * scale).all()
        np.testing.assert_allclose(
            trace.db[l], trace.delta[l].sum(axis=0), rtol=1e-12, atol=1e-14 * scale.max()
        )
        if l and problem.activations[l - 1] != "softmax":
            df = net.layers[l - 1].activation.df(trace.a[l - 1], trace.X[l], np)
            expected = df * (trace.delta[l] @ problem.W[l].T)
            np.testing.assert_allclose(trace.delta[l - 1], expected, **close)
    np.testing.assert_allclose(net.predict(problem.X), trace.X[-1], **close)
    gradient = net.gradient(*problem.data)
    for ours, theirs in zip(blocks_of(gradient), trace.dW + trace.db, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_delta_is_the_derivative_with_respect_to_a() -> None:
    """δ_l = ∂L/∂a_l, found by perturbing each b_l for one sample at a time."""
    problem = make_problem(0, ("tanh", "softmax", "exp"), (3, 4, 2), "poisson", N=1)
    trace = problem.network().trace(*problem.data)
    for l, db in enumerate(oracles.complex_step(problem)[3:]):
        np.testing.assert_allclose(trace.delta[l][0], db, rtol=1e-12)


def test_gradient_under_dropout_masks() -> None:
    """With masks given, dropout is one more factor: X_{l+1} = mask ⊙ f(a_l)."""
    problem = make_problem(0, ("tanh", "softmax", "gelu", "identity"), (5, 4, 3, 2), "huber", N=6)
    net, rng = problem.network(), np.random.default_rng(0)
    kept = [rng.choice([0.0, 1 / 0.7], size=(6, H)) for H in (5, 4, 3)]
    masks = [kept[0], None, kept[2], None]
    done = equations.forward_backward(
        problem.X, problem.y, net.W, net.b, net.f, net.loss_function, 0.0, 1.0, masks
    )
    W, b = ([torch.tensor(p, requires_grad=True) for p in ps] for ps in (net.W, net.b))
    z = torch.tensor(problem.X)
    for l, name in enumerate(problem.activations):
        z = oracles.activate(name, z @ W[l] + b[l], oracles.TORCH)
        z = z if masks[l] is None else z * torch.tensor(masks[l])
    L = F.huber_loss(z, torch.tensor(problem.y), reduction="sum")
    assert float(done.loss) == pytest.approx(L.item(), rel=1e-13)
    theirs = torch.autograd.grad(L, W + b)
    for ours, reference in zip(done.dW + done.db, theirs, strict=True):
        np.testing.assert_allclose(ours, reference.numpy(), rtol=1e-10, atol=1e-13)


# ---------------------------------------------------------------- reductions


def test_reductions_differ_by_the_documented_factors() -> None:
    problem = pair_problem("softmax", "cross_entropy", weighted=True, l2=0.7)
    assert problem.sample_weight is not None
    total = problem.sample_weight.sum()
    loss = {r: problem.with_(reduction=r).network().loss(*problem.data) for r in REDUCTIONS}
    gradient = {
        r: problem.with_(reduction=r).network().gradient(*problem.data).flat for r in REDUCTIONS
    }
    penalty = 0.35 * sum((W**2).sum() for W in problem.W)
    assert loss["sklearn"] == pytest.approx(loss["sum"] / total, rel=1e-13)
    assert loss["mean"] == pytest.approx((loss["sum"] - penalty) / total + penalty, rel=1e-13)
    np.testing.assert_allclose(gradient["sklearn"], gradient["sum"] / total, rtol=1e-11)


def test_biases_are_not_penalised() -> None:
    problem = pair_problem("identity", "squared_error", l2=0.0)
    plain = problem.network().gradient(*problem.data)
    with_l2 = problem.with_(l2=2.0).network().gradient(*problem.data)
    for l in range(2):
        np.testing.assert_array_equal(plain.db[l], with_l2.db[l])
        np.testing.assert_allclose(with_l2.dW[l] - plain.dW[l], 2 * problem.W[l], rtol=1e-12)


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_a_weight_counts_as_repetition(reduction: str) -> None:
    problem = pair_problem("exp", "poisson", weighted=False, reduction=reduction)
    counts = np.array([1, 0, 3, 2, 1])
    repeated = problem.with_(X=problem.X.repeat(counts, 0), y=problem.y.repeat(counts, 0))
    weighted = problem.with_(sample_weight=counts.astype(float))
    assert weighted.network().loss(*weighted.data) == pytest.approx(
        repeated.network().loss(*repeated.data), rel=1e-13
    )
    np.testing.assert_allclose(
        weighted.network().gradient(*weighted.data).flat,
        repeated.network().gradient(*repeated.data).flat,
        rtol=1e-11,
        atol=1e-13,
    )


# ---------------------------------------------------------------- θ and its views


def test_parameters_are_views_of_theta() -> None:
    net = pair_problem("softmax", "cross_entropy").network()
    assert net.theta.ndim == 1
    assert net.theta.size == sum(p.size for p in net.W + net.b)
    for view in net.W + net.b:
        assert np.shares_memory(view, net.theta)
    net.theta[:] = np.arange(net.theta.size)
    everything = np.concatenate([p.ravel() for p in net.W + net.b])
    np.testing.assert_array_equal(np.sort(everything), np.arange(net.theta.size))
    net.W[1][0, 0] = -7
    assert (net.theta == -7).sum() == 1


def test_flat_gradient_has_the_layout_of_theta() -> None:
    problem = pair_problem("softmax", "cross_entropy")
    net = problem.network()
    gradient = net.gradient(*problem.data)
    for parameters, blocks in ((net.W, gradient.dW), (net.b, gradient.db)):
        for parameter, block in zip(parameters, blocks, strict=True):
            assert np.shares_memory(block, gradient.flat)
            offset = (parameter.ctypes.data - net.theta.ctypes.data) // net.theta.itemsize
            flat = gradient.flat[offset : offset + block.size]
            np.testing.assert_array_equal(flat, block.ravel())


def test_a_step_against_the_gradient_lowers_the_loss() -> None:
    problem = pair_problem("softmax", "cross_entropy")
    net = problem.network()
    before = net.loss(*problem.data)
    net.theta -= 1e-4 * net.gradient(*problem.data).flat
    assert net.loss(*problem.data) < before


# ---------------------------------------------------------------- dtypes and memory


@pytest.mark.parametrize(("f", "loss"), PAIRS)
def test_float32_stays_float32(f: str, loss: str) -> None:
    problem = pair_problem(f, loss)
    net = problem.network("float32")
    trace = net.trace(*problem.data)
    arrays = [*trace.X, *trace.a, *trace.delta, *trace.dW, *trace.db, net.predict(problem.X)]
    gradient = net.gradient(*problem.data)
    arrays += [net.theta, *net.W, *net.b, gradient.flat, *gradient.dW, *gradient.db]
    assert {array.dtype for array in arrays} == {np.dtype("float32")}
    reference = oracles.torch_gradient(problem)
    assert disagreement(blocks_of(gradient), reference, problem) <= 2e-4


@pytest.mark.parametrize("name", OUTPUT_ACTIVATIONS)
def test_activations_keep_float32(name: str) -> None:
    f, a = dp.activations.get(name), np.linspace(-3, 3, 8, dtype="float32").reshape(2, 4)
    z = f.f(a, np)
    assert f.d2f is not None
    dtypes = {part.dtype for part in (z, f.df(a, z, np), f.d2f(a, z, np))}
    assert dtypes == {np.dtype("float32")}


@pytest.mark.parametrize("loss", ["cross_entropy", "squared_error", "quantile"])
def test_memory_layout_does_not_matter(loss: str) -> None:
    problem = pair_problem("softmax", loss, form="soft")
    reference = problem.network().trace(*problem.data)
    weights = layouts(problem.sample_weight)
    for X, y, w in zip(
        layouts(problem.X).values(), layouts(problem.y).values(), weights.values(), strict=True
    ):
        trace = problem.network().trace(X, y, w)
        assert trace.loss == pytest.approx(reference.loss, rel=1e-14)
        for ours, theirs in zip(trace.dW + trace.db, reference.dW + reference.db, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-14)


def test_lists_integers_and_sparse_matrices_are_accepted() -> None:
    X, y = [[1, 0], [0, 3], [2, 0]], [0, 1, 1]
    net = dp.Network(2, [dp.Dense(3, "tanh"), dp.Dense(2, "softmax")], loss="cross_entropy", seed=0)
    expected = net.gradient(np.array(X, float), np.array(y)).flat
    for data in (X, np.array(X, "int8"), scipy.sparse.csr_array(X), scipy.sparse.csc_matrix(X)):
        np.testing.assert_allclose(net.gradient(data, y).flat, expected, rtol=1e-14)


def test_data_is_not_modified() -> None:
    problem = pair_problem("softmax", "cross_entropy", form="soft")
    copies = [np.array(part) for part in problem.data]
    net = problem.network()
    net.trace(*problem.data)
    net.check(*problem.data)
    for part, copy in zip(problem.data, copies, strict=True):
        np.testing.assert_array_equal(part, copy)


# ---------------------------------------------------------------- far from 0


@pytest.mark.parametrize(
    ("f", "loss", "y"),
    [
        ("softmax", "cross_entropy", [0, 1]),
        ("softmax", "focal", [0, 1]),
        ("logistic", "binary_cross_entropy", [[0, 1], [1, 0]]),
        ("identity", "log_cosh", [[0, 1], [1, 0]]),
        ("softplus", "squared_error", [[0, 1], [1, 0]]),
        ("mish", "squared_error", [[0, 1], [1, 0]]),
        ("silu", "squared_error", [[0, 1], [1, 0]]),
        ("elu", "squared_error", [[0, 1], [1, 0]]),
        ("gelu", "squared_error", [[0, 1], [1, 0]]),
        ("gelu_tanh", "squared_error", [[0, 1], [1, 0]]),
    ],
)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.filterwarnings("error")
def test_large_pre_activations_give_finite_values(f: str, loss: str, y: Any, dtype: str) -> None:
    net = dp.Network(2, [dp.Dense(2, f)], loss=loss, dtype=dtype)
    net.W[0][...], net.b[0][...] = np.eye(2), 0
    X = np.array([[-1000.0, 1000.0], [-800.0, 900.0]])
    trace = net.trace(X, y)
    assert np.isfinite(trace.loss)
    assert all(np.isfinite(part).all() for part in (*trace.X, *trace.delta, *trace.dW))


def test_loss_of_confident_mistakes_is_their_logit() -> None:
    """The collapsed form is stable: -log p is 1000 although p underflows to 0."""
    net = dp.Network(2, [dp.Dense(2, "softmax")], loss="cross_entropy")
    net.W[0][...], net.b[0][...] = np.eye(2), 0
    assert net.loss([[-1000.0, 0.0]], [0]) == pytest.approx(1000)
    np.testing.assert_allclose(net.trace([[-1000.0, 0.0]], [0]).delta[0], [[-1, 1]])


# ---------------------------------------------------------------- net.check


@pytest.mark.parametrize(("f", "loss"), PAIRS)
def test_check_passes_for_every_pair(f: str, loss: str) -> None:
    problem = pair_problem(f, loss)
    report = problem.network().check(*problem.data)
    assert report.ok, str(report)


@settings(quick, max_examples=20)
@given(problems(max_width=3, max_samples=3))
def test_check_passes_for_random_networks(problem: Problem) -> None:
    assume(distance_to_kink(problem) > 1e-3)
    report = problem.network().check(*problem.data)
    assert report.ok, str(report)
    assert {type(row.ok) for row in report.rows} == {bool}
    assert all(row.equation and row.method and row.error >= 0 for row in report.rows)


def test_check_does_not_change_the_network() -> None:
    problem = pair_problem("softmax", "cross_entropy")
    net = problem.network()
    before = net.theta.copy()
    net.check(*problem.data)
    np.testing.assert_array_equal(net.theta, before)


def sine(df: Any = None, d2f: Any = None) -> dp.Activation:
    return dp.Activation(
        "sine",
        lambda a, xp: xp.sin(a),
        df or (lambda a, z, xp: xp.cos(a)),
        d2f or (lambda a, z, xp: -z),
    )


def fourth_power(d: Any = None, d2: Any = None) -> dp.Loss:
    return dp.Loss(
        "fourth_power",
        lambda t, yhat, xp: (yhat - t) ** 4,
        d or (lambda t, yhat, xp: 4 * (yhat - t) ** 3),
        d2 or (lambda t, yhat, xp: 12 * (yhat - t) ** 2),
    )


def own_network(f: dp.Activation, loss: dp.Loss) -> tuple[dp.Network, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    net = dp.Network(3, [dp.Dense(4, "tanh"), dp.Dense(4, f), dp.Dense(2)], loss=loss, seed=0)
    return net, rng.normal(size=(6, 3)), rng.normal(size=(6, 2))


def test_custom_activation_and_loss() -> None:
    net, X, y = own_network(sine(), fourth_power())
    assert net.check(X, y).ok
    W, b = ([torch.tensor(p, requires_grad=True) for p in ps] for ps in (net.W, net.b))
    z = torch.sin(torch.tanh(torch.tensor(X) @ W[0] + b[0]) @ W[1] + b[1]) @ W[2] + b[2]
    theirs = torch.autograd.grad(((z - torch.tensor(y)) ** 4).sum(), W + b)
    for ours, reference in zip(blocks_of(net.gradient(X, y)), theirs, strict=True):
        np.testing.assert_allclose(ours, reference.numpy(), rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize(
    ("f", "loss", "named"),
    [
        (sine(df=lambda a, z, xp: xp.sin(a)), fourth_power(), "sine"),
        (sine(df=lambda a, z, xp: 1.001 * xp.cos(a)), fourth_power(), "sine"),
        (sine(d2f=lambda a, z, xp: z), fourth_power(), "sine"),
        (sine(), fourth_power(d=lambda t, yhat, xp: 4 * (t - yhat) ** 3), "fourth_power"),
        (sine(), fourth_power(d=lambda t, yhat, xp: 3 * (yhat - t) ** 3), "fourth_power"),
        (sine(), fourth_power(d2=lambda t, yhat, xp: 4 * (yhat - t) ** 2), "fourth_power"),
    ],
    ids=["f′ sign", "f′ 0.1 %", "f″ sign", "loss′ sign", "loss′ factor", "loss″ factor"],
)
def test_check_names_the_wrong_function(f: dp.Activation, loss: dp.Loss, named: str) -> None:
    net, X, y = own_network(f, loss)
    report = net.check(X, y)
    assert not report.ok
    wrong = [row for row in report.rows if not row.ok]
    assert any(named in f"{row.equation} {row.where}" for row in wrong), str(report)
    innocent = "fourth_power" if named == "sine" else "sine"
    assert not any(innocent in f"{row.equation} {row.where}" for row in wrong), str(report)
    assert named in str(report)


@pytest.mark.parametrize("own", [dp.Activation, dp.Loss])
def test_custom_functions_cannot_take_names_of_built_ins(own) -> None:
    """Collapsed forms and model files use names: "logistic" is the built-in function."""
    name = "logistic" if own is dp.Activation else "huber"
    with pytest.raises(ValueError, match=f"{name}.*taken by a built-in"):
        own(name, lambda a, xp: a, lambda a, z, xp: 1 + 0 * a)


# ---------------------------------------------------------------- any array library


def generic_pass(problem: Problem, xp: Any) -> Any:
    """Evaluate the equations on arrays of another library."""

    def arrays(parts: Any) -> list[Any]:
        return [xp.asarray(np.asarray(part)) for part in parts]

    net = problem.network()
    X, t = arrays([problem.X, net.encode(problem.y)])
    return equations.forward_backward(
        X, t, arrays(problem.W), arrays(problem.b), net.f, net.loss_function, net.l2
    )


@pytest.mark.parametrize("library", ["array_api_strict", "jax.numpy"])
@pytest.mark.parametrize(("f", "loss"), PAIRS)
def test_equations_support_the_array_api(f: str, loss: str, library: str) -> None:
    xp = pytest.importorskip(library)
    problem = pair_problem(f, loss, weighted=False)
    done = generic_pass(problem, xp)
    trace = problem.network().trace(*problem.data)
    assert all(isinstance(part, type(xp.asarray(0.0))) for part in (*done.a, *done.dW))
    assert float(done.loss) == pytest.approx(trace.loss, rel=1e-13)
    for name in ("X", "a", "delta", "dW", "db"):
        for ours, theirs in zip(getattr(done, name), getattr(trace, name), strict=True):
            np.testing.assert_allclose(np.asarray(ours), theirs, rtol=1e-11, atol=1e-13)


def test_kinks_have_the_derivative_of_one_side() -> None:
    """At a = 0 the derivative is a subgradient, and finite."""
    for name in (*KINKED, "elu"):
        f, zero = dp.activations.get(name), np.zeros((1, 1))
        slope = float(f.df(zero, f.f(zero, np), np)[0, 0])
        left, right = (float(f.df(e, f.f(e, np), np)[0, 0]) for e in (zero - 1e-9, zero + 1e-9))
        assert min(left, right) - 1e-6 <= slope <= max(left, right) + 1e-6
