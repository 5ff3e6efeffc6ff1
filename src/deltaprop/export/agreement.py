"""How closely an exported model agrees with the model, on given rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from deltaprop.data.frames import as_frame
from deltaprop.estimators.classifier import accuracy
from deltaprop.estimators.fitted import as_labels
from deltaprop.estimators.regressor import r2
from deltaprop.estimators.tabular import BaseTabular
from deltaprop.export.graph import DType
from deltaprop.export.optional import onnx_module
from deltaprop.export.table import cells, exported_columns
from deltaprop.network import Network


@dataclass(frozen=True)
class Agreement:
    """The outputs of a model and of its export, compared on the same rows.

    Attributes
    ----------
    n_rows : int
    largest_difference : float
        The largest absolute difference of a probability or of a predicted number.
    same_labels : float or None
        The fraction of predicted classes that are the same; None for numbers.
    score, exported_score : float or None
        The accuracy or R² of both, as the model's ``score`` computes it; None without a target, for
        networks and for several quantiles.
    """

    n_rows: int
    largest_difference: float
    same_labels: float | None = None
    score: float | None = None
    exported_score: float | None = None

    def __str__(self) -> str:
        what = "prediction" if self.same_labels is None else "probability"
        text = (
            f"On {self.n_rows:,} rows, the largest difference of a {what} is "
            f"{self.largest_difference:.2g}"
        )
        if self.same_labels is not None:
            text += f", and {self.same_labels:.4%} of the labels are the same"
        if self.score is not None and self.exported_score is not None:
            name = "R²" if self.same_labels is None else "accuracy"
            text += f". The {name} is {self.exported_score:.6g} instead of {self.score:.6g}"
        return f"{text}."


def compare(model: Any, file: bytes, X: Any, y: Any = None) -> Agreement:
    """Compare a model with its ONNX file, run by onnxruntime.

    Parameters
    ----------
    model : Network or estimator
    file : bytes
        The content of the ONNX file.
    X : array-like or table
        Rows as the model's ``predict`` takes them.
    y : array-like, optional
        Their target.
    """
    found = outputs(file, inputs_of(model, X, "float64"))
    ours = _numbers_of(model, X)
    if not hasattr(model, "classes_"):
        theirs = found[0].reshape(ours.shape)
        known = y is not None and not isinstance(model, Network) and _has_score(model)
        scores = [r2(np.asarray(y), z) if known else None for z in (ours, theirs)]
        return Agreement(len(ours), _difference(ours, theirs), None, *scores)
    labels = (model.predict(X), found[0])
    if y is not None and labels[0].ndim == 1:
        y = as_labels(y, model.classes_)
    scores = [None if y is None else accuracy(np.asarray(y), found) for found in labels]
    same = float((labels[0] == labels[1]).mean())
    return Agreement(len(ours), _difference(ours, found[1].reshape(ours.shape)), same, *scores)


def _difference(ours: np.ndarray, theirs: np.ndarray) -> float:
    return float(np.abs(ours - theirs).max())


def _numbers_of(model: Any, X: Any) -> np.ndarray:
    """The probabilities, margins or predictions for some rows."""
    if hasattr(model, "classes_"):
        margins = model.fitted_mlp()._gives_margins()
        return np.asarray(model._output(X) if margins else model.predict_proba(X))
    return np.asarray(model.predict(X))


def _has_score(model: Any) -> bool:
    return not model.fitted_mlp()._has_several_quantiles()


def inputs_of(model: Any, X: Any, dtype: DType = "float32") -> dict[str, np.ndarray]:
    """The inputs of an ONNX file for rows as the model's ``predict`` takes them.

    Parameters
    ----------
    model : Network or estimator
        The model that was exported.
    X : array-like or table
    dtype : {"float32", "float64", "float16"}, default="float32"
        As given to :func:`deltaprop.to_onnx`.

    Returns
    -------
    dict of str to ndarray
        What ``onnxruntime.InferenceSession.run`` takes.

    Examples
    --------
    >>> import deltaprop as dp
    >>> from deltaprop.export import inputs_of
    >>> X = {"size": [1.0, None, 3.0, 2.0], "colour": ["red", "blue", None, "red"]}
    >>> model = dp.TabularRegressor(cv=1, max_iter=2, random_state=0).fit(X, [1.0, 2.0, 3.0, 4.0])
    >>> {name: values.ravel().tolist() for name, values in inputs_of(model, X).items()}
    {'size': [1.0, nan, 3.0, 2.0], 'colour': ['red', 'blue', '', 'red']}
    """
    if not isinstance(model, BaseTabular):
        rows = X.toarray() if hasattr(X, "toarray") else X
        return {"X": np.asarray(rows, "float64" if dtype == "float64" else "float32")}
    frame = as_frame(X)
    return {c.name: cells(c, frame[c.name]) for c in exported_columns(model.encoder_)}


def outputs(file: bytes, feeds: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    """The outputs of an ONNX file; numbers are converted to the dtypes of its inputs."""
    session = onnx_module("onnxruntime").InferenceSession(file, providers=["CPUExecutionProvider"])
    dtypes = {"tensor(float)": np.float32, "tensor(double)": np.float64, "tensor(string)": object}
    given = {i.name: np.asarray(feeds[i.name], dtypes[i.type]) for i in session.get_inputs()}
    found: list[np.ndarray] = session.run(None, given)
    return found
