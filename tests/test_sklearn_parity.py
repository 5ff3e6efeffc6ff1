"""MLPs match scikit-learn's from the same seed, epoch by epoch; then deltaprop's extensions."""

from __future__ import annotations

import copy
import io
import pickle
import warnings
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import sklearn.neural_network as theirs
from sklearn.base import clone
from sklearn.callback import ProgressBar
from sklearn.datasets import (
    load_iris,
    make_classification,
    make_multilabel_classification,
    make_regression,
)
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import d2_pinball_score, log_loss, mean_pinball_loss, roc_auc_score
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.neural_network import MLPClassifier as TheirClassifier
from sklearn.neural_network import MLPRegressor as TheirRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.class_weight import compute_sample_weight

import deltaprop as dp

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

Data = tuple[np.ndarray, np.ndarray]


def classes(k: int) -> Data:
    return make_classification(
        150, 6, n_informative=4, n_redundant=0, n_classes=k, flip_y=0.2, random_state=0
    )


def counts() -> Data:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(150, 4))
    return X, rng.poisson(np.exp(0.5 * X[:, 0] + 0.3)).astype(float)


def amounts(targets: int) -> Data:
    X, y = make_regression(150, 5, n_targets=targets, noise=5.0, random_state=0)
    return X, y / y.std(axis=0)


DATA: dict[str, tuple[str, Data, dict[str, Any]]] = {
    "binary": ("MLPClassifier", classes(2), {}),
    "multiclass": ("MLPClassifier", classes(4), {}),
    "multilabel": (
        "MLPClassifier",
        make_multilabel_classification(150, 6, n_classes=3, random_state=0),
        {},
    ),
    "regression": ("MLPRegressor", amounts(1), {}),
    "multioutput": ("MLPRegressor", amounts(3), {}),
    "poisson": ("MLPRegressor", counts(), {"loss": "poisson"}),
}
SOLVERS: dict[str, dict[str, Any]] = {
    "sgd": {"solver": "sgd", "learning_rate_init": 0.02},
    "sgd, no momentum": {"solver": "sgd", "learning_rate_init": 0.02, "momentum": 0.0},
    "sgd, plain momentum": {
        "solver": "sgd",
        "learning_rate_init": 0.02,
        "momentum": 0.5,
        "nesterovs_momentum": False,
    },
    "sgd, invscaling": {
        "solver": "sgd",
        "learning_rate": "invscaling",
        "learning_rate_init": 0.1,  # at 0.3 rounding errors grow to 1e-6 within these epochs
        "power_t": 0.3,
    },
    "sgd, adaptive": {
        "solver": "sgd",
        "learning_rate": "adaptive",
        "learning_rate_init": 0.02,
        "tol": 0.02,
        "n_iter_no_change": 2,
        "max_iter": 80,
    },
    "sgd, in order": {"solver": "sgd", "learning_rate_init": 0.02, "shuffle": False},
    "adam": {"solver": "adam", "learning_rate_init": 0.01},
    "adam, betas": {
        "solver": "adam",
        "learning_rate_init": 0.01,
        "beta_1": 0.8,
        "beta_2": 0.95,
        "epsilon": 1e-4,
    },
}
COMMON: dict[str, Any] = {
    "hidden_layer_sizes": (7, 5),
    "activation": "tanh",
    "alpha": 0.01,
    "batch_size": 32,
    "max_iter": 25,
    "random_state": 0,
}


def both(kind: str, X: Any, y: Any, weight: Any = None, **params: Any) -> tuple[Any, Any]:
    """Fit deltaprop's and scikit-learn's estimator with the same arguments."""
    mine = getattr(dp, kind)(**params).fit(X, y, sample_weight=weight)
    reference = getattr(theirs, kind)(**params).fit(X, y, sample_weight=weight)
    return mine, reference


def assert_same_parameters(mine: Any, reference: Any, rtol: float = 1e-6) -> None:
    for name in ("coefs_", "intercepts_"):
        pairs = zip(getattr(mine, name), getattr(reference, name), strict=True)
        for p, q in pairs:
            np.testing.assert_allclose(p, q, rtol=rtol, atol=1e-8)


def assert_same_model(mine: Any, reference: Any, X: Any, rtol: float = 1e-6) -> None:
    assert mine.n_iter_ == reference.n_iter_
    for name in ("t_", "n_layers_", "n_outputs_", "out_activation_", "n_features_in_"):
        assert getattr(mine, name) == getattr(reference, name), name
    assert_same_parameters(mine, reference, rtol)
    if hasattr(reference, "classes_"):
        np.testing.assert_array_equal(mine.classes_, reference.classes_)
        np.testing.assert_allclose(
            mine.predict_proba(X), reference.predict_proba(X), rtol=1e-5, atol=1e-9
        )
        np.testing.assert_array_equal(mine.predict(X), reference.predict(X))
    else:
        np.testing.assert_allclose(mine.predict(X), reference.predict(X), rtol=1e-5, atol=1e-7)
    assert mine.predict(X).shape == reference.predict(X).shape
    assert mine.predict(X).dtype == reference.predict(X).dtype


