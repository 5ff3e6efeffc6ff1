"""One module per contestant of the training cases; ``build(problem, threads)`` returns a Turn."""

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


def training(problem: Problem, threads: int) -> dict[str, Build]:
    """Return all contestants; each is imported when it is built, because it may be missing."""
    names = [name for name in MODULES if problem.bfloat16 or "bfloat16" not in name]
    return {name: partial(_build, name, problem, threads) for name in names}


def _build(name: str, problem: Problem, threads: int) -> Turn:
    module = importlib.import_module(f"benchmarks.peers.{MODULES[name]}")
    turn: Turn = module.build(problem, threads)
    return turn
