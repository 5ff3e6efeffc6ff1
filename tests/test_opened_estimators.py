"""From an estimator to its network in one step; pipelines, searches, and what printing shows."""

import json
import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_iris
from sklearn.model_selection import GridSearchCV, RandomizedSearchCV
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    MinMaxScaler,
    PowerTransformer,
    QuantileTransformer,
    StandardScaler,
)

import deltaprop as dp
from deltaprop import losses
from deltaprop.cli.app import app

X, y = load_iris(return_X_y=True)
NUMBERS = X[:, 0] + X[:, 1] ** 2
SHORT = {"max_iter": 5, "random_state": 0}


def fitted():
    frame = pd.DataFrame(X, columns=list("abcd"))
    mlp = dp.MLPRegressor(hidden_layer_sizes=5, **SHORT)
    ensemble = dp.TabularRegressor((5,), cv=3, **SHORT)
    return {
        "MLPClassifier": (dp.MLPClassifier(5, **SHORT).fit(X, y), X, y),
        "MLPRegressor": (mlp.fit(X, NUMBERS), X, NUMBERS),
        "one network": (dp.TabularClassifier((5,), cv=1, **SHORT).fit(frame, y), frame, y),
        "an ensemble": (ensemble.fit(frame, NUMBERS), frame, NUMBERS),
    }


FITTED = fitted()


@pytest.mark.parametrize("kind", FITTED)
def test_every_estimator_opens_its_network(kind):
    model, X, y = FITTED[kind]
    net = model.network_
    assert isinstance(net, dp.Network)
    Z, t = model.encode_rows(X[:3]), model.encode_target(y[:3])
    assert str(model.derivation()) == str(net.derivation())
    assert str(model.derivation(X[:3], y[:3], format="latex")) == str(
        net.derivation(Z, t, format="latex")
    )
    weights = [1.0, 2.0, 0.5]
    trace = model.trace(X[:3], y[:3], weights)
    np.testing.assert_array_equal(trace.delta[-1], net.trace(Z, t, weights).delta[-1])
    assert model.check(X[:10], y[:10]).ok
    assert model.diagnose(X, y).faults == dp.diagnose(model, X, y).faults
    with model.explore(X[:5], y[:5], open_browser=False) as page:
        assert page.url.startswith("http://127.0.0.1:")


@pytest.mark.parametrize("model", [dp.MLPClassifier(), dp.TabularRegressor()])
def test_an_estimator_that_is_not_fitted_says_so(model):
    assert not hasattr(model, "network_")
    for method in ("trace", "check", "diagnose"):
        with pytest.raises((AttributeError, ValueError), match="not fitted"):
            getattr(model, method)(X, y)
    with pytest.raises((AttributeError, ValueError), match="not fitted"):
        model.derivation()


# ---------------------------------------------------------------- pipelines and searches


def searches():
    mlp = dp.MLPClassifier(5, **SHORT)
    grid = {"alpha": [0.0, 0.1]}
    inside = make_pipeline(StandardScaler(), GridSearchCV(mlp, grid, cv=2))
    outside = GridSearchCV(
        make_pipeline(MinMaxScaler(), mlp), {"mlpclassifier__alpha": [0.0, 0.1]}, cv=2
    )
    return {
        "a grid": GridSearchCV(mlp, grid, cv=2),
        "random": RandomizedSearchCV(mlp, grid, n_iter=2, cv=2, random_state=0),
        "inside of a pipeline": inside,
        "of a pipeline": outside,
        "pipelines in a pipeline": Pipeline([("a", "passthrough"), ("b", inside)]),
    }


@pytest.mark.parametrize("name", searches())
def test_a_search_is_accepted_wherever_an_estimator_is(name, tmp_path):
    model = searches()[name].fit(X, y)
    dp.save(model, tmp_path / "m.dp")
    again = dp.load(tmp_path / "m.dp")
    np.testing.assert_array_equal(again.predict_proba(X), model.predict_proba(X))
    for each in (model, again, tmp_path / "m.dp"):
        dp.diagnose(each, X, y)
        with dp.explore(each, X[:5], y[:5], open_browser=False):
            pass
    dp.report(model, X, y, tmp_path / "report.html")
    assert "MLPClassifier" in (tmp_path / "report.html").read_text()


