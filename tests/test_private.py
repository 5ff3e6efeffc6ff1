"""Norms of single samples, and private training: what is clipped, added, counted and refused."""

import contextlib
import copy
import errno
import inspect
import os
import pickle
import secrets
import shutil
import signal
import sys
from dataclasses import dataclass
from functools import partial
from types import ModuleType

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import torch
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from scipy.integrate import trapezoid
from scipy.stats import kstest, norm
from sklearn.exceptions import NotFittedError

import deltaprop as dp
from deltaprop import equations
from deltaprop.derivation import per_sample
from deltaprop.engines.fused.gradients import gradient
from deltaprop.engines.xla import sample_norms
from deltaprop.files import ModelFileError
from deltaprop.optim import batch_gradients
from deltaprop.optim.accounting import delta_of, epsilon_of
from deltaprop.optim.transforms import Transformation
from deltaprop.training import epochs
from deltaprop.training.checkpoint_manager import CheckpointManager
from deltaprop.training.noise_plan import NoisePlan

from .oracles import JAX, LOSSES, TORCH, activate, encode
from .processes import finished, started, two
from .strategies import distance_to_kink, make_problem, problems

rng = np.random.RandomState(0)
N = 23
X = rng.randn(N, 4)
CLASSES = rng.randint(0, 3, N)
WEIGHTS = np.where(np.arange(N) < 5, 0.0, rng.rand(N) + 0.1)
ENGINES = ["reference", "fused", "xla"]


def small_net(dropout=0.0, reduction="mean", l2=0.1, dtype="float64"):
    return dp.Network(
        4, [dp.Dense(6, "tanh", dropout), dp.Dense(3, "softmax")],
        loss="cross_entropy", reduction=reduction, l2=l2, dtype=dtype, seed=0,
    )  # fmt: skip


def fit(net, X=X, y=CLASSES, noise=1.0, max_norm=0.3, seed=3, **search):
    settings = {"batch_size": 5, "max_epochs": 3, "engine": "reference"} | search
    return dp.fit(net, X, y, privacy=dp.Privacy(noise, max_norm, seed), **settings)


# ---------------------------------------------------------------- gradients of single samples


def sample_losses(problem, W, b, m):
    z = m.asarray(problem.X)
    for l, name in enumerate(problem.activations):
        z = activate(name, z @ W[l] + b[l], m)
    return LOSSES[problem.loss](m.asarray(encode(problem)), z, m, **problem.params).sum(axis=1)


def in_order(dW, db):
    """Gradients of N samples in the order of θ: one row a sample."""
    parts = [np.asarray(part) for pair in zip(dW, db, strict=True) for part in pair]
    return np.concatenate([part.reshape(len(part), -1) for part in parts], axis=1)


def gradients_by_jax(problem):
    W, b = ([jnp.asarray(p) for p in ps] for ps in (problem.W, problem.b))
    losses = partial(sample_losses, problem, m=JAX)
    with jax.enable_x64(True):
        return in_order(*jax.jit(jax.jacrev(losses, argnums=(0, 1)))(W, b))


def gradients_by_torch(problem):
    W, b = ([TORCH.asarray(p).requires_grad_() for p in ps] for ps in (problem.W, problem.b))
    each = [
        torch.autograd.grad(loss, W + b, retain_graph=True, materialize_grads=True)
        for loss in sample_losses(problem, W, b, TORCH)
    ]
    parts = [np.stack(part) for part in zip(*each, strict=True)]
    return in_order(parts[: len(W)], parts[len(W) :])


@settings(max_examples=25)
@given(problems())
def test_norms_are_those_of_each_sample_s_gradient(problem):
    assume(distance_to_kink(problem) > 1e-6)
    expected = np.linalg.norm(gradients_by_torch(problem), axis=1)
    norms = problem.network().sample_norms(problem.X, problem.y)
    np.testing.assert_allclose(norms, expected, rtol=1e-7, atol=1e-12 + 1e-9 * expected.max())


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_norms_of_any_rows_in_blocks_and_on_jax(dtype, monkeypatch):
    some = sp.random(50, 20, 0.2, format="csr", random_state=0)
    y = np.arange(50) % 3
    net = dp.Network(20, [dp.Dense(5, "tanh"), dp.Dense(3, "softmax")], loss="cross_entropy",
                     l2=3.0, reduction="mean", dtype=dtype, seed=0)  # fmt: skip
    alone = net.copy()
    alone.l2 = 0.0
    expected = [np.linalg.norm(alone.gradient(some[[n]], y[[n]]).flat) for n in range(50)]
    rtol = {"float64": 1e-12, "float32": 1e-5}[dtype]
    for numbers in (10**7, 300):
        monkeypatch.setattr("deltaprop.model.model.BLOCK", numbers)
        for rows in (some, some.tocsc(), sp.csr_array(some), some.toarray()):
            for norms in (net.sample_norms(rows, y), sample_norms(net, rows, y)):
                assert norms.dtype == dtype
                np.testing.assert_allclose(norms, expected, rtol=rtol)


def test_norms_say_what_they_do_not_take():
    with pytest.raises(ValueError, match=r"X has 23 row\(s\) and y has 2"):
        small_net().sample_norms(X, [0, 1])
    with pytest.raises(ValueError, match="dtype of Xla is 'bfloat16', but sample_norms"):
        sample_norms(small_net(), X, CLASSES, dp.Xla("bfloat16"))


# ---------------------------------------------------------------- the clipped sum


def step_by_hand(problem, max_norm, gradients_of_samples=gradients_by_torch):
    """θ₀ - θ₁ of one step of SGD with η = 1 over all rows, from gradients of samples."""
    w = np.ones(len(problem.X)) if problem.sample_weight is None else problem.sample_weight
    g = w[:, None] * gradients_of_samples(problem)
    norms = np.linalg.norm(g, axis=1, keepdims=True)
    total = (g * np.minimum(1, max_norm / np.maximum(norms, 1e-300))).sum(axis=0)
    rows = 1 if problem.reduction == "sum" else len(problem.X)
    l2 = problem.l2 / len(problem.X) if problem.reduction == "sklearn" else problem.l2
    parts = [p.ravel() for W, b in zip(problem.W, problem.b, strict=True) for p in (l2 * W, 0 * b)]
    return total / rows + np.concatenate(parts)


def step_taken(problem, max_norm, engine="reference"):
    net = problem.network()
    before = net.theta.copy()
    rows, y, w = problem.data
    fit(net, rows, y, 0.0, max_norm, engine=engine, sample_weight=w, batch_size=len(rows),
        solver=dp.SGD(1.0, momentum=0.0), max_epochs=1)  # fmt: skip
    return before - net.theta


def typical_norm(problem):
    """One that clips about half of the rows."""
    return float(np.median(np.linalg.norm(gradients_by_torch(problem), axis=1))) or 1.0


@settings(max_examples=30)
@given(problems(), st.sampled_from([0.3, 1.0, 1e6]))
def test_a_step_is_the_sum_of_clipped_gradients(problem, factor):
    assume(distance_to_kink(problem) > 1e-6)
    max_norm = factor * typical_norm(problem)
    expected = step_by_hand(problem, max_norm)
    np.testing.assert_allclose(
        step_taken(problem, max_norm), expected, rtol=1e-7, atol=1e-9 * (1 + abs(expected).max())
    )


CASES = [
    ("tanh", "softmax", "cross_entropy", "mean", True),
    ("relu", "identity", "huber", "sum", False),
    ("silu", "exp", "gamma", "sklearn", True),
]


