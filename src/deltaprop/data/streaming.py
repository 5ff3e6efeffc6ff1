"""Tables larger than memory: files on disk or in an object store, read piece by piece.

A `Stream` names the rows; nothing is read until somebody asks, and then never more than a few
batches are held. What trains on it is engines/streamed.py.
"""

from __future__ import annotations

import glob
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from deltaprop.data.reading import ARROW, PARQUET, TEXT, TableError, first_line
from deltaprop.data.task import require_columns, require_known_columns

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Shaped

ROWS_A_BATCH = 16_384  # whose columns, turned into rows, stay in the cache
MOST_CLASSES = 10_000
MOST_WORDS = 50  # of a column: more are text to the encoder, and need not all be in a sample
INDEX = re.compile("__index_level_[0-9]+__")  # where pandas keeps an index in Parquet
UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}


class Piece(NamedTuple):
    """Rows that can be read on their own: a row group of Parquet, a file of another kind."""

    fragment: Any
    first: int
    rows: int
    kept: int


@dataclass(frozen=True, eq=False)
class Stream:
    """The rows of a table that is larger than memory, with the column to predict.

    Made by :func:`deltaprop.data.stream`, and given to ``dp.fit``, ``fit`` and ``partial_fit`` of
    the estimators in place of X and y.

    Attributes
    ----------
    features : tuple of str
        The columns that go in, in their order.
    target, weight : str or None
    memory : int
        Bytes that rows in flight may take.
    shape : (int, int)
        Rows and features.
    """

    pieces: tuple[Piece, ...]
    schema: Any
    features: tuple[str, ...]
    target: str | None
    weight: str | None
    memory: int
    held: tuple[int, float, bool] | None = None  # seed, share, and whether these are the held rows
    target_known: bool = False  # rows whose target is missing are left out
    encode_X: Callable[[Any], Float[np.ndarray, "N D"]] | None = None
    encode_y: Callable[[Any], Shaped[np.ndarray, "N ..."]] | None = None
    width: int | None = None

    dtype = np.dtype(np.float32)

    @property
    def shape(self) -> tuple[int, int]:
        n_features = len(self.features) if self.width is None else self.width
        return sum(piece.kept for piece in self.pieces), n_features

    def __len__(self) -> int:
        return self.shape[0]

    def __repr__(self) -> str:
        N, D = self.shape
        return f"Stream({N} rows, {D} features, target={self.target!r})"

    # ------------------------------------------------------------ reading

    def frames(
        self, pieces: Sequence[Piece] | None = None, skip: int = 0, columns: Sequence[str] = ()
    ) -> Iterator[Any]:
        """The kept rows of these pieces (all), without the first `skip`, as Arrow batches."""
        columns = list(columns) or self._columns
        for piece in self.pieces if pieces is None else pieces:
            if skip >= piece.kept:
                skip -= piece.kept
                continue
            for batch in self._kept(piece, columns):
                dropped = min(skip, batch.num_rows)
                skip -= dropped
                if batch.num_rows > dropped:
                    yield batch.slice(dropped)

    def rows(
        self, pieces: Sequence[Piece] | None = None, skip: int = 0
    ) -> Iterator[tuple[Any, Any, Any]]:
        """The same rows as (X, y, w): encoded, checked; X as columns where there is no encoder."""
        for batch in self.frames(pieces, skip):
            y, w = self._target_of(batch), None
            if self.weight is not None:
                w = _numbers(batch, self.weight)
                if (w < 0).any():
                    raise TableError(f"Column {self.weight!r}, the weights, has negative values.")
            if self.encode_X is not None:
                yield self.encode_X(_pandas(batch, self.features)), y, w
            else:
                yield [_numbers(batch, name) for name in self.features], y, w

    def as_frames(self, n: int) -> Iterator[Any]:
        """All rows as DataFrames of n rows; the last may have fewer."""
        import pandas as pd

        waiting: list[Any] = []
        for batch in self.frames():
            waiting.append(_pandas(batch, self._columns))
            while sum(map(len, waiting)) >= n:
                frame = pd.concat(waiting, ignore_index=True)
                waiting = [frame.iloc[n:]]
                yield frame.iloc[:n]
        if sum(map(len, waiting)):
            yield pd.concat(waiting, ignore_index=True)

    def only(self, features: Sequence[str]) -> Stream:
        """The same rows with these features alone, without target and weights."""
        require_known_columns(self.schema.names, features)
        return replace(self, features=tuple(features), target=None, weight=None)

    def without(self, columns: Sequence[str]) -> Stream:
        """The same rows without some features."""
        require_columns(_Columns(list(self.features)), list(columns), "to leave out")
        features = tuple(name for name in self.features if name not in columns)
        if not features:
            raise TableError("The table has no column besides the target.")
        return replace(self, features=features)

    def order(self, pieces: Sequence[Piece]) -> np.ndarray:
        """Where the kept rows of these pieces stand in the table, counted from 0."""
        assert not self.target_known
        found = []
        for piece in pieces:
            rows, keep = np.arange(piece.first, piece.first + piece.rows), self._keep(piece)
            found.append(rows if keep is None else rows[keep])
        return np.concatenate(found)

    def _target_of(self, batch: Any) -> Shaped[np.ndarray, " N"]:
        if self.target is None:
            raise TableError("This stream has no target; name the column: stream(…, target=…).")
        if self.encode_y is not None:
            return self.encode_y(_values(batch, self.target))
        return _numbers(batch, self.target)

    @property
    def _columns(self) -> list[str]:
        return [name for name in (*self.features, self.target, self.weight) if name is not None]

    # ------------------------------------------------------------ looking at all rows once

    def values(self) -> np.ndarray:
        """The different values of the target, which are classes: one pass over one column."""
        assert self.target is not None
        found: Any = None
        for batch in self.frames(columns=[self.target]):
            here = np.unique(_values(batch, self.target))
            found = here if found is None else np.union1d(found, here)
            if len(found) > MOST_CLASSES:
                raise TableError(
                    f"Column {self.target!r} has more than {MOST_CLASSES} different values, which "
                    "are too many for classes: use a regressor."
                )
        return np.asarray(found)

    def moments(self) -> tuple[float, float]:
        """Mean and standard deviation of the target: one pass over one column."""
        assert self.target is not None
        n, mean, squares = 0, 0.0, 0.0
        for batch in self.frames(columns=[self.target]):  # Chan, Golub and LeVeque (1979)
            here = _numbers(batch, self.target).astype(np.float64)
            gap, total = float(here.mean()) - mean, n + len(here)
            squares += float(((here - here.mean()) ** 2).sum()) + gap * gap * n * len(here) / total
            mean, n = mean + gap * len(here) / total, total
        return mean, float(np.sqrt(squares / n))

    def sample(self, n: int, seed: int = 0, *, every_category: bool = False) -> Any:
        """About n rows, each as likely as any other, as a DataFrame: one pass over all.

        With `every_category` also the first row of each word of a column that has not too many.
        """
        share = min(1.0, n / max(1, len(self)))
        rng, found = np.random.default_rng(seed), []
        words = _Words(self.schema, self.features) if every_category else None
        for batch in self.frames():
            taken = rng.random(batch.num_rows) < share
            if words is not None:
                taken[words.new_in(batch)] = True
            if taken.any():
                found.append(_pandas(batch.filter(_arrow(taken)), self._columns))
        if not found:
            raise TableError("No row is in the sample; take a larger one.")
        import pandas as pd

        return pd.concat(found, ignore_index=True)

    def set_aside(self, share: float, seed: int) -> tuple[Stream, Stream]:
        """The rows to train on, and the held-out ones: by a hash of each row's place."""
        return self._holding(seed, share, False), self._holding(seed, share, True)

    def share_in_memory(self, share: float) -> float:
        """At most that share: as many rows as a quarter of the memory has room for."""
        room = self.memory / 4 / (8 * (self.shape[1] + 2))
        return min(share, room / max(1, len(self)))

    def head(self) -> list[np.ndarray]:
        """X and y (and the weights) of the first rows."""
        X, y, w = next(self.rows())
        X = np.column_stack(X) if isinstance(X, list) else X
        return [part for part in (X, y, w) if part is not None]

    def in_memory(
        self, dtype: Any
    ) -> tuple[Float[np.ndarray, "N D"], np.ndarray, Float[np.ndarray, " N"] | None]:
        """All rows, as arrays."""
        parts = list(self.rows())
        if not parts:
            raise TableError("No row was held out; take a larger share.")
        columns = [np.column_stack(X) if isinstance(X, list) else X for X, _, _ in parts]
        X = np.concatenate(columns).astype(dtype, copy=False)
        w = None
        if self.weight is not None:
            w = np.concatenate([part[2] for part in parts]).astype(dtype)
        return X, np.concatenate([part[1] for part in parts]), w

    def with_target_known(self) -> Stream:
        """The rows whose target is not missing: one pass over one column."""
        assert self.target is not None
        return replace(self, target_known=True)._counted()

    def _holding(self, seed: int, share: float, inside: bool) -> Stream:
        return replace(self, held=(seed, share, inside))._counted()

    def _counted(self) -> Stream:
        """The same rows, and how many of each piece are kept."""
        pieces = [piece._replace(kept=self._count(piece)) for piece in self.pieces]
        return replace(self, pieces=tuple(piece for piece in pieces if piece.kept))

    def _count(self, piece: Piece) -> int:
        if self.target_known:
            return sum(batch.num_rows for batch in self._kept(piece, [str(self.target)]))
        keep = self._keep(piece)
        return piece.rows if keep is None else int(keep.sum())

    def _kept(self, piece: Piece, columns: list[str]) -> Iterator[Any]:
        """The kept rows of a piece, as Arrow batches."""
        import pyarrow.compute as pc

        keep, at = self._keep(piece), 0
        for batch in _batches(piece.fragment, columns):
            mask = None
            if keep is not None:
                mask = _arrow(keep[at : at + batch.num_rows])
                at += batch.num_rows
            if self.target_known and batch.column(self.target).null_count:
                known = pc.is_valid(batch.column(self.target))
                mask = known if mask is None else pc.and_(mask, known)
            yield batch if mask is None else batch.filter(mask)

    def _keep(self, piece: Piece) -> Bool[np.ndarray, " N"] | None:
        """Which rows of a piece are on this side of what was set aside."""
        if self.held is None:
            return None
        seed, share, inside = self.held
        held = _hash(np.arange(piece.first, piece.first + piece.rows), seed) < share
        return held if inside else ~held

    def encoded(
        self,
        X: Callable[[Any], Float[np.ndarray, "N D"]] | None,
        y: Callable[[Any], Shaped[np.ndarray, "N ..."]] | None,
        width: int | None = None,
    ) -> Stream:
        """The same rows, read through these functions of a DataFrame and of the target's values."""
        return replace(
            self, encode_X=X or self.encode_X, encode_y=y or self.encode_y,
            width=width if X else self.width,
        )  # fmt: skip

    def require_numbers(self) -> None:
        """Raise TableError where a feature is not a number and nothing encodes it."""
        if self.encode_X is not None:
            return
        import pyarrow as pa

        kind = pa.types
        tests = (kind.is_integer, kind.is_floating, kind.is_boolean, kind.is_decimal)
        for name in self.features:
            of = self.schema.field(name).type
            if not any(test(of) for test in tests):
                raise TableError(
                    f"Column {name!r} holds {of}, not numbers. Use a TabularClassifier or "
                    "TabularRegressor, which encode words and dates, or leave the column out."
                )


