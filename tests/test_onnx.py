"""``dp.to_onnx`` and ``deltaprop export --onnx``: onnxruntime computes what the model computes."""

import json
import re

import numpy as np
import pandas as pd
import pytest
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from typer.testing import CliRunner

import deltaprop as dp
from deltaprop.cli.app import app
from deltaprop.errors import InputError, InputTypeError
from deltaprop.export import inputs_of
from deltaprop.export.activations import COMPOSED, OPERATORS, SINGLE

from .strategies import OUTPUT_ACTIVATIONS

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

TOLERANCE = {"float32": 1e-5, "float64": 1e-10, "float16": 0.02}


def run(path, model, X, dtype="float32"):
    """The outputs of an ONNX file by name, for rows in the dtypes that it declares."""
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, inputs_of(model, X, dtype)), strict=True))


def exported(model, X, tmp_path, dtype="float32", **options):
    path = tmp_path / "model.onnx"
    dp.to_onnx(model, path, dtype=dtype, **options)
    onnx.checker.check_model(onnx.load(path), full_check=True)
    return run(path, model, X, dtype)


def check_close(ours, theirs, dtype="float32"):
    ours = np.asarray(ours)
    scale = max(1.0, float(np.abs(ours - ours.mean(axis=0)).max()))
    np.testing.assert_allclose(
        theirs.reshape(ours.shape), ours, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype] * scale
    )


# ---------------------------------------------------------------- networks


def test_weights_that_do_not_exist(tmp_path):
    layers = [dp.Dense(2, "tanh", groups=([0, 0, 1], [0, 1])), dp.Dense(1)]
    net = dp.Network(3, layers, loss="squared_error", seed=0)
    net.theta[...] = 1.0
    X = np.random.default_rng(0).normal(size=(20, 3))
    found = exported(net, X, tmp_path)["prediction"]
    check_close(net.predict(X), found)


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("f", OUTPUT_ACTIVATIONS)
def test_activations(f, dtype, tmp_path):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(50, 3))
    layers = [dp.Dense(4, f, input_scale=True, trainable_activation=True), dp.Dense(4, f)]
    net = dp.Network(3, layers, loss="squared_error", seed=0)
    net.theta = net.theta + 0.3 * rng.normal(size=net.theta.size)
    found = exported(net, X, tmp_path, dtype)["prediction"]
    check_close(net.predict(X), found, "float32" if f in SINGLE and dtype == "float64" else dtype)


def test_every_built_in_activation_can_be_exported():
    assert {dp.activations.get(name).name for name in dp.activations.NAMES} == {
        *OPERATORS, *COMPOSED,
    }  # fmt: skip


# ---------------------------------------------------------------- MLP estimators

X = np.random.default_rng(1).normal(size=(120, 4)).astype(np.float32)
CODES = (X[:, 0] + X[:, 1] > 0).astype(int) + (X[:, 2] > 0.8)


@pytest.mark.parametrize(
    ("classes", "loss"),
    [
        (np.array(["no", "yes"]), "log_loss"),
        (np.array([False, True]), "log_loss"),
        (np.array([3, 7]), "cross_entropy"),
        (np.array([-1, 1]), "hinge"),
        (np.array(["ä", "b", "c"]), "log_loss"),
        (np.array([1.0, 2.0, 4.0]), "focal"),
        (np.array(["a", "b", "c"]), "hinge"),
        (np.array([1, 2, 5]), "ordinal"),
        (np.array(["only"]), "log_loss"),
    ],
    ids=str,
)
def test_classifiers(classes, loss, tmp_path):
    y = classes[CODES % len(classes)]
    model = dp.MLPClassifier(5, loss=loss, max_iter=20, random_state=0).fit(X, y)
    found = exported(model, X, tmp_path)
    assert found["label"].tolist() == model.predict(X).tolist()
    if loss == "hinge":
        check_close(model.decision_function(X), found["margins"])
    else:
        check_close(model.predict_proba(X), found["probabilities"])


@pytest.mark.parametrize("loss", ["log_loss", "hinge"])
def test_several_labels(loss, tmp_path):
    Y = (X[:, :3] > 0.2).astype(int)
    model = dp.MLPClassifier(5, loss=loss, max_iter=20, random_state=0).fit(X, Y)
    found = exported(model, X, tmp_path)
    assert found["label"].tolist() == model.predict(X).tolist()
    scores = model._output(X)
    check_close(scores, found["margins" if loss == "hinge" else "probabilities"])


REGRESSIONS = {
    "one target": ("squared_error", X[:, 0] * 3),
    "two targets": ("squared_error", X[:, :2]),
    "counts": ("poisson", np.abs(X[:, 0]).round()),
    "two quantiles": (dp.losses.Quantile((0.1, 0.9)), X[:, 0]),
    "Gaussian": ("gaussian_nll", X[:, 0]),
}


