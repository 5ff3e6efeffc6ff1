"""Standard output and error, whatever they are connected to: a pipe, a full disk, or nothing.

Standard output carries results: a command fails if they cannot be written, and ends quietly if
nobody reads them any more (``| head``). Standard error carries messages, which never make a
command fail.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
import warnings
from collections.abc import Iterator
from typing import Any

from deltaprop.functions.printable import printable_lines


class Results(io.BufferedWriter):
    """The bytes of standard output."""

    def write(self, data: Any) -> int:
        with _reported():
            return super().write(data)

    def flush(self) -> None:
        with _reported():
            super().flush()


class Messages(io.BufferedWriter):
    """The bytes of standard error."""

    def write(self, data: Any) -> int:
        with contextlib.suppress(OSError):
            super().write(data)
        return len(data)

    def flush(self) -> None:
        with contextlib.suppress(OSError):
            super().flush()


def prepare() -> None:
    """Replace the streams of this process. Those of a program that calls a command are kept."""
    if sys.stdout is not sys.__stdout__ or sys.stderr is not sys.__stderr__:
        return
    _open_closed_ones()
    sys.stdin = sys.stdin or open(0, closefd=False)  # noqa: SIM115  # stays open
    sys.stdout = _stream(1, sys.stdout, Results)
    sys.stderr = _stream(2, sys.stderr, Messages)
    as_usual = warnings.formatwarning
    warnings.formatwarning = lambda *args, **more: printable_lines(as_usual(*args, **more))


@contextlib.contextmanager
def _reported() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        _discard_the_rest()
        raise SystemExit(0) from None
    except OSError as error:
        from deltaprop.storage.places import OutputError

        _discard_the_rest()
        raise OutputError(
            f"Standard output cannot be written to: {error.strerror}. Redirect it to a file on a "
            "disk with free space."
        ) from error


def _discard_the_rest() -> None:
    """Python flushes standard output again when it exits, which must not fail a second time."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def _open_closed_ones() -> None:
    """Open closed streams, as otherwise the next file gets their number, and what they print.

    Reading from standard input then ends at once, and writing to standard output is an error.
    """
    for number, flags in enumerate((os.O_RDONLY, os.O_RDONLY, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, flags)  # gets the lowest free number


def _stream(number: int, present: Any, kind: type[io.BufferedWriter]) -> io.TextIOWrapper:
    """A text stream that writes characters which its encoding lacks as escapes, such as \\u0177."""
    if present is None:
        raw: Any = io.FileIO(number, "w", closefd=False)
        return io.TextIOWrapper(kind(raw), "utf-8", "backslashreplace", line_buffering=True)
    raw = getattr(present.buffer, "raw", present.buffer)
    # With PYTHONUNBUFFERED, Python sets write_through instead of line_buffering.
    at_once = present.line_buffering or present.write_through
    return io.TextIOWrapper(kind(raw), present.encoding, "backslashreplace", line_buffering=at_once)
