"""``deltaprop explain``: the derivation of a model's network, written out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from deltaprop.cli.options import ModelFile
from deltaprop.cli.output import note, require_writable, write_text
from deltaprop.cli.registry import app
from deltaprop.errors import InputError

N_ROWS = 3


@app.command()
def explain(
    model: ModelFile,
    table: Annotated[
        Path | None,
        typer.Argument(
            metavar="TABLE",
            help="A table whose first rows give the numbers below the equations.",
        ),
    ] = None,
    format: Annotated[str, typer.Option(help="unicode, latex or html.")] = "unicode",
    output: Annotated[
        str | None,
        typer.Option("-o", "--output", help="File or URL; by default, standard output."),
    ] = None,
) -> None:
    """Write the derivation of a model's network: every equation, with its own functions.

    With a table, the values for its first three rows are written below each equation.
    """
    from deltaprop.explain.derivation import FORMATS

    if format not in FORMATS:
        raise InputError(f"--format must be one of {', '.join(FORMATS)}; got {format!r}.")
    if output is not None:
        require_writable(output)
    text = _derivation(model, table, format)
    if format == "html":
        text = f'<!doctype html>\n<meta charset="utf-8">\n<title>{Path(model).name}</title>\n{text}'
    write_text(text, output)
    if output is not None:
        note(f"The derivation is in {output}.")


def _derivation(model: str, table: Path | None, format: str) -> str:
    from deltaprop.cli.models import load_tabular
    from deltaprop.cli.tables import rows_with_target
    from deltaprop.inspect.opening import open_model

    if table is None:
        return str(open_model(model).network.derivation(format=format))
    fitted = load_tabular(model)
    X, y = rows_with_target(fitted, model, table)
    opened = open_model(fitted, X.head(N_ROWS), y.head(N_ROWS))
    return str(opened.network.derivation(*opened.data, format=format))
