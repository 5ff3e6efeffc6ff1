"""The command line as people and scripts meet it: commands, terminals and pipes."""

import json
import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

import deltaprop as dp

from .commands import deltaprop
from .terminal import read_rest, read_until

RUN = [sys.executable, "-m", "deltaprop.cli"]
QUICK = ["--preset", "fast", "--epochs", "3"]


def in_a_process(*arguments, **kwargs):
    command = [*RUN, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=100, **kwargs)


@pytest.fixture(scope="module")
def penguins():
    return str(Path("data/penguins.csv").resolve())


@pytest.fixture(scope="module")
def model(tmp_path_factory, penguins):
    path = tmp_path_factory.mktemp("cli") / "penguins.dp"
    done = in_a_process("train", penguins, "--target", "species", "-o", path)
    assert done.returncode == 0, done.stderr
    assert "linear model" in done.stdout
    assert "most frequent" in done.stdout
    assert "Chinstrap" in done.stdout
    assert done.stderr.startswith("344 rows, 8 columns: 5 numeric, 3 categorical.\n")
    assert "epoch" not in done.stderr  # no progress where there is no terminal
    return path


def test_training_writes_model_dp_into_the_current_folder(penguins, tmp_path):
    done = deltaprop(
        "train", penguins, "--target", "body_mass_g", "--epochs", 30, "--json", cwd=tmp_path
    )
    result = json.loads(done.stdout)
    assert result["task"] == "regression"
    assert result["rows_without_target"] == 2
    assert set(result["scores"]) == {"deltaprop", "linear model", "mean"}
    assert result["scores"]["deltaprop"]["r2"] > result["scores"]["mean"]["r2"]
    assert list(result["residual_quantiles"]) == ["0.05", "0.25", "0.5", "0.75", "0.95"]
    assert [p.name for p in tmp_path.iterdir()] == ["model.dp"]


@pytest.mark.slow  # three trainings
def test_the_same_seed_gives_the_same_model(penguins, tmp_path):
    for name in ("a.dp", "b.dp"):
        deltaprop("train", penguins, "--target", "sex", "-o", tmp_path / name, "--quiet")
    assert (tmp_path / "a.dp").read_bytes() == (tmp_path / "b.dp").read_bytes()


def test_predictions_are_the_python_model_s(model, penguins, tmp_path):
    rows = pd.read_csv(penguins)
    rows = rows[rows.columns[::-1]].assign(extra=1).replace({"island": {"Dream": "Atlantis"}})
    rows.to_parquet(tmp_path / "rows.parquet")
    done = in_a_process("predict", model, tmp_path / "rows.parquet", "--proba")
    assert done.returncode == 0
    printed = done.stdout.splitlines()
    assert printed[0] == "species,probability_Adelie,probability_Chinstrap,probability_Gentoo"
    assert [line.split(",")[0] for line in printed[1:]] == list(dp.load(model).predict(rows))


@pytest.mark.parametrize("name", ["p.csv", "p.tsv", "p.parquet"])
def test_predictions_go_to_a_file(name, model, penguins, tmp_path):
    done = deltaprop("predict", model, penguins, "-o", tmp_path / name)
    assert done.returncode == 0
    assert done.stdout == ""
    read = {".csv": pd.read_csv, ".tsv": lambda p: pd.read_csv(p, sep="\t")}
    rows = read.get(name[1:], pd.read_parquet)(tmp_path / name)
    assert len(rows) == 344


def test_a_reader_that_closes_the_pipe_is_no_error(model, penguins):
    command = f"{sys.executable} -m deltaprop.cli predict {model} {penguins} --proba | head -1"
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0
    assert done.stderr == ""
    assert done.stdout.startswith("species,")