def stream(
    source: str | Path | Sequence[str | Path],
    target: str | None = None,
    *,
    columns: Sequence[str] | None = None,
    weight: str | None = None,
    memory: int | str = "400MB",
) -> Stream:
    """Rows of Parquet, Arrow or CSV files that need not fit in memory.

    Parameters
    ----------
    source : str, Path or list of them
        A file, a folder (with the files in its subfolders), a glob such as ``"data/*.parquet"``, or
        a URL of an object store (``s3://``, ``gs://`` and what fsspec knows).
    target : str, optional
        The column to predict; it is left out of the features.
    columns : sequence of str, optional
        The features, where not all other columns. Only these are read from the files.
    weight : str, optional
        The column of sample weights.
    memory : int or str, default="400MB"
        What rows in flight may take, as bytes or as "300MB", "2GB": the rows that are shuffled
        together, those read ahead, and what is being decoded. Larger shuffles better.

    Returns
    -------
    Stream

    Raises
    ------
    TableError
        If nothing is found, files are of an unknown kind or damaged, or a column is missing.

    Notes
    -----
    Parquet files with row groups of 10,000 to 1,000,000 rows are best: an epoch goes through the
    row groups in a random order, and shuffles as many together as `memory` has room for. Text files
    can only be read from front to back: many files shuffle better than one.

    Examples
    --------
    >>> import deltaprop as dp
    >>> rows = dp.tables.stream("data/penguins.csv", target="species")
    >>> rows.shape
    (344, 7)
    >>> model = dp.TabularClassifier(random_state=0, max_iter=20).fit(rows)
    """
    dataset = _dataset(source)
    schema = dataset.schema
    names = [str(name) for name in schema.names]
    table = _Columns(names)
    for role, given in (("target", target), ("weight", weight)):
        if given is not None:
            require_columns(table, [given], role)
    if columns is not None:
        require_columns(table, list(columns), "columns")
    features = tuple(columns or ())
    if columns is None:
        features = tuple(n for n in names if n not in (target, weight) and not INDEX.fullmatch(n))
    if not features:
        raise TableError("The table has no column besides the target.")
    pieces, first = [], 0
    for fragment, rows in _fragments(dataset):
        if rows:
            pieces.append(Piece(fragment, first, rows, rows))
        first += rows
    if not pieces:
        raise TableError(f"{_said(source)} has no rows.")
    return Stream(tuple(pieces), schema, features, target, weight, memory_bytes(memory))


