"""The container of model files and checkpoints: safetensors with a JSON header."""

from __future__ import annotations

import json
import math
import struct
from typing import Any

import numpy as np

from deltaprop.storage.codec import ModelFileError

MAX_HEADER_BYTES = 100_000_000
DTYPES = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "BOOL": "?",
    "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "i1",
    "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "u1",
}  # fmt: skip
"""The dtypes of tensors in model files. Reading them needs NumPy only, and no safetensors."""
MAX_CONTAINERS = 4_000_000  # lists and dicts in a header; each takes about 60 bytes of memory
MAX_VALUES = 8_000_000  # in all of them; reading them takes about 10 s
DAMAGED = (
    ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError,
)  # fmt: skip


def pack(tensors: dict[str, np.ndarray], metadata: dict[str, str]) -> bytes:
    """The bytes of a file with these tensors and this metadata."""
    from safetensors.numpy import save

    data: bytes = save(tensors, metadata=metadata)
    return data


def unpack(data: bytes) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Metadata and tensors of a file with these bytes.

    Raises
    ------
    ModelFileError
        If they are not a safetensors file with metadata.

    Examples
    --------
    >>> metadata, tensors = unpack(pack({"t0": np.ones(2)}, {"deltaprop": "{}"}))
    >>> metadata, tensors["t0"]
    ({'deltaprop': '{}'}, array([1., 1.]))
    """
    try:
        header, start = _header(data)
        metadata = header.pop("__metadata__")
        return metadata, _tensors(header, memoryview(data)[start:])
    except ModelFileError:
        raise
    except DAMAGED as error:
        raise ModelFileError("it is damaged or truncated") from error


def _header(data: bytes) -> tuple[dict[str, Any], int]:
    """The header of a safetensors file, and where its tensors start."""
    if len(data) < 8:
        raise ModelFileError("it is too short")
    (length,) = struct.unpack("<Q", data[:8])
    if length > min(len(data) - 8, MAX_HEADER_BYTES):
        raise ModelFileError("it is truncated")
    header = data[8 : 8 + length]
    if header.count(b"[") + header.count(b"{") > MAX_CONTAINERS:
        raise ModelFileError("its header would fill the memory")
    if header.count(b",") > MAX_VALUES:
        raise ModelFileError("its header has too many values")
    return json.loads(header, object_pairs_hook=_without_repetition), 8 + length


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ModelFileError("its header contains a name twice")
    return found


def _tensors(header: dict[str, Any], data: memoryview) -> dict[str, np.ndarray]:
    """The tensors that a header describes: they follow each other without a gap or an overlap."""
    found, end = {}, 0
    for name, entry in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
        dtype, shape = np.dtype(DTYPES[entry["dtype"]]), entry["shape"]
        start, stop = entry["data_offsets"]
        if not all(type(n) is int and n >= 0 for n in (*shape, start, stop)):
            raise ModelFileError("its tensors have sizes that are no integers")
        size = math.prod(shape) * dtype.itemsize
        if (start, stop) != (end, end + size) or stop > len(data):
            raise ModelFileError("it is damaged or truncated")
        found[name] = np.frombuffer(data[start:stop], dtype).reshape(shape).copy()
        end = stop
    if end != len(data):
        raise ModelFileError("it contains bytes that its header does not name")
    return found
