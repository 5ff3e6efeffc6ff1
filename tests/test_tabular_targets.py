"""Tabular estimators with weights, several targets, several labels, quantiles and counts."""

from __future__ import annotations

from typing import Any

import hypothesis.strategies as st
import numpy as np
import pandas as pd
import pytest
import scipy.sparse
from hypothesis import given, settings
from sklearn.metrics import accuracy_score, log_loss, mean_pinball_loss, r2_score, roc_auc_score

import deltaprop as dp
from deltaprop.estimators.tabular.calibration import Conformal

FAST = {"max_iter": 25, "hidden_layer_sizes": (16,), "cv": 3, "random_state": 0}
N = 240


def table(seed: int = 0, rows: int = N) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {"x": rng.normal(size=rows), "z": rng.normal(size=rows), "w": rng.choice(["a", "b"], rows)}
    )


def numbers(frame: pd.DataFrame) -> np.ndarray:
    """Three targets on very different scales; the last one is constant."""
    return np.column_stack(
        [
            1000 + 50 * frame["x"],
            1e-3 * (frame["w"] == "a") - 1e-3 * frame["z"],
            np.full(len(frame), 7.0),
        ]
    )


def labels(frame: pd.DataFrame) -> np.ndarray:
    return np.column_stack([frame["x"] > 0, frame["z"] > 0.5, frame["w"] == "a"]).astype(int)


# ---------------------------------------------------------------- several targets


def test_several_targets_are_predicted_on_their_own_scales(tmp_path: Any) -> None:
    frame, new = table(), table(1)
    Y = numbers(frame)
    model = dp.TabularRegressor(**FAST).fit(frame, pd.DataFrame(Y))
    np.testing.assert_allclose(model.y_mean_, Y.mean(axis=0))
    np.testing.assert_allclose(model.y_scale_[:2], Y[:, :2].std(axis=0))
    predicted = model.predict(new)
    assert predicted.shape == (N, 3)
    for k in range(2):
        assert r2_score(numbers(new)[:, k], predicted[:, k]) > 0.9
    np.testing.assert_allclose(predicted[:, 2], 7.0, rtol=1e-12)
    assert model.cv_prediction_.shape == (N, 3)
    assert model.cv_score_ == pytest.approx(r2_score(Y, model.cv_prediction_), abs=1e-6)
    assert model.score(new, numbers(new)) == r2_score(numbers(new), predicted)
    dp.save(model, tmp_path / "model.dp")
    again = dp.load(tmp_path / "model.dp")
    np.testing.assert_array_equal(again.predict(new), predicted)
    np.testing.assert_array_equal(again.predict_interval(new), model.predict_interval(new))


def test_one_column_is_a_single_target() -> None:
    frame = table()
    y = numbers(frame)[:, 0]
    models = [dp.TabularRegressor(**FAST).fit(frame, target) for target in (y, y[:, None])]
    np.testing.assert_array_equal(*(model.predict(frame) for model in models))
    assert isinstance(models[1].y_mean_, float)
    assert models[1].predict_interval(frame).shape == (N, 2)


@pytest.mark.parametrize("cv", [1, 3])
def test_several_targets_with_every_number_of_members(cv: int) -> None:
    frame = table()
    model = dp.TabularRegressor(**FAST | {"cv": cv}).fit(frame, numbers(frame))
    assert model.predict(frame[:1]).shape == (1, 3)
    assert model.score(frame, numbers(frame)[:, :]) > 0.9
    assert (model.cv_score_ is None) == (cv == 1)


def test_intervals_of_several_targets_cover_each_of_them() -> None:
    frame, rng = table(rows=900), np.random.default_rng(9)
    noise = rng.normal(size=(900, 2)) * [1.0, 20.0]
    Y = np.column_stack([frame["x"], 10 * frame["z"]]) + noise
    model = dp.TabularRegressor(**FAST).fit(frame[:450], Y[:450])
    interval = model.predict_interval(frame[450:], coverage=0.8)
    assert interval.shape == (450, 2, 2)
    within = (interval[..., 0] <= Y[450:]) & (Y[450:] <= interval[..., 1])
    np.testing.assert_allclose(within.mean(axis=0), 0.8, atol=0.08)
    widths = (interval[..., 1] - interval[..., 0]).mean(axis=0)
    assert widths[1] > 5 * widths[0]


def test_gaussian_members_predict_the_deviation_of_each_target() -> None:
    frame, rng = table(rows=600), np.random.default_rng(9)
    Y = np.column_stack([frame["x"], frame["x"]]) + rng.normal(size=(600, 2)) * [0.1, 100.0]
    model = dp.TabularRegressor(**FAST, loss="gaussian_nll").fit(frame, Y)
    mean, std = model.predict(frame, return_std=True)
    assert mean.shape == std.shape == (600, 2)
    assert 0.05 < np.median(std[:, 0]) < 0.5
    assert 50 < np.median(std[:, 1]) < 200
    assert model.predict_interval(frame).shape == (600, 2, 2)


