"""Pin the process to a few cores, and describe the machine."""

from __future__ import annotations

import datetime
import os
import platform
import shlex
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

PACKAGES = (
    "deltaprop", "numpy", "scipy", "scikit-learn", "numba", "torch", "jax", "keras", "onnxruntime",
)  # fmt: skip


def pin(threads: int) -> None:
    """Restrict this process and its children to `threads` cores, if the system supports it.

    Every library then chooses the size of its thread pool by the number of cores; no other setting
    works for all of them. Call this before a library is imported.
    """
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, _distinct_cores()[:threads])


def command(program: str) -> str:
    """Return the command that runs `program` with the options that this process was given."""
    return shlex.join(["python", "-m", program, *sys.argv[1:]])


def describe() -> dict[str, Any]:
    """Return the facts about the machine that the times depend on."""
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "processor": _processor(),
        "processors": os.cpu_count(),
        "used": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None,
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": {name: version for name in PACKAGES if (version := _version(name))},
        "blas": _blas(),
    }


def busy_seconds() -> float | None:
    """Return the seconds that our processors have been busy, or None if that is unknown."""
    statistics = Path("/proc/stat")
    if not statistics.exists():
        return None
    ours = {f"cpu{k}" for k in os.sched_getaffinity(0)}
    rows = [line.split() for line in statistics.read_text().splitlines()]
    # user, nice, system, hardware and software interrupts, time stolen by other virtual machines
    ticks = sum(int(row[k]) for row in rows if row[0] in ours for k in (1, 2, 3, 6, 7, 8))
    return ticks / os.sysconf("SC_CLK_TCK")


def _distinct_cores() -> list[int]:
    """Return the allowed processors, those that share a core with an earlier one last."""
    allowed = sorted(os.sched_getaffinity(0))
    seen: set[str] = set()
    first: list[int] = []
    second: list[int] = []
    for k in allowed:
        siblings = Path(f"/sys/devices/system/cpu/cpu{k}/topology/thread_siblings_list")
        core = siblings.read_text() if siblings.exists() else str(k)
        (second if core in seen else first).append(k)
        seen.add(core)
    return first + second


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or "unknown"


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _blas() -> list[str]:
    import scipy.linalg  # noqa: F401  # loads the BLAS of SciPy
    from threadpoolctl import threadpool_info

    return sorted(
        f"{pool['internal_api']} {pool['version']}, {pool['num_threads']} threads"
        for pool in threadpool_info()
        if pool["user_api"] == "blas"
    )
