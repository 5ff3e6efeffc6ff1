"""The command line that people expect: help, misspellings, completion, configuration files."""

import os
import pty
import subprocess
import sys
import tomllib

import pandas as pd
import pytest
from typer.testing import CliRunner

import deltaprop as dp
from deltaprop.cli import choices, is_bad_input
from deltaprop.cli.app import app
from deltaprop.estimators import parameters
from deltaprop.explain.derivation import FORMATS
from deltaprop.export.graph import DTYPES as ONNX_DTYPES
from deltaprop.functions import activations
from deltaprop.inspect.metrics import CLASS_METRICS, NUMBER_METRICS
from deltaprop.optim import schedules, solvers

COMMANDS = ["train", "predict", "evaluate", "check", "explain", "export", "info", "serve"]
PENGUINS = "data/penguins.csv"


def invoke(*arguments):
    return CliRunner().invoke(app, [str(a) for a in arguments])


def words(text):
    return " ".join(text.replace("│", " ").split())


def error(*arguments):
    """The message of a command that refuses its arguments."""
    done = invoke(*arguments)
    if isinstance(done.exception, SystemExit):
        assert done.exit_code == 2, done.output
        return words(done.output)
    assert is_bad_input(done.exception), done.exception
    return str(done.exception)


def process(*arguments, **environment):
    return subprocess.run(
        [sys.executable, "-m", "deltaprop", *map(str, arguments)], capture_output=True, text=True,
        timeout=120, env=os.environ | environment, check=False,
    )  # fmt: skip


# ---------------------------------------------------------------- help


def test_the_version_is_that_of_the_library():
    done = process("--version")
    assert (done.returncode, done.stdout) == (0, f"deltaprop {dp.__version__}\n")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_examples_and_no_bare_type_names(command):
    short, long = invoke(command, "-h"), invoke(command, "--help")
    assert short.exit_code == long.exit_code == 0
    assert short.stdout == long.stdout
    shown = words(short.stdout)
    assert f"Examples: deltaprop {command} " in shown
    for bare in ("TEXT", "INTEGER", "FLOAT", "PATH"):
        assert bare not in shown


def test_names_are_listed_as_the_library_has_them():
    assert set(choices.ACTIVATIONS) == set(activations.NAMES) - {"mean_variance"}
    losses = {*parameters.CLASSIFIER_LOSSES, *parameters.REGRESSOR_LOSSES}
    assert set(choices.LOSSES) == {"auto", *losses}
    assert set(choices.SOLVERS) == set(solvers.BY_NAME)
    assert set(choices.SCHEDULES) == {"auto", *schedules.NAMES}
    assert set(choices.METRICS) == {*CLASS_METRICS, *NUMBER_METRICS}
    assert tuple(choices.FORMATS) == tuple(FORMATS)
    assert choices.ONNX_DTYPES == ONNX_DTYPES
    from deltaprop.estimators.tabular.presets import PRESETS

    assert set(choices.PRESETS) == set(PRESETS)
    shown = words(invoke("train", "-h").stdout)
    for names in (choices.ACTIVATIONS, choices.SOLVERS, choices.SCHEDULES, choices.METRICS):
        assert ", ".join(names) in shown


# ---------------------------------------------------------------- misspellings


@pytest.mark.parametrize(
    ("option", "given", "meant"),
    [
        ("activation", "rellu", "relu"), ("loss", "huberr", "huber"), ("solver", "admaw", "adamw"),
        ("schedule", "cosin", "cosine"), ("preset", "fats", "fast"),
        ("task", "regresion", "regression"), ("metric", "acuracy", "accuracy"),
    ],
)  # fmt: skip
def test_a_misspelling_is_answered_in_the_words_of_the_option(option, given, meant):
    message = error("train", PENGUINS, "--target", "species", f"--{option}", given)
    assert f"unknown {option} '{given}'; did you mean '{meant}'?" in message


def test_a_name_that_is_like_no_other_lists_them_all():
    message = error("train", PENGUINS, "--target", "species", "--solver", "x")
    assert "unknown solver 'x'. It must be one of adamw, adam, muon, sgd, lbfgs." in message


# ---------------------------------------------------------------- completion and colours


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("deltaprop tr", {"train"}),
        ("deltaprop train t.csv --activation si", {"silu", "sigmoid"} - {"sigmoid"}),
        ("deltaprop explain m.dp --format ", {"unicode", "latex", "html"}),
    ],
)
def test_shells_complete_commands_and_names(line, offered):
    done = process(
        _DELTAPROP_COMPLETE="complete_bash", COMP_WORDS=line, COMP_CWORD=str(line.count(" "))
    )
    found = set(done.stdout.split())
    assert offered <= found
    if line.endswith("si"):
        assert all(name.startswith("si") for name in found)


