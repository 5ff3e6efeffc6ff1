"""What commands print and write."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, TextIO

import typer

from deltaprop.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

TABLE_ENDINGS = (".csv", ".tsv", ".parquet")


def note(message: str) -> None:
    """Print a message for people to standard error; standard output is for results."""
    print(message, file=sys.stderr)


def print_json(result: dict[str, Any]) -> None:
    """Print one JSON object to standard output."""
    print(json.dumps(result))


@contextlib.contextmanager
def standard_output() -> Iterator[TextIO]:
    """Yield standard output for a long result; end the command if its reader (`head`) stops."""
    try:
        yield sys.stdout
        sys.stdout.flush()
    except BrokenPipeError:
        # Python flushes standard output again when it exits, which must not fail a second time.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(0) from None


def require_writable(place: str, option: str = "--output") -> None:
    """Raise InputError before the work starts if the result could not be written."""
    from deltaprop.storage.places import unwritable

    if (reason := unwritable(place)) is not None:
        raise InputError(f"{option}: {reason}")


def write_text(text: str, place: str | None) -> None:
    """Write text to a file or URL, or to standard output if `place` is None."""
    from deltaprop.storage.places import write_bytes

    if place is not None:
        write_bytes(place, text.encode())
        return
    with standard_output() as stream:
        stream.write(text)


def require_table_name(place: str) -> None:
    """Raise InputError if the name does not say in which format to write a table."""
    from deltaprop.storage.places import ending

    if ending(place) not in TABLE_ENDINGS:
        raise InputError(f"--output must end in .csv, .tsv or .parquet, got {place!r}.")


def write_table(table: pd.DataFrame, place: str | None) -> None:
    """Write a table to a file or URL, or as CSV to standard output if `place` is None."""
    from deltaprop.storage.places import ending, write_bytes

    if place is None:
        with standard_output() as stream:
            table.to_csv(stream, index=False)
    elif ending(place) == ".parquet":
        write_bytes(place, table.to_parquet(index=False))
    else:
        separator = "\t" if ending(place) == ".tsv" else ","
        write_bytes(place, table.to_csv(index=False, sep=separator).encode())
