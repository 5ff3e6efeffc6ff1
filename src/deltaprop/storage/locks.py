"""A lock on a folder, so that two processes do not write their checkpoints into the same one.

The operating system holds it for an open file and releases it when the process ends, also after
``kill -9``; on network file systems, that is the server's task. A file that is left behind is
therefore no obstacle.
"""

from __future__ import annotations

import contextlib
import os
import socket
from pathlib import Path
from typing import BinaryIO

from deltaprop.errors import InputError

NAME = ".deltaprop.lock"


class FolderLock:
    """The lock on a folder, from now until :meth:`release`.

    Where there are no locks, as on Windows and some file systems, it has no effect.

    Parameters
    ----------
    folder : Path
        An existing folder.

    Raises
    ------
    InputError
        If another process, or another training run of this one, has the lock.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / NAME
        self._file = _locked(self._path)

    def release(self) -> None:
        """Release the lock, and remove its file."""
        if self._file is None:
            return
        with contextlib.suppress(OSError):
            self._path.unlink()
        with contextlib.suppress(OSError):  # on a full disk, it writes who has the lock once more
            self._file.close()
        self._file = None


def _locked(path: Path) -> BinaryIO | None:
    try:
        import fcntl
    except ImportError:
        return None
    while True:
        try:
            file = path.open("ab")
        except OSError:  # a full disk
            return None
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_at(file, path):  # not one that its owner has just removed
                _sign(file)
                return file
        except BlockingIOError:
            file.close()
            raise InputError(
                f"Another training run{_owner(path)} writes its checkpoints to the folder "
                f"{str(path.parent)!r}. Wait until it has ended, or use another folder."
            ) from None
        except OSError:  # a file system without locks
            file.close()
            return None
        file.close()


def _is_at(file: BinaryIO, path: Path) -> bool:
    with contextlib.suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    return False


def _sign(file: BinaryIO) -> None:
    """Write who has the lock, for the message to others."""
    with contextlib.suppress(OSError):
        file.truncate(0)
        file.write(f"{os.getpid()} on {socket.gethostname()}".encode())
        file.flush()


def _owner(path: Path) -> str:
    with contextlib.suppress(OSError):
        if owner := path.read_text(errors="replace")[:200]:
            return f" (process {owner})"
    return ""
