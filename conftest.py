"""Settings that all tests share."""

import os
import signal
import subprocess
import sys

import pytest
from hypothesis import HealthCheck, settings

collect_ignore = ["tests/tables/make.py"]  # doctests would run it, and it rewrites its folder

os.environ.setdefault("KERAS_BACKEND", "torch")  # its default, TensorFlow, is not installed

# Compilation and busy machines are slow, so that no example has a deadline. CI repeats the same
# examples, so that only a change of the code can make it fail; other runs draw new ones.
settings.register_profile(
    "deltaprop",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    derandomize="CI" in os.environ,
)
settings.load_profile("deltaprop")


def pytest_configure():
    """Compile the fused engine before the first test, so that engine="auto" selects it."""
    if "PYTEST_XDIST_WORKER" in os.environ:  # xdist ignores Ctrl-C, also in child processes
        signal.signal(signal.SIGINT, signal.default_int_handler)
    else:
        subprocess.run([sys.executable, "-m", "deltaprop.engines.fused.compiling"], check=True)


def pytest_collection_modifyitems(items):
    """Give slow tests more time than the limit of pyproject.toml."""
    for item in items:
        if item.get_closest_marker("slow") and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(3600))


@pytest.fixture(autouse=True)
def _figures_are_closed():
    """Close all figures: Matplotlib warns when more than 20 are open in one process."""
    yield
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")
