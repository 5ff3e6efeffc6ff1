"""Rows in Arrow's format for streams of record batches.

What comes from a client may be made to exhaust the memory or to point outside of its buffers, so
compressed buffers and types whose values can be larger than the body are refused, and the rest is
validated before it is read.
"""

from __future__ import annotations

import io
import struct
from typing import TYPE_CHECKING, Any

import numpy as np

from deltaprop.data.columns import values
from deltaprop.serving.fields import Field
from deltaprop.serving.json_bodies import require_count, require_fields
from deltaprop.serving.problems import BAD_REQUEST, Refused, invalid
from deltaprop.serving.served import Columns, Given, Served

if TYPE_CHECKING:
    import pyarrow as pa

ARROW = "application/vnd.apache.arrow.stream"
DICTIONARY_BATCH, RECORD_BATCH = 2, 3  # kinds of messages
MOST_MESSAGES = 10_000


def read_arrow(served: Served, body: bytes, most_rows: int) -> Given:
    """The rows of a stream of record batches.

    Raises
    ------
    Refused
        If it is no such stream, has too many rows, or does not fit the model.
    """
    import pyarrow as pa

    try:
        _require_plain(body)
        table = _table(body, most_rows)
        names = table.schema.names  # which may be no valid text
    except (pa.ArrowException, OSError, struct.error, ValueError, IndexError) as error:
        raise Refused(
            BAD_REQUEST, f"the body is not a stream of Arrow record batches: {error}."
        ) from error
    if len(set(names)) < len(names):
        raise invalid("two columns have the same name.")
    require_fields(served, names)
    require_count(table.num_rows, most_rows)
    columns = {field.name: _read(field, table.column(field.name)) for field in served.fields}
    return Given(columns, table.num_rows)


def arrow_stream(columns: Columns) -> bytes:
    """Columns as a stream of one record batch."""
    import pyarrow as pa

    table = pa.table({name: pa.array(values) for name, values in columns.items()})
    out = io.BytesIO()
    with pa.ipc.new_stream(out, table.schema) as writer:
        writer.write_table(table)
    return out.getvalue()


def _table(body: bytes, most_rows: int) -> pa.Table:
    import pyarrow as pa

    batches = []
    rows = 0
    with pa.ipc.open_stream(body) as reader:
        _require_known_types(reader.schema)
        for batch in reader:
            rows += batch.num_rows
            require_count(rows or 1, most_rows)
            batch.validate(full=True)  # offsets and indices may point anywhere
            batches.append(batch)
        return pa.Table.from_batches(batches, reader.schema)


def _require_known_types(schema: pa.Schema) -> None:
    for column in schema:
        kind = column.type
        if _is_dictionary(kind):
            kind = kind.value_type
        if not _is_known(kind):
            raise invalid(f"column {column.name!r} has the type {column.type}; cast it to another.")


def _is_dictionary(kind: pa.DataType) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_dictionary(kind))


def _is_known(kind: pa.DataType) -> bool:
    from pyarrow import types

    known = (
        types.is_integer, types.is_floating, types.is_boolean, types.is_decimal, types.is_null,
        types.is_string, types.is_large_string, types.is_date, types.is_timestamp,
        types.is_duration,
    )  # fmt: skip
    return any(is_kind(kind) for is_kind in known)


def _read(field: Field, column: pa.ChunkedArray) -> np.ndarray:
    import pyarrow as pa

    kind = column.type
    is_number = pa.types.is_floating(kind) or pa.types.is_integer(kind)
    if is_number and field.types == ("number", "boolean", "null"):
        floats: Any = column.cast(pa.float64(), safe=False).to_numpy()
        return np.asarray(floats, np.float64)
    return field.read([_plain(cell, field) for cell in _cells(column)])


def _cells(column: pa.ChunkedArray) -> list[Any]:
    if not _is_dictionary(column.type):
        return list(column.to_pylist())
    found: list[Any] = []
    for chunk in column.chunks:  # whose rows share the values
        words = chunk.dictionary.to_pylist()
        found += [None if i is None else words[i] for i in chunk.indices.to_pylist()]
    return found


def _plain(cell: Any, field: Field) -> Any:
    """A cell of Arrow as JSON would give it."""
    if cell is None or isinstance(cell, (str, bool, int)):
        return cell
    if isinstance(cell, float):
        return None if np.isnan(cell) and field.kind != "numeric" else cell
    if hasattr(cell, "total_seconds"):
        return cell.total_seconds()
    if hasattr(cell, "isoformat"):
        return cell.isoformat()
    return float(cell) if field.kind == "numeric" else values.label(cell)


# ---------------------------------------------------------------- what a message contains


def _require_plain(body: bytes) -> None:
    """Raise ValueError if a record batch is compressed: a small body could fill the memory."""
    import pyarrow as pa

    for n, message in enumerate(pa.ipc.MessageReader.open_stream(body)):
        if n >= MOST_MESSAGES:
            raise ValueError(f"it has more than {MOST_MESSAGES} messages")
        if _is_compressed(message.metadata.to_pybytes()):
            raise ValueError("its buffers are compressed; write them without compression")


def _is_compressed(metadata: bytes) -> bool:
    """Whether a message is a batch that declares a compression (format/Message.fbs of Arrow)."""
    message = struct.unpack_from("<I", metadata)[0]
    kind, header = _slot(metadata, message, 1), _slot(metadata, message, 2)
    if kind is None or header is None:
        return False
    batch = _target(metadata, header)
    if metadata[kind] == DICTIONARY_BATCH:
        data = _slot(metadata, batch, 1)
        if data is None:
            return False
        batch = _target(metadata, data)
    elif metadata[kind] != RECORD_BATCH:
        return False
    return _slot(metadata, batch, 3) is not None


def _slot(buffer: bytes, table: int, field: int) -> int | None:
    """Where a FlatBuffers table stores a field; None if it has the default."""
    vtable = table - struct.unpack_from("<i", buffer, table)[0]
    if 4 + 2 * field >= struct.unpack_from("<H", buffer, vtable)[0]:
        return None
    offset = struct.unpack_from("<H", buffer, vtable + 4 + 2 * field)[0]
    return table + offset if offset else None


def _target(buffer: bytes, place: int) -> int:
    """What the offset that is stored at a place points to."""
    return place + int(struct.unpack_from("<I", buffer, place)[0])
