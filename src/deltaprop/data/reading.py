"""Read a table from a file, or say in one sentence why not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

TEXT = {".csv": ",", ".tsv": "\t"}
PARQUET = (".parquet", ".pq")
ARROW = (".arrow", ".feather", ".ipc")
COMPRESSED = (".gz", ".bz2", ".xz", ".zst")


class TableError(ValueError):
    """A table that cannot be read or used; the message says what to do."""


def read_table(path: str | Path) -> Any:
    """Read CSV, TSV, Parquet or Arrow (Feather) into a pandas DataFrame.

    Parameters
    ----------
    path : str or Path
        Text files may be compressed: .gz, .bz2, .xz or .zst. A CSV that turns out to be separated
        by semicolons or tabs is read as such.

    Returns
    -------
    pandas.DataFrame

    Raises
    ------
    TableError
        If the file is missing, of an unknown kind, damaged or empty, or names a column twice.

    Examples
    --------
    >>> from deltaprop.data import read_table
    >>> read_table("data/penguins.csv").shape
    (344, 8)
    """
    path = Path(path)
    if not path.exists():
        raise TableError(f"There is no file {str(path)!r}.")
    if path.is_dir():
        raise TableError(f"{str(path)!r} is a folder; give the path of one table file.")
    kind = _kind(path)
    try:
        frame = _read(path, kind)
    except TableError:
        raise
    except MemoryError:
        raise
    except Exception as error:
        raise TableError(
            f"{str(path)!r} cannot be read as {kind[1:]}: {first_line(error)}"
        ) from error
    if frame.shape[1] == 0 or frame.shape[0] == 0:
        raise TableError(f"{str(path)!r} has no rows.")
    frame.columns = [str(column) for column in frame.columns]
    _refuse_duplicates(path, list(frame.columns))
    return frame


def first_line(error: Exception) -> str:
    """What an error of another library says, in one line."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _kind(path: Path) -> str:
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] in COMPRESSED:
        suffixes.pop()
    if suffixes and suffixes[-1] in (*TEXT, *PARQUET, *ARROW):
        return suffixes[-1]
    known = ", ".join((*TEXT, *PARQUET, *ARROW))
    raise TableError(
        f"{str(path)!r}: the kind of table is not known from its name. Known endings are {known}; "
        f"text files may be compressed ({', '.join(COMPRESSED)})."
    )


def _read(path: Path, kind: str) -> Any:
    import pandas as pd

    if kind in PARQUET:
        return pd.read_parquet(path)
    if kind in ARROW:
        return pd.read_feather(path)
    if path.stat().st_size == 0:
        raise TableError(f"{str(path)!r} is empty.")
    separator = TEXT[kind]
    header = pd.read_csv(path, sep=separator, header=None, nrows=1, dtype=str)
    if header.shape[1] == 1:
        text = str(header.iloc[0, 0])
        separator = next((other for other in (";", "\t") if other in text), separator)
        header = pd.read_csv(path, sep=separator, header=None, nrows=1, dtype=str)
    _refuse_duplicates(path, [str(name) for name in header.iloc[0]])
    return pd.read_csv(path, sep=separator, low_memory=False)


def _refuse_duplicates(path: Path, names: list[str]) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise TableError(
            f"{str(path)!r} has more than one column named {', '.join(map(repr, twice))}; "
            "rename them."
        )