# ---------------------------------------------------------------- equal to scikit-learn


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("data", [name for name in DATA if name != "multioutput"])
def test_every_epoch_matches_scikit_learn(data: str, solver: str) -> None:
    kind, (X, y), more = DATA[data]
    mine, reference = both(kind, X, y, **{**COMMON, **more, **SOLVERS[solver]})
    np.testing.assert_allclose(mine.loss_curve_, reference.loss_curve_, rtol=1e-6)
    assert isinstance(mine.loss_curve_, list)
    assert mine.loss_ == mine.loss_curve_[-1]
    assert mine.best_loss_ == pytest.approx(reference.best_loss_, rel=1e-6)
    assert mine.validation_scores_ is None
    assert mine.best_validation_score_ is None
    assert_same_model(mine, reference, X)


@pytest.mark.parametrize("activation", ["identity", "logistic", "tanh", "relu"])
@pytest.mark.parametrize("data", ["binary", "multiclass", "regression"])
def test_every_activation_matches_scikit_learn(data: str, activation: str) -> None:
    kind, (X, y), more = DATA[data]
    params = {**COMMON, **more, "activation": activation, "hidden_layer_sizes": 9}
    mine, reference = both(kind, X, y, **params)
    np.testing.assert_allclose(mine.loss_curve_, reference.loss_curve_, rtol=1e-6)
    assert_same_model(mine, reference, X)


@pytest.mark.parametrize("data", [name for name in DATA if name != "multioutput"])
def test_lbfgs_matches_scikit_learn(data: str) -> None:
    kind, (X, y), more = DATA[data]
    params = {**COMMON, **more, "solver": "lbfgs", "max_iter": 12, "max_fun": 1000}
    mine, reference = both(kind, X, y, **params)
    assert mine.n_iter_ == reference.n_iter_ == 12
    assert mine.loss_ == pytest.approx(reference.loss_, rel=1e-6)
    assert_same_parameters(mine, reference, rtol=1e-4)


def test_defaults_match_scikit_learn() -> None:
    for kind in ("MLPClassifier", "MLPRegressor"):
        X, y = DATA["binary" if kind == "MLPClassifier" else "regression"][1]
        mine, reference = both(kind, X, y, random_state=3, max_iter=20)
        np.testing.assert_allclose(mine.loss_curve_, reference.loss_curve_, rtol=1e-6)
        assert_same_model(mine, reference, X)
        defaults = reference.get_params() | {"random_state": 3}
        assert {name: mine.get_params()[name] for name in defaults} == defaults


def test_parameters_have_the_order_of_scikit_learn() -> None:
    from inspect import signature

    for mine, reference in (
        (dp.MLPClassifier, TheirClassifier),
        (dp.MLPRegressor, TheirRegressor),
    ):
        ours = list(signature(mine).parameters.values())
        known = list(signature(reference).parameters.values())
        names = [p.name for p in known]
        assert [p.name for p in ours if p.name in names] == names
        for p in known:
            assert signature(mine).parameters[p.name].default == p.default, p.name
            assert signature(mine).parameters[p.name].kind == p.kind, p.name


@pytest.mark.parametrize("solver", ["sgd", "adam"])
@pytest.mark.parametrize("data", [name for name in DATA if name != "multioutput"])
def test_sample_weight_matches_scikit_learn(data: str, solver: str) -> None:
    kind, (X, y), more = DATA[data]
    weight = np.random.default_rng(1).uniform(0.1, 4, len(X))
    mine, reference = both(kind, X, y, weight, **{**COMMON, **more, **SOLVERS[solver]})
    np.testing.assert_allclose(mine.loss_curve_, reference.loss_curve_, rtol=1e-6)
    assert_same_model(mine, reference, X)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("data", ["binary", "multilabel", "regression", "poisson"])
def test_early_stopping_matches_scikit_learn(data: str, weighted: bool) -> None:
    kind, (X, y), more = DATA[data]
    weight = np.random.default_rng(1).uniform(0.1, 4, len(X)) if weighted else None
    params = {**COMMON, **more, "early_stopping": True, "n_iter_no_change": 3, "max_iter": 60}
    params |= {"validation_fraction": 0.25, "learning_rate_init": 0.01}
    mine, reference = both(kind, X, y, weight, **params)
    np.testing.assert_allclose(mine.loss_curve_, reference.loss_curve_, rtol=1e-6)
    np.testing.assert_allclose(mine.validation_scores_, reference.validation_scores_, rtol=1e-6)
    assert mine.best_validation_score_ == pytest.approx(reference.best_validation_score_, rel=1e-6)
    assert mine.best_loss_ is None
    assert_same_model(mine, reference, X)


@pytest.mark.parametrize("container", [scipy.sparse.csr_array, scipy.sparse.csc_matrix])
@pytest.mark.parametrize("solver", ["adam", "sgd, in order"])
def test_sparse_input_matches_scikit_learn(container: Any, solver: str) -> None:
    X, y = classes(3)
    X = container(np.where(np.abs(X) > 0.8, X, 0))
    mine, reference = both("MLPClassifier", X, y, **COMMON | SOLVERS[solver])
    np.testing.assert_allclose(mine.loss_curve_, reference.loss_curve_, rtol=1e-6)
    assert_same_model(mine, reference, X)
    np.testing.assert_allclose(mine.predict_proba(X.toarray()), mine.predict_proba(X), rtol=1e-12)


@pytest.mark.parametrize("data", ["multiclass", "regression"])
def test_warm_start_matches_scikit_learn(data: str) -> None:
    kind, (X, y), more = DATA[data]
    params = {**COMMON, **more, "warm_start": True, "max_iter": 6}
    mine, reference = both(kind, X, y, **params)
    for model in (mine, reference):
        model.set_params(max_iter=9).fit(X, y)
    assert len(mine.loss_curve_) == len(reference.loss_curve_) == 15
    np.testing.assert_allclose(mine.loss_curve_, reference.loss_curve_, rtol=1e-6)
    assert_same_model(mine, reference, X)


