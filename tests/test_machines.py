"""Machines that are not as usual: no home directory, no terminal, a full disk, hostile names."""

import json
import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import deltaprop as dp

from .terminal import read_until

RUN = [sys.executable, "-m", "deltaprop"]
NAMES = ["[/red]", "[bold]x", "\x1b[2J", "a\nb", ":smile:", "\u202egnp", "\x9b31m"]
CONTROLS = ["\x1b", "\x9b", "\u202e", "\u2028", "\r"]


def deltaprop(*arguments, env=None, **streams):
    command = [*RUN, *map(str, arguments)]
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **streams}
    return subprocess.run(
        command, env=os.environ | (env or {}), timeout=120, check=False, **streams
    )  # fmt: skip


def in_shell(redirection, *arguments, env=None):
    """Run a command with a redirection of its streams that only a shell can make."""
    command = ["bash", "-c", f'"$@" {redirection}; exit ${{PIPESTATUS[0]}}', "-", *RUN]
    return subprocess.run(
        [*command, *map(str, arguments)], capture_output=True, timeout=120, check=False,
        env=os.environ | (env or {}), text=True,
    )  # fmt: skip


@pytest.fixture(scope="module")
def penguins():
    return str(Path("data/penguins.csv").resolve())


@pytest.fixture(scope="module")
def model(tmp_path_factory, penguins):
    """A model that is written while there is no home directory."""
    path = tmp_path_factory.mktemp("machines") / "penguins.dp"
    done = train(penguins, "species", path, env={"HOME": "/dev/null"})
    assert (done.returncode, done.stderr) == (0, b"")
    return path


def train(table, target, path, *options, **more):
    return deltaprop(
        "train", table, "--target", target, "--preset", "fast", "--epochs", 5, "-q", "-o", path,
        *options, **more,
    )  # fmt: skip


# ---------------------------------------------------------------- the home directory


@pytest.mark.slow
@pytest.mark.parametrize("command", ["predict", "evaluate", "check"])
@pytest.mark.parametrize("home", ["/dev/null", "/nonexistent/home", ""])
def test_no_command_needs_a_home_directory(command, home, model, penguins):
    done = deltaprop(command, model, penguins, env={"HOME": home})
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.slow
def test_old_model_files_are_read_without_a_home_directory(tmp_path):
    """They contain objects of skrub, which creates a folder in the home directory."""
    old = Path("tests/compatibility/models/tabular_regressor.dp.bin").resolve()
    nowhere = {"HOME": "/dev/null", "MPLCONFIGDIR": str(tmp_path)}  # skrub imports Matplotlib
    done = deltaprop("info", old, "--json", cwd=tmp_path, env=nowhere)
    assert (done.returncode, done.stderr) == (0, b"")
    assert json.loads(done.stdout)["kind"] == "TabularRegressor"


# ---------------------------------------------------------------- standard streams

COMMANDS = {
    "predict": lambda model, table: ["predict", model, table],
    "predict parquet": lambda model, table: ["predict", model, table, "--format", "parquet"],
    "predict json": lambda model, table: ["predict", model, table, "--format", "jsonl"],
    "evaluate": lambda model, table: ["evaluate", model, table],
    "evaluate json": lambda model, table: ["evaluate", model, table, "--json"],
    "check": lambda model, table: ["check", model, table],
    "explain": lambda model, table: ["explain", model, "-q"],
    "info": lambda model, table: ["info", model],
    "look": lambda model, table: ["look", table],
    "help": lambda model, table: ["--help"],
    "version": lambda model, table: ["--version"],
}
QUICK = [
    pytest.param(name, marks=() if name == "predict" else pytest.mark.slow)
    for name in (*COMMANDS, "train")
]  # every process takes a second to start


@pytest.mark.parametrize("command", QUICK[:-1])
@pytest.mark.parametrize(
    ("place", "reason"), [(">&-", "Bad file descriptor"), ("> /dev/full", "No space left")]
)
def test_results_that_cannot_be_written_are_an_error(command, place, reason, model, penguins):
    done = in_shell(place, *COMMANDS[command](model, penguins))
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("Error: Standard output cannot be written to: " + reason)


@pytest.mark.parametrize("command", QUICK[:-1])
def test_a_reader_that_ends_is_no_error(command, model, penguins):
    done = in_shell("| true", *COMMANDS[command](model, penguins))
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.slow
def test_an_error_has_its_exit_code_although_nobody_reads(model):
    done = in_shell("| true", "predict", model, "none.csv")
    assert done.returncode == 2
    assert done.stderr == "Error: There is no file 'none.csv'.\n"


