"""The commands: train, predict, evaluate, check, explain, info."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
import warnings
from glob import has_magic
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer

app = typer.Typer(
    help="Fully connected networks on your own table, back-propagation in closed form.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

TableFile = Annotated[
    Path, typer.Argument(help="CSV, TSV, Parquet or Arrow; text may be compressed.")
]
Tables = Annotated[
    str,
    typer.Argument(
        metavar="TABLE",
        help="CSV, TSV, Parquet or Arrow; text may be compressed. A folder, a glob or a URL of "
        "Parquet, Arrow or CSV files is streamed.",
    ),
]
Memory = Annotated[
    str | None,
    typer.Option(
        help="Stream the rows, holding at most that: 400MB, 2GB. [default for many files: 400MB]"
    ),
]
MEMORY = "400MB"
ModelFile = Annotated[
    str, typer.Argument(help="A model file that `deltaprop train` wrote, or its URL.")
]
LEAST_ROWS_A_CLASS = 3
SAMPLE = 20_000  # rows of a stream that its task, and the linear model, are seen from
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]


@app.command()
def train(
    table: Tables,
    target: Annotated[str, typer.Option(help="The column to predict.")],
    output: Annotated[
        str, typer.Option("-o", "--output", help="A file, or a URL; replaced if it exists.")
    ] = "model.dp",
    task: Annotated[str, typer.Option(help="auto, classification or regression.")] = "auto",
    drop: Annotated[
        list[str] | None, typer.Option(help="A column to leave out; repeatable.")
    ] = None,
    weight: Annotated[str | None, typer.Option(help="The column of sample weights.")] = None,
    test_size: Annotated[float, typer.Option(help="Share of rows held out for the report.")] = 0.2,
    hidden: Annotated[
        str, typer.Option(help="Units of the hidden layers, such as 128,64.")
    ] = "128,64",
    activation: Annotated[str, typer.Option(help="Of the hidden layers.")] = "silu",
    loss: Annotated[str, typer.Option(help="auto, or a loss of that task.")] = "auto",
    solver: Annotated[str, typer.Option(help="adamw, adam, sgd or lbfgs.")] = "adamw",
    epochs: Annotated[int, typer.Option(help="Most passes over the rows.")] = 200,
    batch_size: Annotated[int, typer.Option(help="Rows a step; 0 chooses.")] = 0,
    learning_rate: Annotated[float, typer.Option(help="The first step size.")] = 0.002,
    schedule: Annotated[str, typer.Option(help="constant, cosine, one_cycle, …")] = "constant",
    l2: Annotated[float, typer.Option(help="Strength of the L2 penalty (alpha).")] = 0.0,
    dropout: Annotated[float, typer.Option(help="Share of hidden outputs to drop.")] = 0.0,
    seed: Annotated[int, typer.Option(help="The same seed gives the same model.")] = 0,
    page: Annotated[
        str | None, typer.Option("--report", help="Write an HTML page about the model, too.")
    ] = None,
    as_json: AsJson = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress and no report.")] = False,
    memory: Memory = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="Show the training, then the model, in a browser.")
    ] = False,
    checkpoint: Annotated[
        str | None, typer.Option(help="A folder to save the training in, and to go on from.")
    ] = None,
    checkpoint_seconds: Annotated[float, typer.Option(help="How often --checkpoint saves.")] = 60.0,
    cluster: Annotated[
        str | None, typer.Option(help="The address of a Ray to train on; local starts one here.")
    ] = None,
    workers: Annotated[int, typer.Option(help="How many train together, with --cluster.")] = 2,
    gpus: Annotated[bool, typer.Option("--gpus", help="A GPU each, with --cluster.")] = False,
) -> None:
    """Train a model on a table and report how good it is on rows held out.

    Ctrl-C stops the training, keeps the best weights so far, saves them and exits with 130. With
    --checkpoint so does SIGTERM, with 143, and the same command goes on from there.
    """
    from deltaprop import Checkpoint
    from deltaprop.cli import report
    from deltaprop.data.reading import TableError
    from deltaprop.estimators import TabularClassifier, TabularRegressor
    from deltaprop.training.progress import Progress

    _require_writable(output)
    if page is not None:
        _require_report(page, output)
    if not 0 < test_size < 1:
        raise TableError(f"--test-size must lie between 0 and 1, got {test_size:g}.")
    if cluster is not None:
        _require_ray(watch)
    if memory or _is_many(table):
        data = _streamed(table, target, drop or [], weight, task, test_size, seed, memory)
    else:
        data = _in_memory(table, target, drop or [], weight, task, test_size, seed)
    kind, held = data.kind, data.held
    settings: dict[str, Any] = {
        "hidden_layer_sizes": _sizes(hidden),
        "activation": activation,
        "solver": solver,
        "max_iter": epochs,
        "batch_size": batch_size or "auto",
        "learning_rate_init": learning_rate,
        "learning_rate": schedule,
        "alpha": l2,
        "dropout": dropout,
        "random_state": seed,
    }
    if checkpoint is not None:
        settings["checkpoint"] = Checkpoint(checkpoint, seconds=checkpoint_seconds)
    if loss != "auto":
        settings["loss"] = loss
    estimator = TabularClassifier if kind == "classification" else TabularRegressor
    started = time.perf_counter()
    score_name = "accuracy" if kind == "classification" else "R²"
    model = estimator(**settings)
    watcher = _watch(model, *held) if watch else None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # convergence and interruption are reported below
        if cluster is None:
            progress = [] if quiet else [Progress(score_name)]
            model.set_params(callbacks=[*progress, *([watcher] if watcher else [])])
            model.fit(*data.train)
        else:
            _fit_on_cluster(
                model, *data.train, address=cluster, workers=workers, gpus=gpus,
                checkpoint=settings.get("checkpoint"),
            )  # fmt: skip
    seconds = time.perf_counter() - started
    interrupted = model.mlp_.stop_reason_ == "interrupted"
    begun = model.mlp_.n_iter_ > 0
    if interrupted and not begun and checkpoint is None:
        raise KeyboardInterrupt
    if begun or not interrupted:
        _save(model, output)
    if interrupted and (not begun or model.mlp_._signal == signal.SIGTERM):
        _note(_interruption(model, output, checkpoint))  # no time, or nothing, for a report
        raise typer.Exit(_status(model))

    score = report.classification if kind == "classification" else report.regression
    result: dict[str, Any] = {
        "task": kind,
        "target": target,
        "rows": data.rows,
        "rows_without_target": data.left_out,
        "train_rows": len(data.train[0]),
        "test_rows": len(held[0]),
        "epochs": model.mlp_.n_iter_,
        "stop_reason": model.mlp_.stop_reason_,
        "seconds": round(seconds, 3),
        "model": output,
        **score(model, *held),
    }
    if page is not None and not interrupted:
        _write_report(model, held, page)
        result["report"] = page
    result["scores"] |= report.peers(model, data.for_peers, held)
    if as_json:
        print(json.dumps(result))
    elif not quiet:
        _tell(result, model)
    if interrupted:
        _note(_interruption(model, output, checkpoint))
        raise typer.Exit(_status(model))
    if watcher is not None:
        _go_on(watcher)


@app.command()
def predict(
    model: ModelFile,
    table: Tables,
    output: Annotated[
        str | None, typer.Option("-o", "--output", help=".csv, .tsv or .parquet; else printed.")
    ] = None,
    proba: Annotated[bool, typer.Option("--proba", help="Add each class's probability.")] = False,
    memory: Memory = None,
) -> None:
    """Predict the target for each row of a table: CSV on standard output, or a file.

    Columns may come in any order; extra ones are ignored, missing ones are an error. With --memory,
    or where the table is a folder, a glob or a URL, rows are streamed from file to file.
    """
    from deltaprop.data.predicting import predict_stream, predictions
    from deltaprop.data.reading import TableError, read_table
    from deltaprop.data.streams.opening import stream
    from deltaprop.storage.places import ending

    if output is not None:
        _require_writable(output)
        if ending(output) not in (".csv", ".tsv", ".parquet"):
            raise TableError(f"--output must end in .csv, .tsv or .parquet, got {output!r}.")
    fitted = _load_tabular(model)
    if proba and not hasattr(fitted, "predict_proba"):
        raise TableError("--proba needs a classifier; this model is a regressor.")
    if memory or _is_many(table):
        if output is None or ending(output) != ".parquet":
            raise TableError("A streamed table needs --output with a name that ends in .parquet.")
        n = predict_stream(fitted, stream(table, memory=memory or MEMORY), output, proba)
        _note(f"{n} predictions are in {output}.")
        return
    rows = predictions(fitted, read_table(table), proba)
    if output is None:
        rows.to_csv(sys.stdout, index=False)
        sys.stdout.flush()
        return
    _write_table(rows, output)
    _note(f"{len(rows)} predictions are in {output}.")


@app.command()
def evaluate(model: ModelFile, table: TableFile, as_json: AsJson = False) -> None:
    """Compare a model's predictions with the target column of a table."""
    from rich.console import Console

    from deltaprop.cli import report
    from deltaprop.data.reading import TableError, read_table
    from deltaprop.data.task import split_target

    fitted = _load_tabular(model)
    if fitted.target_name_ is None:
        raise TableError(f"{model!r} does not know its target's name; it was fitted to an array.")
    X, y, _ = split_target(read_table(table), fitted.target_name_)
    if hasattr(fitted, "classes_"):
        labels = report.as_labels(y, fitted.classes_)
        unseen = sorted({str(label) for label in labels} - {str(c) for c in fitted.classes_})
        if unseen:
            _note(f"Classes that the model has never seen count as wrong: {', '.join(unseen)}.")
        result = report.classification(fitted, X, y)
    else:
        result = report.regression(fitted, X, y)
    result = {"rows": len(y), **result}
    if as_json:
        print(json.dumps(result))
    else:
        report.show(result, Console())


