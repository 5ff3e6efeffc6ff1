"""The fused engine: many steps in one compiled call, threads sharing the work of each."""

from deltaprop.engines.fused.engine import FusedEngine, loss_and_gradient
from deltaprop.engines.fused.prediction import predict

__all__ = ["FusedEngine", "loss_and_gradient", "predict"]
