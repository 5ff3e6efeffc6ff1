"""Bad input raises one clear error, and fitted models do not change."""

from __future__ import annotations

import copy
import signal
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
from sklearn.base import BaseEstimator

import deltaprop as dp

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

RNG = np.random.default_rng(0)
X = RNG.normal(size=(30, 4))
LABELS = np.repeat(["ant", "bee", "cat"], 10)
NUMBERS = RNG.normal(size=30)
NAN, INF, NEGATIVE = (np.where(np.arange(30) == 3, bad, 1.0) for bad in (np.nan, np.inf, -2.0))
X_NAN, X_INF = X.copy(), X.copy()
X_NAN[2, 1], X_INF[2, 1] = np.nan, np.inf


def classifier(**params: Any) -> dp.MLPClassifier:
    return dp.MLPClassifier(**{"hidden_layer_sizes": 3, "max_iter": 3, "random_state": 0} | params)


def regressor(**params: Any) -> dp.MLPRegressor:
    return dp.MLPRegressor(**{"hidden_layer_sizes": 3, "max_iter": 3, "random_state": 0} | params)


def network(H: int = 3, f: str = "softmax", loss: Any = "cross_entropy", **more: Any) -> dp.Network:
    return dp.Network(4, [dp.Dense(3, "tanh"), dp.Dense(H, f)], loss=loss, seed=0, **more)


def refuses(
    call: Callable[[], Any], error: type[Exception] | tuple[type[Exception], ...], *words: str
) -> None:
    """Assert that `call` raises `error` with all of the words in its message."""
    with pytest.raises(error) as caught:
        call()
    message = str(caught.value).lower()
    for word in words:
        assert word.lower() in message, f"{word!r} is missing from: {caught.value}"


# ---------------------------------------------------------------- data of the estimators

# name: (X, y, sample_weight, words of the message)
CLASSIFIER_DATA: dict[str, tuple[Any, Any, Any, tuple[str, ...]]] = {
    "NaN in X": (X_NAN, LABELS, None, ("X", "NaN")),
    "infinity in X": (X_INF, LABELS, None, ("X", "infinity")),
    "NaN in sparse X": (scipy.sparse.csr_array(X_NAN), LABELS, None, ("X", "NaN")),
    "1-d X": (X[:, 0], LABELS, None, ("2D array", "1D array", "reshape")),
    "3-d X": (X[:, :, None], LABELS, None, ("dim 3", "<= 2")),
    "no rows": (X[:0], LABELS[:0], None, ("0 sample", "minimum of 1")),
    "no columns": (X[:, :0], LABELS, None, ("0 feature", "minimum of 1")),
    "words in X": (np.full((30, 4), "many"), LABELS, None, ("many", "float")),
    "complex X": (X + 1j, LABELS, None, ("complex",)),
    "y too short": (X, LABELS[:-1], None, ("[30, 29]", "numbers of samples")),
    "y missing": (X, None, None, ("y", "None")),
    "NaN in y": (X, NAN, None, ("y", "NaN")),
    "continuous y": (X, NUMBERS, None, ("continuous", "label")),
    "several class columns": (X, np.c_[np.arange(30) % 3, np.arange(30) % 4], None, ("multi",)),
    "negative weight": (X, LABELS, NEGATIVE, ("sample_weight", "negative")),
    "NaN weight": (X, LABELS, NAN, ("sample_weight", "NaN")),
    "infinite weight": (X, LABELS, INF, ("sample_weight", "infinity")),
    "too few weights": (X, LABELS, np.ones(29), ("sample_weight", "29", "30")),
    "2-d weights": (X, LABELS, np.ones((30, 2)), ("weight", "1D")),
    "all weights zero": (X, LABELS, np.zeros(30), ("sample", "weight", "zero")),
    "other columns": (X[:, :3], LABELS, None, ()),
}
REGRESSOR_DATA: dict[str, tuple[Any, Any, dict[str, Any], tuple[str, ...]]] = {
    "NaN in y": (X, NAN, {}, ("y", "NaN")),
    "infinity in y": (X, INF, {}, ("y", "infinity")),
    "words as y": (X, LABELS, {}, ("y", "numbers", "MLPClassifier")),
    "y too short": (X, NUMBERS[:-1], {}, ("[30, 29]", "numbers of samples")),
    "negative y, poisson": (X, NEGATIVE, {"loss": "poisson"}, ("y", "poisson", ">= 0", "-2")),
    "zero y, gamma": (X, NEGATIVE + 2, {"loss": "gamma"}, ("y", "gamma", "> 0", "0")),
    "negative y, gamma": (X, NEGATIVE, {"loss": "gamma"}, ("y", "gamma", "> 0", "-2")),
    "negative y, tweedie": (X, NEGATIVE, {"loss": "tweedie"}, ("y", "tweedie", ">= 0", "-2")),
    "zero y, tweedie of power 3": (
        X,
        NEGATIVE + 2,
        {"loss": dp.losses.get("tweedie", power=3)},
        ("y", "tweedie", "> 0"),
    ),
}


