"""A folder of checkpoints: numbered files, each whole or absent, the newest whole one read."""

from __future__ import annotations

import hashlib
import json
import os
import re
import warnings
from typing import Any

import numpy as np

from deltaprop._version import __version__
from deltaprop.files.models import header_of
from deltaprop.storage.codec import ModelFileError, Reader, Writer
from deltaprop.storage.folders import storage

FORMAT = 1
KIND = "Checkpoint"
NAME = re.compile(r"checkpoint-(\d{8})\.dp")


class Folder:
    """Checkpoints of one search, of which the newest `keep` stay."""

    def __init__(self, folder: str | os.PathLike[str], keep: int) -> None:
        self._folder, self._storage, self._keep = str(folder), storage(folder), keep
        self._last = max((number for number, _ in self._files()), default=0)

    def sweep(self) -> None:
        """Remove what a writer that was killed has left."""
        self._storage.sweep()

    def write(self, head: dict[str, Any], state: dict[str, Any]) -> None:
        """Add a checkpoint; only then the oldest go."""
        from safetensors.numpy import save as to_bytes

        writer = Writer()
        body = {"format": FORMAT, "deltaprop": __version__, "kind": KIND, **head}
        body["state"] = writer.encode(state, "checkpoint")
        header = json.dumps(body, allow_nan=False)
        metadata = {"deltaprop": header, "digest": _digest(header, writer.tensors)}
        data = to_bytes(writer.tensors, metadata=metadata)
        self._storage.write(f"checkpoint-{self._last + 1:08d}.dp", data)
        self._last += 1
        for _, name in self._files()[: -self._keep]:
            self._storage.remove(name)

    def newest(self) -> tuple[dict[str, Any], dict[str, Any]] | None:
        """Head and state of the newest checkpoint that is whole; None where there is no file."""
        files = self._files()
        for _, name in reversed(files):
            try:
                return self._read(name)
            except Damaged as error:
                warnings.warn(
                    f"{error} The checkpoint before it is tried in its place.", stacklevel=5
                )
        if files:
            raise ModelFileError(
                f"None of the {len(files)} checkpoint(s) in {self._folder!r} can be read. Name "
                "another folder, or delete this one, to begin anew."
            )
        return None

    def _read(self, name: str) -> tuple[dict[str, Any], dict[str, Any]]:
        path = os.path.join(self._folder, name)  # noqa: PTH118, of an address, too
        try:
            return decoded(path, self._storage.read(name))
        except OSError as error:
            raise ModelFileError(f"{path!r} cannot be read: {error.strerror or error}.") from error

    def _files(self) -> list[tuple[int, str]]:
        """Number and name of each checkpoint, oldest first."""
        found = [(NAME.fullmatch(name), name) for name in self._storage.names()]
        return sorted((int(match[1]), name) for match, name in found if match)


class Damaged(ModelFileError):
    """Bytes that are not those that were written."""


def decoded(path: str, data: bytes) -> tuple[dict[str, Any], dict[str, Any]]:
    """Head and state of one checkpoint file, which holds these bytes."""
    from safetensors import SafetensorError
    from safetensors.numpy import load as from_bytes

    try:
        metadata = header_of(data)
        tensors = from_bytes(data)
        whole = metadata["digest"] == _digest(metadata["deltaprop"], tensors)
        head = json.loads(metadata["deltaprop"]) if whole else {}
    except (SafetensorError, ValueError, KeyError, TypeError, RecursionError):
        whole = False
    if not whole:
        raise Damaged(f"{path!r} is damaged: it does not hold what was written.")
    if head["format"] > FORMAT:
        raise ModelFileError(
            f"{path!r} was written by a newer deltaprop ({head['deltaprop']}, format "
            f"{head['format']}; this one reads up to {FORMAT}). Upgrade deltaprop to go on."
        )
    # Copies: numbers lie in memory as they do in a search that was never interrupted.
    reader = Reader({name: tensor.copy() for name, tensor in tensors.items()}, {})
    return head, reader.decode(head.pop("state"))


def _digest(header: str, tensors: dict[str, np.ndarray]) -> str:
    whole = hashlib.blake2b(header.encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        whole.update(f"{name} {tensor.dtype.str} {tensor.shape}".encode())
        whole.update(np.ascontiguousarray(tensor).reshape(-1).view(np.uint8).data)
    return whole.hexdigest()
