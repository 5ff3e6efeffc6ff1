"""Failures of disks and memory at a chosen operation, for the tests."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np


class FailingDisk:
    """Operations on files in one folder are counted; one of them fails.

    A write that fails has written a part of its data, as on a disk that becomes full. Reading does
    not count.

    Parameters
    ----------
    folder : Path
    fails : int or None
        The number of the operation that fails, and of all after it if `forever`.
    errno : int
    """

    def __init__(
        self, folder: Path, fails: int | None = None, errno: int = 0, forever: bool = False
    ) -> None:
        self._folder, self._fails, self._errno = str(folder.resolve()), fails, errno
        self._forever = forever
        self.operations: list[str] = []
        self._handles: set[int] = set()

    def count(self, name: str) -> bool:
        """Count an operation; return whether it fails."""
        number = len(self.operations)
        self.operations.append(name)
        if self._fails is None:
            return False
        return number == self._fails or (self._forever and number > self._fails)

    def attempt(self, name: str) -> None:
        if self.count(name):
            raise self.error()

    def error(self) -> OSError:
        return OSError(self._errno, os.strerror(self._errno))

    def _is_inside(self, place: Any) -> bool:
        if isinstance(place, int):
            return place in self._handles
        return str(Path(os.fspath(place)).absolute()).startswith(self._folder)

    @contextlib.contextmanager
    def installed(self) -> Iterator[FailingDisk]:
        """Replace the functions of Python that write files."""
        real = {name: getattr(os, name) for name in ("open", "fsync", "replace", "chmod", "mkdir")}
        real_open = io.open
        disk = self

        def os_open(path: Any, flags: int, *rest: Any, **named: Any) -> int:
            if disk._is_inside(path) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
                disk.attempt("create")
            handle = real["open"](path, flags, *rest, **named)
            if disk._is_inside(path):
                disk._handles.add(handle)
            return handle

        def opened(file: Any, mode: str = "r", *rest: Any, **named: Any) -> Any:
            if not disk._is_inside(file) or not set(mode) & set("wax+"):
                return real_open(file, mode, *rest, **named)
            disk.attempt("open")
            raw = _FailingFile(disk, file, mode.replace("b", ""))
            disk._handles.add(raw.fileno())
            return (io.BufferedRandom if "+" in mode else io.BufferedWriter)(raw)

        def counted(name: str) -> Any:
            def call(place: Any, *rest: Any, **named: Any) -> Any:
                if disk._is_inside(place):
                    disk.attempt(name)
                return real[name](place, *rest, **named)

            return call

        patches = {name: counted(name) for name in ("fsync", "replace", "chmod", "mkdir")}
        for name, function in {**patches, "open": os_open}.items():
            setattr(os, name, function)
        io.open = opened  # what pathlib calls
        try:
            yield self
        finally:
            io.open = real_open
            for name, function in real.items():
                setattr(os, name, function)


class _FailingFile(io.FileIO):
    def __init__(self, disk: FailingDisk, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._disk = disk

    def write(self, data: Any) -> int:
        if self._disk.count("write"):
            super().write(bytes(data)[: len(data) // 2])
            raise self._disk.error()
        return super().write(data)

    def close(self) -> None:
        fails = not self.closed and self._disk.count("close")
        super().close()
        if fails:
            raise self._disk.error()


# ---------------------------------------------------------------- memory

ALLOCATORS = ("empty", "zeros", "ones", "full", "array", "asarray", "concatenate", "empty_like",
              "zeros_like", "ascontiguousarray", "arange", "stack", "where")  # fmt: skip


class FailingMemory:
    """Calls of NumPy's allocating functions by deltaprop are counted; one raises MemoryError."""

    def __init__(self, fails: int | None = None) -> None:
        self._fails, self.allocations = fails, 0

    @contextlib.contextmanager
    def installed(self) -> Iterator[FailingMemory]:
        real = {name: getattr(np, name) for name in ALLOCATORS}

        def failing(name: str) -> Any:
            def call(*arguments: Any, **named: Any) -> Any:
                if "/deltaprop/" in sys._getframe(1).f_code.co_filename:
                    number, self.allocations = self.allocations, self.allocations + 1
                    if number == self._fails:
                        raise MemoryError(f"no memory for np.{name}")
                return real[name](*arguments, **named)

            return call

        for name in ALLOCATORS:
            setattr(np, name, failing(name))
        try:
            yield self
        finally:
            for name, function in real.items():
                setattr(np, name, function)
