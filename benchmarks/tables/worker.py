"""A process that fits one contestant; it is ended if a fit takes too long.

The process stays for further fits, so that imports and compilation are not part of their times. It
fits a small made-up table before the first one of each task.
"""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
import warnings
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
import pandas as pd

from benchmarks import machine
from benchmarks.tables import metrics
from benchmarks.tables.contestants import Contestant, Job
from benchmarks.tables.splits import Split, split
from benchmarks.tables.table import CLASSIFICATION, Rows, Table

START_LIMIT = 300.0  # seconds for imports and the first fit
WARM_ROWS = 120
SHORTEST = 0.5  # seconds of a fit: the system counts in hundredths
Outcome = dict[str, Any]  # scores and times, or "error"


class Worker:
    """Measures one contestant in its own process.

    Parameters
    ----------
    contestant : Contestant
    threads : int
        Threads of each fit.
    """

    def __init__(self, contestant: Contestant, threads: int) -> None:
        self._arguments = contestant, threads
        self._process: Any = None
        self._warm: set[str] = set()

    def measure(self, table: Table, seed: int, limit: float) -> Outcome:
        """Return the scores and times, or the error, of a fit of at most `limit` seconds."""
        if table.task not in self._warm:
            error = self._ask(("warm", table.task), START_LIMIT).get("error")
            if error:  # the process has ended
                return {"error": f"before the first fit: {error}"}
            self._warm.add(table.task)
        return self._ask(("measure", table, seed), limit)

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._process = None
            self._warm.clear()

    def _ask(self, question: tuple[Any, ...], limit: float) -> Outcome:
        if self._process is None:
            self._start()
        try:
            self._channel.send(question)
            if self._channel.poll(limit):
                answer: Outcome = self._channel.recv()
                return answer
            error = f"time limit of {limit:g} s"
        except (EOFError, BrokenPipeError, ConnectionResetError):
            self._process.join(1)
            error = f"the process ended with exit code {self._process.exitcode}"
        self.close()
        return {"error": error}

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._channel, theirs = context.Pipe()
        self._process = context.Process(target=serve, args=(theirs, *self._arguments), daemon=True)
        self._process.start()
        theirs.close()


# ---------------------------------------------------------------- in the process


def serve(channel: Connection, contestant: Contestant, threads: int) -> None:
    """Answer the questions of a `Worker` until it hangs up."""
    warnings.simplefilter("ignore")
    threading.Thread(target=_end_with_the_parent, daemon=True).start()
    while True:
        try:
            kind, *rest = channel.recv()
        except (EOFError, KeyboardInterrupt):
            return
        try:
            answer = _ANSWERS[kind](contestant, threads, *rest)
        except Exception as error:
            answer = {"error": _in_one_line(error)}
        channel.send(answer)


def _end_with_the_parent() -> None:
    """End in the middle of a fit if the program was killed, so that no fit runs on unseen."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _warm(contestant: Contestant, threads: int, task: str) -> Outcome:
    """Fit a made-up table; whether that succeeds does not matter."""
    with suppress(Exception):
        model = contestant.estimator(Job(task, 0, threads), **contestant.warm)
        _fit_and_score(model, task, split(_made_up(task), task, 0))
    return {}


def _measure(contestant: Contestant, threads: int, table: Table, seed: int) -> Outcome:
    data = split(_loaded(table), table.task, seed)
    return _fit_and_score(contestant.estimator(Job(table.task, seed, threads)), table.task, data)


_ANSWERS = {"warm": _warm, "measure": _measure}


def _fit_and_score(model: Any, task: str, data: Split) -> Outcome:
    load = Load()
    began = time.perf_counter()
    model.fit(*data.train)
    fitted = time.perf_counter()
    others = load.of_others()
    X, y = data.test
    if task == CLASSIFICATION:
        p = model.predict_proba(X)
        done = time.perf_counter()
        scores = metrics.of_classes(y, model.predict(X), p)
    else:
        predicted = model.predict(X)
        done = time.perf_counter()
        scores = metrics.of_numbers(y, predicted)
    times = {"fit_seconds": fitted - began, "predict_seconds": done - fitted}
    return {**scores, **times, "others": others}


class Load:
    """How busy other programs keep our processors, from now on."""

    def __init__(self) -> None:
        self._began, self._busy = time.perf_counter(), machine.busy_seconds()
        self._own = time.process_time()

    def of_others(self) -> float | None:
        """Return the mean number of processors; None if it is unknown or too short to tell."""
        wall, now = time.perf_counter() - self._began, machine.busy_seconds()
        if now is None or self._busy is None or wall < SHORTEST:
            return None
        return max(0.0, now - self._busy - (time.process_time() - self._own)) / wall


_CACHED: dict[str, Rows] = {}


def _loaded(table: Table) -> Rows:
    if table.name not in _CACHED:
        _CACHED.clear()
        _CACHED[table.name] = table.load()
    return _CACHED[table.name]


def _made_up(task: str) -> Rows:
    rng = np.random.default_rng(0)
    z = rng.standard_normal(WARM_ROWS)
    X = pd.DataFrame({
        "number": np.where(rng.random(WARM_ROWS) < 0.1, np.nan, z),
        "word": rng.choice(["red", "green", "blue"], WARM_ROWS),
        "day": pd.Timestamp("2020-01-01") + pd.to_timedelta(np.arange(WARM_ROWS), unit="D"),
    })  # fmt: skip
    y = z + rng.standard_normal(WARM_ROWS)
    return Rows(X, (y > 0).astype(np.int64) if task == CLASSIFICATION else y)


def _in_one_line(error: Exception) -> str:
    lines = str(error).strip().splitlines() or ["no message"]
    return f"{type(error).__name__}: {lines[0][:200]}"