@pytest.mark.parametrize("case", REGRESSIONS)
def test_regressors(case, tmp_path):
    loss, y = REGRESSIONS[case]
    model = dp.MLPRegressor(hidden_layer_sizes=5, loss=loss, max_iter=20, random_state=0).fit(X, y)
    found = exported(model, X, tmp_path)
    check_close(model.predict(X), found["prediction"])
    if case == "Gaussian":
        check_close(model.predict(X, return_std=True)[1], found["std"])


def test_the_best_estimator_of_a_search_is_exported(tmp_path):
    search = GridSearchCV(dp.MLPClassifier(3, max_iter=5, random_state=0), {"alpha": [0, 1]}, cv=2)
    search.fit(X, CODES)
    check_close(search.predict_proba(X), exported(search, X, tmp_path)["probabilities"])


def test_changed_coefficients_are_exported(tmp_path):
    model = dp.MLPRegressor(hidden_layer_sizes=3, max_iter=5, random_state=0).fit(X, X[:, 0])
    model.intercepts_[-1] = np.array([42.0])
    check_close(model.predict(X), exported(model, X, tmp_path)["prediction"])


# ---------------------------------------------------------------- tables


def hostile_table(N=300):
    rng, n = np.random.default_rng(2), np.arange(N)
    several = np.array(["a", "b", "c", None, "?", ""], dtype=object)
    half = np.where(n % 2, "x", "y").astype(object)
    return pd.DataFrame({
        "plain": rng.normal(size=N),
        "a time, in 0.1 µs": 1.7e16 + rng.integers(0, 10**6, N),
        "missing": np.where(n % 7, rng.normal(size=N), np.nan),
        "infinite": np.where(n % 11, rng.exponential(size=N), np.inf),
        "small": rng.normal(size=N) * 1e-30, "large": rng.normal(size=N) * 1e300,
        "constant": 1.0, "all missing": np.nan,
        "integer": rng.integers(0, 50, N), "masked": pd.array(n % 5, dtype="Int64").astype("Int64"),
        "boolean": n % 3 == 0, "spelled": (n % 9).astype(str),
        "label": several[n % 6], "two": half, "numbers or words": [*"ab", *range(2, 8)] * (N // 8)
        + list(range(N % 8)),
        "many": pd.Categorical([f"word {i}" if i < 60 else f"{i % 50}" for i in n]),
        "empty word": pd.Categorical(np.array(["", "nan", "z"])[n % 3]),
        "day": pd.date_range("1969-02-27", periods=N, freq="D"),
        "moment": pd.to_datetime("1899-12-31 23:59:59") + pd.to_timedelta(n * 9_999_991, unit="s"),
        "zoned": pd.date_range("2020-01-01", periods=N, freq="7h", tz="UTC"),
        "written": [None if i % 10 == 0 else f"{1 + i % 28:02}.0{1 + i % 9}.2024" for i in n],
        "duration": pd.to_timedelta(n * 77, unit="min"),
    })  # fmt: skip


TABLE = hostile_table()
NEW = TABLE.sample(frac=1, random_state=0).assign(
    label=["new", "a", None] * 100, many=["word 3", "7", "unseen"] * 100,
    two=["x", None, "z"] * 100, plain=np.where(np.arange(300) % 5, 3.0, np.nan),
)  # fmt: skip
TARGET = np.nan_to_num(TABLE["missing"]) + (TABLE["label"] == "a") + TABLE["integer"] / 20


@pytest.mark.parametrize(
    "options",
    [{"n_bins": 0}, {"n_bins": 8}, {"numbers": "normal", "n_bins": 4}, {"periodic": 2}],
    ids=str,
)
def test_tables(options, tmp_path):
    model = dp.TabularRegressor(hidden_layer_sizes=8, cv=3, max_iter=5, random_state=0, **options)
    model.fit(TABLE, TARGET)
    for rows in (TABLE, NEW, NEW[:1]):
        check_close(model.predict(rows), exported(model, rows, tmp_path)["prediction"])


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/Sao_Paulo", "Asia/Kathmandu", "+03:30"])
def test_time_zones(zone, tmp_path):
    hours = pd.date_range("1978-01-01", "2031-01-01", periods=3000).round("h").tz_localize("UTC")
    near = pd.date_range("2024-10-26", periods=200, freq="30min", tz="UTC")  # clocks are changed
    rows = pd.DataFrame({"when": hours.append(near).tz_convert(zone)})
    y = rows["when"].dt.hour + rows["when"].dt.day
    model = dp.TabularRegressor(hidden_layer_sizes=8, cv=1, max_iter=3, random_state=0)
    check_close(model.fit(rows, y).predict(rows), exported(model, rows, tmp_path)["prediction"])


def test_one_input_for_each_column(tmp_path):
    model = dp.TabularRegressor(hidden_layer_sizes=2, cv=1, max_iter=1, random_state=0).fit(
        TABLE, TARGET
    )
    dp.to_onnx(model, tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    types = {i.name: i.type for i in session.get_inputs()}
    assert list(types) == [name for name in TABLE if name != "all missing"]
    words = [name for name, type in types.items() if type == "tensor(string)"]
    assert words == [name for name, kind in model.encoder_.kinds_.items() if kind == "category"]
    assert set(types.values()) == {"tensor(string)", "tensor(double)"}


def test_classes_of_tables(tmp_path):
    y = np.where(TARGET > 1, "high", np.where(TARGET > 0, "middle", "low"))
    model = dp.TabularClassifier((8,), cv=4, max_iter=8, random_state=0).fit(TABLE, y)
    model.temperature_ = 2.0
    for network in model.networks_:
        model._cool(network)
    found = exported(model, NEW, tmp_path)
    check_close(model.predict_proba(NEW), found["probabilities"])
    # A column has the name of an output.
    assert found["label_"].tolist() == model.predict(NEW).tolist()


@pytest.mark.parametrize(
    "options",
    [
        {"cost": {"false_positive": 1, "false_negative": 1.5}},
        {"decision_threshold": 0.8},
        {"loss": "cross_entropy", "decision_threshold": 0.7},
        {"loss": "hinge"},
        {"refit": True},
    ],
    ids=str,
)
def test_decisions(options, tmp_path):
    rows, y = TABLE[["plain", "two", "missing"]], TARGET > 1
    model = dp.TabularClassifier((8,), cv=3, max_iter=20, random_state=0, **options).fit(rows, y)
    found = exported(model, rows, tmp_path)
    assert found["label"].tolist() == model.predict(rows).tolist()
    assert len(set(found["label"])) == 2


def test_costs_of_several_classes(tmp_path):
    y = np.where(TARGET > 1, 2, TARGET > 0)
    cost = np.array([[0, 1, 4.0], [3, 0, 1], [9, 9, 0]])
    rows = TABLE[["plain", "two", "missing"]]
    model = dp.TabularClassifier((8,), cv=1, max_iter=20, cost=cost, random_state=0).fit(rows, y)
    label = exported(model, rows, tmp_path)["label"]
    assert label.tolist() == model.predict(rows).tolist()
    assert label.tolist() != model.predict_proba(rows).argmax(axis=1).tolist()


def test_several_labels_of_tables(tmp_path):
    rows, Y = TABLE[["plain", "two", "missing"]], np.stack([TARGET > 1, TARGET > 0], 1).astype(int)
    model = dp.TabularClassifier(
        (8,), cv=3, max_iter=20, decision_threshold="f1", random_state=0
    ).fit(rows, Y)
    found = exported(model, rows, tmp_path)
    check_close(model.predict_proba(rows), found["probabilities"])
    assert found["label"].tolist() == model.predict(rows).tolist()


@pytest.mark.parametrize(
    ("loss", "y"),
    [
        ("squared_error", np.stack([TARGET, 1e6 * TARGET], axis=1)),
        (dp.losses.Quantile((0.1, 0.5, 0.9)), np.stack([TARGET, 1e6 * TARGET], axis=1)),
        ("poisson", np.abs(TARGET).round() * 100),
        ("gaussian_nll", 1e9 + TARGET),
    ],
    ids=["targets", "quantiles", "counts", "Gaussian"],
)
def test_numbers_of_tables(loss, y, tmp_path):
    rows = TABLE[["plain", "two", "missing"]]
    model = dp.TabularRegressor(
        hidden_layer_sizes=8, cv=3, max_iter=20, loss=loss, random_state=0
    ).fit(rows, y)
    found = exported(model, rows, tmp_path)
    check_close(model.predict(rows), found["prediction"])
    if loss == "gaussian_nll":
        check_close(model.predict(rows, return_std=True)[1], found["std"])


# ---------------------------------------------------------------- the file


@pytest.fixture(scope="module")
def penguins():
    table = dp.tables.read_table("data/penguins.csv")
    X, y = table.drop(columns="species"), table["species"]
    return dp.TabularClassifier(preset="fast", random_state=0).fit(X, y), X, y


def test_smaller_files_report_what_they_lose(penguins, tmp_path):
    model, X, y = penguins
    written = {
        name: dp.to_onnx(model, tmp_path / "model.onnx", X=X, y=y, **options)
        for name, options in [
            ("float32", {}), ("float16", {"dtype": "float16"}), ("int8", {"quantize": True}),
        ]
    }  # fmt: skip
    differences = [file.agreement.largest_difference for file in written.values()]
    assert differences[0] < 1e-6 < differences[1] < 0.005 < differences[2] < 0.1
    sizes = [file.size for file in written.values()]
    assert (
        sizes[0] > 1.5 * sizes[1] > 1.5 * sizes[2] == 1.5 * (tmp_path / "model.onnx").stat().st_size
    )
    for file in written.values():
        assert file.agreement.n_rows == len(X)
        assert file.agreement.same_labels > 0.98
        assert file.agreement.score == model.score(X, y)
        assert abs(file.agreement.exported_score - file.agreement.score) < 0.02
        assert re.search(r"bytes\. On 344 rows.*accuracy is 0\.\d+ instead of 0\.9", str(file))


def test_the_loss_of_a_regression(tmp_path):
    rows = TABLE[["plain", "two", "missing"]]
    model = dp.TabularRegressor(hidden_layer_sizes=8, cv=1, max_iter=20, random_state=0).fit(
        rows, TARGET
    )
    found = dp.to_onnx(model, tmp_path / "model.onnx", X=rows, y=TARGET, quantize=True).agreement
    assert found.score == model.score(rows, TARGET)
    assert 0 < abs(found.exported_score - found.score) < 0.1
    assert found.same_labels is None
    assert "R²" in str(found)


def test_what_the_file_says_about_the_model(penguins, tmp_path):
    model, _, _ = penguins
    dp.to_onnx(model, tmp_path / "model.onnx")
    file = onnx.load(tmp_path / "model.onnx")
    facts = {entry.key: entry.value for entry in file.metadata_props}
    assert facts["kind"] == "TabularClassifier"
    assert facts["deltaprop"] == dp.__version__ == file.producer_version
    assert facts["target"] == "species"
    assert json.loads(facts["classes"]) == model.classes_.tolist()
    assert json.loads(facts["columns"]) == model.encoder_.kinds_
    assert {entry.domain: entry.version for entry in file.opset_import} == {"": 15, "ai.onnx.ml": 2}
    assert file.ir_version == 8


CUSTOM = dp.Activation("sine", lambda a, xp: xp.sin(a), lambda a, z, xp: xp.cos(a))
TEXT = pd.DataFrame({"review": [f"text number {i} with words" for i in range(300)]})


@pytest.mark.parametrize(
    ("model", "error", "words"),
    [
        (lambda: dp.Network(2, [dp.Dense(1, CUSTOM)], loss="squared_error"), InputError, "'sine'"),
        (lambda: dp.MLPClassifier(), NotFittedError, "not fitted"),
        (lambda: "model.dp", InputTypeError, "got str"),
        (lambda: make_pipeline(dp.MLPClassifier()), InputTypeError, "skl2onnx"),
        (
            lambda: dp.TabularRegressor(hidden_layer_sizes=2, cv=1, max_iter=1).fit(TEXT, TARGET),
            InputError, "'review' holds text.*Leave the column out",
        ),
        (
            lambda: dp.load("tests/compatibility/models/tabular_regressor.dp.bin"),
            InputError, "is encoded as in an earlier version of deltaprop",
        ),
    ],
    ids=["activation", "not fitted", "no model", "pipeline", "text", "old file"],
)  # fmt: skip
def test_what_cannot_be_exported(model, error, words, tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(b"before")
    with pytest.raises(error, match=words):
        dp.to_onnx(model(), path)
    assert path.read_bytes() == b"before"


def test_wrong_options(penguins, tmp_path):
    with pytest.raises(InputError, match="dtype must be one of"):
        dp.to_onnx(penguins[0], tmp_path / "model.onnx", dtype="int8")
    with pytest.raises(InputError, match="quantize=True needs dtype='float32'"):
        dp.to_onnx(penguins[0], tmp_path / "model.onnx", dtype="float16", quantize=True)


# ---------------------------------------------------------------- the command


def test_the_command(penguins, tmp_path):
    dp.save(penguins[0], tmp_path / "model.dp")
    file = tmp_path / "model.onnx"
    command = ["export", str(tmp_path / "model.dp"), "--onnx", str(file)]
    done = CliRunner().invoke(app, [*command, "--compare", "data/penguins.csv"])
    assert done.exit_code == 0, done.output
    assert f"{file.stat().st_size:,} bytes. On 344 rows" in done.stderr
    assert done.stdout == ""
    size = file.stat().st_size
    done = CliRunner().invoke(app, [*command, "--quantize", "--quiet"])
    assert done.output == ""
    assert file.stat().st_size < size / 2


def test_the_command_needs_a_file(penguins, tmp_path):
    dp.save(penguins[0], tmp_path / "model.dp")
    done = CliRunner().invoke(app, ["export", str(tmp_path / "model.dp")])
    assert isinstance(done.exception, InputError)
    assert "--onnx" in str(done.exception)
