"""`dp.tune`: the search, its order, pruning, files, limits of time, and errors."""

from __future__ import annotations

import json
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from sklearn.metrics import log_loss
from sklearn.model_selection import TimeSeriesSplit

import deltaprop as dp
from deltaprop.tuning.pruning import FEWEST, WARMUP, MedianRule, loss_at

optuna = pytest.importorskip("optuna")

SPACE = {
    "hidden_layer_sizes": [(4,), (8,), (8, 8)],
    "learning_rate_init": optuna.distributions.FloatDistribution(1e-5, 0.1, log=True),
    "n_bins": optuna.distributions.IntDistribution(0, 12, step=12),
}


def table(N: int = 160, seed: int = 0) -> tuple[pd.DataFrame, pd.Series, pd.Series]:
    """A table of numbers and words, its classes and a number to predict."""
    rng = np.random.default_rng(seed)
    x, word = rng.normal(size=N), rng.choice(["red", "green", "blue"], N)
    frame = pd.DataFrame({"x": x, "z": rng.normal(size=N), "word": word})
    number = 3 * np.abs(x) + (word == "red") + 0.3 * rng.normal(size=N)
    return frame, pd.Series(np.where(number > 2, "high", "low")), pd.Series(number, name="number")


def classifier(**parameters: Any) -> dp.TabularClassifier:
    return dp.TabularClassifier(**{"max_iter": 12, "cv": 2, **parameters})


def tuned(**arguments: Any) -> Any:
    X, y, _ = table()
    model = arguments.pop("model", classifier())
    return dp.tune(model, X, y, **{"space": SPACE, "n_trials": 6, **arguments})


def without_times(trials: pd.DataFrame) -> pd.DataFrame:
    return trials.drop(columns="seconds")


class StopAfter:
    """A callback that ends the search after so many trials."""

    def __init__(self, n: int) -> None:
        self.n, self.results = n, []

    def __call__(self, result: Any) -> bool:
        self.results.append(result)
        return len(self.results) >= self.n


# ---------------------------------------------------------------- what is found


def test_the_best_trial_is_fitted_to_all_rows_with_the_parameters_that_are_given() -> None:
    model = classifier(activation="relu", cv=3, hidden_layer_sizes=(4,), learning_rate_init=1e-5)
    result = tuned(model=model, n_trials=9)
    complete = result.trials[result.trials["state"] == "complete"]
    assert result.best_loss == complete["loss"].min()
    best = complete.loc[complete["loss"].idxmin()]
    assert result.best_params == {name: best[name] for name in SPACE}
    assert result.best_loss < result.default_loss
    assert result.model.activation == "relu"
    assert len(result.model.members_) == 3
    assert result.model.cv_score_ is not None
    assert {k: getattr(result.model, k) for k in SPACE} == result.best_params
    assert model.learning_rate_init == 1e-5
    assert not hasattr(model, "members_")


def test_the_first_trial_has_the_parameters_of_the_model() -> None:
    X, y, _ = table()
    model = classifier(learning_rate_init=0.02, hidden_layer_sizes=(8,), n_bins=0)
    result = dp.tune(model, X, y, space=SPACE, n_trials=1, cv=3, seed=5)
    assert result.best_params == {
        "hidden_layer_sizes": (8,), "learning_rate_init": 0.02, "n_bins": 0,
    }  # fmt: skip
    assert result.best_loss == result.default_loss == result.trials.loc[0, "loss"]


def test_a_value_of_the_model_outside_the_space_is_tried_first_nevertheless() -> None:
    result = tuned(model=classifier(n_bins=6), n_trials=2)
    assert np.isnan(result.trials.loc[0, "n_bins"])
    assert result.trials.loc[1, "n_bins"] in (0, 12)


def test_the_loss_of_a_trial_is_that_of_a_cross_validation() -> None:
    X, y, _ = table()
    order = np.random.default_rng(0).permutation(len(y))
    folds = [(order[80:], order[:80]), (order[:80], order[80:])]
    result = dp.tune(classifier(), X, y, n_trials=1, cv=folds, seed=3)
    losses = Losses()
    model = dp.TabularClassifier(max_iter=12, cv=folds, random_state=3, callbacks=[losses])
    model.fit(X, y)
    assert result.best_loss == pytest.approx(np.mean([min(x) for x in losses.of]), rel=1e-3)
    Z = model.encoder_.encode(X)
    for member in model.members_:
        member.network_.W[-1][...] *= model.temperature_
        member.network_.b[-1][...] *= model.temperature_
    found = [
        log_loss(y.to_numpy()[held], member.predict_proba(Z[held]))
        for member, (_, held) in zip(model.members_, folds, strict=True)
    ]
    assert result.best_loss == pytest.approx(np.mean(found), rel=1e-3)


class Losses:
    """A callback that collects the validation losses of two members."""

    def __init__(self) -> None:
        self.of: tuple[list[float], list[float]] = ([], [])

    def __call__(self, event: Any) -> None:
        self.of[event.member].append(event.validation_loss)


