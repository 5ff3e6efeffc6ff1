"""Checkpoints: a search that was killed ends in the bits of one that was not; no file is half."""

import errno
import fcntl
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_iris

import deltaprop as dp
from deltaprop.errors import InputError
from deltaprop.files import ModelFileError
from deltaprop.storage import checkpoint_files
from deltaprop.storage.checkpoint_files import Folder
from deltaprop.training import epochs
from deltaprop.training.checkpoint_manager import CheckpointManager

X, y = load_iris(return_X_y=True)
X = (X - X.mean(0)) / X.std(0)
WEIGHTS = np.where(np.arange(150) < 40, 0.0, 1.5)
SEARCHES = {
    "adam": {},
    "input scale": {"solver": dp.AdamW(0.01, input_scale=6.0)},
    "adamw in order": {"solver": dp.AdamW(0.01), "shuffle": False},
    "momentum, one cycle": {"solver": dp.SGD(0.05), "schedule": dp.schedules.OneCycle()},
    "inverse scaling, clipped": {"schedule": dp.schedules.InverseScaling(), "clip_norm": 0.05},
    "adaptive": {
        "schedule": dp.schedules.Adaptive(), "tol": 10.0, "patience": 1, "max_epochs": 9,
    },
    "best of a share": {"validation": 0.3, "solver": dp.Adam(0.3), "max_epochs": 8},
    "stopping early": {"validation": 0.3, "tol": 0.1, "patience": 1, "max_epochs": 30},
    "batches without weight": {"sample_weight": WEIGHTS, "shuffle": False, "batch_size": 20},
    "one step an epoch": {"batch_size": 150, "max_epochs": 20},
    "average": {"ema_decay": 0.95, "solver": dp.Adam(0.05)},
    "best average": {"ema_decay": 0.9, "validation": 0.3, "solver": dp.Adam(0.3), "max_epochs": 8},
}  # fmt: skip


class Killed(BaseException):
    """What kill -9 is to a test: nothing after it runs."""


def small_net(dropout=0.2, dtype="float32", seed=0):
    return dp.Network(
        4, [dp.Dense(7, "tanh", dropout), dp.Dense(3, "softmax")],
        loss="cross_entropy", reduction="mean", dtype=dtype, seed=seed,
    )  # fmt: skip


def names(folder):
    return sorted(file.name for file in folder.iterdir())


def fit(net, folder=None, **settings):
    settings = {"max_epochs": 4, "batch_size": 16, "engine": "reference"} | settings
    if folder is not None:
        every = {name: settings.pop(name) for name in ("seconds", "steps", "keep")
                 if name in settings}  # fmt: skip
        settings["checkpoint"] = dp.Checkpoint(folder, **every)
    return dp.fit(net, X, y, **settings)


def fit_with_kills(folder, monkeypatch, chance, **settings):
    """Start again after every kill, as a cluster would."""
    between_steps, kills = CheckpointManager.between_steps, 0

    def deadly(self):
        between_steps(self)
        if chance.random() < 0.2:
            raise Killed

    monkeypatch.setattr(CheckpointManager, "between_steps", deadly)
    while True:
        net = small_net()
        try:
            history = fit(net, folder, **settings)
            return net, history, kills
        except Killed:
            kills += 1


@pytest.mark.parametrize("engine", ["reference", "fused"])
@pytest.mark.parametrize("name", SEARCHES)
def test_killed_anywhere_it_ends_in_the_same_bits(name, engine, tmp_path, monkeypatch):
    monkeypatch.setattr(epochs, "MOST_STEPS", 3)
    settings = SEARCHES[name] | {"engine": engine}
    plain, undisturbed = small_net(), small_net()
    without = fit(plain, **settings)
    kills = 0
    for i, every in enumerate([{"seconds": 0}, {"seconds": None, "steps": 4}]):
        whole = fit(undisturbed, tmp_path / f"whole{i}", **settings, **every)
        chance = random.Random(f"{name} {engine} {i}")
        net, history, n = fit_with_kills(
            tmp_path / f"killed{i}", monkeypatch, chance, **settings, **every
        )
        monkeypatch.undo()
        monkeypatch.setattr(epochs, "MOST_STEPS", 3)
        kills += n
        np.testing.assert_array_equal(net.theta, plain.theta)
        np.testing.assert_array_equal(undisturbed.theta, plain.theta)
        undisturbed = small_net()
        assert history.loss_curve == whole.loss_curve
        assert history.validation_loss_curve == whole.validation_loss_curve
        assert history.best_epoch == whole.best_epoch == without.best_epoch
        assert history.stop_reason == whole.stop_reason == without.stop_reason
        np.testing.assert_allclose(history.loss_curve, without.loss_curve, rtol=1e-12)
    assert kills > 0