@pytest.mark.parametrize("scaler", [
    StandardScaler(), MinMaxScaler(), PowerTransformer(), PowerTransformer("yeo-johnson"),
    QuantileTransformer(n_quantiles=20), "passthrough",
])  # fmt: skip
def test_a_saved_pipeline_predicts_the_same(scaler, tmp_path):
    frame = pd.DataFrame(X, columns=list("abcd"))
    model = Pipeline(
        [("first", scaler), ("model", dp.MLPRegressor(hidden_layer_sizes=5, **SHORT))]
    ).fit(frame, NUMBERS)
    dp.save(model, tmp_path / "m.dp")
    loaded = dp.load(tmp_path / "m.dp")
    assert [name for name, _ in loaded.steps] == ["first", "model"]
    np.testing.assert_array_equal(loaded.predict(frame), model.predict(frame))


def test_what_cannot_be_saved_is_named(tmp_path):
    model = make_pipeline(
        FunctionTransformer(np.log1p), dp.MLPRegressor(hidden_layer_sizes=5, **SHORT)
    ).fit(X, NUMBERS)
    with pytest.raises(ValueError, match=r"step 'functiontransformer'.*FunctionTransformer cannot"):
        dp.save(model, tmp_path / "m.dp")
    with pytest.raises(ValueError, match="A model must be one of"):
        dp.save(make_pipeline(StandardScaler()).fit(X), tmp_path / "m.dp")
    search = GridSearchCV(dp.MLPClassifier(5, **SHORT), {"alpha": [0.0]}, cv=2)
    for unfitted in (
        search,
        GridSearchCV(search.estimator, {"alpha": [0.0]}, cv=2, refit=False).fit(X, y),
    ):
        with pytest.raises(ValueError, match="has no best_estimator_: fit it, with refit=True"):
            dp.save(unfitted, tmp_path / "m.dp")
    assert not (tmp_path / "m.dp").exists()


# ---------------------------------------------------------------- gradients and printing


def test_a_gradient_can_be_calculated_with():
    net = dp.Network(4, [dp.Dense(3, "tanh"), dp.Dense(3, "softmax")], loss="cross_entropy",
                     reduction="mean", seed=0)  # fmt: skip
    before, loss, g = net.theta.copy(), net.loss(X, y), net.gradient(X, y)
    net.theta -= 0.1 * g
    np.testing.assert_array_equal(net.theta, before - 0.1 * g.flat)
    assert net.loss(X, y) < loss
    theta = net.theta  # a view
    theta -= np.float32(0.5) * g
    assert net.theta is theta
    np.testing.assert_allclose(-g / 2 + g, g.flat / 2)
    assert np.linalg.norm(g) == pytest.approx(np.linalg.norm(g.flat))
    assert isinstance(0.1 * g, np.ndarray)
    assert len(repr(g)) < 80


@pytest.mark.parametrize("epochs", [1, 3, 500])
@pytest.mark.parametrize("validated", [False, True])
def test_a_printed_history_fits_on_a_screen(epochs, validated):
    net = dp.Network(1, [dp.Dense(1)], loss="squared_error", seed=0)
    rows = np.arange(6.0)[:, None]
    validation = (rows, rows.ravel()) if validated else None
    history = dp.fit(net, rows, rows.ravel(), solver=dp.SGD(0.001, momentum=0.0), tol=0.0,
                     max_epochs=epochs, validation=validation)  # fmt: skip
    lines = str(history).splitlines()
    assert len(lines) <= 20
    assert max(map(len, lines)) <= 80
    assert lines[-1].split()[0] == str(history.n_epochs)
    assert f"{history.loss_curve[-1]:.6g}" in lines[-1]
    assert ("validation loss" in lines[1]) == validated
    assert len(repr(history)) <= 80


@pytest.mark.parametrize("depth", [1, 2, 60])
def test_a_printed_trace_fits_on_a_screen(depth):
    layers = [dp.Dense(1000, "leaky_relu") for _ in range(depth - 1)] if depth < 60 else [
        dp.Dense(8, "tanh") for _ in range(depth - 1)]  # fmt: skip
    net = dp.Network(4, [*layers, dp.Dense(3, "softmax")], loss="cross_entropy", seed=0)
    lines = str(net.trace(X, y)).splitlines()
    assert len(lines) <= 20
    assert max(map(len, lines)) <= 80
    assert lines[-1].startswith(f"{depth - 1} ")
    assert "…" in lines[8] if depth == 60 else len(lines) == depth + 2


# ---------------------------------------------------------------- losses and what cannot work


