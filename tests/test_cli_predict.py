"""``deltaprop predict``: what it writes, in which format, and how it ends."""

import io
import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

import deltaprop as dp
from deltaprop.cli import is_bad_input
from deltaprop.cli.app import app

RUN = [sys.executable, "-m", "deltaprop"]


def run(*arguments):
    """Standard output of a command that succeeds, as bytes."""
    done = CliRunner().invoke(app, [str(a) for a in arguments])
    assert done.exit_code == 0, (done.output, done.exception)
    return done.stdout_bytes


def error(*arguments):
    """The message of a command that refuses its arguments."""
    done = CliRunner().invoke(app, [str(a) for a in arguments])
    assert done.stdout == "" or isinstance(done.exception, SystemExit)
    if isinstance(done.exception, SystemExit):
        return " ".join(done.output.replace("│", " ").split())
    assert is_bad_input(done.exception), done.exception
    return str(done.exception)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder, n = tmp_path_factory.mktemp("predict"), np.arange(60)
    rows = pd.DataFrame({
        "id": [f"row {i}" for i in n], "a": n / 3, "b": n % 7, "unit": ["Ä", "ß", "µ"] * 20,
        "churn": (n % 2).astype(float), "left": np.where(n % 2, "yes", "no"), "amount": n * 1.5,
    })  # fmt: skip
    rows.loc[5, "churn"] = np.nan
    rows.to_csv(folder / "rows.csv", index=False)
    rows.to_parquet(folder / "rows.parquet")
    for target in ("churn", "left", "amount"):
        others = [c for c in ("id", "churn", "left", "amount") if c != target]
        drop = [part for other in others for part in ("--drop", other)]
        run("train", folder / "rows.csv", "--target", target, "-o", folder / f"{target}.dp",
            "--quiet", "--epochs", 3, "--cv", 3, *drop)  # fmt: skip
    return folder


def table(text, format="csv"):
    if format == "jsonl":
        return pd.read_json(io.BytesIO(text), lines=True)
    if format == "parquet":
        return pd.read_parquet(io.BytesIO(text))
    return pd.read_csv(io.BytesIO(text), sep="\t" if format == "tsv" else ",")


def test_labels_that_were_read_as_floats_are_whole_numbers(folder):
    written = run("predict", folder / "churn.dp", folder / "rows.csv").decode().splitlines()
    assert written[0] == "churn"
    assert set(written[1:]) <= {"0", "1"}
    assert run("predict", folder / "churn.dp", folder / "rows.csv", "--proba").startswith(
        b"churn,probability_0,probability_1\n"
    )
    assert dp.load(folder / "churn.dp").classes_.dtype == np.int64


@pytest.mark.parametrize("format", ["csv", "tsv", "jsonl", "parquet"])
def test_columns_that_identify_rows_are_kept(folder, format):
    written = run(
        "predict", folder / "left.dp", folder / "rows.csv", "--keep", "id,unit", "--keep", "left",
        "--proba", "--format", format,
    )  # fmt: skip
    found = table(written, format)
    rows = pd.read_csv(folder / "rows.csv")
    assert list(found.columns) == [
        "id", "unit", "left", "predicted_left", "probability_no", "probability_yes"
    ]  # fmt: skip
    pd.testing.assert_frame_equal(found[["id", "unit", "left"]], rows[["id", "unit", "left"]],
                                  check_dtype=False)  # fmt: skip
    model = dp.load(folder / "left.dp")
    assert list(found.predicted_left) == list(model.predict(rows))
    np.testing.assert_allclose(found.probability_yes, model.predict_proba(rows)[:, 1], rtol=1e-6)


def test_intervals_are_written_on_request(folder):
    found = table(run("predict", folder / "amount.dp", folder / "rows.csv", "--interval", "0.8"))
    rows = pd.read_csv(folder / "rows.csv")
    low, high = dp.load(folder / "amount.dp").predict_interval(rows, coverage=0.8).T
    np.testing.assert_allclose(found.amount_low, low)
    np.testing.assert_allclose(found.amount_high, high)
    assert (found.amount_low < found.amount).all()
    assert "--interval needs a regressor" in error(
        "predict", folder / "left.dp", folder / "rows.csv", "--interval", "0.8"
    )
    assert "--interval must lie between 0 and 1, got 8" in error(
        "predict", folder / "amount.dp", folder / "rows.csv", "--interval", "8"
    )


@pytest.mark.parametrize("name", ["p.csv", "p.tsv", "p.jsonl", "p.ndjson", "p.parquet", "p.pq"])
@pytest.mark.parametrize("source", ["rows.csv", "rows.parquet"])
def test_a_stream_is_written_as_a_table_in_memory_is(folder, tmp_path, name, source):
    arguments = ("predict", folder / "left.dp", folder / source, "--keep", "id", "-o")
    run(*arguments, tmp_path / name)
    run(*arguments, tmp_path / f"streamed_{name}", "--memory", "2MB", "--quiet")
    assert (tmp_path / name).read_bytes() == (tmp_path / f"streamed_{name}").read_bytes()


