"""Arguments and options that several commands share, and the settings that a command passes on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import TYPE_CHECKING, Annotated, Any

import typer

from deltaprop.cli.choices import METRICS, one_of
from deltaprop.data.reading.options import ReadingOptions
from deltaprop.errors import InputError

if TYPE_CHECKING:
    import numpy as np

DEFAULT_MEMORY = "400MB"
WRONG_DECISIONS = ("false_positive", "false_negative")
MOST_UNITS = 10**8  # of one hidden layer; more would overflow the size of an array

TABLES = (
    "A table: text (CSV, …), Parquet, Arrow, Excel, ODS, JSON or SQLite, which may be compressed; "
    "a URL; or - for standard input."
)
TableFile = Annotated[str, typer.Argument(metavar="TABLE", help=TABLES)]
Tables = Annotated[
    str,
    typer.Argument(
        metavar="TABLE",
        help=f"{TABLES} A folder, a glob or an object store with Parquet, Arrow or CSV files is "
        "streamed.",
    ),
]
Memory = Annotated[
    str | None,
    typer.Option(
        metavar="SIZE",
        help="Stream the table, using at most this much memory, such as 400MB or 2GB. "
        f"Default for several files: {DEFAULT_MEMORY}.",
    ),
]
ModelFile = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        help="A model file that `deltaprop train` or `dp.save` wrote: a path or a URL.",
    ),
]
Member = Annotated[
    int | None,
    typer.Option(
        metavar="NUMBER",
        help="Of an ensemble, the index of the member to show; by default, the first, 0.",
        show_default=False,
    ),
]
MetricName = Annotated[
    str | None,
    one_of(
        "metric",
        METRICS,
        "Metric in which the model is compared with the linear model; by default roc_auc, r2, or "
        "pinball for several quantiles",
        show_default=False,
    ),
]
Quiet = Annotated[bool, typer.Option("-q", "--quiet", help="Print no progress and no messages.")]
Verbose = Annotated[
    bool, typer.Option("-v", "--verbose", help="Print every epoch and every warning.")
]
AsJson = Annotated[
    bool, typer.Option("--json", help="Print one JSON object and nothing else to standard output.")
]


@dataclass(frozen=True)
class DataOptions:
    """The table to train on, and how to use its columns and rows.

    Raises
    ------
    InputError
        If the task is unknown, or the fraction of held-out rows or the seed is out of range.
    """

    table: str
    target: str
    drop: tuple[str, ...]
    weight: str | None
    task: str
    test_size: float | None
    seed: int
    memory: str | None
    groups: str | None = None
    time_column: str | None = None
    reading: ReadingOptions = field(default_factory=ReadingOptions)

    def __post_init__(self) -> None:
        if self.groups is not None and self.time_column is not None:
            raise InputError("--groups and --time-column cannot be combined; give one of them.")
        if self.test_size is not None and not 0 < self.test_size < 1:
            raise InputError(f"--test-size must lie between 0 and 1, got {self.test_size:g}.")
        if not 0 <= self.seed < 2**32:
            raise InputError(f"--seed must lie in 0 to {2**32 - 1}, got {self.seed}.")


@dataclass(frozen=True)
class ModelOptions:
    """The model and its training, as the options of ``deltaprop train`` name them."""

    hidden: str
    activation: str
    loss: str
    dropout: float | None
    l2: float
    solver: str
    epochs: int | None
    batch_size: int
    learning_rate: float | None
    schedule: str
    seed: int
    noise: float | None
    max_norm: float
    preset: str
    folds: int
    time_limit: float | None
    class_weight: str | None = None
    cost: str | None = None
    threshold: str | None = None

    @property
    def cross_validates(self) -> bool:
        """Whether the model is an ensemble whose members hold rows out."""
        single = self.folds == 1 or (self.folds == 0 and self.preset == "fast")
        return not single and self.noise is None and self.solver != "lbfgs"

    def parameters(self) -> dict[str, Any]:
        """Return the parameters of ``TabularClassifier`` and ``TabularRegressor``."""
        from deltaprop.optim.privacy import Privacy

        return {
            "preset": self.preset,
            "cv": self.folds or "auto",
            "time_limit": self.time_limit,
            "hidden_layer_sizes": "auto" if self.hidden == "auto" else layer_sizes(self.hidden),
            "activation": self.activation,
            "dropout": _or_auto(self.dropout),
            "alpha": self.l2,
            "solver": self.solver,
            "max_iter": _or_auto(self.epochs),
            "batch_size": self.batch_size or "auto",
            "learning_rate_init": _or_auto(self.learning_rate),
            "learning_rate": self.schedule,
            "random_state": self.seed,
            "privacy": None if self.noise is None else Privacy(self.noise, self.max_norm),
            **({} if self.loss == "auto" else {"loss": self.loss}),
        }

    def decision(self) -> dict[str, Any]:
        """Return the parameters of ``TabularClassifier`` that say which class is predicted."""
        found: dict[str, Any] = {}
        if self.cost is not None:
            found["cost"] = numbers_by_name("--cost", self.cost, list(WRONG_DECISIONS))
        if self.threshold is not None:
            try:
                found["decision_threshold"] = float(self.threshold)
            except ValueError:
                found["decision_threshold"] = self.threshold  # the name of a scorer
        return found

    def class_weights(self, classes: np.ndarray) -> dict[Any, float] | str:
        """Return ``--class-weight`` as scikit-learn takes it, for these class labels."""
        if self.class_weight in (None, "balanced"):
            return "balanced"
        labels = {str(label): label for label in classes.tolist()}
        given = numbers_by_name("--class-weight", str(self.class_weight), list(labels))
        return {labels[name]: weight for name, weight in given.items()}


@dataclass(frozen=True)
class RunOptions:
    """Where the training runs, and how it is saved and shown during the run."""

    checkpoint: str | None
    checkpoint_seconds: float
    watch: bool
    cluster: str | None
    workers: int
    gpus: bool


@dataclass(frozen=True)
class OutputOptions:
    """Where the results go."""

    model: str
    report: str | None
    as_json: bool
    quiet: bool
    verbose: bool = False
    metric: str | None = None


def _or_auto(value: float | None) -> float | str:
    return "auto" if value is None else value


def numbers_by_name(option: str, given: str, names: Sequence[str]) -> dict[str, float]:
    """Return the numbers in a text such as ``yes=5,no=1``.

    Raises
    ------
    InputError
        If the text has another form, or a name is none of `names`.

    Examples
    --------
    >>> numbers_by_name("--class-weight", "yes=5, no=1", ["no", "yes"])
    {'yes': 5.0, 'no': 1.0}
    """
    found = {}
    for part in given.split(","):
        name, _, number = (piece.strip() for piece in part.rpartition("="))
        if name not in names:
            near = get_close_matches(name, names, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise InputError(
                f"{option} must be numbers such as {names[0]}=2; got {part.strip()!r}.{hint} The "
                f"names are {', '.join(names)}."
            )
        try:
            found[name] = float(number)
        except ValueError as error:
            raise InputError(
                f"{option}: {number!r} is not a number, in {part.strip()!r}."
            ) from error
    return found


def layer_sizes(hidden: str) -> tuple[int, ...]:
    """Return the number of units of each hidden layer.

    Examples
    --------
    >>> layer_sizes("128, 64")
    (128, 64)
    """
    parts = [part.strip() for part in hidden.split(",")]
    if not all(part.isdecimal() and 0 < int(part) <= MOST_UNITS for part in parts):
        raise InputError(
            f"--hidden must be whole numbers from 1 to {MOST_UNITS}, such as 128,64; got "
            f"{hidden!r}."
        )
    return tuple(int(part) for part in parts)
