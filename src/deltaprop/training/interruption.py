"""Ctrl-C and SIGTERM (preemption) wait until training is between two steps."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

cancelled: ContextVar[threading.Event | None] = ContextVar("cancelled", default=None)
"""If another thread sets this event, the training runs of this context end as on Ctrl-C."""


class Interruption:
    """Records signals instead of their default effect, inside the context :meth:`awaited`.

    Attributes
    ----------
    signal : int or None
        The first signal that was received.
    heeded : bool
        Whether training ended because of it.
    """

    def __init__(self) -> None:
        self.signal: int | None = None
        self.heeded = False
        self._before: dict[int, Any] = {}

    @contextmanager
    def awaited(self) -> Iterator[None]:
        """Record signals. This affects the main thread only, where Python handles signals.

        A custom handler for Ctrl-C is left in place; one for SIGTERM is called at the end. A signal
        that arrived too late to end the training has its usual effect at the end.
        """
        if threading.current_thread() is threading.main_thread():
            if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
                self._take(signal.SIGINT)
            if signal.getsignal(signal.SIGTERM) not in (signal.SIG_IGN, None):
                self._take(signal.SIGTERM)
        try:
            yield
        finally:
            for number, handler in self._before.items():
                signal.signal(number, handler)
            if self.signal is not None:
                own = self._before[self.signal] not in (signal.SIG_DFL, signal.default_int_handler)
                if own or not self.heeded:
                    signal.raise_signal(self.signal)

    def _take(self, number: int) -> None:
        self._before[number] = signal.signal(number, self._note)

    def _note(self, number: int, frame: Any) -> None:
        if self.signal is not None and number in self._before:
            # A second signal, perhaps because a callback hangs: a third one has its usual effect.
            signal.signal(number, self._before[number])
        self.signal = self.signal or number