@app.command()
def check(
    model: ModelFile,
    table: TableFile,
    as_json: AsJson = False,
) -> None:
    """Prove every equation of a model's network numerically, on rows of a table."""
    from deltaprop.inspect.opening import open_model

    fitted = _load_tabular(model)
    opened = open_model(fitted, *_first_rows(model, fitted, table, 20))
    proof = opened.network.check(*opened.data)
    if as_json:
        equations = [vars(row) for row in proof.rows]
        print(json.dumps({"ok": proof.ok, "conclusion": proof.conclusion, "equations": equations}))
    else:
        print(proof)
    if not proof.ok:
        raise typer.Exit(1)


@app.command()
def explain(
    model: ModelFile,
    table: Annotated[
        Path | None, typer.Argument(help="Its first rows are the numbers beside the symbols.")
    ] = None,
    format: Annotated[str, typer.Option(help="unicode, latex or html.")] = "unicode",
    output: Annotated[
        str | None, typer.Option("-o", "--output", help="A file; else printed.")
    ] = None,
) -> None:
    """Write the derivation of a model's network: every equation, with its own functions.

    With a table, the numbers of its first three rows stand below each equation.
    """
    from deltaprop.data.reading import TableError
    from deltaprop.explain.derivation import FORMATS
    from deltaprop.inspect.opening import open_model
    from deltaprop.storage.places import write_bytes

    if format not in FORMATS:
        raise TableError(f"--format must be one of {', '.join(FORMATS)}; got {format!r}.")
    if output is not None:
        _require_writable(output)
    if table is None:
        text = str(open_model(model).network.derivation(format=format))
    else:
        fitted = _load_tabular(model)
        opened = open_model(fitted, *_first_rows(model, fitted, table, 3))
        text = str(opened.network.derivation(*opened.data, format=format))
    if format == "html":
        text = f'<!doctype html>\n<meta charset="utf-8">\n<title>{Path(model).name}</title>\n{text}'
    if output is None:
        print(text, end="")
        return
    write_bytes(output, text.encode())
    _note(f"The derivation is in {output}.")