def test_targets_that_are_no_numbers_are_refused() -> None:
    frame = table()
    Y = numbers(frame)
    Y[3, 1] = np.inf
    with pytest.raises(ValueError, match="y contains NaN or infinity"):
        dp.TabularRegressor(**FAST).fit(frame, Y)
    Y[3, 1] = np.nan
    with pytest.raises(ValueError, match=r"y contains NaN or infinity; remove those rows\.$"):
        dp.TabularRegressor(**FAST).fit(frame, Y[:, 1])
    with pytest.raises(ValueError, match="y must have one or more columns of numbers"):
        dp.TabularRegressor(**FAST).fit(frame, np.zeros((N, 2, 2)))


# ---------------------------------------------------------------- quantiles and counts


def test_quantiles_of_several_targets_have_adjacent_columns() -> None:
    frame, rng = table(rows=900), np.random.default_rng(9)
    Y = np.column_stack([frame["x"], 100 + 10 * frame["x"]]) + rng.normal(size=(900, 2)) * [1, 10]
    levels = (0.1, 0.9)
    loss = dp.losses.get("quantile", quantiles=levels)
    model = dp.TabularRegressor(**FAST, loss=loss).fit(frame[:600], Y[:600])
    Q = model.predict(frame[600:]).reshape(300, 2, 2)
    for k in range(2):
        for j, level in enumerate(levels):
            assert (Y[600:, k] < Q[:, k, j]).mean() == pytest.approx(level, abs=0.1)
    assert model.cv_score_ is None
    assert model.cv_prediction_.shape == (600, 4)
    with pytest.raises(ValueError, match="several quantiles"):
        model.score(frame, Y)
    with pytest.raises(ValueError, match="one number per target"):
        model.predict_interval(frame)


def test_one_quantile_is_the_mean_of_the_members() -> None:
    frame, rng = table(rows=600), np.random.default_rng(9)
    y = frame["x"] + rng.exponential(size=600)
    model = dp.TabularRegressor(**FAST, loss=dp.losses.get("quantile", quantiles=0.9)).fit(frame, y)
    predicted = model.predict(frame)
    assert (y < predicted).mean() == pytest.approx(0.9, abs=0.06)
    constant = np.full(600, np.quantile(y, 0.9))
    losses = [mean_pinball_loss(y, q, alpha=0.9) for q in (predicted, constant)]
    assert losses[0] < 0.9 * losses[1]
    assert model.cv_score_ == pytest.approx(r2_score(y, model.cv_prediction_), abs=1e-6)


def test_counts_have_no_negative_predictions() -> None:
    frame, rng = table(rows=600), np.random.default_rng(9)
    rate = np.exp(frame["x"])
    Y = rng.poisson(np.column_stack([rate, 50 * rate]))
    model = dp.TabularRegressor(**FAST, loss="poisson").fit(frame, Y)
    np.testing.assert_allclose(model.y_scale_, Y.mean(axis=0))
    predicted = model.predict(frame)
    assert (predicted > 0).all()
    assert np.corrcoef(np.log(rate), np.log(predicted[:, 1]))[0, 1] > 0.9
    interval = model.predict_interval(frame)
    assert interval.min() == 0
    with pytest.raises(ValueError, match="poisson"):
        dp.TabularRegressor(**FAST, loss="poisson").fit(frame, -Y)


# ---------------------------------------------------------------- several labels


@pytest.mark.parametrize("kind", ["integers", "booleans", "DataFrame", "sparse"])
def test_several_labels_per_row(kind: str, tmp_path: Any) -> None:
    frame, new = table(rows=400), table(1)
    Y = labels(frame)
    given: Any = {
        "integers": Y,
        "booleans": Y.astype(bool),
        "DataFrame": pd.DataFrame(Y, columns=list("uvw")),
        "sparse": scipy.sparse.csr_array(Y),
    }[kind]
    model = dp.TabularClassifier(**FAST).fit(frame, given)
    P = model.predict_proba(new)
    assert P.shape == (N, 3)
    np.testing.assert_array_equal(model.predict(new), P > 0.5)
    for k in range(3):
        assert roc_auc_score(labels(new)[:, k], P[:, k]) > 0.95
    held_out = model.cv_prediction_
    assert held_out.shape == (400, 3)
    assert model.cv_score_ == accuracy_score(Y, held_out > 0.5)
    assert model.score(new, labels(new)) == accuracy_score(labels(new), P > 0.5)
    with pytest.raises(ValueError, match="one class per row"):
        model.predict_set(new)
    dp.save(model, tmp_path / "model.dp")
    again = dp.load(tmp_path / "model.dp")
    np.testing.assert_array_equal(again.predict_proba(new), P)
    np.testing.assert_array_equal(again.predict(new), model.predict(new))


