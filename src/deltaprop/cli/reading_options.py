"""The options of all commands that read a table, and what they report about reading it."""

from __future__ import annotations

import contextlib
import functools
import inspect
import warnings
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from deltaprop.cli.output import note
from deltaprop.data.reading.errors import TableError, TableWarning, UnparsedCells
from deltaprop.data.reading.options import ReadingOptions

if TYPE_CHECKING:
    import pandas as pd

PANEL = "Reading the table"


def _option(name: str, help: str, metavar: str, kind: Any = str) -> tuple[Any, None]:
    """The type of an option that is None if it is not given, and this default."""
    option = typer.Option(
        name, help=help, metavar=metavar, rich_help_panel=PANEL, show_default=False
    )
    return Annotated[kind | None, option], None


OPTIONS: dict[str, tuple[Any, Any]] = {
    "sep": _option("--sep", "Separator of cells, such as ';' or tab.", "MARK"),
    "decimal": _option("--decimal", "Decimal mark: '.' or ','.", "MARK"),
    "thousands": _option(
        "--thousands",
        "Mark between groups of three digits: '.', ',', an apostrophe, or space.",
        "MARK",
    ),
    "encoding": _option("--encoding", "Such as utf-8, latin-1 or utf-16.", "NAME"),
    "na": _option(
        "--na",
        "A word that stands for a missing value, such as -999. May be given several times.",
        "WORD",
        list[str],
    ),
    "date_format": _option("--date-format", "Of dates, such as %d.%m.%Y.", "PATTERN"),
    "sheet": _option("--sheet", "Sheet of an Excel or ODS file.", "NAME"),
    "query": _option("--query", "Query, if the table is a database.", "SQL"),
    "strict": (
        Annotated[
            bool,
            typer.Option(
                "--strict",
                rich_help_panel=PANEL,
                help="Stop with an error if a cell among numbers or dates does not parse, rather "
                "than report it.",
            ),
        ],
        False,
    ),
}


def reads_a_table(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options to a command, which gets them as its argument `reading`.

    While the command runs, warnings about reading a table are printed as one line each.
    """
    own = inspect.signature(command, eval_str=True)
    parameters = [p for name, p in own.parameters.items() if name != "reading"]
    parameters += [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=type_)
        for name, (type_, default) in OPTIONS.items()
    ]

    @functools.wraps(command)
    def with_options(**arguments: Any) -> Any:
        given = {name: arguments.pop(name) for name in OPTIONS}
        strict = given.pop("strict")
        reading = ReadingOptions(**given | {"na": tuple(given["na"] or ())})
        with reported(strict, quiet=bool(arguments.get("quiet"))):
            return command(**arguments, reading=reading)

    extended: Any = with_options
    extended.__signature__ = own.replace(parameters=parameters)
    extended.__annotations__ = {p.name: p.annotation for p in parameters}
    del extended.__wrapped__  # whose signature Typer would read
    return with_options


@contextlib.contextmanager
def reported(strict: bool, quiet: bool = False) -> Iterator[None]:
    """Print warnings about tables as lines on standard error, each once.

    If `quiet`, only cells that do not parse are reported.

    Raises
    ------
    TableError
        If `strict`, for the first cells that do not parse.
    """
    printed: set[str] = set()
    with warnings.catch_warnings():
        show = warnings.showwarning

        def shown(message: Any, category: type[Warning], *rest: Any, **more: Any) -> None:
            if not issubclass(category, TableWarning):
                show(message, category, *rest, **more)
            elif str(message) not in printed:
                printed.add(str(message))
                note(str(message))

        warnings.showwarning = shown
        warnings.simplefilter("ignore" if quiet else "always", TableWarning)
        warnings.simplefilter("always", UnparsedCells)
        if strict:
            warnings.simplefilter("error", UnparsedCells)
        try:
            yield
        except UnparsedCells as problem:
            raise TableError(f"{problem} (--strict)") from None


def for_streams(reading: ReadingOptions) -> dict[str, Any]:
    """Return the options that streams have, too.

    Raises
    ------
    TableError
        If another one is given.
    """
    options = asdict(reading)
    for name in ("thousands", "date_format", "sheet", "query"):
        if options.pop(name) is not None:
            raise TableError(
                f"--{name.replace('_', '-')} needs a table in memory: one file, without --memory."
            )
    return options


def read_table(table: Any, reading: ReadingOptions | None = None) -> pd.DataFrame:
    """Read the table of a command with its options."""
    from deltaprop.data.reading.tables import read_table as read

    options = asdict(reading or ReadingOptions())
    frame: pd.DataFrame = read(table, **options)
    return frame
