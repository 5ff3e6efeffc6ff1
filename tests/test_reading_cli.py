"""The commands read the tables that people have, and say how."""

import io
import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from deltaprop.cli import main

TABLES = Path(__file__).parent / "tables"
SMALL = ["--epochs", "2", "--folds", "1", "--hidden", "4"]


@pytest.fixture
def run(monkeypatch, capsys):
    """Run a command; returns its exit code, standard output and standard error."""

    def run(*arguments):
        monkeypatch.setattr("sys.argv", ["deltaprop", *map(str, arguments)])
        try:
            main()
            code = 0
        except SystemExit as ended:
            code = ended.code or 0
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return run


@pytest.fixture(scope="module")
def german(tmp_path_factory):
    """A German export: what leads to a good model if its numbers are read as numbers."""
    rng = np.random.default_rng(0)
    sales = rng.uniform(500, 5000, 200)
    words = [f"{x:,.2f}".translate(str.maketrans(",.", ".,")) for x in sales]
    frame = pd.DataFrame({"Größe": words, "Käufer": np.where(sales > 2000, "ja", "nein")})
    path = tmp_path_factory.mktemp("german") / "export.csv"
    path.write_bytes(frame.to_csv(index=False, sep=";").encode("latin-1"))
    return path


def test_a_german_export_is_read_and_reported_in_one_line(german, run, tmp_path):
    out = tmp_path / "m.dp"
    code, printed, messages = run("train", german, "--target", "Käufer", "-o", out, *SMALL)
    assert code == 0, messages
    assert (
        "';' as separator and ',' as decimal mark and '.' between thousands (latin-1; if"
        in messages
    )
    assert "200 rows, 2 columns: 1 numeric, 1 boolean." in messages
    assert "Käufer has 2 classes" in messages
    code, printed, _ = run("info", out, "--json")
    assert json.loads(printed)["columns"] == {"Größe": "numeric"}


@pytest.fixture(scope="module")
def model(tmp_path_factory, german):
    """A model of one number and one class."""
    import deltaprop as dp

    rng = np.random.default_rng(0)
    X = pd.DataFrame({"x": rng.normal(size=60).round(2)})
    model = dp.TabularClassifier((4,), max_iter=2, cv=1, random_state=0)
    path = tmp_path_factory.mktemp("model") / "m.dp"
    dp.save(model.fit(X, pd.Series(np.where(X["x"] > 0, "a", "b"), name="y")), path)
    return path


def test_cells_that_do_not_parse_are_counted(model, run, tmp_path):
    path = tmp_path / "new.csv"
    path.write_text("x\n1.5\nmany\n2.5\n")
    code, printed, messages = run("predict", model, path)
    assert code == 0
    assert len(printed.splitlines()) == 4
    assert messages.count("'many'") == 1
    assert "1 of 3 cells are not numbers and are treated as missing" in messages


def test_strict_makes_them_an_error(model, run, tmp_path):
    path = tmp_path / "new.csv"
    path.write_text("x\n1.5\nmany\n2.5\n")
    code, _, messages = run("predict", model, path, "--strict", "-o", tmp_path / "p.csv")
    assert code == 2
    assert messages.startswith("Error: Column 'x': 1 of 3 cells are not numbers")
    assert not (tmp_path / "p.csv").exists()


def test_decimal_commas_are_numbers_at_prediction_even_beside_bad_cells(model, run, tmp_path):
    good, bad = tmp_path / "good.csv", tmp_path / "bad.csv"
    numbers = ["-1.5", "2.5", "0.5", "-0.25", "1.75", "-2.25"]
    good.write_text("x,k\n" + "".join(f"{x},1\n" for x in [*numbers, ""]))
    bad.write_text("x;k\n" + "".join(f"{x.replace('.', ',')};1\n" for x in [*numbers, "about 1"]))
    _, expected, _ = run("predict", model, good, "--proba")
    code, printed, messages = run("predict", model, bad, "--proba")
    assert code == 0
    assert printed == expected
    assert "'about 1'" in messages


def test_standard_input(model, run, monkeypatch):
    standard_input = io.TextIOWrapper(io.BytesIO(b"x;k\n1,5;1\n-2,5;1\n"))
    monkeypatch.setattr("sys.stdin", standard_input)
    code, printed, messages = run("predict", model, "-")
    assert code == 0
    assert len(printed.splitlines()) == 3
    assert messages.startswith("standard input: Read with ';' as separator")


def test_options_are_passed_on(run, tmp_path):
    path = tmp_path / "t.txt"
    path.write_bytes("a:b\n1,234:-999\n2,500:Köln\n".encode("cp850"))
    options = ["--sep", ":", "--thousands", ",", "--encoding", "cp850", "--na", "-999"]
    code, printed, _ = run("look", path, "--json", *options)
    facts = {fact["name"]: fact for fact in json.loads(printed)["facts"]}
    assert code == 0
    assert facts["a"]["examples"] == ["1234", "2500"]
    assert facts["b"]["examples"] == ["Köln"]
    assert facts["b"]["missing"] == 0.5


def test_look_describes_a_table(run):
    code, printed, messages = run("look", "data/penguins.csv", "--target", "species")
    assert code == 0
    assert messages == ""
    assert "flipper_length_mm" in printed
    assert "344 rows, 8 columns: 5 numeric, 3 categorical." in printed
    assert "species has 3 classes: Adelie 44 %, Gentoo 36 %, Chinstrap 20 %." in printed


def test_what_cannot_be_streamed_is_a_clear_error(run, german):
    code, _, messages = run("train", german, "--target", "Käufer", "--memory", "2MB", *SMALL)
    assert code == 2
    assert "marks between thousands" in messages
    code, _, messages = run("train", "-", "--target", "y", "--memory", "2MB", *SMALL)
    assert code == 2
    assert "without --memory" in messages


def test_a_missing_extra_is_one_line(run, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "python_calamine", None)
    shutil.copy(TABLES / "people.xlsx", tmp_path / "people.xlsx")
    code, _, messages = run("look", tmp_path / "people.xlsx")
    assert code == 2
    assert messages.count("\n") == 1
    assert "pip install 'deltaprop[excel]'" in messages
