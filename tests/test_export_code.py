"""Models as C headers and as Python files: they predict what the model predicts."""

import shutil
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

import deltaprop as dp
from deltaprop.cli.app import app
from deltaprop.functions import activations

from .generated_code import C, python_predictions, python_program, words
from .models_of_tables import SIGNAL, fitted, new_rows, quietly, rows_of_numbers, table

SLOW = pytest.mark.slow
TOLERANCE = {"rtol": 1e-5, "atol": 1e-6}


def text_rows(X):
    """The cells that the C program reads: dates as seconds, all else as text."""
    frame = X.drop(columns="empty") if "empty" in X else X.copy()
    if "when" in frame:
        seconds = (frame["when"] - pd.Timestamp(0)) / pd.Timedelta(1, "s")
        frame["when"] = seconds.astype(object).where(frame["when"].notna(), None)
    return words(frame)


def both(model, folder):
    """The compiled header and the Python file of a model; the functions return their sizes."""
    assert dp.to_c(model, folder / "model.h") == (folder / "model.h").stat().st_size
    assert dp.to_python(model, folder / "model.py") == (folder / "model.py").stat().st_size
    return C(folder), folder / "model.py"


def records(X):
    """Rows as dicts of values that JSON can represent."""
    frame = X.copy()
    if "when" in frame:
        frame["when"] = frame["when"].astype(str).where(frame["when"].notna(), None)
    frame = frame.astype(object).where(frame.notna(), None)
    return [{k: v.item() if hasattr(v, "item") else v for k, v in r.items()} for r in
            frame.to_dict("records")]  # fmt: skip


def agree_on_classes(model, folder, X, *, predictions=None):
    program, file = both(model, folder)
    P, y = quietly(model.predict_proba, X), quietly(model.predict, X)
    found = program.predict(text_rows(X))
    C_ = P.shape[1]
    np.testing.assert_allclose(np.array([f[:C_] for f in found], float), P, **TOLERANCE)
    several = y.ndim == 2
    decided = [list(map(int, f[C_:])) if several else f[C_] for f in found]
    assert decided == (y.tolist() if several else list(map(str, y)))
    of_python = python_predictions(file, records(X))
    np.testing.assert_allclose([proba for _, proba in of_python], P, **TOLERANCE)
    assert [label for label, _ in of_python] == y.tolist()


def agree_on_numbers(model, folder, X, expected):
    program, file = both(model, folder)
    expected = np.asarray(expected).reshape(len(X), -1)
    scale = float(np.abs(expected).max())
    found = np.array(program.predict(text_rows(X)), float)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6 * scale)
    of_python = [y for y, _ in python_predictions(file, records(X))]
    values = [list(y.values()) if isinstance(y, dict) else [y] for y in of_python]
    np.testing.assert_allclose(values, expected, rtol=1e-5, atol=1e-6 * scale)


# ---------------------------------------------------------------- tables


def test_an_ensemble_of_three_classes_with_bins_and_a_temperature(tmp_path):
    y = np.array(["low", "mid", "high"])[np.digitize(SIGNAL, [2.5, 4.0])]
    model = fitted("TabularClassifier", y, max_iter=15, learning_rate_init=0.02)
    assert len(model.members_) == 2
    assert model.temperature_ != 1
    assert len(model.encoder_.bins_)
    agree_on_classes(model, tmp_path, new_rows())


@pytest.mark.parametrize(
    "parameters",
    [
        {"decision_threshold": 0.3},
        pytest.param({"cost": {"false_positive": 1, "false_negative": 4}}, marks=SLOW),
        pytest.param({"loss": "focal"}, marks=SLOW),
        pytest.param({"refit": True}, marks=SLOW),
        pytest.param({"n_bins": 0, "preset": "fast", "activation": "mish"}, marks=SLOW),
    ],
)
def test_two_classes(parameters, tmp_path):
    model = fitted("TabularClassifier", SIGNAL > 3.2, **parameters)
    agree_on_classes(model, tmp_path, new_rows())


def test_costs_of_three_classes(tmp_path):
    y = np.digitize(SIGNAL, [2.5, 4.0])
    cost = [[0, 1, 5], [2, 0, 1], [9, 1, 0]]
    model = fitted("TabularClassifier", y, cost=cost)
    agree_on_classes(model, tmp_path, new_rows())


def test_classes_with_an_order(tmp_path):
    y = np.digitize(SIGNAL, [2.0, 3.0, 4.0])
    model = fitted("TabularClassifier", y, loss="ordinal")
    agree_on_classes(model, tmp_path, new_rows())
    dp.save(model, tmp_path / "model.dp")
    light = dp.load(tmp_path / "model.dp", light=True)
    P = quietly(model.predict_proba, new_rows())
    np.testing.assert_allclose(light.predict_proba(new_rows()), P, rtol=1e-4, atol=1e-6)