@pytest.mark.parametrize(("loss", "setting", "message"), [
    ("quantile", "q", r"loss 'quantile' has no setting 'q'\. Did you mean 'quantiles'\? "
                      r"Its settings, with their defaults, are: quantiles=0\.5\."),
    ("huber", "detla", r"Did you mean 'delta'\?"),
    ("squared_error", "delta", r"has no setting 'delta'\. It has none\."),
])  # fmt: skip
def test_an_unknown_setting_of_a_loss_is_answered_with_those_it_has(loss, setting, message):
    with pytest.raises(TypeError, match=message):
        losses.get(loss, **{setting: 0.5})


def test_the_documentation_of_losses_names_every_setting():
    from inspect import signature

    from deltaprop.functions.losses.loss import _factories

    for name in losses.NAMES:
        line = next(row for row in losses.__doc__.splitlines() if f"`{name}`" in row)
        for parameter in signature(_factories[name]).parameters.values():
            assert f"``{parameter.name}={parameter.default!r}``" in line


CANNOT_WORK = [
    ("cross_entropy", "relu", 2), ("cross_entropy", "logistic", 3),
    ("cross_entropy", "identity", 2),
    ("binary_cross_entropy", "tanh", 1), ("focal", "relu", 2), ("poisson", "identity", 1),
    ("gamma", "relu", 1), ("tweedie", "tanh", 1), ("gaussian_nll", "identity", 2),
    ("hinge", "relu", 1), ("hinge", "logistic", 1),
]  # fmt: skip
WORKS = [
    ("cross_entropy", "softmax", 3), ("binary_cross_entropy", "logistic", 1),
    ("binary_cross_entropy", "sigmoid", 4), ("focal", "softmax", 2), ("focal", "logistic", 1),
    ("poisson", "exp", 1), ("gamma", "softplus", 1), ("gaussian_nll", "mean_variance", 2),
    ("hinge", "identity", 1), ("hinge", "tanh", 3), ("squared_error", "relu", 1),
    ("quantile", "identity", 1), ("huber", "softmax", 2),
]  # fmt: skip


@pytest.mark.parametrize(("loss", "f", "units"), CANNOT_WORK)
def test_combinations_that_cannot_work_give_a_warning(loss, f, units):
    with pytest.warns(UserWarning, match=f"loss '{loss}' needs .*, but '{f}' .*; use '"):
        dp.Network(4, [dp.Dense(units, f)], loss=loss)


@pytest.mark.parametrize(("loss", "f", "units"), WORKS)
def test_combinations_that_work_give_none(loss, f, units):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        dp.Network(4, [dp.Dense(units, f)], loss=loss)


def test_no_estimator_warns_of_its_own_choice():
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        warnings.simplefilter("ignore", __import__("sklearn").exceptions.ConvergenceWarning)
        for loss in ("log_loss", "cross_entropy", "focal", "hinge"):
            dp.MLPClassifier(3, loss=loss, **SHORT).fit(X, y)
        for loss in ("poisson", "gamma", "tweedie", "gaussian_nll", "quantile"):
            dp.MLPRegressor(loss, hidden_layer_sizes=3, **SHORT).fit(X, NUMBERS)


# ---------------------------------------------------------------- one model for each target


def several(kind, estimator, n_targets=2):
    from sklearn import multioutput

    rng = np.random.default_rng(0)
    rows = pd.DataFrame(rng.normal(size=(60, 3)), columns=["a", "b", "c"])
    numbers = np.column_stack([rows.a, rows.b + rows.c])[:, :n_targets]
    if kind == "MultiOutputClassifier":
        numbers = np.array(["low", "mid", "high"])[np.digitize(numbers, [-0.5, 0.5])]
    return getattr(multioutput, kind)(estimator).fit(rows, numbers), rows


SEVERAL = {
    "mlp": ("MultiOutputClassifier", dp.MLPClassifier(4, max_iter=3, random_state=0)),
    "search": (
        "MultiOutputClassifier",
        GridSearchCV(dp.MLPClassifier(4, max_iter=3, random_state=0), {"alpha": [0, 1]}, cv=2),
    ),
    "pipeline": (
        "MultiOutputClassifier",
        make_pipeline(StandardScaler(), dp.MLPClassifier(4, max_iter=3, random_state=0)),
    ),
    "passed": (
        "MultiOutputRegressor",
        make_pipeline("passthrough", dp.MLPRegressor(hidden_layer_sizes=4, max_iter=3)),
    ),
    "table": ("MultiOutputClassifier", dp.TabularClassifier(4, cv=2, max_iter=3, random_state=0)),
    "numbers": ("MultiOutputRegressor", dp.TabularRegressor(4, cv=2, max_iter=3, random_state=0)),
}


