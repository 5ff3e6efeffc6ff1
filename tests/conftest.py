"""Settings that all tests share."""

import os
import signal
import subprocess
import sys

from hypothesis import HealthCheck, settings

# Compiling oracles and busy machines take their time: no deadline a case.
settings.register_profile(
    "deltaprop", deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=False
)
settings.load_profile("deltaprop")


# Files that take longest begin first: else one worker is left with them at the end.
LONGEST = ("test_cluster", "test_xla", "test_private", "test_checkpoints", "test_sklearn_own_suite")


def pytest_collection_modifyitems(items):
    rank = {name: i for i, name in enumerate(LONGEST)}
    items.sort(key=lambda item: rank.get(item.path.stem, len(LONGEST)))


def pytest_configure():
    """Compile the fused engine before the first test: engine="auto" is then the fused one."""
    if "PYTEST_XDIST_WORKER" in os.environ:  # where Ctrl-C is switched off, also for children
        signal.signal(signal.SIGINT, signal.default_int_handler)
    else:
        subprocess.run([sys.executable, "-m", "deltaprop.engines.fused.compiling"], check=True)
