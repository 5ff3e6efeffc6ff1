"""What the caller says about a table, so that it need not be detected."""

from __future__ import annotations

import codecs
from dataclasses import dataclass

from deltaprop.data.reading.errors import TableError

SEPARATORS = {"tab": "\t", "\\t": "\t", "space": " ", "comma": ",", "semicolon": ";", "pipe": "|"}
SPACES = ("space", " ", "\u00a0", "\u202f")
APOSTROPHES = ("'", "’")


@dataclass(frozen=True)
class ReadingOptions:
    """How to read a table; None means that it is detected.

    The attributes are those of :func:`deltaprop.tables.read_table`.

    Raises
    ------
    TableError
        If a value is not possible.

    Examples
    --------
    >>> ReadingOptions(sep="tab").sep
    '\\t'
    """

    sep: str | None = None
    decimal: str | None = None
    thousands: str | None = None
    encoding: str | None = None
    na: tuple[str, ...] = ()
    date_format: str | None = None
    sheet: str | None = None
    query: str | None = None

    def __post_init__(self) -> None:
        if self.sep is not None:
            object.__setattr__(self, "sep", _separator(self.sep))
        if self.thousands is not None:
            object.__setattr__(self, "thousands", _thousands(self.thousands))
        if self.decimal not in (None, ".", ","):
            raise TableError(f"decimal must be '.' or ',', got {self.decimal!r}.")
        if self.decimal is not None and self.decimal == self.thousands:
            raise TableError(f"decimal and thousands cannot both be {self.decimal!r}.")
        if self.encoding is not None:
            _require_codec(self.encoding)
        if self.date_format is not None and "%" not in self.date_format:
            raise TableError(
                f"date_format must be a pattern such as '%d.%m.%Y', got {self.date_format!r}."
            )


def _separator(sep: str) -> str:
    sep = SEPARATORS.get(sep, sep)
    if len(sep) != 1 or sep in '"\n\r':
        raise TableError(f"sep must be one character, or the word tab or space; got {sep!r}.")
    return sep


def _thousands(mark: str) -> str:
    if mark in SPACES:
        return " "
    if mark in APOSTROPHES:
        return "'"
    if mark not in ("", ".", ","):
        raise TableError(
            f"thousands must be '.', ',', an apostrophe, 'space', or '' for none; got {mark!r}."
        )
    return mark


def _require_codec(name: str) -> None:
    try:
        codecs.lookup(name)
    except LookupError as error:
        raise TableError(
            f"encoding must be the name of an encoding such as utf-8, latin-1 or cp1252; got "
            f"{name!r}."
        ) from error