@pytest.mark.parametrize("case", [case for case in CLASSIFIER_DATA if case != "other columns"])
def test_bad_data_for_the_classifier(case: str) -> None:
    bad_X, y, weight, words = CLASSIFIER_DATA[case]
    model = classifier().fit(X, LABELS)
    before = copy.deepcopy(model.__dict__)
    refuses(lambda: model.fit(bad_X, y, weight), ValueError, *words)
    assert_unchanged(model, before)
    refuses(lambda: model.partial_fit(bad_X, y, weight), ValueError, *words)
    assert_unchanged(model, before)
    fresh = classifier()
    refuses(lambda: fresh.fit(bad_X, y, weight), ValueError, *words)
    assert not hasattr(fresh, "coefs_")


@pytest.mark.parametrize("case", REGRESSOR_DATA)
def test_bad_data_for_the_regressor(case: str) -> None:
    bad_X, y, params, words = REGRESSOR_DATA[case]
    model = regressor(**params).fit(X, np.abs(NUMBERS) + 0.1)
    before = copy.deepcopy(model.__dict__)
    refuses(lambda: model.fit(bad_X, y), ValueError, *words)
    assert_unchanged(model, before)
    refuses(lambda: model.partial_fit(bad_X, y), ValueError, *words)
    assert_unchanged(model, before)


def assert_unchanged(model: BaseEstimator, before: dict[str, Any]) -> None:
    """Assert that weights, curves and parameters are those of `before`."""
    now = {k: v for k, v in model.__dict__.items() if not k.startswith("_")}
    assert now.keys() == {k for k in before if not k.startswith("_")}
    np.testing.assert_array_equal(now["network_"].theta, before["network_"].theta)
    for name, value in now.items():
        if name in ("coefs_", "intercepts_"):
            for p, q in zip(value, before[name], strict=True):
                np.testing.assert_array_equal(p, q)
        elif isinstance(value, (int, float, str, list)) and name not in ("callbacks",):
            assert value == before[name], name


@pytest.mark.parametrize("solver", ["sgd", "adam"])
def test_a_failed_partial_fit_does_not_change_later_calls(solver: str) -> None:
    """Solver state and random numbers are as if it had not been called."""
    touched, untouched = (regressor(solver=solver, dropout=0.2).fit(X, NUMBERS) for _ in range(2))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        refuses(
            lambda: touched.partial_fit(X * 1e200, NUMBERS),
            ValueError,
            "non-finite",
            "large values",
        )
    refuses(lambda: touched.partial_fit(X_NAN, NUMBERS), ValueError, "NaN")
    for model in (touched, untouched):
        model.partial_fit(X, NUMBERS)
    np.testing.assert_array_equal(touched.network_.theta, untouched.network_.theta)
    assert touched.loss_curve_ == untouched.loss_curve_


def test_divergence_is_an_error_and_keeps_the_model() -> None:
    model = regressor(solver="sgd").fit(X, NUMBERS)
    before = copy.deepcopy(model.__dict__)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        refuses(lambda: model.fit(X * 1e200, NUMBERS), ValueError, "non-finite", "preprocessed")
    assert_unchanged(model, before)


# ---------------------------------------------------------------- classes and prediction


def test_unseen_classes_in_partial_fit() -> None:
    model = classifier().partial_fit(X, LABELS, classes=["ant", "bee", "cat", "dog"])
    before = copy.deepcopy(model.__dict__)
    y = np.where(LABELS == "cat", "cow", LABELS)
    refuses(lambda: model.partial_fit(X, y), ValueError, "classes", "cow", "dog")
    refuses(
        lambda: model.partial_fit(X, LABELS, classes=["ant", "bee"]), ValueError, "classes", "dog"
    )
    assert_unchanged(model, before)


def test_partial_fit_needs_all_classes_first() -> None:
    refuses(lambda: classifier().partial_fit(X, LABELS), ValueError, "classes", "first call")
    refuses(
        lambda: classifier().partial_fit(X, LABELS, classes=["ant", "bee"]),
        ValueError,
        "classes",
        "cat",
    )


