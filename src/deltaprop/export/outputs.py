"""From the outputs of networks to predictions, as ONNX operators: :mod:`.models` lists them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from deltaprop.estimators.classifier import ORDINAL, MLPClassifier
from deltaprop.estimators.regressor import MLPRegressor
from deltaprop.estimators.tabular import BaseTabular
from deltaprop.estimators.tabular.decisions import cost_matrix
from deltaprop.export.graph import Graph, Value
from deltaprop.export.networks import network_output

if TYPE_CHECKING:
    from jaxtyping import Float


def predict(graph: Graph, model: Any, Z: Value) -> None:
    """Add the networks of an estimator for encoded rows Z, and the outputs of the graph."""
    of_table = isinstance(model, BaseTabular)
    mlp = model.mlp_ if of_table else model
    networks = model.networks_ if of_table else [model.fitted_network()]
    z = [
        network_output(graph, net, Z, f"_of_{i}" if len(networks) > 1 else "")
        for i, net in enumerate(networks)
    ]
    if isinstance(mlp, MLPClassifier):
        _classify(graph, model, mlp, _mean(graph, z))
    elif mlp._is_gaussian():
        _mean_and_std(graph, model, mlp, z)
    else:
        _unscaled(graph, model, _mean(graph, z), mlp.network_.n_outputs)


def number_dtype(graph: Graph) -> str:
    """The dtype of inputs and outputs: that of the networks, but not float16."""
    return "float64" if graph.dtype == "float64" else "float32"


def numbers(graph: Graph, value: Value, name: str, columns: int) -> None:
    """Add an output of numbers."""
    dtype = number_dtype(graph)
    graph.output(graph.cast(value, dtype) if dtype != graph.dtype else value, name, dtype, columns)


def _mean(graph: Graph, values: Sequence[Value]) -> Value:
    if len(values) == 1:
        return values[0]
    total = graph.op("Sum", *values)
    return graph.op("Div", total, graph.parameter(float(len(values)), "n_members"))


# ---------------------------------------------------------------- numbers


def _unscaled(graph: Graph, model: Any, value: Value, columns: int) -> None:
    """The output "prediction", on the scale of the target."""
    if not isinstance(model, BaseTabular):
        numbers(graph, value, "prediction", columns)
        return
    mean, scale = (_of_columns(ends, columns) for ends in (model.y_mean_, model.y_scale_))
    scaled = graph.op(
        "Mul", graph.cast(value, "float64"), graph.constant(scale, np.float64, "y_scale")
    )
    shifted = graph.op("Add", scaled, graph.constant(mean, np.float64, "y_mean"))
    graph.output(shifted, "prediction", "float64", columns)


def _of_columns(values: Any, columns: int) -> np.ndarray:
    """Numbers of targets as numbers of columns; a target may have several quantiles."""
    return np.repeat(np.atleast_1d(values), columns // np.size(values))


def _mean_and_std(graph: Graph, model: Any, mlp: MLPRegressor, z: Sequence[Value]) -> None:
    """The mean and the standard deviation of the mixture of the members' Gaussians."""
    half = mlp.network_.n_outputs // 2
    means = [graph.columns(value, range(half)) for value in z]
    center = _mean(graph, means)
    variance = _mean(graph, [graph.columns(value, range(half, 2 * half)) for value in z])
    if len(z) > 1:
        away = [graph.op("Sub", value, center) for value in means]
        spread = _mean(graph, [graph.op("Mul", value, value) for value in away])
        variance = graph.op("Add", variance, spread)
    std = graph.op("Sqrt", variance)
    _unscaled(graph, model, center, half)
    if isinstance(model, BaseTabular):
        scale = graph.constant(_of_columns(model.y_scale_, half), np.float64, "y_scale")
        std = graph.op("Mul", graph.cast(std, "float64"), scale)
        graph.output(std, "std", "float64", half)
    else:
        numbers(graph, std, "std", half)


# ---------------------------------------------------------------- classes


