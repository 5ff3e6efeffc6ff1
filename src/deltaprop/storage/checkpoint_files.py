"""A folder of checkpoints: numbered files, of which the newest undamaged one is read."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable
from typing import Any

import numpy as np

from deltaprop._version import __version__
from deltaprop.errors import InputError, warn
from deltaprop.storage.codec import ModelFileError, Reader, Writer
from deltaprop.storage.folders import storage
from deltaprop.storage.format import pack, unpack

FORMAT = 1
KIND = "Checkpoint"
NAME = re.compile(r"checkpoint-(\d{8})\.dp")


class Folder:
    """The checkpoints of one training run.

    Parameters
    ----------
    folder : str or Path
        A path or URL. It is created if it does not exist.
    keep : int
        How many of the newest checkpoints to keep.
    """

    def __init__(self, folder: str | os.PathLike[str], keep: int) -> None:
        self._folder, self._storage, self._keep = str(folder), storage(folder), keep
        self._last = self._newest_number()

    def lock(self) -> Callable[[], None]:
        """Keep other processes from writing here, until the result is called.

        Temporary files of a process that was killed while it wrote are removed.

        Raises
        ------
        InputError
            If another process writes here.
        """
        unlock = self._storage.lock()
        self._last = self._newest_number()  # the owner of the lock until now may have written
        self._storage.sweep()
        return unlock

    def write(self, head: dict[str, Any], state: dict[str, Any]) -> None:
        """Add a checkpoint, then remove the oldest ones.

        Raises
        ------
        OutputError
            If the file cannot be written.
        InputError
            If another process has written here in the meantime.
        """
        files = self._files()
        if files and files[-1][0] > self._last:
            raise InputError(
                f"Another training run has written {files[-1][1]!r} to the folder "
                f"{self._folder!r}. Use one folder for each run."
            )
        name = f"checkpoint-{self._last + 1:08d}.dp"
        self._storage.write(name, encoded(head, state))
        self._last += 1
        for _, old in [*files, (self._last, name)][: -self._keep]:
            self._storage.remove(old)

    def newest(self) -> tuple[dict[str, Any], dict[str, Any]] | None:
        """Head and state of the newest undamaged checkpoint; None if the folder has none.

        Raises
        ------
        ModelFileError
            If all checkpoints are damaged, or if one cannot be read or has a newer format.
        """
        files = self._files()
        for _, name in reversed(files):
            try:
                return self._read(name)
            except Damaged as error:
                warn(f"{error} Trying the checkpoint before it.")
        if files:
            raise ModelFileError(
                f"None of the {len(files)} checkpoint(s) in {self._folder!r} can be read. To start "
                "over, choose another folder or delete this one."
            )
        return None

    def _read(self, name: str) -> tuple[dict[str, Any], dict[str, Any]]:
        path = os.path.join(self._folder, name)  # noqa: PTH118  # may be a URL
        try:
            return decoded(path, self._storage.read(name))
        except OSError as error:
            raise ModelFileError(f"{path!r} cannot be read: {error.strerror or error}.") from error

    def _newest_number(self) -> int:
        return max((number for number, _ in self._files()), default=0)

    def _files(self) -> list[tuple[int, str]]:
        """Number and name of each checkpoint, oldest first."""
        found = [(NAME.fullmatch(name), name) for name in self._storage.names()]
        return sorted((int(match[1]), name) for match, name in found if match)


class Damaged(ModelFileError):
    """A checkpoint whose content is not what was written."""


def encoded(head: dict[str, Any], state: dict[str, Any]) -> bytes:
    """A checkpoint file with this head (JSON) and this state (numbers, text and arrays)."""
    writer = Writer()
    body = {"format": FORMAT, "deltaprop": __version__, "kind": KIND, **head}
    body["state"] = writer.encode(state, "checkpoint")
    header = json.dumps(body, allow_nan=False)
    return pack(writer.tensors, {"deltaprop": header, "digest": _digest(header, writer.tensors)})


def decoded(path: str, data: bytes) -> tuple[dict[str, Any], dict[str, Any]]:
    """Head and state of a checkpoint file with these bytes; `path` is for error messages."""
    try:
        metadata, tensors = unpack(data)
        undamaged = metadata["digest"] == _digest(metadata["deltaprop"], tensors)
        head = json.loads(metadata["deltaprop"]) if undamaged else {}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        undamaged = False
    if not undamaged:
        raise Damaged(f"{path!r} is damaged: its content is not what was written.")
    try:
        _require_known_format(path, head)
        # Copies have the memory alignment of NumPy's arrays, which bitwise identical results need.
        reader = Reader({name: tensor.copy() for name, tensor in tensors.items()})
        return head, reader.decode(head.pop("state"))
    except (ModelFileError, MemoryError):
        raise
    except Exception as error:
        raise ModelFileError(
            f"{path!r} does not describe a checkpoint ({type(error).__name__}: {error})."
        ) from error


def _require_known_format(path: str, head: dict[str, Any]) -> None:
    if head["format"] > FORMAT:
        raise ModelFileError(
            f"{path!r} was written by a newer deltaprop ({head['deltaprop']}, format "
            f"{head['format']}; this version reads formats up to {FORMAT}). Upgrade deltaprop to "
            "continue."
        )


def _digest(header: str, tensors: dict[str, np.ndarray]) -> str:
    """A hash of all content."""
    found = hashlib.blake2b(header.encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        found.update(f"{name} {tensor.dtype.str} {tensor.shape}".encode())
        found.update(np.ascontiguousarray(tensor).reshape(-1).view(np.uint8).data)
    return found.hexdigest()
