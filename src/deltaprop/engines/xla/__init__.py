"""The xla engine: epochs compiled by JAX for GPUs, TPUs, many devices and many processes."""

try:
    import jax  # noqa: F401
except ImportError as error:
    raise ImportError(
        "engine='xla' needs JAX, which is not installed. Install it with: "
        "pip install 'deltaprop[gpu]'"
    ) from error

from deltaprop.engines.xla.norms import sample_norms
from deltaprop.engines.xla.processes import (
    check_same,
    connect,
    disconnect,
    mean_over_processes,
    seed_of_first,
)

__all__ = [
    "check_same",
    "connect",
    "disconnect",
    "mean_over_processes",
    "sample_norms",
    "seed_of_first",
]