def memory_bytes(memory: Any) -> int:
    """ "300MB" or a number as bytes.

    Examples
    --------
    >>> memory_bytes("1.5GB")
    1500000000
    """
    if isinstance(memory, str):
        found = re.fullmatch(r"\s*([0-9.]+)\s*([kmgt]?)i?b?\s*", memory.lower())
        value = float(found[1]) * UNITS[found[2]] if found and found[1].count(".") < 2 else 0
    else:
        value = float(memory) if isinstance(memory, (int, float)) else 0
    if not value >= 1_000_000:
        raise ValueError(
            f"memory must be at least 1 MB, as bytes or a text such as '400MB'; got {memory!r}."
        )
    return int(value)


class _Words:
    """The words that columns were seen to hold, of those with no more than MOST_WORDS."""

    def __init__(self, schema: Any, columns: Sequence[str]) -> None:
        self._seen: dict[str, set[Any]] = {
            name: set() for name in columns if _holds_words(schema.field(name).type)
        }

    def new_in(self, batch: Any) -> list[int]:
        """The rows of a batch where a word stands for the first time."""
        import pyarrow.compute as pc

        rows = []
        for name, seen in list(self._seen.items()):
            column = batch.column(name)
            if hasattr(column, "dictionary_decode"):
                column = column.dictionary_decode()
            new = set(pc.unique(column).to_pylist()) - seen
            if len(seen) + len(new) > MOST_WORDS:
                del self._seen[name]
                continue
            for word in new:
                at = pc.is_null(column) if word is None else pc.equal(column, word)
                rows.append(pc.index(at, True).as_py())
            seen |= new
        return rows


