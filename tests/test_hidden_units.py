"""``transform``, frozen layers, and training that continues from a saved model."""

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import deltaprop as dp

RNG = np.random.default_rng(0)
X = RNG.normal(size=(120, 4))
LABELS = np.array(["a", "b", "c"])[(X[:, 0] > 0).astype(int) + (X[:, 1] > 0)]
NUMBERS = X[:, 0] * 2 + X[:, 1]
FAST = {"max_iter": 5, "random_state": 0}


def models():
    return [
        (dp.MLPClassifier((6, 3), activation="tanh", **FAST), LABELS),
        (dp.MLPRegressor(hidden_layer_sizes=(6, 3), **FAST), NUMBERS),
        (dp.TabularClassifier((6, 3), cv=3, **FAST), LABELS),
        (dp.TabularRegressor((6, 3), cv=1, **FAST), NUMBERS),
    ]


each_model = pytest.mark.parametrize(("model", "y"), models(), ids=lambda v: type(v).__name__)


@each_model
def test_the_last_layer_turns_hidden_units_into_the_prediction(model, y):
    model = clone(model).fit(X, y)
    units = model.transform(X)
    n = len(getattr(model, "members_", [0]))
    assert units.shape == (len(X), 3 * n)
    nets = model.networks_ if n > 1 or hasattr(model, "networks_") else [model.network_]
    outputs = [
        net.f[-1].f(units[:, 3 * i : 3 * i + 3] @ net.W[-1] + net.b[-1], np)
        for i, net in enumerate(nets)
    ]
    expected = np.mean([net.predict(model.encode_rows(X)) for net in nets], axis=0)
    np.testing.assert_allclose(np.mean(outputs, axis=0), expected, atol=1e-5)
    first = model.set_params(transform_layer=0).transform(X)
    assert first.shape == (len(X), 6 * n)
    assert len(model.get_feature_names_out()) == 6 * n


@each_model
def test_names_and_frames_of_hidden_units(model, y):
    model = clone(model).fit(pd.DataFrame(X, columns=list("abcd")), y)
    model.set_output(transform="pandas")
    found = model.transform(pd.DataFrame(X[:3], columns=list("abcd"), index=[7, 8, 9]))
    assert list(found.index) == [7, 8, 9]
    assert list(found.columns) == list(model.get_feature_names_out())
    assert found.columns[0] == f"{type(model).__name__.lower()}0"


def test_sparse_rows_and_layers_with_factors():
    from scipy import sparse

    model = dp.MLPClassifier((6, 3), **FAST).fit(sparse.csr_array(X), LABELS)
    np.testing.assert_allclose(model.transform(sparse.csr_array(X)), model.transform(X))


def test_layers_that_do_not_exist():
    model = dp.MLPClassifier((6, 3), **FAST).fit(X, LABELS)
    for wrong in (2, -3):
        with pytest.raises(ValueError, match="from -2 to 1"):
            model.set_params(transform_layer=wrong).transform(X)
    linear = dp.MLPClassifier((), **FAST).fit(X, LABELS)
    with pytest.raises(ValueError, match="no hidden layer"):
        linear.transform(X)


def test_hidden_units_in_a_pipeline():
    pipe = make_pipeline(
        StandardScaler(), dp.MLPClassifier((16, 4), solver="lbfgs", random_state=0),
        LogisticRegression(),
    )  # fmt: skip
    assert pipe.fit(X, LABELS).score(X, LABELS) > 0.9
    assert pipe[:-1].get_feature_names_out().tolist()[0] == "mlpclassifier0"


# ---------------------------------------------------------------- frozen layers


@pytest.mark.parametrize(
    "engine", ["reference", "fused", pytest.param("xla", marks=pytest.mark.slow)]
)
@pytest.mark.parametrize("solver", ["adam", "adamw", "sgd", "muon"])
def test_frozen_layers_stay_as_they_are(engine, solver):
    if engine == "xla":
        pytest.importorskip("jax")
    model = dp.MLPClassifier(
        (6, 5, 3), solver=solver, engine=engine, warm_start=True, alpha=0.1, **FAST
    ).fit(X, LABELS)
    before = [W.copy() for W in model.coefs_], [b.copy() for b in model.intercepts_]
    model.set_params(freeze=[0, 2]).fit(X, LABELS)
    for l in range(4):
        for old, new in ((before[0], model.coefs_), (before[1], model.intercepts_)):
            assert np.array_equal(old[l], new[l]) == (l in (0, 2)), l


def test_what_cannot_be_frozen():
    for wrong in ([3], [-1], ["W"]):
        with pytest.raises(ValueError, match="freeze must name layers"):
            dp.MLPClassifier((6, 3), freeze=wrong, **FAST).fit(X, LABELS)
    with pytest.raises(ValueError, match="first-order"):
        dp.MLPClassifier((6, 3), freeze=[0], solver="lbfgs", **FAST).fit(X, LABELS)


