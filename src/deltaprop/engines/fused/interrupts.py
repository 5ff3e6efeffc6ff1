"""Ctrl-C between two calls of compiled code."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def interrupt_between_calls() -> Iterator[Callable[[], None]]:
    """Make Ctrl-C wait for the end of a compiled call.

    θ, the optimizer state and the number of steps must be from the same step. The yielded function,
    to be called between two calls, raises the KeyboardInterrupt if Ctrl-C was pressed.
    """
    caught: list[int] = []

    def check() -> None:
        if caught:
            raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield check  # signals reach the main thread only
        return
    before = signal.getsignal(signal.SIGINT)
    if before is not signal.default_int_handler:
        yield check  # the program has its own handler for Ctrl-C
        return
    signal.signal(signal.SIGINT, lambda number, frame: caught.append(number))
    try:
        yield check
    finally:
        signal.signal(signal.SIGINT, before)
    check()