@pytest.mark.filterwarnings("ignore:X does not have valid feature names")
def test_prediction_checks_its_input() -> None:
    table = pd.DataFrame(X, columns=list("abcd"))
    model = classifier().fit(table, LABELS)
    for method in (model.predict, model.predict_proba, model.predict_log_proba):
        refuses(lambda m=method: m(table[["a", "b"]]), ValueError, "feature names", "missing")
        refuses(lambda m=method: m(table.rename(columns={"a": "z"})), ValueError, "feature names")
        refuses(lambda m=method: m(X_NAN), ValueError, "NaN")
        refuses(lambda m=method: m(X[:, 0]), ValueError, "2D array")
        refuses(lambda m=method: m(X[:, :3]), ValueError, "3 features", "expecting 4")


def test_prediction_before_fit() -> None:
    from sklearn.exceptions import NotFittedError

    refuses(lambda: classifier().predict(X), NotFittedError, "MLPClassifier", "fit")
    refuses(lambda: classifier().predict_proba(X), NotFittedError, "MLPClassifier", "fit")
    refuses(lambda: regressor().predict(X), NotFittedError, "MLPRegressor", "fit")


def test_return_std_requires_gaussian_nll() -> None:
    model = regressor().fit(X, NUMBERS)
    refuses(lambda: model.predict(X, return_std=True), ValueError, "return_std", "gaussian_nll")


def test_regressor_keeps_its_number_of_targets() -> None:
    model = regressor().fit(X, NUMBERS)
    before = copy.deepcopy(model.__dict__)
    refuses(lambda: model.partial_fit(X, np.c_[NUMBERS, NUMBERS]), ValueError, "y", "2", "1")
    refuses(lambda: model.partial_fit(X[:, :2], NUMBERS), ValueError, "2 features", "4")
    assert_unchanged(model, before)


# ---------------------------------------------------------------- parameters of the estimators

PARAMETERS: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "no hidden units": ({"hidden_layer_sizes": 0}, ("hidden_layer_sizes", "0")),
    "no units in a layer": ({"hidden_layer_sizes": (3, 0)}, ("hidden_layer_sizes", "> 0", "0")),
    "negative units": ({"hidden_layer_sizes": (-3,)}, ("hidden_layer_sizes", "-3")),
    "fractional units": ({"hidden_layer_sizes": (2.5,)}, ("hidden_layer_sizes", "2.5")),
    "unknown activation": ({"activation": "rellu"}, ("activation", "rellu", "relu")),
    "activation of the wrong type": ({"activation": 3}, ("activation", "3")),
    "unknown activation in a list": (
        {"activation": ["tanh", "nope"], "hidden_layer_sizes": (3, 3)},
        ("activation", "nope", "relu"),
    ),
    "too many activations": ({"activation": ["tanh", "relu"]}, ("activation", "2", "1")),
    "unknown solver": ({"solver": "newton"}, ("solver", "newton", "adam")),
    "solver of the wrong type": ({"solver": 7}, ("solver", "7")),
    "unknown loss": ({"loss": "squared"}, ("loss", "squared")),
    "loss of the wrong type": ({"loss": abs}, ("loss",)),
    "negative alpha": ({"alpha": -1.0}, ("alpha", "-1")),
    "alpha as text": ({"alpha": "small"}, ("alpha", "small")),
    "no batch": ({"batch_size": 0}, ("batch_size", "0", "auto")),
    "half a batch": ({"batch_size": 0.5}, ("batch_size", "0.5", "auto")),
    "unknown schedule": ({"learning_rate": "fast"}, ("learning_rate", "fast", "cosine")),
    "schedule of the wrong type": ({"learning_rate": 0.01}, ("learning_rate", "0.01")),
    "no learning rate": ({"learning_rate_init": 0.0}, ("learning_rate_init", "0")),
    "no epochs": ({"max_iter": 0}, ("max_iter", "0")),
    "negative tol": ({"tol": -1e-3}, ("tol", "-0.001")),
    "momentum over 1": ({"momentum": 1.5}, ("momentum", "1.5")),
    "beta_1 of 1": ({"beta_1": 1.0}, ("beta_1", "1.0")),
    "no epsilon": ({"epsilon": 0.0}, ("epsilon", "0.0")),
    "validation of everything": (
        {"early_stopping": True, "validation_fraction": 1.0},
        ("validation_fraction", "1.0"),
    ),
    "no patience": ({"n_iter_no_change": 0}, ("n_iter_no_change", "0")),
    "dropout of everything": ({"dropout": 1.0}, ("dropout", "1.0")),
    "negative dropout": ({"dropout": -0.1}, ("dropout", "-0.1")),
    "no clip_norm": ({"clip_norm": 0.0}, ("clip_norm", "0.0")),
    "negative weight_decay": ({"weight_decay": -1.0}, ("weight_decay", "-1.0")),
    "unknown init": ({"init": "zeros"}, ("init", "zeros", "glorot_uniform")),
    "unknown engine": ({"engine": "quantum"}, ("engine", "quantum", "reference")),
    "unknown scorer": ({"early_stopping": True, "scoring": "best"}, ("scoring", "best")),
    "callbacks of the wrong type": ({"callbacks": 3}, ("callbacks", "3")),
    "callback that cannot be called": ({"callbacks": ["print"]}, ("callbacks", "print")),
    "dropout with lbfgs": ({"dropout": 0.5, "solver": "lbfgs"}, ("dropout", "L-BFGS", "adam")),
    "random_state as text": ({"random_state": "x"}, ("random_state", "x")),
}


