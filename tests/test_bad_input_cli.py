"""Bad input on the command line: one readable message, exit code 2, nothing written."""

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

import deltaprop as dp
from deltaprop.cli import main
from deltaprop.cli.app import app


@pytest.fixture
def folder(tmp_path, monkeypatch):
    pd.read_csv("data/penguins.csv").to_csv(tmp_path / "t.csv", index=False)
    monkeypatch.chdir(tmp_path)
    rows = pd.DataFrame({"a": np.arange(40.0), "b": np.arange(40) % 2})
    rows.assign(c=1).to_csv("constant.csv", index=False)
    rows.head(5).to_csv("short.csv", index=False)
    rows.assign(w="x").to_csv("words.csv", index=False)
    rows[["b"]].to_csv("only.csv", index=False)
    rows.assign(name=[f"n{i}" for i in range(40)]).to_csv("names.csv", index=False)
    rows.assign(rare=["no"] * 39 + ["yes"]).to_csv("rare.csv", index=False)
    (tmp_path / "empty.csv").write_text("")
    (tmp_path / "broken.parquet").write_text("no")
    (tmp_path / "broken.dp").write_text("no")
    model = dp.TabularClassifier(4, max_iter=2, random_state=0)
    dp.save(model.fit(rows[["a"]], rows["b"]), "m.dp")
    dp.save(dp.Network(1, [dp.Dense(1)], loss="huber"), "net.dp")
    return tmp_path


BAD = {
    "no such file": (["train", "absent.csv", "--target", "a"], "no file 'absent.csv'"),
    "no target": (["train", "t.csv"], "Missing option '--target'"),
    "unknown target": (["train", "t.csv", "--target", "speces"], "Did you mean 'species'"),
    "unknown task": (["train", "t.csv", "--target", "species", "--task", "x"], "--task must be"),
    "words to regress": (
        ["train", "t.csv", "--target", "species", "--task", "regression"],
        "needs numbers, but column 'species' holds words",
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
        "learning_rate",
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
    "broken table": (["train", "broken.parquet", "--target", "a"], "cannot be read as parquet"),
    "no such folder": (
        ["train", "t.csv", "--target", "species", "-o", "nowhere/m.dp"],
        "no folder 'nowhere'",
    ),
    "broken model": (["predict", "broken.dp", "t.csv"], "is not a model file"),
    "no such model": (["predict", "absent.dp", "t.csv"], "no file 'absent.dp'"),
    "a model without columns": (["predict", "net.dp", "t.csv"], "knows no table columns"),
    "missing columns": (["predict", "m.dp", "t.csv"], "lacks column(s) that the model needs: a"),
    "unknown output": (["predict", "m.dp", "words.csv", "-o", "p.xls"], "must end in .csv"),
    "no target to compare": (["evaluate", "m.dp", "t.csv"], "no column 'b'"),
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


def test_a_bug_of_ours_is_not_called_bad_input(folder, monkeypatch):
    def bug(*args, **kwargs):
        raise ZeroDivisionError

    monkeypatch.setattr("deltaprop.data.reading.read_table", bug)
    result = CliRunner().invoke(app, ["train", "t.csv", "--target", "species"])
    assert isinstance(result.exception, ZeroDivisionError)
    assert result.exit_code == 1


def test_ctrl_c_before_the_first_epoch_writes_nothing(folder, monkeypatch, capsys):
    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr("deltaprop.data.reading.read_table", interrupt)
    monkeypatch.setattr("sys.argv", ["deltaprop", "train", "t.csv", "--target", "species"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 130
    assert not (folder / "model.dp").exists()
