"""The fused engine against the reference engine, and its scalar functions against NumPy's."""

from itertools import pairwise

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

import deltaprop as dp
from deltaprop import activations, losses
from deltaprop.engines.fused import lowlevel
from deltaprop.engines.fused.trainer import FusedTrainer
from deltaprop.optim.state import TrainingState

from .trainers import objective, run_epoch, trainer

rng = np.random.RandomState(0)
N = 70
X = rng.randn(N, 4)
WEIGHTS = rng.rand(N) + 0.1
SOLVERS = [
    dp.SGD(0.01), dp.SGD(0.01, nesterov=False), dp.Adam(0.01), dp.AdamW(0.01, weight_decay=0.1),
    dp.Adam(0.01, input_scale=6.0), dp.AdamW(0.01, weight_decay=0.1, input_scale=20.0),
]  # fmt: skip
TARGETS = {
    "cross_entropy": rng.randint(0, 3, N),
    "focal": rng.randint(0, 3, N),
    "hinge": rng.randint(0, 3, N),
    "binary_cross_entropy": rng.randint(0, 2, (N, 3)),
}
POSITIVE = rng.rand(N, 3) + 0.1


def both(layers, loss, y, dtype="float64", network=None, **search):
    """The same search by both engines: networks and histories."""
    found = []
    for engine in ("reference", "fused"):
        net = dp.Network(4, layers, loss=loss, seed=1, dtype=dtype, l2=0.1, **(network or {}))
        settings = {"solver": dp.Adam(0.01), "batch_size": 32, "max_epochs": 3} | search
        with np.errstate(all="ignore"):
            history = dp.fit(net, X, y, engine=engine, patience=np.inf, **settings)
        found.append((net, history))
    return found


def agree(found, rtol):
    (reference, one), (fused, two) = found
    np.testing.assert_allclose(fused.theta, reference.theta, rtol=rtol, atol=rtol)
    np.testing.assert_allclose(two.loss_curve, one.loss_curve, rtol=rtol)


NAMES = sorted(set(activations.NAMES) - {"sigmoid"})


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", NAMES)
def test_every_activation_hidden_and_as_output(name, dtype):
    layers = [dp.Dense(6, name), dp.Dense(4, name)]
    found = both(layers, "huber", np.c_[POSITIVE, POSITIVE[:, 0]], dtype, clip_norm=1.0)
    agree(found, 1e-9 if dtype == "float64" else 2e-4)


COLLAPSED = {
    "poisson": "exp", "gamma": "exp", "tweedie": "exp", "binary_cross_entropy": "logistic",
    "cross_entropy": "softmax", "gaussian_nll": "mean_variance", "focal": "softmax",
}  # fmt: skip


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("output", ["collapsed", "softmax", "logistic"])
@pytest.mark.parametrize("name", losses.NAMES)
def test_every_loss_collapsed_and_through_the_general_chain(name, output, dtype):
    y, loss, H = TARGETS.get(name, POSITIVE), name, 3
    if name == "gaussian_nll":
        H = 6
    if name == "quantile":
        loss, H = losses.get("quantile", quantiles=(0.1, 0.8)), 6
    if output == "collapsed":
        output = COLLAPSED.get(name, "identity")
    layers = [dp.Dense(5, "tanh"), dp.Dense(H, output)]
    agree(both(layers, loss, y, dtype), 1e-9 if dtype == "float64" else 3e-4)


BETWEEN = dp.Activation(
    "between", lambda a, xp: 0.5 + 0.4 * xp.tanh(a), lambda a, z, xp: 0.4 * (1 - xp.tanh(a) ** 2)
)


