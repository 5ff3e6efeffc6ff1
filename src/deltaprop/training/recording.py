"""Records of a network's signals at chosen steps of a training run.

θ and the rows determine every quantity of the derivation. Training therefore only copies θ at the
chosen steps; the summary or the full trace is computed on access. This keeps training fast, and the
records of different engines agree as closely as their θ.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from numbers import Integral
from typing import TYPE_CHECKING, Any

import numpy as np

from deltaprop.data.rows import Rows
from deltaprop.errors import InputError, InputTypeError
from deltaprop.model import Model, Trace
from deltaprop.model.signals import Signals

if TYPE_CHECKING:
    from jaxtyping import Float, Int

KEPT_BYTES = 64_000_000  # of copies of θ, unless arrays=True
NEVER = 2**62


@dataclass(frozen=True)
class Record:
    """What ``dp.fit(..., record=...)`` records; an int stands for ``Record(every=int)``.

    Parameters
    ----------
    every : int, default=100
        Record before the first step and after every `every` steps (iterations of L-BFGS).
    steps : sequence of int, optional
        The steps after which to record, instead of `every`; 0 is before the first step.
    rows : sequence of int, optional
        Indices of the rows of X for which traces are computed. The default is at most 256 evenly
        spaced training rows.
    arrays : bool, default=False
        Whether to keep the θ of every record, which ``.trace`` needs. Otherwise the first 64 MB are
        kept, and later records have only their loss and summary.

    Raises
    ------
    ValueError, TypeError
        If `every` is not an int >= 1, or `steps` or `rows` are not ints >= 0.

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
            raise InputError(f"every of a Record must be an int >= 1, got {self.every!r}.")
        if not isinstance(self.arrays, bool):
            raise InputTypeError(f"arrays of a Record must be True or False, got {self.arrays!r}.")
        if self.steps is not None:
            object.__setattr__(
                self, "steps", tuple(sorted(_non_negative_ints("steps", self.steps)))
            )
        if self.rows is not None:
            object.__setattr__(self, "rows", tuple(_non_negative_ints("rows", self.rows)))

    def after(self, step: int) -> int:
        """The first step after `step` that is to be recorded."""
        if self.steps is None:
            return step + int(self.every) - step % int(self.every)
        next_index = bisect_right(self.steps, step)
        return self.steps[next_index] if next_index < len(self.steps) else NEVER


@dataclass(frozen=True, eq=False)
class Probe:
    """The rows on which all records of a training run are computed, and a network for their θ."""

    model: Model
    rows: Rows

    def at(self, theta: Float[np.ndarray, " P"]) -> Model:
        """The network with these parameters."""
        self.model.theta[...] = theta
        return self.model


@dataclass(eq=False)
class RecordedStep:
    """The state after one optimization step. All records of a run are computed on the same rows.

    Attributes
    ----------
    step, epoch : int
        The number of steps so far, and the epoch of the last one; 0 before the first.
    learning_rate : float or None
        The learning rate of that step; None before the first step, and for L-BFGS.
    """

    step: int
    epoch: int
    learning_rate: float | None
    _probe: Probe = field(repr=False)
    _theta: Float[np.ndarray, " P"] | None = field(repr=False)
    _before: tuple[int, Float[np.ndarray, " P"]] | None = field(repr=False)

    @property
    def theta(self) -> Float[np.ndarray, " P"]:
        """θ after this step.

        Raises
        ------
        ValueError
            If it was not kept; see `arrays` of :class:`Record`.
        """
        if self._theta is None:
            raise InputError(
                f"The arrays of step {self.step} were not kept; give record=dp.Record(arrays=True) "
                "to keep them for every recorded step."
            )
        return self._theta

    @property
    def trace(self) -> Trace:
        """Every quantity of a pass over the recorded rows, without dropout."""
        rows = self._probe.rows
        return self._probe.at(self.theta).trace(rows.X, rows.y, rows.w)

    @cached_property
    def loss(self) -> float:
        """The mean loss of the recorded rows, without the penalty and dropout."""
        rows = self._probe.rows
        return self._probe.at(self.theta).mean_loss(rows.X, rows.y, rows.w)

    @cached_property
    def summary(self) -> Signals:
        """Statistics of each layer, with the change of its weights since the previous record."""
        trace = self.trace
        signals = trace.summary()
        if self._before is None:
            return signals
        step, theta = self._before
        return signals.with_updates(trace.W, self._probe.at(theta).W, self.step - step)

    def settle(self) -> None:
        """Compute loss and summary, and drop θ."""
        with np.errstate(all="ignore"):
            _ = self.loss, self.summary
        self._theta = self._before = None


class Recorder:
    """The :class:`deltaprop.engines.protocol.StepObserver` that records one training run."""

    def __init__(self, record: Record, model: Model, rows: Rows, step: int = 0) -> None:
        picked = replace(rows, index=None).take(_row_numbers(record, rows))
        if picked.w is not None and not picked.w.any():
            picked = replace(picked, w=None)
        self._record, self._theta = record, model.theta
        self._probe = Probe(model.copy(), picked)
        self._kept, self._next = 0, record.after(step - 1)
        self._last: tuple[int, Float[np.ndarray, " P"]] | None = None
        self.records: list[RecordedStep] = []

    def distance(self, step: int) -> int:
        """The number of steps until the next record."""
        return self._next - step

    def at(self, step: int, epoch: int, learning_rate: float | None) -> None:
        """Record this step if it is the next one to record."""
        if step != self._next:
            return
        self._next = self._record.after(step)
        theta = self._theta.copy()
        recorded = RecordedStep(step, epoch, learning_rate, self._probe, theta, self._last)
        self.records.append(recorded)
        self._last = step, theta
        self._kept += theta.nbytes
        if self._kept > KEPT_BYTES and not self._record.arrays:
            recorded.settle()

    def forget_after(self, step: int) -> None:
        """Remove the records after this step, because the steps have been undone."""
        while self.records and self.records[-1].step > step:
            removed = self.records.pop()
            self._last = removed._before
            self._kept -= self._theta.nbytes
        self._next = self._record.after(step)


def check_record(record: Any) -> Record | None:
    """The :class:`Record` that the argument `record` stands for."""
    if record is None or isinstance(record, Record):
        return record
    if isinstance(record, Integral) and not isinstance(record, bool):
        return Record(every=int(record))
    raise InputTypeError(
        "record must be a number of steps, a deltaprop.Record such as dp.Record(every=100), or "
        f"None; got {record!r}."
    )


def _row_numbers(record: Record, rows: Rows) -> Int[np.ndarray, " K"]:
    if record.rows is None:
        return rows.probe()
    numbers, N = np.asarray(record.rows, np.int64), rows.X.shape[0]
    if numbers.max() >= N:
        raise InputError(f"rows of a Record must lie in 0 to {N - 1}, got {numbers.max()}.")
    return numbers


def _non_negative_ints(name: str, values: Any) -> list[int]:
    values = list(values)
    if not values or not all(
        isinstance(v, Integral) and not isinstance(v, bool) and int(v) >= 0 for v in values
    ):
        raise InputError(f"{name} of a Record must be one or more ints >= 0, got {values!r}.")
    return [int(v) for v in values]
