"""Training on rows that do not fit in memory, chunk by chunk, with any engine.

An epoch goes through the row groups in a random order. A chunk is the next C rows of that order,
shuffled. While the engine trains on one chunk, another thread reads the next. C is a multiple of
the batch size, so that the steps are the same as for rows in memory in that order.

If P processes train one network together, each of them goes through one P-th of an epoch's order
and contributes one P-th of each batch: together they read every row once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from deltaprop.data.rows import Rows
from deltaprop.data.streamed_rows import StreamedRows
from deltaprop.engines.protocol import Engine, Order, Rates, Run
from deltaprop.errors import InputError
from deltaprop.model import Model
from deltaprop.model.inputs import check_y

if TYPE_CHECKING:
    from jaxtyping import Float, Int

    from deltaprop.data.streams.fragments import Piece

CHUNKS = 4  # parts of the memory: two for chunks of rows, the rest for decoding


class Chunk(NamedTuple):
    """Rows in memory, and the order in which to train on them."""

    rows: Rows
    order: Int[np.ndarray, " C"] | None


class StreamedTrainer:
    """Runs steps of first-order training over a stream.

    Parameters
    ----------
    model : Model
    rows : StreamedRows
    run : Run
        Its batch size is that of all processes together, rounded up to a multiple of their number.
    engine : Engine
        Trains on the chunks.

    Attributes
    ----------
    n_samples : int
        The number of rows of an epoch, rounded down to a multiple of the number of processes.
    """

    epochs_per_call = 1

    def __init__(self, model: Model, rows: StreamedRows, run: Run, engine: Engine) -> None:
        stream = rows.stream
        stream.require_numbers()
        self._engine, rank, processes = engine.part()
        self._own_rows, self._batch = len(stream) // processes, -(-run.batch_size // processes)
        if not self._own_rows:
            raise InputError(
                f"{stream} has fewer rows than the {processes} processes that share them. "
                "Use fewer processes."
            )
        self.batch_size, self.n_samples = self._batch * processes, self._own_rows * processes
        self._model, self._stream = model, stream
        self._run, self._first_row = run.part(self._batch, self._own_rows), rank * self._own_rows
        row_bytes = (stream.shape[1] + 2) * model.dtype.itemsize
        batches = max(1, stream.memory // CHUNKS // row_bytes // self._batch)
        self.chunk_rows = min(batches * self._batch, self._own_rows)
        self._buffers: list[np.ndarray] = []
        self._only: Chunk | None = None
        self._walk: _Walk | None = None

    def row_order(self, order: Int[np.ndarray, " 1"] | None) -> Int[np.ndarray, " N"]:
        """The positions of this process's rows of an epoch in the table, in training order."""
        places = self._stream.order(self._pieces(order))[
            self._first_row : self._first_row + self._own_rows
        ]
        for k, start in enumerate(range(0, len(places), self.chunk_rows)):
            inside = places[start : start + self.chunk_rows]
            shuffled = _order_in_chunk(order, k, len(inside))
            inside[:] = inside if shuffled is None else inside[shuffled]
        return places

    def run(self, orders: Sequence[Order], rates: Sequence[Rates], first: int = 0) -> list[float]:
        """As for every trainer, but an order is the seed from which the row order is drawn.

        A call that starts where the last one ended continues with its chunk.
        """
        (order,), (of_epoch,) = orders, rates
        steps_per_chunk, loss, at = -(-self.chunk_rows // self._batch), 0.0, first
        end, walk = first + len(of_epoch), self._walk
        if walk is None or not walk.is_at(order, first):
            chunk = first // steps_per_chunk
            walk = _Walk(order, self._chunks(order, chunk), chunk - 1)
        self._walk = None  # if this call fails, the next one starts with a new walk
        with closing(walk):
            while at < end:
                chunk_now, begin = walk.chunk(at // steps_per_chunk), at % steps_per_chunk
                steps = min(-(-len(chunk_now.rows) // self._batch) - begin, end - at)
                trainer = self._engine.trainer(self._model, chunk_now.rows, self._run)
                now = of_epoch[at - first : at - first + steps]
                loss += trainer.run([chunk_now.order], [now], begin)[0]
                at += steps
            walk.step = at
            if at * self._batch < self._own_rows:
                self._walk = walk.kept()
        return [loss]

    def rewind(self, n: int) -> None:
        raise AssertionError("every call runs one epoch")

    def _pieces(self, order: Int[np.ndarray, " 1"] | None) -> list[Piece]:
        pieces = list(self._stream.pieces)
        if order is None or self.chunk_rows == self._own_rows:  # a single chunk is read only once
            return pieces
        return [pieces[i] for i in np.random.RandomState(order[0]).permutation(len(pieces))]

    def _chunks(self, order: Int[np.ndarray, " 1"] | None, first: int) -> Iterator[Chunk]:
        """The chunks from number `first` on; each is read while the one before is used."""
        n_chunks, before = (
            -(-self._own_rows // self.chunk_rows),
            self._first_row + first * self.chunk_rows,
        )
        parts = _Parts(self._stream.rows(self._pieces(order), before))
        if n_chunks == 1:
            self._only = self._only or self._read(order, 0, parts, self._buffers_for(1)[0])
            yield self._only._replace(order=_order_in_chunk(order, 0, self._own_rows))
            return
        buffers = self._buffers_for(2)
        with ThreadPoolExecutor(1, "deltaprop-reader") as reader:
            upcoming = reader.submit(self._read, order, first, parts, buffers[first % 2])
            for k in range(first, n_chunks):
                chunk = upcoming.result()
                if k + 1 < n_chunks:
                    buffer = buffers[(k + 1) % 2]
                    upcoming = reader.submit(self._read, order, k + 1, parts, buffer)
                yield chunk

    def _buffers_for(self, n: int) -> list[np.ndarray]:
        while len(self._buffers) < n:
            shape = (self.chunk_rows, self._stream.shape[1])
            self._buffers.append(np.empty(shape, self._model.dtype))
        return self._buffers

    def _read(
        self, order: Int[np.ndarray, " 1"] | None, k: int, parts: _Parts, buffer: np.ndarray
    ) -> Chunk:
        """Chunk k, whose rows are the next ones in `parts`."""
        n, targets, weights = min(self.chunk_rows, self._own_rows - k * self.chunk_rows), [], []
        at = 0
        while at < n:
            X, y, w = parts.take(n - at)
            _fill(buffer[at : at + len(y)], X)
            targets.append(y)
            weights.append(w)
            at += len(y)
        y = check_y(self._model, np.concatenate(targets))
        w = None if weights[0] is None else np.concatenate(weights).astype(self._model.dtype)
        return Chunk(Rows(buffer[:n], y, w), _order_in_chunk(order, k, n))


def _fill(buffer: Float[np.ndarray, "C D"], X: Any) -> None:
    """Copy rows of a stream, an array or a list of columns, into an array."""
    columns = X if isinstance(X, list) else [X]
    with np.errstate(over="ignore"):
        if isinstance(X, list):
            for j, column in enumerate(X):
                buffer[:, j] = column
        else:
            buffer[:] = X
    narrowed = np.result_type(*(column.dtype for column in columns)) != buffer.dtype
    if narrowed and not np.isfinite(buffer).all():
        raise InputError(
            f"The stream has a value that is too large for {buffer.dtype}. Remove its row, scale "
            "its column, or use a network of dtype='float64'."
        )


class _Walk:
    """The position of a pass over the chunks."""

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
        """The chunk of that number: the current one or the next."""
        if self._number < number:
            self._chunk, self._number = next(self._chunks), number
        assert self._chunk is not None
        return self._chunk

    def kept(self) -> _Walk:
        """This walk, which the next `close` leaves open."""
        self._ends = False
        return self

    def close(self) -> None:
        """Stop reading ahead, unless the walk is kept for the next call."""
        if self._ends:
            self._chunks.close()  # type: ignore[attr-defined]
        self._ends = True


class _Parts:
    """Rows that are read in parts of one size and taken in portions of another."""

    def __init__(self, parts: Iterator[tuple[Any, Any, Any]]) -> None:
        self._parts = parts
        self._left: tuple[Any, Any, Any] | None = None

    def take(self, most: int) -> tuple[Any, Any, Any]:
        """The rest of a part, or its first `most` rows."""
        X, y, w = self._left or next(self._parts)
        self._left = None
        if len(y) <= most:
            return X, y, w
        self._left = _cut(X, y, w, slice(most, None))
        return _cut(X, y, w, slice(most))


def _cut(X: Any, y: Any, w: Any, rows: slice) -> tuple[Any, Any, Any]:
    X = [column[rows] for column in X] if isinstance(X, list) else X[rows]
    return X, y[rows], None if w is None else w[rows]


def _order_in_chunk(
    order: Int[np.ndarray, " 1"] | None, k: int, n: int
) -> Int[np.ndarray, " C"] | None:
    """The order of the rows inside chunk k."""
    if order is None:
        return None
    return np.random.RandomState([int(order[0]), k]).permutation(n)