@app.command()
def info(model: ModelFile, as_json: AsJson = False) -> None:
    """Say what a model file holds."""
    from deltaprop.files import describe, load
    from deltaprop.inspect.opening import open_model

    header, fitted = describe(model), load(model)
    net = open_model(fitted).network
    facts: dict[str, Any] = {
        "file": model,
        "kind": header["kind"],
        "format": header["format"],
        "deltaprop": header["deltaprop"],
        "network": repr(net),
        "parameters": int(net.theta.size),
    }
    if hasattr(fitted, "encoder_"):
        facts["target"] = fitted.target_name_
        facts["columns"] = fitted.encoder_.kinds_
    if hasattr(fitted, "classes_"):
        facts["classes"] = [str(label) for label in fitted.classes_]
    if as_json:
        print(json.dumps(facts))
        return
    for name, value in facts.items():
        if isinstance(value, dict):
            value = ", ".join(f"{column} ({kind})" for column, kind in value.items())
        print(f"{name:<11} {', '.join(value) if isinstance(value, list) else value}")


# ---------------------------------------------------------------- pieces


def is_bad_input(error: BaseException) -> bool:
    """Whether an error is about what the user gave, not a bug of ours."""
    from deltaprop.data.reading import TableError
    from deltaprop.files import ModelFileError

    if isinstance(error, (ModelFileError, TableError, MemoryError)):
        return True
    # What the estimators refuse (parameters, targets) is a plain ValueError.
    return isinstance(error, ValueError)