def test_several_labels(tmp_path):
    y = np.stack([SIGNAL > 2.5, SIGNAL > 4], axis=1).astype(int)
    model = fitted("TabularClassifier", y, decision_threshold="balanced_accuracy")
    agree_on_classes(model, tmp_path, new_rows())


@pytest.mark.parametrize("loss", ["squared_error", pytest.param("poisson", marks=SLOW)])
def test_numbers(loss, tmp_path):
    model = fitted("TabularRegressor", 1000 * (SIGNAL - SIGNAL.min()), loss=loss)
    agree_on_numbers(model, tmp_path, new_rows(), quietly(model.predict, new_rows()))


def test_several_targets_with_quantiles_and_periodic_features(tmp_path):
    loss = dp.losses.Quantile(quantiles=(0.1, 0.5, 0.9))
    y = np.stack([SIGNAL, 9 - 100 * SIGNAL], axis=1)
    model = fitted("TabularRegressor", y, loss=loss, periodic=2)
    agree_on_numbers(model, tmp_path, new_rows(), quietly(model.predict, new_rows()))
    _, file = tmp_path / "model.h", tmp_path / "model.py"
    ((first, *_),) = python_predictions(file, records(new_rows()[:1]))
    assert list(first) == [f"prediction_{i}_q{q}" for i in (0, 1) for q in (0.1, 0.5, 0.9)]


@pytest.mark.parametrize("targets", [pytest.param(1, marks=SLOW), 2])
def test_means_and_standard_deviations(targets, tmp_path):
    y = 100 * SIGNAL if targets == 1 else np.stack([SIGNAL, 9 - 100 * SIGNAL], axis=1)
    model = fitted("TabularRegressor", y, loss="gaussian_nll")
    mean, std = quietly(lambda X: model.predict(X, return_std=True), new_rows())
    expected = np.column_stack([mean, std])
    agree_on_numbers(model, tmp_path, new_rows(), expected)


def test_numbers_with_a_normal_distribution(tmp_path):
    rng = np.random.default_rng(0)
    X = pd.DataFrame({"tied": np.round(rng.normal(0, 3, 900)), "free": rng.normal(size=900)})
    X["constant"], X["time"] = 1.0, pd.to_timedelta(rng.integers(0, 9, 900), "s")
    model = dp.TabularRegressor((5,), cv=1, max_iter=2, numbers="normal", random_state=0)
    model.fit(X, X["free"])
    rows = X[:60].assign(constant=2.0)
    rows.loc[:3, "tied"] = [np.nan, np.inf, -np.inf, 1e300]
    rows.loc[[4, 5], "free"] = [X["free"].min(), X["free"].max()]
    dp.to_c(model, tmp_path / "model.h")
    dp.to_python(model, tmp_path / "model.py")
    rows["time"] = rows["time"].dt.total_seconds()
    expected = model.predict(rows.assign(time=pd.to_timedelta(rows["time"], "s")))
    found = np.array(C(tmp_path).predict(words(rows)), float)[:, 0]
    np.testing.assert_allclose(found, expected, **TOLERANCE)
    of_python = [y for y, _ in python_predictions(tmp_path / "model.py", records(rows))]
    np.testing.assert_allclose(of_python, expected, **TOLERANCE)
    dp.save(model, tmp_path / "model.dp")
    light = dp.load(tmp_path / "model.dp", light=True)
    np.testing.assert_allclose(light.predict(rows), expected, **TOLERANCE)


def test_dates_before_1970_and_words_of_dates(tmp_path):
    X, _ = table()
    days = pd.to_datetime(["1600-02-29", "1900-03-01", "2000-12-31", "2024-02-29"] * 30)
    X = pd.DataFrame({"day": days.strftime("%d.%m.%Y"), "hour": days + pd.Timedelta(hours=23)})
    model = dp.TabularRegressor((5,), cv=1, max_iter=2, random_state=0).fit(X, SIGNAL)
    dp.to_c(model, tmp_path / "model.h")
    seconds = X.assign(day=days.as_unit("s").asi8.astype(float))
    seconds["hour"] = seconds["day"] + 23 * 3600
    found = np.array(C(tmp_path).predict(words(seconds)), float)[:, 0]
    np.testing.assert_allclose(found, model.predict(X), **TOLERANCE)
    dp.to_python(model, tmp_path / "model.py")
    rows = [{"day": d, "hour": str(h)} for d, h in zip(X["day"], X["hour"], strict=True)]
    of_python = [y for y, _ in python_predictions(tmp_path / "model.py", rows)]
    np.testing.assert_allclose(of_python, model.predict(X), **TOLERANCE)


