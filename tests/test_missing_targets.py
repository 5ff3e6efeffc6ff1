"""Targets that are missing (NaN): they contribute neither to the loss nor to the gradient."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from sklearn.metrics import r2_score

import deltaprop as dp
from deltaprop import losses

from .strategies import target
from .trainers import objective

PARAMS: dict[str, dict[str, Any]] = {
    "huber": {"delta": 0.5},
    "quantile": {"quantiles": (0.2, 0.7)},
    "tweedie": {"power": 1.3},
    "binary_cross_entropy": {"label_smoothing": 0.1, "class_weight": (1.0, 3.0)},
}
# Each loss with the output activation with which it has a closed form, if any, and with another.
OUTPUTS = [
    ("squared_error", "identity"), ("squared_error", "softmax"), ("absolute_error", "tanh"),
    ("huber", "identity"), ("log_cosh", "softplus"), ("quantile", "identity"),
    ("poisson", "exp"), ("poisson", "softplus"), ("gamma", "exp"), ("tweedie", "exp"),
    ("gaussian_nll", "mean_variance"), ("gaussian_nll", "exp"),
    ("binary_cross_entropy", "logistic"), ("binary_cross_entropy", "softmax"),
    ("hinge", "identity"),
]  # fmt: skip
each_output = pytest.mark.parametrize(("loss", "output"), OUTPUTS)
K, D = 3, 4  # targets and features


def problem(
    loss: str, output: str, seed: int = 0, N: int = 17, dtype: str = "float64"
) -> tuple[dp.Network, np.ndarray, np.ndarray, np.ndarray]:
    """A network, X, a y whose targets are all known, and one of which about a third is missing."""
    rng = np.random.default_rng(seed)
    H = K * losses.get(loss, **PARAMS.get(loss, {})).outputs_per_target
    H = 2 * K if loss == "quantile" else H
    net = dp.Network(
        D, [dp.Dense(5, "tanh"), dp.Dense(H, output)], seed=seed, dtype=dtype,
        loss=losses.get(loss, **PARAMS.get(loss, {})),
    )  # fmt: skip
    full = target(rng, loss, {"quantiles": (0.2, 0.7)}, N, H, "soft").astype(dtype)
    y = np.where(rng.random(full.shape) < 0.3, np.nan, full)
    y[0], y[1] = full[0], np.nan  # one row is complete, and of one nothing is known
    return net, rng.normal(size=(N, D)).astype(dtype), full, y


def of_one_target(net: dp.Network, k: int) -> tuple[dp.Network, np.ndarray]:
    """The network with the outputs of target k alone, and the numbers of its θ in that of `net`."""
    H = net.n_outputs
    per_target = H // K
    halves = net.loss_function.name == "gaussian_nll"
    outputs = [k, k + K] if halves else list(range(k * per_target, (k + 1) * per_target))
    layers = [*net.layers[:-1], dp.Dense(len(outputs), net.layers[-1].activation)]
    one = dp.Network(D, layers, loss=net.loss_function)
    numbers = dp.Network(D, net.layers, loss=net.loss_function)
    numbers.theta = np.arange(numbers.theta.size)
    places = [*zip(numbers.W[:-1], numbers.b[:-1], strict=True)]
    last = numbers.W[-1][:, outputs], numbers.b[-1][outputs]
    found = np.concatenate([np.r_[W.ravel(), b] for W, b in [*places, last]]).astype(int)
    where = dp.Network(D, layers, loss=net.loss_function)
    for l, (W, b) in enumerate([*places, last]):
        where.W[l][...], where.b[l][...] = W, b
    found = where.theta.astype(int)
    one.theta = net.theta[found]
    return one, found


# ---------------------------------------------------------------- the loss without these terms


@settings(deadline=None, max_examples=60)
@given(
    of=st.sampled_from([pair for pair in OUTPUTS if pair[1] != "softmax"]),
    seed=st.integers(0, 99), weighted=st.booleans(),
)  # fmt: skip
def test_the_gradient_is_that_of_the_loss_without_the_missing_terms(
    of: tuple[str, str], seed: int, weighted: bool
) -> None:
    """Each target alone, on the rows where it is known, is a network of its own."""
    net, X, full, y = problem(*of, seed)
    w = np.random.default_rng(seed).random(len(y)) if weighted else np.ones(len(y))
    L, gradient = 0.0, np.zeros_like(net.theta)
    for k in range(K):
        one, places = of_one_target(net, k)
        known = ~np.isnan(y[:, k])
        L += one.loss(X[known], full[known, k : k + 1], w[known])
        np.add.at(gradient, places, one.gradient(X[known], full[known, k : k + 1], w[known]).flat)
    assert net.loss(X, y, w) == pytest.approx(L)
    np.testing.assert_allclose(net.gradient(X, y, w).flat, gradient, rtol=1e-9, atol=1e-12)


@each_output
def test_what_is_known_of_the_other_rows_does_not_matter(loss: str, output: str) -> None:
    net, X, _, y = problem(loss, output)
    t = net.trace(X, y)
    assert not t.delta[-1][1].any()
    assert np.isfinite(t.loss)
    everything, without = net.gradient(X, y), net.gradient(np.delete(X, 1, 0), np.delete(y, 1, 0))
    np.testing.assert_allclose(everything.flat, without.flat, rtol=1e-9, atol=1e-12)
    np.testing.assert_array_equal(net.sample_norms(X, y)[1], 0)


@each_output
def test_the_equations_hold(loss: str, output: str) -> None:
    net, X, _, y = problem(loss, output)
    found = net.check(X, y)
    assert found.ok, found


@each_output
def test_the_written_equations_are_true(loss: str, output: str) -> None:
    """Each equation, evaluated from its symbols, gives the numbers of the reference equations."""
    from deltaprop.explain.expressions import Symbol, evaluate
    from deltaprop.explain.steps import steps_of
    from deltaprop.explain.values import batch_of

    net, X, _, y = problem(loss, output)
    batch = batch_of(net, X, y)
    steps = steps_of(net, batch.form)
    values = batch.values(steps)
    checked = set()
    for step in steps:
        for left, right, *_ in step.equations:
            if isinstance(left, Symbol) and left.name in ("L", "δ", "g", "∂L/∂W", "∂L/∂b"):
                checked.add(left.name)
                np.testing.assert_allclose(evaluate(right, values), values[left.key], atol=1e-9)
    assert {"L", "δ"} <= checked
    written = str(net.derivation(X, y))
    assert "K is 1 where y is known" in written
    assert "K is 1" not in str(net.derivation(X, np.ones_like(y)))


# ---------------------------------------------------------------- engines


@each_output
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_fused_engine_agrees(loss: str, output: str, dtype: str) -> None:
    net, X, _, y = problem(loss, output, dtype=dtype)
    (L, g), (L_fused, g_fused) = (objective(name, net, X, y) for name in ("reference", "fused"))
    tolerance = 1e-9 if dtype == "float64" else 2e-4
    np.testing.assert_allclose(L_fused, L, rtol=tolerance)
    np.testing.assert_allclose(g_fused, g, rtol=tolerance, atol=tolerance)


@settings(deadline=None, max_examples=25)
@given(
    of=st.sampled_from(OUTPUTS), seed=st.integers(0, 99), N=st.integers(2, 60),
    width=st.sampled_from([3, 40]), solver=st.sampled_from([dp.SGD(0.01), dp.AdamW(0.01)]),
)  # fmt: skip
def test_training_with_missing_targets_is_the_same_in_the_fused_engine(
    of: tuple[str, str], seed: int, N: int, width: int, solver: Any
) -> None:
    agree(of, seed, N, width, solver, "fused")


@pytest.mark.parametrize(
    "of", [OUTPUTS[0], *(pytest.param(of, marks=pytest.mark.slow) for of in OUTPUTS[1:])], ids=str
)
def test_training_with_missing_targets_is_the_same_in_the_xla_engine(of: tuple[str, str]) -> None:
    agree(of, 0, 23, 5, dp.AdamW(0.01), "xla")


def agree(of: tuple[str, str], seed: int, N: int, width: int, solver: Any, engine: str) -> None:
    found = []
    for name in ("reference", engine):
        net, X, _, y = problem(*of, seed, N)
        net = dp.Network(
            D, [dp.Dense(width, "tanh", dropout=0.2), net.layers[-1]], loss=net.loss_function,
            l2=0.1, reduction="mean", seed=seed,
        )  # fmt: skip
        history = dp.fit(net, X, y, engine=name, solver=solver, batch_size=7, max_epochs=2, seed=1)
        found.append((net.theta.copy(), history.loss_curve))
    (theta, curve), (theta_other, curve_other) = found
    np.testing.assert_allclose(theta_other, theta, rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(curve_other, curve, rtol=1e-8)


@pytest.mark.parametrize("solver", [dp.LBFGS(), dp.KFAC(), dp.Muon(0.1)])
def test_other_solvers_train_with_missing_targets(solver: Any) -> None:
    X = np.random.default_rng(0).normal(size=(60, D))
    y = X[:, :3] @ np.diag([1.0, 2.0, 3.0])
    y[::2, 0], y[1::2, 1], y[5] = np.nan, np.nan, np.nan
    net = dp.Network(D, [dp.Dense(3)], loss="squared_error", reduction="mean", seed=0)
    before = net.loss(X, y)
    dp.fit(net, X, y, solver=solver, max_epochs=20, seed=0)
    assert net.loss(X, y) < 0.2 * before


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("layer", "loss", "y"),
    [
        (dp.Dense(1), "squared_error", np.array([1.0, np.nan])),
        (dp.Dense(1), "squared_error", np.array([[1.0], [np.nan]])),
        (dp.Dense(2), "squared_error", np.array([[1.0, np.inf], [np.nan, 1.0]])),
        (dp.Dense(2), "squared_error", np.full((2, 2), np.nan)),
        (dp.Dense(2, "softmax"), "cross_entropy", np.array([[1.0, 0.0], [np.nan, 1.0]])),
        (dp.Dense(2, "softmax"), "focal", np.array([[1.0, 0.0], [np.nan, 1.0]])),
        (dp.Dense(2, "exp"), "poisson", np.array([[-1.0, 0.0], [np.nan, 1.0]])),
        (dp.Dense(2, "logistic"), "binary_cross_entropy", np.array([[2.0, 0.0], [np.nan, 1.0]])),
        (dp.Dense(2), "hinge", np.array([[3.0, 0.0], [np.nan, 1.0]])),
    ],
)
def test_what_is_no_missing_target_is_refused(layer: Any, loss: str, y: np.ndarray) -> None:
    net = dp.Network(1, [layer], loss=loss)
    with pytest.raises(ValueError, match="y"):
        net.loss([[0.0], [1.0]], y)


def test_a_custom_loss_needs_all_targets() -> None:
    """It may couple the targets of a row."""
    own = dp.Loss("own", lambda t, z, xp: (z - t) ** 2, lambda t, z, xp: 2 * (z - t))
    net = dp.Network(1, [dp.Dense(2)], loss=own)
    with pytest.raises(ValueError, match="needs all targets"):
        net.loss([[0.0], [1.0]], [[1.0, np.nan], [1.0, 2.0]])


# ---------------------------------------------------------------- estimators

FAST = {"max_iter": 30, "hidden_layer_sizes": (16,), "random_state": 0}


def table(N: int = 300, seed: int = 0) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Two targets, one of which is known for a third of the rows."""
    rng = np.random.default_rng(seed)
    X = pd.DataFrame({"x": rng.normal(size=N), "z": rng.normal(size=N)})
    Y = pd.DataFrame({"few": 100 + 20 * X["x"], "many": X["z"] - X["x"]})
    Y.loc[np.arange(N) % 3 != 0, "few"] = np.nan
    return X, Y