def test_steps_are_exact_and_the_last_few_are_kept(tmp_path):
    at = []

    def write(self, head, state, write=Folder.write):
        at.append(state["under_way"]["done"] + 10 * state["history"]["n_epochs"])
        write(self, head, state)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Folder, "write", write)
        fit(small_net(), tmp_path, max_epochs=3, seconds=None, steps=7, keep=2)
    assert at == [7, 14, 21, 28, 30]  # ten steps an epoch, and the end
    assert names(tmp_path) == ["checkpoint-00000004.dp", "checkpoint-00000005.dp"]


def test_steps_are_exact_where_short_epochs_run_many_at_once(tmp_path, monkeypatch):
    at = []
    monkeypatch.setattr(
        Folder, "write", lambda self, head, state: at.append(state["progress"]["step"])
    )
    settings = {"engine": "fused", "batch_size": 150, "patience": np.inf, "max_epochs": 2500}
    fit(small_net(), tmp_path, seconds=None, steps=700, **settings)
    assert at == [700, 1400, 2100, 2500]


def test_by_time_alone_short_epochs_still_run_many_at_once(tmp_path, monkeypatch):
    from deltaprop.engines.fused.trainer import FusedTrainer

    most, run = [], FusedTrainer.run

    def spy(self, orders, rates, first=0):
        most.append(len(orders))
        return run(self, orders, rates, first)

    monkeypatch.setattr(FusedTrainer, "run", spy)
    fit(small_net(), tmp_path, engine="fused", max_epochs=300, patience=np.inf)
    assert max(most) > 1


def test_a_finished_search_returns_at_once_and_more_epochs_go_on(tmp_path):
    net, again, more, straight = (small_net() for _ in range(4))
    first = fit(net, tmp_path)
    files = names(tmp_path)
    seen = []
    history = fit(again, tmp_path, callbacks=[seen.append])
    assert not seen
    assert names(tmp_path) == files
    assert vars(history) | {"progress": 0} == vars(first) | {"progress": 0}
    np.testing.assert_array_equal(net.theta, again.theta)
    assert fit(more, tmp_path, max_epochs=9).n_epochs == 9
    fit(straight, max_epochs=9)
    np.testing.assert_array_equal(more.theta, straight.theta)


def test_a_search_that_converged_stays_so(tmp_path):
    settings = {"tol": 10.0, "patience": 2, "max_epochs": 50}
    net = small_net()
    assert fit(net, tmp_path, **settings).n_epochs == 4
    assert fit(net, tmp_path, **settings).stop_reason == "converged"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"solver": dp.Adam(0.5)}, r"solver is Adam\(learning_rate=0.5.*was Adam\(.*0.001"),
        ({"batch_size": 8}, "batch_size is 8, was 16"),
        ({"seed": 3}, "seed is 3, was 0"),
        ({"schedule": dp.schedules.Cosine()}, r"schedule is Cosine.*was Constant"),
        ({"sample_weight": WEIGHTS}, "weighted is True, was False"),
        ({"rows": np.arange(140)}, "number of rows is 140, was 150"),
        ({"rows": np.arange(150)[::-1]}, "the training rows are different"),
    ],
)
def test_another_search_is_refused_and_says_what_differs(change, said, tmp_path):
    fit(small_net(), tmp_path)
    net = small_net()
    before = net.theta.copy()
    with pytest.raises(ValueError, match=rf"a different run: {said}.*another folder"):
        fit(net, tmp_path, **change)
    np.testing.assert_array_equal(net.theta, before)


def test_another_network_is_refused(tmp_path):
    fit(small_net(), tmp_path)
    with pytest.raises(ValueError, match=r"dropout is 0, 0, was 0\.2, 0; dtype is float64"):
        fit(small_net(dropout=0.0, dtype="float64"), tmp_path)
    wider = dp.Network(4, [dp.Dense(9), dp.Dense(3, "softmax")], loss="cross_entropy")
    with pytest.raises(ValueError, match="units is 4 → 9 → 3, was 4 → 7 → 3"):
        fit(wider, tmp_path)


def test_other_groups_of_inputs_are_refused(tmp_path):
    def model(column):
        return dp.MLPRegressor(
            hidden_layer_sizes=4, periodic=4, periodic_columns=[column], max_iter=2,
            random_state=0, checkpoint=tmp_path,
        )  # fmt: skip

    first = model(0).fit(X, y)
    with pytest.raises(ValueError, match=r"different run: groups \(periodic_columns\) is .*, was"):
        model(1).fit(X, y)
    again = model(0).fit(X, y)
    np.testing.assert_array_equal(again.network_.theta, first.network_.theta)


