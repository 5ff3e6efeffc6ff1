"""Files on a disk, or at an address that fsspec reaches (S3, Google Cloud, HDFS, …)."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from deltaprop.files.codec import ModelFileError

Place = str | os.PathLike[str]
LEFT_OVER = ".deltaprop.*.tmp"


def is_address(place: Place) -> bool:
    """Whether this is no path but, with ``://`` in it, an address."""
    return "://" in str(place)


def reached(address: str) -> tuple[Any, str]:
    """The file system of an address, and the path there; ModelFileError where none is known."""
    try:
        import fsspec

        files, path = fsspec.core.url_to_fs(address)
    except (ImportError, OSError, ValueError) as error:
        raise ModelFileError(
            f"{address!r} cannot be used: {error}. Addresses need `pip install fsspec` and the "
            "package of their kind, such as s3fs for s3://."
        ) from error
    return files, path


def ending(place: Place) -> str:
    """Its name's last suffix in small letters, such as ".csv"."""
    return PurePosixPath(str(place)).suffix.lower()


def unwritable(place: Place) -> str | None:
    """Why no file can be written there; None where it looks as if one can."""
    if is_address(place):
        reached(str(place))
        return None
    path = Path(place)
    if not path.parent.is_dir():
        return f"there is no folder {str(path.parent)!r}."
    if path.is_dir():
        return f"{str(path)!r} is a folder; name a file."
    if not os.access(path.parent, os.W_OK):
        return f"the folder {str(path.parent)!r} cannot be written to."
    return None


def read_bytes(place: Place) -> bytes:
    """All that stands in a file; ModelFileError where there is none."""
    text = str(place)
    try:
        if is_address(place):
            files, path = reached(text)
            data: bytes = files.cat_file(path)
            return data
        if Path(text).is_dir():
            raise ModelFileError(f"{text!r} is a folder, not a model file.")
        return Path(text).read_bytes()
    except FileNotFoundError as error:
        raise ModelFileError(f"There is no file {text!r}.") from error
    except OSError as error:
        raise ModelFileError(f"{text!r} cannot be read: {error.strerror or error}.") from error


def write_bytes(place: Place, data: bytes) -> None:
    """All or nothing: as :func:`replacing`, with these bytes."""
    with replacing(place) as file:
        file.write_bytes(data)


@contextlib.contextmanager
def replacing(place: Place) -> Iterator[Path]:
    """A file to fill, which takes the place of another once it is whole and on disk.

    On a disk it lies beside the other and is renamed. At an address it is uploaded when it is
    whole, which object stores do in one step. Where something fails, what was there stays.
    """
    temporary: Path | None = None
    try:
        target = None if is_address(place) else Path(place).resolve()  # of a link, where it leads
        if target is not None and target.exists() and not target.is_file():
            target = None  # /dev/null and pipes are written to, never replaced
        folder = None if target is None else target.parent
        handle, name = tempfile.mkstemp(dir=folder, prefix=".deltaprop.", suffix=".tmp")
        os.close(handle)
        temporary = Path(name)
        yield temporary
        if target is None:
            _copy(temporary, place)
        else:
            _rename(temporary, target)
    except OSError as error:
        raise ModelFileError(
            f"{str(place)!r} could not be written: {error.strerror or error}. "
            "Nothing was changed; choose another place with enough room."
        ) from error
    finally:
        if temporary is not None:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)


def _copy(file: Path, place: Place) -> None:
    if is_address(place):
        files, path = reached(str(place))
        files.put_file(str(file), path)
        return
    with file.open("rb") as source, Path(place).open("wb") as sink:
        shutil.copyfileobj(source, sink)


def _rename(file: Path, target: Path) -> None:
    with file.open("rb+") as written:
        os.fsync(written.fileno())
    umask = os.umask(0)
    os.umask(umask)
    file.chmod(0o666 & ~umask)
    file.replace(target)
    _keep_name(target.parent)


def _keep_name(folder: Path) -> None:
    """The new name is on disk, too: a power cut does not bring back the old file."""
    if not hasattr(os, "O_DIRECTORY"):
        return  # Windows opens no folders
    with contextlib.suppress(OSError):  # some network file systems know no such thing
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
