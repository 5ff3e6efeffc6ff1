"""One module per contestant of the training cases; ``build(problem, threads)`` returns a Turn.

`threads` is None for the default of the library, which is the number of cores that the process may
use.
"""

from __future__ import annotations

import importlib
from functools import partial

from benchmarks.problem import Problem
from benchmarks.turns import Build, Turn

MODULES = {
    "deltaprop": "ours",
    "deltaprop bfloat16": "ours_bfloat16",
    "scikit-learn": "scikit_learn",
    "torch": "torch_eager",
    "torch.compile": "torch_compiled",
    "jax": "jax_scan",
    "keras": "keras_fit",
    "floor": "floor",
}


def training(problem: Problem) -> dict[str, Build]:
    """Return all contestants; each is imported when it is built, because it may be missing."""
    names = [name for name in MODULES if problem.bfloat16 or "bfloat16" not in name]
    return {name: partial(build, name, problem) for name in names}


def build(name: str, problem: Problem, threads: int | None = None) -> Turn:
    """Return a contestant's turn. To limit its threads, also set `limits` before Python starts."""
    module = importlib.import_module(f"benchmarks.peers.{MODULES[name]}")
    turn: Turn = module.build(problem, threads)
    return turn


def limits(threads: int | None) -> dict[str, str]:
    """Return the environment variables that limit the threads of OpenBLAS, OpenMP, MKL and XLA."""
    if threads is None:
        return {}
    names = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "NPROC", "PJRT_NPROC")
    return dict.fromkeys(names, str(threads))
