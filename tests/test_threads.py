"""How threads share the steps of the fused engine, and what happens on busy machines."""

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager

import numpy as np
import pytest
import scipy.sparse

import deltaprop as dp
from deltaprop.derivation import equations
from deltaprop.engines.fused import constants, layout, processors, threads
from deltaprop.engines.fused.frame import Frame
from deltaprop.engines.fused.prediction import predict

RNG = np.random.default_rng(0)
X, y = RNG.standard_normal((700, 40)), RNG.integers(0, 3, 700)
TWO = pytest.mark.skipif(
    not hasattr(os, "sched_setaffinity") or processors.allowed() < 2,
    reason="needs two processors to which threads can be bound",
)


@pytest.fixture
def crew(monkeypatch):
    """A new crew, while processors are idle."""
    new = threads.Crew()
    monkeypatch.setattr("deltaprop.engines.fused.frame.CREW", new)
    monkeypatch.setattr(processors, "any_idle", lambda: True)
    monkeypatch.setattr(processors, "crowded", lambda: False)
    return new


@pytest.fixture
def eager(crew, monkeypatch):
    """Assistants that need no audition and always come back, up to three."""
    monkeypatch.setattr(threads.Assistant, "is_trusted", property(lambda self: True))
    monkeypatch.setattr(threads.Assistant, "is_due", property(lambda self: True))
    monkeypatch.setattr(processors, "allowed", lambda: 4)


@pytest.fixture
def alone(monkeypatch):
    """No assistants at all."""
    monkeypatch.setattr(threads.Crew, "begin", lambda self, frame: None)
    monkeypatch.setattr(threads.Crew, "end", lambda self, frame: None)


def network(dtype="float64", dropout=0.0, **settings):
    layers = [dp.Dense(64, "tanh", dropout=dropout), dp.Dense(48, "relu"), dp.Dense(3, "softmax")]
    return dp.Network(40, layers, loss="cross_entropy", dtype=dtype, seed=0, **settings)


def trained(net, rows=X, epochs=20, n_threads=4, **settings):
    """θ after training with that many threads at most, and the assistants' numbers of parts."""
    frames = []
    begin = threads.Crew.begin

    def noting(self, frame):
        frames.append(frame)
        begin(self, frame)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(threads.Crew, "begin", noting)
        dp.fit(
            net, rows, y, batch_size=350, max_epochs=epochs, tol=0, patience=np.inf, seed=0,
            engine="fused", n_threads=n_threads, **settings,
        )  # fmt: skip
    slots = range(1, frames[0].n_threads)
    parts = sum(int(f.sync[f.slot(k) + constants.PARTS]) for f in {*frames} for k in slots)
    return net.theta.copy(), parts


def assisted(new, *args, **settings):
    """θ of a new network that assistants have helped to train: they may come late."""
    for _ in range(100):
        theta, parts = trained(new(), *args, **settings)
        if parts:
            return theta
    raise AssertionError("no assistant ever computed a part")