@pytest.mark.parametrize("gamma", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("output", ["softmax", "logistic", BETWEEN])
def test_the_focal_loss_of_one_output(output, gamma):
    layers = [dp.Dense(5, "tanh"), dp.Dense(1, output)]
    loss = losses.get("focal", gamma=gamma)
    agree(both(layers, loss, rng.randint(0, 2, N), solver=dp.SGD(0.001)), 1e-9)


@settings(max_examples=60)
@given(
    st.lists(st.integers(1, 6), max_size=4),
    st.sampled_from(["sum", "mean", "sklearn"]),
    st.sampled_from(SOLVERS),
    st.booleans(),
    st.sampled_from([None, 0.05]),
    st.sampled_from([0.0, 0.4]),
    st.integers(1, 80),
    st.sampled_from([dp.schedules.Constant(), dp.schedules.OneCycle(), dp.schedules.Adaptive()]),
)
def test_any_shape_and_search(
    widths, reduction, solver, weighted, clip, dropout, batch_size, schedule
):
    layers = [dp.Dense(width, "relu", dropout) for width in widths]
    found = both(
        [*layers, dp.Dense(3, "softmax")], "cross_entropy", TARGETS["cross_entropy"],
        network={"reduction": reduction}, solver=solver, clip_norm=clip, schedule=schedule,
        batch_size=min(batch_size, N), sample_weight=WEIGHTS if weighted else None,
    )  # fmt: skip
    agree(found, 1e-8)


@pytest.mark.parametrize("n_threads", [1, 2, 3])
def test_threads_split_the_batch_and_agree(n_threads):
    def thetas(n_threads):
        net = dp.Network(4, [dp.Dense(50, "relu"), dp.Dense(3, "softmax")], loss="cross_entropy",
                         seed=0)  # fmt: skip
        state = TrainingState(dropout_seed=0)
        fused = trainer(
            "fused", net, X, TARGETS["cross_entropy"], solver=dp.Adam(0.01), batch_size=20,
            clip_norm=1.0, state=state, n_threads=n_threads,
        )  # fmt: skip
        for _ in range(5):
            run_epoch(fused, None, np.full(4, 0.01))
        assert state.step == 20
        return net.theta

    np.testing.assert_allclose(thetas(n_threads), thetas(1), rtol=1e-10, atol=1e-12)
    np.testing.assert_array_equal(thetas(n_threads), thetas(n_threads))


def test_blas_products_of_wide_layers_agree():
    agree(
        both([dp.Dense(300, "relu"), dp.Dense(300, "tanh"), dp.Dense(3)], "huber", POSITIVE), 1e-8
    )


def test_one_s_own_functions_are_compiled_into_the_loop():
    sine = dp.Activation("sine", lambda a, xp: xp.sin(2 * a), lambda a, z, xp: 2 * xp.cos(2 * a))
    fourth = dp.Loss("fourth", lambda t, o, xp, k: k * (o - t) ** 4,
                     lambda t, o, xp, k: 4 * k * (o - t) ** 3, params={"k": 0.5})  # fmt: skip
    agree(both([dp.Dense(5, sine), dp.Dense(3)], fourth, POSITIVE), 1e-9)


def test_float32_stays_float32():
    _, (net, _) = both([dp.Dense(5, "gelu"), dp.Dense(3)], "huber", POSITIVE, "float32")
    assert net.theta.dtype == np.float32


def test_rows_without_weight_are_skipped():
    w = np.zeros(N)
    w[:10] = 1
    found = both(
        [dp.Dense(3)], "huber", POSITIVE, sample_weight=w, shuffle=False, solver=dp.Adam(0.1)
    )
    agree(found, 1e-10)
    assert found[0][1].progress.step == found[1][1].progress.step == 3


def test_resuming_goes_on_in_either_engine():
    layers = [dp.Dense(5, "tanh", 0.3), dp.Dense(3, "softmax")]
    y, thetas = TARGETS["cross_entropy"], []
    for first, second in [
        ("reference", "reference"),
        ("fused", "reference"),
        ("reference", "fused"),
    ]:
        net = dp.Network(4, layers, loss="cross_entropy", seed=0)
        part = dp.fit(net, X, y, engine=first, max_epochs=2, patience=np.inf, batch_size=16)
        dp.fit(net, X, y, engine=second, max_epochs=2, patience=np.inf, batch_size=16, resume=part)
        thetas.append(net.theta)
    np.testing.assert_allclose(thetas[1], thetas[0], rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(thetas[2], thetas[0], rtol=1e-9, atol=1e-12)


def test_what_it_cannot_run_falls_back_and_says_so():
    scaled = dp.Activation(
        "scaled", lambda a, xp: a, lambda a, z, xp: np.ones((*a.shape, a.shape[1])), coupling="row"
    )
    net = dp.Network(4, [dp.Dense(3, scaled)], loss="huber", seed=0)
    with pytest.warns(UserWarning, match="Falling back to the reference engine: the activation"):
        dp.fit(net, X, POSITIVE, engine="fused", max_epochs=1)


@pytest.mark.parametrize("clip", [None, 0.1])
@pytest.mark.parametrize("n_threads", [1, 2, 70])
def test_sparse_rows(n_threads, clip):
    big = sp.random(300, 500, density=0.02, format="csr", random_state=0)
    y, thetas = rng.randint(0, 3, 300), []
    for engine in ("reference", "fused"):
        net = dp.Network(500, [dp.Dense(40, "relu"), dp.Dense(3, "softmax")],
                         loss="cross_entropy", l2=0.01, seed=0)  # fmt: skip
        it = trainer(engine, net, big, y, solver=dp.Adam(0.01), batch_size=100, clip_norm=clip,
                     n_threads=n_threads)  # fmt: skip
        for _ in range(3):
            run_epoch(it, np.arange(300)[::-1].copy(), np.full(3, 0.01))
        thetas.append(net.theta)
    np.testing.assert_allclose(thetas[1], thetas[0], rtol=1e-8, atol=1e-10)


SOURCES = [
    "float16",
    "float32",
    "float64",
    "uint8",
    "int8",
    "int16",
    "uint16",
    "int32",
    "int64",
    "bool",
]


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("layout", ["C", "F", "strided"])
def test_rows_are_read_where_they_lie(source, layout):
    given = (rng.rand(50, 6) * 3).astype(source)
    given = np.asfortranarray(given) if layout == "F" else given
    given = given[::2, 1::2] if layout == "strided" else given
    y, thetas = rng.randint(0, 3, len(given)), []
    for data in (given, np.ascontiguousarray(given, np.float64)):
        net = dp.Network(data.shape[1], [dp.Dense(30, "tanh"), dp.Dense(3, "softmax")],
                         loss="cross_entropy", seed=0)  # fmt: skip
        fused = trainer("fused", net, data, y, solver=dp.SGD(0.1))
        run_epoch(fused, None, np.full(-(-len(given) // 10), 0.1))
        thetas.append(net.theta)
    np.testing.assert_array_equal(thetas[0], thetas[1])


@pytest.mark.parametrize("n_threads", [1, 2, 3])
def test_more_rows_than_a_slab_holds(n_threads):
    """L-BFGS and very large batches go through in slabs: the same loss and gradient."""
    N = 10_000
    big, y, w = rng.randn(N, 20), rng.randint(0, 3, N), rng.rand(N)
    net = dp.Network(20, [dp.Dense(50, "gelu"), dp.Dense(3, "softmax")], loss="cross_entropy",
                     l2=0.1, reduction="mean", seed=0)  # fmt: skip
    loss, g = objective("fused", net, big, y, w, n_threads)
    np.testing.assert_allclose(loss, net.loss(big, y, w), rtol=1e-12)
    np.testing.assert_allclose(g, net.gradient(big, y, w).flat, rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("reproducible", [False, True])
def test_every_piece_of_a_small_network_s_weights_gets_its_penalty(reproducible):
    """A W_l of 32 rows or more is divided into pieces where results must be reproducible."""
    rows, y = rng.randn(60, 40), rng.randn(60, 3)
    net = dp.Network(40, [dp.Dense(20, "tanh"), dp.Dense(3)], loss="huber", l2=0.5, seed=0)
    loss, g = objective("fused", net, rows, y, None, 1, reproducible)
    np.testing.assert_allclose(loss, net.loss(rows, y), rtol=1e-12)
    np.testing.assert_allclose(g, net.gradient(rows, y).flat, rtol=1e-8, atol=1e-12)


def test_the_number_of_threads_does_not_matter_where_it_is_asked_not_to():
    big, y, found = rng.randn(900, 40), rng.randint(0, 3, 900), []
    for n_threads in (1, 2, 3, 5):
        net = dp.Network(40, [dp.Dense(120, "relu"), dp.Dense(90, "tanh"), dp.Dense(3, "softmax")],
                         loss="cross_entropy", seed=0)  # fmt: skip
        fused = trainer(
            "fused", net, big, y, solver=dp.Adam(0.01), batch_size=300, clip_norm=1.0,
            n_threads=n_threads, reproducible=True,
        )  # fmt: skip
        assert fused._frame.room.n_threads == n_threads
        losses = [run_epoch(fused, None, np.full(3, 0.01)) for _ in range(3)]
        found.append((net.theta.tobytes(), losses))
    assert all(one == found[0] for one in found)


def test_estimators_take_it():
    y = TARGETS["cross_entropy"]
    ours = dp.MLPClassifier(max_iter=5, random_state=0, engine="fused").fit(X, y)
    reference = dp.MLPClassifier(max_iter=5, random_state=0, engine="reference").fit(X, y)
    np.testing.assert_allclose(ours.loss_curve_, reference.loss_curve_, rtol=1e-10)


def test_estimators_say_how_many_threads():
    big, y = rng.randn(600, 100), rng.randn(600)
    models = [
        dp.MLPRegressor(
            hidden_layer_sizes=(200, 200), batch_size=300, max_iter=2, random_state=0,
            engine="fused", n_threads=n, reproducible=True,
        ).fit(big, y)
        for n in (1, 2)
    ]  # fmt: skip
    np.testing.assert_array_equal(models[0].coefs_[1], models[1].coefs_[1])
    with pytest.raises(ValueError, match="n_threads"):
        dp.MLPRegressor(n_threads=0).fit(big, y)
    with pytest.raises(ValueError, match="n_threads must be an int >= 1 or None, got 0"):
        dp.fit(dp.Network(4, [dp.Dense(3)], loss="huber"), X, POSITIVE, n_threads=0)


def test_ctrl_c_waits_for_the_threads_and_keeps_a_whole_step():
    """SIGINT while two threads are inside the kernel: no deadlock, a consistent state."""
    import os
    import signal
    import threading

    big = rng.randn(20_000, 4)
    net = dp.Network(4, [dp.Dense(64, "tanh"), dp.Dense(3)], loss="huber", seed=0)
    state = TrainingState()
    fused = trainer(
        "fused", net, big, rng.rand(20_000, 3), solver=dp.Adam(0.01), batch_size=100,
        state=state, n_threads=2,
    )  # fmt: skip
    run_epoch(fused, None, np.full(200, 0.01))
    timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()

    def until_interrupted():
        while True:
            run_epoch(fused, None, np.full(200, 0.01))

    with pytest.raises(KeyboardInterrupt):
        until_interrupted()
    timer.join()
    assert np.isfinite(net.theta).all()
    assert state.step > 200
    run_epoch(fused, None, np.full(200, 0.01))  # and it goes on


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize(
    ("schedule", "tol", "patience", "rate"),
    [
        (dp.schedules.Constant(), 1e-3, 2, 0.02),
        (dp.schedules.Adaptive(), 1e-2, 1, 0.05),
        (dp.schedules.OneCycle(), 0, np.inf, 0.02),
        (dp.schedules.Constant(), 0, np.inf, 1e200),
    ],
    ids=["plateau", "adaptive", "one cycle", "diverges"],
)
def test_epochs_that_nobody_looks_at_run_in_one_call(schedule, tol, patience, rate, shuffle):
    """Many epochs a call, the last of them taken back: the same as one by one, to the bit."""
    found = []
    for callbacks in ([], [lambda event: None]):
        net = dp.Network(4, [dp.Dense(6, "tanh", 0.2), dp.Dense(3)], loss="huber", seed=0)
        seed = np.random.RandomState(0)
        search = {
            "solver": dp.SGD(rate), "batch_size": 16, "tol": tol, "patience": patience,
            "schedule": schedule, "seed": seed, "shuffle": shuffle, "engine": "fused",
        }  # fmt: skip
        try:
            history = dp.fit(net, X, POSITIVE, callbacks=callbacks, max_epochs=150, **search)
        except ValueError as error:
            found.append((str(error), seed.get_state()[1:]))
            continue
        p = history.progress
        more = dp.fit(net, X, POSITIVE, callbacks=callbacks, max_epochs=3, resume=history, **search)
        found.append((
            net.theta, np.array(history.loss_curve + more.loss_curve), history.stop_reason,
            (p.step, p.epoch, p.samples, p.scale), *seed.get_state()[1:],
        ))  # fmt: skip
    for one, other in zip(*found, strict=True):
        np.testing.assert_equal(one, other)


def test_epochs_are_run_in_one_call_where_they_are_short(monkeypatch):
    calls, run = [], FusedTrainer.run
    monkeypatch.setattr(
        FusedTrainer, "run", lambda self, o, *r: calls.append(len(o)) or run(self, o, *r)
    )
    net = dp.Network(4, [dp.Dense(6), dp.Dense(3)], loss="huber", seed=0)
    dp.fit(net, X, POSITIVE, engine="fused", max_epochs=200, patience=np.inf)
    assert calls[0] == 1
    assert sum(calls) == 200
    assert max(calls) > 10


@pytest.mark.parametrize("reduction", ["sum", "mean", "sklearn"])
@pytest.mark.parametrize("engine", ["reference", "fused"])
def test_an_epoch_in_parts_is_the_epoch(engine, reduction):
    """Its steps in several calls, or its rows a part at a time: the same θ, and losses add up."""
    y, order, rates = rng.randint(0, 3, 103), rng.permutation(103), np.linspace(0.01, 0.02, 11)
    rows, found = rng.randn(103, 6), []

    def trainer_of(net, state, of, **more):
        return trainer(engine, net, rows[of], y[of], state=state, **more)

    for way in ("whole", "steps", "rows"):
        net = dp.Network(6, [dp.Dense(7, "tanh", 0.2), dp.Dense(3, "softmax")],
                         loss="cross_entropy", l2=0.1, reduction=reduction, seed=0)  # fmt: skip
        state = TrainingState(dropout_seed=3)
        if way == "rows":
            first = trainer_of(net, state, order[:40], rows_per_epoch=103)
            loss = run_epoch(first, None, rates[:4])
            second = trainer_of(net, state, order[40:], rows_per_epoch=103)
            loss += run_epoch(second, None, rates[4:])
        else:
            it = trainer_of(net, state, slice(None))
            cuts = [0, 11] if way == "whole" else [0, 4, 9, 11]
            loss = sum(run_epoch(it, order, rates[a:b], a) for a, b in pairwise(cuts))
        found.append((loss, net.theta))
    for loss, theta in found[1:]:
        np.testing.assert_allclose(loss, found[0][0], rtol=1e-12)
        np.testing.assert_array_equal(theta, found[0][1])


# ---------------------------------------------------------------- subnormal numbers


@pytest.mark.skipif(not lowlevel.X86, reason="set on x86 processors only")
@pytest.mark.parametrize("threads", [1, 2])
def test_subnormal_numbers_are_zero_in_the_engine_and_nowhere_else(threads):
    X = np.array([[1e-39], [1.0]], "float32")

    def trained(engine):
        net = dp.Network(1, [dp.Dense(1)], loss="squared_error", dtype="float32", seed=0)
        net.W[0][...], net.b[0][...] = 2.0**100, 0
        settings = {"n_threads": threads} if engine == "fused" else {}
        dp.fit(net, X[:1], [[0.0]], solver=dp.SGD(1.0), max_epochs=1, engine=engine, **settings)
        return float(net.b[0][0])

    assert trained("reference") < -1e-10
    assert trained("fused") == 0
    assert X[0, 0] * np.float32(2) > 0  # this thread computes with subnormal numbers as before
