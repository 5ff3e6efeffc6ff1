"""Files on a disk, or at a URL that fsspec supports (S3, Google Cloud, HDFS, …)."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from deltaprop.storage.codec import ModelFileError

Place = str | os.PathLike[str]
TEMPORARY = ".deltaprop.*.tmp"
LOCAL_SCHEMES = ("file://", "local://")
OBJECT_STORES = {"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az"}


class OutputError(ModelFileError):
    """A file of any kind that cannot be written; the message names the file and the reason.

    It is a ModelFileError because ``dp.save`` and ``dp.report`` are documented to raise one.
    """


def is_address(place: Place) -> bool:
    """Whether this is a URL (it contains ``://``) rather than a local path or file URL."""
    return "://" in str(place) and not str(place).startswith(LOCAL_SCHEMES)


def ending(place: Place) -> str:
    """The last suffix of the name in lower case, such as ".csv"."""
    return PurePosixPath(str(place)).suffix.lower()


def unwritable(place: Place) -> str | None:
    """The reason why no file can be written at this place; None if none is apparent."""
    if is_address(place):
        files, there = filesystem_at(str(place))
        folder, _, name = there.rpartition("/")
        if not folder or not name:
            return f"{str(place)!r} names no file in a bucket or folder."
        with as_file_errors(f"{str(place)!r} cannot be written", OutputError):
            return missing_folder(files, folder)
    path = _path(place)
    if _is_device(path):
        return None if os.access(path, os.W_OK) else f"{str(path)!r} cannot be written to."
    if not path.parent.is_dir():
        return f"there is no folder {str(path.parent)!r}."
    if path.is_dir():
        return f"{str(path)!r} is a folder; name a file."
    if not os.access(path.parent, os.W_OK):
        return f"the folder {str(path.parent)!r} cannot be written to."
    return None


def read_bytes(place: Place) -> bytes:
    """The content of a file; ModelFileError if it cannot be read."""
    text = str(place)
    try:
        if is_address(place):
            files, path = filesystem_at(text)
            with as_file_errors(f"{text!r} cannot be read"):
                data: bytes = files.cat_file(path)
            return data
        if _path(place).is_dir():
            raise ModelFileError(f"{text!r} is a folder, not a model file.")
        if _path(place).exists() and not _path(place).is_file():
            raise ModelFileError(
                f"{text!r} is a device or a pipe, which may never end. Save what it contains to a "
                "file first."
            )
        return _path(place).read_bytes()
    except FileNotFoundError as error:
        raise ModelFileError(f"There is no file {text!r}.") from error
    except (OSError, RuntimeError, ValueError) as error:  # a loop of links or a NUL in the name
        if isinstance(error, ModelFileError):
            raise
        raise ModelFileError(f"{text!r} cannot be read: {_reason(error)}.") from error


def write_bytes(place: Place, data: bytes) -> None:
    """Write a file completely or not at all, as :func:`replacing` does.

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    with replacing(place) as file:
        file.write_bytes(data)


@contextlib.contextmanager
def replacing(place: Place) -> Iterator[Path]:
    """A temporary file to write, which replaces the file at `place` once it is complete.

    On a disk, it is in the same folder and is renamed. For a URL, it is uploaded, which object
    stores do in one step. If anything fails, the existing file is unchanged.
    """
    temporary: Path | None = None
    try:
        target = None if is_address(place) else _target(_path(place))
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
        raise OutputError(
            f"{str(place)!r} could not be written: {_reason(error)}. "
            "Nothing was changed; choose another place with enough free space."
        ) from error
    finally:
        if temporary is not None:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)


# ---------------------------------------------------------------- URLs


def filesystem_at(address: str) -> tuple[Any, str]:
    """The file system of a URL and the path on it; ModelFileError if it is not supported."""
    try:
        import fsspec

        files, path = fsspec.core.url_to_fs(address)
    except Exception as error:
        raise ModelFileError(
            f"{address!r} cannot be used: {error}. URLs need `pip install fsspec` and the package "
            "for their protocol, such as s3fs for s3://."
        ) from error
    return files, path


@contextlib.contextmanager
def as_file_errors(what: str, kind: type[ModelFileError] = ModelFileError) -> Iterator[None]:
    """Turn any exception except FileNotFoundError into a `kind` whose message starts with `what`.

    Remote file systems raise many exceptions that are not subclasses of OSError.
    """
    try:
        yield
    except FileNotFoundError:
        raise
    except Exception as error:
        raise kind(f"{what}: {_reason(error)}.") from error


def is_object_store(files: Any) -> bool:
    """Whether folders of this file system are only prefixes of file names."""
    protocols = files.protocol
    return not OBJECT_STORES.isdisjoint([protocols] if isinstance(protocols, str) else protocols)


def missing_folder(files: Any, folder: str) -> str | None:
    """The reason why no file can be written to a folder; None if it exists.

    In object stores folders exist through their files, so only the bucket has to exist.
    """
    if not is_object_store(files):
        return None if files.isdir(folder) else f"there is no folder {folder!r}."
    bucket = folder.split("/")[0]
    return None if files.exists(bucket) else f"there is no bucket {bucket!r}."


# ---------------------------------------------------------------- disks


def _path(place: Place) -> Path:
    text = str(place)
    for scheme in LOCAL_SCHEMES:
        text = text.removeprefix(scheme)
    return Path(text)


def _is_device(path: Path) -> bool:
    """Whether a path is a device or a pipe, which must be written to and not replaced."""
    if str(path.absolute()).startswith(("/dev/std", "/dev/fd/", "/proc/")):
        return True
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def _target(path: Path) -> Path | None:
    """The file to be replaced, with symbolic links resolved; None for a device."""
    if _is_device(path):
        return None
    try:
        target = path.resolve()
    except (RuntimeError, ValueError) as error:  # a loop of links or a NUL in the name
        raise OSError(str(error)) from error
    if target.is_dir():
        raise IsADirectoryError(f"it is a folder; name a file, such as {str(path / 'model.dp')!r}")
    return target


def _copy(file: Path, place: Place) -> None:
    if is_address(place):
        files, path = filesystem_at(str(place))
        with as_file_errors(f"{str(place)!r} could not be written", OutputError):
            files.put_file(str(file), path)
        return
    with file.open("rb") as source, _path(place).open("wb") as sink:
        shutil.copyfileobj(source, sink)


def _rename(file: Path, target: Path) -> None:
    with file.open("rb+") as written:
        os.fsync(written.fileno())
    file.chmod(_mode_of(target))
    file.replace(target)
    _flush(target.parent)


def _mode_of(target: Path) -> int:
    """The permissions of the file that is replaced, or the default ones."""
    with contextlib.suppress(FileNotFoundError):
        return stat.S_IMODE(target.stat().st_mode)
    umask = os.umask(0)
    os.umask(umask)
    return 0o666 & ~umask


def _flush(folder: Path) -> None:
    """Flush the folder, so that the new file also survives a power failure."""
    if not hasattr(os, "O_DIRECTORY"):
        return  # Windows cannot open folders
    with contextlib.suppress(OSError):  # some network file systems do not support it
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _reason(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error)
