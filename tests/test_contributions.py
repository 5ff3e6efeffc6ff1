"""Contributions of columns to predictions: they add up, and agree with others' gradients."""

import sys
import tracemalloc

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

import deltaprop as dp
from deltaprop.cli.app import app
from deltaprop.explain.contributions import integrated_gradients

SMOOTH = ("tanh", "silu", "gelu", "logistic", "softplus")


@pytest.fixture(scope="module")
def penguins():
    return dp.tables.read_table("data/penguins.csv")


@pytest.fixture(scope="module")
def classifier(penguins):
    X, y = penguins.drop(columns="species"), penguins["species"]
    return dp.TabularClassifier(cv=3, max_iter=30, random_state=0).fit(X, y)


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    hidden=st.lists(st.tuples(st.integers(1, 6), st.sampled_from([*SMOOTH, "relu"])), max_size=3),
    last=st.sampled_from([("softmax", "cross_entropy"), ("identity", "squared_error")]),
    vectors=st.booleans(),
)
def test_they_add_up_for_every_network(seed, hidden, last, vectors):
    rng = np.random.default_rng(seed)
    layers = [
        dp.Dense(units, f, input_scale=vectors, trainable_activation=vectors) for units, f in hidden
    ]
    net = dp.Network(4, [*layers, dp.Dense(3, last[0])], loss=last[1], seed=seed)
    net.theta += rng.normal(size=net.theta.size)
    X, start = rng.normal(size=(5, 4)), rng.normal(size=(5, 4))
    found = integrated_gradients(net, X, start, np.eye(4), [0, 2], 1e-4)
    expected = (net.predict(X) - net.predict(start))[:, [0, 2]]
    largest = max(abs(net.predict(X)).max(), abs(net.predict(start)).max())
    np.testing.assert_allclose(found.values.sum(axis=1), expected, atol=1.1e-4 * largest)


def test_wide_hidden_layers_take_no_more_memory():
    net = dp.Network(2, [dp.Dense(1000, "tanh"), dp.Dense(1)], loss="squared_error", seed=0)
    X = np.random.default_rng(0).normal(size=(2000, 2))
    tracemalloc.start()
    integrated_gradients(net, X, np.zeros_like(X), np.eye(2), [0], 1e-3)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 150e6  # the 8 places of all rows would take 128 MB for each of X_1, a_0 and δ_0


def test_each_of_them_agrees_with_autograd():
    torch = pytest.importorskip("torch")
    net = dp.Network(3, [dp.Dense(5, "tanh"), dp.Dense(4, "softmax")], loss="cross_entropy", seed=1)
    net.theta *= 3
    rng = np.random.default_rng(0)
    X, start = rng.normal(size=(2, 3)), rng.normal(size=(2, 3))
    W, b = ([torch.tensor(each.copy()) for each in part] for part in (net.W, net.b))
    x, x0 = torch.tensor(X), torch.tensor(start)
    steps, total = 400, torch.zeros(2, 3)
    for i in range(steps):
        point = (x0 + (i + 0.5) / steps * (x - x0)).requires_grad_()
        z = torch.softmax(torch.tanh(point @ W[0] + b[0]) @ W[1] + b[1], dim=1)
        total = total + torch.autograd.grad(z[:, 2].sum(), point)[0] / steps
    expected = ((x - x0) * total).numpy()
    found = integrated_gradients(net, X, start, np.eye(3), [2], 1e-9)
    np.testing.assert_allclose(found.values[:, :, 0], expected, atol=2e-6)


def test_columns_of_a_table_get_what_their_encoded_columns_get(classifier, penguins):
    found = classifier.contributions(penguins.head(20))
    assert found.columns == list(classifier.feature_names_in_)
    assert found.outputs == ["Adelie", "Chinstrap", "Gentoo"]
    P = classifier.predict_proba(penguins.head(20))
    np.testing.assert_allclose(found.predicted, P, atol=1e-5)
    np.testing.assert_allclose(found.base + found.values.sum(axis=1), P, atol=2e-3)
    assert found.error < 2e-3
    # Of all classes, the probabilities add up to 1, so the contributions of a column add up to 0.
    np.testing.assert_allclose(found.values.sum(axis=2), 0, atol=2e-3)


def test_a_column_without_influence_contributes_nothing(penguins):
    X = penguins.drop(columns="species").assign(same=1.0, empty=None)
    y = penguins["species"]
    model = dp.TabularClassifier(cv=1, max_iter=5, random_state=0).fit(X, y)
    found = model.contributions(X.head(5)).frame("Gentoo")
    assert (found["same"] == 0).all()
    assert (found["empty"] == 0).all()
    assert found["flipper_length_mm"].abs().max() > 0


def test_with_several_baselines_they_start_from_the_mean_prediction(penguins):
    table = penguins.dropna()
    X, y = table.drop(columns="body_mass_g"), table["body_mass_g"]
    model = dp.TabularRegressor(cv=2, max_iter=20, random_state=0).fit(X, y)
    found = model.contributions(X.head(3), baseline=X.tail(40))
    assert found.outputs == ["body_mass_g"]
    np.testing.assert_allclose(found.base, model.predict(X.tail(40)).mean(), rtol=1e-4)
    np.testing.assert_allclose(found.predicted[:, 0], model.predict(X.head(3)), rtol=1e-4)
    assert found.error < 1e-3 * abs(found.predicted).max()
    one_by_one = [model.contributions(X.head(3), X.tail(40).iloc[[i]]).values for i in range(40)]
    np.testing.assert_allclose(found.values, np.mean(one_by_one, axis=0), rtol=0.02, atol=2)