def test_partial_fit_in_order_matches_scikit_learn() -> None:
    X, y = classes(3)
    mine, reference = (
        kind(**COMMON | {"shuffle": False}) for kind in (dp.MLPClassifier, TheirClassifier)
    )
    for model in (mine, reference):
        for rows in (slice(0, 60), slice(60, 150), slice(0, 150)):
            model.partial_fit(X[rows], y[rows], classes=[0, 1, 2])
    np.testing.assert_allclose(mine.loss_curve_, reference.loss_curve_, rtol=1e-6)
    assert_same_model(mine, reference, X)


def test_strings_are_classes() -> None:
    X, y = classes(3)
    names = np.array(["ant", "bee", "cat"])[y]
    mine, reference = both("MLPClassifier", X, names, **COMMON)
    assert_same_model(mine, reference, X)
    np.testing.assert_allclose(
        mine.predict_log_proba(X), np.log(mine.predict_proba(X)), rtol=1e-9, atol=1e-9
    )


def test_same_seed_same_model_and_seeds_differ() -> None:
    X, y = classes(2)
    first, second = (dp.MLPClassifier(**COMMON, dropout=0.2).fit(X, y) for _ in range(2))
    for p, q in zip(first.coefs_, second.coefs_, strict=True):
        np.testing.assert_array_equal(p, q)
    other = dp.MLPClassifier(**COMMON | {"random_state": 1}).fit(X, y)
    assert not np.allclose(first.coefs_[0], other.coefs_[0])


# ---------------------------------------------------------------- deliberate differences


@pytest.mark.parametrize("solver", ["sgd", "adam"])
def test_multioutput_gradient_matches_and_the_loss_is_its_integral(solver: str) -> None:
    """scikit-learn divides the loss by n_outputs, but not its gradient (scikit-learn #8349)."""
    kind, (X, y), _ = DATA["multioutput"]
    params = COMMON | SOLVERS[solver] | {"alpha": 0.0}
    mine, reference = both(kind, X, y, **params, tol=0, n_iter_no_change=100)
    assert_same_model(mine, reference, X)
    np.testing.assert_allclose(mine.loss_curve_, 3 * np.array(reference.loss_curve_), rtol=1e-6)


def test_multioutput_lbfgs_reaches_a_lower_loss() -> None:
    """With scikit-learn's inconsistent loss and gradient, the line search stops too early."""
    _, (X, y), _ = DATA["multioutput"]
    params: dict[str, Any] = {"solver": "lbfgs", "hidden_layer_sizes": 4, "alpha": 1.0}
    params |= {"max_iter": 3000, "tol": 1e-7, "random_state": 0}
    mine, reference = both("MLPRegressor", X, y, **params)
    assert mine.stop_reason_ == "converged"
    assert np.abs(mine.network_.gradient(X, y).flat).max() < 2e-3
    loss = mine.network_.loss(X, y)
    assert loss == pytest.approx(mine.loss_, rel=1e-12)
    for ours, other in zip(
        mine.coefs_ + mine.intercepts_, reference.coefs_ + reference.intercepts_, strict=True
    ):
        ours[...] = other
    assert loss < mine.network_.loss(X, y)


def test_partial_fit_does_not_reseed() -> None:
    """scikit-learn draws the same batches in every call; deltaprop continues as `fit` would."""
    X, y = classes(3)
    params = COMMON | {"max_iter": 4, "tol": 0}
    whole = dp.MLPClassifier(**params).fit(X, y)
    steps = dp.MLPClassifier(**params)
    for _ in range(4):
        steps.partial_fit(X, y, classes=[0, 1, 2])
    np.testing.assert_allclose(steps.loss_curve_, whole.loss_curve_, rtol=1e-10)
    assert_same_parameters(steps, whole, rtol=1e-10)
    again = TheirClassifier(**params)
    for _ in range(4):
        again.partial_fit(X, y, classes=[0, 1, 2])
    assert not np.allclose(steps.loss_curve_, again.loss_curve_, rtol=1e-6)


def test_early_stopping_split_is_stratified_for_many_classes() -> None:
    X, _ = classes(3)
    y = np.repeat(["a", "b", "c"], [100, 42, 8])
    held: list[np.ndarray] = []

    def remember(estimator: Any, X: Any, y: Any) -> float:
        held.append(y)
        return float(estimator.score(X, y))

    for seed in range(5):
        dp.MLPClassifier(
            early_stopping=True,
            validation_fraction=0.5,
            scoring=remember,
            max_iter=1,
            random_state=seed,
        ).fit(X, y)
    for labels in held:
        assert [int((labels == name).sum()) for name in "abc"] == [50, 21, 4]


def test_poisson_with_a_negative_y_is_an_error() -> None:
    X, y = counts()
    y[7] = -1
    with pytest.raises(ValueError, match="poisson") as error:
        dp.MLPRegressor(loss="poisson").fit(X, y)
    assert "-1" in str(error.value)


@pytest.mark.parametrize("name", ["invscaling", "adaptive"])
def test_schedules_apply_to_adam_too(name: str) -> None:
    X, y = classes(2)
    rates: list[float] = []
    dp.MLPClassifier(
        learning_rate=name,
        tol=0.1,
        n_iter_no_change=2,
        max_iter=30,
        random_state=0,
        callbacks=[lambda epoch: rates.append(epoch.learning_rate)],
    ).fit(X, y)
    assert rates[-1] < rates[0] == pytest.approx(1e-3)


