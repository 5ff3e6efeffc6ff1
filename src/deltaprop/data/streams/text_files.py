"""How Arrow reads text files, with what is detected at the beginning of the first one."""

from __future__ import annotations

import io
import warnings
from typing import Any

from deltaprop.data.reading import ReadingOptions, TableError, TableWarning
from deltaprop.data.reading.missing import SIGNS, WORDS
from deltaprop.data.reading.places import Content

HEAD = 1 << 17


def text_format(path: str, filesystem: Any, options: ReadingOptions) -> Any:
    """Arrow's format of text files like this one.

    Raises
    ------
    TableError
        If its numbers have marks between thousands, which Arrow cannot read.
    """
    import pyarrow.csv as csv
    import pyarrow.dataset as ds

    from deltaprop.data.reading.text import Text

    text = Text(_beginning(path, filesystem), options)
    dialect = text.dialect
    if dialect.sep == " " or text.has_thousands():
        what = "spaces as separators" if dialect.sep == " " else "marks between thousands"
        raise TableError(
            f"{path!r} has {what}, so it cannot be streamed. Read it into memory, without "
            "--memory, or convert it to Parquet."
        )
    if notes := text.stream_notes():
        warnings.warn(f"{path}: {notes}", TableWarning, stacklevel=3)
    return ds.CsvFileFormat(
        parse_options=csv.ParseOptions(
            delimiter=dialect.sep,
            quote_char=dialect.quote,
            escape_char=dialect.escape or False,
        ),
        read_options=csv.ReadOptions(
            encoding="utf8" if text.encoding == "utf-8-sig" else text.encoding,
            skip_rows=dialect.skip,
            column_names=None if dialect.has_names else list(dialect.names),
        ),
        convert_options=csv.ConvertOptions(
            decimal_point=text.convention.decimal,
            null_values=[*csv.ConvertOptions().null_values, *SIGNS, *WORDS, *options.na],
        ),
    )


def _beginning(path: str, filesystem: Any) -> Content:
    """The first bytes of a file, decompressed if its name says so."""
    from pyarrow.fs import LocalFileSystem

    files = filesystem or LocalFileSystem()
    with files.open_input_stream(path) as file:
        head = file.read(HEAD)
    return Content(repr(path), "." + path.rsplit(".", 1)[-1].lower(), lambda: io.BytesIO(head))
