"""From the outputs of networks to predictions, as ONNX operators.

==============================================  ==========================================
model                                           outputs
==============================================  ==========================================
Network                                         prediction
classifier                                      label, probabilities
classifier of several labels per row            label (an indicator matrix), probabilities
classifier with loss="hinge"                    label, margins
regressor                                       prediction
regressor with loss="gaussian_nll"              prediction, std
==============================================  ==========================================
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from deltaprop.estimators.classifier import MLPClassifier
from deltaprop.estimators.regressor import MLPRegressor
from deltaprop.estimators.tabular import BaseTabular
from deltaprop.estimators.tabular.decisions import cost_matrix
from deltaprop.export.graph import Graph, Value
from deltaprop.export.networks import network_output


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
    H, C, margins = mlp.network_.n_outputs, len(mlp.classes_), mlp._gives_margins()
    several = mlp.target_kind() == "labels"
    scores = z
    if C == 1:
        one = graph.parameter(1.0, "one")
        scores = graph.op("Add", graph.op("Mul", z, graph.parameter(0.0, "zero")), one)
    elif H == 1 and not margins and not several:
        rest = graph.op("Sub", graph.parameter(1.0, "one"), z)
        scores = graph.concat(rest, z)
    threshold = _threshold(model, mlp)
    if several:
        label = graph.cast(_exceeds(graph, z, threshold), "int64")
        graph.output(label, "label", "int64", H)
    else:
        graph.output(_class_of(graph, model, mlp, scores, threshold), "label", *_labels(mlp))
    columns = C if not margins else H
    numbers(graph, scores, "margins" if margins else "probabilities", columns)


def _threshold(model: Any, mlp: MLPClassifier) -> Any:
    """What the score of the positive class, or of each label, must exceed; None to compare all."""
    if mlp._gives_margins():
        return 0.0 if mlp.network_.n_outputs == 1 or mlp.target_kind() == "labels" else None
    if isinstance(model, BaseTabular):
        return model.threshold_ if mlp.target_kind() == "labels" or _is_pair(mlp) else None
    return 0.5 if mlp.network_.n_outputs == 1 or mlp.target_kind() == "labels" else None


def _is_pair(mlp: MLPClassifier) -> bool:
    return len(mlp.classes_) == 2


def _exceeds(graph: Graph, scores: Value, threshold: Any) -> Value:
    limits = graph.constant(np.atleast_1d(threshold), np.float64, "threshold")
    return graph.op("Greater", graph.cast(scores, "float64"), limits)


def _class_of(graph: Graph, model: Any, mlp: MLPClassifier, scores: Value, threshold: Any) -> Value:
    """The predicted class of each row, (N,)."""
    C = len(mlp.classes_)
    if C == 1:
        threshold = np.inf
    if threshold is not None:
        width = 1 if C == 1 or mlp._gives_margins() else 2
        positive = _exceeds(graph, graph.columns(scores, [width - 1]), threshold)
        index = graph.op("Reshape", graph.cast(positive, "int64"), graph.constant([-1], np.int64))
    elif getattr(model, "cost", None) is not None:
        cost = graph.constant(cost_matrix(model.cost, C).T[None], np.float64, "cost")
        wide = graph.op("Unsqueeze", graph.cast(scores, "float64"), graph.constant([1], np.int64))
        costs = graph.op(
            "ReduceSum", graph.op("Mul", wide, cost), graph.constant([2], np.int64), keepdims=0
        )
        index = graph.op("ArgMin", costs, axis=1, keepdims=0)
    else:
        index = graph.op("ArgMax", scores, axis=1, keepdims=0)
    return graph.op("Gather", graph.constant(_stored(mlp.classes_), name="classes"), index, axis=0)


def _labels(mlp: MLPClassifier) -> tuple[str, None]:
    """The dtype and the number of columns of the output "label"."""
    kind = _stored(mlp.classes_).dtype.kind
    return {"O": "string", "U": "string", "b": "bool", "i": "int64", "f": "float64"}[kind], None


def _stored(classes: np.ndarray) -> np.ndarray:
    """Class labels in a dtype of ONNX: strings, bool, int64 or float64."""
    if classes.dtype.kind in "iu":
        return classes.astype(np.int64)
    if classes.dtype.kind == "f":
        return classes.astype(np.float64)
    return classes if classes.dtype.kind == "b" else classes.astype(str)
