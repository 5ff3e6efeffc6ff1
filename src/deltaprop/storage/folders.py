"""Folders that hold files: on a disk, or wherever fsspec reaches (S3, Google Cloud, HDFS, …)."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Any, Protocol

from deltaprop.storage.places import (
    LEFT_OVER,
    OutputError,
    is_object_store,
    missing_folder,
    reached,
    remotely,
    write_bytes,
)


class Storage(Protocol):
    """A folder, made if it is not there."""

    def names(self) -> list[str]:
        """Of the files in it."""

    def read(self, name: str) -> bytes: ...

    def write(self, name: str, data: bytes) -> None:
        """Raises OutputError if the file cannot be written."""

    def remove(self, name: str) -> None: ...

    def sweep(self) -> None:
        """Remove what a writer that was killed has left."""


def storage(folder: str | os.PathLike[str]) -> Storage:
    """The folder of that path or, with ``://`` in it, of that address."""
    return Remote(str(folder)) if "://" in str(folder) else Disk(Path(folder))


class Disk:
    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            path.mkdir(parents=True, exist_ok=True)
            reason = None if os.access(path, os.W_OK) else "Permission denied"
        except OSError as error:
            reason = error.strerror
        if reason is not None:
            raise OutputError(
                f"The checkpoint folder {str(path)!r} cannot be written to: {reason}. Name one "
                "that can."
            )

    def names(self) -> list[str]:
        return [file.name for file in self._path.iterdir()]

    def read(self, name: str) -> bytes:
        return (self._path / name).read_bytes()

    def write(self, name: str, data: bytes) -> None:
        write_bytes(self._path / name, data)

    def remove(self, name: str) -> None:
        with contextlib.suppress(OSError):
            (self._path / name).unlink()

    def sweep(self) -> None:
        for left_over in self._path.glob(LEFT_OVER):
            self.remove(left_over.name)


class Remote:
    """Files here may be cut short by a kill: readers have to notice."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._files: Any
        self._files, self._root = reached(url)
        with remotely(f"The checkpoint folder {url!r} cannot be used", OutputError):
            if not is_object_store(self._files):
                self._files.makedirs(self._root, exist_ok=True)
            reason = missing_folder(self._files, self._root)
        if reason is not None:
            raise OutputError(f"The checkpoint folder {url!r} cannot be used: {reason}")

    def names(self) -> list[str]:
        try:
            with remotely(f"The checkpoint folder {self._url!r} cannot be read"):
                self._files.invalidate_cache()  # other processes write here, too
                found = self._files.ls(self._root, detail=False)
        except FileNotFoundError:  # object stores know no empty folders
            return []
        return [Path(file).name for file in found]

    def read(self, name: str) -> bytes:
        with remotely(f"{name!r} in {self._url!r} cannot be read"):
            data: bytes = self._files.cat_file(f"{self._root}/{name}")
        return data

    def write(self, name: str, data: bytes) -> None:
        try:
            with remotely(f"{name!r} could not be written to {self._url!r}", OutputError):
                self._files.pipe_file(f"{self._root}/{name}", data)
        except FileNotFoundError as error:
            raise OutputError(
                f"{name!r} could not be written to {self._url!r}: the folder is gone."
            ) from error

    def remove(self, name: str) -> None:
        with contextlib.suppress(Exception):
            self._files.rm_file(f"{self._root}/{name}")

    def sweep(self) -> None:
        pass  # uploads are not seen before they are whole, or stand under their own name