# ---------------------------------------------------------------- one activation per layer


def test_one_activation_per_layer() -> None:
    X, y = classes(3)
    model = dp.MLPClassifier((6, 5, 4), ["tanh", "silu", "softmax"], random_state=0, max_iter=5)
    model.fit(X, y)
    names = [layer.activation.name for layer in model.network_.layers]
    assert names == ["tanh", "silu", "softmax", "softmax"]
    a = np.tanh(X @ model.coefs_[0] + model.intercepts_[0])
    assert model.network_.trace(X, y).X[1] == pytest.approx(a)
    assert model.network_.check(X[:5], y[:5]).ok


@pytest.mark.parametrize("activation", dp.activations.NAMES)
def test_every_activation_trains(activation: str) -> None:
    X, y = classes(2)
    model = dp.MLPClassifier(8, activation, solver="lbfgs", max_iter=100, random_state=0)
    model.fit(X, y)
    linear = theirs.MLPClassifier(8, "identity", solver="lbfgs", random_state=0).fit(X, y)
    assert model.score(X, y) >= linear.score(X, y) > 0.6


def sine() -> dp.Activation:
    return dp.Activation("sine", lambda a, xp: xp.sin(a), lambda a, z, xp: xp.cos(a))


def test_custom_activation() -> None:
    X = np.linspace(-3, 3, 200)[:, None]
    y = np.sin(2 * X[:, 0])
    model = dp.MLPRegressor(
        "squared_error", 10, sine(), solver="lbfgs", max_iter=500, random_state=0
    ).fit(X, y)
    assert model.score(X, y) > 0.999
    assert model.network_.layers[0].activation.name == "sine"


def test_custom_loss_matches_the_built_in() -> None:
    X, y = amounts(2)
    own = dp.Loss("my_square", lambda t, z, xp: 0.5 * (z - t) ** 2, lambda t, z, xp: z - t)
    mine = dp.MLPRegressor(own, **COMMON).fit(X, y)
    built_in = dp.MLPRegressor("squared_error", **COMMON).fit(X, y)
    np.testing.assert_allclose(mine.loss_curve_, built_in.loss_curve_, rtol=1e-10)
    assert_same_parameters(mine, built_in, rtol=1e-9)


# ---------------------------------------------------------------- losses


def test_quantiles_have_the_right_coverage() -> None:
    rng = np.random.default_rng(0)
    X = rng.uniform(-1, 1, (1500, 1))
    y = X[:, 0] + (0.2 + 0.5 * (X[:, 0] > 0)) * rng.normal(size=1500)
    levels = (0.1, 0.5, 0.9)
    model = dp.MLPRegressor(
        dp.losses.get("quantile", quantiles=levels),
        20,
        "tanh",
        learning_rate_init=0.01,
        max_iter=150,
        random_state=0,
    ).fit(X, y)
    predicted = model.predict(X)
    assert predicted.shape == (1500, 3)
    for j, level in enumerate(levels):
        assert np.mean(y < predicted[:, j]) == pytest.approx(level, abs=0.04)
        assert d2_pinball_score(y, predicted[:, j], alpha=level) > 0.15
    total = sum(
        mean_pinball_loss(y, predicted[:, j], alpha=level) for j, level in enumerate(levels)
    )
    assert model.network_.loss(X, y) == pytest.approx(
        total + 0.5 * 1e-4 * sum((W**2).sum() for W in model.coefs_) / 1500, rel=1e-6
    )


def test_quantile_by_name_is_the_median() -> None:
    X, y = amounts(1)
    model = dp.MLPRegressor("quantile", solver="lbfgs", random_state=0, max_iter=300).fit(X, y)
    assert model.predict(X).shape == y.shape
    assert np.mean(y < model.predict(X)) == pytest.approx(0.5, abs=0.1)


def test_gaussian_nll_estimates_the_noise() -> None:
    rng = np.random.default_rng(0)
    X = rng.uniform(-1, 1, (2000, 1))
    std = 0.1 + 0.5 * (X[:, 0] > 0)
    y = 2 * X[:, 0] + std * rng.normal(size=2000)
    model = dp.MLPRegressor(
        "gaussian_nll", 20, "tanh", learning_rate_init=0.01, max_iter=150, random_state=0
    ).fit(X, y)
    mean, sigma = model.predict(X, return_std=True)
    assert model.predict(X) == pytest.approx(mean)
    assert mean.shape == sigma.shape == y.shape
    assert np.corrcoef(mean, 2 * X[:, 0])[0, 1] > 0.97
    away = np.abs(X[:, 0]) > 0.3
    assert np.median(np.abs(np.log(sigma[away] / std[away]))) < 0.2
    assert model.score(X, y) > 0.7


@pytest.mark.parametrize("loss", ["absolute_error", "huber", "log_cosh"])
def test_robust_losses_ignore_outliers(loss: str) -> None:
    X, y = amounts(1)
    spoilt = y.copy()
    spoilt[::15] += 50
    params = {"hidden_layer_sizes": 5, "activation": "identity", "solver": "lbfgs"}
    model = dp.MLPRegressor(loss, **params, max_iter=2000, random_state=0).fit(X, spoilt)
    assert model.score(X, y) > 0.9
    square = dp.MLPRegressor("squared_error", **params, random_state=0).fit(X, spoilt)
    assert square.score(X, y) < model.score(X, y)