class Data(NamedTuple):
    """What to train on (the arguments of fit), what to test on, and how much there is."""

    kind: str
    train: tuple[Any, ...]
    held: tuple[Any, Any]
    for_peers: tuple[Any, Any]
    rows: int
    left_out: int


def _is_many(table: str) -> bool:
    """Whether the table is more than a file of this machine."""
    return "://" in table or Path(table).is_dir() or (has_magic(table) and not Path(table).exists())


def _in_memory(
    table: str, target: str, drop: list[str], weight: str | None, task: str, test_size: float,
    seed: int,
) -> Data:  # fmt: skip
    from deltaprop.data.reading import read_table
    from deltaprop.data.task import recognise_task

    frame = read_table(table)
    X, y, w, left_out = _select(frame, target, drop, weight)
    kind = _task(task, y, recognise_task)
    train_rows, test_rows = _hold_out(y, kind, test_size, seed)
    train, held = ((X.iloc[rows], y.iloc[rows]) for rows in (train_rows, test_rows))
    weights = None if w is None else w[train_rows]
    return Data(kind, (*train, weights), held, train, len(frame), left_out)


def _streamed(
    table: str, target: str, drop: list[str], weight: str | None, task: str, test_size: float,
    seed: int, memory: str | None,
) -> Data:  # fmt: skip
    """The held-out rows and the peers' fit in memory: no more than it has room for."""
    from deltaprop.data.streams.opening import stream
    from deltaprop.data.task import recognise_task

    everything = stream(table, target, weight=weight, memory=memory or MEMORY).without(drop)
    rows = everything.with_target_known()
    kind = _task(task, rows.sample(SAMPLE)[target], recognise_task)
    train, held = rows.set_aside(rows.share_in_memory(test_size), seed)
    pairs = [
        (frame[list(rows.features)], frame[target])
        for frame in (held.sample(len(held)), train.sample(SAMPLE))
    ]
    left_out = len(everything) - len(rows)
    return Data(kind, (train,), pairs[0], pairs[1], len(everything), left_out)


def _select(frame: Any, target: str, drop: list[str], weight: str | None) -> tuple[Any, ...]:
    """X, y, sample weights, and the number of rows without a target."""
    import numpy as np

    from deltaprop.data.reading import TableError
    from deltaprop.data.task import require_columns, split_target

    require_columns(frame, [target], "--target")
    require_columns(frame, drop, "--drop")
    if target in drop or target == weight:
        raise TableError(f"--target {target!r} cannot also be dropped or be the weight.")
    frame = frame.drop(columns=drop)
    X, y, left_out = split_target(frame, target)
    if weight is None:
        return X, y, None, left_out
    require_columns(frame, [weight], "--weight")
    try:
        w = X[weight].to_numpy(dtype=float)
    except (TypeError, ValueError) as error:
        raise TableError(f"--weight {weight!r} must hold numbers: {error}.") from error
    if not np.isfinite(w).all() or (w < 0).any() or not w.any():
        raise TableError(f"--weight {weight!r} must hold numbers >= 0, not all 0, none missing.")
    if X.shape[1] == 1:
        raise TableError("The table has no column besides the target and the weight.")
    return X.drop(columns=weight), y, w, left_out