def _holds_words(kind: Any) -> bool:
    import pyarrow as pa

    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    tests = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
    return any(test(kind) for test in tests)


class _Columns(NamedTuple):
    """What require_columns wants to know of a table."""

    columns: list[str]


def _said(source: Any) -> str:
    return repr(str(source)) if isinstance(source, (str, Path)) else f"{len(source)} files"


def _dataset(source: Any) -> Any:
    """pyarrow's dataset of the files."""
    import pyarrow.dataset as ds

    filesystem, paths = _found(source)
    kinds = {_kind(path) for path in paths}
    if len(kinds) != 1:
        raise TableError(
            f"{_said(source)} holds files of several kinds ({', '.join(sorted(kinds))}); "
            "give those of one kind, for example by a glob."
        )
    try:
        return ds.dataset(paths, format=kinds.pop(), filesystem=filesystem)
    except Exception as error:
        raise TableError(f"{_said(source)} cannot be read: {first_line(error)}") from error


def _found(source: Any) -> tuple[Any, list[str]]:
    """The file system (None: this machine's) and the files, in the order of their names.

    Absolute ones: a stream may be read by workers, which run in folders of their own.
    """
    if not isinstance(source, (str, Path)):
        return None, [str(Path(path).absolute()) for path in source]
    text = str(source)
    if "://" in text:
        return _remote(text)
    if glob.has_magic(text) and not Path(text).exists():
        matching = glob.glob(text, recursive=True)  # noqa: PTH207  # Path knows no absolute ones
        paths = sorted(path for path in matching if Path(path).is_file())
    elif Path(text).is_dir():
        paths = sorted(str(p) for p in Path(text).rglob("*") if p.is_file() and _is_data(p.name))
    else:
        paths = [text] if Path(text).exists() else []
    if not paths:
        raise TableError(f"There is no file {text!r}, or no table in that folder.")
    return None, [str(Path(path).absolute()) for path in paths]


