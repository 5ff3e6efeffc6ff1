"""The model that is served: what it takes, what it returns, and its predictions."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from sklearn.base import is_classifier

from deltaprop.data.predicting import predicted_columns
from deltaprop.estimators.tabular import BaseTabular
from deltaprop.files import ModelFileError, load
from deltaprop.serving.fields import Field, fields_of, missing_values
from deltaprop.serving.problems import invalid

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


class Given(NamedTuple):
    """The rows of a request.

    Attributes
    ----------
    columns : dict of str to ndarray
        As the fields have read them.
    n : int
        The number of rows.
    by_rows : bool
        Whether the request, and therefore the answer, is a list of rows.
    """

    columns: dict[str, np.ndarray]
    n: int
    by_rows: bool = False


class Served:
    """A model for tables that was read from a file.

    Parameters
    ----------
    model : TabularClassifier or TabularRegressor
        Fitted.
    name : str
        Its name in paths.
    version : str
        Identifies the contents of the file.

    Attributes
    ----------
    fields : list of Field
        The columns that it takes.
    outputs : dict of str to ndarray
        The columns of a prediction with all that the model can give, for one row.
    on_request : list of str
        Those of them that are only given if they are asked for.
    """

    def __init__(self, model: Any, name: str, version: str) -> None:
        self.model = model
        self.name = name
        self.version = version
        columns = model.encoder_.columns_
        self.fields: list[Field] = fields_of(columns)
        self.by_name = {field.name: field for field in self.fields}
        self._unused = [name for name in columns if name not in self.by_name]
        nothing = {field.name: field.read([None]) for field in self.fields}
        everything = Asked(self.gives_probabilities, 0.9 if self.gives_intervals else None)
        self.outputs = self.predict(nothing, everything)
        plain = self.predict(nothing, Asked())
        self.on_request = [name for name in self.outputs if name not in plain]

    @classmethod
    def read(cls, path: str, name: str | None = None) -> Served:
        """Read the model in a file; its name is by default that of the file without its ending.

        Raises
        ------
        ModelFileError
            If the file cannot be read, or contains another kind of model.
        """
        model = load(path)
        if not isinstance(model, BaseTabular):
            raise ModelFileError(
                f"{path!r} contains a {type(model).__name__}, which does not know the columns of "
                "tables. Serve a TabularClassifier or TabularRegressor, such as a model that "
                "`deltaprop train` wrote."
            )
        return cls(model, name or Path(path).stem, _digest(model))

    @property
    def is_classifier(self) -> bool:
        return bool(is_classifier(self.model))

    @property
    def gives_probabilities(self) -> bool:
        return hasattr(self.model.mlp_, "predict_proba") and self.is_classifier

    @property
    def gives_intervals(self) -> bool:
        return not self.is_classifier and self.model.held_out_ is not None

    @property
    def target(self) -> str:
        """The name of the predicted column."""
        return self.model.target_name_ or "prediction"

    def check(self, asked: Asked) -> None:
        """Raise Refused if the model cannot give what is asked for."""
        if asked.proba and not self.gives_probabilities:
            raise invalid("proba=true needs a classifier that predicts probabilities.")
        if asked.interval is not None and not self.gives_intervals:
            raise invalid(
                "interval needs a regressor that was trained with a cross-validation, and not on "
                "several quantiles."
            )

    def predict(self, columns: Columns, asked: Asked) -> dict[str, np.ndarray]:
        """Predict for columns of equal length that the fields have read."""
        n = len(next(iter(columns.values())))
        unused = {name: missing_values(n) for name in self._unused}
        frame = pd.DataFrame({**columns, **unused}, copy=False)
        return predicted_columns(self.model, frame, self.target, asked.proba, asked.interval)

    def predict_together(self, parts: Sequence[Columns], asked: Asked) -> list[dict[str, Any]]:
        """Predict for the columns of several requests at once."""
        if len(parts) == 1:
            return [self.predict(parts[0], asked)]
        joined = {
            field.name: np.concatenate([part[field.name] for part in parts])
            for field in self.fields
        }
        predicted = self.predict(joined, asked)
        ends = np.cumsum([len(part[self.fields[0].name]) for part in parts])[:-1]
        pieces = {name: np.split(values, ends) for name, values in predicted.items()}
        return [{name: pieces[name][i] for name in pieces} for i in range(len(parts))]


def _digest(model: Any) -> str:
    """Twelve digits that identify the parameters of all networks and the encoding."""
    found = hashlib.sha256(repr(model.encoder_.describe().to_dict()).encode())
    for network in model.networks_:
        found.update(repr(network.config()).encode())
        found.update(network.theta.tobytes())
    return found.hexdigest()[:12]
