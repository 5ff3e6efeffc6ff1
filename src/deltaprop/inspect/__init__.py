"""Looking into a network: proofs of its equations, and pictures of what happens in it."""

from deltaprop.inspect.displays import (
    LossCurveDisplay,
    PermutationImportanceDisplay,
    SignalFlowDisplay,
    WeightsDisplay,
)
from deltaprop.inspect.proof import Proof, prove

__all__ = [
    "LossCurveDisplay",
    "PermutationImportanceDisplay",
    "Proof",
    "SignalFlowDisplay",
    "WeightsDisplay",
    "prove",
]
