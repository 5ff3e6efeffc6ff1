"""Model files as the commands read and write them."""

from __future__ import annotations

import os
import tempfile
from typing import TYPE_CHECKING

from deltaprop.files import ModelFileError, load, save

if TYPE_CHECKING:
    from deltaprop.estimators import TabularClassifier, TabularRegressor

    Tabular = TabularClassifier | TabularRegressor


def load_tabular(path: str) -> Tabular:
    """Load a model that was trained on a table.

    Raises
    ------
    ModelFileError
        If the file cannot be read, or contains another kind of model.
    """
    from deltaprop.estimators import TabularClassifier, TabularRegressor

    model = load(path)
    if not isinstance(model, (TabularClassifier, TabularRegressor)):
        raise ModelFileError(
            f"{path!r} holds a {type(model).__name__}, which knows no table columns; use a "
            "model written by `deltaprop train`, or a TabularClassifier or TabularRegressor."
        )
    return model


def save_model(model: Tabular, place: str) -> None:
    """Write a model to `place`; if that fails, to a temporary file, so that it is not lost.

    Raises
    ------
    ModelFileError
        If `place` cannot be written; the message names the temporary file.
    """
    try:
        save(model, place)
    except ModelFileError as error:
        handle, temporary = tempfile.mkstemp(prefix="model-", suffix=".dp")
        os.close(handle)
        save(model, temporary)
        raise ModelFileError(f"{error} The model is in {temporary} instead.") from error