def test_the_temperature_of_several_labels_lowers_their_loss() -> None:
    frame, rng = table(rows=600), np.random.default_rng(9)
    Y = (rng.random((600, 2)) < 1 / (1 + np.exp(-frame[["x", "z"]].to_numpy()))).astype(int)
    loss = dp.losses.get("binary_cross_entropy", label_smoothing=0.6)  # too cautious
    model = dp.TabularClassifier(**FAST | {"max_iter": 60}, loss=loss).fit(frame, Y)
    T = model.temperature_
    assert T < 0.8
    P = np.clip(model.cv_prediction_, 1e-9, 1 - 1e-9)
    before = 1 / (1 + np.exp(-T * np.log(P / (1 - P))))
    assert log_loss(Y.ravel(), P.ravel()) < log_loss(Y.ravel(), before.ravel())
    Z = model.encoder_.encode(frame)
    mean = np.mean([member.predict_proba(Z) for member in model.members_], axis=0)
    np.testing.assert_allclose(model.predict_proba(frame), mean, rtol=1e-5)


@pytest.mark.parametrize("Y", [np.full((N, 2), 2), np.zeros((N, 2, 2)), np.array([["a", "b"]] * N)])
def test_a_matrix_that_is_no_indicator_matrix_is_refused(Y: Any) -> None:
    with pytest.raises(ValueError, match="one column of class labels, or for several labels"):
        dp.TabularClassifier(**FAST).fit(table(), Y)


# ---------------------------------------------------------------- weights


def test_rows_of_weight_zero_do_not_count() -> None:
    frame, rng = table(rows=400), np.random.default_rng(9)
    w = (np.arange(400) % 2).astype(float)
    y = np.where(w > 0, frame["x"] + 0.1 * rng.normal(size=400), 1e6)
    model = dp.TabularRegressor(**FAST).fit(frame, y, w)
    known = w > 0
    assert model.y_mean_ == pytest.approx(y[known].mean(), rel=1e-5)
    assert model.y_scale_ == pytest.approx(y[known].std(), rel=1e-5)
    assert model.cv_score_ > 0.8
    expected = r2_score(y[known], model.cv_prediction_[known])
    assert model.cv_score_ == pytest.approx(expected, abs=1e-6)
    low, high = model.predict_interval(frame[known]).T
    assert (high - low).max() < 2
    classes = np.where(known, np.where(frame["x"] > 0, "b", "a"), "c")
    classifier = dp.TabularClassifier(**FAST).fit(frame, classes, w)
    assert classifier.predict_proba(frame)[:, 2].max() < 0.1
    assert classifier.cv_score_ > 0.9


def test_class_weights_move_the_decision_but_not_the_meaning_of_the_score() -> None:
    frame, rng = table(rows=600), np.random.default_rng(9)
    y = (frame["x"] + rng.normal(size=600) > 1.5).astype(int)
    plain, balanced = (
        dp.TabularClassifier(**FAST, class_weight=weight).fit(frame, y)
        for weight in (None, "balanced")
    )
    assert balanced.predict(frame).mean() > plain.predict(frame).mean() + 0.05
    for model in (plain, balanced):
        assert model.cv_score_ == accuracy_score(y, model.cv_prediction_.argmax(axis=1))
    by_hand = dp.TabularClassifier(**FAST, class_weight={0: 1.0, 1: 3.0}).fit(frame, y)
    weighted = dp.TabularClassifier(**FAST).fit(frame, y, np.where(y == 1, 3.0, 1.0))
    np.testing.assert_array_equal(by_hand.predict_proba(frame), weighted.predict_proba(frame))
    assert by_hand.temperature_ == weighted.temperature_


@settings(deadline=None)
@given(n=st.integers(1, 60), times=st.integers(1, 4), seed=st.integers(0, 99))
def test_equal_weights_change_no_conformal_score(n: int, times: int, seed: int) -> None:
    scores = np.random.default_rng(seed).normal(size=n)
    weights = np.full(n, float(times))
    np.testing.assert_array_equal(Conformal.of(scores, weights).scores, np.sort(scores))
    none = np.concatenate([weights, np.zeros(n)])
    more = np.concatenate([scores, scores + 99])
    np.testing.assert_array_equal(Conformal.of(more, none).scores, np.sort(scores))


def test_conformal_scores_follow_the_weights() -> None:
    rng = np.random.default_rng(9)
    scores, w = rng.normal(size=4000), rng.uniform(size=4000)
    found = Conformal.of(scores, w)
    assert 2900 < len(found.scores) < 3100  # n = (Σ w)² / Σ w² = 3/4 N for uniform weights
    assert w[scores <= found.upper(0.9)].sum() / w.sum() == pytest.approx(0.9, abs=0.01)
