"""Contestants take turns at the same work; a failure does not stop the others."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from benchmarks import machine

PAUSE = 0.1  # seconds between turns; BLAS threads of the previous turn spin for about 0.02

# Runs turn t. Returns a number that must agree between contestants (the loss of the last epoch, the
# first probability or the best score), or None if there is no such number.
Turn = Callable[[int], float | None]
Build = Callable[[], Turn]


class Unavailable(Exception):
    """The reason why a contestant cannot run."""


@dataclass
class Times:
    """The times of a contestant; its first turn, which compiles, is separate."""

    first: float | None = None
    seconds: list[float] = field(default_factory=list)
    value: float | None = None  # the value that its first turn returned
    error: str | None = None

    @property
    def median(self) -> float | None:
        return statistics.median(self.seconds) if self.seconds and not self.error else None


def take_turns(contestants: dict[str, Build], turns: int) -> tuple[dict[str, Times], float | None]:
    """Run a first turn and `turns` timed turns of each contestant, interleaved.

    Returns the times, and the average number of processors that other programs used in the pauses.
    """
    pauses: list[float | None] = []
    times = {name: Times() for name in contestants}
    ready: dict[str, Turn] = {}
    for name, build in contestants.items():
        try:
            ready[name] = build()
        except Exception as error:
            times[name].error = in_one_line(error)
    for t in range(turns + 1):
        # The order alternates, so that no contestant always follows the same one.
        for name in list(ready)[:: 1 if t % 2 == 0 else -1]:
            pauses.append(_pause())
            try:
                started = time.perf_counter()
                value = ready[name](t)
                seconds = time.perf_counter() - started
            except Exception as error:
                times[name].error = in_one_line(error)
                del ready[name]
                continue
            if t == 0:
                times[name].first, times[name].value = seconds, value
            else:
                times[name].seconds.append(seconds)
    known = [busy for busy in pauses if busy is not None]
    return times, statistics.fmean(known) if known else None


def _pause() -> float | None:
    """Wait; return the number of processors that other programs used in the second half."""
    time.sleep(PAUSE / 2)
    started, before = time.perf_counter(), machine.busy_seconds()
    time.sleep(PAUSE / 2)
    after = machine.busy_seconds()
    if before is None or after is None:
        return None
    return (after - before) / (time.perf_counter() - started)


def in_one_line(error: Exception) -> str:
    """Return a short description of a failure."""
    if isinstance(error, Unavailable):
        return str(error)
    if isinstance(error, ModuleNotFoundError):
        return f"not installed: {error.name}"
    message = str(error).strip() or "no message"
    return f"{type(error).__name__}: {message.splitlines()[0][:160]}"
