"""A model as an ONNX graph: its inputs, its networks and its outputs.

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

import json
from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from deltaprop._version import __version__
from deltaprop.errors import InputTypeError
from deltaprop.estimators._base import BaseMLP
from deltaprop.estimators.tabular import BaseTabular
from deltaprop.export.graph import DType, Graph, Value
from deltaprop.export.networks import network_output
from deltaprop.export.outputs import number_dtype, numbers, predict
from deltaprop.export.table import encoded_table, exported_columns
from deltaprop.network import Network

KINDS = "a Network, MLPClassifier, MLPRegressor, TabularClassifier or TabularRegressor"
HINTS = {
    "Pipeline": " Convert a Pipeline with skl2onnx, after "
    "deltaprop.export.sklearn_onnx.register().",
    **dict.fromkeys(
        ("MultiOutputClassifier", "MultiOutputRegressor"),
        " It contains one model for each target: export each of its estimators_.",
    ),
}


def graph_of(model: Any, dtype: DType) -> Graph:
    """The graph of a model.

    Raises
    ------
    InputError
        If ONNX operators cannot express a column or an activation.
    InputTypeError
        If it is no model.
    NotFittedError
        If it is not fitted.
    """
    graph = Graph(dtype)
    if isinstance(model, Network):
        X = graph.input("X", number_dtype(graph), model.n_features)
        z = network_output(graph, model, _in_dtype(graph, X))
        numbers(graph, z, "prediction", model.n_outputs)
        return graph
    if not isinstance(model, (BaseMLP, BaseTabular)):
        kind = type(model).__name__
        raise InputTypeError(f"model must be {KINDS}, got {kind}.{HINTS.get(kind, '')}")
    check_is_fitted(model)
    if isinstance(model, BaseTabular):
        Z = graph.cast(encoded_table(graph, model.encoder_), dtype)
    else:
        Z = _in_dtype(graph, graph.input("X", number_dtype(graph), model.n_features_in_))
    predict(graph, model, Z)
    return graph


def metadata_of(model: Any) -> dict[str, str]:
    """What the file says about the model: names, classes, versions."""
    facts: dict[str, Any] = {"deltaprop": __version__, "kind": type(model).__name__}
    if isinstance(model, BaseTabular):
        facts["columns"] = {c.name: c.kind for c in exported_columns(model.encoder_)}
        facts["target"] = model.target_name_
        facts["members"] = len(model.members_)
    elif (names := getattr(model, "feature_names_in_", None)) is not None:
        facts["features"] = [str(name) for name in names]
    if hasattr(model, "classes_"):
        facts["classes"] = np.asarray(model.classes_).tolist()
    return {
        name: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        for name, value in facts.items()
        if value is not None
    }


def _in_dtype(graph: Graph, X: Value) -> Value:
    return graph.cast(X, "float16") if graph.dtype == "float16" else X
