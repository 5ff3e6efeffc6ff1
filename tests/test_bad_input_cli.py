"""Bad input on the command line: one readable message, exit code 2, nothing written."""

import contextlib
import shutil
import subprocess
import sys
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pandas as pd
import pytest

import deltaprop as dp
from deltaprop.cli import main


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A folder with tables and models, good and bad."""
    folder = tmp_path_factory.mktemp("files")
    pd.read_csv("data/penguins.csv").to_csv(folder / "t.csv", index=False)
    with contextlib.chdir(folder):
        write_tables()
        write_models()
    return folder


@pytest.fixture
def folder(files, tmp_path, monkeypatch):
    """A copy of the files, as the current folder."""
    shutil.copytree(files, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


ROWS = pd.DataFrame({"a": np.arange(40.0), "b": np.arange(40) % 2})


def write_tables():
    rows = ROWS
    rows.assign(c=1).to_csv("constant.csv", index=False)
    rows.head(5).to_csv("short.csv", index=False)
    rows.assign(w="x").to_csv("words.csv", index=False)
    rows.assign(a="x").to_csv("other.csv", index=False)
    rows.assign(b="x").to_csv("labels.csv", index=False)
    rows.assign(b=np.inf).to_csv("infinite.csv", index=False)
    rows.head(10).to_csv("ten.csv", index=False)
    rows.to_csv("two.csv", index=False)
    rows.assign(b=["no"] * 37 + ["yes"] * 3).to_csv("few.csv", index=False)
    rows[["b"]].to_csv("only.csv", index=False)
    rows.assign(name=[f"n{i}" for i in range(40)]).to_csv("names.csv", index=False)
    rows.assign(rare=["no"] * 39 + ["yes"]).to_csv("rare.csv", index=False)
    Path("empty.csv").write_text("")
    Path("broken.parquet").write_text("no")
    Path("broken.dp").write_text("no")


def write_models():
    X, y = ROWS[["a"]], ROWS["b"]
    settings = {"max_iter": 2, "random_state": 0}
    dp.save(dp.TabularClassifier(4, **settings).fit(X, y), "m.dp")
    dp.save(dp.TabularClassifier(4, loss="hinge", **settings).fit(X, y), "hinge.dp")
    dp.save(dp.TabularRegressor(4, **settings).fit(X, y), "r.dp")
    dp.save(dp.Network(1, [dp.Dense(1)], loss="huber"), "net.dp")


BAD = {
    "no such file": (["train", "absent.csv", "--target", "a"], "no file 'absent.csv'"),
    "no target": (["train", "t.csv"], "Missing option '--target'"),
    "unknown target": (["train", "t.csv", "--target", "speces"], "Did you mean 'species'"),
    "unknown task": (
        ["train", "t.csv", "--target", "species", "--task", "x"],
        "unknown task 'x'. It must be one of auto",
    ),
    "words to regress": (
        ["train", "t.csv", "--target", "species", "--task", "regression"],
        "needs numbers, but column 'species' contains text",
    ),
    "unknown column to drop": (
        ["train", "t.csv", "--target", "species", "--drop", "isle"],
        "no column 'isle' (--drop)",
    ),
    "target dropped": (
        ["train", "t.csv", "--target", "sex", "--drop", "sex"],
        "cannot also be dropped",
    ),
    "weights of words": (
        ["train", "words.csv", "--target", "b", "--weight", "w"],
        "--weight 'w' must hold numbers",
    ),
    "no column but the weights": (
        ["train", "two.csv", "--target", "b", "--weight", "a"],
        "no column besides the target and the weight",
    ),
    "no column but the groups": (
        ["train", "two.csv", "--target", "b", "--groups", "a"],
        "no column besides the target and the groups",
    ),
    "groups that are missing": (
        ["train", "t.csv", "--target", "species", "--groups", "sex"],
        "--groups 'sex' must name a group in every row",
    ),
    "one group": (
        ["train", "constant.csv", "--target", "b", "--groups", "c"],
        "--groups 'c' must name at least two groups",
    ),
    "groups of a stream": (
        ["train", "t.csv", "--target", "species", "--groups", "island", "--memory", "1GB"],
        "--groups needs a table in memory",
    ),
    "times of a stream": (
        ["train", "t.csv", "--target", "species", "--time-column", "year", "--memory", "1GB"],
        "--time-column needs a table in memory",
    ),
    "too few groups to hold out": (
        ["train", "names.csv", "--target", "a", "--groups", "b", "--test-size", "0.9"],
        "does not suit 2 groups",
    ),
    "test size": (["train", "t.csv", "--target", "species", "--test-size", "2"], "--test-size"),
    "hidden sizes": (["train", "t.csv", "--target", "species", "--hidden", "3,x"], "--hidden"),
    "unknown activation": (
        ["train", "t.csv", "--target", "species", "--activation", "rleu"],
        "activation",
    ),
    "unknown solver": (["train", "t.csv", "--target", "species", "--solver", "sdg"], "solver"),
    "unknown loss": (["train", "t.csv", "--target", "species", "--loss", "huber"], "loss"),
    "unknown schedule": (
        ["train", "t.csv", "--target", "species", "--schedule", "x"],
        "unknown schedule 'x'",
    ),
    "no epochs": (["train", "t.csv", "--target", "species", "--epochs", "0"], "max_iter"),
    "negative rate": (
        ["train", "t.csv", "--target", "species", "--learning-rate", "-1"],
        "learning_rate_init",
    ),
    "epochs in words": (["train", "t.csv", "--target", "species", "--epochs", "x"], "--epochs"),
    "dropout": (["train", "t.csv", "--target", "species", "--dropout", "1"], "dropout"),
    "constant target": (["train", "constant.csv", "--target", "c"], "same value in every row"),
    "a class of one row": (
        ["train", "rare.csv", "--target", "rare"],
        "1 row(s) of class 'yes'; two classes need at least 3",
    ),
    "too few rows": (["train", "short.csv", "--target", "b"], "at least 10"),
    "only the target": (["train", "only.csv", "--target", "b"], "no column besides the target"),
    "identifiers": (["train", "names.csv", "--target", "name"], "identifier"),
    "empty file": (["train", "empty.csv", "--target", "a"], "is empty"),
    "broken table": (["train", "broken.parquet", "--target", "a"], "is not a Parquet file"),
    "no such folder": (
        ["train", "t.csv", "--target", "species", "-o", "nowhere/m.dp"],
        "no folder 'nowhere'",
    ),
    "broken model": (["predict", "broken.dp", "t.csv"], "is not a model file"),
    "no such model": (["predict", "absent.dp", "t.csv"], "no file 'absent.dp'"),
    "a model without columns": (["predict", "net.dp", "t.csv"], "does not store table columns"),
    "missing columns": (["predict", "m.dp", "t.csv"], "lacks column(s) that the model needs: a"),
    "unknown output": (["predict", "m.dp", "words.csv", "-o", "p.xls"], "must end in .csv"),
    "no target to compare": (["evaluate", "m.dp", "t.csv"], "no column 'b'"),
    "labels of another type": (["evaluate", "m.dp", "labels.csv"], "must hold classes such as 0"),
    "labels to check": (["check", "m.dp", "labels.csv"], "must hold classes such as 0"),
    "words to evaluate": (["evaluate", "r.dp", "labels.csv"], "contains text such as 'x'"),
    "infinite target": (["evaluate", "r.dp", "infinite.csv"], "has infinite values"),
    "infinite target to explain": (["explain", "r.dp", "infinite.csv"], "has infinite values"),
    "infinite target to learn": (
        ["train", "infinite.csv", "--target", "b", "--task", "regression"],
        "has infinite values",
    ),
    "numbers to classify": (
        ["train", "t.csv", "--target", "bill_length_mm", "--task", "classification"],
        "needs classes, but column 'bill_length_mm'",
    ),
    "probabilities of a regressor": (["predict", "r.dp", "words.csv", "--proba"], "--proba"),
    "probabilities of hinge": (["predict", "hinge.dp", "words.csv", "--proba"], "--proba"),
    "no rows left to train on": (
        ["train", "ten.csv", "--target", "b", "--task", "regression", "--test-size", "0.99"],
        "--test-size 0.99",
    ),
    "one class left to train on": (
        ["train", "few.csv", "--target", "b", "--test-size", "0.9"],
        "only one class",
    ),
    "seed": (["train", "t.csv", "--target", "species", "--seed", "-1"], "--seed"),
    "seed of a stream": (
        ["train", "t.csv", "--target", "species", "--seed", "-1", "--memory", "2MB"],
        "--seed",
    ),
    "too many units": (
        ["train", "t.csv", "--target", "species", "--hidden", "9999999999"],
        "--hidden",
    ),
    "more units than memory": (
        ["train", "t.csv", "--target", "species", "--hidden", "10000000,10000000"],
        "allocate",
    ),
    "memory": (["train", "t.csv", "--target", "species", "--memory", "x"], "memory"),
    "batch size": (["train", "t.csv", "--target", "species", "--batch-size", "-1"], "batch_size"),
    "rate that is no number": (
        ["train", "t.csv", "--target", "species", "--learning-rate", "nan"],
        "learning_rate_init",
    ),
    "L2": (["train", "t.csv", "--target", "species", "--l2", "-1"], "alpha"),
    "loss of other numbers": (
        ["train", "names.csv", "--target", "a", "--loss", "gamma"],
        "must be > 0",
    ),
    "loss of no such name": (["train", "t.csv", "--target", "species", "--loss", "x"], "loss"),
    "checkpoints too often": (
        [
            "train",
            "t.csv",
            "--target",
            "species",
            "--checkpoint",
            "run",
            "--checkpoint-seconds",
            "-1",
        ],
        "seconds",
    ),
    "checkpoints in a file": (
        ["train", "t.csv", "--target", "species", "--checkpoint", "t.csv"],
        "checkpoint folder",
    ),
    "unknown kind of URL": (
        ["train", "t.csv", "--target", "species", "-o", "nowhere://m.dp"],
        "cannot be used",
    ),
    "a cluster with a page": (
        ["train", "t.csv", "--target", "species", "--cluster", "local", "--watch"],
        "--watch",
    ),
    "unknown format": (["explain", "m.dp", "--format", "x"], "--format"),
    "unknown option": (["train", "t.csv", "--target", "species", "--colour"], "No such option"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_message_and_exit_code_2(case, folder, monkeypatch, capsys):
    arguments, message = BAD[case]
    before = sorted(path.name for path in folder.iterdir())
    monkeypatch.setattr("sys.argv", ["deltaprop", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    printed = capsys.readouterr()
    words = " ".join(printed.err.replace("│", " ").split())
    assert ended.value.code == 2
    assert message in words
    assert "Traceback" not in printed.err
    assert printed.out == ""
    assert sorted(path.name for path in folder.iterdir()) == before


PLANTED = """
import sys
from unittest.mock import patch
from deltaprop.cli import main

