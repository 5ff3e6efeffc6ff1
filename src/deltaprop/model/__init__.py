"""The model: layers, θ and its views, trace, loss, gradient, and checks of the input."""

from deltaprop.model.layers import Dense, Periodic
from deltaprop.model.model import Model
from deltaprop.model.parameters import Gradient, Layout
from deltaprop.model.trace import Trace

__all__ = ["Dense", "Gradient", "Layout", "Model", "Periodic", "Trace"]