CASES = {
    "adam": ({}, {"solver": dp.Adam(0.01)}),
    "clipped": ({}, {"solver": dp.SGD(0.01, momentum=0.9), "clip_norm": 0.5}),
    "penalty": ({"l2": 0.1, "reduction": "mean"}, {"solver": dp.AdamW(0.01)}),
    "dropout": ({"dropout": 0.3}, {"solver": dp.Adam(0.01)}),
    "float32": ({"dtype": "float32"}, {"solver": dp.Adam(0.01)}),
    "all rows": ({}, {"solver": dp.LBFGS()}),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("reproducible", [False, True])
def test_bits_do_not_depend_on_who_assists(case, reproducible, eager, monkeypatch):
    of, how = CASES[case]
    shared = assisted(lambda: network(**of), reproducible=reproducible, **how)
    monkeypatch.setattr(processors, "allowed", lambda: 1)
    single, parts = trained(network(**of), reproducible=reproducible, **how)
    assert parts == 0
    np.testing.assert_array_equal(shared, single)
    if reproducible:
        one, _ = trained(network(**of), reproducible=True, n_threads=1, **how)
        np.testing.assert_array_equal(shared, one)


def test_bits_do_not_depend_on_when_assistants_leave(crew, eager, monkeypatch):
    expected, _ = trained(network(), epochs=60, solver=dp.Adam(0.01))
    stop, dismissed = threading.Event(), []

    def disturb():
        while not stop.is_set():
            for assistant in crew._assistants:
                assistant.leave()
                dismissed.append(assistant)
            time.sleep(0.001)

    monkeypatch.setattr("deltaprop.engines.fused.trainer.SECONDS_PER_CALL", 0.002)
    disturber = threading.Thread(target=disturb)
    disturber.start()
    try:
        found = assisted(network, epochs=60, solver=dp.Adam(0.01))
    finally:
        stop.set()
        disturber.join()
    assert dismissed
    np.testing.assert_array_equal(found, expected)


def test_sparse_rows_are_shared(eager, monkeypatch):
    rows = scipy.sparse.random(700, 40, 0.2, "csr", rng=np.random.default_rng(0))
    shared = assisted(network, rows, solver=dp.Adam(0.01))
    monkeypatch.setattr(processors, "allowed", lambda: 1)
    np.testing.assert_array_equal(shared, trained(network(), rows, solver=dp.Adam(0.01))[0])


def test_predictions_are_shared(eager, monkeypatch):
    net = dp.Network(40, [dp.Dense(300, "tanh"), dp.Dense(300, "tanh"), dp.Dense(2)],
                     loss="squared_error", seed=0)  # fmt: skip
    many = RNG.standard_normal((20_000, 40))
    shared = predict(net, many, 4)
    monkeypatch.setattr(processors, "allowed", lambda: 1)
    np.testing.assert_array_equal(shared, predict(net, many, 4))
    expected = equations.forward(many[::999], net.W, net.b, net.f)[0][-1]
    np.testing.assert_allclose(shared[::999], expected, rtol=1e-10)


def test_the_leader_does_not_wait_for_a_thread_that_never_runs(alone, monkeypatch):
    """A trusted assistant without a processor: with a barrier, this would never end."""
    begin = Frame.run

    def run(frame):
        for k in range(1, frame.n_threads):
            frame.sync[frame.slot(k) + constants.STATE] = constants.TRUSTED
        begin(frame)

    monkeypatch.setattr(Frame, "run", run)
    net = network()
    dp.fit(net, X, y, batch_size=350, max_epochs=5, engine="fused", n_threads=4)
    assert np.isfinite(net.theta).all()


# ---------------------------------------------------------------- busy machines


@contextmanager
def busy(processor, n=1):
    """n busy processes on one processor."""
    code = (
        f"import os\nos.sched_setaffinity(0, {{{processor}}})\nprint(flush=True)\nwhile True: pass"
    )
    hogs = [
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) for _ in range(n)
    ]
    try:
        for hog in hogs:
            hog.stdout.readline()
        yield
    finally:
        for hog in hogs:
            hog.kill()
            hog.communicate()


def states_on_a_busy_processor(monkeypatch, hogs):
    """The states in which an assistant leaves whose processor other processes need."""
    first, second = sorted(os.sched_getaffinity(0))[:2]
    enter, left = Frame.enter, []

    def pinned(frame, k):
        if k == 0:
            return enter(frame, k)
        os.sched_setaffinity(0, {second})  # of this thread
        enter(frame, k)
        state = int(frame.sync[frame.slot(k) + constants.STATE])
        if state != constants.DISMISSED:  # that is: called to the frame of the next fit
            left.append(state)

    monkeypatch.setattr(Frame, "enter", pinned)
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {first})
    monkeypatch.setattr(processors, "allowed", lambda: 2)
    try:
        with busy(second, hogs):
            ends = time.monotonic() + 20
            while not left and time.monotonic() < ends:
                trained(network(), epochs=100, n_threads=2, solver=dp.Adam(0.01))
    finally:
        os.sched_setaffinity(0, allowed)
    return left