@pytest.mark.parametrize("case", PARAMETERS)
def test_bad_parameters(case: str) -> None:
    params, words = PARAMETERS[case]
    for make, y in ((classifier, LABELS), (regressor, NUMBERS)):
        model = make().fit(X, y)
        before = copy.deepcopy(model.__dict__)
        model.set_params(**params)
        refuses(lambda m=model, y=y: m.fit(X, y), (ValueError, TypeError), *words)
        model.set_params(**{name: before[name] for name in params})
        assert_unchanged(model, before)


@pytest.mark.parametrize(
    ("weights", "words"),
    [
        ("heavy", ("class_weight", "heavy", "balanced")),
        ({"ant": -1.0}, ("class_weight", "-1")),
        ([1.0, 2.0], ("class_weight",)),
    ],
)
def test_bad_class_weights(weights: Any, words: tuple[str, ...]) -> None:
    model = classifier().fit(X, LABELS)
    before = copy.deepcopy(model.__dict__)
    model.set_params(class_weight=weights)
    refuses(lambda: model.fit(X, LABELS), (ValueError, TypeError), *words)
    assert_unchanged(model.set_params(class_weight=None), before)


def test_a_loss_that_does_not_fit_the_task() -> None:
    refuses(lambda: classifier(loss="poisson").fit(X, LABELS), ValueError, "loss", "poisson")
    refuses(
        lambda: classifier(loss="binary_cross_entropy").fit(X, LABELS),
        ValueError,
        "loss",
        "binary_cross_entropy",
    )
    refuses(lambda: regressor(loss="log_loss").fit(X, NUMBERS), ValueError, "loss", "log_loss")
    hinge = classifier(loss="hinge").fit(X, LABELS)
    assert not hasattr(hinge, "predict_proba")


def test_validation_data_is_checked() -> None:
    model = classifier(early_stopping=True)
    refuses(lambda: model.fit(X, LABELS, X_val=X), ValueError, "X_val", "y_val")
    refuses(lambda: model.fit(X, LABELS, y_val=LABELS), ValueError, "X_val", "y_val")
    refuses(lambda: model.fit(X, LABELS, X_val=X[:, :2], y_val=LABELS), ValueError, "2 features")
    refuses(lambda: model.fit(X, LABELS, X_val=X_NAN, y_val=LABELS), ValueError, "NaN")
    refuses(
        lambda: model.fit(X, LABELS, X_val=X, y_val=np.full(30, "cow")), ValueError, "cow", "ant"
    )
    assert not hasattr(model, "coefs_")
    numbers = regressor(early_stopping=True)
    refuses(lambda: numbers.fit(X[:5], NUMBERS[:5]), ValueError, "validation_fraction", "too small")


def test_warm_start_keeps_the_shape() -> None:
    model = classifier(warm_start=True).fit(X, LABELS)
    before = copy.deepcopy(model.__dict__)
    model.set_params(hidden_layer_sizes=5)
    refuses(lambda: model.fit(X, LABELS), ValueError, "hidden_layer_sizes", "5")
    assert_unchanged(model.set_params(hidden_layer_sizes=3), before)
    refuses(lambda: model.fit(X, np.arange(30) % 2), ValueError, "warm_start", "ant")
    assert_unchanged(model, before)


def test_large_batch_is_clipped_with_a_warning() -> None:
    with pytest.warns(UserWarning, match="batch_size"):
        classifier(batch_size=31).fit(X, LABELS)


# ---------------------------------------------------------------- Network

