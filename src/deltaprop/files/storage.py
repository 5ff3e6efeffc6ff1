"""Folders that hold files: on a disk, or wherever fsspec reaches (S3, Google Cloud, HDFS, …)."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Any, Protocol

from deltaprop.files.codec import ModelFileError
from deltaprop.files.places import LEFT_OVER, is_address, reached, write_bytes

OBJECT_STORES = {"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az"}


class Storage(Protocol):
    """A folder, made if it is not there."""

    def names(self) -> list[str]:
        """Of the files in it."""

    def read(self, name: str) -> bytes: ...

    def write(self, name: str, data: bytes) -> None:
        """Raises ModelFileError where the place refuses."""

    def remove(self, name: str) -> None: ...


def storage(folder: str | os.PathLike[str]) -> Storage:
    """The folder of that path or, with ``://`` in it, of that address."""
    return Remote(str(folder)) if is_address(folder) else Disk(Path(folder))


class Disk:
    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            path.mkdir(parents=True, exist_ok=True)
            for left_over in path.glob(LEFT_OVER):  # of a writer that was killed
                left_over.unlink()
            reason = None if os.access(path, os.W_OK) else "Permission denied"
        except OSError as error:
            reason = error.strerror
        if reason is not None:
            raise ModelFileError(
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


class Remote:
    """Files here may be cut short by a kill: readers have to notice."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._files: Any
        self._files, self._root = reached(url)
        try:
            reason = self._opened()
        except OSError as error:
            reason = str(error)
        if reason is not None:
            raise ModelFileError(f"The checkpoint folder {url!r} cannot be used: {reason}.")

    def _opened(self) -> str | None:
        """The folder is there now; or else why not."""
        protocols = self._files.protocol
        if OBJECT_STORES.isdisjoint([protocols] if isinstance(protocols, str) else protocols):
            self._files.makedirs(self._root, exist_ok=True)
            return None
        # Folders there come with their files. To make one could make a bucket, by a slip.
        bucket = self._root.split("/")[0]
        return None if self._files.exists(bucket) else f"there is no bucket {bucket!r}"

    def names(self) -> list[str]:
        self._files.invalidate_cache()  # other processes write here, too
        try:
            found = self._files.ls(self._root, detail=False)
        except FileNotFoundError:  # object stores know no empty folders
            return []
        return [Path(file).name for file in found]

    def read(self, name: str) -> bytes:
        data: bytes = self._files.cat_file(f"{self._root}/{name}")
        return data

    def write(self, name: str, data: bytes) -> None:
        try:
            self._files.pipe_file(f"{self._root}/{name}", data)
        except OSError as error:
            raise ModelFileError(
                f"{name!r} could not be written to {self._url!r}: {error}."
            ) from error

    def remove(self, name: str) -> None:
        with contextlib.suppress(OSError):
            self._files.rm_file(f"{self._root}/{name}")
