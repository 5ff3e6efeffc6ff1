"""deltaprop with ``precision="bfloat16"``, on processors that multiply it."""

from __future__ import annotations

from benchmarks.peers import ours
from benchmarks.problem import Problem
from benchmarks.turns import Turn


def build(problem: Problem, threads: int | None) -> Turn:
    return ours.build(problem, threads, precision="bfloat16")