INDICES = np.arange(30) % 3
NETWORK_DATA: dict[str, tuple[dict[str, Any], Any, Any, Any, tuple[str, ...]]] = {
    "NaN in X": ({}, X_NAN, INDICES, None, ("X", "NaN")),
    "infinity in X": ({}, X_INF, INDICES, None, ("X", "infinity")),
    "1-d X": ({}, X[0], INDICES[:1], None, ("2D array", "1D array")),
    "too few columns": ({}, X[:, :3], INDICES, None, ("X", "3", "4")),
    "words in X": ({}, np.full((30, 4), "many"), INDICES, None, ("many", "float")),
    "no rows": ({}, X[:0], INDICES[:0], None, ("0",)),
    "y too short": ({}, X, INDICES[:-1], None, ("X", "30", "y", "29")),
    "index too large": ({}, X, np.full(30, 3), None, ("y", "class indices", "0 to 2", "3")),
    "negative index": ({}, X, np.full(30, -1), None, ("y", "class indices", "0 to 2", "-1")),
    "fractional index": ({}, X, np.full(30, 0.5), None, ("y", "class indices", "0.5")),
    "one-hot of another width": ({}, X, np.eye(4)[INDICES], None, ("y", "4 column", "3 output")),
    "negative probabilities": ({}, X, -np.eye(3)[INDICES], None, ("y", "probabilities", "-1")),
    "names as y": ({}, X, LABELS, None, ("y", "numbers", "MLPClassifier")),
    "NaN in y": ({"H": 1, "loss": "squared_error"}, X, NAN, None, ("y", "NaN")),
    "3-d y": ({}, X, np.zeros((30, 3, 1)), None, ("y", "(N,)", "(30, 3, 1)")),
    "one column for three outputs": (
        {"loss": "squared_error"},
        X,
        NUMBERS,
        None,
        ("y", "1 column", "3 output"),
    ),
    "two columns for one output": (
        {"H": 1, "loss": "huber"},
        X,
        np.c_[NUMBERS, NUMBERS],
        None,
        ("y", "2 column", "1 output"),
    ),
    "columns for quantiles": (
        {"loss": dp.losses.get("quantile", quantiles=(0.1, 0.9))},
        X,
        NUMBERS,
        None,
        ("y", "quantile", "2 output", "3"),
    ),
    "columns for mean and variance": (
        {"loss": "gaussian_nll"},
        X,
        NUMBERS,
        None,
        ("variance", "2 output", "3"),
    ),
    "negative counts": ({"H": 1, "f": "exp", "loss": "poisson"}, X, NEGATIVE, None, ("y", ">= 0")),
    "zero amount": ({"H": 1, "f": "exp", "loss": "gamma"}, X, NEGATIVE + 2, None, ("y", "> 0")),
    "bits out of range": (
        {"H": 1, "f": "logistic", "loss": "binary_cross_entropy"},
        X,
        NEGATIVE,
        None,
        ("y", "[0, 1]", "-2"),
    ),
    "signs out of range": ({"H": 1, "f": "identity", "loss": "hinge"}, X, NUMBERS, None, ("y",)),
    "negative weight": ({}, X, INDICES, NEGATIVE, ("sample_weight", "negative")),
    "NaN weight": ({}, X, INDICES, NAN, ("sample_weight", "NaN")),
    "too few weights": ({}, X, INDICES, np.ones(29), ("sample_weight", "29", "30")),
    "all weights zero": ({}, X, INDICES, np.zeros(30), ("sample", "weight", "zero")),
}


@pytest.mark.parametrize("case", NETWORK_DATA)
def test_bad_data_for_a_network(case: str) -> None:
    params, bad_X, y, weight, words = NETWORK_DATA[case]
    net = network(**params)
    before = net.theta.copy()
    for method in (net.trace, net.loss, net.gradient, net.check):
        refuses(lambda m=method: m(bad_X, y, weight), ValueError, *words)
    refuses(lambda: dp.fit(net, bad_X, y, sample_weight=weight, max_epochs=1), ValueError, *words)
    np.testing.assert_array_equal(net.theta, before)


