"""Looking into a network: its equations written out, their proofs, and pictures of its signals."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

_HOME = {
    "Derivation": "derivation",
    "LossCurveDisplay": "displays",
    "PermutationImportanceDisplay": "displays",
    "Proof": "proof",
    "SignalFlowDisplay": "displays",
    "WeightsDisplay": "displays",
    "derive": "derivation",
    "prove": "proof",
}

__all__ = [
    "Derivation",
    "LossCurveDisplay",
    "PermutationImportanceDisplay",
    "Proof",
    "SignalFlowDisplay",
    "WeightsDisplay",
    "derive",
    "prove",
]

if TYPE_CHECKING:
    from deltaprop.inspect.derivation import Derivation, derive
    from deltaprop.inspect.displays import (
        LossCurveDisplay,
        PermutationImportanceDisplay,
        SignalFlowDisplay,
        WeightsDisplay,
    )
    from deltaprop.inspect.proof import Proof, prove


def __getattr__(name: str) -> Any:
    """A search needs `recording` alone: the others are imported when they are first used."""
    if name not in _HOME:
        raise AttributeError(f"module 'deltaprop.inspect' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"deltaprop.inspect.{_HOME[name]}"), name)
    globals()[name] = value
    return value
