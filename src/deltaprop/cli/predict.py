"""``deltaprop predict``: predict the target of each row of a table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from deltaprop.cli.options import DEFAULT_MEMORY, Memory, ModelFile, Tables
from deltaprop.cli.output import note, require_table_name, require_writable, write_table
from deltaprop.cli.reading_options import for_streams, read_table, reads_a_table
from deltaprop.cli.registry import app
from deltaprop.data.reading.options import ReadingOptions
from deltaprop.errors import InputError

if TYPE_CHECKING:
    from deltaprop.cli.models import Tabular


@app.command()
@reads_a_table
def predict(
    model: ModelFile,
    table: Tables,
    reading: ReadingOptions,
    output: Annotated[
        str | None,
        typer.Option(
            "-o",
            "--output",
            help="File or URL that ends in .csv, .tsv or .parquet. "
            "By default, CSV is written to standard output.",
        ),
    ] = None,
    proba: Annotated[
        bool, typer.Option("--proba", help="Add the probability of each class.")
    ] = False,
    memory: Memory = None,
) -> None:
    """Predict the target for each row of a table, as CSV on standard output or in a file.

    Columns may be in any order. Extra columns are ignored; missing columns are an error. With
    --memory, or if the table is a folder, a glob or a URL, rows are streamed from file to file.
    """
    from deltaprop.cli.models import load_tabular
    from deltaprop.cli.tables import is_streamed
    from deltaprop.data.predicting import predictions

    if output is not None:
        require_writable(output)
        require_table_name(output)
    fitted = load_tabular(model)
    if proba and not hasattr(fitted.mlp_, "predict_proba"):
        raise InputError("--proba needs a classifier that predicts probabilities.")
    if memory or is_streamed(table):
        _predict_stream(fitted, table, output, proba, memory or DEFAULT_MEMORY, reading)
        return
    predicted = predictions(fitted, read_table(table, reading), proba)
    write_table(predicted, output)
    if output is not None:
        note(f"{len(predicted)} predictions are in {output}.")


def _predict_stream(
    model: Tabular,
    table: str,
    output: str | None,
    proba: bool,
    memory: str,
    reading: ReadingOptions,
) -> None:
    from deltaprop.data.predicting import predict_stream
    from deltaprop.data.streams.opening import stream
    from deltaprop.storage.places import ending

    if output is None or ending(output) != ".parquet":
        raise InputError("A streamed table needs --output with a name that ends in .parquet.")
    n_rows = predict_stream(
        model, stream(table, memory=memory, **for_streams(reading)), output, proba
    )
    note(f"{n_rows} predictions are in {output}.")