@TWO
def test_an_assistant_on_a_busy_processor_fails_its_audition(crew, monkeypatch):
    assert states_on_a_busy_processor(monkeypatch, 2)[0] == constants.FAILED


@TWO
def test_an_assistant_that_makes_the_leader_wait_is_sent_away(crew, monkeypatch):
    monkeypatch.setattr(threads.Assistant, "is_trusted", property(lambda self: True))
    assert constants.SENT_AWAY in states_on_a_busy_processor(monkeypatch, 3)


# ---------------------------------------------------------------- the crew


class Work:
    """Work to lead, whose assistants stay until they are told to leave."""

    def __init__(self, n_threads, state=None, relievable=False, long=False):
        self.n_threads, self.assistants, self.led = n_threads, {}, False
        self.relievable, self.long = relievable, long
        self.sync = np.zeros(constants.SLOTS + constants.WORDS * n_threads, np.int64)
        self.entered, self.state = [], state

    def slot(self, k):
        return constants.SLOTS + constants.WORDS * k

    def enter(self, k):
        self.entered.append(k)
        state = self.slot(k) + constants.STATE
        if self.state is not None:
            self.sync[state] = self.state
        while self.sync[state] in (constants.INVITED, constants.TRUSTED):
            time.sleep(0.001)


@pytest.fixture
def crowded(crew, monkeypatch):
    """All processors are busy. Returns a list of the answers: the last one is given."""
    answers = [True]
    monkeypatch.setattr(processors, "any_idle", lambda: False)
    monkeypatch.setattr(processors, "crowded", lambda: answers[-1])
    monkeypatch.setattr(processors, "allowed", lambda: 2)
    monkeypatch.setattr(threads, "CHECK", 0.0)
    return answers


def until(condition):
    ends = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < ends
        time.sleep(0.001)


def test_there_are_no_more_threads_than_processors(crew, monkeypatch):
    monkeypatch.setattr(processors, "allowed", lambda: 3)
    first, second = Work(8), Work(8)
    crew.begin(first)
    until(lambda: sorted(first.entered) == [1, 2])
    crew.begin(second)  # two leaders and two assistants are too many
    until(lambda: len(first.assistants) == 1)
    assert not second.entered
    crew.end(first)
    crew.end(second)
    crew.begin(second)  # the assistant that stayed with `first` comes over
    until(lambda: len(second.entered) == 2)
    until(lambda: not first.assistants)
    crew.end(second)
    for assistant in crew._assistants:
        assistant.leave()


