"""Networks from ``keras.Sequential``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from deltaprop.errors import InputError
from deltaprop.export.assembly import Layer, activate_last, assembled, drop_last
from deltaprop.network import Network

if TYPE_CHECKING:
    from deltaprop.functions.losses import Loss

ACTIVATIONS = {
    "relu": "relu", "elu": "elu", "selu": "selu", "gelu": "gelu", "silu": "silu", "mish": "mish",
    "softplus": "softplus", "sigmoid": "logistic", "tanh": "tanh", "exponential": "exp",
    "softmax": "softmax",
}  # fmt: skip
"""The activations by the names that Keras gives them."""

WITHOUT_EFFECT = ("InputLayer", "Flatten", "Identity")


def from_keras(model: Any, loss: str | Loss | None = None) -> Network:
    """The network that a Keras model of fully connected layers computes.

    Parameters
    ----------
    model : keras.Sequential, or a functional model whose layers follow each other
        Of Dense, Dropout, Activation, ReLU, ELU, Softmax, Flatten and Identity layers. The
        activations may be linear, relu, elu, selu, gelu, silu, mish, softplus, sigmoid, tanh,
        exponential and softmax; leaky_relu is another function in Keras than in deltaprop.
    loss : str or Loss, optional
        The loss of the network. By default it suits the last activation: "cross_entropy" for
        softmax, "binary_cross_entropy" for sigmoid, "poisson" for exponential, and otherwise
        "squared_error".

    Returns
    -------
    Network
        In float64 if the model is, otherwise in float32.

    Raises
    ------
    ValueError
        If the model contains another layer; the message names it.

    Notes
    -----
    If the model returns logits, append the activation: ``keras.layers.Softmax()``.

    Examples
    --------
    >>> import pytest; keras = pytest.importorskip("keras")
    >>> import deltaprop as dp
    >>> layers = keras.layers
    >>> model = keras.Sequential([
    ...     layers.Input((4,)), layers.Dense(8, "tanh"), layers.Dense(3, "softmax")])
    >>> dp.from_keras(model)
    Network(4 → 8 tanh → 3 softmax, loss='cross_entropy', l2=0, reduction='sum', 67 parameters)
    """
    layers: list[Layer] = []
    for part in _in_order(model):
        _add(layers, part)
    return assembled(layers, loss)


def _in_order(model: Any) -> list[Any]:
    """The layers of a model, which must follow each other."""
    parts = [part for part in model.layers if type(part).__name__ not in WITHOUT_EFFECT]
    nodes = [node for part in model.layers for node in getattr(part, "_inbound_nodes", [])]
    branches = any(len(getattr(node, "parent_nodes", [])) > 1 for node in nodes)
    if branches:
        raise InputError("The layers of the model do not follow each other: one has two inputs.")
    return [inner for part in parts for inner in (_in_order(part) if _is_model(part) else [part])]


def _is_model(part: Any) -> bool:
    return hasattr(part, "layers")


def _add(layers: list[Layer], part: Any) -> None:
    kind, settings = type(part).__name__, part.get_config()
    if kind == "Dense":
        W, *rest = (_wide(weights) for weights in part.get_weights())
        layers.append(Layer(W, rest[0] if rest else np.zeros(W.shape[1], W.dtype)))
        if settings["activation"] != "linear":
            activate_last(layers, _name_of(settings["activation"]), part.name)
    elif kind == "Dropout":
        drop_last(layers, settings["rate"])
    elif kind == "Activation":
        if settings["activation"] != "linear":
            activate_last(layers, _name_of(settings["activation"]), part.name)
    elif _is_plain(kind, settings):
        activate_last(layers, _name_of(kind.lower()), part.name)
    else:
        raise InputError(
            f"The layer {part.name!r}, a {kind}, cannot be converted; only Dense, Dropout, "
            "Activation, ReLU, ELU, Softmax, Flatten and Identity can, with their default settings."
        )


def _is_plain(kind: str, settings: dict[str, Any]) -> bool:
    """Whether this is a layer of an activation, with default settings."""
    if kind == "ReLU":
        changes = settings["max_value"], settings["negative_slope"], settings["threshold"]
        return not any(changes)
    if kind == "ELU":
        return bool(settings["alpha"] == 1.0)
    return kind == "Softmax" and settings["axis"] in (-1, 1)


def _name_of(activation: Any) -> str:
    if not isinstance(activation, str) or activation not in ACTIVATIONS:
        raise InputError(
            f"The activation {activation!r} cannot be converted; only linear, "
            f"{', '.join(ACTIVATIONS)} can."
        )
    return ACTIVATIONS[activation]


def _wide(weights: Any) -> np.ndarray:
    """Weights in float32, or in float64 if they are."""
    array = np.asarray(weights)
    return array if array.dtype == np.float64 else array.astype(np.float32)
