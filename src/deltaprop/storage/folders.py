"""Folders of files, on a disk or at a URL that fsspec supports (S3, GCS, HDFS, …)."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from deltaprop.storage.locks import FolderLock
from deltaprop.storage.places import (
    TEMPORARY,
    OutputError,
    as_file_errors,
    filesystem_at,
    is_object_store,
    missing_folder,
    write_bytes,
)


class Storage(Protocol):
    """A folder of files, which is created if it does not exist."""

    def names(self) -> list[str]:
        """The names of its files."""

    def read(self, name: str) -> bytes:
        """The content of a file."""

    def write(self, name: str, data: bytes) -> None:
        """Write a file, completely or not at all; OutputError if that fails."""

    def remove(self, name: str) -> None:
        """Delete a file, if possible."""

    def sweep(self) -> None:
        """Delete temporary files of a process that was killed while it wrote."""

    def lock(self) -> Callable[[], None]:
        """Keep other processes out; the result ends that. InputError if one is there already."""


def storage(folder: str | os.PathLike[str]) -> Storage:
    """The folder at a path or, if it contains ``://``, at a URL."""
    return Remote(str(folder)) if "://" in str(folder) else Disk(Path(folder))


class Disk:
    """A local folder."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            path.mkdir(parents=True, exist_ok=True)
            reason = None if os.access(path, os.W_OK) else "Permission denied"
        except OSError as error:
            reason = error.strerror
        if reason is not None:
            raise OutputError(
                f"The checkpoint folder {str(path)!r} cannot be written to: {reason}. Choose "
                "another folder."
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
        for file in self._path.glob(TEMPORARY):
            self.remove(file.name)

    def lock(self) -> Callable[[], None]:
        return FolderLock(self._path).release


class Remote:
    """A folder at a URL. A killed process may leave a truncated file, which readers must detect."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._files: Any
        self._files, self._root = filesystem_at(url)
        with as_file_errors(f"The checkpoint folder {url!r} cannot be used", OutputError):
            if not is_object_store(self._files):
                self._files.makedirs(self._root, exist_ok=True)
            reason = missing_folder(self._files, self._root)
        if reason is not None:
            raise OutputError(f"The checkpoint folder {url!r} cannot be used: {reason}")

    def names(self) -> list[str]:
        try:
            with as_file_errors(f"The checkpoint folder {self._url!r} cannot be read"):
                self._files.invalidate_cache()  # other processes write here, too
                found = self._files.ls(self._root, detail=False)
        except FileNotFoundError:  # in object stores, empty folders do not exist
            return []
        return [Path(file).name for file in found]

    def read(self, name: str) -> bytes:
        with as_file_errors(f"{name!r} in {self._url!r} cannot be read"):
            data: bytes = self._files.cat_file(f"{self._root}/{name}")
        return data

    def write(self, name: str, data: bytes) -> None:
        try:
            with as_file_errors(f"{name!r} could not be written to {self._url!r}", OutputError):
                self._files.pipe_file(f"{self._root}/{name}", data)
        except FileNotFoundError as error:
            raise OutputError(
                f"{name!r} could not be written to {self._url!r}: the folder no longer exists."
            ) from error

    def remove(self, name: str) -> None:
        with contextlib.suppress(Exception):
            self._files.rm_file(f"{self._root}/{name}")

    def sweep(self) -> None:
        """Uploads use no temporary files."""

    def lock(self) -> Callable[[], None]:
        """Object stores have no locks; :class:`Folder` notices files of other processes."""
        return lambda: None
