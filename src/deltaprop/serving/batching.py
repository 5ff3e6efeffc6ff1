"""Concurrent requests are predicted together, by one thread."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

import numpy as np

from deltaprop.serving.problems import BUSY, Refused
from deltaprop.serving.served import Asked, Given, Served

Observe = Callable[[int, float], None]


@dataclass(eq=False)
class Job:
    """The rows of one request, which wait for their predictions."""

    served: Served
    given: Given
    asked: Asked
    future: asyncio.Future
    loop: asyncio.AbstractEventLoop = field(repr=False)

    @property
    def key(self) -> tuple[int, str]:
        """Jobs of the same key can be predicted together."""
        return id(self.served), repr(self.asked)

    def finish(self, result: Any) -> None:
        """Give the result, or the exception, to the request; from the worker's thread."""
        with contextlib.suppress(RuntimeError):  # the loop has been closed
            self.loop.call_soon_threadsafe(_resolve, self.future, result)


class Batcher:
    """A queue of jobs, and a thread that predicts what has queued.

    Nothing waits for a batch to fill: while the thread predicts, the next batch gathers.

    Parameters
    ----------
    most_rows : int
        Of a batch, unless a single request has more.
    most_waiting : int
        Rows that may queue; beyond that, requests are answered with 503.
    observe : callable
        Called with the rows and seconds of each batch, from the thread.
    """

    def __init__(self, most_rows: int, most_waiting: int, observe: Observe) -> None:
        self.waiting = 0  # rows; only changed by the event loop
        self._most_rows, self._most_waiting, self._observe = most_rows, most_waiting, observe
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="predict", daemon=True)
        self._thread.start()

    async def predict(self, served: Served, given: Given, asked: Asked) -> dict[str, np.ndarray]:
        """The predicted columns of a request.

        Raises
        ------
        Refused
            If too many rows are waiting.
        """
        n = given.n
        if self.waiting and self.waiting + n > self._most_waiting:
            raise Refused(
                BUSY,
                f"{self.waiting} rows are waiting already; try again later.",
                {"retry-after": "1"},
            )
        loop = asyncio.get_running_loop()
        job = Job(served, given, asked, loop.create_future(), loop)
        self.waiting += n
        try:
            self._jobs.put(job)
            predicted: dict[str, np.ndarray] = await job.future
            return predicted
        finally:
            self.waiting -= n

    def close(self) -> None:
        """Predict what has queued, and end the thread."""
        self._jobs.put(None)
        self._thread.join()

    def _work(self) -> None:
        for jobs in iter(self._next, None):
            ordered = sorted(jobs, key=lambda job: job.key)
            for _, alike in groupby(ordered, key=lambda job: job.key):
                for batch in _batches(list(alike), self._most_rows):
                    self._predict(batch)

    def _next(self) -> list[Job] | None:
        """All jobs that have queued, at least one; None at the end."""
        first = self._jobs.get()
        if first is None:
            return None
        jobs = [first]
        while not self._jobs.empty():
            job = self._jobs.get()
            if job is None:
                self._jobs.put(None)
                break
            jobs.append(job)
        return jobs

    def _predict(self, jobs: Sequence[Job]) -> None:
        began = time.perf_counter()
        try:
            columns = [job.given.columns for job in jobs]
            results = jobs[0].served.predict_together(columns, jobs[0].asked)
        except Exception as error:  # becomes the answer of a request
            if len(jobs) > 1:  # the others must not fail with it
                for job in jobs:
                    self._predict([job])
            else:
                jobs[0].finish(error)
            return
        for job, result in zip(jobs, results, strict=True):
            job.finish(result)
        self._observe(sum(job.given.n for job in jobs), time.perf_counter() - began)


def _batches(jobs: list[Job], most_rows: int) -> Iterator[list[Job]]:
    batch: list[Job] = []
    rows = 0
    for job in jobs:
        if batch and rows + job.given.n > most_rows:
            yield batch
            batch, rows = [], 0
        batch.append(job)
        rows += job.given.n
    yield batch


def _resolve(future: asyncio.Future, result: Any) -> None:
    if future.done():  # the client has gone
        return
    if isinstance(result, Exception):
        future.set_exception(result)
    else:
        future.set_result(result)
