"""The layers of a network."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from numbers import Real
from typing import Any

from deltaprop.errors import InputError, InputTypeError
from deltaprop.functions import activations
from deltaprop.functions.activations import Activation
from deltaprop.functions.checks import is_int


@dataclass(frozen=True)
class Dense:
    """A fully connected layer: a = X W + b, then f(a).

    Parameters
    ----------
    units : int
        H, the number of outputs, at least 1.
    activation : str or Activation, default="identity"
        f: a name from ``deltaprop.activations.NAMES``, or a custom activation.
    dropout : float, default=0.0
        Fraction of the outputs of this layer that each training step sets to zero, in [0, 1).

    Examples
    --------
    >>> import deltaprop as dp
    >>> dp.Dense(10, "tanh").activation
    Activation('tanh')
    """

    units: int
    activation: Activation
    dropout: float

    def __init__(
        self, units: int, activation: str | Activation = "identity", dropout: float = 0.0
    ) -> None:
        if not isinstance(dropout, Real) or not 0 <= float(dropout) < 1:
            raise InputError(f"dropout must be a number in [0, 1), got {dropout!r}.")
        object.__setattr__(self, "units", check_positive_int("units of a Dense layer", units))
        object.__setattr__(self, "activation", activations.get(activation))
        object.__setattr__(self, "dropout", float(dropout))


def check_layers(layers: Iterable[Dense]) -> tuple[Dense, ...]:
    """The layers as a tuple of at least one :class:`Dense`."""
    checked = tuple(layers) if isinstance(layers, Iterable) else ()
    if not checked or not all(isinstance(layer, Dense) for layer in checked):
        raise InputTypeError(
            f"layers must be one or more deltaprop.Dense, got {layers!r}. "
            "Write, for example, [dp.Dense(10, 'tanh'), dp.Dense(1)]."
        )
    if checked[-1].dropout:
        raise InputError(
            "dropout of the last layer must be 0, because it would drop outputs of the network; "
            f"got {checked[-1].dropout}."
        )
    return checked


def check_positive_int(name: str, value: Any) -> int:
    """`value` as an int of at least 1; `name` is used in the error message."""
    if not is_int(value, 1):
        raise InputError(f"{name} must be an int >= 1, got {value!r}.")
    return int(value)