def test_evaluate_info_and_check_read_the_model(model, penguins):
    scores = json.loads(deltaprop("evaluate", model, penguins, "--json").stdout)
    assert scores["scores"]["deltaprop"]["accuracy"] > 0.95
    assert sum(c["rows"] for c in scores["classes"].values()) == 344
    facts = json.loads(deltaprop("info", model, "--json").stdout)
    assert facts["target"] == "species"
    assert facts["classes"] == ["Adelie", "Chinstrap", "Gentoo"]
    assert facts["columns"]["sex"] == "category"
    proof = deltaprop("check", model, penguins)
    assert proof.returncode == 0
    assert "FAILS" not in proof.stdout
    assert "δ_0 = f′ ⊙ (δ_1 W_1ᵀ)" in proof.stdout


def test_explain_writes_the_equations_and_the_numbers_of_three_rows(model, penguins, tmp_path):
    net = dp.load(model).mlp_.network_
    for format in ("unicode", "latex"):
        done = deltaprop("explain", model, "--format", format)
        assert done.returncode == 0, done.stderr
        assert done.stdout == str(net.derivation(format=format))
    done = deltaprop("explain", model, penguins, "-o", tmp_path / "board.txt")
    assert done.returncode == 0
    assert done.stdout == ""
    assert "board.txt" in done.stderr
    board = (tmp_path / "board.txt").read_text(encoding="utf-8")
    assert "    N = 3 " in board
    yhat = net.predict(dp.load(model).encoder_.transform(pd.read_csv(penguins).head(3)))
    assert f"⎡{yhat[0, 0]:.4f}  {yhat[0, 1]:.4f}  {yhat[0, 2]:.4f}⎤" in board
    done = deltaprop("explain", model, penguins, "--format", "html")
    assert done.stdout.startswith("<!doctype html>")
    assert "<math " in done.stdout


def test_explain_takes_any_model_but_a_table_only_for_a_table_s_model(penguins, tmp_path):
    net = dp.Network(2, [dp.Dense(1, "tanh")], loss="huber", seed=0)
    dp.save(net, tmp_path / "net.dp")
    assert deltaprop("explain", tmp_path / "net.dp").stdout == str(net.derivation())
    for arguments, message in (
        ((penguins,), "does not store table columns"),
        (("--format", "tex"), "unknown format 'tex'; did you mean 'latex'?"),
        (("-o", tmp_path / "no" / "folder.txt"), "there is no folder"),
    ):
        done = deltaprop("explain", tmp_path / "net.dp", *arguments)
        assert done.returncode == 2
        assert message in done.stderr