@pytest.mark.parametrize("loss", ["poisson", "gamma", "tweedie"])
def test_positive_losses_predict_positive_values(loss: str) -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 3))
    y = rng.gamma(4, np.exp(0.7 * X[:, 0]) / 4)
    model = dp.MLPRegressor(loss, 8, solver="lbfgs", random_state=0, max_iter=300).fit(X, y)
    assert model.out_activation_ == "exp"
    assert (model.predict(X) > 0).all()
    assert np.corrcoef(np.log(model.predict(X)), X[:, 0])[0, 1] > 0.95


@pytest.mark.parametrize("k", [2, 3])
@pytest.mark.parametrize("loss", ["focal", "hinge", "log_loss"])
def test_classifier_losses(loss: str, k: int) -> None:
    X, y = classes(k)
    names = np.array(["x", "y", "z"])[y]
    model = dp.MLPClassifier(
        30, loss=loss, solver="lbfgs", max_iter=300, random_state=0, alpha=0.1
    ).fit(X, names)
    assert model.score(X, names) > 0.85
    assert set(model.predict(X)) <= set(names)


def test_focal_and_smoothed_losses_give_probabilities() -> None:
    X, y = classes(3)
    for loss in ("focal", dp.losses.get("cross_entropy", label_smoothing=0.1)):
        p = dp.MLPClassifier(loss=loss, random_state=0, max_iter=30).fit(X, y).predict_proba(X)
        assert p.shape == (150, 3)
        np.testing.assert_allclose(p.sum(axis=1), 1)


# ---------------------------------------------------------------- dropout, weights, clipping


def test_dropout_trains_differently_and_predicts_deterministically() -> None:
    X, y = classes(2)
    plain = dp.MLPClassifier(**COMMON).fit(X, y)
    dropped = dp.MLPClassifier(**COMMON, dropout=0.5).fit(X, y)
    assert not np.allclose(plain.coefs_[0], dropped.coefs_[0])
    np.testing.assert_array_equal(dropped.predict_proba(X), dropped.predict_proba(X))
    assert [layer.dropout for layer in dropped.network_.layers] == [0.5, 0.5, 0.0]


def test_dropout_keeps_the_expected_output() -> None:
    """Kept outputs are multiplied by 1 / (1 - p); otherwise predictions would be wrong by that."""
    X, y = amounts(1)
    scores = [
        dp.MLPRegressor(
            "squared_error",
            50,
            "identity",
            dropout=rate,
            max_iter=200,
            learning_rate_init=0.01,
            random_state=0,
        )
        .fit(X, y)
        .score(X, y)
        for rate in (0.0, 0.3)
    ]
    assert min(scores) > 0.95


@pytest.mark.parametrize("k", [2, 3])
def test_class_weight_is_a_sample_weight(k: int) -> None:
    X, y = classes(k)
    y = np.where((y == 0) | (np.arange(150) % 4 == 0), y, 0)  # imbalanced
    names = np.array(["a", "b", "c"])[y]
    weights = {"a": 0.5, "b": 3.0, "c": 2.0}
    chosen = {name: weights[name] for name in sorted(set(names))}
    for class_weight in ("balanced", chosen):
        mine = dp.MLPClassifier(**COMMON, class_weight=class_weight).fit(X, names)
        by_hand = dp.MLPClassifier(**COMMON).fit(
            X, names, sample_weight=compute_sample_weight(class_weight, names)
        )
        np.testing.assert_allclose(mine.loss_curve_, by_hand.loss_curve_, rtol=1e-9)
        assert_same_parameters(mine, by_hand, rtol=1e-9)


def test_class_weight_and_sample_weight_multiply() -> None:
    X, y = classes(2)
    sample_weight = np.random.default_rng(0).uniform(0.5, 2, 150)
    mine = dp.MLPClassifier(**COMMON, class_weight={0: 1, 1: 5}).fit(X, y, sample_weight)
    by_hand = dp.MLPClassifier(**COMMON).fit(X, y, sample_weight * np.where(y == 1, 5, 1))
    assert_same_parameters(mine, by_hand, rtol=1e-9)


def test_gradient_clipping_bounds_a_step() -> None:
    X, y = amounts(1)
    params: dict[str, Any] = {"solver": "sgd", "momentum": 0, "learning_rate_init": 0.1}
    params |= {"batch_size": 150, "random_state": 0, "max_iter": 1}

    def step(**more: Any) -> float:
        model = dp.MLPRegressor(**params, **more).fit(X, 1e4 * y)
        start = dp.MLPRegressor(**params | {"learning_rate_init": 1e-300}).fit(X, 1e4 * y)
        return float(np.linalg.norm(model.network_.theta - start.network_.theta))

    assert step() > 100
    assert step(clip_norm=2.0) == pytest.approx(0.2, rel=1e-6)
    assert step(clip_norm=1e9) == pytest.approx(step(), rel=1e-12)


def test_adamw_decays_weights_and_not_biases() -> None:
    X, y = classes(2)
    params = COMMON | {"alpha": 0.0, "max_iter": 1, "batch_size": 150}
    plain = dp.MLPClassifier(**params, solver="adamw", weight_decay=0.0).fit(X, y)
    decayed = dp.MLPClassifier(**params, solver="adamw", weight_decay=0.5).fit(X, y)
    adam = dp.MLPClassifier(**params, solver="adam").fit(X, y)
    start = dp.MLPClassifier(**params, learning_rate_init=1e-300).fit(X, y)
    assert_same_parameters(plain, adam, rtol=1e-12)
    for l in range(3):
        np.testing.assert_array_equal(plain.intercepts_[l], decayed.intercepts_[l])
        np.testing.assert_allclose(
            decayed.coefs_[l], plain.coefs_[l] - 1e-3 * 0.5 * start.coefs_[l], rtol=1e-9
        )


