"""The moving average of θ: its values, what uses it, and that no interruption changes it."""

from __future__ import annotations

import warnings
from contextlib import nullcontext

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_iris

import deltaprop as dp
from deltaprop.optim.state import TrainingState
from deltaprop.optim.state_checks import require_sound
from deltaprop.storage.codec import ModelFileError
from deltaprop.tables import stream
from deltaprop.training import averaging

X, y = load_iris(return_X_y=True)
X = (X - X.mean(0)) / X.std(0)
STEPS = 10  # per epoch, of batches of 15 rows


def small_net(dtype="float64"):
    return dp.Network(
        4, [dp.Dense(7, "tanh", 0.2), dp.Dense(3, "softmax")],
        loss="cross_entropy", reduction="mean", dtype=dtype, seed=0,
    )  # fmt: skip


def fit(net, *data, **settings):
    settings = {"max_epochs": 4, "batch_size": 15, "engine": "reference",
                "solver": dp.Adam(0.02)} | settings  # fmt: skip
    return dp.fit(net, *(data or (X, y)), **settings)


def thetas(n_epochs, **settings):
    """θ after each epoch without an average, from runs of 1, 2, … epochs."""
    found = []
    for n in range(1, n_epochs + 1):
        net = small_net()
        fit(net, max_epochs=n, **settings)
        found.append(net.theta.copy())
    return found


def averages(thetas, decay):
    """The average after each epoch, step by step as it is defined."""
    found = [thetas[0]]
    for epoch, theta in enumerate(thetas[1:], 1):
        kept = 1.0
        for s in range(STEPS * epoch + 1, STEPS * (epoch + 1) + 1):
            kept *= min(decay, (1 + s) / (10 + s))
        found.append(kept * found[-1] + (1 - kept) * theta)
    return found


@pytest.mark.parametrize("engine", ["reference", "fused", "xla"])
def test_the_result_is_the_average_over_the_epochs(engine):
    net = small_net()
    fit(net, ema_decay=0.9, engine=engine)
    expected = averages(thetas(4, engine=engine), 0.9)[-1]
    np.testing.assert_allclose(net.theta, expected, rtol=1e-12)


def test_validation_and_callbacks_see_the_average_and_the_best_one_is_kept():
    held = X[::3], y[::3]
    seen = []
    net = small_net()
    history = fit(net, validation=held, ema_decay=0.9, max_epochs=25, tol=0.0, patience=2,
                  solver=dp.Adam(0.3),
                  callbacks=[lambda event: seen.append(event.network.theta.copy())])  # fmt: skip
    n = history.n_epochs
    expected = averages(thetas(n, solver=dp.Adam(0.3)), 0.9)
    np.testing.assert_allclose(seen, expected, rtol=1e-9, atol=1e-12)
    probe = small_net()
    losses = []
    for theta in expected:
        probe.theta[...] = theta
        losses.append(probe.loss(*held))
    np.testing.assert_allclose(history.validation_loss_curve, losses, rtol=1e-9)
    assert history.best_epoch == 1 + int(np.argmin(losses)) < n
    np.testing.assert_allclose(net.theta, expected[history.best_epoch - 1], rtol=1e-9, atol=1e-12)


BUGS = {
    "no shorter average at first": ("retained", lambda d, first, end: d ** (end - first)),
    "a step too many": ("retained", lambda d, first, end: averaging.retained_(d, first, end + 1)),
    "an average that nothing sees": ("Average.in_place_of_theta", lambda self: nullcontext()),
    "an average that is not returned": ("Average.finish", lambda self: None),
}


@pytest.mark.parametrize("name", BUGS)
def test_planted_bugs_are_noticed(name, monkeypatch):
    where, bug = BUGS[name]
    monkeypatch.setattr(averaging, "retained_", averaging.retained, raising=False)
    monkeypatch.setattr(f"deltaprop.training.averaging.{where}", bug)
    with pytest.raises(AssertionError):  # noqa: PT012  # of one of the two
        test_the_result_is_the_average_over_the_epochs("reference")
        test_validation_and_callbacks_see_the_average_and_the_best_one_is_kept()


def test_the_training_itself_is_not_changed():
    plain, averaged = small_net(), small_net()
    one, two = fit(plain), fit(averaged, ema_decay=0.99)
    assert one.loss_curve == two.loss_curve
    np.testing.assert_array_equal(two.progress.latest, plain.theta)
    assert one.progress.average is None


