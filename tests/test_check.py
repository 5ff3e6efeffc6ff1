"""net.check neither rejects correct networks nor passes equations that it could not check."""

import numpy as np
import pytest

import deltaprop as dp


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
