"""Write a table part by part, as CSV, TSV, JSON Lines or Parquet."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, BinaryIO

from deltaprop.errors import InputError
from deltaprop.storage.places import Place, ending, replacing

FORMATS = {
    ".csv": "csv", ".tsv": "tsv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".parquet": "parquet",
    ".pq": "parquet",
}  # fmt: skip

FORMULA = re.compile(r"\s*[=+\-@\t\r\uff1d\uff0b\uff0d\uff20]")  # and the same in full width

WritePart = Callable[[Any], None]
"""Writes the rows of a DataFrame; all parts have the same columns."""


def format_of(place: Place) -> str:
    """The format that the ending of a file's name stands for.

    Raises
    ------
    InputError
        If it stands for none.

    Examples
    --------
    >>> format_of("rows.ndjson")
    'jsonl'
    """
    if ending(place) not in FORMATS:
        raise InputError(f"the name must end in {', '.join(FORMATS)}; got {str(place)!r}.")
    return FORMATS[ending(place)]


@contextmanager
def written_to(place: Place, format: str | None = None) -> Iterator[WritePart]:
    """A function that writes parts of a table to a file or URL.

    By default, the ending of its name says in which format.

    The file is replaced once the table is complete. After an error it is as it was before.

    Raises
    ------
    InputError
        If the ending names no format.
    OutputError
        If the file cannot be written.

    Examples
    --------
    >>> import pandas as pd
    >>> with written_to("/tmp/rows.jsonl") as write:
    ...     write(pd.DataFrame({"a": [1, 2], "b": ["x", None]}))
    >>> print(open("/tmp/rows.jsonl").read())
    {"a":1,"b":"x"}
    {"a":2,"b":null}
    """
    format = format or format_of(place)
    with (
        replacing(place) as temporary,
        temporary.open("wb") as file,
        parts_of(file, format) as write,
    ):
        yield write


@contextmanager
def parts_of(file: BinaryIO, format: str) -> Iterator[WritePart]:
    """A function that writes parts of a table to an open file.

    Parameters
    ----------
    file : binary file
        It is not closed.
    format : {"csv", "tsv", "jsonl", "parquet"}
    """
    with ExitStack() as opened:
        if format == "parquet":
            yield _parquet(file, opened)
        elif format == "jsonl":
            yield lambda frame: _write(file, _json_lines(frame))
        else:
            yield _delimited(file, "\t" if format == "tsv" else ",")


def without_formulas(frame: Any) -> Any:
    """The same table with an apostrophe before each text that a spreadsheet may take for a formula.

    These are column names and cells that begin with =, +, -, @, tab or carriage return and are not
    numbers. A formula in a file from elsewhere could send data away or start programs.

    References
    ----------
    https://owasp.org/www-community/attacks/CSV_Injection

    Examples
    --------
    >>> import pandas as pd
    >>> without_formulas(pd.DataFrame({"a": ["=1+1", "-1.5", "x-y"], "@b": [-1, 0, 1]}))
           a  '@b
    0  '=1+1   -1
    1   -1.5    0
    2    x-y    1
    """
    columns = {}
    for i, name in enumerate(frame.columns):
        column = frame.iloc[:, i]
        is_plain = column.dtype.kind in "biufcmM" and not hasattr(column, "cat")
        columns[_no_formula(name)] = column if is_plain else column.astype(object).map(_no_formula)
    return type(frame)(columns)


def _no_formula(cell: Any) -> Any:
    if not isinstance(cell, (str, bytes)):
        return cell
    text = str(cell)  # bytes are written as b'...'
    if FORMULA.match(text) is None or _is_number(text):
        return cell
    return f"'{text}"


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _delimited(file: BinaryIO, separator: str) -> WritePart:
    first = True

    def write(frame: Any) -> None:
        nonlocal first
        text = frame.to_csv(index=False, sep=separator, header=first, lineterminator="\n")
        first = False
        _write(file, text)

    return write


def _json_lines(frame: Any) -> str:
    text = io.StringIO()
    frame.to_json(
        text,
        orient="records",
        lines=True,
        date_format="iso",
        force_ascii=False,
        double_precision=15,
    )
    return text.getvalue()


def _write(file: BinaryIO, text: str) -> None:
    file.write(text.encode())


def _parquet(file: BinaryIO, opened: ExitStack) -> WritePart:
    import pyarrow as pa
    import pyarrow.parquet as pq

    writer: Any = None

    def write(frame: Any) -> None:
        nonlocal writer
        schema = None if writer is None else writer.schema
        table = pa.Table.from_pandas(frame, schema=schema, preserve_index=False)
        if writer is None:
            writer = opened.enter_context(pq.ParquetWriter(file, table.schema))
        writer.write_table(table)

    return write