@pytest.mark.parametrize("no_color", ["", "1"])
def test_no_color_is_respected(no_color):
    main, worker = pty.openpty()
    environment = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "FORCE_COLOR")}
    if no_color:
        environment["NO_COLOR"] = no_color
    subprocess.run(
        [sys.executable, "-m", "deltaprop", "info", "--help"], stdout=worker, timeout=60,
        env=environment | {"TERM": "xterm-256color", "COLUMNS": "100"}, check=True,
    )  # fmt: skip
    os.close(worker)
    seen = os.read(main, 100_000).decode()
    os.close(main)
    assert ("\x1b[36m" in seen or "\x1b[1;36m" in seen) != bool(no_color)  # cyan


# ---------------------------------------------------------------- quiet and verbose


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("options") / "m.dp"
    arguments = ("train", PENGUINS, "--target", "species", "-o", path, "--cv", 2, "--epochs", 2)
    done = invoke(*arguments, "--verbose")
    assert "network 1/2, epoch 1: loss 0." in done.stderr or "epoch 1: loss 1." in done.stderr
    assert ", validation loss " in done.stderr
    assert "The model is in" in done.stdout
    done = invoke(*arguments, "-q")
    assert (done.exit_code, done.output) == (0, "")
    return path


def test_quiet_commands_print_no_messages(model, tmp_path):
    for command in (
        ("predict", model, PENGUINS, "-o", tmp_path / "p.csv"),
        ("explain", model, "-o", tmp_path / "d.txt"),
    ):
        assert invoke(*command).stderr != ""
        done = invoke(*command, "--quiet")
        assert (done.exit_code, done.output) == (0, "")


# ---------------------------------------------------------------- configuration files


def test_a_configuration_holds_arguments_and_options(tmp_path):
    config = tmp_path / "train.toml"
    config.write_text(
        f'table = "{PENGUINS}"\ntarget = "species"\nhidden = [7, 5]\ndrop = ["island", "year"]\n'
        f'epochs = 2\ncv = 1\noutput = "{tmp_path / "a.dp"}"\nquiet = true\n'
    )
    assert invoke("train", "--config", config).exit_code == 0
    model = dp.load(tmp_path / "a.dp")
    assert model.hidden_layer_sizes == (7, 5)
    assert model.max_iter == 2
    assert not {"island", "year"} & set(model.feature_names_in_)
    done = invoke("train", "--config", config, "--hidden", "4", "-o", tmp_path / "b.dp")
    assert done.exit_code == 0
    assert dp.load(tmp_path / "b.dp").hidden_layer_sizes == (4,)


def test_a_saved_configuration_repeats_the_run(tmp_path):
    config, first, second = (tmp_path / name for name in ("run.toml", "a.dp", "b.dp"))
    done = invoke(
        "train", PENGUINS, "--target", "sex", "--cv", 1, "--epochs", 3, "--drop", "island",
        "--seed", 5, "-q", "-o", first, "--save-config", config,
    )  # fmt: skip
    assert done.exit_code == 0
    saved = tomllib.loads(config.read_text())
    assert saved["target"] == "sex"
    assert saved["drop"] == ["island"]
    assert not {"config", "save-config", "time-limit"} & set(saved)
    assert invoke("train", "--config", config, "-o", second).exit_code == 0
    assert first.read_bytes() == second.read_bytes()


def test_errors_in_a_configuration_name_the_way_out(tmp_path):
    config = tmp_path / "train.toml"
    for text, message in {
        "epoch = 3": "has an unknown option, 'epoch'; did you mean 'epochs'?",
        "epochs = ": "cannot be read as TOML",
        'activation = "rellu"': "unknown activation 'rellu'; did you mean 'relu'?",
        'epochs = "many"': "Invalid value for '--epochs'",
    }.items():
        config.write_text(text)
        assert message in error("train", PENGUINS, "--target", "species", "--config", config)
    assert "there is no file" in error("train", "--config", tmp_path / "absent.toml")


def test_the_table_of_an_evaluation_may_have_any_name(model, tmp_path):
    pd.read_csv(PENGUINS).head(20).to_csv(tmp_path / "[bold]rows.csv", index=False)
    done = invoke("evaluate", model, tmp_path / "[bold]rows.csv")
    assert "[bold]rows.csv: 20 rows with a target." in done.stdout.replace("\n", "")
