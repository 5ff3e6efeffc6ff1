"""Busy processes beside the contestants, as on a laptop or a shared server.

Each is a plain Python loop on one core. They may use the cores that the calling process is pinned
to, so the operating system divides these cores between them and the contestants.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks import machine

# The loop also ends if the process that started it was killed.
LOOP = """
import os, sys
while os.getppid() == int(sys.argv[1]):
    for _ in range(1_000_000):
        pass
"""


class Neighbours:
    """Running busy processes."""

    def __init__(self, processes: list[subprocess.Popen[bytes]]) -> None:
        self.processes = processes

    def others_seconds(self) -> float | None:
        """Return the seconds that all but these processes have kept our processors busy.

        None if that is unknown.
        """
        total = machine.busy_seconds()
        return None if total is None else total - sum(_seconds(p.pid) for p in self.processes)


@contextmanager
def running(n: int) -> Iterator[Neighbours]:
    """Run `n` busy processes until the end of the block, also if it raises an error.

    Raises
    ------
    RuntimeError
        If one of them ended early, so that the measurements were not made beside `n`.
    """
    processes: list[subprocess.Popen[bytes]] = []
    try:
        for _ in range(n):
            command = [sys.executable, "-I", "-S", "-c", LOOP, str(os.getpid())]
            # Ctrl-C reaches them too; its traceback would disturb the tables.
            processes.append(subprocess.Popen(command, stderr=subprocess.DEVNULL))
        yield Neighbours(processes)
        if ended := sum(process.poll() is not None for process in processes):
            raise RuntimeError(f"{ended} of {n} busy processes ended early; run it again.")
    finally:
        for process in processes:
            process.kill()
        for process in processes:
            process.wait()


def _seconds(pid: int) -> float:
    """Return the CPU seconds of a process."""
    statistics = Path(f"/proc/{pid}/stat")
    # The name in parentheses may contain spaces; user and system time are fields 14 and 15.
    fields = statistics.read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