def _remote(url: str) -> tuple[Any, list[str]]:
    try:
        import fsspec
    except ImportError as error:
        raise ImportError(f"To read {url!r}: python -m pip install fsspec") from error
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
    if not paths:
        raise TableError(f"There is no file {url!r}, or no table in that folder.")
    return PyFileSystem(FSSpecHandler(remote)), paths


def _is_data(name: str) -> bool:
    return not name.startswith((".", "_")) and Path(name).suffix.lower() in (
        *TEXT,
        *PARQUET,
        *ARROW,
    )


def _kind(path: str) -> Any:
    suffixes = [suffix.lower() for suffix in Path(path).suffixes]
    last = suffixes[-1] if suffixes else ""
    if last in (".gz", ".bz2") and len(suffixes) > 1:
        last = suffixes[-2]
    for kind, endings in (("parquet", PARQUET), ("ipc", ARROW), ("csv", (".csv",))):
        if last in endings:
            return kind
    raise TableError(
        f"{path!r} cannot be streamed. Known endings are "
        f"{', '.join((*PARQUET, *ARROW, '.csv', '.csv.gz'))}."
    )


def _fragments(dataset: Any) -> Iterator[tuple[Any, int]]:
    """Every part that can be read on its own, and its rows."""
    for fragment in dataset.get_fragments():
        try:
            if dataset.format.default_extname == "parquet":
                for group in fragment.split_by_row_group():
                    yield group, group.row_groups[0].num_rows
            else:
                yield fragment, fragment.count_rows()
        except Exception as error:
            raise TableError(f"{fragment.path!r} cannot be read: {first_line(error)}") from error


def _batches(fragment: Any, columns: list[str]) -> Iterator[Any]:
    try:
        for batch in fragment.to_batches(
            columns=columns, batch_size=ROWS_A_BATCH, batch_readahead=4, fragment_readahead=1
        ):
            yield _without_views(batch)
    except Exception as error:
        raise TableError(f"{fragment.path!r} cannot be read: {first_line(error)}") from error


def _without_views(batch: Any) -> Any:
    """The batch with plain strings: little of Arrow takes views of them yet."""
    import pyarrow as pa

    for i, field in enumerate(batch.schema):
        if pa.types.is_string_view(field.type):
            batch = batch.set_column(i, field.name, batch.column(i).cast(pa.large_string()))
    return batch


def _numbers(batch: Any, name: str) -> np.ndarray:
    """A column as finite numbers."""
    column = batch.column(name)
    try:
        values: np.ndarray = column.to_numpy(zero_copy_only=False)
        if values.dtype.kind not in "biuf":
            values = values.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise TableError(f"Column {name!r} holds {column.type}, not numbers.") from error
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise TableError(
            f"Column {name!r} has missing or infinite values. Leave these rows out; of features, "
            "TabularClassifier and TabularRegressor take missing ones as they are."
        )
    return values


def _values(batch: Any, name: str) -> np.ndarray:
    """A column's values, none of them missing; words as str."""
    column = batch.column(name)
    if column.null_count:
        raise TableError(f"Column {name!r}, the target, has missing values; leave these rows out.")
    if hasattr(column, "dictionary_decode"):
        column = column.dictionary_decode()
    values: np.ndarray = column.to_numpy(zero_copy_only=False)
    return values.astype(str) if values.dtype == object else values


def _pandas(batch: Any, columns: Sequence[str]) -> Any:
    frame = batch.select(list(columns)).to_pandas(ignore_metadata=True)
    for name in frame.columns:
        if frame[name].dtype == "category":
            frame[name] = frame[name].astype(frame[name].cat.categories.dtype)
    return frame


def _arrow(mask: Bool[np.ndarray, " N"]) -> Any:
    import pyarrow as pa

    return pa.array(mask)


def _hash(places: np.ndarray, seed: int) -> Float[np.ndarray, " N"]:
    """A number in [0, 1) for each row, which looks random (splitmix64, Steele et al. 2014)."""
    with np.errstate(over="ignore"):
        x = (places.astype(np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
        x = x + np.uint64(seed) * np.uint64(0xD1B54A32D192ED03)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        x = x ^ (x >> np.uint64(31))
    fraction: np.ndarray = (x >> np.uint64(11)).astype(np.float64) * 2.0**-53
    return fraction
