"""The container of model files and checkpoints: safetensors with a JSON header."""

from __future__ import annotations

import json
import struct
from typing import Any

import numpy as np

from deltaprop.storage.codec import ModelFileError

MAX_HEADER_BYTES = 100_000_000
MAX_CONTAINERS = 4_000_000  # lists and dicts in a header; each takes about 60 bytes of memory
MAX_VALUES = 8_000_000  # in all of them; reading them takes about 10 s


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
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        return header_of(data), load(data)
    except ModelFileError:
        raise
    except (SafetensorError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise ModelFileError("it is damaged or truncated") from error


def header_of(data: bytes) -> dict[str, Any]:
    """The metadata of a safetensors file, which is a part of its header."""
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
    metadata: dict[str, Any] = json.loads(header)["__metadata__"]
    return metadata
