"""The threads of this process that assist compiled calls.

Compiled code releases the global interpreter lock, so that Python threads run it in parallel. A
thread that trains or predicts *leads* a frame; other threads, the *assistants*, compute parts of
its steps (see `sharing.py`). Assistants are started once and then lent to one frame after the
other. A leader never waits for an assistant to start, to wake up or to leave.

Leaders and assistants together never outnumber the processors, unless the leaders alone do.
An assistant that other programs have interrupted comes back later: after 0.1 s at first, then after
twice the time with each further setback, up to 3 s. It does not audition while no processor of the
machine is idle. While more threads want to run than there are processors, it *relieves* the leader
instead: the two take turns (see `relay.py`).

If the phases of a step take several time slices each, an assistant that is interrupted computes
many parts nevertheless, and the leader waits for it for a small share of the time only. So it
assists without an audition, and nobody relieves the leader.
"""

from __future__ import annotations

import _thread
import os
import sys
import threading
import time
from typing import TYPE_CHECKING, Protocol

import numpy as np

from deltaprop.engines.fused import constants, processors

if TYPE_CHECKING:
    from jaxtyping import Int

FIRST_RETRY, LAST_RETRY = 0.1, 3.0  # seconds after a setback
LINUX = sys.platform == "linux"
RELIEF = 1  # the number of the thread that relieves the leader
CHECK = 0.1  # seconds between two looks at whether the machine is crowded
TRUST = 2.0  # seconds for which an assistant that was not interrupted needs no other audition
PROBATION = 0.3  # seconds without interruption after which earlier setbacks are forgotten


class Led(Protocol):
    """Work that one thread leads and others assist: see :class:`~.frame.Frame`.

    Attributes
    ----------
    n_threads : int
        The leader and its assistants, at most.
    relievable : bool
        Whether the leader may be relieved.
    long : bool
        Whether a phase takes so long that an assistant helps although it is interrupted.
    sync : ndarray
        The words by which they communicate.
    assistants : dict
        The assistants by their number, until they have left.
    led : bool
        Whether a thread leads at the moment.
    """

    n_threads: int
    relievable: bool
    long: bool
    sync: Int[np.ndarray, " words"]
    assistants: dict[int, Assistant]
    led: bool

    def enter(self, k: int) -> None:
        """Run the compiled code as thread k; the threads after 0 assist or relieve thread 0."""

    def slot(self, k: int) -> int:
        """The position in `sync` where the slot of thread k begins."""


class Assistant:
    """A thread that assists one frame after the other."""

    def __init__(self, crew: Crew) -> None:
        self.frame: Led | None = None  # None: the thread sleeps
        self.relieves = False
        self._crew, self._k = crew, 0
        self._entered: tuple[Led, int] | None = None  # where it is at the moment, and as which k
        self._pipes: list[int] = []  # as in the slot, from RELIEF_READS on
        self._retry_at, self._trusted_until, self._setbacks = 0.0, 0.0, 0
        self._wake = _thread.allocate_lock()
        self._wake.acquire()
        # threading.Thread.start waits until the thread runs: on a busy machine, for a long time.
        _thread.start_new_thread(self._live, ())

    @property
    def is_due(self) -> bool:
        """Whether enough time has passed since the last setback."""
        return time.monotonic() >= self._retry_at

    @property
    def is_trusted(self) -> bool:
        """Whether it has assisted without interruption a short time ago."""
        return time.monotonic() < self._trusted_until

    def postpone(self) -> None:
        """Do not come back at once, because the audition would fail."""
        self._retry_at = time.monotonic() + FIRST_RETRY

    def join(self, frame: Led, k: int) -> None:
        """Assist this frame as thread k, after leaving the present one. Slot k must be free."""
        self.leave()
        slot, trusted = frame.slot(k), self.is_trusted or frame.long
        frame.sync[slot + constants.ACCOUNT] = constants.ADVANCE
        frame.sync[slot + constants.READ_PARTS] = frame.sync[slot + constants.PARTS]
        frame.sync[slot + constants.ENDS] = 0
        if k == RELIEF:
            frame.sync[constants.RELIEF] = 0
        frame.sync[slot + constants.STATE] = constants.TRUSTED if trusted else constants.INVITED
        self._go(frame, k)

    def relieve(self, frame: Led) -> None:
        """Take turns with the leader of this frame, whose slot RELIEF must be free."""
        self.leave()
        while len(self._pipes) < 4:
            self._pipes += os.pipe()
            os.set_blocking(self._pipes[-2], False)
        slot = frame.slot(RELIEF)
        first = slot + constants.RELIEF_READS
        frame.sync[first : first + len(self._pipes)] = self._pipes
        frame.sync[slot + constants.LEAVE] = 0
        frame.sync[slot + constants.STATE] = constants.COMING
        frame.sync[constants.RELIEF] = RELIEF
        self._go(frame, RELIEF, relieves=True)

    def _go(self, frame: Led, k: int, relieves: bool = False) -> None:
        if self.frame is not None and (self.frame, self._k) != self._entered:
            del self.frame.assistants[self._k]  # it never arrived there
        frame.assistants[k] = self
        self.frame, self._k, self.relieves = frame, k, relieves
        if self._entered is None and self._wake.locked():
            self._wake.release()

    def leave(self) -> None:
        """Leave the present frame, if there is one, after the present parts or shift."""
        if self.frame is None:
            return
        if self.relieves:
            leave = self.frame.slot(RELIEF) + constants.LEAVE
            if not self.frame.sync[leave]:
                self.frame.sync[constants.RELIEF] = 0
                self.frame.sync[leave] = 1
                os.write(self._pipes[1], b".")  # it may be asleep
            return
        state = self.frame.slot(self._k) + constants.STATE
        if self.frame.sync[state] == constants.TRUSTED:
            self._trusted_until = time.monotonic() + TRUST
        self.frame.sync[state] = constants.DISMISSED

    def _live(self) -> None:
        while True:
            self._wake.acquire()
            while True:
                with self._crew.lock:
                    frame, k, relieved = self.frame, self._k, self.relieves
                    self._entered = None if frame is None else (frame, k)
                if frame is None:
                    break
                started = time.monotonic()
                frame.enter(k)
                with self._crew.lock:
                    self._entered = None
                    if not relieved:
                        self._learn(int(frame.sync[frame.slot(k) + constants.STATE]), started)
                    del frame.assistants[k]
                    if self.frame is frame and self._k == k:
                        self.frame = None

    def _learn(self, state: int, started: float) -> None:
        """Decide, after leaving a frame, when to come back, and whether with an audition."""
        now = time.monotonic()
        if now - started > PROBATION and state != constants.FAILED:
            self._setbacks = 0
        if state == constants.AWAY:
            self._trusted_until = now + TRUST
        elif state in (constants.FAILED, constants.SENT_AWAY):
            self._trusted_until = 0.0
            self._retry_at = now + min(FIRST_RETRY * 2**self._setbacks, LAST_RETRY)
            self._setbacks += 1