def _task(task: str, y: Any, recognise: Any) -> str:
    from deltaprop.data.reading import TableError

    if task not in ("auto", "classification", "regression"):
        raise TableError(f"--task must be auto, classification or regression, got {task!r}.")
    recognised: str = recognise(y) if task == "auto" else task
    if recognised == "regression":
        import pandas as pd

        if not pd.api.types.is_numeric_dtype(y):
            raise TableError(
                f"--task regression needs numbers, but column {y.name!r} holds words such as "
                f"{y.iloc[0]!r}. Use --task classification."
            )
    return recognised


def _hold_out(y: Any, kind: str, test_size: float, seed: int) -> tuple[Any, Any]:
    import numpy as np
    from sklearn.model_selection import train_test_split

    from deltaprop.data.reading import TableError

    if len(y) < 10:
        raise TableError(f"The table has {len(y)} row(s) with a target; at least 10 are needed.")
    rows = np.arange(len(y))
    if kind == "regression":
        split = train_test_split(rows, test_size=test_size, random_state=seed)
        return split[0], split[1]
    labels = y.astype(str).to_numpy()
    counts = dict(zip(*np.unique(labels, return_counts=True), strict=True))
    if sum(count >= LEAST_ROWS_A_CLASS for count in counts.values()) < 2:
        rarest = min(counts, key=lambda label: counts[label])
        raise TableError(
            f"Column {y.name!r}, the target, has {counts[rarest]} row(s) of class {rarest!r}; two "
            f"classes need at least {LEAST_ROWS_A_CLASS} rows each."
        )
    rare = np.array([counts[label] < LEAST_ROWS_A_CLASS for label in labels])  # all to train on
    stratify = labels[~rare]
    if int(test_size * len(stratify)) < len(set(stratify)):
        stratify = None
    split = train_test_split(rows[~rare], test_size=test_size, random_state=seed, stratify=stratify)
    return np.concatenate([split[0], rows[rare]]), split[1]


def _sizes(hidden: str) -> tuple[int, ...]:
    from deltaprop.data.reading import TableError

    parts = [part.strip() for part in hidden.split(",")]
    if not all(part.isdigit() and int(part) > 0 for part in parts):
        raise TableError(f"--hidden must be positive whole numbers such as 128,64; got {hidden!r}.")
    return tuple(int(part) for part in parts)


def _require_writable(output: str, option: str = "--output") -> None:
    """Fail before the work, not after it."""
    from deltaprop.data.reading import TableError
    from deltaprop.storage.places import unwritable

    if (reason := unwritable(output)) is not None:
        raise TableError(f"{option}: {reason}")


def _require_report(page: str, output: str) -> None:
    from deltaprop.data.reading import TableError
    from deltaprop.inspect.displays import require_matplotlib

    _require_writable(page, "--report")
    if Path(page).resolve() == Path(output).resolve():
        raise TableError(f"--report and --output name the same file, {page!r}.")
    try:
        require_matplotlib()
    except ImportError as error:
        raise TableError(f"--report: {error}") from error


def _require_ray(watch: bool) -> None:
    from importlib.util import find_spec

    from deltaprop.data.reading import TableError

    if watch:
        raise TableError("--watch follows a training on this machine; leave it or --cluster out.")
    if find_spec("ray") is None:
        raise TableError("--cluster needs Ray. Install it with: pip install 'deltaprop[cluster]'")


def _fit_on_cluster(model: Any, X: Any, y: Any = None, w: Any = None, **options: Any) -> None:
    from deltaprop import cluster

    _note(f"{options['workers']} worker(s) train on the Ray at {options['address']!r}.")
    cluster.fit(model, X, y, **options, **({} if w is None else {"sample_weight": w}))