@pytest.mark.parametrize("loss", ["squared_error", "gaussian_nll", "quantile", "poisson"])
def test_regressors_of_every_kind(loss):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(80, 3))
    y = np.abs(X[:, 0] * 3 + rng.normal(size=80)) + 50
    function = dp.losses.Quantile((0.1, 0.9)) if loss == "quantile" else loss
    model = dp.TabularRegressor(loss=function, cv=1, max_iter=5, random_state=0).fit(X, y)
    found = model.contributions(X[:4])
    predicted = np.asarray(model.predict(X[:4])).reshape(4, -1)
    np.testing.assert_allclose(found.predicted, predicted, rtol=1e-4)
    total = found.base + found.values.sum(axis=1)
    np.testing.assert_allclose(total, predicted, atol=1e-3 * abs(predicted).max())
    assert len(found.outputs) == predicted.shape[1]


def test_mlp_estimators_of_two_classes_and_several_labels():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 3))
    binary = dp.MLPClassifier(4, solver="lbfgs", alpha=1, random_state=0).fit(
        X, np.where(X[:, 0] > 0, "b", "a")
    )
    found = binary.contributions(X[:5], baseline=X)
    assert found.outputs == ["b"]
    np.testing.assert_allclose(found.predicted[:, 0], binary.predict_proba(X[:5])[:, 1], rtol=1e-9)
    assert abs(found.values[:, 0]).mean() > 5 * abs(found.values[:, 1:]).mean()
    periodic = dp.MLPRegressor(hidden_layer_sizes=4, periodic=4, max_iter=9, random_state=0)
    waves = periodic.fit(X, np.sin(3 * X[:, 0])).contributions(X[:5], baseline=X)
    np.testing.assert_allclose(waves.predicted[:, 0], periodic.predict(X[:5]), rtol=1e-9)
    assert waves.error < 1e-3 * max(abs(waves.predicted).max(), 1)
    labels = dp.MLPClassifier(4, max_iter=30, random_state=0).fit(X, (X > 0).astype(int))
    assert labels.contributions(X[:5]).values.shape == (5, 3, 3)


def test_frames_rows_and_text(classifier, penguins):
    found = classifier.contributions(penguins.iloc[[0, 300]], baseline=penguins)
    row = found.row(1)
    k = int(found.predicted[1].argmax())
    assert row.contribution.abs().is_monotonic_decreasing
    assert dict(row.contribution) == dict(zip(found.columns, found.values[1, :, k], strict=True))
    assert row.value["island"] == penguins.island[300]
    text = found.text(0, "Gentoo")
    assert text.startswith("Gentoo: ")
    assert text.count("\n") == len(found.columns)
    assert text in str(found.text(0, "Gentoo"))
    assert str(found).count("compared with") == 2
    with pytest.raises(ValueError, match="one of Adelie, Chinstrap, Gentoo; it is missing"):
        found.frame()
    with pytest.raises(ValueError, match="from 0 to 1"):
        found.row(2)
    with pytest.raises(ValueError, match="tol"):
        classifier.contributions(penguins.head(1), tol=2)


@pytest.mark.slow
def test_shap_plots_them(classifier, penguins):
    pytest.importorskip("shap")
    found = classifier.contributions(penguins.head(4))
    explanation = found.to_shap()
    assert explanation.shape == (4, len(found.columns), 3)
    np.testing.assert_allclose(explanation[:, :, "Gentoo"].values, found.frame("Gentoo"))


@pytest.mark.slow
def test_without_shap_an_error_says_how_to_install_it(classifier, penguins, monkeypatch):
    found = classifier.contributions(penguins.head(2))
    monkeypatch.setitem(sys.modules, "shap", None)
    with pytest.raises(ImportError, match="pip install shap"):
        found.to_shap()


def test_shap_explainer_works_on_estimators():
    shap = pytest.importorskip("shap")
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.normal(size=(200, 3)), columns=["a", "b", "c"])
    y = (X.a + X.b > 0).astype(int)
    for model in (dp.MLPClassifier(4, random_state=0, solver="lbfgs", alpha=1),
                  dp.TabularClassifier(cv=2, random_state=0)):  # fmt: skip
        model.fit(X, y)
        found = shap.Explainer(model.predict_proba, X.head(20))(X.head(3))
        total = found.base_values + found.values.sum(axis=1)
        np.testing.assert_allclose(total, model.predict_proba(X.head(3)), atol=1e-5)
        ours = model.contributions(X.head(3), baseline=X.head(20))
        # Two different ways to share the same difference: they agree on which column matters least.
        assert ours.frame("1").abs().mean().idxmin() == "c"
        assert found.feature_names[np.abs(found.values[:, :, 1]).mean(axis=0).argmin()] == "c"


def test_the_command_explains_a_row(classifier, penguins, tmp_path):
    dp.save(classifier, tmp_path / "m.dp")
    call = ["explain", str(tmp_path / "m.dp"), "data/penguins.csv"]
    done = CliRunner().invoke(app, [*call, "--row", "3"])
    assert done.exit_code == 0, done.output
    assert done.stdout.startswith("Row 3, compared with the mean of 100 other rows.\n")
    named = CliRunner().invoke(app, [*call, "--row", "3", "--output-name", "Gentoo"])
    assert "\nGentoo: " in named.stdout
    for wrong in (["--row", "999"], ["--row", "1", "--output-name", "x"],
                  ["--row", "1", "--format", "html"], ["--output-name", "Gentoo"]):  # fmt: skip
        failed = CliRunner().invoke(app, [*call, *wrong])
        assert isinstance(failed.exception, ValueError), wrong