def case(hidden, output, loss, reduction, weighted, seed=0):
    return make_problem(seed, (hidden, hidden, output), (5, 4, 3), loss, N=8, D=4, l2=0.5,
                        reduction=reduction, weighted=weighted)  # fmt: skip


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("which", CASES)
def test_a_step_on_each_engine(which, engine):
    problem = case(*which)
    max_norm = typical_norm(problem)
    np.testing.assert_allclose(
        step_taken(problem, max_norm, engine),
        step_by_hand(problem, max_norm, gradients_by_jax),
        rtol=1e-9,
        atol=1e-12,
    )


# name: (what stands in equations.py, per_sample.py or batch_gradients.py, what is planted)
BUGS = {
    "the bias's 1 is forgotten": ("xp.hypot(_norms(X[l], xp), one)", "_norms(X[l], xp)"),
    "only the first layer counts": ("for l, C_l in enumerate(C)", "for l, C_l in [(0, C[0])]"),
    "the root is forgotten": ("return scale * xp.sqrt(xp.sum(parts * parts, axis=1))",
                              "return scale * xp.sum(parts * parts, axis=1)"),
    "short gradients are made long": ("norms > max_norm, norms, max_norm", "norms > 0, norms, 1"),
    "clipped after the sum": ("factors * delta_l", "xp.min(factors) * delta_l"),
    "weighted after clipping": (
        "used, signals = samples(X, delta) if samples else (X, delta)",
        "used, signals = samples(X, [d / weights for d in delta])\n"
        "    signals = [weights * d for d in signals]",
    ),
    "not divided by the rows": ("g / batch.full, l2", "g, l2"),
    "λ divided by the rows": ('if batch.reduction == "sklearn" else batch.l2',
                                "if batch.reduction else batch.l2"),
}  # fmt: skip


@pytest.mark.parametrize("bug", BUGS)
def test_a_planted_bug_shows(bug, monkeypatch):
    (old, new), problem = BUGS[bug], case(*CASES[0])
    modules = (equations, per_sample, batch_gradients)
    [module] = [m for m in modules if old in inspect.getsource(m)]
    source, wrong = inspect.getsource(module), ModuleType("wrong")
    assert source.count(old) == 1, "mend BUGS"
    monkeypatch.setitem(sys.modules, wrong.__name__, wrong)
    exec(compile(source.replace(old, new), "wrong", "exec"), wrong.__dict__)
    for name in {"sample_norms", "forward_backward", "clipped"} & set(vars(module)):
        monkeypatch.setattr(module, name, getattr(wrong, name))
    if module is batch_gradients:
        reduced = wrong.PrivateGradient.reduced
        monkeypatch.setattr(batch_gradients.PrivateGradient, "reduced", reduced)
    max_norm = typical_norm(problem)
    expected = step_by_hand(problem, max_norm)
    assert abs(step_taken(problem, max_norm) - expected).max() > 1e-3 * abs(expected).max()


# ---------------------------------------------------------------- what one row can do


@settings(max_examples=200)
@given(
    st.integers(0, 19), st.integers(-45, 20), st.floats(1.0, 9.9), st.sampled_from([1, 3, 50]),
    st.sampled_from([1e-6, 0.5]),
)  # fmt: skip
@example(19, -23, 1.8, 1, 1e-6)
@example(19, 5, 1.8, 3, 0.5)
def test_no_row_is_longer_than_the_norm_whatever_its_size(x, d, digit, H, C):
    """In float32, whose squares are 0 or infinite for many of these."""
    float32 = np.float32
    with np.errstate(all="ignore"):
        X = [np.full((1, 1), digit * 10.0**x).astype(float32)]
        delta = [np.full((1, H), digit * 10.0**d).astype(float32)]
        assume(np.isfinite(X[0]).all() and np.isfinite(delta[0]).all())
        (rows, *_), (signals,) = per_sample.clipped(X, delta, C)
        assert signals.dtype == float32
        lengths = [np.linalg.norm(part.astype(np.float64)) for part in (rows, signals)]
    assert np.hypot(lengths[0], 1) * lengths[1] <= C * (1 + 1e-5)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_light_row_of_large_numbers_is_clipped_too(engine):
    x, w, C = 1.8e19, 2.5e-23, 1e-5
    moved = []
    for weight in (0.0, w):
        net = dp.Network(1, [dp.Dense(100)], loss="squared_error", dtype="float32", seed=0)
        net.theta[...] = 0
        dp.fit(net, [[x], [0.0]], np.ones((2, 100)), sample_weight=[weight, 1.0], engine=engine,
               solver=dp.SGD(1.0, momentum=0.0), max_epochs=1, batch_size=2,
               privacy=dp.Privacy(0.0, C, 0))  # fmt: skip
        moved.append(net.theta.astype(np.float64))
    assert np.linalg.norm(moved[1] - moved[0]) <= C * (1 + 1e-5)


def sum_of(rows, w, max_norm, engine, dtype, layers):
    net = dp.Network(4, layers, loss="squared_error", dtype=dtype, seed=0)
    before = net.theta.copy()
    with np.errstate(all="ignore"):
        fit(net, rows, np.ones(rows.shape[0]), 0.0, max_norm, sample_weight=w, engine=engine,
            batch_size=rows.shape[0], max_epochs=1, solver=dp.SGD(1.0, momentum=0.0))  # fmt: skip
    return (before - net.theta).astype(np.float64)


@settings(max_examples=30)
@given(
    st.integers(0, 2**31), st.floats(0, 40), st.floats(0.01, 100), st.floats(1e-3, 1e3),
    st.sampled_from(["tanh", "exp", "relu"]), st.sampled_from(["float64", "float32"]),
)  # fmt: skip
def test_one_row_changes_the_sum_by_max_norm_at_most(seed, size, weight, max_norm, f, dtype):
    random = np.random.RandomState(seed)
    rows, w = random.randn(6, 4), random.rand(6) + 0.1
    rows[0] *= 10.0 ** (size - 2)
    w[0] = weight
    assume(np.isfinite(rows.astype(dtype)).all())
    layers = [dp.Dense(3, f), dp.Dense(1)]
    sums = []
    for weights in (w, np.r_[0.0, w[1:]]):
        sums.append(sum_of(rows.astype(dtype), weights, max_norm, "reference", dtype, layers))
    scale = 1e-5 if dtype == "float32" else 1e-9
    assert np.isfinite(sums).all()
    assert np.linalg.norm(sums[0] - sums[1]) <= max_norm * (1 + 10 * scale)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_row_whose_gradient_overflows_counts_nothing(engine):
    rows = X.copy()
    rows[3] = 1e5
    layers = [dp.Dense(3, "exp"), dp.Dense(1)]
    w = np.ones(N)
    with_it = sum_of(rows, w, 1.0, engine, "float64", layers)
    w[3] = 0
    np.testing.assert_array_equal(with_it, sum_of(rows, w, 1.0, engine, "float64", layers))
    assert np.isfinite(with_it).all()
    assert with_it.any()


# ---------------------------------------------------------------- the noise


def noises(engine, epochs, dtype="float64", **privacy):
    """What is added to θ in each step, where gradients are too short to be seen."""
    net = dp.Network(100, [dp.Dense(150), dp.Dense(40)], loss="squared_error", dtype=dtype, seed=0)
    net.theta[...] = 0
    found = [net.theta.copy()]
    fit(net, np.ones((6, 100)), np.ones((6, 40)), 5e11, 1e-12, engine=engine, batch_size=3,
        solver=dp.SGD(1.0, momentum=0.0), max_epochs=epochs,
        callbacks=[lambda event: found.append(event.network.theta.copy())], **privacy)  # fmt: skip
    return np.diff(found, axis=0)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("engine", ENGINES)
