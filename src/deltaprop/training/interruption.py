"""Ctrl-C and SIGTERM (preemption) wait until the search stands between two steps."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class Interruption:
    """Notes signals in place of what they do by default, while :meth:`awaited` is entered.

    Attributes
    ----------
    signal : int or None
        What came.
    heeded : bool
        Whether the search ended because of it.
    """

    def __init__(self) -> None:
        self.signal: int | None = None
        self.heeded = False
        self._before: dict[int, Any] = {}

    @contextmanager
    def awaited(self) -> Iterator[None]:
        """In the main thread only, which is where Python handles signals.

        A handler of the program's own for Ctrl-C stays; one for SIGTERM is called at the end. A
        signal that the search had no time to heed has its usual effect then.
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
            # Somebody insists, perhaps because a callback hangs: the next one has its own effect.
            signal.signal(number, self._before[number])
        self.signal = self.signal or number
