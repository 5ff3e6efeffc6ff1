"""Layers with groups, and periodic features of the inputs."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import deltaprop as dp
from deltaprop.engines import xla
from deltaprop.explain.steps import steps_of
from deltaprop.explain.values import batch_of
from deltaprop.model.groups import Groups

from .engines import OTHER_ENGINES
from .test_files import rewritten

N, D = 23, 4
rng = np.random.default_rng(0)
X, y = rng.normal(size=(N, D)), rng.integers(0, 3, N)


def periodic(dropout=0.0, seed=0, **options: Any) -> dp.Network:
    """Periodic features of two inputs, which are mapped to units of each input, and two layers."""
    first = dp.Periodic(D, columns=[0, 2], frequencies=5)
    layers = [first, first.mapped(3, "relu"), dp.Dense(6, "silu", dropout), dp.Dense(3, "softmax")]
    given: dict[str, Any] = {"loss": "cross_entropy", "reduction": "mean", "l2": 0.1}
    return dp.Network(D, layers, seed=seed, **given | options)


def grouped(**options: Any) -> dp.Network:
    """Groups of other sizes and orders, together with r and α."""
    layers = [
        dp.Dense(5, "tanh", groups=([7, 7, -1, 3], [3, -1, 7, 7, 3]), input_scale=True),
        dp.Dense(4, "gelu", 0.3, groups=([0, 1, 0, 1, 0], [1, 1, 0, 0]), trainable_activation=True),
        dp.Dense(3, "softmax", groups=([0, 0, 1, 1], [0, 0, 1])),
    ]
    given: dict[str, Any] = {"loss": "cross_entropy", "reduction": "mean", "l2": 0.1, "seed": 0}
    return dp.Network(D, layers, **given | options)


def trained(engine, solver, net, table=X, **options: Any) -> dp.Network:
    dp.fit(net, table, y, solver=solver, engine=engine,
           **{"batch_size": 8, "max_epochs": 3, "patience": np.inf} | options)  # fmt: skip
    return net


def missing(net: dp.Network) -> list[np.ndarray]:
    """The weights that do not exist."""
    pairs = zip(net.layers, net.W, strict=True)
    return [W[~layer.groups.connected()] for layer, W in pairs if layer.groups is not None]


# ---------------------------------------------------------------- the equations


def test_loss_and_gradient_are_those_of_a_periodic_embedding_in_pytorch():
    """[x, cos(x w + b)] V + c of each column by itself, then a plain network."""
    net = periodic()
    J, K, columns = 2, 5, [0, 2]
    W, b, alpha = net.W, net.b, net.alpha[0]
    assert alpha is not None
    leaf = {
        "own": W[0][range(D), range(D)], "own_b": b[0][:D], "own_alpha": alpha[:D],
        "w": np.stack([W[0][j, D + K * i : D + K * (i + 1)] for i, j in enumerate(columns)]),
        "b": b[0][D:].reshape(J, K), "alpha": alpha[D:].reshape(J, K),
        "V": np.stack([
            W[1][[j, *range(D + K * i, D + K * (i + 1))]][:, 4 * i : 4 * i + 3]
            for i, j in enumerate(columns)
        ]),
        "c": np.stack([b[1][4 * i : 4 * i + 3] for i in range(J)]),
        "pass": np.array([W[1][1, 3], W[1][3, 7]]), "pass_b": b[1][[3, 7]],
        "W2": W[2], "b2": b[2], "W3": W[3], "b3": b[3],
    }  # fmt: skip
    P = {name: torch.tensor(value.copy(), requires_grad=True) for name, value in leaf.items()}
    x = torch.tensor(X)
    a = x * P["own"] + P["own_b"]
    own = a + P["own_alpha"] * (torch.cos(a) - a)
    phase = x[:, columns][:, :, None] * P["w"] + P["b"]
    features = phase + P["alpha"] * (torch.cos(phase) - phase)
    both = torch.cat([own[:, columns][:, :, None], features], dim=2)
    embedded = torch.einsum("njk,jkq->njq", both, P["V"]) + P["c"]
    passed = own[:, [1, 3]] * P["pass"] + P["pass_b"]
    z = torch.relu(torch.cat(
        [embedded[:, 0], passed[:, :1], embedded[:, 1], passed[:, 1:]], dim=1
    ))  # fmt: skip
    z = torch.nn.functional.silu(z @ P["W2"] + P["b2"]) @ P["W3"] + P["b3"]
    loss = torch.nn.functional.cross_entropy(z, torch.tensor(y))
    decayed = ("own", "w", "V", "pass", "W2", "W3")
    loss = loss + 0.05 * sum((P[name] ** 2).sum() for name in decayed)
    loss.backward()
    assert net.loss(X, y) == pytest.approx(loss.item(), rel=1e-12)
    g = net.gradient(X, y)
    expected = {name: value.grad.numpy() for name, value in P.items()}
    dalpha = g.dalpha[0]
    assert dalpha is not None
    found = {
        "own": g.dW[0][range(D), range(D)], "own_alpha": dalpha[:D],
        "w": np.stack([g.dW[0][j, D + K * i : D + K * (i + 1)] for i, j in enumerate(columns)]),
        "b": g.db[0][D:].reshape(J, K), "alpha": dalpha[D:].reshape(J, K),
        "V": np.stack([
            g.dW[1][[j, *range(D + K * i, D + K * (i + 1))]][:, 4 * i : 4 * i + 3]
            for i, j in enumerate(columns)
        ]),
        "pass": np.array([g.dW[1][1, 3], g.dW[1][3, 7]]), "W2": g.dW[2], "b3": g.db[3],
    }  # fmt: skip
    for name, part in found.items():
        np.testing.assert_allclose(part, expected[name], rtol=1e-9, atol=1e-13, err_msg=name)


def test_groups_of_equal_sizes_are_those_of_a_convolution_in_pytorch():
    """A convolution of one position, whose `groups` divide channels into consecutive parts."""
    layer = dp.Dense(6, "identity", groups=([0, 0, 1, 1], [0, 0, 0, 1, 1, 1]))
    net = dp.Network(D, [layer], loss="squared_error", seed=0)
    kernel = torch.tensor(np.concatenate([net.W[0][:2, :3].T, net.W[0][2:, 3:].T])[:, :, None])
    theirs = torch.nn.functional.conv1d(
        torch.tensor(X)[:, :, None], kernel, torch.tensor(net.b[0]), groups=2
    )
    np.testing.assert_allclose(net.predict(X), theirs[:, :, 0].numpy(), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("make", [periodic, grouped])
def test_every_equation_is_verified(make):
    net = make()
    report = net.check(X, y, rng.random(N) + 0.5)
    assert report.ok, str(report)
    equations = [row.equation for row in report.rows]
    inputs = "X_0" if make is periodic else "(X_0 ⊙ r_0)"
    assert f"a_0 = {inputs} (C_0 ⊙ W_0) + b_0" in equations
    assert f"∂L/∂W_0 = C_0 ⊙ ({inputs}ᵀ δ_0) + λ W_0" in equations


@pytest.mark.parametrize("make", [periodic, grouped])
def test_weights_between_groups_do_not_exist(make):
    net = make()
    assert missing(net)
    for W in missing(net):
        assert W.size
        assert not W.any()
    before = net.predict(X), net.loss(X, y) - 0.05 * sum((W * W).sum() for W in net.W)
    for layer, W in zip(net.layers, net.W, strict=True):
        if layer.groups is not None:
            W[~layer.groups.connected()] = 5.0
    t = net.trace(X, y)
    np.testing.assert_allclose(t.X[-1], before[0], rtol=1e-12)
    assert net.check(X, y).ok
    np.testing.assert_allclose(net.predict(X), before[0], rtol=1e-12)
    np.testing.assert_allclose(net.predict(X[:1]), before[0][:1], rtol=1e-12)


@pytest.mark.parametrize("make", [periodic, grouped])
def test_norms_are_those_of_the_gradients_of_single_samples(make):
    net = make(l2=0.0, reduction="sum")
    alone = [np.linalg.norm(net.gradient(X[[n]], y[[n]]).flat) for n in range(N)]
    np.testing.assert_allclose(net.sample_norms(X, y), alone, rtol=1e-10)
    np.testing.assert_allclose(net.sample_norms(sp.csr_matrix(X), y), alone, rtol=1e-10)
    np.testing.assert_allclose(xla.sample_norms(net, X, y), alone, rtol=1e-10)


@pytest.mark.parametrize("make", [periodic, grouped])
def test_the_signal_to_noise_ratio_counts_the_weights_that_exist(make):
    net = make(l2=0.0, reduction="sum")
    signals = net.trace(X, y).summary()
    each = [net.gradient(X[[n]], y[[n]]).dW for n in range(N)]
    for l in range(net.n_layers):
        of_layer = np.stack([dW[l] for dW in each])
        mean = of_layer.mean(axis=0)
        deviation = np.sqrt(((of_layer - mean) ** 2).sum() / (N - 1))
        assert signals.layers[l].snr == pytest.approx(np.linalg.norm(mean) / deviation, rel=1e-9)


# ---------------------------------------------------------------- what is shown


@pytest.mark.parametrize("make", [periodic, grouped])
def test_the_printed_equations_give_the_gradients(make):
    net = make()
    steps, batch = steps_of(net), batch_of(net, X, y)
    given = {name: value for name, value in batch.known.items() if name[0] in "WbrαCM"}
    given |= {name: batch.known[name] for name in (("X", 0), ("y", None), ("π", None), ("N", None))}
    found = type(batch)(batch.form, given).values(steps)
    trace = net.trace(X, y)
    for l in range(net.n_layers):
        np.testing.assert_allclose(found["∂L/∂W", l], trace.dW[l], rtol=1e-9, atol=1e-14)
        np.testing.assert_allclose(found["∂L/∂b", l], trace.db[l], rtol=1e-9, atol=1e-14)
    for format in ("unicode", "latex", "html"):
        assert str(net.derivation(X[:2], y[:2], format=format))
    assert str(net.derivation(X[:2], y[:2], steps=True))


def test_the_description_names_the_groups():
    text = repr(periodic())
    assert "4 → 14 cos with α in 4 groups → 8 relu in 4 groups → 6 silu → 3 softmax" in text


# ---------------------------------------------------------------- training


@pytest.mark.parametrize(("engine", "dtype"), OTHER_ENGINES)
@pytest.mark.parametrize("make", [periodic, grouped])
@pytest.mark.parametrize(
    "solver",
    [
        dp.SGD(0.1), dp.AdamW(0.02, weight_decay=0.1), dp.Muon(0.02),
        dp.Adam(0.02, rate_factors={"alpha": 0.1, "W_0": 0.6}),
    ],
    ids=lambda solver: solver.name,
)  # fmt: skip
def test_engines_agree(engine, dtype, make, solver):
    options = {"sample_weight": rng.random(N) + 0.1, "clip_norm": 1.0}
    one, other = (
        trained(each, solver, make(dtype=dtype), **options) for each in ("reference", engine)
    )
    tolerance = 1e-9 if dtype == "float64" else 2e-3
    np.testing.assert_allclose(other.theta, one.theta, rtol=tolerance, atol=tolerance)
    for W in missing(other):
        assert not W.any()


@pytest.mark.parametrize("engine", ["fused", "xla"])
@pytest.mark.parametrize("make", [periodic, grouped])
def test_engines_agree_on_lbfgs_and_sparse_rows(engine, make):
    table = sp.csr_matrix(X * (np.abs(X) > 0.7))
    for solver, rtol in ((dp.LBFGS(), 1e-5), (dp.Adam(0.01), 1e-9)):
        net = make() if solver.name == "adam" else periodic()
        one, other = (trained(each, solver, net.copy(), table) for each in ("reference", engine))
        np.testing.assert_allclose(other.theta, one.theta, rtol=rtol, atol=rtol)


@given(st.lists(st.integers(0, 3), min_size=1, max_size=30), st.lists(st.integers(0, 99)))
def test_the_blocks_of_groups_have_each_weight_once(inputs, picks):
    groups = Groups(tuple(inputs), tuple(inputs[pick % len(inputs)] for pick in picks))
    counts = np.zeros((len(inputs), len(picks)), int)
    for block in groups.blocks():
        part = counts[block.d : block.d + block.inputs, block.u : block.u + block.units]
        part += np.eye(block.inputs, dtype=int) if block.diagonal else 1
        assert part.size > 0
        assert block.size == (block.inputs if block.diagonal else part.size)
    np.testing.assert_array_equal(counts, groups.connected())


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.integers(0, 2), min_size=D, max_size=D),
    st.lists(st.integers(0, 9), min_size=1, max_size=40),
    st.integers(1, N), st.sampled_from([None, 0.5]), st.booleans(), st.booleans(),
)  # fmt: skip
def test_the_fused_engine_agrees_on_any_groups(inputs, picks, batch, clip, sparse, second):
    groups = (inputs, [inputs[pick % D] for pick in picks])
    table = sp.csr_matrix(X * (np.abs(X) > 0.7)) if sparse else X
    found = []
    for engine in ("reference", "fused"):
        before = [dp.Dense(D, "silu", input_scale=True)] if second else []
        grouped = dp.Dense(len(picks), "tanh", groups=groups, input_scale=second)
        layers = [*before, grouped, dp.Dense(3, "softmax")]
        net = dp.Network(D, layers, loss="cross_entropy", reduction="mean", seed=0)
        trained(engine, dp.AdamW(0.01), net, table, batch_size=batch, clip_norm=clip, max_epochs=2)
        found.append(net)
    np.testing.assert_allclose(found[1].theta, found[0].theta, rtol=1e-7, atol=1e-9)
    expected = found[1].trace(table, y).X[-1]
    for k in (1, 7, N):
        np.testing.assert_allclose(found[1].predict(table[:k]), expected[:k], rtol=1e-7)


def test_few_rows_are_validated_and_predicted_with_the_present_weights():
    net = periodic(l2=0)
    few = (X[:5], y[:5])
    history = dp.fit(net, X, y, validation=few, max_epochs=3, restore_best=False, engine="fused")
    assert history.validation_loss_curve[-1] == pytest.approx(net.loss(*few), rel=1e-9)
    net.predict(X)
    net.theta *= 1.5
    np.testing.assert_allclose(net.predict(X[:3]), net.trace(X, y).X[-1][:3], rtol=1e-9)


@pytest.mark.parametrize("inputs", [[0, 1] * 30, np.random.default_rng(0).integers(0, 3, 60)])
def test_the_fused_engine_agrees_on_groups_that_alternate(inputs):
    """Their weights have hardly any neighbours, but lie along diagonals, or nowhere."""
    table = np.random.default_rng(1).normal(size=(200, 60))
    target = (table[:, 0] > 0).astype(int)
    found = []
    for engine in ("reference", "fused"):
        layers = [dp.Dense(60, "silu", groups=(inputs, inputs)), dp.Dense(1, "logistic")]
        net = dp.Network(60, layers, loss="binary_cross_entropy", reduction="mean", seed=0)
        dp.fit(net, table, target, solver=dp.AdamW(0.01), batch_size=50, max_epochs=2,
               engine=engine)  # fmt: skip
        found.append(net)
    np.testing.assert_allclose(found[1].theta, found[0].theta, rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(found[1].predict(table), found[0].predict(table), rtol=1e-7)


def test_the_fused_engine_agrees_on_large_layers():
    """On several threads, and with activations stored by rows."""
    random = np.random.default_rng(0)
    table, target = random.normal(size=(3000, 20)), random.integers(0, 3, 3000)
    found = []
    for engine in ("reference", "fused"):
        first = dp.Periodic(20, frequencies=8)
        layers = [first, first.mapped(4), dp.Dense(60, "silu", 0.1), dp.Dense(3, "softmax")]
        net = dp.Network(20, layers, loss="cross_entropy", reduction="mean", seed=0)
        dp.fit(net, table, target, solver=dp.AdamW(0.01), batch_size=700, max_epochs=2,
               engine=engine)  # fmt: skip
        found.append(net)
    np.testing.assert_allclose(found[1].theta, found[0].theta, rtol=1e-8, atol=1e-10)


def test_parameters_are_divided_among_devices():
    one, other = (
        trained(engine, dp.AdamW(0.02), periodic())
        for engine in ("reference", dp.Xla(shard_parameters=True))
    )
    np.testing.assert_allclose(other.theta, one.theta, rtol=1e-9, atol=1e-12)


def test_periodic_features_learn_a_function_that_changes_quickly():
    x = np.linspace(-2, 2, 400)[:, None]
    target = np.sin(9 * x[:, 0])
    errors = []
    for layers in (
        [dp.Dense(32, "silu"), dp.Dense(1)],
        [first := dp.Periodic(1, scale=1.0), first.mapped(4), dp.Dense(32, "silu"), dp.Dense(1)],
    ):
        net = dp.Network(1, layers, loss="squared_error", reduction="mean", seed=0)
        dp.fit(net, x, target, solver=dp.Adam(0.01), batch_size=100, max_epochs=100,
               engine="reference")  # fmt: skip
        errors.append(net.loss(x, target))
    assert errors[1] < errors[0] / 20


# ---------------------------------------------------------------- estimators


def test_an_estimator_has_periodic_features_of_the_chosen_columns(tmp_path):
    settings = {"periodic": 6, "periodic_columns": [3, 1], "max_iter": 4, "random_state": 0}
    model = dp.MLPClassifier((7,), solver="adamw", input_scale=3.0, dropout=0.1, **settings)
    with pytest.warns(UserWarning, match="Maximum iterations"):
        model.fit(X, y)
    net = model.network_
    assert [layer.units for layer in net.layers] == [4 + 12, 2 * 4 + 2, 7, 3]
    assert net.r[2] is not None
    assert net.check(X, y).ok
    solver = model._solver()
    assert solver.input_scale == 0
    assert solver.rate_factors == {"W_0": 0.5, "b_0": 0.1, "alpha_0": 0.1, "r": 3.0}
    dp.save(model, tmp_path / "model.dp")
    np.testing.assert_array_equal(dp.load(tmp_path / "model.dp").predict_proba(X),
                                  model.predict_proba(X))  # fmt: skip
    before = net.alpha[0].copy(), net.r[2].copy()
    model.partial_fit(X, y)
    for after, kept in zip((model.network_.alpha[0], model.network_.r[2]), before, strict=True):
        assert (after != 1).any()
        np.testing.assert_allclose(after, kept, atol=0.05)


@pytest.mark.filterwarnings("ignore:Stochastic")
def test_frozen_layers_with_periodic_features_stay_as_they_are():
    model = dp.MLPClassifier((7,), solver="adamw", input_scale=3.0, periodic=3, max_iter=3,
                             random_state=0, freeze=[0, 2])  # fmt: skip
    model.fit(X, y)
    before = model.network_.copy()
    model.partial_fit(X, y)
    net = model.network_
    for l, frozen in enumerate((True, False, True, False)):
        assert np.array_equal(net.W[l], before.W[l]) == frozen
    np.testing.assert_array_equal(net.alpha[0], before.alpha[0])
    np.testing.assert_array_equal(net.r[2], before.r[2])
    with pytest.raises(ValueError, match="ints from 0 to 3"):
        model.set_params(freeze=[4]).partial_fit(X, y)


def test_sgd_and_lbfgs_train_periodic_features():
    for solver in ("sgd", "lbfgs", "muon"):
        model = dp.MLPRegressor(
            hidden_layer_sizes=7, solver=solver, periodic=3, max_iter=5, random_state=0
        )
        with pytest.warns(UserWarning, match="."):
            model.fit(X, X[:, 0])
        assert np.isfinite(model.predict(X)).all()


def test_tabular_estimators_give_periodic_features_to_numbers_and_dates(tmp_path):
    table = pd.DataFrame(
        {"kind": ["a", "b", "c"] * 20, "x": rng.normal(size=60),
         "day": pd.date_range("2024-01-01", periods=60)}
    )  # fmt: skip
    target = np.sin(5 * table["x"])
    model = dp.TabularRegressor((16,), periodic=5, cv=2, max_iter=3, random_state=0).fit(
        table, target
    )
    names = model.encoder_.get_feature_names_out()
    for net, member in zip(model.networks_, model.members_, strict=True):
        chosen = [names[j] for j in member.periodic_columns]
        assert chosen == [name for name in names if name[:3] in ("x", "day")]
        assert net.layers[0].columns == tuple(member.periodic_columns)
    assert not len(model.encoder_.bins_)
    assert model.check(table, target).ok
    dp.save(model, tmp_path / "model.dp")
    np.testing.assert_array_equal(
        dp.load(tmp_path / "model.dp").predict(table), model.predict(table)
    )
    without = dp.TabularRegressor((16,), periodic=5, cv=1, max_iter=2, random_state=0)
    without.fit(table[["kind"]], target)  # there is no number
    assert without.network_.n_layers == 2


# ---------------------------------------------------------------- initial values, files, errors


def test_each_group_is_drawn_as_a_layer_of_its_own():
    inputs, units = np.repeat([0, 1], [2, 300]), np.repeat([0, 1], 300)
    layer = dp.Dense(600, groups=(inputs, units))
    net = dp.Network(302, [layer, dp.Dense(1)], loss="huber", init="he_normal", seed=0)
    assert net.W[0][:2, :300].std() == pytest.approx(1.0, rel=0.1)
    assert net.W[0][2:, 300:].std() == pytest.approx((2 / 300) ** 0.5, rel=0.02)


def test_a_periodic_layer_starts_with_the_inputs_and_their_cosines():
    first = dp.Periodic(2, columns=[1], frequencies=400, scale=0.5)
    net = dp.Network(2, [first, dp.Dense(1)], loss="huber", seed=0)
    table = rng.normal(size=(5, 2))
    outputs = net.trace(table, np.zeros(5)).X[1]
    np.testing.assert_array_equal(outputs[:, :2], table)
    w, b = net.W[0][1, 2:], net.b[0][2:]
    np.testing.assert_allclose(outputs[:, 2:], np.cos(table[:, [1]] * w + b), rtol=1e-12)
    assert w.std() == pytest.approx(2 * np.pi * 0.5, rel=0.1)
    assert np.abs(b).max() <= np.pi
    assert b.std() == pytest.approx(np.pi / 3**0.5, rel=0.1)


@pytest.mark.parametrize("make", [periodic, grouped])
def test_files_copies_and_pickles_keep_the_groups(tmp_path, make):
    net = make()
    dp.save(net, tmp_path / "model.dp")
    for twin in (dp.load(tmp_path / "model.dp"), net.copy(), pickle.loads(pickle.dumps(net))):
        np.testing.assert_allclose(twin.predict(X), net.predict(X), rtol=1e-12)
        assert twin.config() == net.config()
        assert twin.layers == net.layers


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        (3, "must be two sequences of int"), (([0, 1], [0.5, 1]), "must be two sequences of int"),
        (([0, 1], [0]), "each of its 2 unit"), (([0, 0], [0, 1]), "no input is in group 1"),
    ],
)  # fmt: skip
def test_wrong_groups_raise(groups, message):
    with pytest.raises(ValueError, match=message):
        dp.Dense(2, groups=groups)


def test_groups_for_another_number_of_inputs_raise():
    with pytest.raises(ValueError, match=r"groups of layer 0 are for 2 input\(s\), but it has 4"):
        dp.Network(D, [dp.Dense(2, groups=([0, 1], [0, 1]))], loss="huber")
    with pytest.raises(ValueError, match=r"groups of layer 0 are for 3 input\(s\), but it has 4"):
        dp.Network(D, [dp.Periodic(3), dp.Dense(1)], loss="huber")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"columns": [4]}, "from 0 to 3"), ({"columns": [1, 1]}, "different numbers"),
        ({"frequencies": 0}, "frequencies of a Periodic layer"), ({"scale": 0}, "scale of a"),
    ],
)  # fmt: skip
def test_wrong_periodic_layers_raise(arguments, message):
    with pytest.raises(ValueError, match=message):
        dp.Periodic(D, **arguments)


def test_solvers_without_groups_say_so():
    for options in ({"solver": dp.KFAC()}, {"solver": dp.SGD(), "privacy": dp.Privacy(1.0)}):
        with pytest.raises(ValueError, match=r"layers with .* groups"):
            dp.fit(periodic(), X, y, engine="reference", **options)


@pytest.mark.parametrize(
    "change",
    [
        {"frequencies": 10**12}, {"columns": [0, 0]}, {"columns": ["x", 2]}, {"scale": -1},
        {"n_features": 10**12},
    ],
)  # fmt: skip
def test_a_damaged_file_of_a_periodic_layer_is_not_opened(tmp_path, change):
    """A file must not make the reader create a layer that is larger than its parameters."""
    dp.save(periodic(), tmp_path / "good.dp")

    def damage(header, tensors):
        header["model"]["config"]["layers"][0]["periodic"] |= change

    def enlarge(header, tensors):
        header["model"]["config"]["layers"][0]["units"] = 10**12

    for name, edit in (("damaged", damage), ("enlarged", enlarge)):
        path = rewritten(tmp_path / "good.dp", tmp_path / f"{name}.dp", edit)
        with pytest.raises(ValueError, match=f"{name}.dp"):
            dp.load(path)