def test_noise_is_normal_of_the_stated_variance_and_new_in_each_step(engine, dtype):
    epochs = noises(engine, 3, dtype)  # two steps of 0.5² each
    P = epochs.shape[1]
    assert P > 20_000
    for noise in epochs:
        z = noise / np.sqrt(0.5)
        assert abs(z.mean()) < 5 / np.sqrt(P)
        assert abs(z.var() - 1) < 5 * np.sqrt(2 / P)
        assert kstest(z, "norm").pvalue > 1e-4
        assert len(np.unique(z)) > 0.99 * P
    correlations = np.corrcoef(epochs)[~np.eye(3, dtype=bool)]
    assert abs(correlations).max() < 5 / np.sqrt(P)
    np.testing.assert_array_equal(noises(engine, 3, dtype), epochs)
    assert abs(np.corrcoef(epochs[0], noises(engine, 1, dtype, seed=4)[0])[0, 1]) < 5 / np.sqrt(P)


@pytest.mark.parametrize("engine", ENGINES)
def test_without_a_seed_noise_is_new_each_time(engine, monkeypatch):
    nets, seeds, drawn = [small_net(), small_net()], [], secrets.randbits
    monkeypatch.setattr(secrets, "randbits", lambda n: seeds.append(drawn(n)) or seeds[-1])
    histories = [fit(net, seed=None, engine=engine) for net in nets]
    assert len(set(seeds)) == 2
    assert max(seeds) > 2**100
    assert (nets[0].theta != nets[1].theta).all()
    assert [history.progress.noise_seed for history in histories] == [None, None]


@pytest.mark.parametrize(
    ("engine", "reduction"),
    [*(("reference", r) for r in ("sum", "mean", "sklearn")), ("xla", "mean")],
)
def test_batches_without_weight_are_noisy_steps_like_any_other(engine, reduction):
    w = np.zeros(N)
    w[-1] = 1
    net, before = small_net(reduction=reduction), small_net()
    history = fit(net, sample_weight=w, shuffle=False, engine=engine, max_epochs=1,
                  solver=dp.SGD(1.0))  # fmt: skip
    assert history.progress.step == 5
    assert (net.theta != before.theta).all()
    assert np.isfinite(history.loss_curve).all()


@pytest.mark.parametrize("engine", ENGINES)
def test_a_shorter_batch_has_no_more_noise(engine):
    net = small_net(l2=0.0)
    before, P = net.theta.copy(), net.theta.size
    fit(net, X[:6], CLASSES[:6], 1e9, 1e-9, engine=engine, max_epochs=1,
        solver=dp.SGD(1.0, momentum=0.0))  # fmt: skip
    variance = np.sum((net.theta - before) ** 2) / P  # of batches of five rows and of one
    assert abs(variance / (2 / 5**2) - 1) < 5 * np.sqrt(2 / P)


def test_what_an_attacker_sees_of_a_row_is_what_is_accounted():
    """θ with and without a row, many times: two normals, μ standard deviations apart."""
    epochs, noise, runs, found = 4, 1.5, 400, {}
    for weight in (1.0, 0.0):
        found[weight] = []
        for seed in range(runs):
            net = dp.Network(1, [dp.Dense(1)], loss="absolute_error", reduction="sum", seed=0)
            net.theta = [0.0, -1e6]
            history = fit(net, [[0.0], [0.0]], [0.0, 0.0], noise, 1.0, batch_size=1,
                          seed=seed + (runs if weight else 0), sample_weight=[weight, 1.0],
                          max_epochs=epochs, solver=dp.SGD(1.0, momentum=0.0))  # fmt: skip
            found[weight].append(net.theta[1])
    shift = np.mean(found[1.0]) - np.mean(found[0.0])
    # Beside the row's, the noise of the other's step is there, too: √2 more than is accounted for.
    apart = np.sqrt(2) * shift / np.sqrt(np.var(found[1.0]) / 2 + np.var(found[0.0]) / 2)
    assert abs(apart - np.sqrt(epochs) / noise) < 4 * np.sqrt(2) * np.sqrt(2 / runs)
    assert history.progress.mu_squared == pytest.approx(epochs / noise**2)


# ---------------------------------------------------------------- engines agree


