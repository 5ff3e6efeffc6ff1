"""The columns that requests give, checked and converted before they are put together.

Requests of several clients are predicted as one table. So that the values of one client never
change how those of another are read, each request is first converted to one NumPy dtype per kind of
column: float64, dates, or objects that are strings.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from deltaprop.data.columns import values
from deltaprop.data.columns.dates import DateColumn
from deltaprop.data.columns.numbers import DurationColumn
from deltaprop.serving.problems import Refused, invalid

if TYPE_CHECKING:
    from deltaprop.data.columns.protocol import EncodedColumn

NUMBERS = (float, int, bool, type(None))
WORDS = (str, float, int, bool, type(None))
DATES = (str, type(None))
JSON_NAMES = {dict: "an object", list: "an array", str: "a string", bool: "a boolean"}
SHOWN = 60  # characters of a wrong value in a message


@dataclass(frozen=True)
class Field:
    """One column that a request gives.

    Attributes
    ----------
    name : str
    kind : {"numeric", "category", "date", "text"}
        As in ``encoder_.kinds_``.
    expects : str
        What its values are, in words, for messages.
    types : tuple of str
        The JSON types of its values.
    choices : tuple of str
        The categories that the model knows.
    neutral : object
        A value that every model accepts.
    read : callable
        Converts a list of Python values to an array; raises Refused.
    """

    name: str
    kind: str
    expects: str
    types: tuple[str, ...]
    choices: tuple[str, ...]
    neutral: Any
    read: Callable[[list[Any]], np.ndarray]

    @property
    def datatype(self) -> str:
        """The type of the column in the Open Inference Protocol."""
        return "FP64" if self.kind == "numeric" else "BYTES"


def fields_of(columns: dict[str, EncodedColumn]) -> list[Field]:
    """The fields of a model's encoded columns. Those that it does not use are left out."""
    return [_field(column) for column in columns.values() if column.names()]


def number_field(name: str, nullable: bool) -> Field:
    """A column of numbers, of which none may be missing unless `nullable`."""
    if nullable:
        expects = "a number, a boolean or null"
        return _field_of(name, "numeric", expects, ("number", "boolean", "null"), NUMBERS, _floats)
    known = (float, int, bool)
    return _field_of(
        name, "numeric", "a number or a boolean", ("number", "boolean"), known, _floats
    )


def missing_values(n: int) -> np.ndarray:
    """A column of which no value is known."""
    return np.full(n, None, dtype=object)


def _field(column: EncodedColumn) -> Field:
    name, kind = column.name, column.kind
    if isinstance(column, DurationColumn):
        seconds = "a number of seconds or null"
        return _field_of(name, kind, seconds, ("number", "null"), NUMBERS, _durations)
    if kind == "numeric":
        expects = "a number, a boolean or null"
        return _field_of(name, kind, expects, ("number", "boolean", "null"), NUMBERS, _floats)
    if isinstance(column, DateColumn):

        def dates(cells: list[Any]) -> np.ndarray:
            return _dates(cells, column)

        expects = "a string with a date, such as '2024-05-31', or null"
        return _field_of(name, kind, expects, ("string", "null"), DATES, dates)
    types = ("string", "number", "boolean", "null")
    return _field_of(
        name, kind, "a string, a number, a boolean or null", types, WORDS, _words, column.choices
    )


def _field_of(
    name: str, kind: str, expects: str, types: tuple[str, ...], allowed: tuple[type, ...],
    convert: Callable[[list[Any]], np.ndarray], choices: tuple[str, ...] = (),
) -> Field:  # fmt: skip
    def read(cells: list[Any]) -> np.ndarray:
        if not set(map(type, cells)).issubset(allowed):
            row = next(i for i, cell in enumerate(cells) if type(cell) not in allowed)
            raise _wrong(name, row, expects, cells[row])
        try:
            return convert(cells)
        except _Unread as unread:
            raise _wrong(name, unread.row, expects, cells[unread.row]) from unread
        except OverflowError as error:
            raise invalid(f"column {name!r}: a number is beyond the range of float64.") from error

    return Field(name, kind, expects, types, choices, None if type(None) in allowed else 0, read)


class _Unread(Exception):
    """The value in this row has the right type, but cannot be converted."""

    def __init__(self, row: int) -> None:
        self.row = row


def _floats(cells: list[Any]) -> np.ndarray:
    return np.array(cells, dtype=np.float64)  # None becomes NaN


def _durations(cells: list[Any]) -> np.ndarray:
    seconds = _floats(cells)
    beyond = np.flatnonzero(np.abs(seconds) > pd.Timedelta.max.total_seconds())
    if len(beyond):
        raise _Unread(int(beyond[0]))
    found: np.ndarray = pd.to_timedelta(seconds, unit="s").to_numpy()
    return found


def _words(cells: list[Any]) -> np.ndarray:
    found = np.empty(len(cells), dtype=object)
    found[:] = [values.label(cell) for cell in cells]
    return found


def _dates(cells: list[Any], column: DateColumn) -> np.ndarray:
    words = pd.Series(cells, dtype=object)
    found = values.dates(words, column.pattern, column.zone)
    if column.pattern is not None and found.isna().any():
        other = values.dates(words, None, column.zone)  # such as ISO 8601
        found = found.where(found.notna(), other)
    given = np.array([cell is not None and not _is_missing(cell) for cell in cells])
    unread = np.flatnonzero(given & found.isna())
    if len(unread):
        raise _Unread(int(unread[0]))
    # Without a zone, as the encoder takes dates: in UTC if the column has one.
    in_microseconds: np.ndarray = found.as_unit("us").to_numpy(dtype="datetime64[us]")
    return in_microseconds


def _is_missing(word: str) -> bool:
    return values.is_missing_word(word)


def _wrong(name: str, row: int, expects: str, found: Any) -> Refused:
    shown = repr(found)
    shown = shown if len(shown) <= SHOWN else f"{shown[:SHOWN]}…"
    kind = JSON_NAMES.get(type(found))
    what = f"{kind}: {shown}" if kind else shown
    return invalid(f"row {row}, column {name!r}: expected {expects}; got {what}.")
