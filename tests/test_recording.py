"""record=: the search's signals at chosen steps, the same in every engine, and θ untouched."""

import pickle

import numpy as np
import pytest

import deltaprop as dp
from deltaprop.training import recording

ENGINES = ("reference", "fused")
rng = np.random.default_rng(0)
X = rng.normal(size=(150, 4))
y = (X[:, 0] + X[:, 1] ** 2 > 0.5).astype(int)


def run(engine, record, **search):
    net = dp.Network(4, [dp.Dense(8, "tanh"), dp.Dense(6, "relu"), dp.Dense(2, "softmax")],
                     loss="cross_entropy", l2=1e-3, seed=0)  # fmt: skip
    settings = {"solver": dp.Adam(0.01), "batch_size": 32, "max_epochs": 60, **search}
    return net, dp.fit(net, X, y, engine=engine, record=record, **settings)


@pytest.mark.parametrize("search", [
    {}, {"clip_norm": 0.5, "validation": 0.2}, {"sample_weight": np.arange(150) % 3},
    {"solver": dp.SGD(0.01), "schedule": dp.schedules.Cosine(), "rows": np.arange(0, 150, 2)},
], ids=["plain", "watched", "weighted", "rows"])  # fmt: skip
def test_engines_record_the_same(search):
    (_, slow), (_, fast) = (run(engine, 25, **search) for engine in ENGINES)
    assert len(slow.records) == len(fast.records) > 3
    for a, b in zip(slow.records, fast.records, strict=True):
        assert (a.step, a.epoch) == (b.step, b.epoch)
        assert a.learning_rate == b.learning_rate
        assert a.loss == pytest.approx(b.loss, rel=1e-9)
        one, other = (r.summary.to_frame().drop(columns="activation") for r in (a, b))
        np.testing.assert_allclose(one.to_numpy(float), other.to_numpy(float), 1e-6, 1e-9)


@pytest.mark.parametrize("engine", ENGINES)
def test_recording_changes_nothing(engine):
    (plain, a), (recorded, b) = run(engine, None), run(engine, dp.Record(every=7))
    np.testing.assert_array_equal(plain.theta, recorded.theta)
    assert a.loss_curve == b.loss_curve
    assert a.records == []


@pytest.mark.parametrize("engine", ENGINES)
def test_steps_and_epochs_are_counted(engine):
    _, history = run(engine, dp.Record(steps=[100, 0, 6, 5]))
    assert [(r.step, r.epoch) for r in history.records] == [(0, 0), (5, 1), (6, 2), (100, 20)]
    assert [r.learning_rate for r in history.records] == [None, 0.01, 0.01, 0.01]


@pytest.mark.parametrize("engine", ENGINES)
def test_a_record_is_the_network_at_that_step(engine):
    """Stopping there by other means gives the same θ, trace and loss."""
    _, history = run(engine, dp.Record(every=50, rows=[3, 1, 4]))
    stopped, _ = run(engine, None, max_epochs=20)  # 5 steps an epoch
    then = next(r for r in history.records if r.step == 100)
    np.testing.assert_array_equal(then.theta, stopped.theta)
    trace = stopped.trace(X[[3, 1, 4]], y[[3, 1, 4]])
    for name in ("X", "a", "delta", "dW", "db"):
        for mine, its in zip(getattr(then.trace, name), getattr(trace, name), strict=True):
            np.testing.assert_array_equal(mine, its)
    before = next(r for r in history.records if r.step == 50)
    for l, layer in enumerate(then.summary.layers):
        moved = np.linalg.norm(stopped.W[l] - before.trace.W[l])
        assert layer.update_to_weight == pytest.approx(
            moved / np.linalg.norm(before.trace.W[l]) / 50
        )


def test_epochs_that_are_taken_back_leave_no_records():
    """The fused engine runs ahead; with an adaptive schedule it then goes on with other steps."""
    search = {
        "schedule": dp.schedules.get("adaptive"), "solver": dp.SGD(0.01), "tol": 1e-3,
        "patience": 2, "max_epochs": 400,
    }  # fmt: skip
    (_, slow), (_, fast) = (run(engine, 5, **search) for engine in ENGINES)
    assert slow.n_epochs == fast.n_epochs < 400
    assert [(r.step, r.epoch) for r in slow.records] == [(r.step, r.epoch) for r in fast.records]
    assert [r.learning_rate for r in slow.records] == [r.learning_rate for r in fast.records]
    for a, b in zip(slow.records, fast.records, strict=True):
        np.testing.assert_allclose(a.theta, b.theta, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_resumed_search_goes_on_counting(engine):
    net, history = run(engine, 50, max_epochs=25)
    more = dp.fit(net, X, y, solver=dp.Adam(0.01), batch_size=32, max_epochs=25, engine=engine,
                  resume=history, record=50)  # fmt: skip
    assert [r.step for r in more.records] == [150, 200, 250]
    assert more.records[-1].epoch == 50


def test_lbfgs_records_iterations():
    _, history = run("fused", 10, solver=dp.LBFGS(), max_epochs=30)
    assert [r.step for r in history.records] == [0, 10, 20, 30]
    assert history.records[-1].loss < history.records[0].loss


def test_arrays_beyond_the_limit_go_but_their_summaries_stay(monkeypatch):
    _, kept = run("fused", 25)
    monkeypatch.setattr(recording, "KEPT_BYTES", 3 * kept.records[0].theta.nbytes)
    _, history = run("fused", 25)
    for a, b in zip(history.records, kept.records, strict=True):
        assert a.loss == b.loss
        assert str(a.summary) == str(b.summary)
    assert history.records[2].trace.loss == kept.records[2].trace.loss
    with pytest.raises(ValueError, match=r"arrays=True"):
        _ = history.records[3].theta
    _, everything = run("fused", dp.Record(25, arrays=True))
    assert everything.records[-1].trace.loss == kept.records[-1].trace.loss


def test_records_can_be_pickled():
    _, history = run("fused", 100)
    again = pickle.loads(pickle.dumps(history))
    assert str(again.records[-1].summary) == str(history.records[-1].summary)


@pytest.mark.parametrize(("make", "words"), [
    (lambda: dp.Record(every=0), ("every", "0")),
    (lambda: dp.Record(steps=[1.5]), ("steps", "1.5")),
    (lambda: dp.Record(rows=[]), ("rows",)),
    (lambda: dp.Record(rows=[-1]), ("rows", "-1")),
    (lambda: dp.Record(arrays="yes"), ("arrays", "yes")),
    (lambda: run("fused", "often"), ("record", "often", "dp.Record")),
    (lambda: run("fused", True), ("record", "True")),
    (lambda: run("fused", dp.Record(rows=[150])), ("rows", "149", "150")),
])  # fmt: skip
def test_bad_records_are_named(make, words):
    with pytest.raises((TypeError, ValueError)) as caught:
        make()
    assert all(word in str(caught.value) for word in words)


@pytest.mark.parametrize("kind", [dp.MLPClassifier, dp.TabularClassifier])
def test_estimators_record(kind, tmp_path):
    model = kind(max_iter=20, batch_size=50, random_state=0, record=dp.Record(10)).fit(X, y)
    records = getattr(model, "mlp_", model).records_
    assert [r.step for r in records][:3] == [0, 10, 20]
    assert records[-1].summary.layers[0].update_to_weight > 0
    dp.save(model, tmp_path / "model.dp")
    assert (dp.load(tmp_path / "model.dp").predict(X) == model.predict(X)).all()


def test_estimators_name_a_bad_record():
    with pytest.raises(ValueError, match="record"):
        dp.MLPClassifier(record="often").fit(X, y)
