"""How Arrow reads text files, with what is detected at the beginning of the first one."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from deltaprop.data.reading import ReadingOptions, TableError, TableWarning
from deltaprop.data.reading.missing import SIGNS, WORDS
from deltaprop.data.reading.places import Content
from deltaprop.errors import warn

if TYPE_CHECKING:
    from deltaprop.data.reading.text import Text

HEAD = 1 << 17


def text_format(path: str, filesystem: Any, options: ReadingOptions) -> Any:
    """Arrow's format of text files like this one.

    Raises
    ------
    TableError
        If Arrow cannot read it.
    """
    import pyarrow.csv as csv
    import pyarrow.dataset as ds

    from deltaprop.data.reading.text import Text

    text = Text(_beginning(path, filesystem), options)
    dialect = text.dialect
    if (obstacle := _obstacle(text)) is not None:
        raise TableError(
            f"{path!r} has {obstacle}, so it cannot be streamed. Read it into memory, without "
            "--memory, or convert it to Parquet."
        )
    if notes := text.stream_notes():
        warn(f"{path}: {notes}", TableWarning)
    return ds.CsvFileFormat(
        parse_options=csv.ParseOptions(
            delimiter=dialect.sep,
            quote_char=dialect.quote,
            escape_char=dialect.escape or False,
        ),
        read_options=csv.ReadOptions(
            encoding="utf8" if text.encoding == "utf-8-sig" else text.encoding
        ),
        convert_options=csv.ConvertOptions(
            decimal_point=text.convention.decimal,
            null_values=[*csv.ConvertOptions().null_values, *SIGNS, *WORDS, *options.na],
        ),
    )


def _obstacle(text: Text) -> str | None:
    """What Arrow's datasets cannot read; None for nothing."""
    if text.dialect.sep == " ":
        return "spaces as separators"
    if text.dialect.skip:
        return "lines above the names of columns"
    if not text.dialect.has_names:
        return "no names of columns in its first line"
    return "marks between thousands" if text.has_thousands() else None


def _beginning(path: str, filesystem: Any) -> Content:
    """The first bytes of a file, decompressed if its name says so."""
    from pyarrow.fs import LocalFileSystem

    files = filesystem or LocalFileSystem()
    with files.open_input_stream(path) as file:
        head = file.read(HEAD)
    return Content(repr(path), "." + path.rsplit(".", 1)[-1].lower(), lambda: io.BytesIO(head))
