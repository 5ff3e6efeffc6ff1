"""How many threads, and Ctrl-C between compiled calls."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache


def available() -> int:
    """Threads that this search may use: 1 inside a parallel job of joblib's, else the machine's."""
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
    try:  # a container's share of the machine
        quota, period = open("/sys/fs/cgroup/cpu.max").read().split()  # noqa: PTH123, SIM115
        count = max(1, min(count, -(-int(quota) // int(period))))
    except (OSError, ValueError):
        pass
    return count


def together(n_threads: int, call: Callable[[int], object]) -> None:
    """call(0), … call(n_threads − 1) at the same time."""
    others = [threading.Thread(target=call, args=(k,)) for k in range(1, n_threads)]
    for thread in others:
        thread.start()
    call(0)
    for thread in others:
        thread.join()


@contextmanager
def interrupt_between_calls() -> Iterator[Callable[[], None]]:
    """Ctrl-C waits for the end of a compiled call: threads meet at barriers, and θ, the solver's
    memory and the step count must agree. The yielded function raises what has been waiting."""
    caught: list[int] = []

    def check() -> None:
        if caught:
            raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield check  # signals reach the main thread only
        return
    before = signal.getsignal(signal.SIGINT)
    if before is not signal.default_int_handler:
        yield check  # the program handles Ctrl-C in its own way
        return
    signal.signal(signal.SIGINT, lambda number, frame: caught.append(number))
    try:
        yield check
    finally:
        signal.signal(signal.SIGINT, before)
    check()