def test_the_python_file_knows_time_zones_and_c_says_that_it_does_not(tmp_path):
    when = pd.date_range("2024-01-01", periods=120, freq="37h", tz="Europe/Berlin")
    model = dp.TabularRegressor((5,), cv=1, max_iter=2, random_state=0)
    model.fit(pd.DataFrame({"when": when}), SIGNAL)
    dp.to_python(model, tmp_path / "model.py")
    rows = [{"when": str(time)} for time in when.tz_convert("Asia/Tokyo")]
    of_python = [y for y, _ in python_predictions(tmp_path / "model.py", rows)]
    expected = model.predict(pd.DataFrame({"when": when}))
    np.testing.assert_allclose(of_python, expected, **TOLERANCE)
    with pytest.raises(ValueError, match=r"'when' .* Europe/Berlin.*UTC"):
        dp.to_c(model, tmp_path / "model.h")


def test_the_python_file_is_a_program_that_reads_csv(tmp_path):
    X, _ = table()
    y = pd.Series(SIGNAL > 3.2, name="wide")
    model = fitted("TabularClassifier", y)
    model.label_words_ = {True: "JA", False: "NEIN"}  # as `deltaprop train` keeps them
    dp.to_python(model, tmp_path / "model.py")
    found = python_program(tmp_path / "model.py", X, "--proba")
    assert list(found[0]) == ["wide", "probability_NEIN", "probability_JA"]
    assert [row["wide"] for row in found] == ["JA" if p else "NEIN" for p in model.predict(X)]
    P = np.array([[row["probability_NEIN"], row["probability_JA"]] for row in found], float)
    np.testing.assert_allclose(P, model.predict_proba(X), **TOLERANCE)
    assert list(python_program(tmp_path / "model.py", X)[0]) == ["wide"]


def test_a_program_ends_quietly_when_nobody_reads_on(tmp_path):
    dp.to_python(fitted("TabularRegressor", SIGNAL), tmp_path / "model.py")
    rows = table()[0].to_csv(index=False).encode()
    head, _, rest = rows.partition(b"\n")
    with subprocess.Popen(
        [sys.executable, str(tmp_path / "model.py")], stdin=subprocess.PIPE,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        process.stdout.close()
        process.stdin.write(head + b"\n" + rest)
        process.stdin.close()
        assert process.stderr.read() == b""
        assert process.wait(60) == 0


def test_a_program_names_a_missing_column(tmp_path):
    model = fitted("TabularRegressor", SIGNAL)
    dp.to_python(model, tmp_path / "model.py")
    with pytest.raises(AssertionError, match=r"lacks column.*: two"):
        python_program(tmp_path / "model.py", table()[0].drop(columns="two"))


def test_the_command_writes_both_and_says_how_large_they_are(tmp_path, capsys):
    model = fitted("TabularRegressor", SIGNAL)
    dp.save(model, tmp_path / "model.dp")
    files = [str(tmp_path / f"model.{ending}") for ending in ("dp", "h", "py")]
    app(["export", files[0], "--c", files[1], "--python", files[2]], standalone_mode=False)
    sizes = [(tmp_path / f"model.{ending}").stat().st_size for ending in ("h", "py")]
    told = capsys.readouterr().err.splitlines()
    assert told == [f"{files[1]}: {sizes[0]:,} bytes.", f"{files[2]}: {sizes[1]:,} bytes."]
    with pytest.raises(ValueError, match="Name a file to write: --onnx or --c or --python"):
        app(["export", files[0]], standalone_mode=False)


# ---------------------------------------------------------------- networks and MLP estimators


@pytest.mark.parametrize("dtype", ["float32", pytest.param("float64", marks=SLOW)])
def test_every_activation(dtype, tmp_path):
    names = [name for name in activations.NAMES if name != "sigmoid"]
    layers = [
        dp.Dense(4, name, input_scale=i % 2 == 0, trainable_activation=i % 3 == 0)
        for i, name in enumerate(names)
    ]
    net = dp.Network(3, [*layers, dp.Dense(2)], loss="squared_error", dtype=dtype, seed=0)
    for vector in (*net.r, *net.alpha):
        if vector is not None:
            vector *= 0.8
    X = rows_of_numbers()
    program, file = both(net, tmp_path)
    found = np.array(program.predict([list(map(repr, row)) for row in X.tolist()]), float)
    np.testing.assert_allclose(found, net.predict(X), rtol=1e-4 if dtype == "float32" else 1e-12)
    rows = [dict(zip(["x0", "x1", "x2"], row, strict=True)) for row in X.tolist()]
    of_python = [list(y.values()) for y, _ in python_predictions(file, rows)]
    np.testing.assert_allclose(of_python, net.predict(X), rtol=1e-4)


@pytest.mark.parametrize("n_classes", [pytest.param(2, marks=SLOW), 3])
def test_margins_of_the_hinge_loss(n_classes, tmp_path):
    X = rows_of_numbers()
    y = np.arange(len(X)) % n_classes
    if n_classes == 3:
        y = np.stack([y == 0, y == 1], axis=1).astype(int)
    model = dp.MLPClassifier((4,), loss="hinge", max_iter=3, random_state=0).fit(X, y)
    program, file = both(model, tmp_path)
    found = program.predict([list(map(repr, row)) for row in X.tolist()])
    margins = model.decision_function(X).reshape(len(X), -1)
    got = np.array([fields[: margins.shape[1]] for fields in found], float)
    np.testing.assert_allclose(got, margins, rtol=1e-9)
    y = model.predict(X)
    assert [list(map(int, f[2:])) if y.ndim == 2 else int(f[2]) for f in found] == y.tolist()
    rows = [dict(zip(["x0", "x1", "x2"], row, strict=True)) for row in X.tolist()]
    assert [label for label, P in python_predictions(file, rows)] == y.tolist()


@pytest.mark.parametrize("loss", ["log_loss", pytest.param("cross_entropy", marks=SLOW)])
def test_mlp_classifiers(loss, tmp_path):
    frame = pd.DataFrame(rows_of_numbers(), columns=["a", "b", "c d"])
    y = np.where(frame["a"] > 0, "+", "-")
    model = dp.MLPClassifier((4,), loss=loss, max_iter=3, random_state=0).fit(frame, y)
    agree_on_classes(model, tmp_path, frame)


# ---------------------------------------------------------------- names, errors


def test_names_of_columns_that_are_no_identifiers_of_c(tmp_path):
    names = [
        "int",
        "NAN",
        "row",
        "a b",
        "a_b",
        "2",
        "*/ #error",
        "é",
        "e",
        "y\n",
        "REAL",
        "NAME",
        "x",
    ]
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.choice(["u", "v", "w"], (60, len(names))), columns=names)
    model = dp.TabularRegressor((3,), cv=1, max_iter=2, random_state=0).fit(X, rng.normal(size=60))
    dp.to_c(model, tmp_path / "model.h")
    found = np.array(C(tmp_path).predict(words(X)), float)[:, 0]
    np.testing.assert_allclose(found, model.predict(X), **TOLERANCE)


