"""The xla engine against the reference engine: every function, many devices, many processes."""

import contextlib
import itertools
from dataclasses import replace

import jax
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone

import deltaprop as dp
from deltaprop import activations, engines, losses
from deltaprop.optim.state import TrainingState
from deltaprop.tables import stream

from .processes import finished, started, two
from .trainers import objective, run_epoch, trainer

rng = np.random.RandomState(0)
N = 23
X = rng.randn(N, 4)
WEIGHTS = rng.rand(N) + 0.1
POSITIVE = rng.rand(N, 3) + 0.1
CLASSES = rng.randint(0, 3, N)
TARGETS = {
    "cross_entropy": CLASSES,
    "focal": CLASSES,
    "hinge": CLASSES,
    "binary_cross_entropy": rng.randint(0, 2, (N, 3)),
}
SOLVERS = [
    dp.SGD(0.01), dp.SGD(0.01, nesterov=False), dp.Adam(0.01), dp.AdamW(0.01, weight_decay=0.1),
    dp.Adam(0.01, input_scale=6.0), dp.AdamW(0.01, weight_decay=0.1, input_scale=20.0),
]  # fmt: skip
NAMES = sorted(set(activations.NAMES) - {"sigmoid"})
RTOL = {"float64": 1e-9, "float32": 3e-4}


tests_run = itertools.count(1)


@pytest.fixture(autouse=True)
def few_compiled_programs():
    """JAX keeps what it compiled: after 900 tests, no memory map is left to the process."""
    yield
    if next(tests_run) % 200 == 0:
        jax.clear_caches()


def both(layers, loss, y, dtype="float64", network=None, X=X, engines=("reference", "xla"), **fit):
    """The same search by both engines: networks and histories."""
    found = []
    for engine in engines:
        net = dp.Network(X.shape[1], layers, loss=loss, seed=1, dtype=dtype,
                         **({"l2": 0.1} | (network or {})))  # fmt: skip
        search = {"solver": dp.Adam(0.01), "batch_size": 10, "max_epochs": 2} | fit
        with np.errstate(all="ignore"):
            history = dp.fit(net, X, y, engine=engine, patience=np.inf, **search)
        found.append((net, history))
    return found


def agree(found, rtol=1e-9):
    (reference, one), (xla, two) = found
    assert reference.theta.dtype == xla.theta.dtype
    np.testing.assert_allclose(xla.theta, reference.theta, rtol=rtol, atol=rtol)
    np.testing.assert_allclose(two.loss_curve, one.loss_curve, rtol=rtol)
    assert one.progress.step == two.progress.step


# ---------------------------------------------------------------- every function


