"""dp.cluster on a Ray cluster on this machine, bound to 127.0.0.1."""

import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_iris
from typer.testing import CliRunner

import deltaprop as dp
from deltaprop.cli.app import app
from deltaprop.cluster.connection import connected

# ray is not imported here: environment variables for a local Ray must be set before its import.
ROOT = Path(__file__).parents[1]
X, y = load_iris(return_X_y=True)


@pytest.fixture(scope="module", autouse=True)
def local_ray():
    with connected("local") as ray:
        assert ray.get_runtime_context().gcs_address.startswith("127.0.0.1:")
        ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers cannot import it
        yield


def network(seed, **settings):
    layers = [dp.Dense(20, "tanh"), dp.Dense(3, "softmax")]
    return dp.Network(4, layers, loss="cross_entropy", reduction="mean", seed=seed, **settings)


def test_networks_on_a_cluster_match_local_threads():
    there, here = [network(s) for s in range(4)], [network(s) for s in range(4)]
    rows = [np.random.RandomState(s).randint(150, size=100) for s in range(4)]
    settings = {"max_epochs": 5, "engine": "fused", "rows": rows}
    histories = dp.cluster.fit_many(there, X, y, **settings)
    for one, other, history, local in zip(
        there, here, histories, dp.fit_many(here, X, y, **settings), strict=True
    ):
        np.testing.assert_array_equal(one.theta, other.theta)
        assert np.shares_memory(one.W[0], one.theta)
        assert history.loss_curve == local.loss_curve


def test_estimators_on_a_cluster_match_local_threads():
    there, here = (
        [dp.MLPClassifier(5, max_iter=20, random_state=s, engine="fused") for s in range(3)]
        for _ in range(2)
    )
    fitted = dp.cluster.fit_many(there, X, y)
    assert all(a is b for a, b in zip(fitted, there, strict=True))
    for one, other in zip(there, dp.fit_many(here, X, y), strict=True):
        np.testing.assert_array_equal(one.predict_proba(X), other.predict_proba(X))


def test_cross_validate_on_a_cluster_matches_local_scores():
    models = [dp.MLPClassifier(5, max_iter=30, alpha=a, random_state=0) for a in (1e-4, 1.0)]
    models = [model.set_params(engine="fused") for model in models]
    np.testing.assert_array_equal(
        dp.cluster.cross_validate(models, X, y, cv=3), dp.cross_validate(models, X, y, cv=3)
    )


def test_a_failed_model_is_reported_and_the_others_are_scored():
    models = [dp.MLPClassifier(5, max_iter=5, solver="none"), dp.MLPClassifier(5, max_iter=5)]
    with pytest.warns(UserWarning, match="failed on fold 1: .*solver"):
        scores = dp.cluster.cross_validate(models, X, y, cv=2)
    assert np.isnan(scores[0]).all()
    assert np.isfinite(scores[1]).all()


def test_cluster_errors_match_the_local_functions():
    with pytest.raises(ValueError, match="max_epochs must be an int"):
        dp.cluster.fit_many([network(0)], X, y, max_epochs=0)
    net = network(0)
    with pytest.raises(ValueError, match="more than once"):
        dp.cluster.fit_many([net, net], X, y)


def test_a_different_ray_address_is_rejected():
    with pytest.raises(ValueError, match=r"already connected to the Ray cluster at '127\.0\.0\.1"):
        dp.cluster.fit_many([network(0)], X, y, address="10.0.0.5:6379")


# ---------------------------------------------------------------- one model on many workers

rng = np.random.RandomState(0)
X_many = rng.randn(1600, 4)
y_many = (X_many[:, 0] * X_many[:, 1] > 0).astype(int) + (X_many[:, 2] > 1)
SETTINGS = {"batch_size": 16, "max_epochs": 4, "solver": dp.Adam(0.01)}  # 100 steps per epoch


class Recorder:
    """A callback that saves θ of each worker; if `dies`, rank 1 is killed once in epoch 3."""

    def __init__(self, folder, dies=False):
        self.folder, self.dies = folder, dies

    def __call__(self, epoch):
        import jax

        rank, killed = jax.process_index(), self.folder / "killed"
        assert jax.process_count() == 2
        np.save(self.folder / f"theta-{rank}.npy", epoch.network.theta)
        with (self.folder / f"epochs-{rank}").open("a") as file:
            file.write(f"{os.getpid()} {epoch.epoch}\n")
        if self.dies and rank == 1 and epoch.epoch == 2 and not killed.exists():
            killed.touch()
            threading.Timer(0.02, os.kill, (os.getpid(), signal.SIGKILL)).start()