@pytest.mark.parametrize(
    ("reduction", "weighted"), [("sum", True), ("mean", True), ("sklearn", False)]
)
def test_engines_agree_without_noise(reduction, weighted):
    found = []
    for engine in ENGINES:
        net = small_net(0.3, reduction)
        history = fit(net, noise=0.0, engine=engine, clip_norm=0.5,
                      sample_weight=WEIGHTS if weighted else None)  # fmt: skip
        found.append((net.theta, history))
    theta, history = found[0]
    for same, other in found[1:]:
        np.testing.assert_allclose(same, theta, rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(other.loss_curve, history.loss_curve, rtol=1e-10)
        assert history.progress.step == other.progress.step == 15


def test_without_noise_and_without_long_gradients_it_is_plain_training():
    for engine in ENGINES:
        plain, clipped = small_net(0.3), small_net(0.3)
        search = {"batch_size": N, "max_epochs": 5, "engine": engine}
        history = dp.fit(plain, X, CLASSES, **search)
        same = fit(clipped, noise=0.0, max_norm=1e6, **search)
        np.testing.assert_allclose(clipped.theta, plain.theta, rtol=1e-10)
        np.testing.assert_allclose(same.loss_curve, history.loss_curve, rtol=1e-10)


def test_sparse_and_narrow_rows():
    big = sp.random(N, 50, density=0.1, format="csr", random_state=0)
    for rows in (big, big.astype("float32").toarray().astype("float16")):
        found = []
        for engine, X in [*((engine, rows) for engine in ENGINES), ("reference", big.toarray())]:
            net = dp.Network(50, [dp.Dense(6, "relu"), dp.Dense(3, "softmax")],
                             loss="cross_entropy", seed=1)  # fmt: skip
            fit(net, X, noise=0.0, engine=engine)
            found.append(net.theta)
        for theta in found[1:-1]:
            np.testing.assert_allclose(theta, found[0], rtol=1e-10, atol=1e-13)
        np.testing.assert_allclose(found[-1], found[0], atol=1e-3)


def test_a_stream_is_trained_on_as_rows_in_memory_are(tmp_path):
    frame = pd.DataFrame(X, columns=list("abcd")).assign(y=CLASSES)
    frame.to_parquet(tmp_path / "table.parquet", row_group_size=4)
    streamed, memory = small_net(), small_net()
    rows = dp.tables.stream(tmp_path / "table.parquet", "y", columns=list("abcd"))
    one = dp.fit(streamed, rows, privacy=dp.Privacy(1.0, 0.3, seed=3), batch_size=5, max_epochs=3,
                 engine="reference", shuffle=False)  # fmt: skip
    two = fit(memory, shuffle=False)
    np.testing.assert_allclose(streamed.theta, memory.theta, rtol=1e-12)
    assert one.epsilon(1e-5) == two.epsilon(1e-5)
    with pytest.raises(ValueError, match=r"validation is a fraction of the rows, 0\.2"):
        dp.fit(streamed, rows, privacy=dp.Privacy(1.0), validation=0.2)


@settings(max_examples=40)
@given(
    widths=st.lists(st.sampled_from([3, 7, 60, 200]), max_size=3),
    loss=st.sampled_from(["cross_entropy", "huber", "focal"]),
    reduction=st.sampled_from(["sum", "mean", "sklearn"]),
    dtype=st.sampled_from(["float64", "float32"]),
    kind=st.sampled_from(["few columns", "many columns", "sparse"]),
    solver=st.sampled_from([dp.SGD(0.1), dp.Adam(0.01), dp.AdamW(0.01)]),
    noise=st.sampled_from([0.0, 1.0]),
    weighted=st.booleans(),
    l2=st.sampled_from([0.0, 0.1]),
    dropout=st.sampled_from([0.0, 0.3]),
    clip=st.sampled_from([None, 0.05]),
    n_threads=st.integers(1, 3),
    reproducible=st.booleans(),
)
def test_the_fused_engine_takes_the_steps_of_the_reference_engine(
    widths, loss, reduction, dtype, kind, solver, noise, weighted, l2, dropout, clip, n_threads,
    reproducible,
):  # fmt: skip
    """The same clipping and the same noise, whatever the layout of the activations is."""
    random = np.random.RandomState(1)
    rows = {
        "few columns": random.randn(N, 4), "many columns": random.randn(N, 100),
        "sparse": sp.random(N, 100, 0.1, format="csr", random_state=0),
    }[kind].astype(dtype)  # fmt: skip
    y = random.randn(N, 3) if loss == "huber" else CLASSES
    last = dp.Dense(3, "identity" if loss == "huber" else "softmax")
    found = []
    for engine in ("reference", "fused"):
        net = dp.Network(
            rows.shape[1], [*(dp.Dense(H, "relu", dropout) for H in widths), last], loss=loss,
            l2=l2, reduction=reduction, dtype=dtype, seed=0,
        )  # fmt: skip
        history = fit(
            net, rows, y, noise, solver=solver, clip_norm=clip, engine=engine, batch_size=9,
            n_threads=n_threads, reproducible=reproducible,
            sample_weight=WEIGHTS if weighted else None,
        )  # fmt: skip
        found.append((net.theta, history.loss_curve, history.progress.step))
    (theta, losses, steps), (fused, fused_losses, fused_steps) = found
    tolerance = 1e-9 if dtype == "float64" else 2e-3
    np.testing.assert_allclose(fused, theta, rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(fused_losses, losses, rtol=tolerance)
    assert steps == fused_steps


@settings(max_examples=200)
@given(
    st.integers(0, 2**31), st.floats(-200, 200), st.floats(1e-3, 1e3), st.integers(1, 4),
    st.sampled_from(["tanh", "exp", "relu"]), st.sampled_from(["float64", "float32"]),
    st.sampled_from([3, 200]), st.booleans(),
)  # fmt: skip
@example(0, 154.0, 1.0, 1, "tanh", "float64", 3, True)
def test_the_fused_engine_clips_rows_of_any_size(
    seed, size, max_norm, depth, f, dtype, width, sparse
):
    """Squares of their entries are infinite or 0 in many cases, and some gradients overflow."""
    random = np.random.RandomState(seed)
    with np.errstate(all="ignore"):
        rows = random.randn(6, 4)
        rows[0] *= 10.0**size
        rows = rows.astype(dtype)
        assume(np.isfinite(rows).all())
    w, layers = random.rand(6) + 0.1, [dp.Dense(width, f)] * depth
    given_rows = sp.csr_array(rows) if sparse else rows
    one, two = (
        sum_of(given_rows, w, max_norm, engine, dtype, [*layers, dp.Dense(1)])
        for engine in ("reference", "fused")
    )
    tolerance = 1e-7 if dtype == "float64" else 2e-3
    np.testing.assert_allclose(two, one, rtol=tolerance, atol=tolerance * max_norm)


def test_norms_and_clipped_gradients_in_one_compiled_pass():
    for n_columns, n_rows in ((4, 23), (100, 23), (4, 9000)):
        random = np.random.RandomState(0)
        rows, y = random.randn(n_rows, n_columns), random.randint(0, 3, n_rows)
        w = random.rand(n_rows)
        for reduction in ("sum", "mean", "sklearn"):
            net = dp.Network(
                n_columns, [dp.Dense(70, "tanh", 0.2), dp.Dense(3, "softmax")],
                loss="cross_entropy", l2=0.1, reduction=reduction, seed=0,
            )  # fmt: skip
            Xs, a = equations.forward(rows, net.W, net.b, net.f)
            delta = equations.output_error(net.encode(y), a[-1], Xs[-1], net.f[-1],
                                           net.loss_function, w[:, None])  # fmt: skip
            delta = equations.error_signals(delta, Xs, a, net.W, net.f)
            norms = equations.sample_norms(Xs, delta)
            g, found = gradient(net, rows, y, w)
            np.testing.assert_allclose(found, norms, rtol=1e-10)
            np.testing.assert_allclose(g.flat, net.gradient(rows, y, w).flat, rtol=1e-8, atol=1e-12)
            np.testing.assert_allclose(net.sample_norms(rows, y), norms / w, rtol=1e-10)

            C = float(np.median(norms))
            g, found = gradient(net, rows, y, w, max_norm=C)
            np.testing.assert_allclose(found, norms, rtol=1e-10)
            moved = dp.Network(
                n_columns, [dp.Dense(70, "tanh"), dp.Dense(3, "softmax")],
                loss="cross_entropy", l2=0.1, reduction=reduction, seed=0,
            )  # fmt: skip
            fit(moved, rows, y, 0.0, C, sample_weight=w, batch_size=n_rows, max_epochs=1,
                solver=dp.SGD(1.0, momentum=0.0))  # fmt: skip
            np.testing.assert_allclose(g.flat, net.theta - moved.theta, rtol=1e-7, atol=1e-10)


def test_entries_of_a_sparse_row_that_occur_twice_count_as_their_sum():
    twice = sp.csr_array((np.ones(4), [1, 1, 0, 2], [0, 2, 4]), shape=(2, 3))
    thetas = []
    for rows in (twice, twice.toarray()):
        net = dp.Network(3, [dp.Dense(1)], loss="squared_error", seed=0)
        fit(net, rows, [5.0, 3.0], 0.0, 0.01, engine="fused", batch_size=2)
        thetas.append(net.theta)
    np.testing.assert_allclose(*thetas, rtol=1e-12)


class Halved(Transformation):
    """A transformation that is not compiled."""

    def update(self, g, state, step):
        return g / 2, state


class HalvedAdam(dp.Adam):
    def transformations(self):
        return (Halved(), *super().transformations())


@pytest.mark.parametrize("privacy", [None, dp.Privacy(1.0, 0.3, 3)])
@pytest.mark.parametrize("sparse", [False, True])
def test_any_solver_runs_on_the_compiled_gradient(sparse, privacy, recwarn):
    rows = sp.csr_array(X) if sparse else X
    thetas = []
    for engine in ("reference", "fused"):
        net = small_net(0.3)
        dp.fit(net, rows, CLASSES, solver=HalvedAdam(0.01), privacy=privacy, engine=engine,
               batch_size=5, max_epochs=3, sample_weight=WEIGHTS, shuffle=False)  # fmt: skip
        thetas.append(net.theta)
    np.testing.assert_allclose(thetas[1], thetas[0], rtol=1e-9, atol=1e-12)
    assert not [w for w in recwarn if "Falling back" in str(w.message)]


# ---------------------------------------------------------------- devices and processes


SEARCH = """
    import json, os
    import numpy as np
    import deltaprop as dp
    from deltaprop.engines import xla

    rng = np.random.RandomState(0)
    X, y, w = rng.randn(52, 4), rng.randint(0, 3, 52), rng.rand(52)
    w[:20] = 0

    def theta(rows, batch_size, engine="xla", noise=1.0, seed=5):
        net = dp.Network(4, [dp.Dense(7, "tanh", 0.3), dp.Dense(3, "softmax")],
                         loss="cross_entropy", l2=0.1, reduction="mean", seed=0)
        dp.fit(net, X[rows], y[rows], sample_weight=w[rows], engine=engine, batch_size=batch_size,
               max_epochs=3, shuffle=False, privacy=dp.Privacy(noise, 0.2, seed))
        return net.theta.tolist()

    def norms(rows, engine=None):
        net = dp.Network(4, [dp.Dense(7, "tanh"), dp.Dense(3)], loss="huber", seed=0)
        if engine == "reference":
            return net.sample_norms(X[rows], X[rows, :3]).tolist()
        return xla.sample_norms(net, X[rows], X[rows, :3], engine).tolist()
"""


@pytest.mark.slow
def test_eight_devices_share_batches_and_the_noise_is_added_once():
    eight = """
    import jax

    assert len(jax.devices()) == 8
    rows, one = slice(None), dp.Xla(devices=1)
    print(json.dumps([
        [theta(rows, 20, noise=0.0), theta(rows, 20, "reference", noise=0.0)],
        [theta(rows, 20), theta(rows, 20, one), theta(rows, 20, dp.Xla(shard_parameters=True))],
        [norms(rows), norms(rows, one), norms(rows, "reference")],
    ]))
    """
    flags = "--xla_force_host_platform_device_count=8"
    for same in finished(started(SEARCH + eight, XLA_FLAGS=flags)):
        for other in same[1:]:
            np.testing.assert_allclose(other, same[0], rtol=1e-9, atol=1e-12)


@pytest.mark.slow
def test_processes_add_the_same_noise_once():
    """Also where no seed is given: they agree on the first one's."""
    each = """
    rank = int(os.environ["RANK"])
    xla.connect(os.environ["ADDRESS"], 2, rank)
    mine = slice(26 * rank, 26 * rank + 26)
    shared = dp.Xla(shared_rows=True)
    found = [theta(mine, 10), theta(mine, 10, seed=None),
             theta(slice(None), 20, shared, seed=None), norms(mine)]
    try:
        theta(mine, 10, noise=1.0 + rank)
    except ValueError as error:
        print(json.dumps([*found, str(error)]))
    """
    alone = """
    batches = np.split(np.arange(26), [10, 20])
    print(json.dumps([theta(np.concatenate([r for b in batches for r in (b, b + 26)]), 20),
                      norms(slice(None))]))
    """
    first, second = map(finished, two(SEARCH + each))
    assert first[:3] == second[:3]
    theta, norms = finished(started(SEARCH + alone))
    np.testing.assert_allclose(first[0], theta, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose([*first[3], *second[3]], norms, rtol=1e-12)
    assert first[0] != first[1]
    assert "privacy must be the same in all 2 processes" in first[4]


# ---------------------------------------------------------------- going on


def test_copies_of_a_history_do_not_share_noise():
    """Else the difference of two networks would be a row's gradient, bare."""
    history, net = fit(small_net(), seed=None, max_epochs=1), small_net()
    one, other = copy.deepcopy(history), copy.deepcopy(history)
    thetas = []
    for branch in (one, other):
        net = small_net()
        fit(net, seed=None, max_epochs=1, resume=branch)
        thetas.append(net.theta)
    assert np.abs(thetas[0] - thetas[1]).max() > 1e-3


@pytest.mark.parametrize("engine", ENGINES)
def test_a_resumed_search_is_the_same_search(engine):
    whole, parts = small_net(0.2), small_net(0.2)
    straight = fit(whole, max_epochs=4, engine=engine)
    history = fit(parts, max_epochs=1, engine=engine)
    assert history.epsilon(1e-5) == dp.Privacy(1.0).epsilon(1e-5, 1)
    history = fit(parts, max_epochs=3, engine=engine, resume=history)
    np.testing.assert_array_equal(parts.theta, whole.theta)
    assert history.epsilon(1e-5) == straight.epsilon(1e-5) == dp.Privacy(1.0).epsilon(1e-5, 4)


class Killed(BaseException):
    """What kill -9 is to a test: nothing after it runs."""


@pytest.mark.parametrize("engine", ENGINES)
def test_a_checkpoint_goes_on_with_the_same_noise_and_account(engine, tmp_path, monkeypatch):
    monkeypatch.setattr(epochs, "MOST_STEPS", 2)
    search = {"engine": engine, "max_epochs": 4}
    every = {"seconds": None, "steps": 1}
    whole = small_net(0.2)
    straight = fit(whole, checkpoint=dp.Checkpoint(tmp_path / "a", **every), **search)
    between_steps, calls = CheckpointManager.between_steps, [0]

    def deadly(self):
        between_steps(self)
        calls[0] += 1
        if calls[0] % 7 == 3:
            raise Killed

    killed, kills, seed = tmp_path / "b", 0, 3
    with monkeypatch.context() as patch:
        patch.setattr(CheckpointManager, "between_steps", deadly)
        while True:
            net = small_net(0.2)
            try:
                history = fit(net, checkpoint=dp.Checkpoint(killed, **every), seed=seed, **search)
                break
            except Killed:
                kills, seed = kills + 1, None  # it is in the folder
    assert kills > 1
    np.testing.assert_array_equal(net.theta, whole.theta)
    assert history.progress.mu_squared == straight.progress.mu_squared == 4.0
    with pytest.raises(ValueError, match=r"privacy is Privacy\(noise=2.0, max_norm=0.3\), was"):
        fit(small_net(0.2), noise=2.0, checkpoint=killed, **search)


def test_an_epoch_of_a_stream_that_begins_anew_counts_twice(tmp_path, monkeypatch):
    """Where the number of processes has changed; its first rows are trained on again."""
    monkeypatch.setattr(epochs, "MOST_STEPS", 1)
    frame = pd.DataFrame(X, columns=list("abcd")).assign(y=CLASSES)
    frame.to_parquet(tmp_path / "table.parquet")
    rows = dp.tables.stream(tmp_path / "table.parquet", "y")
    run = {"checkpoint": dp.Checkpoint(tmp_path / "run", seconds=None, steps=1), "engine": "xla"}
    between_steps, calls = CheckpointManager.between_steps, [0]

    def deadly(self):
        between_steps(self)
        calls[0] += 1
        if calls[0] == 3:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(CheckpointManager, "between_steps", deadly)
        with pytest.raises(Killed):
            fit(small_net(), rows, None, max_epochs=2, **run)
    monkeypatch.setattr(dp.Xla, "work_layout", lambda self: {"engine": "xla", "processes": 2})
    with pytest.warns(UserWarning, match="processes is 2, was 1: the epoch is star") as warned:
        history = fit(small_net(), rows, None, max_epochs=2, **run)
    assert "was cut off after epoch 0 of 2" in str(warned[1].message)
    assert history.n_epochs == 2
    # Two epochs that the killed run may have completed, and two of this one.
    assert history.epsilon(1e-5) == dp.Privacy(1.0).epsilon(1e-5, 4)


class Disk:
    """A disk that becomes full after a number of files, and lets a run be killed."""

    def __init__(self, monkeypatch, files=10**9):
        self.files, fsync = files, os.fsync

        def limited(handle):
            self.files -= 1
            if self.files < 0:
                raise OSError(errno.ENOSPC, "No space left on device")
            fsync(handle)

        monkeypatch.setattr(os, "fsync", limited)


def noise_of_steps(folder, max_epochs, kill_after=None, **settings):
    """Train on rows of hardly any weight, so that each epoch is one step of pure noise.

    Returns the changes of θ in each epoch, and the history; None if the run was killed.
    """
    net, path = small_net(l2=0.0), []

    def watch(event):
        path.append(event.network.theta.astype(float))
        if len(path) == kill_after:
            raise Killed

    settings = {
        "solver": dp.SGD(0.1, momentum=0.0), "schedule": dp.schedules.Cosine(), "seed": 0,
        "batch_size": len(X), "sample_weight": np.full(len(X), 1e-12), "engine": "reference",
        "privacy": dp.Privacy(1.0), "callbacks": [watch], "max_epochs": max_epochs, **settings,
    }  # fmt: skip
    checkpoint = dp.Checkpoint(folder, seconds=None, steps=1)
    history = None
    with contextlib.suppress(Killed):
        history = dp.fit(net, X, CLASSES, checkpoint=checkpoint, **settings)
    return np.diff(path, axis=0), history


def angle(a, b):
    """The cosine of the angle between two steps: 1 if their noise is the same."""
    return a @ b / np.sqrt((a @ a) * (b @ b))


def test_a_run_on_a_full_disk_does_not_lend_its_noise_to_another(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        Disk(patch, files=6)  # each file is flushed, and so is its folder
        with pytest.warns(UserWarning, match="No space left"):
            lost, history = noise_of_steps(tmp_path, 5)
    assert history.n_epochs == 5
    shutil.copytree(tmp_path, tmp_path.parent / f"{tmp_path.name}-copy")
    with pytest.warns(UserWarning, match=r"cut off after epoch 2 of 5 .* up to 3 epoch"):
        other, history = noise_of_steps(tmp_path, 6)
    assert abs(angle(lost[2], other[0])) < 0.9  # epochs 4 of both, under other learning rates
    assert history.epsilon(1e-5) == dp.Privacy(1.0).epsilon(1e-5, 6 + 3)
    again, history = noise_of_steps(tmp_path.parent / f"{tmp_path.name}-copy", 5)
    np.testing.assert_array_equal(again[0], lost[2])  # the same run shows nothing new
    assert history.epsilon(1e-5) == dp.Privacy(1.0).epsilon(1e-5, 5)


@pytest.mark.parametrize("change", ["max_epochs", "engine", "fewer epochs"])
def test_a_killed_run_does_not_lend_its_noise_to_another(change, tmp_path):
    lost, history = noise_of_steps(tmp_path, 6, kill_after=5)
    assert history is None
    for file in sorted(tmp_path.glob("*.dp"))[1:]:
        file.unlink()  # the last ones were not flushed
    settings = {"engine": "fused"} if change == "engine" else {}
    epochs = {"max_epochs": 7, "fewer epochs": 5, "engine": 6}[change]
    with pytest.warns(UserWarning, match=r"cut off after epoch 2 of 6 .* up to 4 epoch"):
        other, history = noise_of_steps(tmp_path, epochs, **settings)
    assert abs(angle(lost[2], other[0])) < 0.9
    assert history.epsilon(1e-5) == dp.Privacy(1.0).epsilon(1e-5, epochs + 4)


def test_a_run_that_ended_is_continued_without_counting_more(tmp_path):
    _, history = noise_of_steps(tmp_path, 3)
    more, history = noise_of_steps(tmp_path, 5)
    assert history.epsilon(1e-5) == dp.Privacy(1.0).epsilon(1e-5, 5)
    assert len(more) == 1
    same, history = noise_of_steps(tmp_path, 5)
    assert (len(same), history.n_epochs) == (0, 5)
    assert history.epsilon(1e-5) == dp.Privacy(1.0).epsilon(1e-5, 5)


def test_a_continuation_on_a_full_disk_is_noticed_by_the_next_one(tmp_path, monkeypatch):
    """Both go on from the end of the same run; the second learns of the first one's epochs."""
    noise_of_steps(tmp_path, 2)
    with monkeypatch.context() as patch:
        Disk(patch, files=2)
        with pytest.warns(UserWarning, match="No space left"):
            lost, _ = noise_of_steps(tmp_path, 5)
    with pytest.warns(UserWarning, match=r"cut off after epoch 2 of 5 .* up to 3 epoch"):
        other, history = noise_of_steps(tmp_path, 6)
    assert abs(angle(lost[0], other[0])) < 0.9
    assert history.epsilon(1e-5) == dp.Privacy(1.0).epsilon(1e-5, 6 + 3)


def test_without_space_for_its_seed_private_training_does_not_begin(tmp_path, monkeypatch):
    Disk(monkeypatch, files=0)
    with pytest.raises(ModelFileError, match="No space left"):
        noise_of_steps(tmp_path, 2)


def test_an_interrupted_run_went_no_further_than_its_checkpoint(tmp_path):
    def interrupt(event):
        if event.epoch == 2:
            signal.raise_signal(signal.SIGINT)

    with pytest.warns(UserWarning, match="interrupted"):
        _, history = noise_of_steps(tmp_path, 6, callbacks=[interrupt])
    assert history.n_epochs == 2
    _, history = noise_of_steps(tmp_path, 4)
    assert history.epsilon(1e-5) == dp.Privacy(1.0).epsilon(1e-5, 4)


def test_a_checkpoint_without_a_plan_counts_as_cut_off(tmp_path, monkeypatch):
    """As those of earlier versions."""
    monkeypatch.setattr(NoisePlan, "entry", lambda self, ended: None)
    noise_of_steps(tmp_path, 3)
    monkeypatch.undo()
    with pytest.warns(UserWarning, match=r"cut off after epoch 3 of 5"):
        _, history = noise_of_steps(tmp_path, 5)
    assert history.epsilon(1e-5) == dp.Privacy(1.0).epsilon(1e-5, 5 + 2)


@pytest.mark.parametrize(
    "plan",
    [1, "text", [], {}, {"max_epochs": 0, "horizon": 1, "ended": True},
     {"max_epochs": 1, "horizon": 1, "ended": 1}, {"max_epochs": 1, "horizon": 1}],
)  # fmt: skip
def test_a_plan_of_another_form_is_refused(plan, tmp_path, monkeypatch):
    monkeypatch.setattr(NoisePlan, "entry", lambda self, ended: plan)
    noise_of_steps(tmp_path, 1)
    monkeypatch.undo()
    with pytest.raises(ModelFileError, match="plan of the noise"):
        noise_of_steps(tmp_path, 1)


def test_without_a_seed_a_checkpoint_holds_the_one_that_was_drawn(tmp_path):
    def kill(event):
        raise Killed

    first, second = small_net(), small_net()
    with pytest.raises(Killed):
        fit(small_net(), seed=None, checkpoint=tmp_path / "a", callbacks=[kill])
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    fit(first, seed=None, checkpoint=tmp_path / "a")
    fit(second, seed=None, checkpoint=tmp_path / "b")
    np.testing.assert_array_equal(first.theta, second.theta)
    # A run that had ended goes on with another seed.
    fit(first, seed=None, checkpoint=tmp_path / "a", max_epochs=5)
    fit(second, seed=None, checkpoint=tmp_path / "b", max_epochs=5)
    assert (first.theta != second.theta).all()


def test_every_epoch_that_began_is_counted():
    class InterruptStep8(Transformation):
        def update(self, g, state, step):
            if step.t == 8:
                raise KeyboardInterrupt
            return g, state

    class Interrupting(dp.Adam):
        def transformations(self):
            return (InterruptStep8(), *super().transformations())

    net = small_net()
    with pytest.warns(UserWarning, match="interrupted"):
        history = fit(net, solver=Interrupting())
    assert history.n_epochs == 1
    assert history.progress.mu_squared == 2.0
    history = fit(net, resume=history, max_epochs=2)
    assert history.progress.mu_squared == 4.0
    stopped = fit(small_net(), callbacks=[lambda event: event.epoch == 2], max_epochs=50)
    assert stopped.epsilon(1e-5) == dp.Privacy(1.0).epsilon(1e-5, 2)


def test_noises_of_several_calls_add_up():
    net = small_net()
    history = fit(net, noise=2.0, max_epochs=4)
    history = fit(net, noise=1.0, max_epochs=2, resume=history)
    assert history.progress.mu_squared == 4 / 4 + 2
    assert history.epsilon(1e-5) == epsilon_of(1e-5, np.sqrt(3.0))
    search = {"batch_size": 5, "max_epochs": 1, "engine": "reference"}
    assert dp.fit(net, X, CLASSES, resume=history, **search).epsilon(1e-5) == np.inf


def test_what_was_not_private_stays_so():
    net = small_net()
    plain = dp.fit(net, X, CLASSES, max_epochs=1, engine="reference")
    assert plain.epsilon(0.5) == np.inf
    assert fit(net, resume=plain).epsilon(0.5) == np.inf
    assert fit(small_net(), noise=0.0).epsilon(0.5) == np.inf


# ---------------------------------------------------------------- the account


@pytest.mark.parametrize("epochs", [1, 7, 60])
@pytest.mark.parametrize("noise", [0.8, 4.0, 20.0])
def test_delta_by_integration_over_what_is_seen(noise, epochs):
    """δ = ∫ max(0, p - e^ε q): E observations of N(1, noise²) or N(0, noise²), added up."""
    for epsilon in (0.0, 0.3, 2.0, 9.0):
        scale = noise * np.sqrt(epochs)
        p, q = norm(epochs, scale), norm(0, scale)
        x = np.linspace(-12 * scale, epochs + 12 * scale, 400_001)
        expected = trapezoid(np.maximum(0, p.pdf(x) - np.exp(epsilon + q.logpdf(x))), x)
        found = delta_of(epsilon, np.sqrt(epochs) / noise)
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-11)


def test_composition_by_convolving_privacy_losses():
    """The loss of one epoch is N(μ²/2, μ²); of E epochs, its density E times convolved."""
    noise, epochs = 3.0, 12
    mu, step = 1 / noise, 1e-3
    losses = np.arange(-40, 40, step)
    of_one = norm(mu**2 / 2, mu).pdf(losses) * step
    of_all = np.fft.fftshift(np.fft.ifft(np.fft.fft(np.fft.ifftshift(of_one)) ** epochs).real)
    for epsilon in (0.5, 2.0, 5.0):
        expected = (of_all * np.maximum(0, -np.expm1(epsilon - losses))).sum()
        found = delta_of(epsilon, np.sqrt(epochs) / noise)
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-9)


@pytest.mark.parametrize(
    ("epochs", "noise", "expected"),
    [(1, 4.0, 0.92634152), (20, 4.0, 4.98330641), (20, 6.058, 3.09066402), (100, 1.5, 49.88371241)],
)
def test_epsilon_as_google_s_dp_accounting_computes_it(epochs, noise, expected):
    """By its PLDAccountant, version 0.4, at δ = 1e-5; it rounds up."""
    assert dp.Privacy(noise).epsilon(1e-5, epochs) == pytest.approx(expected, abs=1e-7)


@given(st.floats(1e-3, 100), st.floats(1e-12, 0.3), st.integers(1, 10_000))
def test_the_least_noise_for_a_wish(epsilon, delta, epochs):
    privacy = dp.Privacy.of(epsilon, delta, epochs)
    assert delta_of(epsilon, np.sqrt(epochs) / privacy.noise) <= delta * (1 + 1e-9)
    assert privacy.epsilon(delta, epochs) == pytest.approx(epsilon, rel=1e-6)
    assert dp.Privacy(privacy.noise * 0.999).epsilon(delta, epochs) > epsilon
    assert privacy.epsilon(delta, epochs + 1) > epsilon


def test_the_ends_of_the_account():
    assert dp.Privacy(0.0).epsilon(1e-5, 1) == np.inf
    assert dp.Privacy(5e-324).epsilon(1e-5, 1) == np.inf
    assert dp.Privacy(1e9).epsilon(1e-5, 1) == 0.0
    assert dp.search.History().epsilon(1e-5) == 0.0


# ---------------------------------------------------------------- what leaks, and what is wrong


def test_the_loss_on_the_rows_stops_nothing():
    history = fit(small_net(), max_epochs=30, tol=1e6, patience=0)
    assert history.n_epochs == 30
    assert history.stop_reason == "max_epochs"
    public = {"validation": (X + 1, CLASSES), "tol": 1e6, "patience": 2, "max_epochs": 30}
    assert fit(small_net(), **public).stop_reason == "converged"
    assert fit(small_net(), restore_best=False, **public).n_epochs == 30


@pytest.mark.parametrize(
    ("search", "said"),
    [
        ({"solver": dp.LBFGS()}, "SGD, Adam or AdamW, got LBFGS"),
        ({"solver": dp.KFAC()}, "SGD, Adam or AdamW, got KFAC"),
        ({"validation": 0.2}, r"validation is a fraction of the rows, 0\.2.*validation=\(X, y\)"),
        ({"schedule": dp.schedules.Adaptive()}, r"Adaptive depends on the loss.*Cosine\(\)"),
        ({"schedule": dp.schedules.Adaptive(), "validation": (X, CLASSES), "restore_best": False},
         "Adaptive depends on the loss"),
        ({"rows": [1, 5, 5, 5, 2, 1]}, r"rows names 3 row\(s\) more than once.*Name each row once"),
        ({"engine": dp.Xla("bfloat16")}, "dtype of Xla is 'bfloat16', but gradients of this"),
    ],
)  # fmt: skip
def test_what_would_leak_is_refused(search, said):
    net = small_net()
    before = net.theta.copy()
    with pytest.raises(ValueError, match=said):
        fit(net, **search)
    np.testing.assert_array_equal(net.theta, before)


def test_a_custom_solver_that_sees_the_rows_is_refused():
    class Curious(Transformation):
        needs_fisher = True

        def update(self, g, state, step):
            return -g, state

    class Seeing(dp.search.FirstOrder):
        def transformations(self):
            return (Curious(),)

    with pytest.raises(ValueError, match="got Seeing"):
        fit(small_net(), solver=Seeing())


@pytest.mark.parametrize("engine", [*ENGINES[:2], pytest.param("xla", marks=pytest.mark.slow)])
@pytest.mark.parametrize(("reduction", "total"), [("sum", 5), ("mean", 1), ("sklearn", 1)])
def test_a_custom_solver_is_told_the_batch_size_and_not_the_sum_of_weights(
    reduction, total, engine
):
    """Σ_n w_n would reveal the weights of rows."""

    @dataclass(frozen=True)
    class MeanGradient(Transformation):
        def update(self, g, state, step):
            return -0.1 * g / step.total, state

    @dataclass(frozen=True)
    class Averaging(dp.search.FirstOrder):
        def transformations(self):
            return (MeanGradient(),)

    net, other = small_net(reduction=reduction), small_net(reduction=reduction)
    settings = {"sample_weight": WEIGHTS, "engine": engine, "max_epochs": 1, "noise": 0.0}
    fit(net, solver=Averaging(), **settings)
    fit(other, solver=dp.SGD(0.1 / total, momentum=0.0), **settings)
    np.testing.assert_allclose(net.theta, other.theta, rtol=1e-12)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"noise": -1.0}, "noise of Privacy must be a number >= 0, got -1.0"),
        ({"noise": np.nan}, "noise of Privacy must be a number >= 0, got nan"),
        ({"noise": "much"}, "noise of Privacy must be a number >= 0, got 'much'"),
        ({"noise": 1, "max_norm": 0}, "max_norm of Privacy must be a number > 0, got 0"),
        ({"noise": 1, "max_norm": np.inf}, "max_norm of Privacy must be a number > 0, got inf"),
        ({"noise": 1, "seed": -1}, "seed of Privacy must be an int in 0 to"),
        ({"noise": 1, "seed": 2**128}, "seed of Privacy must be an int in 0 to"),
    ],
)
def test_what_privacy_does_not_take(wrong, said):
    with pytest.raises(ValueError, match=said):
        dp.Privacy(**wrong)


