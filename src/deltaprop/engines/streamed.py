"""Rows that do not fit in memory, a chunk at a time, through any engine that takes arrays.

An epoch goes through the row groups in a random order. A chunk is the next C rows of that order,
shuffled; while one is trained on, the next is read in another thread. C is a multiple of the batch
size, so that the steps are those of the same order in memory.

Of P processes that train one network each goes through its P-th of an epoch's order, and brings its
P-th of each batch: together they read the rows once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from deltaprop.network import Network

if TYPE_CHECKING:
    from jaxtyping import Float, Int

    from deltaprop.data.streaming import Piece, Stream

CHUNKS = 4  # of the memory: two chunks of rows, the rest for what is being decoded


class Chunk(NamedTuple):
    """Rows in memory, and the order to take them in."""

    X: Float[np.ndarray, "C D"]
    y: np.ndarray
    w: Float[np.ndarray, " C"] | None
    order: Int[np.ndarray, " C"] | None


class StreamedEngine:
    """Epochs of a first-order search over a stream.

    Parameters
    ----------
    net : Network
    rows : Stream
    batch_size : int
        Of all processes; rounded up to a multiple of them.
    engine_of : callable
        Makes an engine of (X, y, w), arrays that hold a part of an epoch's rows of this process.
    part : (int, int), default=(0, 1)
        Which of the processes this one is, and how many there are.

    Attributes
    ----------
    n_samples : int
        Rows of an epoch: all, but for a remainder of the division by the processes.
    """

    def __init__(
        self,
        net: Network,
        rows: Stream,
        batch_size: int,
        engine_of: Callable[..., Any],
        part: tuple[int, int] = (0, 1),
    ) -> None:
        rows.require_numbers()
        rank, processes = part
        self._own, self._batch = len(rows) // processes, -(-batch_size // processes)
        if not self._own:
            raise ValueError(f"{rows} has fewer rows than {processes} processes to share them.")
        self.net, self.theta = net, net.theta
        self.batch_size, self.n_samples = self._batch * processes, self._own * processes
        self._rows, self._before, self._engine_of = rows, rank * self._own, engine_of
        a_row = (rows.shape[1] + 2) * net.dtype.itemsize
        batches = max(1, rows.memory // CHUNKS // a_row // self._batch)
        self.chunk_rows = min(batches * self._batch, self._own)
        self._room: list[np.ndarray] = []
        self._only: Chunk | None = None
        self._walk: _Walk | None = None

    def row_order(self, order: Int[np.ndarray, " 1"] | None) -> Int[np.ndarray, " N"]:
        """Where this process's rows of an epoch stand in the table, as they are trained on."""
        places = self._rows.order(self._pieces(order))[self._before : self._before + self._own]
        for k, start in enumerate(range(0, len(places), self.chunk_rows)):
            inside = places[start : start + self.chunk_rows]
            shuffled = _inside(order, k, len(inside))
            inside[:] = inside if shuffled is None else inside[shuffled]
        return places

    def epoch(
        self,
        order: Int[np.ndarray, " 1"] | None,
        learning_rates: Float[np.ndarray, " S"],
        first: int = 0,
    ) -> float:
        """As of every engine, but `order` is a seed that the order follows from.

        A call that goes on where the last one ended goes on with its chunk.
        """
        a_chunk, loss, at = -(-self.chunk_rows // self._batch), 0.0, first
        end, walk = first + len(learning_rates), self._walk
        if walk is None or not walk.is_at(order, first):
            walk = _Walk(order, self._chunks(order, first // a_chunk), first // a_chunk - 1)
        self._walk = None  # where a call fails, the next one begins anew
        with closing(walk):
            while at < end:
                chunk, begin = walk.chunk(at // a_chunk), at % a_chunk
                steps = min(-(-len(chunk.y) // self._batch) - begin, end - at)
                engine = self._engine_of(
                    X=chunk.X, y=chunk.y, w=chunk.w,
                    batch_size=self._batch, rows_of_epoch=self._own,
                )  # fmt: skip
                rates = learning_rates[at - first : at - first + steps]
                loss += engine.epoch(chunk.order, rates, begin)
                at += steps
            walk.step = at
            if at * self._batch < self._own:
                self._walk = walk.kept()
        return loss

    def _pieces(self, order: Int[np.ndarray, " 1"] | None) -> list[Piece]:
        pieces = list(self._rows.pieces)
        if order is None or self.chunk_rows == self._own:  # a chunk of all is read once
            return pieces
        return [pieces[i] for i in np.random.RandomState(order[0]).permutation(len(pieces))]

    def _chunks(self, order: Int[np.ndarray, " 1"] | None, first: int) -> Iterator[Chunk]:
        """The chunks of an epoch from number `first` on, each read while the one before is used."""
        n_chunks, before = -(-self._own // self.chunk_rows), self._before + first * self.chunk_rows
        parts = _Parts(self._rows.rows(self._pieces(order), before))
        if n_chunks == 1:
            self._only = self._only or self._read(order, 0, parts, self._rooms(1)[0])
            yield self._only._replace(order=_inside(order, 0, self._own))
            return
        rooms = self._rooms(2)
        with ThreadPoolExecutor(1, "deltaprop-reader") as reader:
            coming = reader.submit(self._read, order, first, parts, rooms[first % 2])
            for k in range(first, n_chunks):
                chunk = coming.result()
                if k + 1 < n_chunks:
                    room = rooms[(k + 1) % 2]
                    coming = reader.submit(self._read, order, k + 1, parts, room)
                yield chunk

    def _rooms(self, n: int) -> list[np.ndarray]:
        while len(self._room) < n:
            shape = (self.chunk_rows, self._rows.shape[1])
            self._room.append(np.empty(shape, self.net.dtype))
        return self._room

    def _read(
        self, order: Int[np.ndarray, " 1"] | None, k: int, parts: _Parts, room: np.ndarray
    ) -> Chunk:
        """Chunk k, whose rows come next in `parts`."""
        n, targets, weights = min(self.chunk_rows, self._own - k * self.chunk_rows), [], []
        at = 0
        while at < n:
            X, y, w = parts.take(n - at)
            here = room[at : at + len(y)]
            _fill(here, X)
            targets.append(y)
            weights.append(w)
            at += len(y)
        net, y = self.net, self.net._checked_y(np.concatenate(targets))
        net.loss_function.check_target(y, net.n_outputs)
        w = None if weights[0] is None else np.concatenate(weights).astype(net.dtype)
        return Chunk(room[:n], y, w, _inside(order, k, n))


def _fill(room: Float[np.ndarray, "C D"], X: Any) -> None:
    """Rows of a stream, or their columns, as the network's numbers."""
    columns = X if isinstance(X, list) else [X]
    with np.errstate(over="ignore"):
        if isinstance(X, list):
            for j, column in enumerate(X):
                room[:, j] = column
        else:
            room[:] = X
    narrowed = np.result_type(*(column.dtype for column in columns)) != room.dtype
    if narrowed and not np.isfinite(room).all():
        raise ValueError(
            f"The stream has a value that is too large for {room.dtype}. Leave its row out, or "
            "scale its column, or take a network of dtype='float64'."
        )


class _Walk:
    """How far a pass over the chunks has come."""

    def __init__(
        self, order: Int[np.ndarray, " 1"] | None, chunks: Iterator[Chunk], number: int
    ) -> None:
        self.order, self.step = order, -1
        self._chunks, self._number = chunks, number
        self._chunk: Chunk | None = None
        self._ends = True

    def is_at(self, order: Int[np.ndarray, " 1"] | None, step: int) -> bool:
        return step == self.step and np.array_equal(order, self.order)  # type: ignore[arg-type]

    def chunk(self, number: int) -> Chunk:
        """Chunk of that number, the present one or the next."""
        if self._number < number:
            self._chunk, self._number = next(self._chunks), number
        assert self._chunk is not None
        return self._chunk

    def kept(self) -> _Walk:
        self._ends = False
        return self

    def close(self) -> None:
        """End the reading ahead, except of a walk that is kept."""
        if self._ends:
            self._chunks.close()  # type: ignore[attr-defined]
        self._ends = True


class _Parts:
    """Rows that come in parts, to be taken in other portions."""

    def __init__(self, parts: Iterator[tuple[Any, Any, Any]]) -> None:
        self._parts = parts
        self._left: tuple[Any, Any, Any] | None = None

    def take(self, most: int) -> tuple[Any, Any, Any]:
        """The rest of a part, or its first rows."""
        X, y, w = self._left or next(self._parts)
        self._left = None
        if len(y) <= most:
            return X, y, w
        self._left = _cut(X, y, w, slice(most, None))
        return _cut(X, y, w, slice(most))


def _cut(X: Any, y: Any, w: Any, rows: slice) -> tuple[Any, Any, Any]:
    X = [column[rows] for column in X] if isinstance(X, list) else X[rows]
    return X, y[rows], None if w is None else w[rows]


def _inside(order: Int[np.ndarray, " 1"] | None, k: int, n: int) -> Int[np.ndarray, " C"] | None:
    """The order of the rows of chunk k."""
    if order is None:
        return None
    return np.random.RandomState([int(order[0]), k]).permutation(n)
