"""The ensembles of the tabular estimators: folds, members, held-out predictions, calibration."""

from __future__ import annotations

import signal
import threading
import time
import warnings
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from sklearn.metrics import accuracy_score, log_loss, r2_score
from sklearn.model_selection import GroupKFold, StratifiedKFold, TimeSeriesSplit

import deltaprop as dp
from deltaprop.estimators.tabular.calibration import Conformal, temperature
from deltaprop.estimators.tabular.folds import folds_for

FAST = {"max_iter": 8, "hidden_layer_sizes": (8,), "random_state": 0}


def table(N: int = 200, seed: int = 0) -> tuple[pd.DataFrame, pd.Series, pd.Series]:
    """A table of numbers and words, its classes and a number to predict."""
    rng = np.random.default_rng(seed)
    x, word = rng.normal(size=N), rng.choice(["red", "green", "blue"], N)
    frame = pd.DataFrame({"x": x, "z": rng.normal(size=N), "word": word})
    number = 3 * np.abs(x) + (word == "red") + 0.3 * rng.normal(size=N)
    classes = np.where(number > 3, "high", np.where(number > 1.5, "middle", "low"))
    return frame, pd.Series(classes, name="level"), pd.Series(number, name="number")


# ---------------------------------------------------------------- folds


@settings(deadline=None)
@given(N=st.integers(4, 60), n=st.integers(2, 8), stratify=st.booleans(), seed=st.integers(0, 99))
def test_each_row_is_held_out_once_by_random_folds(
    N: int, n: int, stratify: bool, seed: int
) -> None:
    n = min(n, N // 2)
    y = np.random.default_rng(seed).integers(0, 3, N)
    folds = folds_for(n, y, stratify=stratify, rng=np.random.RandomState(seed))
    assert len(folds) == n
    np.testing.assert_array_equal(np.sort(np.concatenate([f.held for f in folds])), np.arange(N))
    for fold in folds:
        together = np.sort(np.concatenate([fold.train, fold.held]))
        np.testing.assert_array_equal(together, np.arange(N))


def test_folds_get_their_share_of_each_class() -> None:
    y = np.repeat([0, 1], [90, 10])
    folds = folds_for(5, y, stratify=True, rng=np.random.RandomState(0))
    assert [int((y[fold.held] == 1).sum()) for fold in folds] == [2] * 5


def test_a_group_is_held_out_as_a_whole() -> None:
    frame, y, _ = table()
    people = np.arange(200) // 5
    model = dp.TabularClassifier(cv=4, **FAST).fit(frame, y, groups=people)
    folds = folds_for(
        4, y.to_numpy(), groups=people, stratify=True, rng=np.random.RandomState(0)
    )  # fmt: skip
    assert len(model.members_) == 4
    for fold in folds:
        assert not set(people[fold.held]) & set(people[fold.train])


def test_rows_that_no_member_holds_out_have_no_held_out_prediction() -> None:
    frame, _, y = table()
    model = dp.TabularRegressor(cv=TimeSeriesSplit(4), **FAST).fit(frame, y)
    known = np.isfinite(model.cv_prediction_)
    assert len(model.members_) == 4
    np.testing.assert_array_equal(known, np.arange(200) >= 40)
    assert model.cv_score_ == pytest.approx(r2_score(y[known], model.cv_prediction_[known]))


@pytest.mark.parametrize(
    ("cv", "message"),
    [
        (0, "cv must be"),
        (-3, "cv must be"),
        (2.5, "cv must be"),
        ("five", "cv must be"),
        ([([0, 1], [999])], "numbers of rows"),
        ([([0, 1], [])], "without rows"),
        ([], "without rows"),
    ],
)
def test_a_cv_that_is_none_is_refused(cv: Any, message: str) -> None:
    frame, y, _ = table(50)
    with pytest.raises(ValueError, match=message):
        dp.TabularClassifier(cv=cv, **FAST).fit(frame, y)


# ---------------------------------------------------------------- members


def test_a_member_is_the_network_that_is_trained_alone_on_its_rows() -> None:
    frame, y, _ = table()
    splits = list(StratifiedKFold(3, shuffle=True, random_state=1).split(frame, y))
    model = dp.TabularClassifier(cv=splits, loss="cross_entropy", **FAST).fit(frame, y)
    Z = model.encoder_.encode(frame)
    for member, (train, held) in zip(model.members_, splits, strict=True):
        alone = dp.MLPClassifier(**member.get_params() | {"n_threads": 1})
        alone.fit(Z[train], y[train], X_val=Z[held], y_val=y[held])
        assert alone.n_iter_ == member.n_iter_
        for W, W_alone in zip(member.coefs_[:-1], alone.coefs_[:-1], strict=True):
            np.testing.assert_array_equal(W, W_alone)
        calibrated = member.coefs_[-1] * model.temperature_
        np.testing.assert_allclose(calibrated, alone.coefs_[-1], rtol=1e-5)
        P = member.predict_proba(Z[held])
        np.testing.assert_allclose(model.cv_prediction_[held], P, rtol=1e-5, atol=1e-6)


def test_the_prediction_is_the_mean_of_the_members() -> None:
    frame, y, number = table()
    model = dp.TabularClassifier(cv=3, **FAST).fit(frame, y)
    Z = model.encoder_.encode(frame)
    mean = np.mean([member.predict_proba(Z) for member in model.members_], axis=0)
    np.testing.assert_allclose(model.predict_proba(frame), mean, rtol=1e-5, atol=1e-7)
    np.testing.assert_array_equal(model.predict(frame), model.classes_[mean.argmax(axis=1)])
    one = model.predict_proba(frame[:1])
    np.testing.assert_allclose(one, mean[:1], rtol=1e-5, atol=1e-7)
    model = dp.TabularRegressor(cv=3, loss="gaussian_nll", **FAST).fit(frame, number)
    parts = [member.predict(Z, return_std=True) for member in model.members_]
    means, stds = (np.array(part, np.float64) for part in zip(*parts, strict=True))
    variance = (stds**2).mean(axis=0) + means.var(axis=0)  # of the mixture
    mean, std = model.predict(frame, return_std=True)
    np.testing.assert_allclose(mean, means.mean(axis=0) * model.y_scale_ + model.y_mean_, rtol=1e-5)
    np.testing.assert_allclose(std, np.sqrt(variance) * model.y_scale_, rtol=1e-4)


@pytest.mark.parametrize("preset", ["fast", "default", "best"])
def test_the_same_seed_gives_the_same_model_with_every_preset(preset: str) -> None:
    frame, y, _ = table()
    models = [dp.TabularClassifier(preset=preset, **FAST).fit(frame, y) for _ in range(2)]
    assert len(models[0].members_) == {"fast": 1, "default": 8, "best": 24}[preset]
    np.testing.assert_array_equal(*(model.predict_proba(frame) for model in models))


def test_explicit_parameters_override_the_preset() -> None:
    frame, y, _ = table()
    model = dp.TabularClassifier(
        (5, 4), cv=2, n_bins=0, dropout=[0.0, 0.2], learning_rate_init=0.01, max_iter=2,
        random_state=0,
    ).fit(frame, y)  # fmt: skip
    net = model.networks_[1]
    assert [layer.units for layer in net.layers] == [5, 4, 3]
    assert [layer.dropout for layer in net.layers] == [0.0, 0.2, 0.0]
    assert net.n_features == 5  # two numbers and three words, without bins
    assert model.mlp_.learning_rate_init == 0.01


def test_few_rows_are_enough() -> None:
    frame, y, number = table(12)
    for n in (4, 5, 12):
        model = dp.TabularRegressor(**FAST).fit(frame[:n], number[:n])
        assert np.isfinite(model.predict(frame)).all()
        assert len(model.members_) == min(8, n // 2)
        low, high = model.predict_interval(frame).T
        assert np.isinf([low, high]).all()  # too few rows for a coverage of 0.9
    assert dp.TabularClassifier(**FAST).fit(frame, y).predict(frame).shape == (12,)


def test_a_rare_class_that_a_member_never_sees_can_be_predicted() -> None:
    frame, y, _ = table()
    y = y.mask(np.arange(200) == 7, "unique")
    model = dp.TabularClassifier(**FAST).fit(frame, y)
    assert "unique" in model.classes_
    assert model.predict_proba(frame).shape == (200, len(model.classes_))


# ---------------------------------------------------------------- held-out predictions


def test_the_score_of_the_cross_validation_is_that_of_the_held_out_predictions() -> None:
    frame, y, number = table()
    classifier = dp.TabularClassifier(**FAST).fit(frame, y)
    labels = classifier.classes_[classifier.cv_prediction_.argmax(axis=1)]
    assert classifier.cv_score_ == accuracy_score(y, labels)
    regressor = dp.TabularRegressor(**FAST).fit(frame, number)
    assert regressor.cv_score_ == pytest.approx(r2_score(number, regressor.cv_prediction_))
    single = dp.TabularClassifier(cv=1, **FAST).fit(frame, y)
    assert (single.cv_score_, single.cv_prediction_) == (None, None)
    with pytest.raises(ValueError, match="cross-validation"):
        single.predict_set(frame)


def test_a_leak_of_held_out_rows_would_show_in_the_score() -> None:
    """Labels at random cannot be predicted for rows that were held out, however long it trains."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(300, 5)), columns=list("abcde"))
    y = rng.integers(0, 2, 300)
    model = dp.TabularClassifier(
        (64,), dropout=0.0, n_iter_no_change=40, max_iter=40, cv=5, random_state=0
    ).fit(frame, y)
    assert model.cv_score_ < 0.6


@settings(deadline=None, max_examples=20)
@given(T=st.floats(0.4, 3.0), C=st.integers(2, 4), seed=st.integers(0, 99))
def test_the_temperature_of_probabilities_is_found(T: float, C: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    logits = 2 * rng.normal(size=(4000, C))
    P = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    y = np.array([rng.choice(C, p=p) for p in P])
    sharp = P**T / (P**T).sum(axis=1, keepdims=True)
    found = temperature(sharp, y)
    assert found == pytest.approx(T, rel=0.15)
    weights = rng.integers(0, 3, 4000).astype(float)
    repeated = np.repeat(np.arange(4000), weights.astype(int))
    same = temperature(sharp[repeated], y[repeated])
    assert temperature(sharp, y, weights) == pytest.approx(same, rel=0.02)


def test_calibration_divides_the_last_layer_and_lowers_the_loss() -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(400, 3)), columns=list("abc"))
    y = (rng.random(400) < 1 / (1 + np.exp(-frame["a"]))).astype(int)
    # Label smoothing makes a network too cautious.
    loss = dp.losses.CrossEntropy(label_smoothing=0.5)
    model = dp.TabularClassifier((16,), cv=3, random_state=0, loss=loss).fit(frame, y)
    T = model.temperature_
    assert T < 0.8
    for member in model.members_:
        np.testing.assert_array_equal(member.coefs_[-1], member.network_.W[-1])
    P = model.cv_prediction_[:, 1]
    before = 1 / (1 + np.exp(-T * np.log(P / (1 - P))))
    assert log_loss(y, P) < log_loss(y, before)


@settings(deadline=None)
@given(n=st.integers(1, 400), probability=st.floats(0.01, 0.99), seed=st.integers(0, 99))
def test_conformal_bounds_have_the_rank_that_guarantees_the_coverage(
    n: int, probability: float, seed: int
) -> None:
    scores = np.random.default_rng(seed).normal(size=n)
    found = Conformal.of(scores)
    upper, lower = found.upper(probability), found.lower(probability)
    rank = int(np.ceil((n + 1) * probability - 1e-9))
    assert upper == (np.sort(scores)[rank - 1] if rank <= n else np.inf)
    assert lower == -Conformal.of(-scores).upper(probability)


def test_intervals_and_sets_cover_new_rows_as_promised() -> None:
    frame, y, number = table(2000)
    train, test = slice(0, 1000), slice(1000, None)
    regressor = dp.TabularRegressor(random_state=0, max_iter=30).fit(frame[train], number[train])
    classifier = dp.TabularClassifier(random_state=0, max_iter=30).fit(frame[train], y[train])
    column = np.searchsorted(classifier.classes_, y[test])
    widths = []
    for coverage in (0.5, 0.8, 0.9, 0.95):
        low, high = regressor.predict_interval(frame[test], coverage).T
        within = ((low <= number[test]) & (number[test] <= high)).mean()
        assert within == pytest.approx(coverage, abs=0.05)
        widths.append(float((high - low).mean()))
        sets = classifier.predict_set(frame[test], coverage)
        assert sets.dtype == bool
        assert sets.any(axis=1).all()
        assert sets[np.arange(1000), column].mean() > coverage - 0.05
    assert widths == sorted(widths)
    for wrong in (0, 1, 1.5, "0.9", None):
        with pytest.raises(ValueError, match="coverage"):
            regressor.predict_interval(frame, wrong)


# ---------------------------------------------------------------- files, time and interruption


@pytest.mark.parametrize("cv", [1, 3])
def test_a_saved_ensemble_predicts_the_same(cv: int, tmp_path: Any) -> None:
    frame, y, number = table()
    for model, target in (
        (dp.TabularClassifier(cv=cv, **FAST), y),
        (dp.TabularRegressor(cv=cv, **FAST), number),
    ):
        dp.save(model.fit(frame, target), tmp_path / "model.dp")
        again = dp.load(tmp_path / "model.dp")
        np.testing.assert_array_equal(again.predict(frame), model.predict(frame))
        assert again.cv_score_ == model.cv_score_
        assert len(again.members_) == cv
        if cv > 1 and target is number:
            np.testing.assert_array_equal(
                again.predict_interval(frame), model.predict_interval(frame)
            )


def test_a_time_limit_ends_the_training_with_a_model() -> None:
    frame, y, _ = table(3000)
    model = dp.TabularClassifier(
        (64, 64), max_iter=100_000, n_iter_no_change=np.inf, time_limit=1.0, random_state=0
    )
    began = time.monotonic()
    model.fit(frame, y)
    assert time.monotonic() - began < 10  # without the limit it would take many minutes
    assert len(model.members_) == 8
    assert model.score(frame, y) > 0.6
    for limit in (0, -1, "soon"):
        with pytest.raises(ValueError, match="time_limit"):
            dp.TabularClassifier(time_limit=limit).fit(frame, y)


def test_ctrl_c_keeps_the_finished_members() -> None:
    frame, y, _ = table(400)
    seen: set[int] = set()
    asked: list[int] = []

    def interrupt(event: Any) -> None:
        if event.member not in seen and len(seen) >= 3 and not asked:
            asked.append(event.member)
            signal.raise_signal(signal.SIGINT) if _main() else _ask_main()
            time.sleep(2)  # until the main thread has seen it, also on a busy machine
        seen.add(event.member)

    def _main() -> bool:
        return threading.current_thread() is threading.main_thread()

    def _ask_main() -> None:
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    model = dp.TabularClassifier((8,), max_iter=50, random_state=0, callbacks=[interrupt])
    with pytest.warns(UserWarning, match="interrupted"):
        model.fit(frame, y)
    assert 1 <= len(model.members_) < 8
    assert model.score(frame, y) > 0.5


def test_callbacks_learn_which_member_they_see() -> None:
    frame, y, _ = table()
    seen: dict[int, list[int]] = {}
    finished = []

    class Log:
        def __call__(self, event: Any) -> None:
            assert event.n_members == 4
            seen.setdefault(event.member, []).append(event.epoch)

        def finish(self) -> None:
            finished.append(True)

    model = dp.TabularClassifier(cv=4, callbacks=[Log()], **FAST).fit(frame, y)
    assert sorted(seen) == [0, 1, 2, 3]
    for number, member in enumerate(model.members_):
        assert seen[number] == list(range(1, member.n_iter_ + 1))
    assert finished == [True]


def test_checkpoints_of_members_are_in_folders_of_their_own(tmp_path: Any) -> None:
    frame, y, _ = table()
    models = [
        dp.TabularClassifier(cv=3, checkpoint=tmp_path / "run", **FAST).fit(frame, y)
        for _ in range(2)
    ]
    assert sorted(folder.name for folder in (tmp_path / "run").iterdir()) == ["0", "1", "2"]
    np.testing.assert_array_equal(*(model.predict_proba(frame) for model in models))


def test_groups_of_one_are_refused() -> None:
    frame, y, _ = table(50)
    with pytest.raises(ValueError, match="two groups"):
        dp.TabularClassifier(**FAST).fit(frame, y, groups=np.zeros(50))


def test_sample_weights_reach_every_member() -> None:
    frame, _, number = table()
    weights = np.where(np.arange(200) < 100, 1.0, 0.0)
    noise = number.mask(weights == 0, 1e3)
    model = dp.TabularRegressor(cv=GroupKFold(2), random_state=0, max_iter=30)
    model.fit(frame, noise, weights, groups=np.arange(200) % 2)
    assert np.median(model.predict(frame)) < 500


# ---------------------------------------------------------------- many rows


@pytest.mark.parametrize(("rows", "networks"), [(24_999, 8), (25_000, 4), (60_000, 1)])
def test_many_rows_train_fewer_networks_and_one_line_says_so(rows: int, networks: int) -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"x": rng.normal(size=rows)})
    y = (frame["x"] > 0).astype(int)
    model = dp.TabularClassifier((2,), n_bins=0, max_iter=1, random_state=0)
    if networks == 8:
        model.fit(frame, y)
    else:
        with pytest.warns(UserWarning, match=f"{rows:,} rows: preset='default' trains"):
            model.fit(frame, y)
    assert len(model.members_) == networks


def test_a_planned_number_of_epochs_is_no_reason_for_a_warning() -> None:
    frame = pd.DataFrame({"x": np.linspace(0, 1, 60_000)})
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("always")
        model = dp.TabularRegressor((2,), cv=1, n_bins=0, random_state=0).fit(frame, frame["x"])
    assert [str(warning.message) for warning in shown] == []
    assert model.mlp_.n_iter_ == model.mlp_.max_iter == 13
    assert model.mlp_.learning_rate == "one_cycle"


# ---------------------------------------------------------------- one network in the end


@pytest.mark.parametrize("loss", ["log_loss", "cross_entropy"])
def test_a_refitted_network_is_trained_on_all_rows_for_the_mean_number_of_epochs(loss: str) -> None:
    frame, y, _ = table(300)
    options = FAST | {"max_iter": 60, "cv": 3, "n_iter_no_change": 4, "loss": loss}
    model = dp.TabularClassifier(**options, refit=True).fit(frame, y)
    members = dp.TabularClassifier(**options).fit(frame, y).members_
    best = [int(np.argmin(member.validation_loss_curve_)) + 1 for member in members]
    (member,) = model.members_
    assert member.n_iter_ == round(np.mean(best))
    assert len(set(best)) > 1
    alone = dp.MLPClassifier(**member.get_params()).fit(model.encoder_.encode(frame), y)
    np.testing.assert_array_equal(member.coefs_[0], alone.coefs_[0])
    calibrated = member.coefs_[-1] * model.temperature_
    np.testing.assert_allclose(calibrated, alone.coefs_[-1], rtol=1e-5)


def test_what_the_cross_validation_tells_remains_after_the_refit(tmp_path: Any) -> None:
    frame, _, y = table(300)
    options = FAST | {"cv": 3, "max_iter": 30}
    several = dp.TabularRegressor(**options).fit(frame, y)
    model = dp.TabularRegressor(**options, refit=True).fit(frame, y)
    assert model.cv_score_ == several.cv_score_
    np.testing.assert_array_equal(model.cv_prediction_, several.cv_prediction_)
    width = np.ptp(model.predict_interval(frame), axis=1)
    np.testing.assert_allclose(width, np.ptp(several.predict_interval(frame), axis=1))
    assert model.score(frame, y) > 0.7
    assert "1 network, score" in repr(model)
    dp.save(model, tmp_path / "model.dp")
    again = dp.load(tmp_path / "model.dp")
    np.testing.assert_array_equal(again.predict(frame), model.predict(frame))
    assert again.refit


def test_a_refit_is_within_the_time_limit_too() -> None:
    frame, y, _ = table(3000)
    options = {"max_iter": 100_000, "n_iter_no_change": np.inf, "cv": 3, "random_state": 0}
    dp.TabularClassifier(max_iter=1, random_state=0).fit(frame, y)  # compiles
    began = time.monotonic()
    model = dp.TabularClassifier(**options, time_limit=4.0, refit=True).fit(frame, y)
    assert len(model.members_) == 1
    assert time.monotonic() - began < 6.0


def test_a_refit_without_early_stopping_takes_as_many_epochs_as_the_members() -> None:
    frame, _, y = table(100)
    options = FAST | {"dropout": 0.0, "solver": "lbfgs"}
    model = dp.TabularRegressor(**options, cv=2, refit=True).fit(frame, y)
    assert len(model.members_) == 1
    assert model.mlp_.n_iter_ <= FAST["max_iter"]


def test_fitting_leaves_the_filters_of_warnings_as_they_are() -> None:
    """Threads that change them for a while restore what other threads have set."""
    X, y, _ = table()
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("always")
        before = list(warnings.filters)
        for seed in range(5):
            dp.TabularClassifier(4, max_iter=2, random_state=seed).fit(X, y)
            assert list(warnings.filters) == before
    assert len(shown) == 5  # that training has not converged
    assert {warning.filename for warning in shown} == {__file__}