NETWORKS: dict[str, tuple[Callable[[], Any], tuple[str, ...]]] = {
    "no features": (lambda: dp.Network(0, [dp.Dense(1)], loss="huber"), ("n_features", "0")),
    "no layers": (lambda: dp.Network(2, [], loss="huber"), ("layers", "Dense")),
    "layers of another type": (lambda: dp.Network(2, [3], loss="huber"), ("layers", "Dense", "3")),
    "no loss": (lambda: dp.Network(2, [dp.Dense(1)]), ("loss",)),
    "no units": (lambda: dp.Dense(0), ("units", "0", ">= 1")),
    "fractional units": (lambda: dp.Dense(1.5), ("units", "1.5")),
    "dropout of everything": (lambda: dp.Dense(2, dropout=1.0), ("dropout", "1.0", "[0, 1)")),
    "dropout as text": (lambda: dp.Dense(2, dropout="0.5"), ("dropout", "0.5", "[0, 1)")),
    "NaN dropout": (lambda: dp.Dense(2, dropout=np.nan), ("dropout", "nan")),
    "output dropout": (
        lambda: dp.Network(2, [dp.Dense(1, dropout=0.5)], loss="huber"),
        ("dropout", "last layer", "0.5"),
    ),
    "unknown activation": (lambda: dp.Dense(2, "tan"), ("activation", "tan", "tanh", "relu")),
    "activation of the wrong type": (lambda: dp.Dense(2, np.tanh), ("activation", "Activation(")),
    "unknown loss": (lambda: network(loss="mse"), ("loss", "mse", "squared_error")),
    "loss of the wrong type": (lambda: network(loss=abs), ("loss", "abs", "Loss(")),
    "negative l2": (lambda: network(l2=-1.0), ("l2", "-1.0", ">= 0")),
    "NaN l2": (lambda: network(l2=np.nan), ("l2", "nan")),
    "unknown reduction": (lambda: network(reduction="avg"), ("reduction", "avg", "sum", "mean")),
    "unknown dtype": (lambda: network(dtype="float16"), ("dtype", "float16", "float32")),
    "unknown init": (lambda: network(init="zero"), ("init", "zero", "glorot_uniform")),
    "quantile of 1": (
        lambda: dp.losses.get("quantile", quantiles=(0.5, 1.0)),
        ("quantiles", "between 0 and 1", "1.0"),
    ),
    "no quantile": (lambda: dp.losses.get("quantile", quantiles=()), ("quantiles",)),
    "quantile as text": (lambda: dp.losses.get("quantile", quantiles="0.5"), ("quantiles", "0.5")),
    "negative delta": (lambda: dp.losses.get("huber", delta=-1.0), ("delta", "> 0", "-1.0")),
    "power of 2": (lambda: dp.losses.get("tweedie", power=2), ("power", "2", "gamma")),
    "power of 0.5": (lambda: dp.losses.get("tweedie", power=0.5), ("power", "0.5", "> 1")),
    "negative gamma": (lambda: dp.losses.get("focal", gamma=-1), ("gamma", "-1", ">= 0")),
    "smoothing of everything": (
        lambda: dp.losses.get("cross_entropy", label_smoothing=1.0),
        ("label_smoothing", "1.0", "[0, 1)"),
    ),
    "negative class weight": (
        lambda: dp.losses.get("cross_entropy", class_weight=(1.0, -1.0)),
        ("class_weight", "-1.0"),
    ),
    "unknown parameter of a loss": (lambda: dp.losses.get("huber", width=1.0), ("width",)),
    "activation without derivative": (lambda: dp.Activation("f", np.sin, None), ("f", "df")),
    "loss without derivative": (lambda: dp.Loss("f", lambda t, z, xp: z - t, None), ("f", "d")),
    "nameless activation": (lambda: dp.Activation("", np.sin, np.cos), ("name",)),
}


@pytest.mark.parametrize("case", NETWORKS)
def test_bad_networks(case: str) -> None:
    make, words = NETWORKS[case]
    refuses(make, (ValueError, TypeError), *words)


def test_wrong_number_of_class_weights() -> None:
    net = network(loss=dp.losses.get("cross_entropy", class_weight=(1.0, 2.0)))
    refuses(lambda: net.loss(X, INDICES), ValueError, "class_weight", "2", "3")


def test_theta_keeps_its_shape() -> None:
    net = network()
    before = net.theta.copy()

    def assign() -> None:
        net.theta = np.zeros(3)

    refuses(assign, ValueError, "theta", "(3,)", f"({net.theta.size},)")
    np.testing.assert_array_equal(net.theta, before)


# ---------------------------------------------------------------- dp.fit