# ---------------------------------------------------------------- schedules


@pytest.mark.parametrize("solver", ["sgd", "adam", "adamw"])
@pytest.mark.parametrize(
    "schedule",
    ["cosine", "one_cycle", "warmup_cosine", "invscaling", "flat_cosine"],
)
def test_schedules_work_with_every_first_order_solver(schedule: str, solver: str) -> None:
    X, y = classes(2)
    rates: list[float] = []
    model = dp.MLPClassifier(
        solver=solver,
        learning_rate=schedule,
        learning_rate_init=0.01,
        max_iter=20,
        tol=0,
        random_state=0,
        callbacks=[lambda epoch: rates.append(epoch.learning_rate)],
    ).fit(X, y)
    assert len(rates) == model.n_iter_ == 20
    assert max(rates) <= 0.01 * (1 + 1e-12)
    assert rates[-1] < 0.5 * max(rates)
    if schedule in ("one_cycle", "warmup_cosine"):
        assert rates[0] < max(rates) or schedule == "warmup_cosine"
    else:
        assert rates == sorted(rates, reverse=True)


def test_schedule_objects_are_accepted() -> None:
    X, y = classes(2)
    by_name = dp.MLPClassifier(learning_rate="cosine", random_state=0, max_iter=10).fit(X, y)
    by_object = dp.MLPClassifier(
        learning_rate=dp.schedules.Cosine(), random_state=0, max_iter=10
    ).fit(X, y)
    assert by_name.loss_curve_ == by_object.loss_curve_


# ---------------------------------------------------------------- validation and stopping


def test_validation_loss_curve_is_the_loss_on_the_validation_data() -> None:
    X, y = classes(3)
    seen: list[float] = []

    def remember(epoch: Any) -> None:
        seen.append(log_loss(y[100:], epoch.network.predict(X[100:])))

    model = dp.MLPClassifier(
        early_stopping=True, max_iter=15, tol=0, random_state=0, callbacks=[remember]
    ).fit(X[:100], y[:100], X_val=X[100:], y_val=y[100:])
    assert len(model.validation_loss_curve_) == len(model.loss_curve_) == model.n_iter_
    np.testing.assert_allclose(model.validation_loss_curve_, seen, rtol=1e-9)
    np.testing.assert_allclose(
        model.validation_scores_[np.argmax(model.validation_scores_)],
        model.score(X[100:], y[100:]),
    )


def test_best_weights_are_restored() -> None:
    X, y = amounts(1)
    best: dict[str, Any] = {"score": -np.inf}

    def remember(epoch: Any) -> None:
        if epoch.validation_score > best["score"]:
            best.update(score=epoch.validation_score, theta=epoch.network.theta.copy())

    model = dp.MLPRegressor(
        early_stopping=True,
        solver="sgd",
        learning_rate_init=0.05,
        max_iter=100,
        random_state=0,
        callbacks=[remember],
    ).fit(X[:80], y[:80], X_val=X[80:], y_val=y[80:])
    assert model.best_validation_score_ == best["score"] == max(model.validation_scores_)
    np.testing.assert_array_equal(model.network_.theta, best["theta"])
    assert model.score(X[80:], y[80:]) == pytest.approx(best["score"])


def test_stopping_on_the_validation_loss() -> None:
    X, y = classes(2)
    model = dp.MLPClassifier(
        200,
        early_stopping=True,
        scoring="loss",
        learning_rate_init=0.02,
        random_state=0,
        max_iter=300,
    ).fit(X[:75], y[:75], X_val=X[75:], y_val=y[75:])
    curve = model.validation_loss_curve_
    assert model.stop_reason_ == "converged"
    assert len(curve) < 300
    assert log_loss(y[75:], model.predict_proba(X[75:])) == pytest.approx(min(curve), rel=1e-9)


def test_validation_weights_are_used() -> None:
    X, y = classes(2)
    weight = np.random.default_rng(0).uniform(0, 3, 50)
    model = dp.MLPClassifier(early_stopping=True, max_iter=3, random_state=0, tol=0)
    model.fit(X[:100], y[:100], X_val=X[100:], y_val=y[100:], sample_weight_val=weight)
    best = int(np.argmax(model.validation_scores_))
    p = model.predict_proba(X[100:])
    assert model.validation_loss_curve_[best] == pytest.approx(
        log_loss(y[100:], p, sample_weight=weight), rel=1e-9
    )


def test_roc_auc_with_a_data_frame_is_silent() -> None:
    X, y = classes(2)
    table = pd.DataFrame(X, columns=[f"column {i}" for i in range(X.shape[1])])
    names = pd.Series(np.where(y == 1, "yes", "no"))
    model = dp.MLPClassifier(early_stopping=True, scoring="roc_auc", random_state=0, max_iter=40)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(table[:100], names[:100], X_val=table[100:], y_val=names[100:])
        p = model.predict_proba(table[100:])[:, 1]
    assert model.best_validation_score_ == pytest.approx(roc_auc_score(names[100:] == "yes", p))
    np.testing.assert_array_equal(model.feature_names_in_, table.columns)
    with pytest.raises(ValueError, match="feature names"):
        model.predict(table.rename(columns={"column 0": "other"}))