def test_a_regressor_learns_each_target_from_the_rows_where_it_is_known(tmp_path: Path) -> None:
    X, Y = table()
    new, truth = table(200, seed=1)
    model = dp.TabularRegressor(**FAST, cv=3).fit(X, Y)
    known = Y["few"].notna()
    assert model.y_mean_[0] == pytest.approx(Y["few"][known].mean())
    assert model.y_scale_[0] == pytest.approx(Y["few"][known].std(ddof=0))
    found = model.cv_prediction_
    r2 = [
        r2_score(Y["few"][known], found[known, 0]), r2_score(Y["many"], found[:, 1])
    ]  # fmt: skip
    assert min(r2) > 0.8
    assert model.cv_score_ == pytest.approx(np.mean(r2))
    complete = np.column_stack([100 + 20 * new["x"], truth["many"]])
    assert r2_score(complete, model.predict(new)) > 0.85
    assert model.score(new, truth) == pytest.approx(model.score(new, complete), abs=0.05)
    assert len(model.held_out_[0].scores) == known.sum()
    assert model.check(X, Y).ok
    dp.save(model, tmp_path / "model.dp")
    np.testing.assert_array_equal(dp.load(tmp_path / "model.dp").predict(new), model.predict(new))


@pytest.mark.parametrize("cv", [1, 3])
def test_a_row_without_a_known_target_is_as_good_as_absent(cv: int) -> None:
    X, Y = table()
    Y.iloc[4] = np.nan
    w = np.ones(len(X))
    model = dp.TabularRegressor(**FAST, cv=cv)
    with pytest.warns(UserWarning, match="1 of 300 rows have no known target"):
        model.fit(X, Y)
    w[4], Y.iloc[4] = 0, 0.0
    given = dp.TabularRegressor(**FAST, cv=cv).fit(X, Y, sample_weight=w)
    np.testing.assert_allclose(model.predict(X), given.predict(X), rtol=1e-9, atol=1e-12)
    assert (model.cv_score_ is None) == (given.cv_score_ is None) == (cv == 1)
    if cv > 1:
        assert model.cv_score_ == pytest.approx(given.cv_score_)