FIT_ARGUMENTS: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "solver as text": ({"solver": "adam"}, ("solver", "adam", "Adam(")),
    "solver class": ({"solver": dp.Adam}, ("solver", "Adam")),
    "schedule as text": ({"schedule": "cosine"}, ("schedule", "cosine", "Cosine(")),
    "no batch": ({"batch_size": 0}, ("batch_size", "0", "auto")),
    "batch as text": ({"batch_size": "all"}, ("batch_size", "all", "auto")),
    "no epochs": ({"max_epochs": 0}, ("max_epochs", "0", ">= 1")),
    "negative clip_norm": ({"clip_norm": -1.0}, ("clip_norm", "-1.0", "> 0")),
    "negative tol": ({"tol": -1.0}, ("tol", "-1.0", ">= 0")),
    "negative patience": ({"patience": -1}, ("patience", "-1", ">= 0")),
    "unknown engine": ({"engine": "warp"}, ("engine", "warp", "reference")),
    "validation on everything": ({"validation": 1.0}, ("validation", "1.0", "(0, 1)")),
    "validation of another type": ({"validation": "half"}, ("validation", "(X, y)")),
    "validation of other columns": ({"validation": (X[:, :2], INDICES)}, ("X", "2", "4")),
    "validation of other lengths": ({"validation": (X, INDICES[:5])}, ("30", "5")),
    "seed as text": ({"seed": "one"}, ("seed", "one")),
    "callback that cannot be called": ({"callbacks": [3]}, ("callback", "3")),
    "resume of another type": ({"resume": "last"}, ("resume", "last", "History")),
}


@pytest.mark.parametrize("case", FIT_ARGUMENTS)
def test_bad_arguments_of_fit(case: str) -> None:
    params, words = FIT_ARGUMENTS[case]
    net = network()
    before = net.theta.copy()
    refuses(
        lambda: dp.fit(net, X, INDICES, **{"max_epochs": 2} | params),
        (ValueError, TypeError),
        *words,
    )
    np.testing.assert_array_equal(net.theta, before)


SOLVERS: dict[str, tuple[Callable[[], Any], tuple[str, ...]]] = {
    "no learning rate": (lambda: dp.Adam(learning_rate=0), ("learning_rate", "0", "> 0")),
    "learning rate as text": (lambda: dp.SGD(learning_rate="x"), ("learning_rate", "x")),
    "NaN learning rate": (lambda: dp.SGD(learning_rate=np.nan), ("learning_rate", "nan")),
    "momentum over 1": (lambda: dp.SGD(momentum=1.1), ("momentum", "1.1", "[0, 1]")),
    "beta_2 of 1": (lambda: dp.Adam(beta_2=1.0), ("beta_2", "1.0", "[0, 1)")),
    "no epsilon": (lambda: dp.AdamW(epsilon=0.0), ("epsilon", "0.0", "> 0")),
    "negative decay": (lambda: dp.AdamW(weight_decay=-1), ("weight_decay", "-1", ">= 0")),
    "no evaluations": (lambda: dp.LBFGS(max_fun=0), ("max_fun", "0", ">= 1")),
    "negative power": (lambda: dp.schedules.InverseScaling(power=-1), ("power", "-1")),
    "warm-up of twice the run": (lambda: dp.schedules.WarmUp(share=2), ("share", "2")),
    "warm-up to text": (lambda: dp.schedules.WarmUp(then="cosine"), ("then", "cosine")),
}


@pytest.mark.parametrize("case", SOLVERS)
def test_bad_solvers_and_schedules(case: str) -> None:
    make, words = SOLVERS[case]
    refuses(make, (ValueError, TypeError), *words)


def test_fit_rejects_other_types_than_network() -> None:
    refuses(lambda: dp.fit(None, X, INDICES), TypeError, "net", "Network", "None")


def test_a_diverging_fit_keeps_the_network() -> None:
    net = dp.Network(4, [dp.Dense(1)], loss="squared_error", seed=0)
    before = net.theta.copy()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        refuses(
            lambda: dp.fit(net, X * 1e200, NUMBERS, solver=dp.SGD(10.0)), ValueError, "non-finite"
        )
    np.testing.assert_array_equal(net.theta, before)


def test_an_error_in_a_callback_is_raised_unchanged() -> None:
    def broken(epoch: Any) -> None:
        raise LookupError("mine")

    model = classifier().fit(X, LABELS)
    before = copy.deepcopy(model.__dict__)
    model.set_params(callbacks=[broken])
    with pytest.raises(LookupError, match="mine"):
        model.fit(X, LABELS)
    assert_unchanged(model.set_params(callbacks=None), before)


# ---------------------------------------------------------------- Ctrl-C


