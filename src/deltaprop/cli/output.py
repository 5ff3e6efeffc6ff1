"""What commands print and write."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from deltaprop.errors import InputError
from deltaprop.functions.printable import printable, printable_lines

if TYPE_CHECKING:
    from rich.text import Text

    from deltaprop.data.writing import WritePart


def examples(*commands: str) -> str:
    """The examples at the end of a command's help, one a line."""
    return "\n\n".join(["Examples:", *(f"`{command}`" for command in commands)])


def note(message: str) -> None:
    """Print a message for people to standard error; standard output is for results."""
    print(printable_lines(message), file=sys.stderr)


def say(text: object) -> None:
    """Print a result for people to standard output, without what controls a terminal."""
    print(printable_lines(text))


def as_text(value: object, style: str = "") -> Text:
    """A name from a table or a file for rich, which would take ``[bold]`` for markup."""
    from rich.text import Text

    return Text(printable(value), style)


def print_json(result: dict[str, Any]) -> None:
    """Print one JSON object to standard output."""
    print(json.dumps(result))


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
    sys.stdout.write(printable_lines(text))


def written_to_output(place: str | None, format: str | None) -> AbstractContextManager[WritePart]:
    """Write a table to a file or URL, or to standard output if `place` is None.

    Raises
    ------
    InputError
        If the format does not follow from the name of the file.
    """
    from deltaprop.data.writing import format_of, written_to

    if place is None:
        return _written_to_standard_output(format or "csv")
    if format is None:
        try:
            format = format_of(place)
        except InputError as error:
            raise InputError(f"--output: {error} Or name the format: --format.") from error
    return written_to(place, format)


@contextlib.contextmanager
def _written_to_standard_output(format: str) -> Iterator[WritePart]:
    from deltaprop.data.writing import parts_of

    sys.stdout.flush()
    with parts_of(sys.stdout.buffer, format) as write:
        yield write
    sys.stdout.buffer.flush()
