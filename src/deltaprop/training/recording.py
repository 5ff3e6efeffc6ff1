"""Signals at chosen steps of a search.

Every quantity of the derivation follows from θ. So a search keeps θ at the chosen steps, which
takes it a copy, and the summary (or the full trace) is computed when somebody looks: the search
itself stays fast, and records of all engines agree as closely as their θ do.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from numbers import Integral
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from jaxtyping import Float, Int, Num

    from deltaprop.model.signals import Signals
    from deltaprop.network import Network, Trace

PROBE_ROWS = 256  # enough that a unit that is off on all of them is off on 99 % of all rows
KEPT_BYTES = 64_000_000  # of θ, in a search without arrays=True
NEVER = 2**62


@dataclass(frozen=True)
class Record:
    """What ``dp.fit(..., record=...)`` records; an int stands for ``Record(every=int)``.

    Parameters
    ----------
    every : int, default=100
        A record before the first step and after every so many steps (iterations of L-BFGS).
    steps : sequence of int, optional
        The steps after which to record, in place of `every`; 0 is before the first.
    rows : sequence of int, optional
        The rows of X that traces are taken on; by default at most 256 of the training rows, evenly
        spaced.
    arrays : bool, default=False
        Keep θ of every record, so that each has its full arrays (``.trace``). Otherwise the first
        64 MB of θ are kept, and later records have their summary only.

    Raises
    ------
    ValueError, TypeError
        For a number of steps below 1, or steps or rows that are not whole numbers from 0.

    Examples
    --------
    >>> import deltaprop as dp
    >>> dp.Record(steps=[0, 10, 100])
    Record(every=100, steps=(0, 10, 100), rows=None, arrays=False)
    """

    every: int = 100
    steps: Sequence[int] | None = None
    rows: Sequence[int] | None = None
    arrays: bool = False

    def __post_init__(self) -> None:
        if (
            not isinstance(self.every, Integral)
            or isinstance(self.every, bool)
            or int(self.every) < 1
        ):
            raise ValueError(f"every of a Record must be an int >= 1, got {self.every!r}.")
        if not isinstance(self.arrays, bool):
            raise TypeError(f"arrays of a Record must be True or False, got {self.arrays!r}.")
        if self.steps is not None:
            object.__setattr__(self, "steps", tuple(sorted(_whole("steps", self.steps))))
        if self.rows is not None:
            object.__setattr__(self, "rows", tuple(_whole("rows", self.rows)))

    def after(self, step: int) -> int:
        """The next step to record."""
        if self.steps is None:
            return step + int(self.every) - step % int(self.every)
        place = bisect_right(self.steps, step)
        return self.steps[place] if place < len(self.steps) else NEVER


@dataclass(frozen=True, eq=False)
class Probe:
    """The rows that all records of a search look at, and the network without its numbers."""

    net: Network
    X: Any
    y: Num[np.ndarray, "N ..."]
    w: Float[np.ndarray, " N"] | None

    def at(self, theta: Float[np.ndarray, " P"]) -> Network:
        """The network with those numbers."""
        self.net.theta[...] = theta
        return self.net


@dataclass(eq=False)
class RecordedStep:
    """The search after one of its steps. Traces are taken on the same rows in all of them.

    Attributes
    ----------
    step, epoch : int
        Steps taken, and the epoch that the last of them lay in; 0 before the first.
    learning_rate : float or None
        Of that step; None before the first, and for L-BFGS.
    """

    step: int
    epoch: int
    learning_rate: float | None
    _probe: Probe = field(repr=False)
    _theta: Float[np.ndarray, " P"] | None = field(repr=False)
    _before: tuple[int, Float[np.ndarray, " P"]] | None = field(repr=False)

    @property
    def theta(self) -> Float[np.ndarray, " P"]:
        """θ after that step.

        Raises
        ------
        ValueError
            If it was not kept: see `arrays` of :class:`Record`.
        """
        if self._theta is None:
            raise ValueError(
                f"The arrays of step {self.step} were not kept; give record=dp.Record(arrays=True) "
                "to keep them for every recorded step."
            )
        return self._theta

    @property
    def trace(self) -> Trace:
        """Every quantity of a pass over the recorded rows, without dropout."""
        probe = self._probe
        return probe.at(self.theta).trace(probe.X, probe.y, probe.w)

    @cached_property
    def loss(self) -> float:
        """The mean loss of the recorded rows, without the penalty and dropout."""
        from deltaprop.training.fitting import data_loss

        probe = self._probe
        return data_loss(probe.at(self.theta), probe.X, probe.y, probe.w)

    @cached_property
    def summary(self) -> Signals:
        """The trace in a few numbers a layer, with what the weights moved since the last record."""
        trace = self.trace
        signals = trace.summary()
        if self._before is None:
            return signals
        step, theta = self._before
        return signals.with_updates(trace.W, self._probe.at(theta).W, self.step - step)

    def settle(self) -> None:
        """Compute what is wanted by default, and forget θ."""
        with np.errstate(all="ignore"):
            _ = self.loss, self.summary
        self._theta = self._before = None


class Recorder:
    """Takes the records of one search. Engines ask how far the next one is, and call it there."""

    def __init__(
        self,
        record: Record,
        net: Network,
        X: Any,
        y: Num[np.ndarray, "N ..."],
        w: Float[np.ndarray, " N"] | None,
        subset: Int[np.ndarray, " M"] | None,
        step: int = 0,
    ) -> None:
        rows = _rows_of(record, X.shape[0], subset)
        self._record, self._theta = record, net.theta
        picked = None if w is None else w[rows]
        if picked is not None and not picked.any():
            picked = None
        self._probe = Probe(net.copy(), X[rows], y[rows], picked)
        self._kept, self._next = 0, record.after(step - 1)
        self._last: tuple[int, Float[np.ndarray, " P"]] | None = None
        self.records: list[RecordedStep] = []

    def distance(self, step: int) -> int:
        """How many steps there are to the next record."""
        return self._next - step

    def at(self, step: int, epoch: int, learning_rate: float | None) -> None:
        """Record that step if it is the next one."""
        if step != self._next:
            return
        self._next = self._record.after(step)
        theta = self._theta.copy()
        taken = RecordedStep(step, epoch, learning_rate, self._probe, theta, self._last)
        self.records.append(taken)
        self._last = step, theta
        self._kept += theta.nbytes
        if self._kept > KEPT_BYTES and not self._record.arrays:
            taken.settle()

    def forget_after(self, step: int) -> None:
        """Steps beyond that one were taken back."""
        while self.records and self.records[-1].step > step:
            taken_back = self.records.pop()
            self._last = taken_back._before
            self._kept -= self._theta.nbytes
        self._next = self._record.after(step)


def checked_record(record: Any) -> Record | None:
    """The Record that `record=` stands for."""
    if record is None or isinstance(record, Record):
        return record
    if isinstance(record, Integral) and not isinstance(record, bool):
        return Record(every=int(record))
    raise TypeError(
        "record must be a number of steps, a deltaprop.Record such as dp.Record(every=100), or "
        f"None; got {record!r}."
    )


def _rows_of(record: Record, N: int, subset: Int[np.ndarray, " M"] | None) -> Any:
    if record.rows is not None:
        rows = np.asarray(record.rows, np.int64)
        if rows.max() >= N:
            raise ValueError(f"rows of a Record must lie in 0 to {N - 1}, got {rows.max()}.")
        return rows
    return probe_rows(N, subset, PROBE_ROWS)


def probe_rows(N: int, subset: Int[np.ndarray, " M"] | None, most: int) -> Int[np.ndarray, " K"]:
    """At most so many of the rows, or of a subset of them, evenly spaced."""
    M = N if subset is None else len(subset)
    rows = np.linspace(0, M - 1, min(M, most)).round().astype(np.int64)
    return rows if subset is None else subset[rows]


def _whole(name: str, values: Any) -> list[int]:
    values = list(values)
    if not values or not all(
        isinstance(v, Integral) and not isinstance(v, bool) and int(v) >= 0 for v in values
    ):
        raise ValueError(f"{name} of a Record must be one or more ints >= 0, got {values!r}.")
    return [int(v) for v in values]
