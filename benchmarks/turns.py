"""Contestants take turns at the same work; a failure does not stop the others."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from benchmarks import neighbours
from benchmarks.neighbours import Neighbours

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


class Contest:
    """The contestants of a case, ready for timed turns.

    Building them runs the first turn of each, which compiles.
    """

    def __init__(self, contestants: dict[str, Build]) -> None:
        self._ready: dict[str, Turn] = {}
        self._times = {name: Times() for name in contestants}
        for name, build in contestants.items():
            try:
                self._ready[name] = build()
            except Exception as error:
                self._times[name].error = in_one_line(error)
        for name, (seconds, value) in self._turn(0, list(contestants)).items():
            self._times[name].first, self._times[name].value = seconds, value

    def take_turns(
        self, turns: int, busy: int = 0, seconds: float = math.inf
    ) -> tuple[dict[str, Times], float | None]:
        """Run `turns` timed turns of each contestant, interleaved, beside `busy` busy processes.

        A contestant whose turns have taken more than `seconds` together takes no more. Returns the
        times, and the average number of processors that other programs used in the pauses, without
        the busy processes.
        """
        times = {name: replace(t, seconds=[]) for name, t in self._times.items()}
        pauses: list[float | None] = []
        with neighbours.running(busy) as crowd:
            for t in range(1, turns + 1):
                names = [name for name, it in times.items() if sum(it.seconds) <= seconds]
                took = self._turn(t, names, lambda: pauses.append(_pause(crowd)))
                for name, (latest, _) in took.items():
                    times[name].seconds.append(latest)
        for name, it in times.items():
            it.error = self._times[name].error
        known = [used for used in pauses if used is not None]
        return times, statistics.fmean(known) if known else None

    def _turn(
        self, t: int, names: list[str], pause: Callable[[], None] = lambda: None
    ) -> dict[str, tuple[float, float | None]]:
        """Run turn t of some; return seconds and value. Those that fail take no more turns."""
        took = {}
        # The order alternates, so that no contestant always follows the same one.
        for name in names[:: 1 if t % 2 == 0 else -1]:
            if name not in self._ready:
                continue
            pause()
            try:
                started = time.perf_counter()
                value = self._ready[name](t)
                took[name] = time.perf_counter() - started, value
            except Exception as error:
                self._times[name].error = in_one_line(error)
                del self._ready[name]
        return took


def _pause(crowd: Neighbours) -> float | None:
    """Wait; return the number of processors that other programs used in the second half."""
    time.sleep(PAUSE / 2)
    started, before = time.perf_counter(), crowd.others_seconds()
    time.sleep(PAUSE / 2)
    after = crowd.others_seconds()
    if before is None or after is None:
        return None
    return max(0.0, after - before) / (time.perf_counter() - started)


def in_one_line(error: Exception) -> str:
    """Return a short description of a failure."""
    if isinstance(error, Unavailable):
        return str(error)
    if isinstance(error, ModuleNotFoundError):
        return f"not installed: {error.name}"
    message = str(error).strip() or "no message"
    return f"{type(error).__name__}: {message.splitlines()[0][:160]}"
