"""Looking into a network: its equations written out, and their proofs."""

from deltaprop.inspect.derivation import Derivation, derive
from deltaprop.inspect.proof import Proof, prove

__all__ = ["Derivation", "Proof", "derive", "prove"]
