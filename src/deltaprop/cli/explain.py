"""``deltaprop explain``: the derivation of a model's network, or one of its predictions."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from deltaprop.cli.choices import FORMATS, one_of
from deltaprop.cli.options import Member, ModelFile, Quiet
from deltaprop.cli.output import examples, note, require_writable, write_text
from deltaprop.cli.reading_options import reads_a_table
from deltaprop.cli.registry import app
from deltaprop.data.reading.options import ReadingOptions
from deltaprop.errors import InputError

N_ROWS = 3
MOST_BASELINES = 100  # as in estimators/contributing.py, which imports more


@app.command(
    epilog=examples(
        "deltaprop explain model.dp",
        "deltaprop explain model.dp data.csv --format html -o derivation.html",
        "deltaprop explain model.dp data.csv --row 0",
    )
)
@reads_a_table
def explain(
    model: ModelFile,
    reading: ReadingOptions,
    table: Annotated[
        str | None,
        typer.Argument(
            metavar="TABLE",
            help="A table whose first rows give the numbers below the equations, or with the row "
            "to explain.",
        ),
    ] = None,
    row: Annotated[
        int | None,
        typer.Option(
            metavar="NUMBER",
            min=0,
            help="Explain the prediction for this row of the table instead: how much each column "
            "contributes to it. The first row is 0.",
            show_default=False,
        ),
    ] = None,
    target: Annotated[
        str | None,
        typer.Option(
            "--output-name",
            metavar="NAME",
            help="With --row, the class, target or quantile to explain; by default, the one with "
            "the largest prediction.",
            show_default=False,
        ),
    ] = None,
    member: Member = None,
    steps: Annotated[
        bool,
        typer.Option("--steps", help="Also write the lines that lead to each equation."),
    ] = False,
    format: Annotated[str, one_of("format", FORMATS, "How it is written")] = "unicode",
    output: Annotated[
        str | None,
        typer.Option(
            "-o", "--output", metavar="FILE", help="File or URL; by default, standard output."
        ),
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Write the equations of a model's network, or with --row, why it predicts what it does.

    The equations are those of its own functions and shapes. With a table, the values for its
    first three rows are written below each. Of an ensemble, this is the network of one member.
    With --row, it is written instead how much each column contributes to the prediction for a
    row, compared with the other rows of the table.
    """
    if output is not None:
        require_writable(output)
    if row is not None:
        if table is None or format != "unicode" or steps:
            raise InputError("--row needs a TABLE, and neither --steps nor another --format.")
        write_text(_contributions(model, table, reading, member, row, target) + "\n", output)
        return
    if target is not None:
        raise InputError("--output-name needs --row.")
    text, shown = _derivation(model, table, reading, member, format=format, steps=steps)
    if format == "html":
        title = Path(model).name if shown is None else f"{Path(model).name}: {shown}"
        text = f'<!doctype html>\n<meta charset="utf-8">\n<title>{title}</title>\n{text}'
    write_text(text, output)
    if quiet:
        return
    if shown is not None:
        note(f"This is the network of {shown}; --member selects another one.")
    if output is not None:
        note(f"The derivation is in {output}.")


def _contributions(
    model: str, table: str, reading: ReadingOptions, member: int | None, row: int, name: str | None
) -> str:
    """The contributions to the prediction for a row, compared with the other rows."""
    from deltaprop.cli.models import load_tabular
    from deltaprop.cli.reading_options import read_table
    from deltaprop.inspect.opening import one_member

    fitted: Any = one_member(load_tabular(model), member)
    rows = read_table(table, reading)
    if row >= len(rows):
        raise InputError(f"--row must be at most {len(rows) - 1}: the table has {len(rows)} rows.")
    others = rows.drop(index=rows.index[row])
    baseline = others if len(others) else None
    found = fitted.contributions(rows.iloc[[row]], baseline)
    compared = "a row of medians" if baseline is None else f"the mean of {len(others)} other rows"
    if len(others) > MOST_BASELINES:
        compared = f"the mean of {MOST_BASELINES} other rows"
    return f"Row {row}, compared with {compared}.\n{found.text(0, name)}"


def _derivation(
    model: str, table: str | None, reading: ReadingOptions, member: int | None, **how: Any
) -> tuple[str, str | None]:
    """Return the derivation, and which member of an ensemble it is of."""
    from deltaprop.cli.models import load_tabular
    from deltaprop.cli.tables import rows_with_target
    from deltaprop.inspect.opening import open_model

    if table is None:
        opened = open_model(model, member=member)
        return str(opened.network.derivation(**how)), opened.member
    fitted = load_tabular(model)
    X, y = rows_with_target(fitted, model, table, reading)
    opened = open_model(fitted, X.head(N_ROWS), y.head(N_ROWS), member=member)
    return str(opened.network.derivation(*opened.data, **how)), opened.member