def test_an_assistant_comes_back_later_after_each_setback(crew, monkeypatch):
    clock = [100.0]
    monkeypatch.setattr(threads.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(processors, "allowed", lambda: 2)
    waits = []
    for _ in range(8):
        work, began = Work(2, constants.FAILED), clock[0]
        while not work.entered:
            crew.begin(work)
            if work.assistants:
                for _ in range(10_000):
                    if not work.assistants:
                        break
                    time.sleep(0.001)
            crew.end(work)
            clock[0] += 0.05
        waits.append(clock[0] - began)
    assert waits[0] < 0.1
    assert np.all(np.diff(waits[1:6]) > 0)
    assert waits[-1] == pytest.approx(threads.LAST_RETRY, abs=0.2)


def test_nobody_auditions_while_no_processor_is_idle(crew, monkeypatch):
    monkeypatch.setattr(processors, "allowed", lambda: 2)
    monkeypatch.setattr(processors, "any_idle", lambda: False)
    work = Work(2)
    crew.begin(work)
    crew.end(work)
    assert not work.assistants
    monkeypatch.setattr(threads.Assistant, "is_trusted", property(lambda self: True))
    time.sleep(threads.FIRST_RETRY + 0.01)
    crew.begin(work)  # an assistant that is trusted needs no audition
    assert work.assistants
    crew.end(work)
    crew._assistants[0].leave()


def test_idle_processors(monkeypatch, tmp_path):
    monkeypatch.setattr(processors, "LOAD", tmp_path / "loadavg")
    assert processors.any_idle()  # unknown
    assert not processors.crowded()
    monkeypatch.setattr(processors.os, "cpu_count", lambda: 4)
    for running, idle, crowded in ((3, True, False), (4, False, False), (9, False, True)):
        (tmp_path / "loadavg").write_text(f"0.08 1.15 1.75 {running}/79 15580\n")
        assert processors.any_idle() is idle
        assert processors.crowded() is crowded


def test_models_that_train_at_once_do_not_share(crew, monkeypatch):
    monkeypatch.setattr(processors, "allowed", lambda: 2)
    nets, most = [network() for _ in range(2)], []
    begin = threads.Crew.begin

    def noting(self, frame):
        begin(self, frame)
        with self.lock:
            staying = [a for a in self._assistants if a.frame is not None and a.frame.led]
            dismissed = [
                a for a in staying
                if a.frame.sync[a.frame.slot(a._k) + constants.STATE] == constants.DISMISSED
            ]  # fmt: skip
            most.append(self._leaders + len(staying) - len(dismissed))

    monkeypatch.setattr(threads.Crew, "begin", noting)
    jobs = [
        threading.Thread(
            target=dp.fit, args=(net, X, y),
            kwargs={"max_epochs": 200, "batch_size": 350, "engine": "fused", "tol": 0},
        )
        for net in nets
    ]  # fmt: skip
    for job in jobs:
        job.start()
    for job in jobs:
        job.join()
    assert max(most) <= 2


# ---------------------------------------------------------------- the relief


def relieved(new, *args, **settings):
    """θ of a new network whose training a relief has shared: it may come late."""
    for _ in range(100):
        shifts = []
        enter = Frame.enter

        def noting(frame, k, enter=enter, shifts=shifts):
            enter(frame, k)
            if k > 0:
                shifts.append(int(frame.sync[frame.slot(k) + constants.ENDS]))

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Frame, "enter", noting)
            theta, _ = trained(new(), *args, n_threads=2, **settings)
            until(lambda: not threads_in_frames())
        if any(shifts):
            return theta
    raise AssertionError("no relief ever began a shift")


def threads_in_frames():
    """The assistants that have not left their frame."""
    from deltaprop.engines.fused import frame

    return [each for each in frame.CREW._assistants if each.frame is not None]


def wide():
    """A network whose steps take longer than a shift."""
    layers = [dp.Dense(500, "tanh"), dp.Dense(500, "relu"), dp.Dense(3, "softmax")]
    return dp.Network(40, layers, loss="cross_entropy", seed=0)


LINUX = pytest.mark.skipif(sys.platform != "linux", reason="threads are relieved on Linux only")
RELIEVED = {name: (network, of, {"epochs": 300, **how}) for name, (of, how) in CASES.items()}
RELIEVED["wide"] = wide, {}, {"solver": dp.Adam(0.01)}
RELIEVED["all rows"] = wide, {}, {"solver": dp.LBFGS(), "epochs": 5}


@LINUX
@pytest.mark.parametrize("case", RELIEVED)
def test_bits_do_not_depend_on_who_leads(case, crowded):
    make, of, how = RELIEVED[case]
    shared = relieved(lambda: make(**of), **how)
    crowded.append(False)
    single, _ = trained(make(**of), n_threads=2, **how)
    np.testing.assert_array_equal(shared, single)


@LINUX
def test_steps_that_are_too_short_to_share_are_relieved(crowded):
    def small():
        return dp.Network(40, [dp.Dense(4, "tanh"), dp.Dense(3, "softmax")],
                          loss="cross_entropy", seed=0)  # fmt: skip

    how = {"epochs": 2000, "solver": dp.Adam(0.01)}
    shared = relieved(small, **how)
    np.testing.assert_array_equal(shared, trained(small(), n_threads=1, **how)[0])


@LINUX
def test_predictions_are_relieved(crowded, crew, monkeypatch):
    net, many = wide(), RNG.standard_normal((30_000, 40))
    frames, begin = [], crew.begin
    monkeypatch.setattr(crew, "begin", lambda frame: (frames.append(frame), begin(frame)))

    def parts():
        return sum(int(f.sync[f.slot(1) + constants.PARTS]) for f in frames)

    for _ in range(100):
        found = predict(net, many, 2)
        if parts():
            break
    assert parts(), "no relief ever computed a part"
    crowded.append(False)
    np.testing.assert_array_equal(found, predict(net, many, 2))