def test_what_the_account_does_not_take():
    with pytest.raises(TypeError, match=r"privacy must be a deltaprop\.Privacy, such as"):
        dp.fit(small_net(), X, CLASSES, privacy=4.0)
    privacy = dp.Privacy(1.0)
    with pytest.raises(ValueError, match=r"delta must be a number in \(0, 1\), got 0"):
        privacy.epsilon(0, 1)
    with pytest.raises(ValueError, match="epochs must be an int >= 1, got 0"):
        privacy.epsilon(0.1, 0)
    with pytest.raises(ValueError, match="epsilon must be a number > 0, got 0"):
        dp.Privacy.of(0, 1e-5, 1)
    with pytest.raises(ValueError, match=r"delta must be a number in \(0, 1\), got 1"):
        dp.Privacy.of(1, 1, 1)
    with pytest.raises(ValueError, match=r"epochs must be an int >= 1, got 1\.5"):
        dp.Privacy.of(1, 1e-5, 1.5)
    assert "9" not in repr(dp.Privacy(1.0, seed=99))  # who knows it can take the noise away


# ---------------------------------------------------------------- estimators


ESTIMATORS = {
    dp.MLPClassifier: (CLASSES, "softmax", "cross_entropy", 3),
    dp.MLPRegressor: (X @ [1.0, -2.0, 0.5, 0.0], "identity", "squared_error", 1),
}


