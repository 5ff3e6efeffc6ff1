"""The bytes of a table: a file, standard input or a URL, decompressed."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, NamedTuple
from urllib.parse import urlsplit

from deltaprop.data.reading.errors import TableError, first_line
from deltaprop.storage.codec import ModelFileError
from deltaprop.storage.places import LOCAL_SCHEMES, filesystem_at

COMPRESSED = (".gz", ".bz2", ".xz", ".zst", ".zip")
STANDARD_INPUT = "-"
SPREADSHEETS = ("xl/workbook.xml", "xl/workbook.bin", "content.xml")  # which are zip files, too
SECONDS = 60  # until a server must answer
NOT_TABLES = (".md", ".txt", ".pdf", ".html", ".xml")  # beside the table of a zip file


class Content(NamedTuple):
    """The bytes of a table.

    Attributes
    ----------
    name : str
        For messages.
    suffix : str
        The ending of its name in lower case, without that of a compression.
    open : callable
        Opens the decompressed bytes from their beginning.
    path : Path or None
        The file, if it is a local one that is not compressed.
    """

    name: str
    suffix: str
    open: Callable[[], BinaryIO]
    path: Path | None = None

    def head(self, n: int) -> bytes:
        """The first n bytes; TableError if they cannot be read or decompressed."""
        try:
            with self.open() as file:
                return file.read(n)
        except (TableError, MemoryError):
            raise
        except Exception as error:  # each compression has its own exceptions
            raise TableError(
                f"{self.name} cannot be read or decompressed: {first_line(error)}."
            ) from error


def fetch(source: str | Path) -> Content:
    """Find a table and open its bytes.

    Raises
    ------
    TableError
        If there is none, or it cannot be fetched or decompressed.
    """
    text = str(source)
    if text == STANDARD_INPUT:
        return _from_bytes("standard input", text, sys.stdin.buffer.read())
    if "://" in text and not text.startswith(LOCAL_SCHEMES):
        return _from_bytes(repr(text), urlsplit(text).path, _download(text))
    for scheme in LOCAL_SCHEMES:
        text = text.removeprefix(scheme)
    path = Path(text)
    if not path.exists():
        raise TableError(f"There is no file {text!r}.")
    if path.is_dir():
        raise TableError(f"{text!r} is a folder; give the path of one table file.")
    if not path.is_file():  # a pipe or device, which can be read only once
        return _from_bytes(repr(text), text, path.read_bytes())
    return _decompressed(Content(repr(text), _suffix(text), lambda: path.open("rb"), path))


def _from_bytes(name: str, path: str, data: bytes) -> Content:
    return _decompressed(Content(name, _suffix(path), lambda: io.BytesIO(data)))


def _suffix(path: str) -> str:
    suffixes = [suffix.lower() for suffix in PurePosixPath(path.replace("\\", "/")).suffixes]
    while suffixes and suffixes[-1] in COMPRESSED:
        suffixes.pop()
    return suffixes[-1] if suffixes else ""


def _download(url: str) -> bytes:
    """The bytes at a URL: by http, or by fsspec for object stores and others."""
    try:
        if url.startswith(("http://", "https://")):
            from urllib.request import Request, urlopen

            request = Request(url, headers={"User-Agent": "deltaprop"})
            with urlopen(request, timeout=SECONDS) as answer:
                found: bytes = answer.read()
            return found
        files, path = filesystem_at(url)
        data: bytes = files.cat_file(path)
    except ModelFileError as error:
        raise TableError(str(error)) from error
    except FileNotFoundError as error:
        raise TableError(f"There is no file {url!r}.") from error
    except Exception as error:  # remote file systems raise exceptions of many classes
        raise TableError(f"{url!r} cannot be read: {first_line(error)}.") from error
    return data


# ---------------------------------------------------------------- compression


def _decompressed(content: Content) -> Content:
    """The content without its compression, which its first bytes tell and not its name."""
    start = content.head(6)
    opened = next((opens for magic, opens in _OPENERS if start.startswith(magic)), None)
    if opened is not None:
        inner = Content(content.name, content.suffix, lambda: opened(content.open()))
        inner.head(1)  # so that a damaged file is an error before anything else
        return inner
    return _unzipped(content) if start.startswith(b"PK\x03\x04") else content


def _zstandard(file: BinaryIO) -> Any:
    import pyarrow as pa

    return io.BufferedReader(pa.CompressedInputStream(pa.PythonFile(file, "r"), "zstd"))


_OPENERS: tuple[tuple[bytes, Callable[[BinaryIO], Any]], ...] = (
    (b"\x1f\x8b", lambda file: gzip.GzipFile(fileobj=file)),
    (b"BZh", bz2.BZ2File),
    (b"\xfd7zXZ\x00", lzma.LZMAFile),
    (b"\x28\xb5\x2f\xfd", _zstandard),
)


def _unzipped(content: Content) -> Content:
    """The one table of a zip file; spreadsheets remain as they are."""
    try:
        members = zipfile.ZipFile(content.open()).namelist()
    except Exception as error:  # of many classes, such as NotImplementedError
        raise TableError(f"{content.name} cannot be read as a zip file: {error}.") from error
    if any(name in members for name in SPREADSHEETS):
        return content
    files = [m for m in members if not m.endswith("/") and "__MACOSX" not in m]
    tables = [m for m in files if not m.lower().endswith(NOT_TABLES)] or files
    if len(tables) != 1:
        raise TableError(
            f"{content.name} contains {len(tables)} files ({', '.join(tables[:5])}), but must "
            "contain one table; extract the one to read."
        )
    member = tables[0]

    def opened() -> BinaryIO:
        return io.BufferedReader(zipfile.ZipFile(content.open()).open(member))  # type: ignore[type-var]

    return Content(f"{member!r} in {content.name}", _suffix(member), opened)