def test_another_engine_goes_on_and_says_that_bits_will_differ(tmp_path):
    fit(small_net(), tmp_path, max_epochs=2)
    net, straight = small_net(), small_net()
    with pytest.warns(UserWarning, match="engine is fused, was reference.*to rounding"):
        fit(net, tmp_path, engine="fused")
    fit(straight)
    np.testing.assert_allclose(net.theta, straight.theta, rtol=1e-3, atol=1e-5)


# ---------------------------------------------------------------- damage


@pytest.mark.parametrize("damage", ["cut", "flip", "empty", "text"])
def test_of_a_damaged_file_the_one_before_is_taken(damage, tmp_path):
    net, straight = small_net(), small_net()
    fit(net, tmp_path, seconds=None, steps=9)
    newest = max(tmp_path.iterdir())
    data = bytearray(newest.read_bytes())
    data[-5] ^= 1
    newest.write_bytes({"cut": data[:-100], "flip": data, "empty": b"", "text": b"{}" * 50}[damage])
    again = small_net()
    with pytest.warns(UserWarning, match=rf"{newest.name}' is damaged.*before it"):
        fit(again, tmp_path, seconds=None, steps=9)
    fit(straight)
    np.testing.assert_array_equal(again.theta, straight.theta)
    assert max(tmp_path.iterdir()) > newest  # what is written now is the newest


