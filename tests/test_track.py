"""Callbacks for experiment trackers, the progress line, and the estimators' diagram."""

import os
import pickle
import pty
import subprocess
import sys

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import deltaprop as dp
from deltaprop.training.history import Epoch

X, Y = np.random.RandomState(0).normal(size=(60, 3)), np.arange(60) % 2
EVENT = Epoch(3, 10, 0.5, 0.01, None, None, 1.5, None)


def fitted(callback, **settings):
    model = dp.MLPClassifier(3, max_iter=4, random_state=0, callbacks=[callback], **settings)
    return model.fit(X, Y)


def test_tensorboard_reads_back_what_was_recorded(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_multiplexer import EventMultiplexer
    from tensorboard.util import tensor_util

    model = fitted(dp.track.TensorBoard(tmp_path), early_stopping=True)
    events = EventMultiplexer().AddRunsFromDirectory(str(tmp_path)).Reload()
    (run,) = events.Runs()

    def series(tag):
        return [
            (e.step, float(tensor_util.make_ndarray(e.tensor_proto)))
            for e in events.Tensors(run, tag)
        ]

    assert set(events.Runs()[run]["tensors"]) == {
        "loss", "learning_rate", "validation_loss", "validation_score", "seconds"
    }  # fmt: skip
    for tag, curve in (
        ("loss", model.loss_curve_),
        ("validation_loss", model.validation_loss_curve_),
        ("validation_score", model.validation_scores_),
    ):
        steps, values = zip(*series(tag), strict=True)
        assert steps == (1, 2, 3, 4)
        np.testing.assert_allclose(values, curve, rtol=1e-6)


def test_tensorboard_survives_clone_and_pickle_and_a_second_fit(tmp_path):
    pytest.importorskip("tensorboard")
    callback = dp.track.TensorBoard(tmp_path)
    callback(EVENT)
    for copy in (clone(dp.MLPClassifier(callbacks=[callback])).callbacks[0],
                 pickle.loads(pickle.dumps(callback))):  # fmt: skip
        assert copy.log_dir == str(tmp_path)
        copy(EVENT)
        copy.finish()
        copy.finish()
    callback.finish()
    assert len(list(tmp_path.iterdir())) >= 1


def test_mlflow_has_the_metrics_of_each_epoch(tmp_path, monkeypatch):
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.chdir(tmp_path)
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/mlflow.db")
    with mlflow.start_run() as run:
        model = fitted(dp.track.MLflow())
    other = mlflow.MlflowClient().create_run(run.info.experiment_id).info.run_id
    fitted(dp.track.MLflow(other))
    for run_id in (run.info.run_id, other):
        history = mlflow.MlflowClient().get_metric_history(run_id, "loss")
        assert [(m.step, m.value) for m in history] == list(enumerate(model.loss_curve_, 1))


def test_wandb_logs_each_epoch():
    class Run:
        def __init__(self):
            self.rows = []

        def log(self, values, step):
            self.rows.append((step, values))

    run = Run()
    model = fitted(dp.track.WandB(run))
    assert [(step, values["loss"]) for step, values in run.rows] == list(
        enumerate(model.loss_curve_, 1)
    )
    assert "validation_loss" not in run.rows[0][1]
    with pytest.raises(TypeError, match="method log"):
        dp.track.WandB("run")


@pytest.mark.parametrize(("name", "module", "arguments"), [
    ("TensorBoard", "tensorboard.summary", ("x",)), ("MLflow", "mlflow", ()),
])  # fmt: skip
def test_a_missing_library_is_named_with_the_way_to_install_it(
    name, module, arguments, monkeypatch
):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=r"pip install 'deltaprop\[track\]'"):
        getattr(dp.track, name)(*arguments)


class Closing:
    def __init__(self, fail):
        self.fail, self.closed = fail, 0

    def __call__(self, event):
        if self.fail:
            raise self.fail

    def finish(self):
        self.closed += 1


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
@pytest.mark.parametrize("fail", [None, KeyboardInterrupt(), RuntimeError("mine")])
def test_callbacks_are_finished_however_training_ends(solver, fail):
    callback = Closing(fail)
    try:
        fitted(callback, solver=solver)
    except RuntimeError:
        assert isinstance(fail, RuntimeError)
    assert callback.closed == 1


# ---------------------------------------------------------------- progress

FIT = (
    "import deltaprop as dp; p = dp.Progress(); p = __import__('copy').deepcopy(p)\n"
    "dp.MLPRegressor(max_iter=30, callbacks=[p]).fit([[0.0], [1.0]], [1.0, 2.0])"
)


def test_progress_shows_on_a_terminal_and_is_removed():
    leader, follower = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", FIT],
        stdout=subprocess.PIPE, stderr=follower, env={**os.environ, "TERM": "xterm"},
    ) as process:  # fmt: skip
        out, _ = process.communicate(timeout=120)
    os.close(follower)
    shown = os.read(leader, 100_000).decode()
    os.close(leader)
    assert process.returncode == 0
    assert out == b""
    assert "/30" in shown
    assert "loss" in shown
    assert shown.rfind("\x1b[?25h") > shown.rfind("\x1b[?25l")  # the cursor is back


def test_progress_is_silent_without_a_terminal():
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FIT], capture_output=True, timeout=120, check=True
    )
    assert (done.stdout, done.stderr) == (b"", b"")


# ---------------------------------------------------------------- the estimators' diagram


@pytest.mark.parametrize("model", [
    dp.MLPClassifier(3, max_iter=2, random_state=0),
    dp.TabularClassifier(3, max_iter=2, random_state=0),
], ids=["mlp", "tabular"])  # fmt: skip
def test_the_diagram_has_the_layers_once_fitted(model):
    assert "deltaprop-layers" not in model._repr_html_()
    assert "sk-container" in model._repr_html_()
    model.fit(X, Y)
    html = model._repr_html_()
    assert html.count("deltaprop-layers") == 1
    assert "<td>3</td><td>1</td><td>logistic</td>" in html
    assert model._repr_mimebundle_()["text/html"].count("deltaprop-layers") == 1


def test_the_diagram_of_a_pipeline_is_scikit_learn_s():
    pipe = make_pipeline(StandardScaler(), dp.MLPClassifier(3, max_iter=2)).fit(X, Y)
    assert "MLPClassifier" in pipe._repr_html_()


def test_custom_names_are_escaped():
    own = dp.Activation("<script>", lambda a, xp: a, lambda a, z, xp: xp.ones_like(a))
    model = dp.MLPClassifier(2, own, max_iter=2, random_state=0, engine="reference").fit(X, Y)
    assert "&lt;script&gt;" in model._repr_html_().split("deltaprop-layers")[1]
    assert "<script>" not in model._repr_html_().split("deltaprop-layers")[1]
