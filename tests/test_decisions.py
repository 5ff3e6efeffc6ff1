"""Decision thresholds and costs: which class a tabular classifier predicts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from sklearn.metrics import balanced_accuracy_score, confusion_matrix, f1_score
from typer.testing import CliRunner

import deltaprop as dp
from deltaprop.cli.app import app
from deltaprop.estimators.tabular.decisions import BestScore, Fixed, LeastCost, rule_for
from deltaprop.files import ModelFileError

FAST = {"max_iter": 15, "hidden_layer_sizes": (8,), "random_state": 0, "cv": 3}
COST = {"false_positive": 1, "false_negative": 8}
MATRIX = np.array([[0.0, 1.0], [8.0, 0.0]])


def table(N: int = 600, seed: int = 0) -> tuple[pd.DataFrame, np.ndarray]:
    """Rows of which a sixth are positive, and which no model can tell apart for certain."""
    rng = np.random.default_rng(seed)
    a = 1.5 * rng.normal(size=N) - 2.2
    y = rng.random(N) < 1 / (1 + np.exp(-a))
    return pd.DataFrame({"x": a, "z": rng.normal(size=N)}), np.where(y, "yes", "no")


def labels(N: int = 400) -> tuple[pd.DataFrame, np.ndarray]:
    X, _ = table(N)
    rng = np.random.default_rng(1)
    p = 1 / (1 + np.exp(-np.stack([X["x"], X["z"]], axis=1)))
    return X, (rng.random((N, 2)) < p).astype(int)


def mean_cost(truth: np.ndarray, predicted: np.ndarray, cost: np.ndarray = MATRIX) -> float:
    return float((confusion_matrix(truth, predicted) * cost).sum() / len(truth))


# ---------------------------------------------------------------- rules


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 999), N=st.integers(1, 300), weighted=st.booleans())
def test_the_threshold_has_the_best_score_of_the_held_out_rows(
    seed: int, N: int, weighted: bool
) -> None:
    rng = np.random.default_rng(seed)
    p, y = rng.random(N).round(2), rng.random(N) < 0.3
    w = rng.integers(1, 4, N).astype(float) if weighted else np.ones(N)
    found = BestScore("f1").tuned(p, y, w)
    assert 0 <= found <= 1
    score = f1_score(y, p > found, sample_weight=w, zero_division=0)
    others = np.unique(p) if N <= 100 else np.linspace(0.1, 0.9, 9)
    best = max(f1_score(y, p > t, sample_weight=w, zero_division=0) for t in others)
    assert score >= best - (1e-12 if N <= 100 else 0.05)
    assert BestScore("f1").tuned(p, y, np.zeros(N)) == 0.5


@settings(deadline=None)
@given(
    seed=st.integers(0, 99), c1=st.floats(0.01, 100), c2=st.floats(0.01, 100), N=st.integers(1, 99)
)
def test_calibrated_probabilities_keep_the_threshold_of_least_expected_cost(
    seed: int, c1: float, c2: float, N: int
) -> None:
    """Its expected cost is p c₂ for predicting negative and (1 − p) c₁ for positive."""
    rule = LeastCost(np.array([[0.0, c1], [c2, 0.0]]))
    t = rule.default()
    assert t * c2 == pytest.approx((1 - t) * c1)
    rng = np.random.default_rng(seed)
    p = rng.random(N)
    y, w = rng.random(N) < p, np.ones(N)
    found = rule.tuned(p, y, w)
    cost = [np.where(y, (p <= each) * c2, (p > each) * c1).sum() for each in (found, t)]
    assert found == t or cost[0] < cost[1]


def test_a_threshold_of_wrong_probabilities_is_corrected_if_enough_rows_show_it() -> None:
    rng = np.random.default_rng(0)
    a = 2 * rng.normal(size=5000)
    y, p = rng.random(5000) < 1 / (1 + np.exp(-a)), 1 / (1 + np.exp(-a / 3))
    rule = LeastCost(MATRIX)
    best = 1 / (1 + np.exp(-np.log(1 / 8) / 3))  # where the true probability is 1 / 9
    assert rule.tuned(p, y, np.ones(5000)) == pytest.approx(best, abs=0.04)
    assert abs(rule.default() - best) > 0.2
    assert rule.tuned(p[:20], y[:20], np.ones(20)) == rule.default()


def test_the_right_decisions_may_have_a_cost_too() -> None:
    assert LeastCost(MATRIX + 2).default() == pytest.approx(LeastCost(MATRIX).default())
    assert rule_for("auto", None) == Fixed(0.5)
    assert rule_for(0.3, None) == Fixed(0.3)


@pytest.mark.parametrize(
    ("threshold", "cost", "message"),
    [
        (1.5, None, "decision_threshold must be"),
        (True, None, "decision_threshold must be"),
        ("nonsense", None, "not the name of a scorer"),
        ("roc_auc", None, "compares the classes"),
        (0.5, COST, "got both"),
        ("auto", {"fp": 1}, "must have the keys"),
        ("auto", [[0, 1]], "2 × 2"),
        ("auto", [[0, -1], [1, 0]], "larger for wrong"),
        ("auto", [[0, 0], [0, 0]], "larger for wrong"),
        ("auto", [[0, np.nan], [1, 0]], "finite"),
        ("auto", "much", "matrix"),
    ],
)
def test_wrong_parameters_are_refused(threshold: Any, cost: Any, message: str) -> None:
    X, y = table(60)
    for cv in (1, 2):
        model = dp.TabularClassifier(**FAST | {"cv": cv}, decision_threshold=threshold, cost=cost)
        with pytest.raises(ValueError, match=message):
            model.fit(X, y)


# ---------------------------------------------------------------- classifiers


def test_without_a_rule_the_most_probable_class_is_predicted() -> None:
    X, y = table()
    model = dp.TabularClassifier(**FAST).fit(X, y)
    assert model.threshold_ == 0.5
    assert "threshold" not in repr(model)
    most_probable = model.classes_[model.predict_proba(X).argmax(axis=1)]
    np.testing.assert_array_equal(model.predict(X), most_probable)


def test_a_number_is_the_threshold() -> None:
    X, y = table()
    model = dp.TabularClassifier(**FAST, decision_threshold=0.2).fit(X, y)
    assert model.threshold_ == 0.2
    np.testing.assert_array_equal(model.predict(X) == "yes", model.predict_proba(X)[:, 1] > 0.2)
    assert "decision threshold 0.2" in repr(model)
    held_out = np.where(model.cv_prediction_[:, 1] > 0.2, "yes", "no")
    assert model.cv_score_ == pytest.approx((held_out == y).mean())


def test_a_score_improves_with_its_threshold() -> None:
    X, y = table(1500)
    new, truth = table(3000, seed=1)
    plain = dp.TabularClassifier(**FAST).fit(X, y)
    model = dp.TabularClassifier(**FAST, decision_threshold="balanced_accuracy").fit(X, y)
    assert 0 < model.threshold_ < 0.4
    np.testing.assert_array_equal(plain.predict_proba(new), model.predict_proba(new))
    tuned, before = (balanced_accuracy_score(truth, m.predict(new)) for m in (model, plain))
    assert tuned > before + 0.05


@pytest.mark.parametrize("cost", [COST, MATRIX.tolist(), MATRIX])
@pytest.mark.parametrize("cv", [1, 3])
def test_wrong_decisions_cost_less_with_their_costs(cost: Any, cv: int) -> None:
    X, y = table(1500)
    new, truth = table(3000, seed=1)
    options = FAST | {"cv": cv}
    plain = dp.TabularClassifier(**options).fit(X, y)
    model = dp.TabularClassifier(**options, cost=cost).fit(X, y)
    assert mean_cost(truth, model.predict(new)) < 0.8 * mean_cost(truth, plain.predict(new))


def test_of_three_classes_that_of_the_least_expected_cost_is_predicted() -> None:
    X, _ = table()
    y = np.random.default_rng(0).integers(0, 3, len(X))
    cost = np.array([[0, 1, 1], [1, 0, 1], [9, 9, 0]])
    model = dp.TabularClassifier(**FAST, cost=cost).fit(X, y)
    expected = [[p @ cost[:, j] for j in range(3)] for p in model.predict_proba(X)]
    np.testing.assert_array_equal(model.predict(X), np.argmin(expected, axis=1))
    assert model.threshold_ is None
    assert (model.predict(X) == 2).mean() > 0.9
    with pytest.raises(ValueError, match="two classes"):
        dp.TabularClassifier(**FAST, decision_threshold=0.3).fit(X, y)
    with pytest.raises(ValueError, match="3 × 3"):
        dp.TabularClassifier(**FAST, cost=COST).fit(X, y)


def test_each_label_has_its_threshold() -> None:
    X, Y = labels()
    model = dp.TabularClassifier(**FAST, decision_threshold="f1").fit(X, Y)
    assert model.threshold_.shape == (2,)
    assert model.threshold_[0] != model.threshold_[1]
    P = model.predict_proba(X)
    np.testing.assert_array_equal(model.predict(X), np.greater(P, model.threshold_))
    costs = dp.TabularClassifier(**FAST, cost=COST).fit(X, Y)
    assert costs.predict(X).sum() > model.predict(X).sum()


def test_a_stream_and_a_single_network_have_no_held_out_predictions(tmp_path: Path) -> None:
    X, y = table()
    X.assign(y=y).to_csv(tmp_path / "rows.csv", index=False)
    rows = dp.tables.stream(tmp_path / "rows.csv", target="y")
    options = {"max_iter": 2, "random_state": 0}
    assert dp.TabularClassifier(**options, cost=COST).fit(rows).threshold_ == pytest.approx(1 / 9)
    scored = dp.TabularClassifier(**options, decision_threshold="f1")
    with pytest.raises(ValueError, match="cross-validation"):
        scored.fit(rows)
    with pytest.raises(ValueError, match="cross-validation"):
        scored.set_params(cv=1).fit(X, y)


@pytest.mark.parametrize("options", [{"cost": COST}, {"decision_threshold": "f1"}])
def test_a_single_class_is_always_predicted(options: dict[str, Any]) -> None:
    X, _ = table(60)
    model = dp.TabularClassifier(**FAST, **options).fit(X, ["yes"] * 60)
    assert model.threshold_ == 0.5
    assert set(model.predict(X)) == {"yes"}


def test_margins_are_no_probabilities() -> None:
    X, y = table()
    assert dp.TabularClassifier(**FAST, loss="hinge").fit(X, y).threshold_ is None
    with pytest.raises(ValueError, match="hinge"):
        dp.TabularClassifier(**FAST, loss="hinge", cost=COST).fit(X, y)


@pytest.mark.parametrize(
    "options", [{"cost": COST}, {"cost": MATRIX}, {"decision_threshold": "f1"}, {}]
)
@pytest.mark.parametrize("several", [False, True])
def test_a_model_file_contains_the_threshold(
    tmp_path: Path, options: dict[str, Any], several: bool
) -> None:
    X, y = labels() if several else table()
    model = dp.TabularClassifier(**FAST, **options).fit(X, y)
    dp.save(model, tmp_path / "model.dp")
    loaded = dp.load(tmp_path / "model.dp")
    np.testing.assert_array_equal(loaded.threshold_, model.threshold_)
    np.testing.assert_array_equal(loaded.predict(X), model.predict(X))
    assert repr(loaded) == repr(model)
    facts = CliRunner().invoke(app, ["info", str(tmp_path / "model.dp"), "--json"])
    assert json.loads(facts.stdout)["threshold"] == np.asarray(model.threshold_).tolist()
    assert CliRunner().invoke(app, ["info", str(tmp_path / "model.dp")]).exit_code == 0


def test_a_file_of_an_earlier_version_has_the_usual_threshold(tmp_path: Path) -> None:
    X, y = table(60)
    model = dp.TabularClassifier(**FAST).fit(X, y)
    del model.threshold_
    dp.save(model, tmp_path / "old.dp")
    assert dp.load(tmp_path / "old.dp").threshold_ == 0.5
    model.threshold_ = np.array([0.5, 0.5])
    dp.save(model, tmp_path / "wrong.dp")
    with pytest.raises(ModelFileError, match="threshold_"):
        dp.load(tmp_path / "wrong.dp")


def test_what_is_written_is_what_is_decided() -> None:
    X, y = table()
    model = dp.TabularClassifier(**FAST, cost=COST).fit(X, pd.Series(y, name="answer"))
    written = dp.tables.predictions(model, X, proba=True)
    np.testing.assert_array_equal(written["answer"], model.predict(X))
    assert (written["answer"] == "yes").mean() > (written["probability_yes"] > 0.5).mean()