@pytest.mark.parametrize("engine", ["reference", "fused"])
@pytest.mark.parametrize("validation", [None, (X[::3], y[::3])])
def test_a_resumed_run_ends_in_the_same_bits(engine, validation):
    settings = {"ema_decay": 0.95, "engine": engine, "validation": validation, "patience": np.inf}
    whole, parts = small_net("float32"), small_net("float32")
    fit(whole, max_epochs=5, restore_best=False, **settings)
    history = fit(parts, max_epochs=2, restore_best=False, **settings)
    fit(parts, max_epochs=3, restore_best=False, resume=history, **settings)
    np.testing.assert_array_equal(whole.theta, parts.theta)


def test_the_average_starts_anew_if_theta_was_changed_or_if_it_was_switched_off():
    net = small_net()
    history = fit(net, ema_decay=0.95)
    net.theta[...] *= 2
    fit(net, ema_decay=0.95, max_epochs=1, resume=history, callbacks=[])
    np.testing.assert_array_equal(net.theta, history.progress.latest)  # the first epoch's average
    fit(net, max_epochs=1, resume=history)
    assert history.progress.average is None
    assert history.progress.latest is None


def test_an_interruption_keeps_the_average():
    def interrupt(event):
        if event.epoch == 3:
            raise KeyboardInterrupt

    net = small_net()
    with pytest.warns(UserWarning, match="interrupted"):
        fit(net, ema_decay=0.9, callbacks=[interrupt])
    np.testing.assert_allclose(net.theta, averages(thetas(3), 0.9)[-1], rtol=1e-12)


def test_a_stream_is_averaged_like_an_array(tmp_path):
    table = pd.DataFrame(X, columns=list("abcd")).assign(y=y)
    table.to_parquet(tmp_path / "table.parquet")
    rows = stream(tmp_path / "table.parquet", target="y")
    net, expected = small_net(), small_net()
    fit(net, rows, ema_decay=0.9, shuffle=False)
    fit(expected, ema_decay=0.9, shuffle=False)
    np.testing.assert_allclose(net.theta, expected.theta, rtol=1e-12)


def test_private_training_can_be_averaged():
    private = {"privacy": dp.Privacy(noise=1.0, seed=1), "solver": dp.SGD(0.05)}
    net = dp.Network(4, [dp.Dense(3, "softmax")], loss="cross_entropy", seed=0)
    history = fit(net, ema_decay=0.9, **private)
    assert history.epsilon(1e-5) == dp.Privacy(noise=1.0).epsilon(1e-5, 4)
    assert not np.array_equal(net.theta, history.progress.latest)


def test_a_saved_estimator_goes_on_with_its_average(tmp_path):
    def model():
        return dp.MLPClassifier((7,), ema_decay=0.95, random_state=0, batch_size=15, max_iter=3)

    whole, parts = model(), model()
    for _ in range(5):
        whole.partial_fit(X, y, classes=[0, 1, 2])
    for _ in range(2):
        parts.partial_fit(X, y, classes=[0, 1, 2])
    dp.save(parts, tmp_path / "model.dp")
    parts = dp.load(tmp_path / "model.dp")
    for _ in range(3):
        parts.partial_fit(X, y)
    np.testing.assert_array_equal(whole.network_.theta, parts.network_.theta)
    assert not np.array_equal(whole.network_.theta, whole._progress.latest)


def test_tabular_estimators_average():
    settings = {"random_state": 0, "max_iter": 5, "cv": 2}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        plain = dp.TabularClassifier(ema_decay=0.0, **settings).fit(X, y)
        averaged = dp.TabularClassifier(ema_decay=0.95, **settings).fit(X, y)
    assert averaged.members_[0].ema_decay == 0.95
    assert not np.allclose(plain.predict_proba(X), averaged.predict_proba(X))


@pytest.mark.parametrize("wrong", [-0.1, 1.0, np.nan, "0.9", None])
def test_the_decay_is_a_fraction(wrong):
    with pytest.raises(ValueError, match=r"ema_decay must be a number in \[0, 1\)"):
        fit(small_net(), ema_decay=wrong)


def test_lbfgs_is_refused():
    with pytest.raises(ValueError, match=r"ema_decay is 0\.9, but LBFGS"):
        fit(small_net(), solver=dp.LBFGS(), ema_decay=0.9)


@pytest.mark.parametrize("name", ["average", "latest"])
@pytest.mark.parametrize("part", [np.zeros(4), np.zeros(3, "float32"), np.zeros((3, 1)), [0.0] * 3])
def test_a_damaged_average_is_found(name, part):
    with pytest.raises(ModelFileError, match="average"):
        require_sound(TrainingState(**{name: part}), np.zeros(3))