def estimator(kind=dp.MLPClassifier, privacy=None, **parameters):
    parameters = {
        "hidden_layer_sizes": (6,), "activation": "tanh", "max_iter": 4, "batch_size": 5,
        "random_state": 0, "engine": "reference", "privacy": privacy or dp.Privacy(1.0, 0.3, 3),
    } | parameters  # fmt: skip
    return kind(**parameters)


@pytest.mark.parametrize("solver", ["adam", "adamw", "sgd"])
@pytest.mark.parametrize("kind", ESTIMATORS)
def test_estimators_train_as_fit_does(kind, solver):
    target, output, loss, H = ESTIMATORS[kind]
    model = estimator(kind, solver=solver).fit(X, target)
    seeds = np.random.RandomState(0)
    net = dp.Network(4, [dp.Dense(6, "tanh"), dp.Dense(H, output)], loss=loss, l2=1e-4,
                     reduction="sklearn", init="sklearn", seed=seeds)  # fmt: skip
    steps = {"adam": dp.Adam(), "adamw": dp.AdamW(), "sgd": dp.SGD()}[solver]
    history = dp.fit(
        net, X, target, solver=steps, max_epochs=4, batch_size=5, seed=seeds,
        privacy=dp.Privacy(1.0, 0.3, 3), engine="reference",
    )  # fmt: skip
    np.testing.assert_array_equal(model.network_.theta, net.theta)
    assert model.loss_curve_ == history.loss_curve
    assert model.privacy_epsilon(1e-5) == history.epsilon(1e-5) == dp.Privacy(1.0).epsilon(1e-5, 4)


