"""Looking into a network: its equations written out, their proofs, and pictures of its signals."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

_HOME = {
    "Derivation": "deltaprop.explain.derivation",
    "LossCurveDisplay": "deltaprop.inspect.displays",
    "PermutationImportanceDisplay": "deltaprop.inspect.displays",
    "Proof": "deltaprop.explain.verification",
    "SignalFlowDisplay": "deltaprop.inspect.displays",
    "WeightsDisplay": "deltaprop.inspect.displays",
    "derive": "deltaprop.explain.derivation",
    "prove": "deltaprop.explain.verification",
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
    from deltaprop.explain.derivation import Derivation, derive
    from deltaprop.explain.verification import Proof, prove
    from deltaprop.inspect.displays import (
        LossCurveDisplay,
        PermutationImportanceDisplay,
        SignalFlowDisplay,
        WeightsDisplay,
    )


def __getattr__(name: str) -> Any:
    """A search needs `recording` alone: the others are imported when they are first used."""
    if name not in _HOME:
        raise AttributeError(f"module 'deltaprop.inspect' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOME[name]), name)
    globals()[name] = value
    return value
