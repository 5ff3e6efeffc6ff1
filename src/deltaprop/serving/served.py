"""The model that is served: what it takes, what it returns, and its predictions."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from deltaprop.files import load
from deltaprop.serving.predictors import Asked, Columns, Predictor, predictor_of
from deltaprop.serving.problems import invalid
from deltaprop.storage.places import read_bytes

__all__ = ["Asked", "Columns", "Given", "Served"]


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
    """A model that was read from a file.

    Parameters
    ----------
    model : Predictor
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

    def __init__(self, model: Predictor, name: str, version: str) -> None:
        self.model = model
        self.name = name
        self.version = version
        self.fields = model.fields
        self.by_name = {field.name: field for field in self.fields}
        row = {field.name: field.read([field.neutral]) for field in self.fields}
        everything = Asked(model.gives_probabilities, 0.9 if model.gives_intervals else None)
        self.outputs = self.predict(row, everything)
        plain = self.predict(row, Asked())
        self.on_request = [name for name in self.outputs if name not in plain]

    @classmethod
    def read(cls, path: str, name: str | None = None) -> Served:
        """Read the model in a file; its name is by default that of the file without its ending.

        Raises
        ------
        ModelFileError
            If the file cannot be read, or contains another kind of model.
        """
        before = read_bytes(path)
        model = load(path)
        while (content := read_bytes(path)) != before:  # it was replaced meanwhile
            before, model = content, load(path)
        version = hashlib.sha256(content).hexdigest()[:12]
        return cls(predictor_of(model, path), name or Path(path).stem, version)

    @property
    def target(self) -> str:
        """The name of the predicted column."""
        return self.model.target

    @property
    def gives_probabilities(self) -> bool:
        """Whether it is a classifier that predicts probabilities."""
        return self.model.gives_probabilities

    @property
    def gives_intervals(self) -> bool:
        """Whether it is a regressor that predicts intervals."""
        return self.model.gives_intervals

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
        return self.model.predict(columns, asked)

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
