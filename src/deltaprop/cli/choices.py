"""Options whose values are names: they are listed, and misspellings are answered."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from difflib import get_close_matches
from typing import Any

import typer

from deltaprop.errors import InputError

# Lists rather than imports, so that `--help` is quick. A test compares them with the library's.
TASKS = ("auto", "classification", "regression")
PRESETS = ("fast", "default", "best")
ACTIVATIONS = (
    "identity", "relu", "leaky_relu", "elu", "selu", "gelu", "gelu_tanh", "silu", "mish",
    "softplus", "logistic", "sigmoid", "tanh", "cos", "exp", "softmax",
)  # fmt: skip
LOSSES = (
    "auto", "log_loss", "ordinal", "binary_cross_entropy", "cross_entropy", "focal", "hinge",
    "squared_error", "absolute_error", "huber", "log_cosh", "quantile", "poisson", "gamma",
    "tweedie", "gaussian_nll",
)  # fmt: skip
SOLVERS = ("adamw", "adam", "muon", "sgd", "lbfgs")
SCHEDULES = (
    "auto", "constant", "invscaling", "adaptive", "cosine", "warmup_cosine", "one_cycle",
    "flat_cosine", "coslog4",
)  # fmt: skip
METRICS = (
    "accuracy", "balanced_accuracy", "roc_auc", "pr_auc", "log_loss", "brier", "r2", "mae", "rmse",
    "pinball",
)  # fmt: skip
TABLE_FORMATS = ("csv", "tsv", "jsonl", "parquet")
ONNX_DTYPES = ("float32", "float64", "float16")
FORMATS = ("unicode", "latex", "html")


def one_of(option: str, names: Sequence[str], help: str, **settings: Any) -> Any:
    """An option whose value is one of these names, which its help lists and shells complete."""

    def complete(incomplete: str) -> list[str]:
        return [name for name in names if name.startswith(incomplete)]

    return typer.Option(
        f"--{option}", parser=_parser(option, names), autocompletion=complete, metavar="NAME",
        help=f"{help}: {', '.join(names)}.", **settings,
    )  # fmt: skip


def _parser(option: str, names: Sequence[str]) -> Callable[[str], str]:
    def parse(value: str) -> str:
        try:
            require_choice(option, value, names)
        except InputError as error:
            raise typer.BadParameter(str(error).removeprefix(f"--{option}: ")) from error
        return value

    return parse


def require_choice(option: str, value: str, names: Iterable[str], of: str = "") -> None:
    """Raise InputError, in the option's own words, if `value` is none of its names.

    Examples
    --------
    >>> require_choice("activation", "relu", ("relu", "tanh"))
    >>> require_choice("activation", "rellu", ("relu", "tanh"))
    Traceback (most recent call last):
        ...
    deltaprop.errors.InputError: --activation: unknown activation 'rellu'; did you mean 'relu'?
    It must be one of relu, tanh.
    """
    known = list(names)
    if value in known:
        return
    near = get_close_matches(value, known, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else "."
    raise InputError(
        f"--{option}: unknown {option.replace('-', ' ')}{of} {value!r}{hint} It must be one of "
        f"{', '.join(known)}."
    )
