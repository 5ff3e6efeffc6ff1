"""Look inside a model: its equations, their verification, reports, diagnoses and pictures."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from deltaprop.errors import warn

_HOME = {
    "Derivation": "deltaprop.explain.derivation",
    "LossCurveDisplay": "deltaprop.inspect.displays",
    "PermutationImportanceDisplay": "deltaprop.inspect.displays",
    "SignalFlowDisplay": "deltaprop.inspect.displays",
    "Verification": "deltaprop.explain.verification",
    "WeightsDisplay": "deltaprop.inspect.displays",
    "derive": "deltaprop.explain.derivation",
    "verify": "deltaprop.explain.verification",
}
_DEPRECATED = {"Proof": "Verification", "prove": "verify"}

__all__ = [
    "Derivation",
    "LossCurveDisplay",
    "PermutationImportanceDisplay",
    "SignalFlowDisplay",
    "Verification",
    "WeightsDisplay",
    "derive",
    "verify",
]

if TYPE_CHECKING:
    from deltaprop.explain.derivation import Derivation, derive
    from deltaprop.explain.verification import Verification, verify
    from deltaprop.inspect.displays import (
        LossCurveDisplay,
        PermutationImportanceDisplay,
        SignalFlowDisplay,
        WeightsDisplay,
    )


def __getattr__(name: str) -> Any:
    """Import a name when it is first used."""
    if name in _DEPRECATED:
        new = _DEPRECATED[name]
        message = f"deltaprop.inspect.{name} is deprecated and will be removed; use {new}."
        warn(message, DeprecationWarning)
        return __getattr__(new)
    if name not in _HOME:
        raise AttributeError(f"module 'deltaprop.inspect' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOME[name]), name)
    globals()[name] = value
    return value