def test_the_loss_on_the_rows_stops_no_estimator():
    assert estimator(tol=1e6, n_iter_no_change=1, max_iter=30).fit(X, CLASSES).n_iter_ == 30
    model = estimator(tol=1e6, n_iter_no_change=1, max_iter=30, early_stopping=True)
    assert model.fit(X, CLASSES, X_val=X + 1, y_val=CLASSES).n_iter_ == 3
    model = estimator(tol=1e6, n_iter_no_change=1, max_iter=30, warm_start=True).fit(X, CLASSES)
    assert model.set_params(privacy=None).fit(X, CLASSES).n_iter_ == 3


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"early_stopping": True}, r"validation is a fraction of the rows, 0\.1"),
        ({"class_weight": "balanced"}, "class_weight='balanced' is computed from the rows"),
        ({"solver": "lbfgs"}, "SGD, Adam or AdamW, got LBFGS"),
        ({"solver": dp.KFAC()}, "SGD, Adam or AdamW, got KFAC"),
        ({"learning_rate": "adaptive"}, "schedule Adaptive depends on the loss on the rows"),
        ({"engine": dp.Xla("bfloat16")}, "dtype of Xla is 'bfloat16'"),
        ({"privacy": 4.0}, "The 'privacy' parameter of MLPClassifier must be"),
    ],
)
def test_what_would_leak_from_an_estimator_is_refused(parameters, message):
    model = estimator(**parameters)
    with pytest.raises(ValueError, match=message):
        model.fit(X, CLASSES)
    assert not hasattr(model, "coefs_")


