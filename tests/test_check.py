"""net.check neither rejects correct networks nor passes equations that it could not check."""

import numpy as np
import pytest

import deltaprop as dp
from deltaprop import equations


@pytest.mark.parametrize("loss", ["absolute_error", "huber", "quantile", "hinge"])
def test_check_holds_where_the_bias_gradient_cancels(loss):
    """δ is ±1. If Σ_n δ cancels to 0, rounding is not an error of 100 %."""
    for seed in range(60):
        rng = np.random.default_rng(seed)
        X = rng.normal(size=(20, 3))
        y = rng.integers(0, 2, 20) if loss == "hinge" else 30 * rng.normal(size=20)
        net = dp.Network(3, [dp.Dense(5, "tanh"), dp.Dense(1)], loss=loss, seed=seed)
        report = net.check(X, y)
        assert report.ok, f"seed {seed}\n{report}"


@pytest.mark.parametrize("loss", ["cross_entropy", "squared_error"])
@pytest.mark.parametrize("f", ["relu", "tanh", "logistic", "gelu", "softplus", "silu"])
@pytest.mark.parametrize("scale", [100, 1e5])
def test_check_holds_on_data_that_is_not_standardised(f, loss, scale):
    rng = np.random.default_rng(0)
    X = scale * rng.normal(size=(20, 3))
    H, last = (3, "softmax") if loss == "cross_entropy" else (1, "identity")
    y = rng.integers(0, 3, 20) if loss == "cross_entropy" else scale * rng.normal(size=20)
    net = dp.Network(3, [dp.Dense(5, f), dp.Dense(H, last)], loss=loss, seed=0)
    report = net.check(X, y)
    assert report.ok, str(report)


def test_check_holds_at_a_perfect_fit():
    """ŷ = y exactly is a kink of |ŷ - y|, also for loss″ (sign(0 ± h) jumps symmetrically)."""
    X = np.random.default_rng(0).normal(size=(4, 2))
    for loss in ("absolute_error", "quantile"):
        net = dp.Network(2, [dp.Dense(1)], loss=loss, seed=0)
        report = net.check(X, net.predict(X))
        assert report.ok, str(report)


def test_check_fails_equations_without_differentiable_points():
    """Every point lies at a kink and d is wrong, so that no row may hold."""
    bad = dp.Loss("mine", lambda t, z, xp: xp.abs(z - t), lambda t, z, xp: 7 + 0 * z)
    net = dp.Network(2, [dp.Dense(1)], loss=bad, seed=0)
    X = np.random.default_rng(0).normal(size=(4, 2))
    assert not net.check(X, net.predict(X)).ok


def test_entries_that_are_perturbed_together_give_their_own_derivatives(monkeypatch):
    """A layer that works on columns, one that couples them, and one whose columns differ."""
    layers = [
        dp.Dense(6, "tanh"),
        dp.Dense(4, "softmax"),
        dp.Dense(4, "mean_variance"),
        dp.Dense(2),
    ]
    net = dp.Network(3, layers, loss="squared_error", l2=0.1, seed=0)
    rng = np.random.default_rng(0)
    data = rng.normal(size=(7, 3)), rng.normal(size=(7, 2))
    together = net.check(*data)
    monkeypatch.setattr("deltaprop.explain.checks.MOST_AT_ONCE", 1)
    alone = net.check(*data)
    assert together.ok
    assert [row.equation for row in together.rows] == [row.equation for row in alone.rows]
    np.testing.assert_allclose(
        [row.error for row in together.rows], [row.error for row in alone.rows], atol=1e-12
    )


def test_a_wrong_entry_of_a_gradient_is_named(monkeypatch):
    net = dp.Network(3, [dp.Dense(5, "tanh"), dp.Dense(2)], loss="squared_error", seed=0)
    right = equations.gradients

    def wrong(X, delta, W, l2=0.0):
        dW, db = right(X, delta, W, l2)
        dW[0][1, 3] += 0.5
        return dW, db

    monkeypatch.setattr(equations, "gradients", wrong)
    failed = [row for row in net.check(np.ones((4, 3)), np.ones((4, 2))).rows if not row.ok]
    assert [row.equation for row in failed] == ["∂L/∂W_0 = X_0ᵀ δ_0"]
    assert "row 1, column 3" in failed[0].where


def test_a_terminal_shows_the_progress_of_a_long_verification(monkeypatch, capsys):
    net = dp.Network(3, [dp.Dense(5, "tanh"), dp.Dense(2)], loss="squared_error", seed=0)
    net.check(np.ones((4, 3)), np.ones((4, 2)))
    assert capsys.readouterr().err == ""
    monkeypatch.setattr("deltaprop.explain.verification.QUIET", 0.0)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    net.check(np.ones((4, 3)), np.ones((4, 2)))
    shown = capsys.readouterr().err
    assert "3 equations verified, the last: tanh″ at a_0" in shown
    assert shown.endswith("\033[K")
