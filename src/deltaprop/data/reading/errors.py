"""What goes wrong when a table is read, and what is worth telling about it."""

from __future__ import annotations

import importlib
from typing import Any

from deltaprop.errors import InputError


class TableError(InputError):
    """A table that cannot be read or used; the message says what to do."""


class TableWarning(UserWarning):
    """How a table was read, if the reader had to find out: separator, encoding, number format."""


class UnparsedCells(TableWarning):
    """Cells among numbers or dates that are neither, and that are left as text or as missing."""


def first_line(error: Exception) -> str:
    """The first line of another library's error message."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def require(module: str, what: str, extra: str) -> Any:
    """Import a module of an extra; TableError with the extra's name if it is not installed."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise TableError(
            f"{what} needs {module.split('.')[0]}. Install it with: "
            f"python -m pip install 'deltaprop[{extra}]'"
        ) from error