def test_the_parts_of_a_long_table_are_one_table(folder, monkeypatch):
    whole = {f: run("predict", folder / "left.dp", folder / "rows.csv", "--keep", "id,amount",
                    "--format", f) for f in ("csv", "jsonl", "parquet")}  # fmt: skip
    monkeypatch.setattr("deltaprop.data.predicting.ROWS_AT_ONCE", 7)
    for format, text in whole.items():
        parts = run("predict", folder / "left.dp", folder / "rows.csv", "--keep", "id,amount",
                    "--format", format)  # fmt: skip
        pd.testing.assert_frame_equal(table(parts, format), table(text, format))


@pytest.mark.parametrize("format", ["csv", "jsonl"])
def test_a_reader_that_closes_the_pipe_early_is_no_error(folder, tmp_path, format):
    rows = pd.read_csv(folder / "rows.csv")
    pd.concat([rows] * 500).to_csv(tmp_path / "long.csv", index=False)
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c",
         f"{sys.executable} -m deltaprop predict {folder / 'left.dp'} {tmp_path / 'long.csv'} "
         f"--keep id --format {format} | head -2"],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0
    assert done.stderr == ""
    assert len(done.stdout.splitlines()) == 2


@pytest.mark.parametrize("name", ["p.csv", "p.jsonl", "p.parquet"])
def test_an_error_on_the_way_leaves_the_old_file(folder, tmp_path, monkeypatch, name):
    from deltaprop.data import predicting

    (tmp_path / name).write_text("old")
    monkeypatch.setattr(predicting, "ROWS_AT_ONCE", 20)
    calls, predict = [], predicting.predictions

    def fails(*args, **kwargs):
        calls.append(1)
        if len(calls) == 3:
            raise MemoryError
        return predict(*args, **kwargs)

    monkeypatch.setattr(predicting, "predictions", fails)
    done = CliRunner().invoke(
        app,
        ["predict", str(folder / "left.dp"), str(folder / "rows.csv"), "-o", str(tmp_path / name)],
    )
    assert isinstance(done.exception, MemoryError)
    assert (tmp_path / name).read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_what_cannot_be_written_is_said_before_the_work(folder, tmp_path):
    assert "--output: the name must end in .csv, .tsv" in error(
        "predict", folder / "left.dp", folder / "rows.csv", "-o", tmp_path / "p.xls"
    )
    run(
        "predict",
        folder / "left.dp",
        folder / "rows.csv",
        "-o",
        tmp_path / "p.txt",
        "--format",
        "tsv",
    )
    assert (tmp_path / "p.txt").read_text().startswith("left\n")
    assert "unknown format 'jsonn'; did you mean 'jsonl'?" in error(
        "predict", folder / "left.dp", folder / "rows.csv", "--format", "jsonn"
    )
    assert "no column 'idd' (to keep). Did you mean 'id'?" in error(
        "predict", folder / "left.dp", folder / "rows.csv", "--keep", "idd"
    )


def test_json_lines_hold_dates_and_missing_values(folder, tmp_path):
    rows = pd.read_csv(folder / "rows.csv").assign(day=pd.Timestamp("2024-02-29"))
    rows.loc[0, "unit"] = None
    rows.to_parquet(tmp_path / "days.parquet")
    written = run("predict", folder / "left.dp", tmp_path / "days.parquet", "--keep", "day,unit",
                  "--format", "jsonl")  # fmt: skip
    first = json.loads(written.splitlines()[0])
    assert first["day"].startswith("2024-02-29T00:00:00")
    assert first["unit"] is None


@pytest.mark.parametrize("words", [("TRUE", "FALSE"), ("true", "false"), ("yes", "no")])
def test_labels_are_written_as_in_the_table_of_the_training(folder, tmp_path, words):
    rows = pd.read_csv(folder / "rows.csv")[["a", "b", "left"]]
    rows["left"] = np.where(rows.left == "yes", *words)
    rows.loc[3, "left"] = None
    rows.to_csv(tmp_path / "t.csv", index=False, sep=";")
    run("train", tmp_path / "t.csv", "--target", "left", "-o", tmp_path / "m.dp", "-q", "--cv", 1,
        "--epochs", 40)  # fmt: skip
    written = run("predict", tmp_path / "m.dp", tmp_path / "t.csv", "--proba").decode().splitlines()
    assert set(written[0].split(",")) == {"left", *(f"probability_{word}" for word in words)}
    assert {line.split(",")[0] for line in written[1:]} == set(words)
