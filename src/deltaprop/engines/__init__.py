"""Engines run a search. ``reference`` is the derivation on NumPy: the oracle for every other."""

from deltaprop.engines.options import Xla
from deltaprop.engines.reference import ReferenceEngine

NAMES = ("auto", "reference", "fused", "xla")

__all__ = ["NAMES", "ReferenceEngine", "Xla"]