def test_training_options_reach_the_network(penguins, tmp_path):
    done = deltaprop(
        "train", penguins, "--target", "year", "--task", "regression", "-o", tmp_path / "m.dp",
        "--hidden", "5", "--activation", "tanh", "--loss", "huber", "--l2", 0.5, "--drop", "island",
        "--dropout", 0.1, "--schedule", "cosine", "--epochs", 3, "--weight", "flipper_length_mm",
        "--quiet",
    )  # fmt: skip
    # flipper_length_mm is missing in two rows
    assert done.returncode == 2
    assert "--weight" in done.stderr
    done = deltaprop(
        "train", penguins, "--target", "year", "--task", "regression", "-o", tmp_path / "m.dp",
        "--hidden", "5", "--activation", "tanh", "--loss", "huber", "--l2", 0.5, "--drop", "island",
        "--dropout", 0.1, "--schedule", "cosine", "--epochs", 3, "--quiet",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout == done.stderr == ""
    loaded = dp.load(tmp_path / "m.dp")
    assert "island" not in loaded.feature_names_in_
    assert loaded.mlp_.network_.layers[0] == dp.Dense(5, "tanh", 0.1)
    assert loaded.mlp_.network_.loss_function.name == "huber"
    assert loaded.mlp_.alpha == 0.5


def test_classes_of_a_row_or_two_are_learnt_from_not_held_out(tmp_path):
    kinds = ["a", "b"] * 20 + ["c"]
    pd.DataFrame({"x": range(41), "kind": kinds}).to_csv(tmp_path / "t.csv", index=False)
    done = deltaprop("train", "t.csv", "--target", "kind", "--epochs", 3, "--json", cwd=tmp_path)
    result = json.loads(done.stdout)
    assert result["test_rows"] == 0
    assert result["classes"]["c"]["rows"] == 1
    assert list(dp.load(tmp_path / "model.dp").classes_) == ["a", "b", "c"]
    done = deltaprop(
        "train",
        "t.csv",
        "--target",
        "kind",
        *QUICK,
        "--json",
        "--test-size",
        0.2,
        cwd=tmp_path,
    )
    result = json.loads(done.stdout)
    assert result["classes"]["c"]["rows"] == 0
    assert list(dp.load(tmp_path / "model.dp").classes_) == ["a", "b", "c"]


def test_progress_shows_on_a_terminal(penguins, tmp_path):
    main, worker = pty.openpty()
    process = subprocess.Popen(
        [*RUN, "train", penguins, "--target", "species", "-o", str(tmp_path / "m.dp"), *QUICK],
        stdout=subprocess.PIPE, stderr=worker, env=os.environ | {"TERM": "xterm", "COLUMNS": "120"},
    )  # fmt: skip
    process.communicate(timeout=60)
    os.close(worker)
    seen = os.read(main, 100_000).decode()
    os.close(main)
    assert "epoch" in seen
    assert "validation loss" in seen
    assert "accuracy" in seen


def test_ctrl_c_keeps_the_best_weights_and_says_so(tmp_path):
    table = pd.read_csv("data/diamonds.csv.gz")
    table.to_parquet(tmp_path / "t.parquet")
    main, worker = pty.openpty()
    process = subprocess.Popen(
        [*RUN, "train", "t.parquet", "--target", "price", "--epochs", "100000", "--hidden", "16"],
        stdout=subprocess.PIPE, stderr=worker, cwd=tmp_path, text=True, start_new_session=True,
        env=os.environ | {"TERM": "xterm", "COLUMNS": "120"},
    )  # fmt: skip
    os.close(worker)
    read_until(main, "validation loss")
    process.send_signal(signal.SIGINT)
    rest = read_rest(main)
    printed, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "best weights so far are in model.dp" in rest
    assert "linear model" in printed
    loaded = dp.load(tmp_path / "model.dp")
    assert loaded.mlp_.stop_reason_ == "interrupted"
    assert loaded.score(table.drop(columns="price"), table["price"]) > 0.5
    os.close(main)


def test_help_names_the_commands_in_order_and_imports_nothing_heavy():
    done = deltaprop("--help")
    assert done.returncode == 0
    commands = ["train", "predict", "evaluate", "check", "explain", "export", "info"]
    places = [done.stdout.index(f"│ {command} ") for command in commands]
    assert places == sorted(places)
    code = "import deltaprop.cli.app, sys; print(*{'numpy', 'pandas', 'sklearn'} & {*sys.modules})"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert loaded.stdout == "\n"


def test_private_training_states_its_privacy_loss(penguins, tmp_path):
    done = deltaprop(
        "train", penguins, "--target", "species", "--noise", 4, "--epochs", 3, "--json",
        cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["delta"] == pytest.approx(0.1 / result["train_rows"])
    privacy = dp.Privacy(noise=4.0)
    assert result["epsilon"] == pytest.approx(privacy.epsilon(result["delta"], epochs=3))
    model = dp.load(tmp_path / "model.dp")
    assert (model.privacy, model.mlp_.early_stopping) == (privacy, False)


def test_noise_out_of_range_is_bad_input(penguins, tmp_path):
    done = deltaprop("train", penguins, "--target", "species", "--noise", -1, cwd=tmp_path)
    assert done.returncode == 2
    assert "noise" in done.stderr
    assert "Traceback" not in done.stderr