def test_weights_of_classes_that_do_not_depend_on_the_rows_are_allowed():
    weights = {0: 1.0, 1: 2.0, 2: 0.5}
    assert np.isfinite(estimator(class_weight=weights).fit(X, CLASSES).loss_)


@pytest.mark.parametrize("how", ["partial_fit", "warm_start"])
def test_an_estimator_that_goes_on_adds_to_the_account(how):
    model = estimator(max_iter=2, warm_start=True).fit(X, CLASSES)
    before = model.privacy_epsilon(1e-5)
    assert before == dp.Privacy(1.0).epsilon(1e-5, 2)
    again = model.partial_fit if how == "partial_fit" else model.fit
    epochs = 3 if how == "partial_fit" else 4
    assert again(X, CLASSES).privacy_epsilon(1e-5) == dp.Privacy(1.0).epsilon(1e-5, epochs)
    model.set_params(privacy=None)
    assert again(X, CLASSES).privacy_epsilon(1e-5) == np.inf
    model.set_params(privacy=dp.Privacy(1.0))
    assert again(X, CLASSES).privacy_epsilon(1e-5) == np.inf
    model.set_params(warm_start=False)
    assert model.fit(X, CLASSES).privacy_epsilon(1e-5) == before


def test_what_can_be_asked_of_the_account():
    with pytest.raises(NotFittedError):
        estimator().privacy_epsilon(1e-5)
    assert estimator().set_params(privacy=None).fit(X, CLASSES).privacy_epsilon(1e-5) == np.inf
    with pytest.raises(ValueError, match=r"delta must be a number in \(0, 1\), got 2"):
        estimator().fit(X, CLASSES).privacy_epsilon(2)


def test_a_saved_estimator_has_the_account_and_not_the_noise(tmp_path):
    model = estimator(privacy=dp.Privacy(2.0)).fit(X, CLASSES)
    dp.save(model, tmp_path / "model.dp")
    for copied in (dp.load(tmp_path / "model.dp"), pickle.loads(pickle.dumps(model))):
        assert copied.privacy == dp.Privacy(2.0)
        assert copied.privacy_epsilon(1e-5) == model.privacy_epsilon(1e-5)
        assert copied._progress.noise_seed is None


def test_an_estimator_goes_on_from_a_checkpoint_with_its_account(tmp_path):
    parameters = {"checkpoint": dp.Checkpoint(tmp_path, steps=3), "privacy": dp.Privacy(2.0)}
    first = estimator(max_iter=2, **parameters).fit(X, CLASSES)
    more = estimator(max_iter=5, **parameters).fit(X, CLASSES)
    assert first.privacy_epsilon(1e-5) == dp.Privacy(2.0).epsilon(1e-5, 2)
    assert more.privacy_epsilon(1e-5) == dp.Privacy(2.0).epsilon(1e-5, 5)
