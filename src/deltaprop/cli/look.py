"""``deltaprop look``: what is in a table."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from deltaprop.cli.options import AsJson, TableFile
from deltaprop.cli.output import as_text, examples, print_json
from deltaprop.cli.reading_options import read_table, reads_a_table
from deltaprop.cli.registry import app
from deltaprop.data.reading.options import ReadingOptions

if TYPE_CHECKING:
    from deltaprop.data.overview.describing import Overview


@app.command(
    epilog=examples(
        "deltaprop look data.csv --target churn",
        "deltaprop look export.txt --sep ';' --encoding latin-1",
        "deltaprop look sales.xlsx --sheet 2024",
    )
)
@reads_a_table
def look(
    table: TableFile,
    reading: ReadingOptions,
    target: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMN", help="The column to predict, to describe it, too.", show_default=False
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Describe a table: how it is read, its columns, and what may harm a model.

    With --target, this includes its classes or range, and columns that give it away.
    """
    from deltaprop.data.overview.describing import describe

    found = describe(read_table(table, reading), target)
    if as_json:
        print_json(asdict(found))
    else:
        _print(found)


def _print(found: Overview) -> None:
    from rich.console import Console
    from rich.table import Table

    columns = Table("column", "kind", "missing", "distinct", "examples")
    for fact in found.facts:
        missing = f"{fact.missing:.1%}" if fact.missing else ""
        some = ", ".join(example[:30] for example in fact.examples)
        cells = (fact.name, fact.kind, missing, f"{fact.distinct:,}", some)
        columns.add_row(*map(as_text, cells))
    console = Console()
    console.print(columns)
    console.print(str(found), markup=False, highlight=False, emoji=False)
