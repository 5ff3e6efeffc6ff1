"""The kinds of models that can be served."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pandas as pd
from sklearn.base import is_classifier

from deltaprop.data.predicting import columns_of_classes, columns_of_numbers, predicted_columns
from deltaprop.errors import raised_as_input_error
from deltaprop.estimators.tabular import BaseTabular
from deltaprop.files import ModelFileError
from deltaprop.inspect.opening import split_pipeline
from deltaprop.network import Network
from deltaprop.serving.fields import Field, fields_of, missing_values, number_field

Columns = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Asked:
    """What a request asks for besides the predictions.

    Attributes
    ----------
    proba : bool
        The probability of each class.
    interval : float or None
        The ends of an interval that contains the target with this probability.
    """

    proba: bool = False
    interval: float | None = None


class Predictor(Protocol):
    """A fitted model, for columns that its fields have read."""

    fields: list[Field]
    target: str
    gives_probabilities: bool
    gives_intervals: bool

    def predict(self, columns: Columns, asked: Asked) -> dict[str, np.ndarray]:
        """The predicted columns."""


def predictor_of(model: Any, path: str) -> Predictor:
    """The predictor for a model that was read from a file.

    Raises
    ------
    ModelFileError
        If it is a network, whose inputs and outputs have no names.
    """
    if isinstance(model, Network):
        raise ModelFileError(
            f"{path!r} contains a Network, which knows neither columns nor classes. Serve an "
            "estimator, such as a model that `deltaprop train` wrote."
        )
    return OfTables(model) if isinstance(model, BaseTabular) else OfNumbers(model)


class OfTables:
    """A TabularClassifier or TabularRegressor."""

    def __init__(self, model: Any) -> None:
        self._model = model
        columns = model.encoder_.columns_
        self.fields = fields_of(columns)
        used = {field.name for field in self.fields}
        self._unused = [name for name in columns if name not in used]
        self.target: str = model.target_name_ or "prediction"
        self.gives_probabilities = is_classifier(model) and hasattr(model.mlp_, "predict_proba")
        self.gives_intervals = not is_classifier(model) and model.held_out_ is not None

    def predict(self, columns: Columns, asked: Asked) -> dict[str, np.ndarray]:
        n = len(next(iter(columns.values())))
        unused = {name: missing_values(n) for name in self._unused}
        frame = pd.DataFrame({**columns, **unused}, copy=False)
        return predicted_columns(self._model, frame, self.target, asked.proba, asked.interval)


class OfNumbers:
    """An MLPClassifier or MLPRegressor, or a Pipeline that ends in one."""

    target = "prediction"
    gives_intervals = False

    def __init__(self, model: Any) -> None:
        steps, self._last = split_pipeline(model)
        self._model = model
        first = model if steps is None else model[0]
        names = getattr(first, "feature_names_in_", None)
        self._has_names = names is not None
        known = [f"x{i}" for i in range(first.n_features_in_)] if names is None else names
        # Of a pipeline, the first step may be an imputer.
        self.fields = [number_field(str(name), nullable=steps is not None) for name in known]
        self.gives_probabilities = is_classifier(model) and hasattr(model, "predict_proba")

    def predict(self, columns: Columns, asked: Asked) -> dict[str, np.ndarray]:
        X: Any = np.column_stack([columns[field.name] for field in self.fields])
        if self._has_names:
            X = pd.DataFrame(X, columns=[field.name for field in self.fields])
        with raised_as_input_error():  # such as a missing value that no step expects
            predicted = np.asarray(self._model.predict(X))
            P = self._model.predict_proba(X) if asked.proba else None
        if not is_classifier(self._model):
            network = self._last.fitted_network()
            return columns_of_numbers(self.target, predicted, network.loss_function)
        return columns_of_classes(self.target, predicted, self._model.classes_, P)