@LINUX
@pytest.mark.parametrize("make", [network, wide])
def test_bits_do_not_depend_on_when_a_relief_leaves(make, crowded, crew):
    how = {"n_threads": 2, "solver": dp.Adam(0.01), "epochs": 100 if make is network else 15}
    crowded.append(False)
    expected, _ = trained(make(), **how)
    crowded.append(True)
    stop, asked = threading.Event(), []

    def disturb():
        while not stop.is_set():
            with crew.lock:
                for assistant in crew._assistants:
                    if assistant.relieves:
                        assistant.leave()
                        asked.append(assistant)
            time.sleep(0.001)

    disturber = threading.Thread(target=disturb)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("deltaprop.engines.fused.trainer.SECONDS_PER_CALL", 0.005)
        disturber.start()
        try:
            for _ in range(5):
                np.testing.assert_array_equal(trained(make(), **how)[0], expected)
        finally:
            stop.set()
            disturber.join()
    assert asked


def test_long_steps_need_no_idle_processor_and_no_audition(crowded, crew):
    work = Work(2, long=True)
    crew.begin(work)
    assert list(work.assistants) == [1]
    assert work.sync[work.slot(1) + constants.STATE] == constants.TRUSTED
    until(lambda: work.entered)
    crew.end(work)
    crew._assistants[0].leave()
    until(lambda: not work.assistants)


@pytest.mark.parametrize(("batch", "long"), [(1024, False), (4096, True), (9000, True)])
def test_steps_are_long_if_a_slab_takes_several_time_slices(batch, long):
    net = dp.Network(
        28, [dp.Dense(512, "relu"), dp.Dense(512, "relu"), dp.Dense(1)], loss="squared_error"
    )
    for room in (
        layout.training_room(net, 1, batch, 2, sparse=False, reproducible=False),
        layout.prediction_room(net, batch, 2, sparse=False),
    ):
        assert (room.long, room.relievable) == (long, not long)
    assert not layout.training_room(net, 1, batch, 1, sparse=False, reproducible=False).long


def test_the_product_with_sparse_rows_does_not_make_steps_long():
    net = dp.Network(10_000, [dp.Dense(128, "relu"), dp.Dense(1)], loss="squared_error")
    for sparse in (False, True):
        for room in (
            layout.training_room(net, 1, 4096, 2, sparse, reproducible=False),
            layout.prediction_room(net, 4096, 2, sparse),
        ):
            assert room.long is not sparse


@LINUX
def test_an_assistant_that_never_arrived_does_not_keep_its_place(crowded, crew):
    inside, gate = threading.Event(), threading.Event()

    class Slow(Work):
        def enter(self, k):
            inside.set()
            gate.wait()

    first, second, third = Slow(2, relievable=True), *(Work(2, relievable=True) for _ in "ab")
    for work in (first, second, third):
        crew.begin(work)
        assert list(work.assistants) == [1]
        assert inside.wait(10)  # otherwise it might come to `second` first
        crew.end(work)
    assert not second.assistants  # it is still in `first`, and on the way to `third`
    gate.set()
    until(lambda: third.entered == [1])
    assert not second.entered


@LINUX
def test_a_leader_works_alone_without_file_descriptors(crowded, crew, monkeypatch):
    def none():
        raise OSError("Too many open files")

    monkeypatch.setattr(os, "pipe", none)
    work = Work(2, relievable=True)
    crew.begin(work)
    crew.end(work)
    assert crew._leaders == 0


@LINUX
def test_a_relief_goes_wherever_it_is_needed(crowded, crew, monkeypatch):
    """Frames come and go, and the machine is crowded at some times only."""
    expected = trained(network(), n_threads=2, solver=dp.Adam(0.01))[0]
    for turn in range(40):
        crowded.append(turn % 3 > 0)
        monkeypatch.setattr(processors, "any_idle", lambda turn=turn: turn % 5 == 0)
        found = trained(network(), n_threads=2, solver=dp.Adam(0.01))[0]
        np.testing.assert_array_equal(found, expected)
    assert len(crew._assistants) == 1


