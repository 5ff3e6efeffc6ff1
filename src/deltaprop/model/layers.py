"""The layers of a network."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
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

    Two further vectors can be trained with W and b. Both start at ones, at which the layer computes
    what it computes without them.

    Parameters
    ----------
    units : int
        H, the number of outputs, at least 1.
    activation : str or Activation, default="identity"
        f: a name from ``deltaprop.activations.NAMES``, or a custom activation.
    dropout : float, default=0.0
        Fraction of the outputs of this layer that each training step sets to zero, in [0, 1).
    input_scale : bool, default=False
        Whether to train a factor r of each input, a = (X ⊙ r) W + b. As a first layer, it learns
        which inputs matter (Holzmüller et al. 2024, arXiv:2407.04491, section 3.2).
    trainable_activation : bool, default=False
        Whether to train how much of f each unit uses, a + α ⊙ (f(a) - a). Not in the last layer of
        a network.

    Raises
    ------
    ValueError
        If an argument is out of range.

    Examples
    --------
    >>> import deltaprop as dp
    >>> dp.Dense(10, "tanh").activation
    Activation('tanh')
    >>> net = dp.Network(
    ...     3, [dp.Dense(4, "silu", input_scale=True, trainable_activation=True), dp.Dense(1)],
    ...     loss="squared_error", seed=0,
    ... )
    >>> net.r[0], net.alpha[0]
    (array([1., 1., 1.]), array([1., 1., 1., 1.]))
    >>> net.r[1] is None
    True
    """

    units: int
    activation: Activation
    dropout: float
    input_scale: bool = False  # the default of layers that were pickled before it existed
    trainable_activation: bool = False

    def __init__(
        self,
        units: int,
        activation: str | Activation = "identity",
        dropout: float = 0.0,
        *,
        input_scale: bool = False,
        trainable_activation: bool = False,
    ) -> None:
        if not isinstance(dropout, Real) or not 0 <= float(dropout) < 1:
            raise InputError(f"dropout must be a number in [0, 1), got {dropout!r}.")
        object.__setattr__(self, "units", check_positive_int("units of a Dense layer", units))
        object.__setattr__(self, "activation", activations.get(activation))
        object.__setattr__(self, "dropout", float(dropout))
        object.__setattr__(self, "input_scale", _check_bool("input_scale", input_scale))
        object.__setattr__(
            self,
            "trainable_activation",
            _check_bool("trainable_activation", trainable_activation),
        )

    @property
    def description(self) -> str:
        """The number of units, the activation, and the vectors that are trained besides W and b.

        Examples
        --------
        >>> import deltaprop as dp
        >>> dp.Dense(10, "silu", trainable_activation=True).description
        '10 silu with α'
        """
        vectors = ["r"] * self.input_scale + ["α"] * self.trainable_activation
        further = f" with {' and '.join(vectors)}" if vectors else ""
        return f"{self.units} {self.activation.name}{further}"

    def config(self) -> dict[str, Any]:
        """The arguments of the constructor as values that JSON can represent.

        Options that are off are left out, so that files of networks without them stay the same.
        """
        options = ("input_scale", "trainable_activation")
        return {
            "units": self.units,
            "activation": self.activation.name,
            "dropout": self.dropout,
            **{name: True for name in options if getattr(self, name)},
        }

    @classmethod
    def from_config(cls, config: Mapping[str, Any], custom: Mapping[str, Any]) -> Dense:
        """The layer that :meth:`config` describes; `custom` contains custom activations by name."""
        f = config["activation"]
        return cls(
            config["units"],
            custom.get(f, f),
            config["dropout"],
            input_scale=config.get("input_scale", False),
            trainable_activation=config.get("trainable_activation", False),
        )


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
    if checked[-1].trainable_activation:
        raise InputError(
            "trainable_activation of the last layer must be False, because losses expect the "
            "outputs of its activation. Use it in hidden layers."
        )
    return checked


def _check_bool(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise InputError(f"{name} of a Dense layer must be True or False, got {value!r}.")
    return value


def check_positive_int(name: str, value: Any) -> int:
    """`value` as an int of at least 1; `name` is used in the error message."""
    if not is_int(value, 1):
        raise InputError(f"{name} must be an int >= 1, got {value!r}.")
    return int(value)