@pytest.mark.parametrize("dtype", ["float64", pytest.param("float32", marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", NAMES)
def test_every_activation_hidden_and_as_output(name, dtype):
    layers = [dp.Dense(6, name), dp.Dense(4, name)]
    y = np.c_[POSITIVE, POSITIVE[:, 0]]
    agree(both(layers, "huber", y, dtype, clip_norm=1.0), RTOL[dtype])


COLLAPSED = {
    "poisson": "exp", "gamma": "exp", "tweedie": "exp", "binary_cross_entropy": "logistic",
    "cross_entropy": "softmax", "gaussian_nll": "mean_variance", "focal": "softmax",
}  # fmt: skip


def problem(name):
    """y, the loss and the number of outputs."""
    if name == "quantile":
        return POSITIVE, losses.get("quantile", quantiles=(0.1, 0.8)), 6
    return TARGETS.get(name, POSITIVE), name, 6 if name == "gaussian_nll" else 3


@pytest.mark.parametrize("output", ["collapsed", pytest.param("logistic", marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", losses.NAMES)
def test_every_loss_collapsed_and_through_the_general_chain(name, output):
    y, loss, H = problem(name)
    output = COLLAPSED.get(name, "identity") if output == "collapsed" else output
    agree(both([dp.Dense(5, "tanh"), dp.Dense(H, output)], loss, y, sample_weight=WEIGHTS))


@pytest.mark.slow
@pytest.mark.parametrize("name", losses.NAMES)
@pytest.mark.parametrize("activation", NAMES)
def test_every_activation_and_loss(activation, name):
    """Each pair with one of the solvers, whose step sees the gradient alone."""
    solvers = [*SOLVERS, dp.LBFGS()]
    solver = solvers[(NAMES.index(activation) + losses.NAMES.index(name)) % len(solvers)]
    y, loss, H = problem(name)
    layers = [dp.Dense(4, activation), dp.Dense(H, COLLAPSED.get(name, "identity"))]
    if isinstance(solver, dp.LBFGS):
        gradients_agree(layers, loss, y)
    else:
        agree(both(layers, loss, y, solver=solver, clip_norm=1.0, max_epochs=1))


def gradients_agree(layers, loss, y, **network):
    net = dp.Network(4, layers, loss=loss, seed=1, **({"l2": 0.1} | network))
    w = WEIGHTS.copy()
    L, g = objective("xla", net, X, y, w)
    np.testing.assert_allclose(L, net.loss(X, y, w), rtol=1e-10)
    np.testing.assert_allclose(g, net.gradient(X, y, w).flat, rtol=1e-9, atol=1e-10)


@pytest.mark.slow  # every example is compiled
@settings(max_examples=40)
@given(
    st.lists(st.integers(1, 6), max_size=3),
    st.sampled_from(["sum", "mean", "sklearn"]),
    st.sampled_from(SOLVERS),
    st.booleans(),
    st.sampled_from([None, 0.05]),
    st.sampled_from([0.0, 0.4]),
    st.sampled_from([0.0, 0.1]),
    st.integers(1, N),
    st.sampled_from([dp.schedules.Constant(), dp.schedules.OneCycle(), dp.schedules.Adaptive()]),
)
def test_any_shape_and_search(
    widths, reduction, solver, weighted, clip, dropout, l2, batch_size, schedule
):
    layers = [dp.Dense(width, "relu", dropout) for width in widths]
    agree(both(
        [*layers, dp.Dense(3, "softmax")], "cross_entropy", CLASSES,
        network={"reduction": reduction, "l2": l2}, solver=solver, clip_norm=clip,
        schedule=schedule, batch_size=batch_size, sample_weight=WEIGHTS if weighted else None,
    ), 1e-8)  # fmt: skip


# ---------------------------------------------------------------- the engine's protocol


@pytest.mark.parametrize(
    "reduction", ["mean", *(pytest.param(r, marks=pytest.mark.slow) for r in ("sum", "sklearn"))]
)
def test_an_epoch_in_parts_is_the_reference_s(reduction):
    """Its steps in two calls, or its rows a part at a time, with dropout and a last short batch."""
    order, rates, found = rng.permutation(N), np.linspace(0.01, 0.02, 5), []
    for engine in ("reference", "xla"):
        for way in ("steps", "rows"):
            net = dp.Network(4, [dp.Dense(7, "tanh", 0.2), dp.Dense(3, "softmax")],
                             loss="cross_entropy", l2=0.1, reduction=reduction, seed=0)  # fmt: skip
            run = {"batch_size": 5, "state": TrainingState(dropout_seed=3), "rows_per_epoch": N}
            if way == "steps":
                it = trainer(engine, net, X, CLASSES, **run)
                loss = run_epoch(it, order, rates[:2]) + run_epoch(it, order, rates[2:], 2)
            else:
                a, b = order[:15], order[15:]
                loss = run_epoch(trainer(engine, net, X[a], CLASSES[a], **run), None, rates[:3])
                loss += run_epoch(trainer(engine, net, X[b], CLASSES[b], **run), None, rates[3:])
            found.append((loss, net.theta))
    for loss, theta in found[1:]:
        np.testing.assert_allclose(loss, found[0][0], rtol=1e-12)
        np.testing.assert_allclose(theta, found[0][1], rtol=1e-10)


def test_rows_without_weight_are_no_step():
    w = np.zeros(N)
    w[:12] = 1
    found = both([dp.Dense(3)], "huber", POSITIVE, sample_weight=w, shuffle=False)
    agree(found)
    assert found[1][1].progress.step == 4


def test_theta_that_somebody_changes_between_epochs_counts():
    def halve(event):
        event.network.theta[...] *= 0.5

    agree(both([dp.Dense(5, "tanh"), dp.Dense(3)], "huber", POSITIVE, callbacks=[halve],
               max_epochs=4))  # fmt: skip


def test_the_best_theta_is_put_back():
    agree(both([dp.Dense(5, "tanh"), dp.Dense(3)], "huber", POSITIVE, validation=0.3,
               solver=dp.SGD(0.3), max_epochs=6))  # fmt: skip


def test_records_are_taken_at_their_steps():
    found = both([dp.Dense(5, "tanh"), dp.Dense(3)], "huber", POSITIVE,
                 record=dp.Record(every=2, arrays=True))  # fmt: skip
    agree(found)
    one, two = (history.records for _, history in found)
    assert [r.step for r in one] == [r.step for r in two] == [0, 2, 4, 6]
    for ours, theirs in zip(one, two, strict=True):
        np.testing.assert_allclose(ours.theta, theirs.theta, rtol=1e-10)


@pytest.mark.parametrize("engines", [("xla", "reference"), ("reference", "xla"), ("xla", "fused"),
                                     ("fused", "xla"), ("xla", "xla")])  # fmt: skip
def test_a_search_goes_on_in_another_engine(engines):
    thetas = []
    for first, second in (("reference", "reference"), engines):
        net = dp.Network(4, [dp.Dense(5, "tanh", 0.3), dp.Dense(3, "softmax")],
                         loss="cross_entropy", seed=0)  # fmt: skip
        fit = {"max_epochs": 2, "patience": np.inf, "batch_size": 10}
        part = dp.fit(net, X, CLASSES, engine=first, **fit)
        dp.fit(net, X, CLASSES, engine=second, resume=part, **fit)
        thetas.append(net.theta)
    np.testing.assert_allclose(thetas[1], thetas[0], rtol=1e-9, atol=1e-12)


def test_rows_and_a_subset_of_them():
    agree(both([dp.Dense(3)], "huber", POSITIVE, rows=[1, 5, 5, 9, 20, 2], batch_size=4,
               sample_weight=WEIGHTS))  # fmt: skip


@pytest.mark.parametrize("source", ["float16", "uint8", "int64", "float32"])
def test_narrow_rows_are_widened_batch_by_batch(source):
    given = (rng.rand(N, 4) * 5).astype(source)
    agree(both([dp.Dense(5, "tanh"), dp.Dense(3)], "huber", POSITIVE, X=given))


def test_sparse_rows():
    big = sp.random(N, 50, density=0.1, format="csr", random_state=0)
    layers = [dp.Dense(6, "relu"), dp.Dense(3, "softmax")]
    agree(both(layers, "cross_entropy", CLASSES, X=big))
    agree(both(layers, "cross_entropy", CLASSES, X=big, solver=dp.LBFGS(), max_epochs=5), 1e-6)


def test_one_s_own_functions_of_any_kind():
    def rows_share(a, z, xp):
        return xp.broadcast_to(xp.eye(a.shape[1]) + 1, (*a.shape, a.shape[1]))

    coupled = dp.Activation("plus_sum", lambda a, xp: a + xp.sum(a, axis=1, keepdims=True),
                            rows_share, coupling="row")  # fmt: skip
    fourth = dp.Loss("fourth", lambda t, o, xp, k: k * (o - t) ** 4,
                     lambda t, o, xp, k: 4 * k * (o - t) ** 3, params={"k": 0.5})  # fmt: skip
    agree(both([dp.Dense(5, coupled), dp.Dense(3)], fourth, POSITIVE))


@pytest.mark.parametrize("reduction", ["sum", "mean", "sklearn"])
def test_lbfgs(reduction):
    layers = [dp.Dense(5, "tanh"), dp.Dense(3, "softmax")]
    gradients_agree(layers, "cross_entropy", CLASSES, reduction=reduction)
    agree(both(layers, "cross_entropy", CLASSES, network={"reduction": reduction},
               solver=dp.LBFGS(), max_epochs=10), 1e-6)  # fmt: skip


def test_estimators_take_it():
    for engine in ("xla", dp.Xla()):
        ours = dp.MLPClassifier(max_iter=3, random_state=0, engine=engine).fit(X, CLASSES)
        reference = dp.MLPClassifier(max_iter=3, random_state=0, engine="reference")
        reference.fit(X, CLASSES)
        np.testing.assert_allclose(ours.loss_curve_, reference.loss_curve_, rtol=1e-10)


def test_its_settings_are_cloned_and_saved(tmp_path):
    model = clone(dp.MLPClassifier(max_iter=2, engine=dp.Xla("bfloat16", devices=1)))
    dp.save(model.fit(X, CLASSES), tmp_path / "model.dp")
    assert dp.load(tmp_path / "model.dp").engine == dp.Xla("bfloat16", devices=1)


def test_searches_of_one_kind_are_compiled_once():
    import jax

    from deltaprop.engines.xla import steps

    layers = [dp.Dense(9, "tanh"), dp.Dense(3)]
    both(layers, "huber", POSITIVE, engines=["xla"])
    compiled, setting = steps.run._cache_size(), jax.config.jax_enable_x64
    both(layers, "huber", POSITIVE, engines=["xla"], max_epochs=4)
    assert steps.run._cache_size() == compiled
    assert jax.config.jax_enable_x64 == setting  # the user's


def test_bfloat16_trains_with_float32_parameters():
    layers = [dp.Dense(16, "relu", 0.1), dp.Dense(16, "gelu"), dp.Dense(3, "softmax")]
    engines = "reference", dp.Xla("bfloat16")
    found = both(layers, "cross_entropy", CLASSES, "float32", engines=engines, max_epochs=5)
    (reference, one), (net, two) = found
    assert net.theta.dtype == np.float32
    np.testing.assert_allclose(two.loss_curve, one.loss_curve, rtol=0.02)
    np.testing.assert_allclose(net.theta, reference.theta, atol=0.05)
    assert (net.theta != reference.theta).any()


def test_what_it_does_not_take_is_named():
    with pytest.raises(ValueError, match="dtype of Xla must be None or 'bfloat16', got 'int8'"):
        dp.Xla(dtype="int8")
    with pytest.raises(ValueError, match="devices of Xla must be an int >= 1 or None, got 0"):
        dp.Xla(devices=0)
    with pytest.raises(ValueError, match="devices of Xla is 99, but this process has 1"):
        dp.fit(dp.Network(4, [dp.Dense(3)], loss="huber"), X, POSITIVE, engine=dp.Xla(devices=99))
    with pytest.raises(ValueError, match=r"engine must be one of .*, xla or a deltaprop.Xla"):
        dp.fit(dp.Network(4, [dp.Dense(3)], loss="huber"), X, POSITIVE, engine="tpu")
    with pytest.raises(ValueError, match="shard_parameters of Xla is True, but the solver needs"):
        dp.fit(dp.Network(4, [dp.Dense(3)], loss="huber"), X, POSITIVE, solver=dp.KFAC(),
               engine=dp.Xla(shard_parameters=True))  # fmt: skip


def test_without_jax_it_says_what_to_install():
    code = """
        import sys
        sys.modules["jax"] = None
        import deltaprop as dp
        net = dp.Network(1, [dp.Dense(1)], loss="huber")
        try:
            dp.fit(net, [[1.0]], [1.0], engine="xla")
        except ImportError as error:
            print('"' + str(error).replace('"', "'") + '"')
    """
    assert "pip install 'deltaprop[gpu]'" in finished(started(code))


# ---------------------------------------------------------------- devices and processes


SEARCH = """
    import json, os
    import numpy as np
    import deltaprop as dp
    from deltaprop.engines import xla

    rng = np.random.RandomState(0)
    X, y, w = rng.randn(52, 4), rng.randint(0, 3, 52), rng.rand(52)

    def thetas(rows, batch_size, engine="xla"):
        '''θ in hexadecimal and the losses: each reduction, and L-BFGS.'''
        found = []
        for reduction, solver in (("sum", dp.AdamW(0.01)), ("mean", dp.AdamW(0.01)),
                                  ("sklearn", dp.AdamW(0.01)), ("sklearn", dp.LBFGS())):
            dropout = 0.0 if isinstance(solver, dp.LBFGS) else 0.3
            net = dp.Network(4, [dp.Dense(7, "tanh", dropout), dp.Dense(3, "softmax")],
                             loss="cross_entropy", l2=0.1, reduction=reduction, seed=0)
            history = dp.fit(
                net, X[rows], y[rows], sample_weight=w[rows], solver=solver, engine=engine,
                batch_size=batch_size, max_epochs=3, shuffle=False, clip_norm=1.0)
            found.append([net.theta.tobytes().hex(), history.loss_curve])
        return found
"""


LAUNCHERS = ["OMPI_COMM_WORLD_SIZE OMPI_COMM_WORLD_RANK", "PMI_SIZE PMI_RANK",
             "JAX_NUM_PROCESSES JAX_PROCESS_ID", "SLURM_STEP_NUM_TASKS SLURM_PROCID"]  # fmt: skip


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_a_launcher_says_how_many_and_which(launcher, monkeypatch):
    from deltaprop.engines.xla import processes

    said = {}
    monkeypatch.setattr(processes.jax.distributed, "initialize",
                        lambda *args: said.update(args=args))  # fmt: skip
    for name, value in zip(launcher.split(), "10", strict=True):
        monkeypatch.setenv(name, value)
    processes.connect("127.0.0.1:1")
    assert said["args"] == ("127.0.0.1:1", 1, 0)


def close(one, other):
    for (theta, curve), (reference, expected) in zip(one, other, strict=True):
        theta, reference = (np.frombuffer(bytes.fromhex(t)) for t in (theta, reference))
        np.testing.assert_allclose(theta, reference, rtol=1e-8, atol=1e-10)
        np.testing.assert_allclose(curve, expected, rtol=1e-9)


@pytest.mark.slow  # a process of its own, in which XLA compiles
def test_devices_of_one_process_share_each_batch():
    """Eight of them, and a batch that they cannot share evenly."""
    eight = """
    import jax

    assert len(jax.devices()) == 8
    rows = slice(None)
    print(json.dumps([thetas(rows, 20), thetas(rows, 20, dp.Xla(devices=1)),
                      thetas(rows, 20, dp.Xla(shard_parameters=True)),
                      thetas(rows, 20, "reference")]))
    """
    many, one, divided, reference = finished(
        started(SEARCH + eight, XLA_FLAGS="--xla_force_host_platform_device_count=8")
    )
    close(many, one)
    close(many, reference)
    close(many, divided)


def test_divided_parameters_take_each_device_a_part():
    """Bytes that a device holds between epochs: θ, Adam's two memories and what is penalised."""
    eight = """
    import jax

    def held(device):
        everywhere = [a for a in jax.live_arrays() if len(a.sharding.device_set) == 8]
        return sum(part.data.nbytes for array in everywhere
                   for part in array.addressable_shards if part.device == device)

    found = []
    for divided in (False, True):
        net = dp.Network(4, [dp.Dense(501), dp.Dense(3, "softmax")], loss="cross_entropy", seed=0)
        most = []
        dp.fit(net, X, y, engine=dp.Xla(shard_parameters=divided), max_epochs=2,
               callbacks=[lambda e: most.append(max(map(held, jax.devices())))])
        found.append([net.theta.tobytes().hex(), most[-1], net.theta.nbytes])
    print(json.dumps(found))
    """
    whole, part = finished(
        started(SEARCH + eight, XLA_FLAGS="--xla_force_host_platform_device_count=8")
    )
    theta, other = (np.frombuffer(bytes.fromhex(run[0])) for run in (whole, part))
    np.testing.assert_allclose(theta, other, rtol=1e-9, atol=1e-12)
    rows = 52 * (4 + 1) * 8
    assert 4 * whole[2] <= whole[1] <= 4 * whole[2] + 2 * rows
    assert part[1] <= 4 * whole[2] / 8 + 2 * rows


@pytest.mark.slow  # two processes, in which XLA compiles
@pytest.mark.parametrize("devices", [1, 3])
def test_processes_train_one_network(devices):
    """Each with its own rows: the same bits in both, and what one process gives for their union."""
    each = """
    import jax

    rank = int(os.environ["RANK"])
    xla.connect(os.environ["ADDRESS"], 2, rank)
    assert jax.process_count() == 2
    own = slice(26 * rank, 26 * rank + 26)
    engines = ["xla", dp.Xla(shard_parameters=True)][: jax.local_device_count()]
    print(json.dumps([thetas(own, 10, engine) for engine in engines]))
    """
    alone = """
    batches = np.split(np.arange(26), [10, 20])
    print(json.dumps(thetas(np.concatenate([r for b in batches for r in (b, b + 26)]), 20)))
    """
    flags = f"--xla_force_host_platform_device_count={devices}"
    first, second = map(finished, two(SEARCH + each, XLA_FLAGS=flags))
    assert first == second
    expected = finished(started(SEARCH + alone))
    for found in first:
        close(found, expected)


class Part:
    """What one of two processes gets of a stream."""

    def __init__(self, rank):
        self._rank = rank

    def part(self):
        return engines.get("reference"), self._rank, 2


@pytest.mark.slow  # two processes, in which XLA compiles
@pytest.mark.parametrize("memory", [10**4, 10**6])
def test_processes_read_a_stream_once(memory, tmp_path):
    """Each its half of every epoch: what one process gives for their batches put together."""
    rng, N = np.random.RandomState(0), 4001
    frame = pd.DataFrame(rng.randn(N, 4), columns=list("abcd")).assign(y=rng.randint(0, 3, N))
    frame.to_parquet(tmp_path / "rows.parquet", row_group_size=150)
    code = """
    from dataclasses import replace
    from deltaprop.tables import stream

    xla.connect(os.environ["ADDRESS"], 2, int(os.environ["RANK"]))
    rows = replace(stream("rows.parquet", "y"), memory=int(os.environ["MEMORY"]))
    net = dp.Network(4, [dp.Dense(7, "tanh", 0.3), dp.Dense(3, "softmax")],
                     loss="cross_entropy", l2=0.1, seed=0)
    history = dp.fit(net, rows, engine=dp.Xla(shared_rows=True), batch_size=63, max_epochs=2,
                     seed=3, tol=0, checkpoint="run")
    print(json.dumps([[net.theta.tobytes().hex(), history.loss_curve]]))
    """
    with contextlib.chdir(tmp_path):
        first, second = map(finished, two(SEARCH + code, MEMORY=str(memory)))
    assert first == second
    rows = replace(stream(tmp_path / "rows.parquet", "y"), memory=memory)
    net = dp.Network(4, [dp.Dense(7, "tanh", 0.3), dp.Dense(3, "softmax")],
                     loss="cross_entropy", l2=0.1, seed=0)  # fmt: skip
    parts = [trainer(Part(rank), net, rows, batch_size=63) for rank in (0, 1)]
    assert (parts[0].chunk_rows == N // 2) == (memory == 10**6)
    seeds, curve = np.random.RandomState(3), []
    state = TrainingState(dropout_seed=int(seeds.randint(2**31 - 1)))
    reference = trainer(
        "reference", net, frame[list("abcd")].to_numpy(), frame["y"].to_numpy(),
        batch_size=64, state=state, rows_per_epoch=N - 1,
    )  # fmt: skip
    reference.n_samples = N - 1
    for _ in range(2):
        seed = np.array([seeds.randint(2**31 - 1)])
        halves = [part.row_order(seed) for part in parts]
        assert len(set(np.concatenate(halves))) == N - 1
        batches = [half[i : i + 32] for i in range(0, N // 2, 32) for half in halves]
        curve.append(run_epoch(reference, np.concatenate(batches), np.full(63, 1e-3)))
    close(first, [[net.theta.tobytes().hex(), curve]])
    with pytest.warns(UserWarning, match="processes is 1, was 2: the epoch is started over"):
        dp.fit(net, rows, engine=dp.Xla(shared_rows=True), batch_size=63, max_epochs=3, seed=3,
               tol=0, checkpoint=tmp_path / "run")  # fmt: skip


def test_processes_that_disagree_are_told():
    code = """
    rank = int(os.environ["RANK"])
    xla.connect(os.environ["ADDRESS"], 2, rank)
    net = dp.Network(4, [dp.Dense(3)], loss="huber", seed=rank)
    try:
        dp.fit(net, X, rng.rand(52, 3), engine="xla")
    except ValueError as error:
        print(json.dumps(str(error)))
    """
    for process in two(SEARCH + code):
        assert "theta must be the same in all 2 processes" in finished(process)


@pytest.mark.slow  # two processes, in which XLA compiles
def test_processes_that_are_given_the_same_rows_take_them_in_one_order():
    code = """
    rank = int(os.environ["RANK"])
    xla.connect(os.environ["ADDRESS"], 2, rank)
    net = dp.Network(4, [dp.Dense(3)], loss="huber", seed=0)
    try:
        dp.fit(net, X, rng.rand(52, 3), engine=dp.Xla(shared_rows=True), seed=None)
    except ValueError as error:
        print(json.dumps(str(error)))
    """
    for process in two(SEARCH + code):
        assert "seed, or random_state, must be the same in all 2" in finished(process)


@pytest.mark.slow  # two processes, in which XLA compiles
def test_processes_stop_together():
    """Each validates on rows of its own: what decides is the mean."""
    code = """
    rank = int(os.environ["RANK"])
    os.environ |= {"JAX_COORDINATOR_ADDRESS": os.environ["ADDRESS"],
                   "OMPI_COMM_WORLD_SIZE": "2", "OMPI_COMM_WORLD_RANK": str(rank)}
    xla.connect()
    net = dp.Network(4, [dp.Dense(9, "tanh"), dp.Dense(3)], loss="huber", seed=0)
    rng = np.random.RandomState(rank)
    history = dp.fit(net, X, rng.rand(52, 3), engine="xla", validation=0.3, batch_size=10,
                     solver=dp.Adam(0.05), max_epochs=100, patience=2, seed=rank,
                     scorer=lambda net, X, y: -net.loss(X, y))
    print(json.dumps([net.theta.tobytes().hex(), history.validation_scores, history.n_epochs]))
    """
    first, second = map(finished, two(SEARCH + code))
    assert first == second
    assert first[-1] < 100


@pytest.mark.slow  # two processes, in which XLA compiles
def test_no_process_trains_alone_in_silence():
    launched = """
    import warnings
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        dp.fit(dp.Network(4, [dp.Dense(1)], loss="huber"), X, w, engine="xla", max_epochs=1)
    print(json.dumps(str(caught[0].message)))
    """
    said = finished(started(SEARCH + launched, OMPI_COMM_WORLD_SIZE="4", OMPI_COMM_WORLD_RANK="1"))
    assert "one of 4 that were launched together, but it trains alone" in said
    late = """
    import jax
    jax.devices()
    try:
        xla.connect("127.0.0.1:1", 2, 0)
    except RuntimeError as error:
        print(json.dumps(str(error)))
    """
    assert finished(started(SEARCH + late))
    unknown = """
    try:
        xla.connect()
    except ValueError as error:
        print(json.dumps(str(error)))
    """
    assert "Give all three, or start the processes with srun" in finished(started(SEARCH + unknown))
