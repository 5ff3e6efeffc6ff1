"""``deltaprop export``: write a model for programs that do not use deltaprop."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from deltaprop.cli.choices import ONNX_DTYPES, one_of
from deltaprop.cli.options import ModelFile, Quiet
from deltaprop.cli.output import examples, note, require_writable
from deltaprop.cli.reading_options import read_table, reads_a_table
from deltaprop.cli.registry import app
from deltaprop.data.reading.options import ReadingOptions
from deltaprop.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

    from deltaprop.cli.models import Tabular

Option = typer.Option


@app.command(
    epilog=examples(
        "deltaprop export model.dp --onnx model.onnx",
        "deltaprop export model.dp --onnx small.onnx --quantize --compare data.csv",
        "deltaprop export model.dp --c model.h --python model.py",
    )
)
@reads_a_table
def export(
    model: ModelFile,
    reading: ReadingOptions,
    onnx: Annotated[
        str | None, Option(metavar="FILE", help="An ONNX file, with the preprocessing inside.")
    ] = None,
    c: Annotated[
        str | None,
        Option("--c", metavar="FILE", help="A C99 header that needs only the standard library."),
    ] = None,
    python: Annotated[
        str | None,
        Option(metavar="FILE", help="A Python file that needs only the standard library."),
    ] = None,
    dtype: Annotated[
        str, one_of("dtype", ONNX_DTYPES, "The dtype of the networks in the ONNX file")
    ] = "float32",
    quantize: Annotated[
        bool, Option("--quantize", help="Store the weights in the ONNX file in 8 bits.")
    ] = False,
    compare: Annotated[
        str | None,
        Option(
            metavar="TABLE",
            help="A table on whose rows the ONNX file is compared with the model; with the target, "
            "by its score too.",
        ),
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Write a model for programs that do not use deltaprop.

    The file predicts what the model predicts: it contains the preprocessing and all networks.
    """
    places = {"--onnx": onnx, "--c": c, "--python": python}
    if not any(places.values()):
        raise InputError(f"Name a file to write: {' or '.join(places)}.")
    if onnx is None and (compare is not None or quantize or dtype != "float32"):
        raise InputError(
            "--compare, --dtype and --quantize are for ONNX files: name one with --onnx."
        )
    for option, place in places.items():
        if place is not None:
            require_writable(place, option)
    from deltaprop.cli.models import load_tabular
    from deltaprop.files import load

    if compare is None:
        fitted: Any = load(model)
        rows: tuple[Any, Any] = None, None
    else:
        fitted = load_tabular(model)
        rows = _rows(fitted, read_table(compare, reading))
    if onnx is not None:
        from deltaprop.export import to_onnx

        how: Any = {"dtype": dtype, "quantize": quantize, "X": rows[0], "y": rows[1]}
        _note(onnx, to_onnx(fitted, onnx, **how), quiet)
    if c is not None:
        from deltaprop.export import to_c

        _note(c, f"{to_c(fitted, c):,} bytes.", quiet)
    if python is not None:
        from deltaprop.export import to_python

        _note(python, f"{to_python(fitted, python):,} bytes.", quiet)


def _rows(model: Tabular, frame: pd.DataFrame) -> tuple[Any, Any]:
    """The rows of a table, and their target if the table has it."""
    from deltaprop.cli.tables import split_rows

    return split_rows(model, frame) if model.target_name_ in frame.columns else (frame, None)


def _note(place: str, written: Any, quiet: bool) -> None:
    if not quiet:
        note(f"{place}: {written}")