def test_a_regressor_is_tuned_over_the_default_space() -> None:
    X, _, y = table()
    result = dp.tune(dp.TabularRegressor(max_iter=5, cv=2, dropout=0.1), X, y, n_trials=3)
    assert set(result.best_params) == {
        "hidden_layer_sizes", "activation", "learning_rate_init", "weight_decay", "input_scale",
        "n_bins", "batch_size",
    }  # fmt: skip
    assert not result.trials.isna().drop(columns="error").any(axis=None)
    assert "held-out loss" in repr(result)
    assert "batch_size" in repr(result)


def test_only_parameters_that_the_solver_has_are_tuned() -> None:
    X, _, y = table()
    model = dp.TabularRegressor(max_iter=2, cv=2, solver="sgd")
    found = set(dp.tune(model, X, y, n_trials=1).best_params)
    assert "learning_rate_init" in found
    assert not found & {"weight_decay", "input_scale"}


def test_rows_of_one_group_are_held_out_together() -> None:
    X, y, _ = table()
    X["person"] = np.arange(160) // 2
    whole, alone = (
        dp.tune(classifier(n_bins=0), X, y, n_trials=1, space=SPACE, groups=groups).best_loss
        for groups in (X["person"], None)
    )
    assert whole != alone


def test_the_order_of_time_of_the_model_is_that_of_the_trials() -> None:
    X, y, _ = table()
    splitter = TimeSeriesSplit(3)
    auto = dp.tune(classifier(cv=splitter), X, y, space=SPACE, n_trials=1)
    given = dp.tune(classifier(cv=2), X, y, space=SPACE, n_trials=1, cv=list(splitter.split(X)))
    assert auto.best_loss == given.best_loss


# ---------------------------------------------------------------- always the same


def test_any_number_of_jobs_gives_the_same_result() -> None:
    X, _, _ = table()
    one, three = (tuned(n_trials=20, n_jobs=n_jobs) for n_jobs in (1, 3))
    pd.testing.assert_frame_equal(without_times(one.trials), without_times(three.trials))
    np.testing.assert_array_equal(one.model.predict_proba(X), three.model.predict_proba(X))
    assert {"complete", "pruned"} <= set(one.trials["state"])
    other = tuned(n_trials=20, seed=1)
    assert not without_times(one.trials).equals(without_times(other.trials))


def test_a_search_that_is_continued_is_the_one_without_interruption(tmp_path: Path) -> None:
    file = tmp_path / "trials.journal"
    expected = tuned(n_trials=18)
    for n in (2, 5):
        stopping = StopAfter(n)
        part = tuned(n_trials=18, storage=file, callbacks=[stopping], n_jobs=2)
        assert len(part.trials) >= n
        assert len(stopping.results) == n
    result = tuned(n_trials=18, storage=file, n_jobs=2)
    pd.testing.assert_frame_equal(without_times(result.trials), without_times(expected.trials))
    callback = StopAfter(99)
    again = tuned(n_trials=18, storage=file, callbacks=[callback])
    assert callback.results == []
    assert again.best_params == expected.best_params


def test_a_file_survives_a_kill_while_it_was_written(tmp_path: Path) -> None:
    file = tmp_path / "trials.journal"
    tuned(n_trials=4, storage=file)
    with file.open("ab") as journal:
        journal.write(b'{"op_code":8,"work')
    result = tuned(n_trials=6, storage=file)
    assert len(result.trials) == 6
    assert all(json.loads(line) for line in file.read_text().splitlines())


# ---------------------------------------------------------------- pruning

curve = st.lists(st.floats(0.1, 10), min_size=1, max_size=12).map(
    lambda losses: np.minimum.accumulate(losses).tolist()
)
curves = st.lists(curve, min_size=2, max_size=2)


@settings(deadline=None)
@given(others=st.lists(curves, min_size=FEWEST, max_size=9), own=curves)
def test_a_trial_that_is_never_behind_is_not_stopped_and_the_worst_one_is(
    others: list[Any], own: list[Any]
) -> None:
    rule = MedianRule(others)
    best = [[0.05] * 12, [0.05] * 12]
    worst = [[11.0] * 12, [11.0] * 12]
    for fold in range(2):
        for epoch in range(1, 13):
            assert not rule.stops([*best[:fold], best[fold][:epoch]])
            stopped = rule.stops([*worst[:fold], worst[fold][:epoch]])
            assert stopped == (epoch >= WARMUP or (epoch == 1 and fold == 1))
    assert not MedianRule(others[: FEWEST - 1]).stops(worst)
    median = np.median([loss_at(other, 1, 0) for other in others])
    if rule.stops([own[0], own[1][:1]]):
        assert own[0][-1] > median


