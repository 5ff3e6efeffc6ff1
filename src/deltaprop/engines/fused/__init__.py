"""The fused engine: many steps in one compiled call, threads sharing the work of each."""

from deltaprop.engines.fused.engine import FusedEngine, loss_and_gradient, unsupported
from deltaprop.engines.fused.prediction import Predictor

__all__ = ["FusedEngine", "Predictor", "loss_and_gradient", "unsupported"]
