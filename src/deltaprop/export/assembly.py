"""A network of the layers that another library describes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from deltaprop.errors import InputError
from deltaprop.functions.activations import Activation
from deltaprop.functions.losses import Loss
from deltaprop.network import Dense, Network

if TYPE_CHECKING:
    from jaxtyping import Float

LOSSES = {
    "logistic": "binary_cross_entropy",
    "softmax": "cross_entropy",
    "exp": "poisson",
    "mean_variance": "gaussian_nll",
}
"""The loss that suits an activation of the output layer; for others, the squared error."""


@dataclass
class Layer:
    """A fully connected layer of another library, X W + b, then f and dropout."""

    W: Float[np.ndarray, "D H"]
    b: Float[np.ndarray, " H"]
    f: str | Activation | None = None
    dropout: float = 0.0


def assembled(layers: Sequence[Layer], loss: str | Loss | None, **settings: Any) -> Network:
    """The network of these layers, with further settings of :class:`Network`.

    Raises
    ------
    InputError
        If there is no layer, or if the loss does not suit them.
    """
    if not layers:
        raise InputError("The model has no fully connected layer.")
    dense = [Dense(len(layer.b), layer.f or "identity", layer.dropout) for layer in layers]
    if loss is None:
        loss = LOSSES.get(dense[-1].activation.name, "squared_error")
    wide = any(layer.W.dtype == np.float64 for layer in layers)
    dtype = "float64" if wide else "float32"
    net = Network(len(layers[0].W), dense, loss=loss, dtype=dtype, seed=0, **settings)
    for l, layer in enumerate(layers):
        net.W[l][...], net.b[l][...] = layer.W, layer.b
    return net


def activate_last(layers: Sequence[Layer], f: str, what: str) -> None:
    """Let f follow the last layer; InputError if it has an activation, or if there is no layer."""
    if not layers or layers[-1].f is not None or layers[-1].dropout:
        raise InputError(
            f"{what} does not follow a fully connected layer. Only fully connected layers, each "
            "with an activation and dropout behind it, can be converted."
        )
    layers[-1].f = f


def drop_last(layers: Sequence[Layer], p: float) -> None:
    """Let dropout follow the last layer; InputError if there is none."""
    if not layers or layers[-1].dropout:
        raise InputError(
            "Dropout of the input cannot be converted; only dropout behind a layer can. Remove it: "
            "it has no effect on predictions."
        )
    layers[-1].dropout = float(p)


def network_in(model: Any) -> Network:
    """The network of a Network or fitted MLP estimator.

    Raises
    ------
    InputError
        If it is another model.
    """
    from deltaprop.estimators._base import BaseMLP

    if isinstance(model, Network):
        return model
    if isinstance(model, BaseMLP):
        return model.fitted_network()
    raise InputError(
        f"model must be a Network, MLPClassifier or MLPRegressor, got {type(model).__name__}. Of a "
        "model for tables, convert the networks, model.networks_: they take the rows that "
        "model.encoder_.transform(X) returns."
    )