def _classify(graph: Graph, model: Any, mlp: MLPClassifier, z: Value) -> None:
    """The outputs "label" and "probabilities", or "margins"."""
    H, margins = mlp.network_.n_outputs, mlp._gives_margins()
    scores = z if margins else _probabilities(graph, mlp, z)
    if mlp.target_kind() == "labels":
        threshold = 0.0 if margins else getattr(model, "threshold_", 0.5)
        graph.output(graph.cast(_exceeds(graph, z, threshold), "int64"), "label", "int64", H)
    else:
        classes = _stored(mlp.classes_)
        index = _index(graph, model, mlp, scores)
        label = graph.op("Gather", graph.constant(classes, name="classes"), index, axis=0)
        graph.output(label, "label", DTYPES[classes.dtype.kind], None)
    name, columns = ("margins", H) if margins else ("probabilities", len(mlp.classes_))
    numbers(graph, scores, name, columns)


def _probabilities(graph: Graph, mlp: MLPClassifier, z: Value) -> Value:
    """`MLPClassifier.probabilities`."""
    if mlp._kind == ORDINAL:
        return _of_ordered_classes(graph, z, mlp.network_.n_outputs)
    if mlp.network_.n_outputs > 1 or mlp.target_kind() == "labels":
        return z
    one = graph.parameter(1.0, "one")
    if len(mlp.classes_) == 1:
        return graph.op("Add", graph.op("Mul", z, graph.parameter(0.0, "zero")), one)
    return graph.concat(graph.op("Sub", one, z), z)


def _of_ordered_classes(graph: Graph, z: Value, H: int) -> Value:
    """The probabilities of H + 1 classes from those that the class is larger than each of H."""
    above, found = graph.parameter(1.0, "one"), []
    for h in range(H):
        larger = graph.op("Min", above, graph.columns(z, [h]))
        found.append(graph.op("Sub", above, larger))
        above = larger
    return graph.concat(*found, above)


def _index(graph: Graph, model: Any, mlp: MLPClassifier, scores: Value) -> Value:
    """The index of the predicted class of each row, (N,)."""
    C, of_table = len(mlp.classes_), isinstance(model, BaseTabular)
    if C == 1:
        return _above(graph, scores, np.inf)
    if mlp._gives_margins() and C == 2:
        return _above(graph, scores, 0.0)
    if of_table and C == 2:
        return _above(graph, graph.columns(scores, [1]), model.threshold_)
    if of_table and model.cost is not None:
        return _cheapest(graph, scores, cost_matrix(model.cost, C))
    return graph.op("ArgMax", scores, axis=1, keepdims=0)


def _above(graph: Graph, scores: Value, threshold: float) -> Value:
    """1 where the score of the second class exceeds a threshold, else 0."""
    found = graph.cast(_exceeds(graph, scores, threshold), "int64")
    return graph.op("Reshape", found, graph.constant([-1], np.int64))


def _exceeds(graph: Graph, scores: Value, threshold: Any) -> Value:
    limits = graph.constant(np.atleast_1d(threshold), np.float64, "threshold")
    return graph.op("Greater", graph.cast(scores, "float64"), limits)


def _cheapest(graph: Graph, scores: Value, cost: Float[np.ndarray, "C C"]) -> Value:
    """The class j with the least Σ_i p_i cost[i, j]."""
    P = graph.op("Unsqueeze", graph.cast(scores, "float64"), graph.constant([1], np.int64))
    summands = graph.op("Mul", P, graph.constant(cost.T[None], np.float64, "cost"))
    costs = graph.op("ReduceSum", summands, graph.constant([2], np.int64), keepdims=0)
    return graph.op("ArgMin", costs, axis=1, keepdims=0)


DTYPES = {"U": "string", "b": "bool", "i": "int64", "f": "float64"}
"""The dtypes of labels, by the kinds of NumPy's dtypes."""


def _stored(classes: np.ndarray) -> np.ndarray:
    """Class labels in a dtype of ONNX: strings, bool, int64 or float64."""
    if classes.dtype.kind in "iu":
        return classes.astype(np.int64)
    if classes.dtype.kind == "f":
        return classes.astype(np.float64)
    return classes if classes.dtype.kind == "b" else classes.astype(str)
