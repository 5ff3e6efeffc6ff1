"""Read a table of any format into memory."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from deltaprop.data.reading.errors import (
    TableError,
    TableWarning,
    UnparsedCells,
    first_line,
)
from deltaprop.data.reading.formats import Format, format_of, read_database
from deltaprop.data.reading.names import require_distinct
from deltaprop.data.reading.number_words import described
from deltaprop.data.reading.options import ReadingOptions
from deltaprop.data.reading.places import STANDARD_INPUT, Content, fetch
from deltaprop.data.reading.result import Reading
from deltaprop.errors import warn

DATABASES = (
    "sqlite", "postgresql", "postgres", "mysql", "mariadb", "oracle", "mssql", "duckdb",
    "snowflake", "redshift", "bigquery", "clickhouse", "trino", "db2",
)  # fmt: skip


def read_table(
    source: str | Path,
    *,
    sep: str | None = None,
    decimal: str | None = None,
    thousands: str | None = None,
    encoding: str | None = None,
    na: str | Sequence[str] = (),
    date_format: str | None = None,
    sheet: str | None = None,
    query: str | None = None,
) -> Any:
    """Read a table into a pandas DataFrame.

    The format, the compression, and in text the encoding, the separator, the format of numbers and
    the markers of missing values are detected. What is unusual is reported in a warning.

    Parameters
    ----------
    source : str or Path
        A file in one of these formats: text (CSV, TSV and others), JSON, JSON Lines, Parquet,
        Arrow (Feather), Excel, ODS or SQLite; it may be compressed (gz, bz2, xz, zst or zip). Or
        "-" for standard input, a URL (``https://``, ``s3://``, …), or the SQLAlchemy URL of a
        database.
    sep : str, optional
        The separator of cells: one character, "tab" or "space".
    decimal : {".", ","}, optional
        The mark before decimals.
    thousands : {".", ",", "'", "space", ""}, optional
        The mark between groups of three digits; "" for none. If `decimal` or `thousands` is given,
        numbers are read in no other way.
    encoding : str, optional
        Such as "utf-8", "latin-1", "cp1252" or "utf-16".
    na : str or sequence of str, optional
        Further words that stand for missing values, such as "-999".
    date_format : str, optional
        A pattern such as "%d.%m.%Y". Columns with dates of this format become datetimes. Without
        it, dates in text remain as they are, and :class:`TableEncoder` recognises them.
    sheet : str, optional
        The sheet of an Excel or ODS file; by default, the one with most cells.
    query : str, optional
        The SQL query to a database; by default, all rows if it has only one table.

    Returns
    -------
    pandas.DataFrame

    Raises
    ------
    TableError
        If the file is missing, damaged, empty or of an unknown format, if two columns have the
        same name, if an argument is not possible, or if a package is missing.

    Warns
    -----
    TableWarning
        If something was detected that is unusual.
    UnparsedCells
        If a column looks numeric but contains cells that do not parse. It is read as text.

    Examples
    --------
    >>> from deltaprop.tables import read_table
    >>> read_table("data/penguins.csv").shape
    (344, 8)
    """
    markers = (na,) if isinstance(na, str) else tuple(str(marker) for marker in na)
    options = ReadingOptions(sep, decimal, thousands, encoding, markers, date_format, sheet, query)
    found = read(source, options)
    name = "standard input" if str(source) == STANDARD_INPUT else source
    if found.notes:
        warn(f"{name}: {' '.join(found.notes)}", TableWarning)
    if found.problems:
        warn(f"{name}: {' '.join(found.problems)}", UnparsedCells)
    return found.frame


def read(source: str | Path, options: ReadingOptions | None = None) -> Reading:
    """Read a table as :func:`read_table` does, and return the notes with it."""
    name = repr(str(source))
    found = _read(source, options or ReadingOptions())
    frame = found.frame
    if 0 in frame.shape:
        raise TableError(f"{name} has no rows.")
    frame.columns = [str(column) for column in frame.columns]
    require_distinct(name, list(frame.columns))
    return found


def is_database(source: str | Path) -> bool:
    """Whether a source is the URL of a database."""
    scheme, mark, _ = str(source).partition("://")
    return bool(mark) and scheme.split("+")[0] in DATABASES


def _read(source: str | Path, options: ReadingOptions) -> Reading:
    from deltaprop.data.reading.cells import Converter

    if is_database(source):
        found = read_database(str(source), options)
    else:
        content = fetch(source)
        known = format_of(content)
        found = _of_format(known, content, options)
        if known.name == "text":
            return found
    converter = Converter(options)
    frame = converter.convert(found.frame)
    marks = described(converter.conventions)
    unusual = [f"Read with {' and '.join(marks)}."] if marks else []
    return Reading(frame, [*found.notes, *unusual, *converter.notes], converter.problems)


def _of_format(known: Format, content: Content, options: ReadingOptions) -> Reading:
    try:
        return known.read(content, options)
    except (TableError, MemoryError):
        raise
    except Exception as error:
        raise TableError(
            f"{content.name} cannot be read as {known.name}: {first_line(error)}"
        ) from error
