"""Train the members of an ensemble: each on all folds of a cross-validation but one.

As many members are trained at a time as there are cores, each on one thread.
"""

from __future__ import annotations

import copy
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from deltaprop.data.rows import Rows
from deltaprop.errors import Collected, collected, warn, warn_of
from deltaprop.estimators._base import BaseMLP
from deltaprop.estimators.tabular.folds import Fold
from deltaprop.training.callbacks import Callback
from deltaprop.training.checkpoint import check_checkpoint
from deltaprop.training.history import Epoch
from deltaprop.training.interruption import Interruption, cancelled

if TYPE_CHECKING:
    from jaxtyping import Float

    from deltaprop.functions.arrays import Array

INTERRUPTED = "interrupted"


@dataclass
class Deadline:
    """A limit of the time that all members take together, which each gets its share of.

    Parameters
    ----------
    seconds : float
        From now on.
    n_members : int
    n_jobs : int
        How many are trained at a time.
    must : int
        How many of them are trained in any case; the others only if there is time left.
    """

    seconds: float
    n_members: int
    n_jobs: int
    must: int
    _started: int = 0
    _durations: list[float] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self._end = time.monotonic() + self.seconds

    def begin(self) -> float | None:
        """When the next member must end, on the clock of `time.monotonic`; None for no time."""
        with self._lock:
            now, number = time.monotonic(), self._started
            if number >= self.must:
                longest = max(self._durations, default=0.0)
                if now + longest > self._end:
                    return None
            self._started += 1
            due = self.must if number < self.must else self.n_members
            turns = -(-(due - number) // self.n_jobs)
            return now + max(0.0, self._end - now) / max(1, turns)

    def end(self, seconds: float) -> None:
        """A member took this long."""
        with self._lock:
            self._durations.append(seconds)


@dataclass(frozen=True)
class Trained:
    """A member and the fold that it was trained on."""

    member: BaseMLP
    fold: Fold


def train_members(
    first: BaseMLP,
    rows: Rows,
    folds: Sequence[Fold],
    *,
    n_jobs: int,
    seeds: Sequence[int],
    deadline: Deadline | None = None,
    begun: Callable[[BaseMLP], None] = lambda member: None,
) -> tuple[list[Trained], int | None]:
    """Train a copy of an estimator on each fold.

    Parameters
    ----------
    first : BaseMLP
        Its `checked_rows` returned `rows`.
    rows : Rows
    folds : sequence of Fold
    n_jobs : int
        How many members are trained at a time.
    seeds : sequence of int
        The seed of each member.
    deadline : Deadline, optional
    begun : callable, optional
        Called with the first member before it is trained.

    Returns
    -------
    list of Trained
        Those that were finished. After Ctrl-C these may be fewer than the folds, and if none was
        finished, those that were in training. With checkpoints, SIGTERM has the same effect.
    int or None
        The signal that interrupted the training.

    Raises
    ------
    KeyboardInterrupt
        After Ctrl-C before a member was begun.
    ValueError
        If the training of a member diverged.
    """
    job = _Job(first, rows, folds, seeds, deadline, begun)
    interruption = Interruption(job.stop.set)
    with interruption.awaited(sigterm=first.checkpoint is not None):
        job.run(n_jobs)
        interruption.ended_training = interruption.signal is not None
    warn_of(job.warnings)
    found = job.results()
    if not found:
        raise KeyboardInterrupt
    if interruption.signal is not None:
        warn(f"Training interrupted by user; {len(found)} of {len(folds)} members are kept.")
    return found, interruption.signal


class _Job:
    def __init__(
        self, first: BaseMLP, rows: Rows, folds: Sequence[Fold], seeds: Sequence[int],
        deadline: Deadline | None, begun: Callable[[BaseMLP], None],
    ) -> None:  # fmt: skip
        self._first, self._rows, self._folds, self._seeds = first, rows, folds, seeds
        self._deadline, self._begun = deadline, begun
        self.stop = cancelled.get() or threading.Event()
        self._callbacks = SharedCallbacks(first.callbacks or (), len(folds))
        self._found: dict[int, BaseMLP] = {}
        self.warnings: Collected = []

    def run(self, n_jobs: int) -> None:
        from joblib import Parallel, delayed

        try:
            if n_jobs == 1:
                for i in range(len(self._folds)):
                    self._one(i)
            else:
                parallel = Parallel(n_jobs=n_jobs, backend="threading", batch_size=1)
                parallel(delayed(self._guarded)(i) for i in range(len(self._folds)))
        finally:
            self._callbacks.hook("finish")

    def results(self) -> list[Trained]:
        """The finished members; if there is none, those that have run most."""
        found = dict(sorted(self._found.items()))
        begun = {i: m for i, m in found.items() if m.n_iter_ > 0}
        ended = {i: m for i, m in begun.items() if m.stop_reason_ != INTERRUPTED}
        return [Trained(m, self._folds[i]) for i, m in (ended or begun or found).items()]

    def _guarded(self, i: int) -> None:
        try:
            self._one(i)
        except BaseException:
            self.stop.set()
            raise

    def _one(self, i: int) -> None:
        if self.stop.is_set():
            return
        end = None if self._deadline is None else self._deadline.begin()
        if self._deadline is not None and end is None:
            return
        member, fold, began = self._member(i, end), self._folds[i], time.monotonic()
        if i == 0:
            self._begun(member)
        token = cancelled.set(self.stop)
        try:
            with collected(self.warnings):
                member.fit_part(replace(self._rows, index=fold.train), self._rows.take(fold.held))
        finally:
            cancelled.reset(token)
        for name in ("callbacks", "checkpoint", "record"):
            setattr(member, name, getattr(self._first, name))
        self._found[i] = member
        if self._deadline is not None:
            self._deadline.end(time.monotonic() - began)

    def _member(self, i: int, end: float | None) -> BaseMLP:
        """A copy of the estimator with its own seed, callbacks and checkpoints."""
        member = copy.copy(self._first)
        member.random_state = self._seeds[i]
        if member.batch_size != "auto":
            member.batch_size = min(member.batch_size, len(self._folds[i].train))
        member.callbacks = self._callbacks.of(i, end)
        checkpoint = check_checkpoint(member.checkpoint)
        if checkpoint is not None:
            member.checkpoint = replace(checkpoint, folder=f"{checkpoint.folder}/{i}")
        if i > 0:
            member.record = None
        return member


class SharedCallbacks:
    """Callbacks that all members share: called by one at a time, and finished at the end."""

    def __init__(self, callbacks: Sequence[Callback], n_members: int) -> None:
        self.n_members, self._callbacks = n_members, callbacks
        self._lock = threading.Lock()

    def of(self, member: int, end: float | None) -> list[Callback]:
        """The callbacks of a member, which stops at the time `end`."""
        if not self._callbacks and end is None:
            return []
        return [MemberCallback(self, member, end)]

    def call(self, event: Epoch) -> bool:
        with self._lock:
            return any([bool(callback(event)) for callback in self._callbacks])  # noqa: C419

    def hook(self, name: str) -> None:
        """Call the method of this name of the callbacks that have it."""
        with self._lock:
            for callback in self._callbacks:
                getattr(callback, name, lambda: None)()


@dataclass(frozen=True)
class MemberCallback:
    """The shared callbacks as one member calls them."""

    shared: SharedCallbacks
    member: int
    end: float | None

    def begin_epoch(self) -> None:
        self.shared.hook("begin_epoch")

    def __call__(self, event: Epoch) -> bool:
        stops = self.shared.call(
            replace(event, member=self.member, n_members=self.shared.n_members)
        )
        return stops or (self.end is not None and time.monotonic() >= self.end)


def refitted(
    first: BaseMLP, members: Sequence[BaseMLP], rows: Rows, seed: int, end: float | None
) -> BaseMLP:
    """A copy of an estimator, trained on all rows for the mean number of the members' best epochs.

    Parameters
    ----------
    first : BaseMLP
        Its `checked_rows` returned `rows`.
    members : sequence of BaseMLP
    rows : Rows
    seed : int
    end : float or None
        When training must end, on the clock of `time.monotonic`.
    """
    member = copy.copy(first)
    member.random_state, member.n_threads = seed, None
    member.max_iter = max(1, round(float(np.mean([_best_epoch(m) for m in members]))))
    member.early_stopping, member.n_iter_no_change = False, np.inf
    member.callbacks = [] if end is None else [lambda epoch: time.monotonic() >= end]
    member.checkpoint, member.record = None, None
    member.fit_part(rows, None)
    for name in ("callbacks", "checkpoint", "record"):
        setattr(member, name, getattr(first, name))
    return member


def _best_epoch(member: BaseMLP) -> int:
    """The epoch whose weights were kept."""
    losses = member.validation_loss_curve_ if member.early_stopping else None
    return member.n_iter_ if not losses else int(np.nanargmin(losses)) + 1


def held_out_output(trained: Sequence[Trained], X: Float[Array, "N D"]) -> Float[np.ndarray, "N H"]:
    """The mean output, for each row, of the members that did not see it; NaN if all of them did."""
    total = np.zeros((X.shape[0], trained[0].member.network_.n_outputs))
    count = np.zeros((X.shape[0], 1))
    for member, held in ((t.member, t.fold.held) for t in trained):
        total[held] += member.output(X[held])
        count[held] += 1
    with np.errstate(invalid="ignore"):
        mean: np.ndarray = total / count
    return mean