def test_a_trial_that_learns_nothing_is_pruned() -> None:
    X, y, _ = table()
    space = {"learning_rate_init": [0.02, 0.021, 0.022, 0.023, 0.024, 1e-9, 2e-9]}
    model = classifier(hidden_layer_sizes=(8,))
    result = dp.tune(model, X, y, space=space, n_trials=18)
    late = result.trials[8 + FEWEST :]
    dead = late[late["learning_rate_init"] < 1e-6]
    assert set(dead["state"]) == {"pruned"}
    assert dead["epochs"].max() < result.trials["epochs"][0] / 2


# ---------------------------------------------------------------- time and interruption


def test_a_time_limit_includes_the_final_fit() -> None:
    X, y, _ = table(400)
    model = dp.TabularClassifier((32,), max_iter=100_000, n_iter_no_change=np.inf)
    began = time.monotonic()
    result = dp.tune(model, X, y, time_limit=2)
    assert time.monotonic() - began < 10  # without the limit it would take hours
    assert result.model.score(X, y) > 0.5
    assert result.model.time_limit is None


@pytest.mark.slow
def test_a_time_limit_is_used_for_trials() -> None:
    tuned()  # compiles
    result = tuned(n_trials=None, time_limit=3.0)
    assert len(result.trials) > 6
    assert np.isfinite(result.best_loss)


def test_ctrl_c_fits_the_best_so_far() -> None:
    def interrupt(result: Any) -> None:
        if result.number == 2:
            signal.raise_signal(signal.SIGINT)

    with pytest.warns(UserWarning, match="interrupted"):
        result = tuned(n_trials=200, callbacks=[interrupt])
    assert 3 <= len(result.trials) < 40
    assert result.model.cv_score_ is not None
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_ctrl_c_before_the_first_trial_ends_the_call() -> None:
    X, y, _ = table(400)
    model = dp.TabularClassifier((32,), max_iter=100_000, n_iter_no_change=np.inf)
    timer = threading.Timer(1.0, signal.pthread_kill, (threading.main_thread().ident, 2))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        dp.tune(model, X, y, n_trials=2)


def test_nothing_is_printed_without_a_terminal(capfd: Any) -> None:
    tuned(n_trials=2)
    assert capfd.readouterr() == ("", "")


# ---------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"model": dp.MLPClassifier()}, "TabularClassifier"),
        ({"model": dp.TabularClassifier}, "TabularClassifier"),
        ({"model": classifier(solver="lbfgs")}, "epochs"),
        ({"model": classifier(privacy=dp.Privacy(noise=1.0))}, "privacy"),
        ({"model": classifier(preset="slow")}, "preset"),
        ({"n_trials": 0}, "n_trials"),
        ({"n_trials": True}, "n_trials"),
        ({"time_limit": -1}, "time_limit"),
        ({"n_jobs": 0}, "n_jobs"),
        ({"seed": None}, "seed"),
        ({"cv": 1}, "cv"),
        ({"cv": "five"}, "cv"),
        ({"space": {}}, "space"),
        ({"space": {"depth": [1, 2]}}, "depth"),
        ({"space": {"cv": [2, 3]}}, "cv"),
        ({"space": {"dropout": 0.1}}, "dropout"),
        ({"space": {"dropout": [0.1, 0.1]}}, "twice"),
        ({"storage": 3}, "storage"),
        ({"storage": "no/such/folder/x"}, "folder"),
        ({"callbacks": [3]}, "callbacks"),
        ({"model": classifier(dropout=2.0)}, "dropout"),
    ],
)
def test_wrong_arguments_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        tuned(**arguments)


def test_a_file_of_another_search_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "trials.journal"
    tuned(n_trials=1, storage=file)
    for arguments, what in (
        ({"seed": 1}, "seed"),
        ({"model": classifier(activation="relu")}, "model"),
        ({"space": {"n_bins": [0, 3]}}, "space"),
        ({"cv": 3}, "cv"),
    ):
        with pytest.raises(ValueError, match=f"another search.*{what}"):
            tuned(n_trials=1, storage=file, **arguments)
    X, y, _ = table()
    with pytest.raises(ValueError, match=r"another search.*X, y"):
        dp.tune(classifier(), X[:99], y[:99], space=SPACE, storage=file)
    for content in ("a list\nof notes\n", "a note", '{"a": 1}\n{"b": 2}', '{\n"a": 1\n}', "3"):
        (tmp_path / "notes.txt").write_text(content)
        with pytest.raises(ValueError, match="not a file of"):
            tuned(storage=tmp_path / "notes.txt")
        assert (tmp_path / "notes.txt").read_text() == content


def test_a_value_that_is_invalid_fails_its_trials_only() -> None:
    result = tuned(space={"dropout": [0.1, 2.0]}, model=classifier(dropout=0.1), n_trials=12)
    failed = result.trials[result.trials["dropout"] == 2.0]
    assert len(failed)
    assert set(failed["state"]) == {"failed"}
    assert all("dropout" in error for error in failed["error"])
    assert result.best_params == {"dropout": 0.1}


def test_missing_optuna_is_reported_with_the_command_that_installs_it(monkeypatch: Any) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(ImportError, match=r"pip install 'deltaprop\[tune\]'"):
        tuned()
