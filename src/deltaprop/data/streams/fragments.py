"""The pieces of a dataset that can be read separately, and their Arrow batches."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from deltaprop.data.reading import TableError, first_line
from deltaprop.data.streams.columns import without_views

ROWS_PER_BATCH = 16_384  # few enough that columns stay in the cache while they become rows


class Piece(NamedTuple):
    """Rows that can be read on their own: a row group of Parquet, or a file of another format.

    Attributes
    ----------
    fragment : pyarrow.dataset.Fragment
    first : int
        Position of its first row in the table.
    rows : int
        Rows in the file.
    kept : int
        Rows that belong to the stream: all, or one side of a split.
    """

    fragment: Any
    first: int
    rows: int
    kept: int


def pieces_of(dataset: Any) -> tuple[Piece, ...]:
    """All pieces of a dataset that have rows, in the order of the table."""
    pieces, first = [], 0
    for fragment, rows in _fragments(dataset):
        if rows:
            pieces.append(Piece(fragment, first, rows, rows))
        first += rows
    return tuple(pieces)


def batches_of(piece: Piece, columns: list[str]) -> Iterator[Any]:
    """The rows of a piece as Arrow batches, whether they are kept or not."""
    try:
        for batch in piece.fragment.to_batches(
            columns=columns, batch_size=ROWS_PER_BATCH, batch_readahead=4, fragment_readahead=1
        ):
            yield without_views(batch)
    except Exception as error:
        raise _unreadable(piece.fragment, error) from error


def _fragments(dataset: Any) -> Iterator[tuple[Any, int]]:
    """Each fragment with its number of rows."""
    for fragment in dataset.get_fragments():
        try:
            if dataset.format.default_extname == "parquet":
                for group in fragment.split_by_row_group():
                    yield group, group.row_groups[0].num_rows
            else:
                yield fragment, fragment.count_rows()
        except Exception as error:
            raise _unreadable(fragment, error) from error


def _unreadable(fragment: Any, error: Exception) -> TableError:
    return TableError(f"{fragment.path!r} cannot be read: {first_line(error)}")
