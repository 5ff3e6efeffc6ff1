"""Predictions rise or fall with chosen columns, whatever the other columns are."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LinearRegression

import deltaprop as dp

RNG = np.random.default_rng(0)
X = RNG.normal(size=(400, 3))
# Rises with the first column, falls with the second, and is neither in the third.
MEAN = np.tanh(2 * X[:, 0]) - 0.5 * X[:, 1] ** 3 / 4 + np.sin(3 * X[:, 2])
Y = MEAN + 0.1 * RNG.normal(size=400)
SIGNS = [1, -1, 0]
FAST = {"max_iter": 300, "random_state": 0, "learning_rate_init": 0.02, "activation": "tanh"}


def steps(predict, column, rows):
    """The differences of predictions along a column, with the others fixed."""
    grid = np.linspace(-4, 4, 41)
    lines = np.repeat(rows[:, None, :], len(grid), axis=1)
    lines[:, :, column] = grid
    found = predict(lines.reshape(-1, rows.shape[1])).reshape(len(rows), len(grid), -1)
    return np.diff(found, axis=1)


def require_signs(predict, rows=X[:40], signs=SIGNS):
    for column, sign in enumerate(signs):
        if sign:
            assert (sign * steps(predict, column, rows) >= -1e-6).all(), column


@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    hidden=st.lists(st.integers(1, 7), max_size=3).map(tuple),
    activation=st.sampled_from(["relu", "softplus", "tanh", "logistic", "elu"]),
    solver=st.sampled_from(["adam", "adamw", "sgd", "muon"]),
    signs=st.lists(st.sampled_from([-1, 0, 1]), min_size=3, max_size=3),
)
def test_every_network_is_monotonic(seed, hidden, activation, solver, signs):
    noise = np.random.default_rng(seed).normal(size=60)  # nothing to learn
    model = dp.MLPRegressor(
        hidden_layer_sizes=hidden, activation=activation, solver=solver, max_iter=5,
        learning_rate_init=0.05, random_state=seed % 1000, monotonic_cst=signs,
    ).fit(X[:60], noise)  # fmt: skip
    require_signs(model.predict, X[:10], signs)


@pytest.mark.parametrize("engine", ["reference", "fused"])
def test_it_learns_what_is_monotonic_and_what_is_not(engine):
    model = dp.MLPRegressor(
        hidden_layer_sizes=(32, 32),
        engine=engine,
        monotonic_cst=SIGNS,
        n_iter_no_change=300,
        **FAST,
    ).fit(X, Y)
    require_signs(model.predict)
    assert model.score(X, Y) > 0.9 > LinearRegression().fit(X, Y).score(X, Y) + 0.1
    assert (steps(model.predict, 2, X[:40]) < 0).any()
    assert (steps(model.predict, 2, X[:40]) > 0).any()
    free = dp.MLPRegressor(hidden_layer_sizes=(32, 32), engine=engine, **FAST).fit(X, Y)
    with pytest.raises(AssertionError):
        require_signs(free.predict)


def test_classifiers_with_two_classes_labels_and_an_order():
    binary = dp.MLPClassifier(16, monotonic_cst=SIGNS, **FAST).fit(X, MEAN > 0)
    require_signs(lambda rows: binary.predict_proba(rows)[:, 1])
    grades = np.digitize(MEAN, [-1, 0, 1])
    ordered = dp.MLPClassifier(16, loss="ordinal", monotonic_cst=SIGNS, **FAST).fit(X, grades)
    require_signs(lambda rows: ordered.predict_proba(rows) @ [0, 1, 2, 3])
    assert ordered.score(X, grades) > 0.6
    labels = np.column_stack([MEAN > 0, MEAN > 1]).astype(int)
    several = dp.MLPClassifier(16, monotonic_cst=SIGNS, **FAST).fit(X, labels)
    require_signs(several.predict_proba)


@pytest.mark.parametrize("how", ["ensemble", "refit", "early stopping"])
def test_tables(how, tmp_path):
    table = pd.DataFrame(X, columns=["up", "down", "free"]).assign(kind=RNG.choice(["x", "y"], 400))
    table.loc[::9, "up"] = np.nan
    options = {"early stopping": {"cv": 1}, "refit": {"cv": 3, "refit": True}}.get(how, {"cv": 3})
    model = dp.TabularRegressor(
        (32, 32), activation="tanh", monotonic_cst={"up": 1, "down": -1}, random_state=0,
        **options,
    ).fit(table, Y)  # fmt: skip
    assert model.score(table, Y) > 0.75
    dp.save(model, tmp_path / "m.dp")
    for found in (model, dp.load(tmp_path / "m.dp").fine_tuned(table, -Y, max_iter=3)):

        def predict(rows, found=found):
            frame = pd.DataFrame(rows, columns=["up", "down", "free"]).assign(kind="x")
            return found.predict(frame)

        require_signs(predict)


def test_training_on_keeps_the_signs():
    model = dp.MLPRegressor(hidden_layer_sizes=8, monotonic_cst=SIGNS, warm_start=True, **FAST).fit(
        X, Y
    )
    require_signs(model.fit(X, -Y).predict)
    part = dp.MLPRegressor(hidden_layer_sizes=8, monotonic_cst=SIGNS, **FAST)
    for _ in range(5):
        part.partial_fit(X, -Y)
    require_signs(part.predict)
    net = dp.MLPRegressor(hidden_layer_sizes=8, monotonic_cst=SIGNS, freeze=[0], **FAST).fit(X, Y)
    require_signs(net.predict)


def test_the_weight_decay_keeps_its_schedule():
    def weights(schedule):
        model = dp.MLPRegressor(
            hidden_layer_sizes=8, solver="adamw", weight_decay=1.0, weight_decay_schedule=schedule,
            monotonic_cst=SIGNS, **{**FAST, "max_iter": 10, "n_iter_no_change": 10},
        )  # fmt: skip
        return model.fit(X, Y).network_.theta

    assert not np.array_equal(weights("constant"), weights("flat_cosine"))


def test_what_cannot_be_monotonic():
    def fit(y=Y, kind=dp.MLPRegressor, **parameters):
        options = {"hidden_layer_sizes": 4, "max_iter": 2, "monotonic_cst": SIGNS, **parameters}
        return kind(**options).fit(X, y)

    with pytest.raises(ValueError, match="got 'silu'"):
        fit(activation="silu")
    with pytest.raises(ValueError, match="got 'cos'"):
        fit(activation="tanh", periodic=4)
    with pytest.raises(ValueError, match="first-order"):
        fit(solver="lbfgs")
    with pytest.raises(ValueError, match="more than two classes"):
        fit(np.digitize(Y, [-1, 1]), dp.MLPClassifier)
    for wrong in ([1, 0], [2, 0, 0], ["a", "b", "c"]):
        with pytest.raises(ValueError, match="each of the 3 columns"):
            fit(monotonic_cst=wrong)
    with pytest.raises(ValueError, match="no column names"):
        fit(monotonic_cst={"a": 1})
    table = pd.DataFrame({"a": X[:, 0], "kind": RNG.choice(["x", "y"], 400)})
    for column, reason in (("kind", "encoded as category"), ("b", "the columns are a, kind")):
        model = dp.TabularRegressor((4,), activation="softplus", monotonic_cst={column: 1})
        with pytest.raises(ValueError, match=reason):
            model.fit(table, Y)