@pytest.mark.parametrize("case", SEVERAL)
def test_a_model_for_each_target_is_saved(case, tmp_path):
    model, rows = several(*SEVERAL[case])
    dp.save(model, tmp_path / "m.dp")
    found = dp.load(tmp_path / "m.dp")
    assert type(found) is type(model)
    np.testing.assert_array_equal(found.predict(rows), model.predict(rows))
    if case != "passed":
        assert list(found.feature_names_in_) == ["a", "b", "c"]
    if case not in ("numbers", "passed"):
        for ours, theirs in zip(found.predict_proba(rows), model.predict_proba(rows), strict=True):
            np.testing.assert_array_equal(ours, theirs)
        assert [list(each) for each in found.classes_] == [["high", "low", "mid"]] * 2
    dp.save(found, tmp_path / "again.dp")
    again = dp.load(tmp_path / "again.dp")
    np.testing.assert_array_equal(again.predict(rows), model.predict(rows))
    assert found.fit(rows, model.predict(rows)).predict(rows).shape == (60, 2)
    with pytest.raises(dp.files.ModelFileError, match=r"a model for each target.*light=True"):
        dp.load(tmp_path / "m.dp", light=True)


def test_a_pipeline_that_ends_with_several_models_is_saved(tmp_path, capsys):
    several_models, rows = several(*SEVERAL["mlp"])
    model = make_pipeline(StandardScaler(), several_models).fit(rows, several_models.predict(rows))
    dp.save(model, tmp_path / "m.dp")
    np.testing.assert_array_equal(dp.load(tmp_path / "m.dp").predict(rows), model.predict(rows))
    app(["info", str(tmp_path / "m.dp"), "--json"], standalone_mode=False)
    facts = json.loads(capsys.readouterr().out)
    assert (facts["kind"], facts["format"], len(facts["classes"])) == ("Pipeline", 4, 2)


def test_several_models_of_another_task_are_not_saved(tmp_path):
    model, _ = several("MultiOutputRegressor", dp.MLPRegressor(hidden_layer_sizes=4, max_iter=3))
    model.estimators_[0] = dp.MLPClassifier(4, max_iter=3).fit([[0.0], [1.0]], [0, 1])
    with pytest.raises(dp.files.ModelFileError, match="must all be regressors"):
        dp.save(model, tmp_path / "m.dp")
    assert not (tmp_path / "m.dp").exists()


@pytest.mark.parametrize("export", ["to_onnx", "to_c", "to_python"])
def test_exports_of_several_models_are_those_of_each(export, tmp_path):
    model, _ = several(*SEVERAL["mlp"])
    error = TypeError if export == "to_onnx" else ValueError
    with pytest.raises(error, match=r"each of .*estimators_"):
        getattr(dp, export)(model, tmp_path / "m")


def test_a_file_of_several_models_says_what_is_in_it(tmp_path, capsys):
    model, _ = several(*SEVERAL["mlp"])
    dp.save(model, tmp_path / "m.dp")
    app(["info", str(tmp_path / "m.dp"), "--json"], standalone_mode=False)
    facts = json.loads(capsys.readouterr().out)
    assert (facts["kind"], facts["format"]) == ("MultiOutputClassifier", 4)
    assert facts["classes"] == [["high", "low", "mid"]] * 2
    assert len(facts["networks"]) == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda body: body.update(estimators=[]), "no estimators"),
        (lambda body: body.update(kind="Network"), "cannot be a 'Network'"),
        (lambda body: body.update(kind="MultiOutputClassifier"), "cannot be a 'MultiOutputC"),
        (lambda body: body["estimators"][0]["fitted"].update(n_features_in_=2), "m.dp"),
    ],
)
def test_several_models_that_do_not_fit_together_are_refused(change, message, tmp_path):
    from safetensors import safe_open
    from safetensors.numpy import load_file, save_file

    model, _ = several(*SEVERAL["mlp"])
    path = str(tmp_path / "m.dp")
    dp.save(model, path)
    tensors = load_file(path)
    with safe_open(path, "numpy") as file:
        header = json.loads(file.metadata()["deltaprop"])
    change(header["model"])
    save_file(tensors, path, {"deltaprop": json.dumps(header)})
    with pytest.raises(dp.files.ModelFileError, match=message):
        dp.load(path)
