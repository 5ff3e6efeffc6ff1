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


def pytest_configure():
    """Compile the fused engine before the first test: engine="auto" is then the fused one."""
    if "PYTEST_XDIST_WORKER" in os.environ:  # where Ctrl-C is switched off, also for children
        signal.signal(signal.SIGINT, signal.default_int_handler)
    else:
        subprocess.run([sys.executable, "-m", "deltaprop.engines.fused.compiling"], check=True)
