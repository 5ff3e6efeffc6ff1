"""Activations as ONNX operators."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from deltaprop.errors import InputError
from deltaprop.export.graph import Graph, Value
from deltaprop.functions.activations import (
    GELU_TANH_CUBE,
    GELU_TANH_SCALE,
    SELU_ALPHA,
    SELU_SCALE,
    Activation,
)

OPERATORS: dict[str, tuple[str, dict[str, Any]]] = {
    "identity": ("Identity", {}),
    "relu": ("Relu", {}),
    "leaky_relu": ("LeakyRelu", {"alpha": 0.01}),
    "elu": ("Elu", {"alpha": 1.0}),
    "selu": ("Selu", {"alpha": SELU_ALPHA, "gamma": SELU_SCALE}),
    "softplus": ("Softplus", {}),
    "logistic": ("Sigmoid", {}),
    "tanh": ("Tanh", {}),
    "cos": ("Cos", {}),
    "exp": ("Exp", {}),
    "softmax": ("Softmax", {"axis": -1}),
}
"""The activations that are one operator, and its attributes."""


SINGLE = ("leaky_relu", "elu", "selu", "softplus", "gelu", "mish")
"""The activations whose operators onnxruntime does not have in float64; float32 replaces it."""


def activated(graph: Graph, f: Activation, a: Value, H: int) -> Value:
    """f(a) of H units.

    Raises
    ------
    InputError
        If f is a custom activation.
    """
    if not f.is_builtin or f.name not in OPERATORS | COMPOSED:
        raise InputError(
            f"The activation {f.name!r} cannot be exported, because ONNX knows only built-in ones: "
            f"{', '.join([*OPERATORS, *COMPOSED])}."
        )
    if f.name == "identity":
        return a
    if graph.dtype == "float64" and f.name in SINGLE:
        narrow = graph.cast(a, "float32")
        with graph.computed_in("float32"):
            z = _operators(graph, f, narrow, H)
        return graph.cast(z, "float64")
    return _operators(graph, f, a, H)


def _operators(graph: Graph, f: Activation, a: Value, H: int) -> Value:
    if f.name in COMPOSED:
        return COMPOSED[f.name](graph, a, H)
    kind, attributes = OPERATORS[f.name]
    return graph.op(kind, a, **attributes)


def _gelu(graph: Graph, a: Value, H: int) -> Value:
    """½ a (1 + erf(a / √2))"""
    scaled = graph.op("Mul", a, graph.parameter(1 / math.sqrt(2), "inverse_root"))
    return _half(graph, a, graph.op("Erf", scaled))


def _gelu_tanh(graph: Graph, a: Value, H: int) -> Value:
    """½ a (1 + tanh(√(2/π) a (1 + 0.044715 a²)))"""
    cube = graph.op("Mul", graph.op("Mul", a, a), graph.parameter(GELU_TANH_CUBE, "cube"))
    inner = graph.op("Mul", a, graph.op("Add", cube, graph.parameter(1.0, "one")))
    scaled = graph.op("Mul", inner, graph.parameter(GELU_TANH_SCALE, "scale"))
    return _half(graph, a, graph.op("Tanh", scaled))


def _half(graph: Graph, a: Value, u: Value) -> Value:
    """½ a (1 + u)"""
    total = graph.op("Add", u, graph.parameter(1.0, "one"))
    return graph.op("Mul", graph.op("Mul", a, graph.parameter(0.5, "half")), total)


def _silu(graph: Graph, a: Value, H: int) -> Value:
    return graph.op("Mul", a, graph.op("Sigmoid", a))


def _mish(graph: Graph, a: Value, H: int) -> Value:
    return graph.op("Mul", a, graph.op("Tanh", graph.op("Softplus", a)))


def _mean_variance(graph: Graph, a: Value, H: int) -> Value:
    means, logarithms = (graph.columns(a, range(*ends)) for ends in ((0, H // 2), (H // 2, H)))
    return graph.concat(means, graph.op("Exp", logarithms))


COMPOSED: dict[str, Callable[[Graph, Value, int], Value]] = {
    "gelu": _gelu,
    "gelu_tanh": _gelu_tanh,
    "silu": _silu,
    "mish": _mish,
    "mean_variance": _mean_variance,
}
"""The activations that several operators compute."""
