"""The layers of a network."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np

from deltaprop.errors import InputError, InputTypeError
from deltaprop.functions import activations
from deltaprop.functions.activations import Activation
from deltaprop.functions.checks import is_int, is_real
from deltaprop.functions.initializers import draw_layer
from deltaprop.model.groups import Groups, check_groups

if TYPE_CHECKING:
    from jaxtyping import Float


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
    groups : pair of sequences of int, optional
        The group of each input, and the group of each unit. A unit is connected only with the
        inputs of its group: all other entries of W are 0 and are not trained. By default every unit
        is connected with every input.

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
    groups: Groups | None = None

    def __init__(
        self,
        units: int,
        activation: str | Activation = "identity",
        dropout: float = 0.0,
        *,
        input_scale: bool = False,
        trainable_activation: bool = False,
        groups: tuple[Iterable[int], Iterable[int]] | Groups | None = None,
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
        if groups is not None:
            object.__setattr__(self, "groups", check_groups(groups, self.units))

    def draw(
        self, scheme: str, rng: np.random.RandomState, D: int, activation: str
    ) -> tuple[Float[np.ndarray, "D H"], Float[np.ndarray, " H"], Float[np.ndarray, " H"]]:
        """Initial W, b and α for D inputs, by a scheme of :mod:`deltaprop.functions.initializers`.

        Each group of units is drawn as a layer of its own.
        """
        H = self.units
        if self.groups is None:
            return *draw_layer(scheme, rng, D, H, activation), np.ones(H)
        W, b = np.zeros((D, H)), np.zeros(H)
        inputs, units = map(np.array, self.groups)
        for group in np.unique(units):
            d, h = np.flatnonzero(inputs == group), np.flatnonzero(units == group)
            W[np.ix_(d, h)], b[h] = draw_layer(scheme, rng, len(d), len(h), activation)
        return W, b, np.ones(H)

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
        groups = "" if self.groups is None else f" in {self.groups.n_groups} groups"
        return f"{self.units} {self.activation.name}{further}{groups}"

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
            **({} if self.groups is None else {"groups": [list(each) for each in self.groups]}),
        }

    @classmethod
    def from_config(cls, config: Mapping[str, Any], custom: Mapping[str, Any]) -> Dense:
        """The layer that :meth:`config` describes; `custom` contains custom activations by name."""
        if "periodic" in config:
            return Periodic.of_units(config["units"], **config["periodic"])
        f = config["activation"]
        return cls(
            config["units"],
            custom.get(f, f),
            config["dropout"],
            input_scale=config.get("input_scale", False),
            trainable_activation=config.get("trainable_activation", False),
            groups=config.get("groups"),
        )


@dataclass(frozen=True)
class Periodic(Dense):
    """A first layer that adds periodic features of its inputs to them: cos(x_j w_jk + b_jk).

    Neural networks learn smooth functions of their inputs first. Cosines of some frequencies of a
    number, which are trained with the network, let them also learn functions that change quickly.

    It is a :class:`Dense` layer with ``groups`` and a trainable activation: the first D units pass
    the inputs on, a = x_d w_d + b_d with w_d = 1 and α = 0 at first, and the others start as
    cosines, with α = 1.

    Parameters
    ----------
    n_features : int
        D, the number of inputs.
    columns : sequence of int, optional
        The inputs that get periodic features. The default is all of them.
    frequencies : int, default=16
        The number of features of each of these inputs, at least 1.
    scale : float, default=0.1
        > 0. The standard deviation of the initial frequencies, w_jk / 2π, for inputs of about unit
        variance. b_jk starts uniform in [-π, π].

    References
    ----------
    Gorishniy, Rubachev and Babenko (2022), "On embeddings for numerical features in tabular deep
    learning", arXiv:2203.05556.
    Holzmüller, Grinsztajn and Steinwart (2024), arXiv:2407.04491, whose PBLD embedding is this
    layer followed by :meth:`mapped`.

    Examples
    --------
    >>> import deltaprop as dp
    >>> first = dp.Periodic(3, columns=[0, 2], frequencies=8)
    >>> layers = [first, first.mapped(4), dp.Dense(64, "silu"), dp.Dense(1)]
    >>> dp.Network(3, layers, loss="squared_error").W[0].shape
    (3, 19)
    """

    n_features: int = 0
    columns: tuple[int, ...] = ()
    frequencies: int = 0
    scale: float = 0.0

    def __init__(
        self,
        n_features: int,
        columns: Iterable[int] | None = None,
        frequencies: int = 16,
        scale: float = 0.1,
    ) -> None:
        D = check_positive_int("n_features of a Periodic layer", n_features)
        each = check_positive_int("frequencies of a Periodic layer", frequencies)
        chosen = tuple(range(D)) if columns is None else tuple(columns)
        if not all(is_int(j, 0) and j < D for j in chosen) or len({*chosen}) < len(chosen):
            raise InputError(
                f"columns of a Periodic layer must be different numbers of its {D} input(s), from "
                f"0 to {D - 1}; got {list(chosen)}."
            )
        if not is_real(scale) or not 0 < scale < float("inf"):
            raise InputError(f"scale of a Periodic layer must be a number > 0, got {scale!r}.")
        units = (*range(D), *(int(j) for j in chosen for _ in range(each)))
        super().__init__(len(units), "cos", trainable_activation=True, groups=(range(D), units))
        for name, value in (
            ("n_features", D), ("columns", tuple(map(int, chosen))), ("frequencies", each),
            ("scale", float(scale)),
        ):  # fmt: skip
            object.__setattr__(self, name, value)

    @classmethod
    def of_units(
        cls, units: int, n_features: int, columns: list[int], frequencies: int, scale: float
    ) -> Periodic:
        """The layer with these arguments, if it has so many units; nothing else is created."""
        if n_features + len(columns) * frequencies != units:
            raise InputError(f"a Periodic layer with these arguments does not have {units} unit(s)")
        return cls(n_features, columns, frequencies, scale)

    def mapped(self, units: int = 4, activation: str | Activation = "identity") -> Dense:
        """The layer after it that maps each of the columns and its features to a few units.

        Inputs without periodic features are passed on as one unit each.

        Parameters
        ----------
        units : int, default=4
            Units for each column, at least 1.
        activation : str or Activation, default="identity"

        Examples
        --------
        >>> import deltaprop as dp
        >>> dp.Periodic(3, columns=[0, 2], frequencies=8).mapped(4).units
        9
        """
        assert self.groups is not None
        count = check_positive_int("units", units)
        mapped = [
            d for d in range(self.n_features) for _ in range(count if d in self.columns else 1)
        ]
        return Dense(len(mapped), activation, groups=(self.groups.units, mapped))

    def draw(
        self, scheme: str, rng: np.random.RandomState, D: int, activation: str
    ) -> tuple[Float[np.ndarray, "D H"], Float[np.ndarray, " H"], Float[np.ndarray, " H"]]:
        """Initial W, b and α, whatever the scheme of the other layers."""
        W, b, alpha = np.zeros((D, self.units)), np.zeros(self.units), np.ones(self.units)
        W[:D, :D], alpha[:D] = np.eye(D), 0
        assert self.groups is not None
        for h, j in enumerate(self.groups.units[D:], D):
            W[j, h] = 2 * np.pi * self.scale * rng.standard_normal()
        b[D:] = rng.uniform(-np.pi, np.pi, self.units - D)
        return W, b, alpha

    def config(self) -> dict[str, Any]:
        """The arguments of the constructor as values that JSON can represent."""
        arguments = {
            "n_features": self.n_features, "columns": list(self.columns),
            "frequencies": self.frequencies, "scale": self.scale,
        }  # fmt: skip
        return {"units": self.units, "activation": "cos", "dropout": 0.0, "periodic": arguments}


def check_layers(n_features: int, layers: Iterable[Dense]) -> tuple[Dense, ...]:
    """The layers as a tuple of at least one :class:`Dense`, whose groups fit their inputs."""
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
    sizes = (n_features, *(layer.units for layer in checked))
    for l, (layer, D) in enumerate(zip(checked, sizes, strict=False)):
        if layer.groups is not None and len(layer.groups.inputs) != D:
            raise InputError(
                f"groups of layer {l} are for {len(layer.groups.inputs)} input(s), but it has {D}."
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