def test_any_flipped_bit_is_noticed(tmp_path):
    fit(small_net(), tmp_path)
    (file,) = tmp_path.iterdir()
    data = file.read_bytes()
    chance = random.Random(0)
    for _ in range(300):
        bent = bytearray(data)
        bent[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        file.write_bytes(bent)
        with pytest.raises(ModelFileError):
            checkpoint_files.decoded(file.name, file.read_bytes())


def test_training_never_restarts_silently_when_all_checkpoints_are_damaged(tmp_path):
    fit(small_net(), tmp_path, steps=9)
    for file in tmp_path.iterdir():
        file.write_bytes(b"")
    with (
        pytest.warns(UserWarning, match="is damaged"),
        pytest.raises(ModelFileError, match=r"None of the 3 checkpoint.*To start over"),
    ):
        fit(small_net(), tmp_path)


def test_a_newer_format_is_not_mistaken_for_damage(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint_files, "FORMAT", 2)
    fit(small_net(), tmp_path)
    monkeypatch.undo()
    with pytest.raises(ModelFileError, match="newer deltaprop"):
        fit(small_net(), tmp_path)


def test_positions_that_do_not_exist_are_refused(tmp_path):
    """Whoever writes a folder must not choose which memory the compiled code reads."""
    fit(small_net(), tmp_path, max_epochs=1)
    folder = Folder(tmp_path, 3)
    head, state = folder.newest()
    head = {name: head[name] for name in ("search", "layout")}
    for bent in (
        {"progress": state["progress"] | {"order": np.arange(10**4)}},
        {"progress": state["progress"] | {"order": np.arange(150) + 10**6}},
        {"progress": state["progress"] | {"solver_state": (np.zeros(3, np.float32),)}},
        {"under_way": state["under_way"] | {"done": -5}},
    ):
        folder.write(head, state | bent)
        with pytest.raises(ModelFileError):
            fit(small_net(), tmp_path)


BENT = {
    "an attribute of another kind": ("history", {"epsilon": 1}, "unknown entry, 'epsilon'"),
    "a curve of text": ("history", {"loss_curve": "abc"}, "'loss_curve' of its history"),
    "another reason": ("history", {"stop_reason": "lunch"}, "'stop_reason' of its history"),
    "a number of epochs that is none": ("history", {"n_epochs": True}, "'n_epochs'"),
    "patience": ("plateau", {"patience": 10**9}, "unknown entry, 'patience'"),
    "a best value that is text": ("plateau", {"best": "1"}, "'best'"),
    "no steps": ("under_way", {"steps": 0}, "'steps' of its position in the epoch"),
    "an unknown counter": ("progress", {"evil": 1}, "unknown entry, 'evil'"),
}


@pytest.mark.parametrize("attack", BENT)
def test_a_checkpoint_sets_only_what_checkpoints_contain(attack, tmp_path):
    part, entries, said = BENT[attack]
    fit(small_net(), tmp_path, max_epochs=1)
    folder = Folder(tmp_path, 3)
    head, state = folder.newest()
    head = {name: head[name] for name in ("search", "layout")}
    folder.write(head, state | {part: state[part] | entries})
    with pytest.raises(ModelFileError, match=said):
        fit(small_net(), tmp_path)


@pytest.mark.parametrize("part", ["theta", "best_theta", "progress", "history", "search"])
@pytest.mark.parametrize("value", [None, 1, "text", [1], {"a": 1}, np.zeros(3)])
def test_a_checkpoint_with_a_part_of_another_kind_is_refused(part, value, tmp_path):
    if part == "best_theta" and value is None:
        return
    fit(small_net(), tmp_path, max_epochs=1)
    folder = Folder(tmp_path, 3)
    head, state = folder.newest()
    head = {name: head[name] for name in ("search", "layout")}
    if part == "search":
        if isinstance(value, np.ndarray):
            return
        head["search"] = value
    else:
        state[part] = value
    folder.write(head, state)
    with pytest.raises(InputError):
        fit(small_net(), tmp_path)


def test_a_checkpoint_is_no_model_and_says_what_to_do(tmp_path):
    fit(small_net(), tmp_path)
    with pytest.raises(ModelFileError, match="checkpoint of a training run, not a model"):
        dp.load(max(tmp_path.iterdir()))


# ---------------------------------------------------------------- several processes

WAITING = """
import sys, time
import deltaprop as dp

def wait(event):
    print("trains", flush=True)
    time.sleep(600)

net = dp.Network(1, [dp.Dense(1)], loss="squared_error", seed=0)
dp.fit(
    net, [[0.0], [1.0]], [0.0, 2.0], max_epochs=int(sys.argv[2]), engine="reference",
    checkpoint=dp.Checkpoint(sys.argv[1], steps=1), callbacks=[wait] if sys.argv[3:] else [],
)
"""


def process_in(folder, *arguments):
    return subprocess.Popen(
        [sys.executable, "-c", WAITING, str(folder), *map(str, arguments)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def test_two_processes_in_one_folder_are_noticed_and_a_killed_one_is_no_obstacle(tmp_path):
    first = process_in(tmp_path, 5, "wait")
    assert first.stdout.readline() == "trains\n"
    files = names(tmp_path)
    second = process_in(tmp_path, 5)
    errors = second.communicate(timeout=60)[1]
    assert second.returncode == 1
    assert f"Another training run (process {first.pid} on " in errors
    assert "Wait until it has ended, or use another folder." in errors
    assert names(tmp_path) == files
    first.send_signal(signal.SIGKILL)
    first.communicate(timeout=60)
    assert ".deltaprop.lock" in names(tmp_path)
    third = process_in(tmp_path, 6)
    assert third.communicate(timeout=60) == ("", "")
    assert third.returncode == 0
    assert ".deltaprop.lock" not in names(tmp_path)


def test_two_runs_of_one_process_are_noticed(tmp_path):
    def inner(event):
        fit(small_net(), tmp_path)

    with pytest.raises(InputError, match=rf"process {os.getpid()} on .* another folder"):
        fit(small_net(), tmp_path, callbacks=[inner])
    fit(small_net(), tmp_path)  # neither error has left the folder locked


def test_a_run_that_ends_before_the_folder_is_locked_is_no_other_run(tmp_path):
    fit(small_net(), tmp_path, max_epochs=1)
    folder = Folder(tmp_path, 3)
    fit(small_net(), tmp_path, max_epochs=2)
    unlock = folder.lock()
    head, state = folder.newest()
    folder.write({name: head[name] for name in ("search", "layout")}, state)
    unlock()
    assert len(names(tmp_path)) == 3


def test_an_error_leaves_the_folder_unlocked(tmp_path):
    fit(small_net(), tmp_path)
    with pytest.raises(InputError, match="belongs to a different run") as error:
        fit(small_net(), tmp_path, batch_size=7)
    assert error.tb  # which refers to everything that the call has opened
    fit(small_net(), tmp_path)


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOTSUP, errno.EINVAL])
def test_without_locks_a_file_of_another_run_is_noticed(number, tmp_path, monkeypatch):
    """As on some network file systems, and in object stores."""

    def no_locks(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", no_locks)
    fit(small_net(), tmp_path, max_epochs=1)

    def another_process(event):
        head, state = Folder(tmp_path, 3).newest()
        head = {name: head[name] for name in ("search", "layout")}
        Folder(tmp_path, 3).write(head, state)

    with pytest.raises(InputError, match=r"Another training run has written 'checkpoint-0"):
        fit(small_net(), tmp_path, steps=1, max_epochs=3, callbacks=[another_process])
    fit(small_net(), tmp_path, max_epochs=3)


# ---------------------------------------------------------------- disks


def test_a_full_disk_costs_a_checkpoint_not_the_training(tmp_path, monkeypatch):
    net, straight = small_net(), small_net()
    fsync, calls = os.fsync, []

    def full(handle):
        calls.append(handle)
        if len(calls) in (5, 6, 7):
            raise OSError(errno.ENOSPC, "No space left on device")
        fsync(handle)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.warns(UserWarning, match=r"No space left.*Training continues.*earlier ones are"):
        fit(net, tmp_path, seconds=None, steps=5)
    fit(straight)
    np.testing.assert_array_equal(net.theta, straight.theta)
    assert all(file.suffix == ".dp" for file in tmp_path.iterdir())
    assert fit(small_net(), tmp_path, seconds=None, steps=5).n_epochs == 4


def test_a_folder_that_cannot_be_written_is_an_error_before_the_work(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ModelFileError, match=r"checkpoint folder .* cannot be written to"):
        fit(small_net(), tmp_path / "file")


def test_a_network_that_fails_costs_a_checkpoint_not_the_training(monkeypatch):
    from fsspec.implementations.memory import MemoryFileSystem

    class NoConnection(Exception):
        pass

    def refused(self, *args, **settings):
        raise NoConnection("no route to host")

    net, straight = small_net(), small_net()

    def cut(epoch):
        monkeypatch.setattr(MemoryFileSystem, "pipe_file", refused)

    with pytest.warns(UserWarning, match="no route to host.*Training continues"):
        fit(net, "memory://failing/run", seconds=None, steps=5, callbacks=[cut])
    fit(straight)
    np.testing.assert_array_equal(net.theta, straight.theta)


def test_what_a_killed_writer_left_is_cleaned_up(tmp_path):
    (tmp_path / ".deltaprop.abc.tmp").write_bytes(b"half")
    (tmp_path / "notes.txt").write_text("mine")
    fit(small_net(), tmp_path)
    assert names(tmp_path) == ["checkpoint-00000001.dp", "notes.txt"]


@pytest.mark.parametrize(
    ("settings", "error", "said"),
    [
        ({"folder": 3}, TypeError, "folder of a Checkpoint must be a path, got 3"),
        ({"seconds": -1}, ValueError, "seconds of a Checkpoint must be a number >= 0"),
        ({"seconds": np.nan}, ValueError, "seconds of a Checkpoint"),
        ({"steps": 0}, ValueError, "steps of a Checkpoint must be an int >= 1"),
        ({"keep": 0}, ValueError, "keep of a Checkpoint must be an int >= 1"),
    ],
)
def test_settings_out_of_range_are_named(settings, error, said):
    with pytest.raises(error, match=said):
        dp.Checkpoint(**{"folder": "run"} | settings)


def test_another_type_than_a_folder_is_named(tmp_path):
    with pytest.raises(TypeError, match="checkpoint must be a folder"):
        dp.fit(small_net(), X, y, checkpoint=3)


# ---------------------------------------------------------------- L-BFGS and estimators


def test_lbfgs_goes_on_from_its_theta(tmp_path, monkeypatch):
    settings = {"solver": dp.LBFGS(), "tol": 1e-6, "max_epochs": 500}
    straight = small_net(dropout=0.0, dtype="float64")
    straight.l2 = 1e-2
    fit(straight, **settings)
    between_steps, calls = CheckpointManager.between_steps, []

    def deadly(self):
        between_steps(self)
        calls.append(1)
        if len(calls) == 7:
            raise Killed

    monkeypatch.setattr(CheckpointManager, "between_steps", deadly)
    net = small_net(dropout=0.0, dtype="float64")
    net.l2 = 1e-2
    with pytest.raises(Killed):
        fit(net, tmp_path, seconds=0, **settings)
    history = fit(net, tmp_path, seconds=0, **settings)
    assert history.stop_reason == "converged"
    assert len(history.loss_curve) == history.n_epochs > 7
    assert net.loss(X, y) == pytest.approx(straight.loss(X, y), rel=1e-4)
    again = small_net(dropout=0.0, dtype="float64")
    again.l2 = 1e-2
    assert fit(again, tmp_path, seconds=0, **settings).n_epochs == history.n_epochs
    np.testing.assert_array_equal(again.theta, net.theta)


def test_lbfgs_counts_its_records_on_from_a_checkpoint(tmp_path):
    settings = {"solver": dp.LBFGS(), "seconds": None, "steps": 1, "record": 2}
    first = fit(small_net(dropout=0.0), tmp_path, max_epochs=3, **settings)
    more = fit(small_net(dropout=0.0), tmp_path, max_epochs=6, **settings)
    found = [[(r.step, r.epoch) for r in history.records] for history in (first, more)]
    assert found == [[(0, 0), (2, 2)], [(4, 4), (6, 6)]]


def test_rows_in_their_order_stay_so_inside_an_epoch_after_shuffled_ones(tmp_path, monkeypatch):
    monkeypatch.setattr(epochs, "MOST_STEPS", 3)
    between_steps, calls, thetas = CheckpointManager.between_steps, [], []

    def deadly(self):
        between_steps(self)
        calls.append(1)
        if len(calls) == 2:
            raise Killed

    for folder in (None, tmp_path):
        net = small_net()
        settings = {"resume": fit(net, max_epochs=1), "shuffle": False, "max_epochs": 2}
        if folder is not None:
            settings["seconds"] = 0
            with monkeypatch.context() as patch:
                patch.setattr(CheckpointManager, "between_steps", deadly)
                with pytest.raises(Killed):
                    fit(net, folder, **settings)
        fit(net, folder, **settings)
        thetas.append(net.theta)
    np.testing.assert_array_equal(*thetas)


@pytest.mark.parametrize("early_stopping", [False, True])
def test_estimators_go_on_with_the_same_attributes(early_stopping, tmp_path, monkeypatch):
    def model(**settings):
        return dp.MLPClassifier(
            8, early_stopping=early_stopping, random_state=0, max_iter=12, dropout=0.1,
            engine="reference", batch_size=20, **settings,
        )  # fmt: skip

    whole = model().fit(X, y)
    finish = dp.Checkpoint(tmp_path, seconds=None, steps=5)
    killed = model(checkpoint=finish)
    assert clone(killed).get_params()["checkpoint"] == finish
    between_steps, calls = CheckpointManager.between_steps, []

    def deadly(self):
        between_steps(self)
        calls.append(1)
        if len(calls) == 8:
            raise Killed

    monkeypatch.setattr(CheckpointManager, "between_steps", deadly)
    with pytest.raises(Killed):
        killed.fit(X, y)
    killed.fit(X, y)
    np.testing.assert_array_equal(whole.coefs_[0], killed.coefs_[0])
    for name in ("n_iter_", "t_", "stop_reason_", "validation_scores_", "best_validation_score_"):
        assert getattr(whole, name) == getattr(killed, name), name
    np.testing.assert_allclose(whole.loss_curve_, killed.loss_curve_, rtol=1e-12)
    dp.save(killed, tmp_path / "m.dp")
    np.testing.assert_array_equal(dp.load(tmp_path / "m.dp").predict(X), whole.predict(X))
    if not early_stopping:
        killed.partial_fit(X, y)  # takes its step, whatever the folder says
        assert killed.t_ == whole.t_ + 150


@pytest.mark.parametrize(
    "model",
    [dp.MLPClassifier, dp.TabularClassifier, lambda *a, **kw: dp.TabularClassifier(*a, cv=3, **kw)],
    ids=["mlp", "tabular", "ensemble"],
)
def test_fine_tuning_has_no_part_in_the_checkpoints_of_the_fit(model, tmp_path):
    settings = {"max_iter": 2, "random_state": 0, "checkpoint": tmp_path / "fit", "record": 1}
    first = model((4,), **settings).fit(X, y)
    before = {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*")}
    other = first.fine_tuned(X[:90] + 1, y[:90], max_iter=3)
    assert {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*")} == before
    assert not np.array_equal(other.predict_proba(X), first.predict_proba(X))
    assert other.checkpoint is other.record is None
    assert first.checkpoint == tmp_path / "fit"
    assert first.record == 1


def test_fine_tuning_has_the_checkpoints_that_it_is_given(tmp_path):
    first = dp.MLPClassifier(4, max_iter=2, random_state=0, checkpoint=tmp_path / "fit").fit(X, y)
    other = first.fine_tuned(X, y, checkpoint=tmp_path / "tuned", record=1)
    assert names(tmp_path / "tuned")
    assert other.record == 1


def test_rows_set_aside_at_random_are_not_taken_for_the_same(tmp_path):
    model = dp.MLPClassifier(4, early_stopping=True, max_iter=2, checkpoint=str(tmp_path))
    model.fit(X, y)
    with pytest.raises(ValueError, match="random_state must be an int"):
        clone(model).fit(X, y)


def test_each_of_many_networks_has_a_folder_of_its_own(tmp_path):
    settings = {"max_epochs": 2, "engine": "reference", "checkpoint": tmp_path}
    nets, again = [[small_net(seed=s) for s in range(3)] for _ in range(2)]
    dp.fit_many(nets, X, y, **settings)
    assert names(tmp_path) == ["0", "1", "2"]
    dp.fit_many(again, X, y, **settings)
    for one, other in zip(nets, again, strict=True):
        np.testing.assert_array_equal(one.theta, other.theta)


# ---------------------------------------------------------------- signals


def interrupted_by(number, **settings):
    """A callback that sends this process a signal in the second epoch."""

    def callback(event):
        if event.epoch == 2:
            signal.raise_signal(number)

    return [callback]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("engine", ["reference", "fused"])
@pytest.mark.parametrize("solver", [dp.Adam(), dp.LBFGS()])
def test_signals_save_and_end_the_search(number, engine, solver, tmp_path):
    settings = {"engine": engine, "solver": solver, "seconds": None}
    dropout = 0.0 if isinstance(solver, dp.LBFGS) else 0.2
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    net = small_net(dropout=dropout)
    with pytest.warns(UserWarning, match="after 2 epoch.*same call continues from"):
        history = fit(net, tmp_path, callbacks=interrupted_by(number), **settings)
    assert (history.stop_reason, history.signal, history.n_epochs) == ("interrupted", number, 2)
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before
    again, straight = small_net(dropout=dropout), small_net(dropout=dropout)
    assert fit(again, tmp_path, **settings).n_epochs == 4
    if not isinstance(solver, dp.LBFGS):
        fit(straight, engine=engine, solver=solver)
        np.testing.assert_array_equal(again.theta, straight.theta)


def test_a_handler_of_the_program_s_own_is_called_once_the_search_is_saved(tmp_path):
    seen = []

    def own(number, frame):
        seen.append((number, len(list(tmp_path.glob("*.dp")))))

    before = signal.signal(signal.SIGTERM, own)
    try:
        with pytest.warns(UserWarning, match="interrupted"):
            fit(small_net(), tmp_path, callbacks=interrupted_by(signal.SIGTERM))
    finally:
        signal.signal(signal.SIGTERM, before)
    assert seen == [(signal.SIGTERM, 1)]


def test_a_signal_that_nobody_heeded_has_its_usual_effect(tmp_path):
    def fail(event):
        signal.raise_signal(signal.SIGINT)
        raise RuntimeError("before the search could see it")

    with pytest.raises(KeyboardInterrupt):
        fit(small_net(), tmp_path, callbacks=[fail])


def test_without_a_checkpoint_sigterm_keeps_its_effect():
    handlers = []
    fit(small_net(), callbacks=[lambda event: handlers.append(signal.getsignal(signal.SIGTERM))])
    assert set(handlers) == {signal.getsignal(signal.SIGTERM)}


def test_in_another_thread_signals_are_left_alone(tmp_path):
    before = signal.getsignal(signal.SIGTERM)
    net, straight = small_net(), small_net()
    thread = threading.Thread(target=fit, args=(net, tmp_path))
    thread.start()
    thread.join()
    fit(straight)
    np.testing.assert_array_equal(net.theta, straight.theta)
    assert signal.getsignal(signal.SIGTERM) is before


# ---------------------------------------------------------------- processes that are killed

PROGRAM = """
import sys
import numpy as np
import deltaprop as dp

folder, out, engine, seconds = sys.argv[1:]
rng = np.random.RandomState(0)
X = rng.randn(2000, 20)
y = (X[:, 0] + 0.5 * rng.randn(2000) > 0).astype(int)
epochs = 40 if engine == "reference" else 600
net = dp.Network(
    20, [dp.Dense(30, "tanh", 0.1), dp.Dense(2, "softmax")], loss="cross_entropy",
    reduction="mean", seed=0,
)
dp.fit(net.copy(), X, y, engine=engine, n_threads=1, max_epochs=1)  # what is imported late is there
print("begun", flush=True)
done = dp.fit(
    net, X, y, engine=engine, n_threads=1, batch_size=20, max_epochs=epochs, patience=np.inf,
    checkpoint=dp.Checkpoint(folder, seconds=float(seconds)), seed=0,
    callbacks=[lambda event: dp.save(net, out)],
)
print(done.stop_reason, done.n_epochs, net.theta.tobytes().hex())
"""


def start(folder, out, engine="reference", seconds=0.02):
    """A process that trains; it is returned when the training begins."""
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(folder), str(out), engine, str(seconds)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout.readline() == "begun\n", process.communicate()[1]
    return process


def wait_for_files(folder, process, seconds=60):
    deadline = time.monotonic() + seconds
    while not list(Path(folder).glob("checkpoint-*")) and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.005)


def kill_many(n, folder, chance, engine):
    """n kills at random moments; after each, every file is whole and the model is a model."""
    straight, _ = start(folder / "straight", folder / "s.dp", engine, 1e9).communicate(timeout=300)
    run, out, kills, ended = folder / "run0", folder / "m.dp", 0, 0
    while kills < n:
        process = start(run, out, engine)
        time.sleep(chance.random() * 0.3)
        process.send_signal(signal.SIGKILL)
        printed, errors = process.communicate(timeout=60)
        assert "damaged" not in errors
        for file in run.glob("checkpoint-*.dp"):
            checkpoint_files.decoded(file.name, file.read_bytes())
        if out.exists():
            dp.load(out)
        if process.returncode == 0:  # it had ended: the next ones start from the beginning
            assert printed == straight
            ended += 1
            run = folder / f"run{ended}"
        else:
            assert process.returncode == -signal.SIGKILL, errors
            kills += 1
    printed, errors = start(run, out, engine).communicate(timeout=300)
    assert printed == straight, errors
    return ended + 1


@pytest.mark.slow  # test_killed_anywhere_it_ends_in_the_same_bits is its quick twin
def test_kill_9_at_random_moments_loses_nothing_but_an_interval(tmp_path):
    kill_many(8, tmp_path, random.Random(0), "reference")


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["reference", "fused"])
def test_100_times_kill_9(engine, tmp_path):
    ended = kill_many(100, tmp_path, random.Random(engine), engine)
    print(f"100 kills on the way to the end of {ended} search(es)")


SAVING = """
import sys
import deltaprop as dp
nets = [dp.Network(100, [dp.Dense(500), dp.Dense(1)], loss="huber", seed=s) for s in (0, 1)]
print("ready", flush=True)
while True:
    for net in nets:
        dp.save(net, sys.argv[1])
"""


def kill_while_saving(n, folder, chance):
    out = folder / "m.dp"
    nets = [dp.Network(100, [dp.Dense(500), dp.Dense(1)], loss="huber", seed=s) for s in (0, 1)]
    for _ in range(n):
        process = subprocess.Popen(
            [sys.executable, "-c", SAVING, str(out)], stdout=subprocess.PIPE, text=True
        )
        process.stdout.readline()
        while not out.exists():
            time.sleep(0.001)
        time.sleep(chance.random() * 0.05)
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=60)
        theta = dp.load(out).theta
        assert any((theta == net.theta).all() for net in nets)


def test_kill_9_while_saving_leaves_the_old_model_or_the_new_one(tmp_path):
    kill_while_saving(4, tmp_path, random.Random(0))


@pytest.mark.slow
def test_100_times_kill_9_while_saving(tmp_path):
    kill_while_saving(100, tmp_path, random.Random(1))


def test_a_process_that_is_preempted_saves_and_goes_on(tmp_path):
    straight, _ = start(tmp_path / "s", tmp_path / "s.dp").communicate(timeout=120)
    process = start(tmp_path / "run", tmp_path / "m.dp", seconds=0.05)
    wait_for_files(tmp_path / "run", process)
    process.send_signal(signal.SIGTERM)
    printed, errors = process.communicate(timeout=60)
    assert process.returncode == 0
    assert printed.startswith("interrupted")
    assert "The same call continues from" in errors
    printed, _ = start(tmp_path / "run", tmp_path / "m.dp").communicate(timeout=120)
    assert printed == straight


# ---------------------------------------------------------------- the command line

TRAIN = [sys.executable, "-m", "deltaprop.cli", "train", "t.csv", "--target", "y"]


@pytest.fixture
def table(tmp_path):
    rng = np.random.RandomState(0)
    lines = [f"{a:.3f},{b:.3f},{a + b:.3f}" for a, b in rng.randn(3000, 2)]
    (tmp_path / "t.csv").write_text("\n".join(["a,b,y", *lines]))
    return tmp_path


@pytest.mark.parametrize(
    ("number", "status", "folders"),
    [
        (signal.SIGTERM, 143, ["run/0", "run/1"]),
        pytest.param(signal.SIGTERM, 143, ["run"], marks=pytest.mark.slow),
        pytest.param(signal.SIGINT, 130, ["run"], marks=pytest.mark.slow),
        pytest.param(signal.SIGINT, 130, ["run/0", "run/1"], marks=pytest.mark.slow),
    ],
)
def test_the_command_goes_on_where_it_was_interrupted(number, status, folders, table):
    options = ["--epochs", "100000", "--learning-rate", "1e-7", "--checkpoint", "run"]
    options += ["--folds", str(len(folders))]
    process = subprocess.Popen(
        [*TRAIN, *options, "--checkpoint-seconds", "0.1"], cwd=table,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    for folder in folders:
        wait_for_files(table / folder, process)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == status, errors
    assert "To resume from the checkpoint in run, run the same command again" in errors
    states = [Folder(table / folder, 3).newest()[1] for folder in folders]
    reached = max(state["history"]["n_epochs"] for state in states)
    assert reached > 0
    options[1] = str(reached + 2)
    done = subprocess.run(
        [*TRAIN, *options, "--json"], cwd=table, capture_output=True, text=True, timeout=120
    )
    assert json.loads(done.stdout)["epochs"] == len(folders) * (reached + 2)


@pytest.mark.slow
def test_the_command_refuses_the_checkpoint_of_another(table):
    options = [*TRAIN, "--epochs", "2", "--checkpoint", "run", "--quiet"]
    options += ["--folds", "1"]
    subprocess.run(options, cwd=table, check=True, timeout=120)
    done = subprocess.run(
        [*options, "--hidden", "9"], cwd=table, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 2
    assert "units is 26 → 9 → 1, was 26 → 128 → 128 → 1" in done.stderr
