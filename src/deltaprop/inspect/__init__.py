"""Looking into a network: its equations written out, their proofs, and pictures of its signals."""

from deltaprop.inspect.derivation import Derivation, derive
from deltaprop.inspect.displays import (
    LossCurveDisplay,
    PermutationImportanceDisplay,
    SignalFlowDisplay,
    WeightsDisplay,
)
from deltaprop.inspect.proof import Proof, prove

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