def test_the_header_is_valid_in_cpp(tmp_path):
    if shutil.which("g++") is None:
        pytest.skip("g++ is not installed")
    dp.to_c(fitted("TabularClassifier", SIGNAL > 3), tmp_path / "model.h")
    (tmp_path / "main.cpp").write_text('#include "model.h"\n')
    command = "g++ -std=c++17 -Wall -Wextra -Werror -fsyntax-only main.cpp"
    subprocess.run(command.split(), cwd=tmp_path, check=True)


def test_two_models_in_one_program(tmp_path):
    net = dp.Network(1, [dp.Dense(1)], loss="squared_error", seed=0)
    dp.to_c(net, tmp_path / "model.h")
    dp.to_c(net, tmp_path / "other.h", name="other")
    text = (tmp_path / "model.h").read_text()
    (tmp_path / "model.h").write_text(f'#include "other.h"\n{text}')
    assert float(C(tmp_path).predict([["2.0"]])[0][0]) == net.predict([[2.0]])[0, 0]


@pytest.mark.parametrize("export", ["to_c", "to_python"])
def test_what_cannot_be_exported_is_named(export, tmp_path):
    write = getattr(dp, export)
    texts = [f"text number {i} of many, and no other" for i in range(60)]
    model = dp.TabularRegressor((3,), cv=1, max_iter=2, random_state=0)
    model.fit(pd.DataFrame({"n": range(60), "remark": texts}), np.arange(60.0))
    with pytest.raises(ValueError, match=r"'remark' contains text.*Leave the column out"):
        write(model, tmp_path / "model")
    sine = dp.Activation("sine", lambda a, xp: xp.sin(a), lambda a, z, xp: xp.cos(a))
    net = dp.Network(1, [dp.Dense(1, sine), dp.Dense(1)], loss="squared_error")
    with pytest.raises(ValueError, match="'sine' is a custom one"):
        write(net, tmp_path / "model")
    with pytest.raises(ValueError, match="A dict cannot be exported"):
        write({}, tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_a_name_must_be_an_identifier(tmp_path):
    net = dp.Network(1, [dp.Dense(1)], loss="squared_error")
    with pytest.raises(ValueError, match="name must be an identifier"):
        dp.to_c(net, tmp_path / "model.h", name="my model")
