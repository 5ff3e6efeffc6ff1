"""Ctrl-C and SIGTERM (preemption) end training between two steps, after it has been saved."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

cancelled: ContextVar[threading.Event | None] = ContextVar("cancelled", default=None)
"""If another thread sets this event, the training runs of this context end as after Ctrl-C."""


class Interruption:
    """Inside the context :meth:`awaited`, signals are recorded and have no other effect.

    Parameters
    ----------
    react : callable, optional
        Called without arguments when a signal is received.

    Attributes
    ----------
    signal : int or None
        The first signal that was received.
    ended_training : bool
        Whether training ended because of it.
    """

    def __init__(self, react: Callable[[], object] = lambda: None) -> None:
        self._react = react
        self.signal: int | None = None
        self.ended_training = False
        self._before: dict[int, Any] = {}

    @contextmanager
    def awaited(self, sigterm: bool = True) -> Iterator[None]:
        """Record Ctrl-C and, unless `sigterm` is False, SIGTERM.

        This has no effect outside the main thread, in which Python handles signals.

        A custom handler for Ctrl-C is left in place; one for SIGTERM is called at the end. A signal
        that arrived too late to end the training has its usual effect at the end.
        """
        if threading.current_thread() is threading.main_thread():
            if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
                self._replace_handler(signal.SIGINT)
            if sigterm and signal.getsignal(signal.SIGTERM) not in (signal.SIG_IGN, None):
                self._replace_handler(signal.SIGTERM)
        try:
            yield
        finally:
            for number, handler in self._before.items():
                signal.signal(number, handler)
            if self.signal is not None:
                usual = (signal.SIG_DFL, signal.default_int_handler)
                if self._before[self.signal] not in usual or not self.ended_training:
                    signal.raise_signal(self.signal)

    def _replace_handler(self, number: int) -> None:
        self._before[number] = signal.signal(number, self._record)

    def _record(self, number: int, frame: Any) -> None:
        if self.signal is not None and number in self._before:
            # Training has not ended yet, perhaps because a callback hangs. From now on, signals
            # have their usual effect.
            signal.signal(number, self._before[number])
        self.signal = self.signal or number
        self._react()
