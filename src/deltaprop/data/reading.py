"""Read a table file into memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from deltaprop.errors import InputError

TEXT = {".csv": ",", ".tsv": "\t"}
PARQUET = (".parquet", ".pq")
ARROW = (".arrow", ".feather", ".ipc")
COMPRESSED = (".gz", ".bz2", ".xz", ".zst")


class TableError(InputError):
    """A table that cannot be read or used; the message says what to do."""


def read_table(path: str | Path) -> Any:
    """Read CSV, TSV, Parquet or Arrow (Feather) into a pandas DataFrame.

    Parameters
    ----------
    path : str or Path
        The suffix determines the format: .csv, .tsv, .parquet, .pq, .arrow, .feather or .ipc. Text
        files may be compressed (.gz, .bz2, .xz or .zst). In a .csv file, semicolons and tabs are
        recognised as separators as well.

    Returns
    -------
    pandas.DataFrame

    Raises
    ------
    TableError
        If the file is missing, damaged, empty or of an unknown format, or if two columns have the
        same name.

    Examples
    --------
    >>> from deltaprop.tables import read_table
    >>> read_table("data/penguins.csv").shape
    (344, 8)
    """
    path = Path(path)
    if not path.exists():
        raise TableError(f"There is no file {str(path)!r}.")
    if path.is_dir():
        raise TableError(f"{str(path)!r} is a folder; give the path of one table file.")
    ending = _ending_of(path)
    try:
        frame = _read(path, ending)
    except (TableError, MemoryError):
        raise
    except Exception as error:
        raise TableError(
            f"{str(path)!r} cannot be read as {ending[1:]}: {first_line(error)}"
        ) from error
    if 0 in frame.shape:
        raise TableError(f"{str(path)!r} has no rows.")
    frame.columns = [str(column) for column in frame.columns]
    _refuse_duplicates(path, list(frame.columns))
    return frame


def first_line(error: Exception) -> str:
    """The first line of another library's error message."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _ending_of(path: Path) -> str:
    """The suffix that determines the format, without that of the compression."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] in COMPRESSED:
        suffixes.pop()
    if suffixes and suffixes[-1] in (*TEXT, *PARQUET, *ARROW):
        return suffixes[-1]
    known = ", ".join((*TEXT, *PARQUET, *ARROW))
    raise TableError(
        f"{str(path)!r}: the format of the table is not known from its name. Known endings are "
        f"{known}; text files may be compressed ({', '.join(COMPRESSED)})."
    )


def _read(path: Path, ending: str) -> Any:
    import pandas as pd

    if ending in PARQUET:
        return pd.read_parquet(path)
    if ending in ARROW:
        return pd.read_feather(path)
    return _read_text(path, TEXT[ending])


def _read_text(path: Path, separator: str) -> Any:
    import pandas as pd

    if path.stat().st_size == 0:
        raise TableError(f"{str(path)!r} is empty.")
    header = pd.read_csv(path, sep=separator, header=None, nrows=1, dtype=str)
    if header.shape[1] == 1:
        line = str(header.iloc[0, 0])
        separator = next((other for other in (";", "\t") if other in line), separator)
        header = pd.read_csv(path, sep=separator, header=None, nrows=1, dtype=str)
    # pandas would rename the second of two equal names.
    _refuse_duplicates(path, [str(name) for name in header.iloc[0]])
    return pd.read_csv(path, sep=separator, low_memory=False)


def _refuse_duplicates(path: Path, names: list[str]) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise TableError(
            f"{str(path)!r} has more than one column named {', '.join(map(repr, twice))}; "
            "rename them."
        )