@pytest.mark.slow
@pytest.mark.parametrize("place", ["2>&-", "2> /dev/full"])
def test_messages_that_cannot_be_printed_do_not_matter(place, model, penguins, tmp_path):
    done = in_shell(place, "predict", model, penguins)
    assert (done.returncode, len(done.stdout.splitlines())) == (0, 345)
    assert in_shell(place, "predict", model, "none.csv").returncode == 2
    assert in_shell(place, "predict", model, "--none").returncode == 2
    done = in_shell(
        place, "train", penguins, "--target", "species", "--preset", "fast", "--epochs", 3, "-v",
        "--json", "-o", tmp_path / "model.dp",
    )  # fmt: skip
    assert done.returncode == 0
    assert json.loads(done.stdout)["task"] == "classification"


@pytest.mark.slow
def test_the_model_is_kept_if_the_report_cannot_be_printed(penguins, tmp_path):
    path = tmp_path / "model.dp"
    with Path("/dev/full").open("w") as full:
        done = train(penguins, "species", path, "--json", stdout=full)
    assert done.returncode == 2
    assert done.stderr.decode().startswith("Error: Standard output cannot be written to: No space")
    assert len(dp.load(path).classes_) == 3


@pytest.mark.slow
@pytest.mark.parametrize("streams", [">&- 2>&-", "<&- >&- 2>&-"])
def test_files_do_not_get_the_numbers_of_closed_streams(streams, model, penguins, tmp_path):
    """The next file that a process opens gets the lowest free number, and what it prints."""
    done = in_shell(streams, "predict", model, penguins, "-o", tmp_path / "p.csv")
    assert done.returncode == 0
    assert len(pd.read_csv(tmp_path / "p.csv")) == 344
    done = in_shell(
        streams, "train", penguins, "--target", "species", "--preset", "fast", "--epochs", 3,
        "-v", "-o", tmp_path / "model.dp",
    )  # fmt: skip
    assert done.returncode == 2  # the scores could not be printed
    assert len(dp.load(tmp_path / "model.dp").classes_) == 3


def test_a_closed_standard_input_is_empty(model):
    done = in_shell("<&-", "predict", model, "-")
    assert (done.returncode, done.stderr) == (2, "Error: standard input is empty.\n")


@pytest.mark.parametrize("command", QUICK)
@pytest.mark.parametrize("encoding", [{"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C"}], ids=str)
def test_any_encoding_of_the_terminal_will_do(command, encoding, model, penguins, tmp_path):
    arguments = COMMANDS.get(command, lambda *_: None)(model, penguins)
    if command == "train":
        arguments = [
            "train", penguins, "--target", "body_mass_g", "--preset", "fast", "--epochs", 3, "-v",
            "-o", tmp_path / "m.dp",
        ]  # fmt: skip
    done = deltaprop(*arguments, env=encoding)
    assert done.returncode == 0
    assert b"Traceback" not in done.stderr
    if "PYTHONIOENCODING" in encoding and command != "predict parquet":
        assert done.stdout.isascii()


def test_messages_are_not_held_back_where_python_is_unbuffered(penguins, tmp_path):
    """Containers set PYTHONUNBUFFERED, and Python's streams then say that they buffer no lines."""
    command = [*RUN, "train", penguins, "--target", "species", "--preset", "fast", "--epochs", "3"]
    command += ["--watch", "-o", str(tmp_path / "m.dp")]
    ours, theirs = pty.openpty()
    environment = {k: v for k, v in os.environ.items() if k not in ("DISPLAY", "WAYLAND_DISPLAY")}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=theirs,
        env=environment | {"PYTHONUNBUFFERED": "1", "TERM": "xterm"},
    ) as process:  # fmt: skip
        os.close(theirs)
        try:
            read_until(ours, "until Ctrl-C")  # while the process waits
        finally:
            process.send_signal(signal.SIGINT)
    os.close(ours)
    assert process.returncode == 0


# ---------------------------------------------------------------- hostile names


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    """A table whose columns, cells and classes try to control the terminal or a spreadsheet."""
    rng = np.random.default_rng(0)
    classes = rng.integers(len(NAMES), size=210)
    table = pd.DataFrame({name: rng.normal(size=210) + classes for name in NAMES})
    table["=cmd|' /C calc'!A0"] = [f"={i % 3}+1" for i in range(210)]
    table["copy\x1b[8m"] = [NAMES[c] + "!" for c in classes]
    table["target[/]\x1b[1A"] = [NAMES[c] for c in classes]
    folder = tmp_path_factory.mktemp("hostile")
    table.to_csv(folder / "table.csv", index=False)
    done = deltaprop(
        "train", folder / "table.csv", "--target", "target[/]\x1b[1A", "--preset", "fast",
        "--epochs", 5, "-v", "-o", folder / "model.dp", "--report", folder / "report.html",
    )  # fmt: skip
    return folder, done


