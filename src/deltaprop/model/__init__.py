"""What a network is: layers, loss, θ and its views; trace, loss and gradient; input checks."""

from deltaprop.model.layers import Dense
from deltaprop.model.model import Model
from deltaprop.model.parameters import Gradient, Layout
from deltaprop.model.trace import Trace

__all__ = ["Dense", "Gradient", "Layout", "Model", "Trace"]
