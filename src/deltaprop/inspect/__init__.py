"""Looking into a network: proofs of its equations."""

from deltaprop.inspect.proof import Proof, prove

__all__ = ["Proof", "prove"]
