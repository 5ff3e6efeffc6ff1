"""How many processors this process may use."""

from __future__ import annotations

import os
import sys
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any

CGROUPS, LOAD = Path("/sys/fs/cgroup"), Path("/proc/loadavg")


def available() -> int:
    """How many threads a training run may use, at least 1.

    This is the smallest of:

    - the number of processors that this process may run on (its affinity mask);
    - the CPU quota of its container (cgroup v1 or v2), rounded up;
    - the value of ``OMP_NUM_THREADS``;
    - the limits that ``threadpoolctl.threadpool_limits`` has set;
    - 1 inside a parallel job of joblib.
    """
    if in_joblib():
        return 1
    limits = (allowed(), quota(), _openmp_limit(), _threadpool_limit())
    return max(1, min(limit for limit in limits if limit is not None))


def in_joblib() -> bool:
    """Whether the caller is part of a parallel job of joblib."""
    if "joblib" not in sys.modules:
        return False
    from joblib.parallel import get_active_backend

    return bool(get_active_backend()[0].nesting_level)


def allowed() -> int:
    """The number of processors that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def any_idle() -> bool:
    """Whether a processor of this machine has nothing to do at the moment; True if unknown."""
    running = _running()
    return running is None or running < (os.cpu_count() or 1)


def crowded() -> bool:
    """Whether more threads want to run than this machine has processors; False if unknown."""
    running = _running()
    return running is not None and running > (os.cpu_count() or 1)


def _running() -> int | None:
    """How many threads of all processes run, or want to; None if the system does not tell."""
    try:
        return int(LOAD.read_text().split()[3].partition("/")[0])
    except (OSError, ValueError, IndexError):
        return None


@cache
def quota() -> int | None:
    """The CPU quota of this process in processors, rounded up; None if there is none."""
    return quota_of(_memberships(), CGROUPS)


def quota_of(memberships: str, root: Path) -> int | None:
    """The smallest quota among the control groups of a process and those that contain them.

    Parameters
    ----------
    memberships : str
        The content of ``/proc/self/cgroup``.
    root : Path
        Where control groups are mounted.

    Examples
    --------
    >>> quota_of("", Path("/nowhere")) is None
    True
    """
    quotas = []
    for line in memberships.splitlines():
        _, controllers, path = line.split(":", 2)
        if not controllers:  # version 2
            mounts, read = [root, root / "unified"], _quota_of_version_2
        elif "cpu" in controllers.split(","):
            mounts, read = [root / controllers, root / "cpu"], _quota_of_version_1
        else:
            continue
        # Inside a container the path may be that of the host; the mount itself is then the group.
        for mount in mounts:
            quotas += [read(group) for group in _from_group_to_root(mount, path)]
    return min((each for each in quotas if each is not None), default=None)


def _from_group_to_root(mount: Path, path: str) -> list[Path]:
    """The folder of a group and those of all groups that contain it."""
    names = PurePosixPath(path.lstrip("/")).parts
    return [mount.joinpath(*names[:depth]) for depth in range(len(names), -1, -1)]


def _memberships() -> str:
    try:
        return Path("/proc/self/cgroup").read_text()
    except OSError:
        return ""


def _quota_of_version_2(group: Path) -> int | None:
    try:
        quota, period = (group / "cpu.max").read_text().split()
        return -(-int(quota) // int(period))
    except (OSError, ValueError):  # no such file, or "max"
        return None


def _quota_of_version_1(group: Path) -> int | None:
    try:
        quota = int((group / "cpu.cfs_quota_us").read_text())
        period = int((group / "cpu.cfs_period_us").read_text())
    except (OSError, ValueError):
        return None
    return -(-quota // period) if quota > 0 else None  # -1: no limit


def _openmp_limit() -> int | None:
    """The value of OMP_NUM_THREADS; of a list for nested levels, the first."""
    first = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    return int(first) if first.isdigit() and int(first) > 0 else None


def _threadpool_limit() -> int | None:
    """The smallest number of threads of the BLAS and OpenMP libraries in this process.

    ``threadpoolctl`` sets these numbers; if nobody has imported it, it has not set any.
    """
    if "threadpoolctl" not in sys.modules:
        return None
    return min((library.num_threads for library in _thread_pools()), default=None)


@cache
def _thread_pools() -> list[Any]:
    from threadpoolctl import ThreadpoolController

    libraries: list[Any] = ThreadpoolController().lib_controllers
    return libraries