def test_missing_values_of_any_type() -> None:
    X, Y = table(60)
    plain = dp.TabularRegressor(**FAST, cv=2).fit(X, Y).predict(X)
    for twin in (Y.astype("Float64"), Y.astype(object).where(Y.notna(), None), Y.to_numpy()):
        model = dp.TabularRegressor(**FAST, cv=2).fit(X, twin)
        np.testing.assert_array_equal(model.predict(X), plain)


def test_labels_may_be_missing() -> None:
    X, numbers = table(400)
    truth = np.column_stack([X["x"] > 0, X["z"] > 0.3]).astype(float)
    Y = np.where(numbers.isna(), np.nan, truth)
    model = dp.TabularClassifier(**FAST, cv=3, decision_threshold="f1").fit(X, Y)
    assert (model.predict(X) == truth).mean() > 0.9
    right = (model.cv_prediction_ > model.threshold_) == truth
    assert model.cv_score_ == pytest.approx((right | np.isnan(Y)).all(axis=1).mean())
    assert model.score(X, Y) >= model.score(X, truth)
    assert model.check(X, Y).ok
    for twin in (pd.DataFrame(Y).astype("Int64"), pd.DataFrame(Y).astype("boolean")):
        again = dp.TabularClassifier(**FAST, cv=3, decision_threshold="f1").fit(X, twin)
        np.testing.assert_array_equal(again.predict_proba(X), model.predict_proba(X))
    hinge = dp.TabularClassifier(**FAST, cv=2, loss="hinge").fit(X, Y)
    assert (hinge.predict(X) == truth).mean() > 0.85
    with pytest.raises(ValueError, match="class_weight needs all labels"):
        dp.TabularClassifier(**FAST, class_weight="balanced").fit(X, Y)


