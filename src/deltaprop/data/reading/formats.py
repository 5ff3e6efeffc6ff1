"""The formats of tables, each with how it is recognised and read.

The first bytes decide, where a format has a signature, then the ending of the name. What is neither
is read as text if it is text.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from typing import Any, NamedTuple

from deltaprop.data.reading.errors import TableError, first_line, require
from deltaprop.data.reading.options import ReadingOptions
from deltaprop.data.reading.places import Content
from deltaprop.data.reading.result import Reading

TEXT = {".csv": ",", ".tsv": "\t"}
PARQUET = (".parquet", ".pq")
ARROW = (".arrow", ".feather", ".ipc")
JSON = (".json", ".jsonl", ".ndjson")
SHEETS = (".xlsx", ".xlsm", ".xlsb", ".xls", ".ods")
DATABASES = (".sqlite", ".sqlite3", ".db")
OTHER_FILES = (
    (b"\x89PNG", "a PNG picture"), (b"\xff\xd8\xff", "a JPEG picture"), (b"GIF8", "a GIF picture"),
    (b"%PDF", "a PDF document"), (b"<!do", "an HTML page"), (b"<!DO", "an HTML page"),
    (b"<htm", "an HTML page"), (b"<HTM", "an HTML page"), (b"<?xm", "an XML document"),
    (b"{\\rt", "an RTF document"), (b"\x89HDF", "an HDF5 file"),
)  # fmt: skip
HEAD = 1 << 12


class Format(NamedTuple):
    """A format of tables.

    Attributes
    ----------
    name : str
        For messages.
    endings : tuple of str
        Of names.
    signatures : tuple of bytes
        With which its files begin.
    read : callable
        Reads its files.
    needs_signature : bool
        Whether a file without one is damaged.
    """

    name: str
    endings: tuple[str, ...]
    signatures: tuple[bytes, ...]
    read: Callable[[Content, ReadingOptions], Reading]
    needs_signature: bool = True


def format_of(content: Content) -> Format:
    """The format of a table.

    Raises
    ------
    TableError
        If the bytes are those of a format that is not a table.
    """
    head = content.head(HEAD)
    if not head.strip():
        raise TableError(f"{content.name} is empty.")
    for known in FORMATS:
        if head.startswith(known.signatures):
            return known
    _refuse_other_files(content, head)
    for known in FORMATS:
        if content.suffix in known.endings:
            if known.needs_signature:
                raise TableError(f"{content.name} is not a {known.name} file, or it is damaged.")
            return known
    is_json = content.suffix not in TEXT and head.lstrip().startswith((b'{"', b'[{"', b"[\n"))
    return _JSON if is_json else _TEXT


def _refuse_other_files(content: Content, head: bytes) -> None:
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    for signature, what in OTHER_FILES:
        if start.startswith(signature):
            raise TableError(
                f"{content.name} is {what}, not a table. Export the table as CSV, Excel or Parquet."
            )
    if content.suffix not in TEXT and _is_binary(head):
        raise TableError(
            f"{content.name}: the format of the table is not known. Known endings are "
            f"{', '.join(ending for known in FORMATS for ending in known.endings)}."
        )


def _is_binary(head: bytes) -> bool:
    """Whether bytes are no text: they have control characters, and not those of UTF-16."""
    controls = sum(byte < 9 or 13 < byte < 32 for byte in head)
    zeros = max(head[0::2].count(0), head[1::2].count(0))
    return controls - zeros > len(head) / 50


# ---------------------------------------------------------------- text


def _read_text(content: Content, options: ReadingOptions) -> Reading:
    from deltaprop.data.reading.text import Text

    return Text(content, options).read()


def _read_json(content: Content, options: ReadingOptions) -> Reading:
    """Records, columns, or one record in each line; objects in records become columns."""
    import pandas as pd

    from deltaprop.data.reading import encodings

    with content.open() as file:
        data = file.read()
    text = data.decode(options.encoding or encodings.detect(data[:HEAD], content.name))
    found = _parsed(text, content.name)
    if isinstance(found, dict):
        tables = [value for value in found.values() if _is_records(value)]
        found = tables[0] if len(tables) == 1 else found
    if _is_records(found):
        return Reading(pd.json_normalize(found))
    try:
        return Reading(pd.DataFrame(found))
    except ValueError as error:
        raise TableError(
            f"{content.name} is JSON, but not a table: a list of records such as "
            '[{"x": 1, "y": 2}], one record per line, or {"x": [1], "y": [2]}.'
        ) from error


def _parsed(text: str, name: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        lines = [line for line in text.splitlines() if line.strip()]
        try:
            return [json.loads(line) for line in lines]
        except ValueError:
            raise TableError(f"{name} cannot be read as JSON: {error}.") from error


def _is_records(found: Any) -> bool:
    return isinstance(found, list) and bool(found) and all(isinstance(r, dict) for r in found)


# ---------------------------------------------------------------- binary


def _read_parquet(content: Content, options: ReadingOptions) -> Reading:
    import pyarrow.parquet as pq

    return Reading(_valid_frame(pq.read_table(_seekable(content))))


def _read_arrow(content: Content, options: ReadingOptions) -> Reading:
    """Files of Arrow (Feather), and streams, which begin with a length."""
    import pyarrow as pa

    is_file = content.head(6) == b"ARROW1"
    with content.open() as file:
        opened = pa.ipc.open_file(file) if is_file else pa.ipc.open_stream(file)
        return Reading(_valid_frame(opened.read_all()))


def _valid_frame(table: Any) -> Any:
    """A table of Arrow as a DataFrame.

    Arrow reads lengths and strings from files as they are. Offsets outside of a column would crash
    the process, and strings that are not UTF-8 fail only when they are used.
    """
    table.validate(full=True)
    return table.to_pandas()


def _seekable(content: Content) -> Any:
    """The path of a file, or its bytes: Parquet begins with its end."""
    if content.path is not None:
        return content.path
    with content.open() as file:
        return io.BytesIO(file.read())


def _read_sheets(content: Content, options: ReadingOptions) -> Reading:
    from deltaprop.data.reading.grids import only_sheet, table_of

    calamine = require("python_calamine", "Reading Excel and ODS files", "excel")
    with content.open() as file:
        book = calamine.load_workbook(io.BytesIO(file.read()))
    found = {sheet: book.get_sheet_by_name(sheet).to_python() for sheet in book.sheet_names}
    tables = {
        sheet: table
        for sheet, rows in found.items()
        if options.sheet in (None, sheet) and (table := table_of(rows, content.name)) is not None
    }
    if not tables:
        raise TableError(f"{content.name} has no rows{_in_sheet(options.sheet, list(found))}.")
    name = only_sheet(tables, options.sheet, content.name)
    notes = []
    if len(found) > 1 and options.sheet is None:
        others = ", ".join(repr(sheet) for sheet in found if sheet != name)
        notes.append(f"Read sheet {name!r}; the file also has {others} (--sheet).")
    return Reading(tables[name], notes)


def _in_sheet(sheet: str | None, sheets: list[str]) -> str:
    return "" if sheet is None else f" in sheet {sheet!r}; its sheets are {', '.join(sheets)}"


# ---------------------------------------------------------------- databases


def _read_sqlite(content: Content, options: ReadingOptions) -> Reading:
    import sqlite3
    from contextlib import closing

    import pandas as pd

    if content.path is not None:
        connection = sqlite3.connect(f"{content.path.absolute().as_uri()}?mode=ro", uri=True)
    else:
        connection = sqlite3.connect(":memory:")
        with content.open() as file:
            connection.deserialize(file.read())
    with closing(connection):
        connection.execute("PRAGMA trusted_schema = OFF")  # views of strangers call no functions
        names = connection.execute(
            "SELECT name FROM sqlite_master WHERE type IN ('table', 'view') "
            "AND name NOT LIKE 'sqlite_%' ORDER BY name"
        )
        query = options.query or _only_table([name for (name,) in names], content.name)
        return Reading(pd.read_sql_query(query, connection))


def read_database(url: str, options: ReadingOptions) -> Reading:
    """The result of a query to any database that SQLAlchemy supports."""
    import pandas as pd

    sqlalchemy = require("sqlalchemy", f"Reading {url.split('://')[0]} databases", "sql")
    try:
        engine = sqlalchemy.create_engine(url)
        with engine.connect() as connection:
            names = sorted(sqlalchemy.inspect(connection).get_table_names())
            query = options.query or _only_table(names, _without_password(url))
            return Reading(pd.read_sql_query(sqlalchemy.text(query), connection))
    except TableError:
        raise
    except Exception as error:  # each database has its own exceptions
        raise TableError(f"{_without_password(url)} cannot be read: {first_line(error)}") from error


def _only_table(names: list[str], database: str) -> str:
    if len(names) != 1:
        raise TableError(
            f"{database} has {len(names)} tables ({', '.join(names)}); choose rows with a query, "
            "such as --query 'SELECT * FROM " + (names[0] if names else "table") + "'."
        )
    return 'SELECT * FROM "' + names[0].replace('"', '""') + '"'


def _without_password(url: str) -> str:
    scheme, _, rest = url.partition("://")
    return repr(f"{scheme}://{rest.rpartition('@')[2]}")


_TEXT = Format("text", (*TEXT, ".txt", ".tab", ".psv", ".dat"), (), _read_text, False)
_JSON = Format("JSON", JSON, (), _read_json, False)
FORMATS = (
    _TEXT,
    _JSON,
    Format("Parquet", PARQUET, (b"PAR1",), _read_parquet),
    Format("Arrow", ARROW, (b"ARROW1", b"\xff\xff\xff\xff"), _read_arrow),
    Format("Excel or ODS", SHEETS, (b"PK\x03\x04", b"\xd0\xcf\x11\xe0"), _read_sheets),
    Format("SQLite", DATABASES, (b"SQLite format 3\x00",), _read_sqlite),
)
