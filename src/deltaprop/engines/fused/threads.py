"""Python threads for compiled calls: how many, how they start, and Ctrl-C between two calls.

Compiled code releases the global interpreter lock, so that Python threads run it in parallel.
They start and end with each call, which takes a few tenths of a second at most.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache


def available() -> int:
    """How many threads a training run may use.

    This is 1 inside a parallel job of joblib. Otherwise it is the number of processors that this
    process may use, or the value of ``OMP_NUM_THREADS`` if that is smaller.
    """
    if "joblib" in sys.modules:
        from joblib.parallel import get_active_backend

        if get_active_backend()[0].nesting_level:
            return 1
    count = _processors()
    limit = os.environ.get("OMP_NUM_THREADS", "")
    return min(count, int(limit)) if limit.isdigit() and int(limit) else count


@cache
def _processors() -> int:
    if hasattr(os, "sched_getaffinity"):
        count = len(os.sched_getaffinity(0))
    else:
        count = os.cpu_count() or 1
    try:  # the limit of a container
        quota, period = open("/sys/fs/cgroup/cpu.max").read().split()  # noqa: PTH123, SIM115
        count = max(1, min(count, -(-int(quota) // int(period))))
    except (OSError, ValueError):
        pass
    return count


def together(n_threads: int, call: Callable[[int], object]) -> None:
    """Run call(0), …, call(n_threads − 1) at the same time, call(0) in the current thread."""
    others = [threading.Thread(target=call, args=(k,)) for k in range(1, n_threads)]
    for thread in others:
        thread.start()
    call(0)
    for thread in others:
        thread.join()


@contextmanager
def interrupt_between_calls() -> Iterator[Callable[[], None]]:
    """Make Ctrl-C wait for the end of a compiled call.

    The threads of a call wait for each other at barriers, so none may stop alone; and θ, the
    optimizer state and the number of steps must be from the same step. The yielded function, to
    be called between two calls, raises the KeyboardInterrupt if Ctrl-C was pressed.
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
