"""Read tables of many formats, from files, standard input and URLs.

:func:`~deltaprop.data.reading.tables.read` fetches the bytes (``places``) and recognises their
format (``formats``). Text needs most work (``text``): its encoding (``encodings``), how lines are
divided into cells (``dialects``), and what the words in the cells mean (``cells``): numbers
(``number_words``), dates (``date_words``) and missing values (``missing``).

Importing this package is cheap: what reads tables is imported when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from deltaprop.data.reading.errors import TableError, TableWarning, UnparsedCells, first_line
from deltaprop.data.reading.options import ReadingOptions

if TYPE_CHECKING:
    from deltaprop.data.reading.formats import ARROW, PARQUET, TEXT
    from deltaprop.data.reading.result import Reading
    from deltaprop.data.reading.tables import is_database, read, read_table

_HOME = {
    "ARROW": "formats",
    "PARQUET": "formats",
    "TEXT": "formats",
    "Reading": "result",
    "is_database": "tables",
    "read": "tables",
    "read_table": "tables",
}

__all__ = [
    "ARROW",
    "PARQUET",
    "TEXT",
    "Reading",
    "ReadingOptions",
    "TableError",
    "TableWarning",
    "UnparsedCells",
    "first_line",
    "is_database",
    "read",
    "read_table",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value
