"""``deltaprop predict``: predict the target of each row of a table."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from deltaprop.cli.choices import TABLE_FORMATS, one_of
from deltaprop.cli.options import DEFAULT_MEMORY, Memory, ModelFile, Quiet, Tables
from deltaprop.cli.output import examples, note, require_writable, written_to_output
from deltaprop.cli.reading_options import for_streams, read_table, reads_a_table
from deltaprop.cli.registry import app
from deltaprop.data.reading.options import ReadingOptions
from deltaprop.errors import InputError

if TYPE_CHECKING:
    from deltaprop.cli.models import Tabular

Option = typer.Option


@app.command(
    epilog=examples(
        "deltaprop predict model.dp new.csv --keep id,name > predictions.csv",
        "deltaprop predict model.dp new.parquet --proba -o predictions.parquet",
        "deltaprop predict model.dp new.csv --interval 0.9 --format jsonl | head",
    )
)
@reads_a_table
def predict(
    model: ModelFile,
    table: Tables,
    reading: ReadingOptions,
    output: Annotated[
        str | None,
        Option(
            "-o",
            "--output",
            metavar="FILE",
            help="File or URL that ends in .csv, .tsv, .jsonl or .parquet. "
            "By default, the predictions are written to standard output.",
        ),
    ] = None,
    keep: Annotated[
        list[str] | None,
        Option(
            metavar="COLUMNS",
            help="Columns of the table to write before the predictions, such as id,name.",
        ),
    ] = None,
    proba: Annotated[bool, Option("--proba", help="Add the probability of each class.")] = False,
    interval: Annotated[
        float | None,
        Option(
            metavar="SHARE",
            help="Add the ends of an interval that contains the target with this probability, such "
            "as 0.9.",
        ),
    ] = None,
    format: Annotated[
        str | None,
        one_of(
            "format",
            TABLE_FORMATS,
            "Format, by default that of the file's ending, or csv on standard output",
            show_default=False,
        ),
    ] = None,
    no_formulas: Annotated[
        bool,
        Option(
            "--no-formulas",
            help="Write an apostrophe before each text that a spreadsheet would take for a formula "
            "(=, +, -, @).",
        ),
    ] = False,
    memory: Memory = None,
    quiet: Quiet = False,
) -> None:
    """Predict the target for each row of a table, on standard output or in a file.

    Columns may be in any order. Extra columns are ignored; missing columns are an error. With
    --memory, or if the table is a folder, a glob or a URL, rows are streamed from file to file.
    """
    from deltaprop.cli.models import load_tabular
    from deltaprop.data.predicting import write_predictions
    from deltaprop.data.writing import without_formulas

    if output is not None:
        require_writable(output)
    destination = written_to_output(output, format)
    fitted = load_tabular(model)
    _check(fitted, proba, interval)
    kept = _columns(keep)
    frames = _frames(fitted, table, memory, reading, kept)
    with destination as write:
        written = (lambda part: write(without_formulas(part))) if no_formulas else write
        n = write_predictions(fitted, frames, written, proba, keep=kept, interval=interval)
    if output is not None and not quiet:
        note(f"{n} predictions are in {output}.")


def _check(model: Tabular, proba: bool, interval: float | None) -> None:
    if proba and not hasattr(model.mlp_, "predict_proba"):
        raise InputError("--proba needs a classifier that predicts probabilities.")
    if interval is None:
        return
    if not 0 < interval < 1:
        raise InputError(f"--interval must lie between 0 and 1, got {interval:g}.")
    if model.held_out_ is None or hasattr(model, "classes_"):
        raise InputError(
            "--interval needs a regressor that was trained with a cross-validation (not with "
            "--preset fast, --cv 1 or several quantiles)."
        )


def _columns(keep: list[str] | None) -> list[str]:
    """The names of all columns to keep, each once."""
    names = (name.strip() for part in keep or () for name in part.split(","))
    return list(dict.fromkeys(name for name in names if name))


def _frames(
    model: Tabular, table: str, memory: str | None, reading: ReadingOptions, keep: list[str]
) -> Iterator[Any]:
    """The rows of a table, in parts."""
    from deltaprop.cli.tables import is_streamed
    from deltaprop.data.predicting import frames_of_stream, frames_of_table
    from deltaprop.data.streams.opening import stream

    if memory or is_streamed(table):
        rows = stream(table, memory=memory or DEFAULT_MEMORY, **for_streams(reading))
        return frames_of_stream(model, rows, keep)
    return frames_of_table(read_table(table, reading))