@pytest.fixture(scope="module")
def without_failures(tmp_path_factory):
    """A network that two workers trained without failures, and the folder of their records."""
    folder = tmp_path_factory.mktemp("without_failures")
    net, before = network(0), signal.getsignal(signal.SIGINT)
    history = dp.cluster.fit(
        net, X_many, y_many, callbacks=[Recorder(folder)],
        checkpoint=dp.Checkpoint(folder / "run", steps=70), **SETTINGS,
    )  # fmt: skip
    assert signal.getsignal(signal.SIGINT) is before  # Ray would replace the handler of Ctrl-C
    return net, history, folder


@pytest.mark.slow
def test_two_workers_match_one_process(without_failures):
    net, history, folder = without_failures
    first, second = (np.load(folder / f"theta-{rank}.npy") for rank in (0, 1))
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(first, net.theta)
    alone = network(0)
    here = dp.fit(alone, X_many, y_many, engine="reference", **SETTINGS)
    np.testing.assert_allclose(net.theta, alone.theta, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(history.loss_curve, here.loss_curve, rtol=1e-9)
    assert history.n_epochs == here.n_epochs


@pytest.mark.slow
def test_a_killed_worker_does_not_change_the_result(without_failures, tmp_path):
    net = network(0)
    address = f"file://{tmp_path}/run"  # through fsspec, as s3:// would be
    history = dp.cluster.fit(
        net, X_many, y_many, callbacks=[Recorder(tmp_path, dies=True)],
        checkpoint=dp.Checkpoint(address, steps=70), **SETTINGS,
    )  # fmt: skip
    attempts = {}
    for line in (tmp_path / "epochs-1").read_text().splitlines():
        attempts.setdefault(line.split()[0], []).append(int(line.split()[1]))
    killed, resumed = attempts.values()
    assert killed == [1, 2]  # it was killed during epoch 3
    assert resumed[0] >= 2  # from a checkpoint, not from the beginning
    np.testing.assert_array_equal(net.theta, without_failures[0].theta)
    np.testing.assert_allclose(history.loss_curve, without_failures[1].loss_curve, rtol=1e-12)


def test_bad_arguments_raise_before_workers_start():
    net = network(0)
    with pytest.raises(ValueError, match=r"workers must be an int >= 1.*got 0"):
        dp.cluster.fit(net, X, y, workers=0)
    with pytest.raises(ValueError, match="max_failures must be an int >= 0, got -1"):
        dp.cluster.fit(net, X, y, max_failures=-1)
    with pytest.raises(ValueError, match="Give either y"):
        dp.cluster.fit(net, X)
    with pytest.raises(ValueError, match="target cannot be given with a stream"):
        dp.cluster.fit(net, dp.tables.stream(ROOT / "data/penguins.csv"), target="sex")
    with pytest.raises(ValueError, match=r"engine must be 'xla'.*got 'fused'"):
        dp.cluster.fit(net, X, y, engine="fused")


@pytest.mark.slow
def test_workers_split_a_stream(tmp_path):
    """Each worker reads its half of every epoch, as the processes of tests/test_xla.py do."""
    table = pd.DataFrame(X_many[:401], columns=list("abcd")).assign(y=y_many[:401])
    (tmp_path / "rows").mkdir()
    for i in range(3):
        table[i * 150 : (i + 1) * 150].to_parquet(tmp_path / f"rows/{i}.parquet", row_group_size=40)
    rows, net, alone = dp.tables.stream(tmp_path / "rows", "y"), network(0), network(0)
    settings = {"batch_size": 32, "max_epochs": 4, "shuffle": False}
    dp.cluster.fit(net, rows, **settings)
    order = [r + i for s in range(0, 200, 16) for r in (0, 200) for i in range(s, min(s + 16, 200))]
    dp.fit(alone, X_many[order], y_many[order], engine="reference", **settings)
    np.testing.assert_allclose(net.theta, alone.theta, rtol=1e-9, atol=1e-12)


@pytest.mark.slow
def test_an_error_in_all_workers_is_raised_once():
    net = network(0)
    before = net.theta.copy()
    with pytest.raises(ValueError, match="max_epochs must be an int >= 1, got 0"):
        dp.cluster.fit(net, X, y, max_epochs=0)
    np.testing.assert_array_equal(net.theta, before)


@pytest.mark.slow
def test_parts_of_a_ray_dataset_match_one_table(tmp_path):
    import ray.data

    (tmp_path / "rows").mkdir()
    table = pd.DataFrame(X_many[:401], columns=list("abcd")).assign(y=y_many[:401])
    for i in range(3):
        table[i * 150 : (i + 1) * 150].to_parquet(tmp_path / f"rows/{i}.parquet", row_group_size=40)
    settings = {"batch_size": 32, "max_epochs": 4, "shuffle": False}
    found = []
    for _ in range(2):  # the second run resumes from the last checkpoint and has nothing to do
        net = network(0)
        rows = ray.data.read_parquet(str(tmp_path / "rows"))
        dp.cluster.fit(net, rows, target="y", checkpoint=tmp_path / "run", **settings)
        found.append(net.theta)
    np.testing.assert_array_equal(*found)
    n, b = 200, 16  # rows of each worker, and in each batch
    order = [r * n + i for s in range(0, n, b) for r in (0, 1) for i in range(s, min(s + b, n))]
    alone = network(0)
    dp.fit(alone, X_many[order], y_many[order], engine="reference", **settings)
    np.testing.assert_allclose(found[0], alone.theta, rtol=1e-9, atol=1e-12)


MACHINES = """
import os, sys, threading, time
from pathlib import Path

os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"  # 127.0.0.1, also with several nodes
import numpy as np
import ray
from ray.cluster_utils import Cluster

import deltaprop as dp

folder = Path(sys.argv[1])
X = np.random.RandomState(0).randn(1600, 4)
seen = lambda name: (folder / name).exists()


class Recorder:
    # Records the number of processes; stops three epochs after the second machine is back.

    def __init__(self):
        self.epochs = 0

    def __call__(self, epoch):
        import jax

        (folder / f"{jax.process_count()}").touch()
        self.epochs += jax.process_count() == 2 and seen("1")
        time.sleep(0.2)
        return self.epochs == 3


def network():
    return dp.Network(4, [dp.Dense(20, "tanh"), dp.Dense(1)], loss="squared_error", seed=0)


def fit():
    net = network()
    history = dp.cluster.fit(
        net, X, X[:, 0] * X[:, 1], workers=(1, 2), max_epochs=2000, tol=0, callbacks=[Recorder()],
        checkpoint=dp.Checkpoint(folder / "run", steps=10))
    alone = network()
    dp.fit(alone, X, X[:, 0] * X[:, 1], max_epochs=history.n_epochs, tol=0, engine="reference")
    np.testing.assert_allclose(net.theta, alone.theta, rtol=1e-7, atol=1e-9)
    (folder / "equal").touch()


here = {"num_cpus": 1, "node_ip_address": "127.0.0.1"}
cluster = Cluster(initialize_head=True, head_node_args=here)
other = cluster.add_node(**here)
ray.init(cluster.address, log_to_driver=False)
training = threading.Thread(target=fit)
training.start()
for wanted, step in (("2", lambda: cluster.remove_node(other, allow_graceful=False)),
                     ("1", lambda: cluster.add_node(**here))):
    while training.is_alive() and not seen(wanted):
        time.sleep(0.2)
    step()
training.join()
sys.exit(0 if seen("equal") else 1)
"""


@pytest.mark.slow
def test_training_survives_a_machine_that_fails_and_returns(tmp_path):
    """Two machines, then one, then two again: the parameters match those of one process."""
    (tmp_path / "machines.py").write_text(MACHINES, encoding="utf-8")
    command = [sys.executable, str(tmp_path / "machines.py"), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stderr[-3000:]


# ---------------------------------------------------------------- docs/cluster.md


def blocks(language):
    page = (ROOT / "docs/cluster.md").read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", page, re.DOTALL | re.MULTILINE)


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    (tmp_path / "data").symlink_to(ROOT / "data")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.slow  # a minute: it starts Ray several times
def test_commands_in_the_cluster_docs_run(checkout):
    (command,) = blocks("bash")
    result = CliRunner().invoke(app, [*shlex.split(command)[1:], "--json"])
    assert result.exit_code == 0, result.output
    assert dp.load("model.dp").mlp_.n_iter_ == 20


@pytest.mark.slow
def test_python_code_in_the_cluster_docs_runs(checkout):
    names = {}
    for block in blocks("python"):
        if not block.startswith("# train.py"):
            exec(block, names)
    alone = dp.TabularRegressor(random_state=0, max_iter=20, engine="xla")
    there, here = names["model"], alone.fit(names["X"], names["y"])
    np.testing.assert_allclose(there.predict(names["X"]), here.predict(names["X"]), rtol=1e-6)
    assert there.mlp_.n_iter_ == here.mlp_.n_iter_
    assert there.engine == "auto"
    assert names["history"].n_epochs == 5
    assert names["scores"].shape == (2, 3)
    assert np.isfinite(names["scores"]).all()


def test_the_script_for_launchers(tmp_path):
    (script,) = (block for block in blocks("python") if block.startswith("# train.py"))
    (tmp_path / "train.py").write_text(script, encoding="utf-8")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    environment = {"JAX_COORDINATOR_ADDRESS": address, "JAX_COORDINATOR_BIND_ADDRESS": address}
    environment |= {"JAX_NUM_PROCESSES": "2", "JAX_PLATFORMS": "cpu"}
    processes = [
        subprocess.Popen(
            [sys.executable, "train.py"], cwd=tmp_path,
            env=os.environ | environment | {"JAX_PROCESS_ID": str(rank)},
        )
        for rank in (0, 1)
    ]  # fmt: skip
    assert [process.wait(timeout=120) for process in processes] == [0, 0]
    assert list((tmp_path / "run").glob("checkpoint-*.dp"))