sys.argv = ["deltaprop", *{arguments}]
with patch("{name}", side_effect={error}("planted")):
    main()
"""
TRAIN = ["train", "t.csv", "--target", "species", "--epochs", "2"]
BUGS = {
    "reading": ("deltaprop.cli.tables.read_table", TRAIN),
    "encoding": ("deltaprop.data.columns.recognition.learned", TRAIN),
    "fitting": ("deltaprop.estimators.TabularClassifier.fit", TRAIN),
    "predicting": ("deltaprop.data.predicting.predictions", ["predict", "m.dp", "words.csv"]),
    "checking": ("deltaprop.explain.verification.verify", ["check", "m.dp", "words.csv"]),
    "explaining": ("deltaprop.explain.derivation.derive", ["explain", "m.dp"]),
}


@pytest.mark.parametrize("case", BUGS)
def test_a_bug_is_not_taken_for_bad_input(case, folder, monkeypatch):
    name, arguments = BUGS[case]
    monkeypatch.chdir(folder)
    monkeypatch.setattr("sys.argv", ["deltaprop", *arguments])
    for error in (ValueError, TypeError):
        with patch(name, side_effect=error("planted")), pytest.raises(error, match="planted"):
            main()
    assert not (folder / "model.dp").exists()


@pytest.mark.parametrize("error", ["ValueError", "TypeError"])
@pytest.mark.parametrize(
    "case",
    ["checking", *(pytest.param(c, marks=pytest.mark.slow) for c in BUGS if c != "checking")],
)
def test_a_bug_shows_its_traceback_and_exits_with_1(case, error, folder):
    name, arguments = BUGS[case]
    program = PLANTED.format(name=name, error=error, arguments=arguments)
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=120, cwd=folder
    )
    assert done.returncode == 1
    assert "\nTraceback (most recent call last)" in "\n" + done.stderr
    assert done.stderr.endswith(f"{error}: planted\n")
    assert not (folder / "model.dp").exists()


def test_ctrl_c_before_the_first_epoch_writes_nothing(folder, monkeypatch, capsys):
    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr("deltaprop.cli.tables.read_table", interrupt)
    monkeypatch.setattr("sys.argv", ["deltaprop", "train", "t.csv", "--target", "species"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 130
    assert not (folder / "model.dp").exists()


def test_an_error_without_a_message_still_has_one(folder, monkeypatch, capsys):
    def exhausted(*args, **kwargs):
        raise MemoryError

    monkeypatch.setattr("deltaprop.cli.tables.read_table", exhausted)
    monkeypatch.setattr("sys.argv", ["deltaprop", *TRAIN])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert capsys.readouterr().err == "Error: There is not enough memory.\n"