@pytest.mark.parametrize("scoring", ["roc_auc_ovr", "balanced_accuracy", "neg_log_loss"])
def test_any_scorer_can_be_used_for_early_stopping(scoring: str) -> None:
    X, y = classes(3)
    model = dp.MLPClassifier(early_stopping=True, scoring=scoring, random_state=0, max_iter=20)
    assert len(model.fit(X, y).validation_scores_) == model.n_iter_


def test_a_callable_scorer_gets_estimator_and_data() -> None:
    X, y = amounts(1)

    def worst_error(estimator: Any, X: Any, y: Any) -> float:
        return -float(np.abs(estimator.predict(X) - y).max())

    model = dp.MLPRegressor(early_stopping=True, scoring=worst_error, random_state=0, max_iter=20)
    model.fit(X[:100], y[:100], X_val=X[100:], y_val=y[100:])
    assert model.best_validation_score_ == pytest.approx(worst_error(model, X[100:], y[100:]))


# ---------------------------------------------------------------- callbacks


def test_callbacks_see_every_epoch_and_can_stop() -> None:
    X, y = classes(2)
    events: list[Any] = []

    def stop_at_7(epoch: Any) -> bool:
        events.append(epoch)
        return epoch.epoch == 7

    model = dp.MLPClassifier(random_state=0, max_iter=50, callbacks=[stop_at_7]).fit(X, y)
    assert [event.epoch for event in events] == list(range(1, 8))
    assert [event.loss for event in events] == model.loss_curve_
    assert {event.max_epochs for event in events} == {50}
    assert all(event.validation_loss is event.validation_score is None for event in events)
    assert model.n_iter_ == 7
    assert model.stop_reason_ == "callback"


@pytest.mark.parametrize("solver", ["sgd", "adam", "lbfgs"])
def test_callbacks_work_with_every_solver(solver: str) -> None:
    X, y = amounts(1)
    epochs: list[int] = []
    model = dp.MLPRegressor(
        solver=solver, random_state=0, max_iter=6, callbacks=[lambda e: epochs.append(e.epoch)]
    ).fit(X, y)
    assert epochs == list(range(1, 7))
    assert model.stop_reason_ == "max_iter"


