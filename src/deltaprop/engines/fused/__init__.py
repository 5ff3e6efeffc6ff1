"""The fused engine: a whole epoch in one compiled call, threads splitting each batch."""

from deltaprop.engines.fused.engine import FusedEngine, unsupported

__all__ = ["FusedEngine", "unsupported"]
