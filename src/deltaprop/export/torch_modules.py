"""Networks as ``torch.nn.Sequential``, and back."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from deltaprop.derivation import equations
from deltaprop.errors import InputError
from deltaprop.export.assembly import Layer, activate_last, assembled, drop_last, network_in
from deltaprop.export.optional import imported
from deltaprop.network import Network

if TYPE_CHECKING:
    from deltaprop.functions.losses import Loss


def from_torch(module: Any, loss: str | Loss | None = None) -> Network:
    """The network that a ``torch.nn.Sequential`` of fully connected layers computes.

    Parameters
    ----------
    module : torch.nn.Sequential
        Of Linear, Dropout, Flatten and Identity layers, of other Sequential ones, and of the
        activations ReLU, LeakyReLU(0.01), ELU, SELU, GELU, SiLU, Mish, Softplus, Sigmoid, Tanh and
        Softmax.
    loss : str or Loss, optional
        The loss of the network. By default it suits the last activation: "cross_entropy" for
        Softmax, "binary_cross_entropy" for Sigmoid, and otherwise "squared_error".

    Returns
    -------
    Network
        In float64 if the module is, otherwise in float32.

    Raises
    ------
    ValueError
        If the module contains another layer; the message names it.

    Notes
    -----
    If the module returns logits, as ``torch.nn.CrossEntropyLoss`` takes them, append the
    activation: ``torch.nn.Sequential(module, torch.nn.Softmax(dim=1))``.

    Examples
    --------
    >>> import pytest; torch = pytest.importorskip("torch")
    >>> import deltaprop as dp
    >>> from torch import nn
    >>> dp.from_torch(nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3), nn.Softmax(dim=1)))
    Network(4 → 8 tanh → 3 softmax, loss='cross_entropy', l2=0, reduction='sum', 67 parameters)
    """
    layers: list[Layer] = []
    nn = imported("torch", "torch", "The conversion").nn
    for part in _parts(module, nn):
        _add(layers, part, nn)
    return assembled(layers, loss)


def to_torch(model: Any) -> Any:
    """A network as a ``torch.nn.Sequential``, which computes the same predictions.

    Parameters
    ----------
    model : Network, MLPClassifier or MLPRegressor
        Of an estimator, this is its network: a classifier of two classes returns the probability of
        the second one.

    Returns
    -------
    torch.nn.Sequential
        Of Linear layers, activations and Dropout, in evaluation mode, in the network's dtype.

    Raises
    ------
    ValueError
        If the network has a custom or trainable activation, or "mean_variance", which PyTorch does
        not have.

    Examples
    --------
    >>> import pytest; torch = pytest.importorskip("torch")
    >>> import deltaprop as dp
    >>> dp.to_torch(dp.Network(4, [dp.Dense(8, "tanh"), dp.Dense(1)], loss="squared_error"))
    Sequential(
      (0): Linear(in_features=4, out_features=8, bias=True)
      (1): Tanh()
      (2): Linear(in_features=8, out_features=1, bias=True)
    )
    """
    torch = imported("torch", "torch", "The conversion")
    net, parts = network_in(model), []
    V, _ = equations.in_effect(net.W, net.f, net.vectors)
    for l, layer in enumerate(net.layers):
        linear = torch.nn.Linear(*V[l].shape, dtype=getattr(torch, net.dtype.name))
        with torch.no_grad():
            linear.weight.copy_(torch.as_tensor(np.array(V[l].T)))
            linear.bias.copy_(torch.as_tensor(net.b[l].copy()))
        parts.append(linear)
        parts += _activation(layer, torch.nn)
        if layer.dropout:
            parts.append(torch.nn.Dropout(layer.dropout))
    return torch.nn.Sequential(*parts).eval()


# ---------------------------------------------------------------- the modules of PyTorch

MODULES: dict[str, Callable[[Any], Any]] = {
    "relu": lambda nn: nn.ReLU(),
    "leaky_relu": lambda nn: nn.LeakyReLU(0.01),
    "elu": lambda nn: nn.ELU(),
    "selu": lambda nn: nn.SELU(),
    "gelu": lambda nn: nn.GELU(),
    "gelu_tanh": lambda nn: nn.GELU(approximate="tanh"),
    "silu": lambda nn: nn.SiLU(),
    "mish": lambda nn: nn.Mish(),
    "softplus": lambda nn: nn.Softplus(),
    "logistic": lambda nn: nn.Sigmoid(),
    "tanh": lambda nn: nn.Tanh(),
    "softmax": lambda nn: nn.Softmax(dim=-1),
}
"""The module of each activation."""

SETTINGS = ("negative_slope", "alpha", "approximate", "beta")
"""The attributes of modules that change the function."""


def _parts(module: Any, nn: Any) -> list[Any]:
    """The modules inside nested Sequential ones, without those that change nothing."""
    if isinstance(module, nn.Sequential):
        return [part for inner in module for part in _parts(inner, nn)]
    without_effect = (nn.Identity, nn.Flatten)
    return [] if isinstance(module, without_effect) else [module]


def _add(layers: list[Layer], part: Any, nn: Any) -> None:
    if isinstance(part, nn.Linear):
        W = _array(part.weight).T
        b = np.zeros(W.shape[1], W.dtype) if part.bias is None else _array(part.bias)
        layers.append(Layer(W, b))
    elif isinstance(part, nn.Dropout):
        drop_last(layers, part.p)
    else:
        activate_last(layers, _name_of(part, nn), repr(part))


def _name_of(part: Any, nn: Any) -> str:
    """The activation that a module computes; InputError if it is none of ours."""
    for name, make in MODULES.items():
        known = make(nn)
        alike = type(part) is type(known) and all(
            getattr(part, s, None) == getattr(known, s, None) for s in SETTINGS
        )
        if alike and not (name == "softmax" and part.dim not in (1, -1)):
            return name
    raise InputError(
        f"The layer {part!r} cannot be converted; only Linear, Dropout, Flatten, Identity and "
        f"{', '.join(repr(make(nn)) for make in MODULES.values())} can. If a LogSoftmax is last, "
        "replace it by Softmax."
    )


def _array(tensor: Any) -> np.ndarray:
    values = tensor.detach().cpu()
    wide = values.dtype.itemsize == 8
    array: np.ndarray = (values if wide else values.float()).numpy()
    return array


def _activation(layer: Any, nn: Any) -> list[Any]:
    name = layer.activation.name
    if layer.trainable_activation or name not in (*MODULES, "identity"):
        what = "trainable " * layer.trainable_activation + name
        raise InputError(
            f"PyTorch has no module for the activation {what!r}; it has {', '.join(MODULES)}."
        )
    return [] if name == "identity" else [MODULES[name](nn)]
