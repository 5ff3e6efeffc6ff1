"""Converters for skl2onnx, so that pipelines of scikit-learn with our MLP estimators convert."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

from deltaprop.errors import InputError
from deltaprop.estimators.classifier import MLPClassifier
from deltaprop.estimators.regressor import MLPRegressor
from deltaprop.export.graph import DType, Graph
from deltaprop.export.optional import imported
from deltaprop.export.outputs import predict

OLDEST_OPSET = 13  # in which Softmax works row by row, and the axes of ReduceSum are an input


def register() -> None:
    """Register MLPClassifier and MLPRegressor with skl2onnx.

    After that, ``skl2onnx.to_onnx`` converts them, also in pipelines and inside estimators such as
    ``VotingClassifier``. The classifier has skl2onnx's option "zipmap": with True, which is
    skl2onnx's default, probabilities are dictionaries; with False a matrix; and with "columns" one
    output per class. For models for tables, use :func:`deltaprop.to_onnx`.

    Raises
    ------
    ImportError
        If skl2onnx is not installed.

    Examples
    --------
    >>> import pytest; skl2onnx = pytest.importorskip("skl2onnx")
    >>> import deltaprop as dp
    >>> from deltaprop.export import sklearn_onnx
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> X, y = load_iris(return_X_y=True)
    >>> mlp = dp.MLPClassifier(8, solver="lbfgs", random_state=0)
    >>> model = make_pipeline(StandardScaler(), mlp).fit(X, y)
    >>> sklearn_onnx.register()
    >>> onnx = skl2onnx.to_onnx(model, X[:1].astype("float32"), options={"zipmap": False})
    >>> [output.name for output in onnx.graph.output]
    ['label', 'probabilities']
    """
    update = imported("skl2onnx", "skl2onnx", "The converter").update_registered_converter
    update(
        MLPClassifier, "DeltapropMLPClassifier", _classifier_shapes, _convert,
        options={"zipmap": [True, False, "columns"], "nocl": [True, False]},
    )  # fmt: skip
    update(MLPRegressor, "DeltapropMLPRegressor", _regressor_shapes, _convert)


def _classifier_shapes(operator: Any) -> None:
    types = imported("skl2onnx.common.data_types", "skl2onnx", "The converter")
    model: MLPClassifier = operator.raw_operator
    if model._gives_margins():
        raise InputError(
            "skl2onnx needs probabilities, which an MLPClassifier with loss='hinge' does not give; "
            "use deltaprop.to_onnx, or another loss."
        )
    N, C = operator.inputs[0].get_first_dimension(), len(model.classes_)
    words = model.classes_.dtype.kind not in "biuf" and not _as_indices(operator)
    label = types.StringTensorType if words else types.Int64TensorType
    operator.outputs[0].set_type(label([N, C] if model.target_kind() == "labels" else [N]))
    operator.outputs[1].set_type(_number_type(operator)([N, C]))


def _regressor_shapes(operator: Any) -> None:
    model: MLPRegressor = operator.raw_operator
    columns = model.network_.n_outputs // (2 if model._is_gaussian() else 1)
    N = operator.inputs[0].get_first_dimension()
    operator.outputs[0].set_type(_number_type(operator)([N, columns]))


def _number_type(operator: Any) -> Any:
    """The type of numbers that are computed from the input: double only for double."""
    types = imported("skl2onnx.common.data_types", "skl2onnx", "The converter")
    is_double = isinstance(operator.inputs[0].type, types.DoubleTensorType)
    return types.DoubleTensorType if is_double else types.FloatTensorType


def _as_indices(operator: Any) -> bool:
    """Whether the output "label" is the index of the class: skl2onnx's option "nocl"."""
    return bool(operator.scope_inst.get_options(operator.raw_operator, {"nocl": False})["nocl"])


def _convert(scope: Any, operator: Any, container: Any) -> None:
    """Add the nodes of an estimator to those of a pipeline."""
    if container.target_opset < OLDEST_OPSET:
        raise InputError(
            f"deltaprop's estimators need target_opset >= {OLDEST_OPSET}, got "
            f"{container.target_opset}."
        )
    types = imported("skl2onnx.common.data_types", "skl2onnx", "The converter")
    dtype: DType = "float64" if _number_type(operator) is types.DoubleTensorType else "float32"
    graph = Graph(dtype)
    X = graph.input("X", dtype, operator.raw_operator.n_features_in_)
    model = operator.raw_operator
    if isinstance(model, MLPClassifier) and _as_indices(operator):
        model = copy.copy(model)
        model.classes_ = np.arange(len(model.classes_))
    predict(graph, model, X)
    onnx_graph = graph.model({}).graph
    names = {X: scope.get_unique_variable_name("X")}
    _cast(container, operator.inputs[0].full_name, names[X], operator.outputs[-1].type, scope)
    for tensor in onnx_graph.initializer:
        names[tensor.name] = scope.get_unique_variable_name(tensor.name)
        tensor.name = names[tensor.name]
        container.initializers.append(tensor)
    for node in onnx_graph.node:
        for output in node.output:
            names[output] = scope.get_unique_variable_name(output)
        container.add_node(
            node.op_type, [names[i] for i in node.input], [names[o] for o in node.output],
            op_domain=node.domain, name=scope.get_unique_operator_name(node.op_type),
            **_attributes(node),
        )  # fmt: skip
    for found, wanted in zip(graph.outputs, operator.outputs, strict=False):  # without std
        _cast(container, names[found], wanted.full_name, wanted.type, scope)


def _cast(container: Any, value: str, result: str, type: Any, scope: Any) -> None:
    """Convert a value to a type of skl2onnx."""
    types = imported("skl2onnx.common.data_types", "skl2onnx", "The converter")
    name = scope.get_unique_operator_name("Cast")
    if isinstance(type, types.StringTensorType):
        container.add_node("Identity", [value], [result], name=name)
        return
    guess = types.guess_proto_type(type)
    container.add_node("Cast", [value], [result], name=name, to=guess)


def _attributes(node: Any) -> dict[str, Any]:
    helper = imported("onnx.helper", "'deltaprop[onnx]'", "ONNX")
    return {a.name: helper.get_attribute_value(a) for a in node.attribute}