# ---------------------------------------------------------------- fine-tuning


@each_model
def test_a_saved_model_is_fine_tuned_on_other_rows(model, y, tmp_path):
    dp.save(clone(model).fit(X, y), tmp_path / "m.dp")
    model = dp.load(tmp_path / "m.dp")
    nets = getattr(model, "networks_", None) or [model.network_]
    before = [net.theta.copy() for net in nets]
    few = y != "c" if y.dtype.kind == "U" else slice(0, 60)
    changes = {"freeze": [0], "learning_rate_init": 0.01, "max_iter": 30}
    other = model.fine_tuned(X[few] + 3, y[few], **changes)
    others = getattr(other, "networks_", None) or [other.network_]
    for net, theta, new in zip(nets, before, others, strict=True):
        assert np.array_equal(net.theta, theta)  # the old model is as it was
        assert np.array_equal(new.W[0], net.W[0])
        assert not np.array_equal(new.W[1], net.W[1])
    assert other.score(X[few] + 3, y[few]) > model.score(X[few] + 3, y[few])
    if y.dtype.kind == "U":
        assert list(other.classes_) == ["a", "b", "c"]
        with pytest.raises(ValueError, match="classes"):
            model.fine_tuned(X, np.where(y == "a", "new", y))
    dp.save(other, tmp_path / "other.dp")
    np.testing.assert_array_equal(dp.load(tmp_path / "other.dp").predict(X), other.predict(X))


def test_early_stopping_starts_anew():
    model = dp.MLPClassifier((8,), early_stopping=True, max_iter=30, random_state=0)
    model.fit(X, LABELS)
    other = model.fine_tuned(X, np.roll(LABELS, 1), n_iter_no_change=100)
    assert other.n_iter_ == len(other.loss_curve_) == 30


def periodic(**settings):
    return dp.MLPRegressor(
        hidden_layer_sizes=6, periodic=8, input_scale=6.0, solver="adam", learning_rate_init=0.02,
        max_iter=15, random_state=0, **settings,
    )  # fmt: skip


FROZEN = {"solver": "sgd", "learning_rate_init": 1e-12, "max_iter": 1}


@pytest.mark.parametrize(
    "changes", [{}, {"solver": "adam"}, {"solver": "adam", "input_scale": 0.0}], ids=str
)
def test_other_solvers_go_on_with_what_was_trained(changes):
    model, changes = periodic().fit(X, NUMBERS), FROZEN | changes
    net = model.network_
    assert np.abs(net.r[2] - 1).max() > 0.05
    assert np.abs(net.alpha[0][:4]).max() > 0.001  # which were 0
    scaled = changes == FROZEN | {"solver": "adam"}
    W = net.W[2] if scaled else net.r[2][:, None] * net.W[2]
    warm = periodic(warm_start=True).fit(X, NUMBERS).set_params(**changes).fit(X, NUMBERS)
    for other in (model.fine_tuned(X, NUMBERS, **changes), warm):
        np.testing.assert_allclose(other.network_.alpha[0], net.alpha[0], atol=1e-6)
        np.testing.assert_allclose(other.network_.W[2], W, atol=1e-6)
        np.testing.assert_allclose(other.predict(X), model.predict(X), atol=1e-5)


def test_lbfgs_goes_on_with_what_was_trained():
    model = periodic().fit(X, NUMBERS)
    other = model.fine_tuned(X, NUMBERS, solver="lbfgs", max_iter=1)
    assert other.score(X, NUMBERS) > model.score(X, NUMBERS)


def test_an_input_scale_that_is_added_starts_at_ones():
    model = periodic().set_params(input_scale=0.0).fit(X, NUMBERS)
    other = model.fine_tuned(X, NUMBERS, input_scale=6.0, learning_rate_init=1e-12, max_iter=1)
    np.testing.assert_allclose(other.network_.r[2], 1, atol=1e-6)
    np.testing.assert_allclose(other.predict(X), model.predict(X), atol=1e-6)


def test_other_groups_do_not_fit_the_fitted_layers():
    model = periodic(periodic_columns=[0]).fit(X, NUMBERS)
    before = model.predict(X)
    with pytest.raises(ValueError, match=r"periodic_columns=\[1\] does not fit the fitted layers"):
        model.fine_tuned(X, NUMBERS, periodic_columns=[1])
    np.testing.assert_array_equal(model.predict(X), before)


def test_columns_for_periodic_features_need_a_number_of_them():
    model = periodic(periodic_columns=[0]).set_params(periodic=0)
    with pytest.raises(ValueError, match=r"periodic_columns=\[0\] has no effect with periodic=0"):
        model.fit(X, NUMBERS)
