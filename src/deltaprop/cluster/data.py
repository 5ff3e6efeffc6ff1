"""The rows of a worker: all rows, or a part of a Ray Dataset."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from deltaprop.data.reading import read_table
from deltaprop.data.task import split_target
from deltaprop.errors import InputError, InputTypeError
from deltaprop.network import Network

Workers = int | tuple[int, int]


@dataclass(frozen=True)
class Whole:
    """All rows for every worker, which computes its part of each batch.

    Attributes
    ----------
    X : array-like, DataFrame, path of a table, or Stream
    """

    X: Any
    y: Any
    target: str | None
    shared = True

    def rows(self, rank: int) -> tuple[Any, Any]:
        if self.target is None:
            return self.X, self.y
        table = read_table(self.X) if isinstance(self.X, str) else self.X
        return split_target(table, self.target)[:2]


@dataclass(frozen=True)
class Parts:
    """Different rows for each worker, the same number for all of them.

    Attributes
    ----------
    tables : sequence of sequences of references to Arrow tables
        The tables of each worker. They stay in Ray's object store, because the workers occupy the
        CPUs that reading the Dataset would need.
    """

    tables: Sequence[Sequence[Any]]
    target: str
    shared = False

    def rows(self, rank: int) -> tuple[Any, Any]:
        import pyarrow as pa
        import ray

        table = pa.concat_tables(ray.get(list(self.tables[rank])))
        return split_target(table.to_pandas(), self.target)[:2]


def is_dataset(X: Any) -> bool:
    """Whether this is a Ray Dataset."""
    return type(X).__module__.startswith("ray.data")


def parts_of(dataset: Any, target: str | None, model: Any, workers: Workers) -> Parts:
    """Read a Ray Dataset on the cluster and divide its rows among the workers, in order."""
    if target is None:
        raise InputError("target must name the column of a Ray Dataset that is y; it is missing.")
    if not isinstance(model, Network):
        raise InputTypeError(
            f"model must be a Network for a Ray Dataset, got {type(model).__name__}: an estimator "
            "learns its encoding from all rows. Give it a DataFrame or the path of a table."
        )
    if not isinstance(workers, int):
        raise InputError(f"workers must be an int for a Ray Dataset, got {workers!r}.")
    # Otherwise blocks that are read in parallel arrive in the order in which they finish.
    dataset.context.execution_options.preserve_order = True
    parts = dataset.split(workers, equal=True)
    return Parts([part.to_arrow_refs() for part in parts], target)


def batch_per_worker(batch_size: int | str, workers: int) -> int | str:
    """The number of rows that each worker contributes to a batch of a Ray Dataset."""
    if isinstance(batch_size, str):
        return batch_size
    if batch_size % workers:
        raise InputError(
            f"batch_size must be a multiple of the {workers} workers for a Ray Dataset, got "
            f"{batch_size}."
        )
    return batch_size // workers


def absolute(path: Any) -> Any:
    """An absolute path, because workers run in other folders."""
    if isinstance(path, (str, PathLike)) and "://" not in str(path):
        return str(Path(path).absolute())
    return path
