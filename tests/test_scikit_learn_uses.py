"""What users of scikit-learn put around an estimator: pipelines, searches, ensembles, routing."""

import numpy as np
import pandas as pd
import pytest
import sklearn
from sklearn.base import clone, is_classifier
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import StackingClassifier, StackingRegressor
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import (
    GridSearchCV,
    GroupKFold,
    GroupShuffleSplit,
    TimeSeriesSplit,
    cross_validate,
)
from sklearn.multioutput import MultiOutputClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

import deltaprop as dp

RNG = np.random.default_rng(0)
N = 90
NUMBERS = pd.DataFrame(RNG.normal(size=(N, 3)), columns=["a", "b", "c"])
TABLE = NUMBERS.assign(d=RNG.choice(["x", "y"], N))
LABELS = pd.Series(np.where(NUMBERS.a + NUMBERS.b > 0, "yes", "no"), name="label")
VALUES = pd.Series(NUMBERS.a * 2 + NUMBERS.b, name="value")
GROUPS = np.repeat(np.arange(N // 3), 3)
WEIGHTS = RNG.uniform(0.5, 2, N)
FAST = {"max_iter": 5, "random_state": 0}


def mlps():
    return [dp.MLPClassifier(6, **FAST), dp.MLPRegressor(hidden_layer_sizes=6, **FAST)]


def tabulars():
    return [dp.TabularClassifier((6,), cv=2, **FAST), dp.TabularRegressor((6,), cv=2, **FAST)]


def of(model):
    """The rows and the target for an estimator."""
    X = TABLE if isinstance(model, (dp.TabularClassifier, dp.TabularRegressor)) else NUMBERS
    return X, LABELS if is_classifier(model) else VALUES


each = pytest.mark.parametrize("model", [*mlps(), *tabulars()], ids=lambda m: type(m).__name__)
each_classifier = pytest.mark.parametrize(
    "model", [mlps()[0], tabulars()[0]], ids=lambda m: type(m).__name__
)


@each
def test_pipelines_and_searches(model):
    X, y = of(model)
    first = (
        StandardScaler() if X is NUMBERS else FunctionTransformer(feature_names_out="one-to-one")
    )
    pipe = make_pipeline(first, clone(model)).set_output(transform="pandas")
    name = type(model).__name__.lower()
    search = GridSearchCV(pipe, {f"{name}__learning_rate_init": [1e-3, 1e-2]}, cv=2).fit(X, y)
    assert search.best_estimator_.transform(X).shape[0] == N
    assert search.best_estimator_.get_feature_names_out()[0] == f"{name}0"
    last = search.best_estimator_[-1]
    inputs = search.best_estimator_[:-1].transform(X)
    found = last.contributions(inputs.head(5), baseline=inputs)
    assert found.columns == list(X.columns)
    assert found.error < 0.01 * max(1.0, abs(found.predicted).max())


@each
def test_stacking(model):
    X, y = of(model)
    if is_classifier(model):
        stack = StackingClassifier([("net", clone(model))], LogisticRegression(), cv=2)
    else:
        stack = StackingRegressor([("net", clone(model))], Ridge(), cv=2)
    stack.fit(X, y)
    assert len(stack.predict(X)) == N
    assert stack.named_estimators_["net"].transform(X).shape[0] == N


@each_classifier
def test_calibration(model):
    X, y = of(model)
    calibrated = CalibratedClassifierCV(clone(model), cv=2).fit(X, y)
    assert calibrated.predict_proba(X).shape == (N, 2)


@each_classifier
def test_several_multiclass_targets(model):
    """One network for each target; scikit-learn names the classes of each."""
    X, _ = of(model)
    Y = np.column_stack([LABELS, RNG.choice(["r", "g", "b"], N)])
    several = MultiOutputClassifier(clone(model)).fit(X, Y)
    assert several.predict(X).shape == (N, 2)
    assert [P.shape[1] for P in several.predict_proba(X)] == [2, 3]


# ---------------------------------------------------------------- metadata routing


@pytest.fixture
def routing():
    with sklearn.config_context(enable_metadata_routing=True):
        yield


class Seen:
    """Records what ``fit`` of an estimator is given."""

    def __init__(self, patch, kind):
        self.calls, fit = [], kind.fit

        def recorded(model, X, y=None, sample_weight=None, groups=None, **others):
            self.calls.append((len(X), sample_weight, groups))
            return fit(model, X, y, sample_weight, groups=groups, **others)

        patch.setattr(kind, "fit", recorded)


@each
def test_weights_and_groups_are_routed_to_fit(model, routing, monkeypatch):
    X, y = of(model)
    early = {"early_stopping": True} if X is NUMBERS else {}
    asks = clone(model).set_params(**early).set_fit_request(sample_weight=True, groups=True)
    asks.set_score_request(sample_weight=True)
    seen = Seen(monkeypatch, type(model))
    found = cross_validate(
        make_pipeline(FunctionTransformer(), asks), X, y, cv=GroupKFold(3),
        params={"groups": GROUPS, "sample_weight": WEIGHTS}, error_score="raise",
    )  # fmt: skip
    assert np.isfinite(found["test_score"]).all()
    assert len(seen.calls) == 3
    for n, weights, groups in seen.calls:
        assert n == len(weights) == len(groups) == N * 2 // 3
        assert set(weights) <= set(WEIGHTS)


@each
def test_what_is_not_requested_is_an_error(model, routing):
    X, y = of(model)
    with pytest.raises(sklearn.exceptions.UnsetMetadataPassedError, match="sample_weight"):
        cross_validate(clone(model), X, y, params={"sample_weight": WEIGHTS}, error_score="raise")


def test_searches_and_stacking_route_weights(routing):
    asks = mlps()[0].set_fit_request(sample_weight=True).set_score_request(sample_weight=True)
    search = GridSearchCV(asks, {"alpha": [0.1, 1.0]}, cv=2)
    search.fit(NUMBERS, LABELS, sample_weight=WEIGHTS)
    stack = StackingClassifier(
        [("net", asks)], LogisticRegression().set_fit_request(sample_weight=True), cv=2
    )
    stack.fit(NUMBERS, LABELS, sample_weight=WEIGHTS)
    calibrated = CalibratedClassifierCV(asks, cv=2).fit(NUMBERS, LABELS, sample_weight=WEIGHTS)
    assert len(calibrated.predict(NUMBERS)) == len(stack.predict(NUMBERS)) == N


# ---------------------------------------------------------------- which rows are held out


class Validated(dp.MLPRegressor):
    """Keeps the rows that early stopping holds out."""

    def _evaluator(self, held):
        self.held_ = held
        return super()._evaluator(held)


def held_rows(groups=None, **parameters):
    model = Validated(hidden_layer_sizes=3, early_stopping=True, **FAST, **parameters)
    model.fit(NUMBERS, np.arange(N, dtype=float), groups=groups)
    return set(model.held_.y.astype(int).tolist())


def test_early_stopping_holds_out_the_last_rows():
    assert held_rows(validation_split="last", validation_fraction=0.2) == set(range(72, 90))


def test_early_stopping_holds_out_whole_groups():
    held = held_rows(groups=GROUPS, validation_fraction=0.2)
    assert len(held) == 18
    assert {3 * (i // 3) + j for i in held for j in range(3)} == held
    assert held != held_rows(validation_fraction=0.2)


def test_early_stopping_holds_out_the_rows_of_a_splitter():
    *_, last = TimeSeriesSplit(3).split(NUMBERS)
    assert held_rows(validation_split=[last]) == set(last[1].tolist())
    own = GroupShuffleSplit(1, test_size=0.5, random_state=3)
    expected = next(own.split(NUMBERS, None, GROUPS))[1]
    assert held_rows(groups=GROUPS, validation_split=own) == set(expected.tolist())
    mask = np.arange(N) < 30
    assert held_rows(validation_split=[(~mask, mask)]) == set(range(30))


def test_wrong_ways_to_hold_out():
    for wrong, message in (
        ([], "pair of row numbers"),
        ([(np.arange(5), np.arange(3, 9))], "must not be trained on"),
        ([(np.arange(5), [])], "hold out"),
        ([(np.arange(5), [N])], "validation_split must give numbers of rows in 0 to 89, got array"),
        (5, "validation_split must be 'last', a splitter .*, an iterable .* or None; got 5"),
    ):
        with pytest.raises(ValueError, match=message):
            held_rows(validation_split=wrong)
    with pytest.raises(ValueError, match="each of the 90 rows"):
        held_rows(groups=GROUPS[:5])


def test_a_model_with_held_out_groups_is_saved(tmp_path):
    model = dp.MLPRegressor(
        hidden_layer_sizes=3, early_stopping=True, validation_split=TimeSeriesSplit(3), **FAST
    ).fit(NUMBERS, VALUES)
    dp.save(model, tmp_path / "m.dp")
    np.testing.assert_array_equal(
        dp.load(tmp_path / "m.dp").predict(NUMBERS), model.predict(NUMBERS)
    )