class CtrlC:
    """A callback that raises KeyboardInterrupt in epoch `at` and records the epochs before."""

    def __init__(self, at: int, real: bool = False) -> None:
        self.at, self.real = at, real
        self.seen: list[tuple[float | None, np.ndarray]] = []

    def __call__(self, epoch: Any) -> None:
        self.seen.append((epoch.validation_score, epoch.network.theta.copy()))
        if epoch.epoch == self.at:
            if self.real:
                signal.raise_signal(signal.SIGINT)
            raise KeyboardInterrupt


@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
def test_ctrl_c_keeps_the_weights_and_warns(solver: str) -> None:
    ctrl_c = CtrlC(at=4)
    model = regressor(solver=solver, max_iter=100, callbacks=[ctrl_c])
    with pytest.warns(UserWarning, match="interrupted"):
        model.fit(X, NUMBERS)
    assert model.stop_reason_ == "interrupted"
    assert model.n_iter_ == len(model.loss_curve_) == 4
    np.testing.assert_array_equal(model.network_.theta, ctrl_c.seen[-1][1])
    assert np.isfinite(model.predict(X)).all()


def test_ctrl_c_restores_the_best_validated_weights() -> None:
    ctrl_c = CtrlC(at=40, real=True)
    model = regressor(
        max_iter=100,
        early_stopping=True,
        n_iter_no_change=1000,
        solver="sgd",
        learning_rate_init=0.2,
        callbacks=[ctrl_c],
    )
    with pytest.warns(UserWarning, match=r"interrupted.*best"):
        model.fit(X[:15], NUMBERS[:15], X_val=X[15:], y_val=NUMBERS[15:])
    scores = [score for score, _ in ctrl_c.seen]
    best = int(np.argmax(scores))
    assert best < len(scores) - 1, "the data must make the last epoch worse than the best"
    np.testing.assert_array_equal(model.network_.theta, ctrl_c.seen[best][1])
    assert model.best_validation_score_ == scores[best]
    assert model.score(X[15:], NUMBERS[15:]) == pytest.approx(scores[best])


def test_ctrl_c_in_partial_fit_and_dp_fit() -> None:
    model = classifier(callbacks=[CtrlC(at=1)])
    with pytest.warns(UserWarning, match="interrupted"):
        model.partial_fit(X, LABELS, classes=np.unique(LABELS))
    assert model.stop_reason_ == "interrupted"
    net = network()
    ctrl_c = CtrlC(at=3)
    with pytest.warns(UserWarning, match="interrupted"):
        history = dp.fit(net, X, INDICES, callbacks=[ctrl_c])
    assert history.stop_reason == "interrupted"
    assert history.n_epochs == 3
    np.testing.assert_array_equal(net.theta, ctrl_c.seen[-1][1])


def test_ctrl_c_restores_the_signal_handler() -> None:
    before = signal.getsignal(signal.SIGINT)
    with pytest.warns(UserWarning, match="interrupted"):
        regressor(max_iter=10, callbacks=[CtrlC(at=2)]).fit(X, NUMBERS)
    assert signal.getsignal(signal.SIGINT) is before


# ---------------------------------------------------------------- the same from every engine

EXTREME = {
    "a loss that overflows": (X, NUMBERS * 1e200, {}),
    "a penalty that overflows": (X, NUMBERS, {"l2": 1e308}),
    "numbers that overflow in float32": (X * 1e39, NUMBERS, {"dtype": "float32"}),
    "squares that overflow in float32": (X, NUMBERS * 1e19, {"dtype": "float32"}),
    "integers of any size": (X, np.array([10**400] * 30, dtype=object), {}),
}


@pytest.mark.parametrize("case", EXTREME)
def test_extreme_numbers_raise_the_same_error_in_every_engine(case):
    A, y, settings = EXTREME[case]

    def message(engine):
        net = network(1, "identity", "squared_error", **settings)
        before = net.theta.copy()
        with pytest.raises(ValueError) as caught, np.errstate(all="ignore"):  # noqa: PT011
            dp.fit(net, A, y, engine=engine, max_epochs=2, batch_size=10)
        np.testing.assert_array_equal(net.theta, before)
        return str(caught.value)

    assert message("reference") == message("fused") == message("xla")


@pytest.mark.parametrize("engine", ["reference", "fused", "xla"])
def test_arrays_in_the_byte_order_of_other_machines_give_the_same_network(engine):
    def trained(order):
        net = network(1, "identity", "squared_error")
        A, y = (np.asarray(a, f"{order}f8") for a in (X, NUMBERS))
        dp.fit(net, A, y, engine=engine, max_epochs=2, sample_weight=np.ones(30, f"{order}f8"))
        return net.theta

    np.testing.assert_array_equal(trained(">"), trained("<"))