@LINUX
def test_a_relief_leaves_when_it_is_not_needed(crowded, crew):
    relieved(network, epochs=300, solver=dp.Adam(0.01))
    frames = []
    begin = threads.Crew.begin
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(threads.Crew, "begin", lambda self, f: (frames.append(f), begin(self, f)))
        trained(network(), n_threads=2, solver=dp.Adam(0.01))
    until(lambda: not frames[-1].assistants)
    assert frames[-1].sync[frames[-1].slot(1) + constants.STATE] == constants.AWAY


@LINUX
def test_nobody_relieves_a_single_thread_or_several_leaders(crowded, crew):
    trained(network(), n_threads=1, solver=dp.Adam(0.01))
    assert not crew._assistants
    first, second = Work(2, relievable=True), Work(2, relievable=True)
    crowded.append(False)
    crew.begin(first)
    crowded.append(True)
    crew.begin(second)
    assert not second.assistants
    crew.end(first)
    crew.end(second)


@LINUX
def test_an_affinity_mask_survives_the_relief(crowded):
    before = os.sched_getaffinity(0)
    relieved(network, epochs=300, solver=dp.Adam(0.01))
    with busy(min(before), 2):
        relieved(network, epochs=300, solver=dp.Adam(0.01))
    assert os.sched_getaffinity(0) == before


@LINUX
def test_ctrl_c_while_threads_take_turns(crowded):
    net = wide()
    timer = threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    with pytest.warns(UserWarning, match="interrupted"):
        history = dp.fit(
            net, X, y, batch_size=350, max_epochs=10**6, tol=0, patience=np.inf, engine="fused",
            n_threads=2,
        )  # fmt: skip
    assert history.stop_reason == "interrupted"
    assert np.isfinite(net.theta).all()


# ---------------------------------------------------------------- processors


def test_quota_of_control_groups(tmp_path):
    group = tmp_path / "system" / "job"
    group.mkdir(parents=True)
    assert processors.quota_of("0::/system/job\n", tmp_path) is None
    (tmp_path / "system" / "cpu.max").write_text("250000 100000\n")
    (group / "cpu.max").write_text("max 100000\n")
    assert processors.quota_of("0::/system/job\n", tmp_path) == 3  # 2.5, rounded up
    (group / "cpu.max").write_text("50000 100000\n")
    assert processors.quota_of("0::/system/job\n", tmp_path) == 1


@pytest.mark.parametrize("folder", ["cpu,cpuacct", "cpu"])
def test_quota_of_control_groups_of_version_1(tmp_path, folder):
    mount = tmp_path / folder  # in a container, the path is that of the host
    mount.mkdir()
    text = "5:memory:/docker/abc\n4:cpu,cpuacct:/docker/abc\n"
    (mount / "cpu.cfs_period_us").write_text("100000\n")
    (mount / "cpu.cfs_quota_us").write_text("-1\n")
    assert processors.quota_of(text, tmp_path) is None
    (mount / "cpu.cfs_quota_us").write_text("150000\n")
    assert processors.quota_of(text, tmp_path) == 2


@pytest.mark.parametrize(("value", "limit"), [("1", 1), ("1,4", 1), ("", None), ("nonsense", None)])
def test_omp_num_threads(monkeypatch, value, limit):
    monkeypatch.setattr(processors, "allowed", lambda: 8)
    monkeypatch.setattr(processors, "quota", lambda: None)
    monkeypatch.setattr(processors, "_threadpool_limit", lambda: None)
    monkeypatch.setenv("OMP_NUM_THREADS", value)
    assert processors.available() == (limit or 8)


def test_threadpool_limits():
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):
        assert processors.available() == 1


@TWO
def test_affinity_and_quota(monkeypatch):
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert processors.available() == 1
    finally:
        os.sched_setaffinity(0, before)
    monkeypatch.setattr(processors, "quota", lambda: 1)
    assert processors.available() == 1
