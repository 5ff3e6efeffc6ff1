"""Each feature of the estimators inside Pipeline, GridSearchCV, Stacking and Calibrated."""

import numpy as np
import pandas as pd
import pytest
import sklearn
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import StackingClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, TimeSeriesSplit
from sklearn.multioutput import MultiOutputClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

import deltaprop as dp

RNG = np.random.default_rng(0)
N = 120
X = pd.DataFrame(RNG.normal(size=(N, 3)), columns=["a", "b", "c"])
BINARY = np.where(X.a + X.b + 0.1 * X.c > 0, "yes", "no")
GRADES = np.digitize(X.a + X.b, [-1, 0, 1])
GROUPS = np.repeat(np.arange(N // 3), 3)
FAST = {"max_iter": 5, "random_state": 0}


def mlp(**parameters):
    return dp.MLPClassifier(6, **{**FAST, **parameters})


def tabular(**parameters):
    return dp.TabularClassifier((6,), cv=2, **{**FAST, **parameters})


# ---------------------------------------------------------------- the four, and what they contain


def pipeline(model):
    pipe = make_pipeline(FunctionTransformer(feature_names_out="one-to-one"), model)
    return pipe, lambda: [pipe[-1]]


def search(model):
    found = GridSearchCV(model, {"learning_rate_init": [1e-3, 1e-2]}, cv=2, error_score="raise")
    return found, lambda: [found.best_estimator_]


class Last(LogisticRegression):
    """A final estimator; scikit-learn 1.9 hands it all metadata, also what it does not ask for."""

    def fit(self, X, y, **metadata):
        return super().fit(X, y)


def stacking(model):
    stack = StackingClassifier([("net", model)], Last(), cv=2)
    return stack, lambda: stack.estimators_


def calibrated(model):
    outer = CalibratedClassifierCV(model, cv=2)
    return outer, lambda: [part.estimator for part in outer.calibrated_classifiers_]


WITHIN = (pipeline, search, stacking, calibrated)
within_each = pytest.mark.parametrize("within", WITHIN, ids=lambda within: within.__name__)
TABULAR = pytest.param(tabular, id="tabular", marks=pytest.mark.slow)
each_kind = pytest.mark.parametrize("kind", [pytest.param(mlp, id="mlp"), TABULAR])


def fitted(within, model, y=BINARY, **metadata):
    """What contains the model, fitted, and the fitted models in it."""
    outer, inside = within(model)
    outer.fit(X, y, **metadata)
    assert outer.predict_proba(X).shape == (N, len(np.unique(y)))
    models = inside()
    assert models
    return outer, models


# ---------------------------------------------------------------- the features


@within_each
@each_kind
def test_hidden_units(kind, within):
    _, models = fitted(within, kind(transform_layer=0).set_output(transform="pandas"))
    for model in models:
        units = model.transform(X)
        assert list(units.columns) == list(model.get_feature_names_out())
        assert units.shape == (N, 6 * len(getattr(model, "members_", [0])))


@within_each
@each_kind
def test_contributions(kind, within):
    _, models = fitted(within, kind())
    for model in models:
        found = model.contributions(X.head(3), baseline=X)
        assert found.columns == ["a", "b", "c"]
        assert found.error < 0.01


@pytest.mark.slow
@within_each
@each_kind
def test_shap_explainer(kind, within):
    shap = pytest.importorskip("shap")
    outer, _ = fitted(within, kind())

    def probabilities(rows):
        return outer.predict_proba(pd.DataFrame(rows, columns=X.columns))

    found = shap.Explainer(probabilities, X.head(20))(X.head(3))
    total = found.base_values + found.values.sum(axis=1)
    np.testing.assert_allclose(total, outer.predict_proba(X.head(3)), atol=1e-5)


@within_each
@each_kind
def test_ordinal(kind, within):
    _, models = fitted(within, kind(loss="ordinal"), GRADES)
    for model in models:
        P = model.predict_proba(X)
        assert list(model.classes_) == [0, 1, 2, 3]
        np.testing.assert_allclose(P.sum(axis=1), 1, atol=1e-5)


@within_each
@each_kind
def test_monotonic(kind, within):
    signs = {"a": 1} if kind is tabular else [1, 0, 0]
    _, models = fitted(within, kind(monotonic_cst=signs, activation="tanh", max_iter=30))
    higher = X.assign(a=X.a + 1)
    for model in models:
        before, after = (model.predict_proba(rows)[:, 1] for rows in (X, higher))
        assert (after >= before - 1e-6).all()
        assert (after > before + 1e-4).any()


@within_each
def test_frozen_layers(within):
    first = mlp(freeze=[0], max_iter=1).fit(X, BINARY).coefs_[0]
    _, models = fitted(within, mlp(freeze=[0]))
    _, free = fitted(within, mlp())
    for model, other in zip(models, free, strict=True):
        assert np.array_equal(model.coefs_[0], first)
        assert not np.array_equal(other.coefs_[0], first)


@within_each
@each_kind
def test_a_model_that_was_fine_tuned_from_a_file(kind, within, tmp_path):
    dp.save(kind().fit(X, BINARY), tmp_path / "m.dp")
    tuned = dp.load(tmp_path / "m.dp").fine_tuned(X[:60], BINARY[:60], freeze=[0])
    if within is search:
        outer = GridSearchCV(
            make_pipeline(FunctionTransformer(), FrozenEstimator(tuned)),
            {"functiontransformer__validate": [False]}, cv=2,
        ).fit(X, BINARY)  # fmt: skip
        expected = tuned.predict_proba(X)
        np.testing.assert_array_equal(outer.predict_proba(X), expected)
        return
    _, models = fitted(within, FrozenEstimator(tuned))
    for model in models:
        assert model.estimator is tuned


class Validated(dp.MLPClassifier):
    """Keeps the rows that early stopping holds out."""

    def _evaluator(self, held):
        self.held_ = held
        return super()._evaluator(held)


@within_each
@pytest.mark.parametrize("how", ["last", "splitter"])
def test_ordered_validation(how, within):
    split = {"last": "last", "splitter": TimeSeriesSplit(3)}[how]
    model = Validated(6, early_stopping=True, validation_split=split, **FAST)
    _, models = fitted(within, model)
    assert all(len(found.held_.y) for found in models)
    if within is not calibrated:  # whose models see half of the rows
        held = range(108, N) if how == "last" else next(split.split(X))[1]
        np.testing.assert_array_equal(models[0].held_.X, X.iloc[held])


@pytest.fixture
def routing():
    with sklearn.config_context(enable_metadata_routing=True):
        yield


@within_each
def test_grouped_validation(within, routing):
    model = Validated(6, early_stopping=True, validation_fraction=0.25, **FAST)
    _, models = fitted(within, model.set_fit_request(groups=True), groups=GROUPS)
    group_of = {tuple(row): group for row, group in zip(X.to_numpy(), GROUPS, strict=True)}
    for found in models:
        held = [group_of[tuple(row)] for row in np.asarray(found.held_.X)]
        assert 0 < len(held) < N / 2
        if within is not calibrated:  # whose folds cut groups apart
            assert all(held.count(group) == 3 for group in held)


@within_each
def test_given_validation_rows(within, routing):
    model = Validated(6, early_stopping=True, **FAST).set_fit_request(X_val=True, y_val=True)
    y = (BINARY == "yes").astype(int)  # stacking numbers the classes of y, and not those of y_val
    _, models = fitted(within, model, y, X_val=X[:17] + 1, y_val=y[:17])
    for found in models:
        np.testing.assert_allclose(found.held_.X, X[:17] + 1)


@within_each
@each_kind
def test_weights_are_routed(kind, within, routing, monkeypatch):
    seen, fit = [], type(kind()).fit

    def recorded(model, X, y, sample_weight=None, **others):
        seen.append((len(X), sample_weight))
        return fit(model, X, y, sample_weight, **others)

    monkeypatch.setattr(type(kind()), "fit", recorded)
    model = kind().set_fit_request(sample_weight=True).set_score_request(sample_weight=False)
    outer, _ = within(model)
    weights = np.arange(1.0, N + 1)
    outer.fit(X, BINARY, sample_weight=weights)
    assert seen
    for n, given in seen:
        assert len(given) == n
        assert set(given) <= set(weights)


@within_each
@each_kind
def test_several_multiclass_targets(kind, within):
    """A network for each target; calibration and stacking are inside, as they take one target."""
    Y = np.column_stack([BINARY, GRADES.astype(str)])
    if within in (pipeline, search):
        outer, _ = within(MultiOutputClassifier(kind()))
        if within is search:
            outer.param_grid = {"estimator__learning_rate_init": [1e-3, 1e-2]}
    else:
        outer = MultiOutputClassifier(within(kind())[0])
    outer.fit(X, Y)
    assert outer.predict(X).shape == (N, 2)
    assert [P.shape for P in outer.predict_proba(X)] == [(N, 2), (N, 4)]


def test_the_parameters_survive_a_clone():
    for model in (mlp(loss="ordinal", transform_layer=0, freeze=[0]), tabular(loss="ordinal")):
        assert clone(model).get_params() == model.get_params()