def test_mlp_estimators_take_missing_targets_too() -> None:
    X, Y = table()
    scaled = (Y - Y.mean()) / Y.std()
    options = FAST | {"early_stopping": True, "learning_rate_init": 0.02}
    model = dp.MLPRegressor(**options).fit(X, scaled)
    assert model.score(X, scaled) > 0.9
    labels = (scaled > 0).where(scaled.notna()).astype(float)
    classifier = dp.MLPClassifier(**options).fit(X, labels)
    assert classifier.score(X, labels) > 0.8
    np.testing.assert_array_equal(classifier.classes_, [0, 1])


def test_a_target_of_which_nothing_is_known_is_refused() -> None:
    X, Y = table()
    Y["few"] = np.nan
    with pytest.raises(ValueError, match="only NaN in column 0"):
        dp.TabularRegressor(**FAST).fit(X, Y)


def test_training_is_continued_with_missing_targets(tmp_path: Path) -> None:
    net, X, _, y = problem("squared_error", "identity")
    twin = net.copy()
    settings = {"batch_size": 5, "seed": 0, "patience": np.inf}
    for epochs in (2, 4):
        dp.fit(net, X, y, max_epochs=epochs, checkpoint=str(tmp_path), **settings)
    dp.fit(twin, X, y, max_epochs=4, **settings)
    np.testing.assert_allclose(net.theta, twin.theta, rtol=1e-12)


def test_the_page_needs_known_targets() -> None:
    net, X, _, y = problem("squared_error", "identity")
    with pytest.raises(ValueError, match="all known"):
        dp.explore(net, X, y, open_browser=False)
    dp.diagnose(net, X, y)