class Crew:
    """All leaders and assistants of this process."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self._leaders = 0
        self._assistants: list[Assistant] = []
        self._looked_at, self._crowded = 0.0, False

    def begin(self, frame: Led) -> None:
        """The current thread leads this frame from now on; assistants join it."""
        with self.lock:
            self._leaders += 1
            frame.led = True
            if any(each not in self._assistants for each in frame.assistants.values()):
                frame.assistants.clear()  # this process was forked, and they stayed in the other
                frame.sync[constants.RELIEF] = 0
            try:
                if self._assistants or frame.n_threads > 1:
                    self._staff(frame)
                if frame.relievable:
                    self._relieve(frame)
            except (OSError, RuntimeError):
                pass  # no more threads or file descriptors: the leader works alone

    def end(self, frame: Led) -> None:
        """The current thread does not lead the frame any more; assistants stay for a moment."""
        with self.lock:
            self._leaders -= 1
            frame.led = False

    def _staff(self, frame: Led) -> None:
        """Lend assistants to the frame; if there are too many threads, call some away."""
        limit = processors.allowed()  # more threads than processors would only get in the way
        working = [a for a in self._assistants if a.frame is not None and a.frame.led]
        room = limit - self._leaders - len(working)
        for assistant in working[: max(0, -room)]:
            assistant.leave()
        slots = [k for k in range(1, frame.n_threads) if k not in frame.assistants][: max(0, room)]
        if not slots:
            return
        free = [a for a in self._assistants if a not in working]
        while len(free) < len(slots) and len(self._assistants) < limit - 1:
            free.append(Assistant(self))
            self._assistants.append(free[-1])
        due = [a for a in free if a.is_due]
        untried = not frame.long and not all(a.is_trusted for a in due)
        if untried and not processors.any_idle():
            for assistant in due:
                assistant.postpone()
            due = [a for a in due if a.is_trusted]
        for k, assistant in zip(slots, due, strict=False):
            assistant.join(frame, k)

    def _relieve(self, frame: Led) -> None:
        """Lend a relief to the frame if the machine is crowded and nobody assists at the moment."""
        relief = frame.assistants.get(RELIEF)
        if relief is not None and relief.relieves and relief.frame is frame:
            if not self._is_crowded():
                relief.leave()
        elif not frame.assistants and self._is_crowded() and self._has_room():
            free = [a for a in self._assistants if a.frame is None or not a.frame.led]
            if not free:
                free = [Assistant(self)]
                self._assistants += free
            free[0].relieve(frame)

    def _has_room(self) -> bool:
        """Whether another thread may work."""
        working = [a for a in self._assistants if a.frame is not None and a.frame.led]
        return self._leaders + len(working) < processors.allowed()

    def _is_crowded(self) -> bool:
        """Whether the machine was crowded a short time ago."""
        now = time.monotonic()
        if now - self._looked_at > CHECK:
            self._looked_at, self._crowded = now, LINUX and processors.crowded()
        return self._crowded


CREW = Crew()
if hasattr(os, "register_at_fork"):  # the child of a fork has none of the other threads
    os.register_at_fork(after_in_child=lambda: CREW.__init__())  # type: ignore[misc]