def _write_report(model: Any, held: tuple[Any, Any], page: str) -> None:
    from deltaprop import report

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        report(model, *held, page)


def _load_tabular(path: str) -> Any:
    from deltaprop.files import ModelFileError, load

    model = load(path)
    if not hasattr(model, "encoder_"):
        raise ModelFileError(
            f"{path!r} holds a {type(model).__name__}, which knows no table columns; use a "
            "model that `deltaprop train` (or a Tabular estimator) wrote."
        )
    return model


def _save(model: Any, output: str) -> None:
    """Where `output` refuses after all, the model goes to this machine: its training took time."""
    import tempfile

    from deltaprop import save
    from deltaprop.files import ModelFileError

    try:
        save(model, output)
    except ModelFileError as error:
        handle, elsewhere = tempfile.mkstemp(prefix="model-", suffix=".dp")
        os.close(handle)
        save(model, elsewhere)
        raise ModelFileError(f"{error} The model is in {elsewhere} instead.") from error


def _write_table(rows: Any, output: str) -> None:
    """All or nothing, as models are written."""
    from deltaprop.storage.places import ending, write_bytes

    if ending(output) == ".parquet":
        data: bytes = rows.to_parquet(index=False)
    else:
        separator = "\t" if ending(output) == ".tsv" else ","
        data = rows.to_csv(index=False, sep=separator).encode()
    write_bytes(output, data)


def _interruption(model: Any, output: str, checkpoint: str | None) -> str:
    """What happened, where the work is, and how to go on."""
    epochs = model.mlp_.n_iter_
    said = f"Interrupted after epoch {epochs}"
    if epochs:
        said += f": the best weights so far are in {output}"
    if checkpoint is not None:
        said += f". The same command goes on from the checkpoint in {checkpoint}"
    return f"{said}."


def _status(model: Any) -> int:
    """Of a command that a signal ended, as shells count."""
    return 128 + int(model.mlp_._signal or signal.SIGINT)


def _watch(model: Any, X: Any, y: Any) -> Any:
    """A page that follows the training and then explores the model on rows held out."""
    from deltaprop import Watch

    page = Watch(model, X, y, open_browser=sys.stderr.isatty())
    _note(f"Watch the training at {page.url}")
    return page


def _go_on(page: Any) -> None:
    """Serve the page until Ctrl-C, where there is somebody to press it."""
    page.finish()
    if not sys.stderr.isatty():
        return
    _note(f"The model, on the rows held out, is at {page.url} until Ctrl-C.")
    page.wait()


def _first_rows(path: str, model: Any, table: Path, most: int) -> tuple[Any, Any]:
    """The first rows of a table that have a target: X and y."""
    from deltaprop.data.reading import TableError, read_table
    from deltaprop.data.task import split_target

    if model.target_name_ is None:
        raise TableError(f"{path!r} does not know its target's name; it was fitted to an array.")
    X, y, _ = split_target(read_table(table), model.target_name_)
    return X.head(most), y.head(most)


def _tell(result: dict[str, Any], model: Any) -> None:
    from rich.console import Console

    from deltaprop.cli import report

    console = Console()
    classes = f" with {len(result['classes'])} classes" if "classes" in result else ""
    console.print(
        f"[bold]{result['target']}[/]: {result['task']}{classes}, {result['train_rows']:,} rows to "
        f"train on, {result['test_rows']:,} held out."
    )
    if result["rows_without_target"]:
        console.print(f"{result['rows_without_target']} row(s) without a target were left out.")
    console.print(
        f"{model.mlp_.network_.theta.size:,} parameters, {result['epochs']} epochs in "
        f"{result['seconds']:.1f} s ({result['stop_reason']})."
    )
    report.show(result, console)
    console.print(f"The model is in [bold]{result['model']}[/].")
    if "report" in result:
        console.print(f"The report is in [bold]{result['report']}[/].")


def _note(message: str) -> None:
    print(message, file=sys.stderr)
