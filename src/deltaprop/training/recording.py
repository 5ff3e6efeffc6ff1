"""Records of a network's signals at chosen steps of a training run.

θ and the rows determine every quantity of the derivation. Training therefore only copies θ at the
chosen steps; the summary or the full trace is computed on access. This keeps training fast, and the
records of different engines agree as closely as their θ.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from deltaprop.data.rows import Rows
from deltaprop.errors import InputError
from deltaprop.model import Model, Trace
from deltaprop.model.signals import Signals
from deltaprop.training.record import Record

if TYPE_CHECKING:
    from jaxtyping import Float, Int

KEPT_BYTES = 64_000_000  # of copies of θ, unless arrays=True


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


def _row_numbers(record: Record, rows: Rows) -> Int[np.ndarray, " K"]:
    if record.rows is None:
        return rows.probe()
    numbers, N = np.asarray(record.rows, np.int64), rows.X.shape[0]
    if numbers.max() >= N:
        raise InputError(f"rows of a Record must lie in 0 to {N - 1}, got {numbers.max()}.")
    return numbers
