"""The files that a path, folder, glob or URL names."""

from __future__ import annotations

import glob
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from deltaprop.data.reading import (
    ARROW,
    PARQUET,
    TEXT,
    ReadingOptions,
    TableError,
    first_line,
    is_database,
)
from deltaprop.data.streams.text_files import text_format

STREAMED_TEXT = (".csv", ".tsv", ".txt")
Source = str | Path | Sequence[str | Path]
FORMATS = (("parquet", PARQUET), ("ipc", ARROW), ("csv", STREAMED_TEXT))


def find_dataset(source: Source, options: ReadingOptions) -> Any:
    """The files as a pyarrow Dataset.

    Raises
    ------
    TableError
        If there is no file, or files are damaged, of an unknown format or of several formats.
    """
    import pyarrow.dataset as ds

    filesystem, paths = _find(source)
    formats = {_format_of(path) for path in paths}
    if len(formats) != 1:
        raise TableError(
            f"{described(source)} contains files of several kinds ({', '.join(sorted(formats))}); "
            "select files of one kind, for example with a glob."
        )
    kind = formats.pop()
    try:
        format = text_format(paths[0], filesystem, options) if kind == "csv" else kind
        return ds.dataset(paths, format=format, filesystem=filesystem)
    except TableError:
        raise
    except Exception as error:
        raise TableError(f"{described(source)} cannot be read: {first_line(error)}") from error


def described(source: Source) -> str:
    """The source for an error message: its path, or the number of files."""
    return repr(str(source)) if isinstance(source, (str, Path)) else f"{len(source)} files"


def _find(source: Source) -> tuple[Any, list[str]]:
    """The file system (None for the local one) and the files, sorted by name.

    Local paths are absolute: a stream may be read by workers that run in other folders.
    """
    if not isinstance(source, (str, Path)):
        return None, [str(Path(path).absolute()) for path in source]
    text = str(source)
    if text == "-" or is_database(text):
        raise TableError(f"{text!r} cannot be streamed; read it into memory, without --memory.")
    filesystem, paths = _remote(text) if "://" in text else (None, _local(text))
    if not paths:
        raise TableError(f"There is no file {text!r}, or no table in that folder.")
    return filesystem, paths


def _local(text: str) -> list[str]:
    path = Path(text)
    if glob.has_magic(text) and not path.exists():
        matching = glob.glob(text, recursive=True)  # noqa: PTH207  # Path.glob accepts no absolute ones
        found = sorted(match for match in matching if Path(match).is_file())
    elif path.is_dir():
        found = sorted(str(p) for p in path.rglob("*") if p.is_file() and _is_data(p.name))
    else:
        found = [text] if path.exists() else []
    return [str(Path(match).absolute()) for match in found]


def _remote(url: str) -> tuple[Any, list[str]]:
    try:
        import fsspec
    except ImportError as error:
        raise TableError(
            f"Reading {url!r} needs fsspec. Install it with: "
            "python -m pip install 'deltaprop[remote]'"
        ) from error
    from pyarrow.fs import FSSpecHandler, PyFileSystem

    try:
        remote, path = fsspec.core.url_to_fs(url)
        if glob.has_magic(path):
            paths = sorted(remote.glob(path))
        elif remote.isdir(path):
            paths = sorted(p for p in remote.find(path) if _is_data(p.rsplit("/", 1)[-1]))
        else:
            paths = [path] if remote.exists(path) else []
    except Exception as error:
        raise TableError(f"{url!r} cannot be read: {first_line(error)}") from error
    return PyFileSystem(FSSpecHandler(remote)), paths


def _is_data(name: str) -> bool:
    """Whether a file of a folder belongs to the table; markers such as ``_SUCCESS`` do not."""
    hidden = name.startswith((".", "_"))
    return not hidden and Path(name).suffix.lower() in (*TEXT, *PARQUET, *ARROW)


def _format_of(path: str) -> str:
    """pyarrow's name of a file's format."""
    suffixes = [suffix.lower() for suffix in Path(path).suffixes]
    last = suffixes[-1] if suffixes else ""
    if last in (".gz", ".bz2") and len(suffixes) > 1:
        last = suffixes[-2]
    for name, endings in FORMATS:
        if last in endings:
            return name
    raise TableError(
        f"{path!r} cannot be streamed. Known endings are "
        f"{', '.join((*PARQUET, *ARROW, *STREAMED_TEXT, '.csv.gz'))}; other tables must fit into "
        "memory."
    )
