"""``deltaprop.tables.stream``: open files as a stream of rows."""

from __future__ import annotations

import re
from collections.abc import Sequence

from deltaprop.data.reading import ReadingOptions, TableError
from deltaprop.data.streams.discovery import Source, described, find_dataset
from deltaprop.data.streams.fragments import pieces_of
from deltaprop.data.streams.stream import Stream
from deltaprop.data.task import require_columns
from deltaprop.errors import InputError

PANDAS_INDEX = re.compile("__index_level_[0-9]+__")  # how pandas names an index in Parquet files
MEMORY = re.compile(r"\s*([0-9]+\.?[0-9]*|\.[0-9]+)\s*([kmgt]?)i?b?\s*")
UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}


def stream(
    source: Source,
    target: str | None = None,
    *,
    columns: Sequence[str] | None = None,
    weight: str | None = None,
    memory: int | str = "400MB",
    sep: str | None = None,
    decimal: str | None = None,
    encoding: str | None = None,
    na: str | Sequence[str] = (),
) -> Stream:
    """Open Parquet, Arrow or text files whose rows need not fit in memory.

    Parameters
    ----------
    source : str, Path or list of them
        A file, a folder (with its subfolders), a glob such as ``"data/*.parquet"``, or a URL that
        fsspec supports, such as ``"s3://bucket/rows/"``.
    target : str, optional
        The column to predict. It is not a feature.
    columns : sequence of str, optional
        The features; by default all columns except `target` and `weight`. Only these are read.
    weight : str, optional
        The column of sample weights.
    memory : int or str, default="400MB"
        Upper bound on the memory for rows that are shuffled, read ahead and decoded: a number of
        bytes, or a text such as "300MB" or "2GB". More memory shuffles more rows together.
    sep, decimal, encoding : str, optional
        Of text files, as in :func:`read_table`; by default as detected in the first file.
    na : str or sequence of str, optional
        Words in text files that stand for missing values, besides the usual ones.

    Returns
    -------
    Stream
        Only metadata has been read so far, except that CSV files are read once to count their rows.

    Raises
    ------
    TableError
        If no file is found, a file is damaged or of an unknown format, a column is missing, or
        the numbers of a text file have marks between thousands.

    Warns
    -----
    TableWarning
        If the separator, decimal mark or encoding of text is an unusual one.
    ValueError
        If `memory` is less than 1 MB or not a size.

    Notes
    -----
    Parquet files with row groups of 10,000 to 1,000,000 rows work best: each epoch visits the row
    groups in a random order and shuffles as many of them together as fit into `memory`. A CSV
    file can only be read from front to back, so several files shuffle better than one.

    Examples
    --------
    >>> import deltaprop as dp
    >>> rows = dp.tables.stream("data/penguins.csv", target="species")
    >>> rows.shape
    (344, 7)
    >>> model = dp.TabularClassifier(random_state=0, max_iter=20).fit(rows)
    """
    markers = (na,) if isinstance(na, str) else tuple(na)
    options = ReadingOptions(sep, decimal, encoding=encoding, na=markers)
    dataset = find_dataset(source, options)
    names = [str(name) for name in dataset.schema.names]
    features = _features(names, target, weight, columns)
    pieces = pieces_of(dataset)
    if not pieces:
        raise TableError(f"{described(source)} has no rows.")
    return Stream(pieces, dataset.schema, features, target, weight, memory_bytes(memory))


def memory_bytes(memory: int | float | str) -> int:
    """A number of bytes, or a text such as "300MB", as bytes.

    Raises
    ------
    ValueError
        If it is less than 1 MB or not a size.

    Examples
    --------
    >>> memory_bytes("1.5GB")
    1500000000
    """
    if isinstance(memory, str):
        found = MEMORY.fullmatch(memory.lower())
        value = float(found[1]) * UNITS[found[2]] if found else 0
    else:
        value = float(memory) if isinstance(memory, (int, float)) else 0
    if not value >= 1_000_000:
        raise InputError(
            f"memory must be at least 1 MB, as bytes or a text such as '400MB'; got {memory!r}."
        )
    return int(value)


def _features(
    names: list[str], target: str | None, weight: str | None, columns: Sequence[str] | None
) -> tuple[str, ...]:
    """The columns that are features; TableError if a given name is missing."""
    for role, given in (("target", target), ("weight", weight)):
        if given is not None:
            require_columns(names, [given], role)
    if columns is not None:
        require_columns(names, columns, "columns")
        features = tuple(columns)
    else:
        others = (name for name in names if name not in (target, weight))
        features = tuple(name for name in others if not PANDAS_INDEX.fullmatch(name))
    if not features:
        raise TableError("The table has no column besides the target.")
    return features
