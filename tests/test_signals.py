"""Summaries of a trace match its arrays."""

import numpy as np
import pytest
import scipy.sparse
from hypothesis import given
from hypothesis import strategies as st

import deltaprop as dp
from deltaprop.functions.activations import NAMES
from deltaprop.model.signals import flat_at_both_ends, is_flat

SOFTSIGN = dp.Activation(
    "softsign", lambda a, xp: a / (1 + xp.abs(a)), lambda a, z, xp: 1 / (1 + xp.abs(a)) ** 2
)


def example(seed=0, N=12, f="tanh", reduction="mean", l2=0.3):
    rng = np.random.default_rng(seed)
    net = dp.Network(3, [dp.Dense(5, f), dp.Dense(4, "relu"), dp.Dense(2)], loss="squared_error",
                     l2=l2, reduction=reduction, seed=seed)  # fmt: skip
    X, y = rng.normal(size=(N, 3)), rng.normal(size=(N, 2))
    return net, X, y, rng.uniform(0.5, 2, N)


@given(
    seed=st.integers(0, 2**31), N=st.integers(2, 30), weighted=st.booleans(),
    reduction=st.sampled_from(["sum", "mean", "sklearn"]), l2=st.sampled_from([0.0, 0.7]),
)  # fmt: skip
def test_noise_matches_per_sample_gradients(seed, N, weighted, reduction, l2):
    net, X, y, w = example(seed, N, reduction=reduction, l2=l2)
    w = w if weighted else None
    trace = net.trace(X, y, w)
    for l, layer in enumerate(trace.summary().layers):
        each = np.stack([np.outer(x, d) for x, d in zip(trace.X[l], trace.delta[l], strict=True)])
        noise = np.sqrt(each.var(axis=0, ddof=1).sum())
        signal = np.linalg.norm(each.mean(axis=0))
        if noise > 1e-9 * signal and signal > 0:
            assert layer.snr == pytest.approx(signal / noise, rel=1e-4)


def test_summary_matches_the_arrays_of_the_trace():
    net, X, y, _ = example()
    trace = net.trace(X, y)
    signals = trace.summary()
    for l, layer in enumerate(signals.layers):
        for name in ("X", "a", "delta", "dW"):
            values, seen = getattr(trace, name)[l], getattr(layer, name)
            assert seen.rms == pytest.approx(np.sqrt((values**2).mean()))
            assert (seen.low, seen.high) == (values.min(), values.max())
        assert layer.gradient_to_weight == pytest.approx(
            np.linalg.norm(trace.dW[l]) / np.linalg.norm(net.W[l])
        )
    ratios = [layer.delta.rms for layer in signals.layers]
    assert signals.layers[0].delta_ratio == pytest.approx(ratios[0] / ratios[1])
    assert np.isnan(signals.layers[-1].delta_ratio)


def test_dead_units_are_counted_and_named():
    net, X, y, _ = example(f="relu")
    net.b[0][[1, 3]] = -100
    layer = net.trace(X, y).summary().layers[0]
    assert {1, 3} <= set(layer.dead_units)
    assert layer.dead == len(layer.dead_units) / 5
    off = (net.trace(X, y).X[1] == 0).mean(axis=0)
    np.testing.assert_allclose(layer.flat, off)
    assert np.isnan(layer.saturated)  # undefined for ReLU, which is flat on one side only


@pytest.mark.parametrize("f", ["tanh", "logistic", SOFTSIGN])
def test_saturation_is_seen_in_the_slope(f):
    net, X, y, _ = example(f=f)
    fresh = net.trace(X, y).summary().layers[0].saturated
    net.W[0][...] *= 1e4
    assert fresh == 0
    assert net.trace(X, y).summary().layers[0].saturated > 0.95


def test_which_functions_are_flat_at_both_ends():
    found = {f for f in NAMES if flat_at_both_ends(dp.activations.get(f))}
    assert found == {"logistic", "sigmoid", "tanh", "softmax"}


def test_softmax_is_flat_where_its_jacobian_has_no_diagonal():
    f, a = dp.activations.get("softmax"), np.random.default_rng(0).normal(scale=5, size=(50, 4))
    z = f.f(a, np)
    expected = np.abs(np.einsum("nhh->nh", f.df(a, z, np))) < 0.01 / 4
    own = dp.Activation("my_softmax", f.f, f.df, coupling="row")
    np.testing.assert_array_equal(is_flat(f, a, z), expected)
    np.testing.assert_array_equal(is_flat(own, a, z), expected)


def test_a_sparse_X_has_the_summary_of_the_dense_one():
    net, X, y, _ = example()
    X[np.abs(X) < 1] = 0
    dense = net.trace(X, y).summary().rows()
    sparse = net.trace(scipy.sparse.csr_matrix(X), y).summary().rows()
    for a, b in zip(dense, sparse, strict=True):
        assert a == pytest.approx(b, nan_ok=True)


def test_summary_as_text_and_data_frames():
    net, X, y, _ = example()
    signals = net.trace(X, y).summary()
    frame = signals.to_frame()
    assert frame.loc[1, "activation"] == "relu"
    assert frame.loc[0, "delta_rms"] == signals.layers[0].delta.rms
    units = signals.units()
    assert len(units) == 5 + 4 + 2
    np.testing.assert_array_equal(units.loc[1, "flat"], signals.layers[1].flat)
    text = str(signals)
    assert len(text.splitlines()) == 4
    assert "step/‖W‖" not in text  # columns without numbers are omitted


def test_a_trace_keeps_its_weights():
    net, X, y, _ = example()
    trace = net.trace(X, y)
    before = str(trace.summary())
    net.theta[...] = 7
    assert str(trace.summary()) == before
