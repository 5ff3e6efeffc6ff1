"""Muon: its steps are orthogonal, PyTorch takes the same ones, and so do all engines."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.datasets import load_iris

import deltaprop as dp
from deltaprop.optim import transforms
from deltaprop.optim.transforms import orthogonalized

X, y = load_iris(return_X_y=True)
X = (X - X.mean(0)) / X.std(0)
NEAR_ONE = 0.68, 1.14  # between these are the singular values of an orthogonalized matrix


def deep_net(hidden=(7, 6, 9), dtype="float64"):
    layers = [dp.Dense(H, "tanh") for H in hidden]
    return dp.Network(
        4, [*layers, dp.Dense(3, "softmax")],
        loss="cross_entropy", reduction="mean", dtype=dtype, seed=0,
    )  # fmt: skip


def fit(net, solver=None, **settings):
    settings = {"batch_size": 50, "max_epochs": 4, "engine": "reference"} | settings
    return dp.fit(net, X, y, solver=solver or dp.Muon(0.02), **settings)


def kept_values(G, O):
    """The singular values of O that belong to singular vectors of G, unless they are tiny in G."""
    U, S, Vt = np.linalg.svd(G, full_matrices=False)
    kept = U.T @ O @ Vt.T
    large = np.linalg.norm(G) * 0.01 < S
    np.testing.assert_allclose(kept, np.diag(np.diag(kept)), atol=1e-9)
    return np.diag(kept)[large]


@given(st.integers(1, 12), st.integers(1, 12), st.integers(0, 2**31), st.floats(1e-3, 1e3))
def test_singular_vectors_are_kept_and_singular_values_become_about_one(D, H, seed, scale):
    G = scale * np.random.default_rng(seed).normal(size=(D, H))
    found = kept_values(G, orthogonalized(G))
    assert (found >= NEAR_ONE[0]).all()
    assert (found <= NEAR_ONE[1]).all()


def test_a_gradient_of_zero_gives_no_step():
    np.testing.assert_array_equal(orthogonalized(np.zeros((3, 2))), np.zeros((3, 2)))


def test_only_hidden_matrices_take_orthogonal_steps():
    muon, adamw = deep_net(), deep_net()
    before = [W.copy() for W in muon.W]
    fit(muon, dp.Muon(0.02, weight_decay=0.0), batch_size=150, max_epochs=1)
    fit(adamw, dp.AdamW(0.02, weight_decay=0.0), batch_size=150, max_epochs=1)
    for l in range(4):
        np.testing.assert_array_equal(muon.b[l], adamw.b[l])
    for l in (0, 3):
        np.testing.assert_array_equal(muon.W[l], adamw.W[l])
    for l in (1, 2):
        step = muon.W[l] - before[l]
        found = kept_values(_gradient(before, l), -step) / (0.02 * 0.2 * max(step.shape) ** 0.5)
        assert len(found) >= 2
        assert (found >= NEAR_ONE[0]).all()
        assert (found <= NEAR_ONE[1]).all()


def _gradient(W, l):
    net = deep_net()
    for own, given_W in zip(net.W, W, strict=True):
        own[...] = given_W
    return net.gradient(X, y).dW[l]


def test_without_a_hidden_matrix_it_is_adamw():
    muon, adamw = deep_net((7,)), deep_net((7,))
    fit(muon, dp.Muon(0.02))
    fit(adamw, dp.AdamW(0.02))
    np.testing.assert_array_equal(muon.theta, adamw.theta)


def steps_of_pytorch(n, monkeypatch):
    """θ after n steps by PyTorch, whose iteration runs in float64 here instead of bfloat16."""
    monkeypatch.setattr(torch.Tensor, "bfloat16", torch.Tensor.clone)
    net = deep_net()
    W = [torch.nn.Parameter(torch.tensor(each.T.copy())) for each in net.W]
    b = [torch.nn.Parameter(torch.tensor(each.copy())) for each in net.b]
    muon = torch.optim.Muon(W[1:3], lr=0.02, weight_decay=0.3, momentum=0.9,
                            adjust_lr_fn="match_rms_adamw")  # fmt: skip
    groups = [{"params": [W[0], W[3]]}, {"params": b, "weight_decay": 0.0}]
    adamw = torch.optim.AdamW(groups, lr=0.02, eps=0, weight_decay=0.3)
    for _ in range(n):
        a = torch.tensor(X)
        for l in range(4):
            a = torch.nn.functional.linear(a, W[l], b[l])
            a = torch.tanh(a) if l < 3 else a
        loss = torch.nn.functional.cross_entropy(a, torch.tensor(y))
        for optimizer in (muon, adamw):
            optimizer.zero_grad()
        loss.backward()
        for optimizer in (muon, adamw):
            optimizer.step()
    return [each.detach().numpy().T for each in W]


MUON = dp.Muon(0.02, weight_decay=0.3, hidden_momentum=0.9, epsilon=1e-300)


def test_it_steps_like_pytorch_s(monkeypatch):
    net = deep_net()
    fit(net, MUON, max_epochs=10, batch_size=150, patience=np.inf)
    for W, theirs in zip(net.W, steps_of_pytorch(10, monkeypatch), strict=True):
        np.testing.assert_allclose(W, theirs, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize(
    ("name", "wrong"), [("COEFFICIENTS", (3.4445, -4.7750, 2.0)), ("ITERATIONS", 4)]
)
def test_a_wrong_constant_is_noticed(name, wrong, monkeypatch):
    monkeypatch.setattr(transforms, name, wrong)
    with pytest.raises(AssertionError):
        test_it_steps_like_pytorch_s(monkeypatch)


@pytest.mark.parametrize("engine", ["fused", "xla"])
@pytest.mark.parametrize("input_scale", [0.0, 6.0])
@pytest.mark.parametrize(("dtype", "rtol"), [("float64", 1e-9), ("float32", 2e-3)])
def test_engines_agree(engine, input_scale, dtype, rtol):
    solver = dp.Muon(0.01, input_scale=input_scale)
    one, two = deep_net(dtype=dtype), deep_net(dtype=dtype)
    fit(one, solver, clip_norm=1.0)
    fit(two, solver, clip_norm=1.0, engine=engine)
    assert two.theta.dtype == dtype
    np.testing.assert_allclose(two.theta, one.theta, rtol=rtol, atol=rtol)


@pytest.mark.parametrize("engine", ["reference", "fused"])
def test_it_continues_from_a_checkpoint_in_the_same_bits(engine, tmp_path):
    whole, parts = deep_net(), deep_net()
    fit(whole, max_epochs=5, engine=engine)
    for n in (2, 5):
        fit(parts, max_epochs=n, engine=engine, checkpoint=tmp_path)
    np.testing.assert_array_equal(whole.theta, parts.theta)


def test_estimators_take_it_by_name_and_save_it(tmp_path):
    settings = {
        "learning_rate_init": 0.02,
        "weight_decay": 0.1,
        "random_state": 0,
        "batch_size": 15,
    }
    model = dp.MLPClassifier((8, 8, 8), solver="muon", max_iter=20, **settings)
    with pytest.warns(UserWarning, match="Maximum"):
        model.fit(X, y)
    assert model.score(X, y) > 0.9
    assert model._solver() == dp.Muon(0.02, weight_decay=0.1)
    dp.save(model.set_params(solver=dp.Muon(0.02)), tmp_path / "model.dp")
    assert dp.load(tmp_path / "model.dp").solver == dp.Muon(0.02)


def test_private_training_can_use_it():
    history = fit(deep_net(), privacy=dp.Privacy(noise=2.0, seed=1), max_epochs=2)
    assert history.epsilon(1e-5) == dp.Privacy(noise=2.0).epsilon(1e-5, 2)


def test_sharded_parameters_are_refused():
    with pytest.raises(ValueError, match=r"shard_parameters .* matrices of whole layers"):
        fit(deep_net(), engine=dp.Xla(shard_parameters=True))


@pytest.mark.parametrize("wrong", [-0.1, 1.0, "high"])
def test_the_momentum_is_a_fraction(wrong):
    with pytest.raises(ValueError, match="hidden_momentum of Muon must be a number in"):
        dp.Muon(hidden_momentum=wrong)