def assert_harmless(done, code=0):
    assert done.returncode == code
    printed = done.stdout.decode() + done.stderr.decode()
    assert "Traceback" not in printed
    assert not [control for control in CONTROLS if control in printed]
    return printed


@pytest.mark.slow  # a report of a training
def test_the_report_of_the_training_shows_names_as_they_are(hostile):
    folder, done = hostile
    printed = assert_harmless(done)
    for name in ("[/red]", "[bold]x", r"\x1b[2J", r"a\nb", ":smile:", r"\u202egnp", r"\x9b31m"):
        assert name in printed
    assert r"target[/]\x1b[1A: classification with 7 classes" in printed
    assert r"Suspected leakage: column 'copy\x1b[8m'" in printed.replace("\n", " ")
    assert "[/red]" in (folder / "report.html").read_text()


@pytest.mark.slow
@pytest.mark.parametrize("command", ["look", "evaluate", "info", "explain", "check"])
def test_every_command_shows_names_as_they_are(command, hostile):
    folder, _ = hostile
    arguments = {
        "look": ["look", folder / "table.csv", "--target", "target[/]\x1b[1A"],
        "explain": ["explain", folder / "model.dp", folder / "table.csv"],
        "info": ["info", folder / "model.dp"],
    }.get(command, [command, folder / "model.dp", folder / "table.csv"])
    printed = assert_harmless(deltaprop(*arguments, env={"COLUMNS": "200"}))
    if command in ("look", "evaluate", "info"):
        assert all(name in printed for name in ("[/red]", r"\x1b[2J", ":smile:", r"\u202egnp"))


@pytest.mark.slow
def test_errors_and_warnings_show_names_as_they_are(hostile, tmp_path):
    folder, _ = hostile
    table = pd.read_csv(folder / "table.csv")
    table.drop(columns=["[/red]", "\x1b[2J"]).to_csv(tmp_path / "fewer.csv", index=False)
    printed = assert_harmless(
        deltaprop("predict", folder / "model.dp", tmp_path / "fewer.csv"), code=2
    )
    assert "[/red]" in printed
    table["target[/]\x1b[1A"] = "\x1b[2Jnew"
    table.to_csv(tmp_path / "new.csv", index=False)
    printed = assert_harmless(deltaprop("evaluate", folder / "model.dp", tmp_path / "new.csv"))
    assert r"not trained on these classes" in printed
    assert r"\x1b[2Jnew" in printed
    for arguments in (
        ["train", folder / "table.csv", "--target", "\x1b[2J[/red]"],
        ["predict", folder / "model.dp", "\x1b[2J[/red].csv"],
        ["train", folder / "table.csv", "--target", "a", "--preset", "\x1b[2J[/red]"],
    ):
        assert_harmless(deltaprop(*arguments), code=2)


# ---------------------------------------------------------------- spreadsheets

FORMULAS = ["=1+1", "+cmd|x", "-2+3", "@SUM(A1)", "\t=1", " =1", "\uff1d1", "\n=1"]
HARMLESS = ["a=1", "-1.5", "+7e3", "", "x", "'=1"]


@pytest.mark.slow
@pytest.mark.parametrize("format", ["csv", "tsv", "jsonl"])
def test_formulas_are_neutralised_on_request(format, hostile, tmp_path):
    folder, _ = hostile
    table = pd.read_csv(folder / "table.csv").head(len(FORMULAS) + len(HARMLESS))
    table["id"] = FORMULAS + HARMLESS
    table["=id"] = range(len(table))
    table.to_csv(tmp_path / "t.csv", index=False)
    keep = "id,=id,=cmd|' /C calc'!A0"
    rows = {}
    for options in ((), ("--no-formulas",)):
        done = deltaprop(
            "predict", folder / "model.dp", tmp_path / "t.csv", "--keep", keep, "--format", format,
            "--na", "none", *options,
        )  # fmt: skip
        assert done.returncode == 0
        (tmp_path / "p").write_bytes(done.stdout)
        rows[options] = (
            pd.read_json(tmp_path / "p", lines=True, dtype=False)
            if format == "jsonl"
            else pd.read_csv(
                tmp_path / "p", sep={"csv": ",", "tsv": "\t"}[format], dtype=str, na_filter=False
            )
        )
    before, after = rows.values()
    assert list(before.columns) == ["id", "=id", "=cmd|' /C calc'!A0", "target[/]\x1b[1A"]
    assert list(after.columns) == ["id", "'=id", "'=cmd|' /C calc'!A0", "target[/]\x1b[1A"]
    expected = [f"'{f}" for f in before["id"][: len(FORMULAS)]]
    assert after["id"][: len(FORMULAS)].tolist() == expected
    assert after["id"][len(FORMULAS) :].tolist() == before["id"][len(FORMULAS) :].tolist()
    assert after.iloc[:, 2].str.startswith("'=").all()