class Recorder:
    """A callback with the interface of scikit-learn 1.9."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.hooks: list[str] = []
        self.stop_after = stop_after
        self.scores: list[float] = []

    def setup(self, estimator: Any, context: Any) -> None:
        self.hooks.append("setup")

    def teardown(self, estimator: Any, context: Any) -> None:
        self.hooks.append("teardown")

    def on_fit_task_begin(self, estimator: Any, context: Any) -> None:
        self.hooks.append("begin")

    def on_fit_task_end(
        self, estimator: Any, context: Any, *, X: Any = None, y: Any = None,
        fitted_estimator: Any = None,
    ) -> bool:  # fmt: skip
        self.hooks.append("end")
        if fitted_estimator is not None and X is not None:
            self.scores.append(fitted_estimator.score(X, y))
        return self.stop_after is not None and self.hooks.count("end") >= self.stop_after


def test_scikit_learn_callbacks_see_every_epoch() -> None:
    X, y = classes(2)
    recorder = Recorder()
    model = dp.MLPClassifier(random_state=0, max_iter=5).set_callbacks(recorder).fit(X, y)
    assert recorder.hooks[0] == "setup"
    assert recorder.hooks[-1] == "teardown"
    # One task for fit itself and one for each epoch.
    assert recorder.hooks.count("begin") == recorder.hooks.count("end") == 5 + 1
    assert recorder.scores
    assert recorder.scores[-1] == model.score(X, y)


class Given(Recorder):
    """What a callback is given at the end of each task."""

    def on_fit_task_end(
        self, estimator: Any, context: Any, *, X: Any = None, y: Any = None,
        fitted_estimator: Any = None,
    ) -> bool:  # fmt: skip
        self.X, self.y = X, y
        return False


def test_scikit_learn_callbacks_get_the_rows_to_train_on(tmp_path: Path) -> None:
    X, y = classes(2)
    labels = np.array(["no", "yes"])[y]
    given = Given()
    model = dp.MLPClassifier(random_state=0, max_iter=2, early_stopping=True)
    model.set_callbacks(given).fit(X, labels)
    assert len(given.X) == len(given.y) == round(0.9 * len(X))
    rows = {row.tobytes(): label for row, label in zip(X, labels, strict=True)}
    assert all(rows[x.tobytes()] == label for x, label in zip(given.X, given.y, strict=True))

    pd.DataFrame(X).add_prefix("x").assign(y=labels).to_parquet(tmp_path / "t.parquet")
    stream = dp.tables.stream(tmp_path / "t.parquet", "y")
    model.set_params(early_stopping=False).fit(stream)
    assert (type(given.X), given.X.shape, given.y) == (type(stream), X.shape, None)


def test_scikit_learn_callbacks_can_stop() -> None:
    X, y = classes(2)
    model = dp.MLPClassifier(random_state=0, max_iter=50).set_callbacks(Recorder(stop_after=3))
    model.fit(X, y)
    assert model.n_iter_ == 3
    assert model.stop_reason_ == "callback"


def test_scikit_learn_progress_bar(capsys: pytest.CaptureFixture[str]) -> None:
    X, y = classes(2)
    model = dp.MLPClassifier(random_state=0, max_iter=3).set_callbacks(ProgressBar())
    model.fit(X, y)
    assert "MLPClassifier" in capsys.readouterr().out


# ---------------------------------------------------------------- float32


@pytest.mark.parametrize("solver", ["sgd", "adam", "adamw", "lbfgs"])
@pytest.mark.parametrize("data", DATA)
def test_float32_stays_float32(data: str, solver: str) -> None:
    kind, (X, y), more = DATA[data]
    X = X.astype(np.float32)
    y = y.astype(np.float32) if kind == "MLPRegressor" else y
    model = getattr(dp, kind)(**{**COMMON, **more, "solver": solver, "max_iter": 3}, dropout=0)
    model.fit(X, y, sample_weight=np.ones(len(X)))
    parameters = [*model.coefs_, *model.intercepts_, model.network_.theta]
    assert {p.dtype for p in parameters} == {np.dtype("float32")}
    if kind == "MLPRegressor":
        assert model.predict(X).dtype == np.float32
    else:
        assert model.predict_proba(X).dtype == np.float32
    assert isinstance(model.loss_, float)


def test_float32_and_float64_agree() -> None:
    X, y = classes(2)
    wide, narrow = (
        dp.MLPClassifier(**COMMON).fit(X.astype(dtype), y) for dtype in ("float64", "float32")
    )
    np.testing.assert_allclose(wide.loss_curve_, narrow.loss_curve_, rtol=1e-4)


# ---------------------------------------------------------------- use within scikit-learn


def copies() -> list[Callable[[Any, Path], Any]]:
    def by_joblib(model: Any, folder: Path) -> Any:
        joblib.dump(model, folder / "model")
        return joblib.load(folder / "model")

    return [
        lambda model, folder: pickle.load(io.BytesIO(pickle.dumps(model))),
        by_joblib,
        lambda model, folder: copy.deepcopy(model),
    ]


@pytest.mark.parametrize("copied", copies(), ids=["pickle", "joblib", "deepcopy"])
@pytest.mark.parametrize("data", ["multiclass", "poisson"])
def test_copies_predict_the_same_and_continue_training(
    copied: Callable[[Any, Path], Any], data: str, tmp_path: Path
) -> None:
    kind, (X, y), more = DATA[data]
    model = getattr(dp, kind)(**{**COMMON, **more}, dropout=0.1).fit(X, y)
    twin = copied(model, tmp_path)
    np.testing.assert_array_equal(twin.predict(X), model.predict(X))
    for each in (model, twin):
        each.partial_fit(X, y)
    np.testing.assert_array_equal(twin.network_.theta, model.network_.theta)
    assert twin.network_.theta is not model.network_.theta
    # coefs_ are still the network's own weights after the round trip.
    twin.network_.theta[:] = 0
    assert not twin.coefs_[0].any()
    assert model.coefs_[0].any()


def test_clone_forgets_the_fit_and_keeps_the_parameters() -> None:
    X, y = classes(2)
    model = dp.MLPClassifier(
        activation=["relu", "tanh"], hidden_layer_sizes=(3, 2), dropout=0.1, class_weight="balanced"
    )
    fresh = clone(model.fit(X, y))
    assert not hasattr(fresh, "coefs_")
    assert fresh.get_params() == model.get_params()


def test_grid_search_and_pipelines() -> None:
    X, y = load_iris(return_X_y=True)
    search = GridSearchCV(
        make_pipeline(StandardScaler(), dp.MLPClassifier(random_state=0, solver="lbfgs")),
        {"mlpclassifier__alpha": [1e-4, 100.0], "mlpclassifier__activation": ["tanh", "gelu"]},
        cv=3,
    ).fit(X, y)
    assert search.best_params_["mlpclassifier__alpha"] == 1e-4
    assert search.best_score_ > 0.9
    scores = cross_val_score(search.best_estimator_, X, y, cv=3, n_jobs=2)
    assert scores.mean() > 0.9


def test_names_and_text_of_an_estimator() -> None:
    model = dp.MLPClassifier(hidden_layer_sizes=(3,), alpha=0.1)
    assert "MLPClassifier(" in repr(model)
    assert "alpha=0.1" in repr(model)
    assert model._repr_html_()


def test_verbose_prints_like_scikit_learn(capsys: pytest.CaptureFixture[str]) -> None:
    X, y = classes(2)
    out = SimpleNamespace()
    for name, kind in (("ours", dp.MLPClassifier), ("theirs", TheirClassifier)):
        kind(random_state=0, max_iter=3, verbose=True).fit(X, y)
        setattr(out, name, capsys.readouterr().out.splitlines())
    assert [line.split(",")[0] for line in out.ours if line.startswith("Iteration")] == [
        line.split(",")[0] for line in out.theirs if line.startswith("Iteration")
    ]


def test_no_convergence_is_a_warning() -> None:
    X, y = classes(2)
    with pytest.warns(ConvergenceWarning):
        dp.MLPClassifier(max_iter=2).fit(X, y)


def test_coefs_are_the_networks_weights() -> None:
    X, y = classes(2)
    model = dp.MLPClassifier(random_state=0, max_iter=2).fit(X, y)
    for l, W in enumerate(model.network_.W):
        assert np.shares_memory(W, model.coefs_[l])
    model.coefs_[-1][...] = 0
    model.intercepts_[-1][...] = 0
    np.testing.assert_allclose(model.predict_proba(X), 0.5)
