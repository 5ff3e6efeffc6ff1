"""Predictions as columns of a table, or, for a stream, as a Parquet file."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from deltaprop.data.reading import TableError
from deltaprop.storage.places import replacing

if TYPE_CHECKING:
    from deltaprop.data.streams.stream import Stream

ROWS_PER_GROUP = 131_072  # of the Parquet file


def predictions(model: Any, frame: Any, proba: bool = False) -> Any:
    """Predict for the rows of a DataFrame.

    Parameters
    ----------
    model : TabularClassifier or TabularRegressor
        Fitted.
    frame : pandas.DataFrame
        Columns that the model does not need are ignored.
    proba : bool, default=False
        Add the probability of each class.

    Returns
    -------
    pandas.DataFrame
        One column with the name of the target, or ``prediction`` if it has none. With
        ``loss="gaussian_nll"`` a second one, ``NAME_std``, contains the standard deviation. With
        several quantiles there is one column ``NAME_qLEVEL`` for each. Probabilities are in
        ``probability_LABEL``.

    Raises
    ------
    TableError
        If a column is missing, or if a regressor is asked for probabilities.

    Examples
    --------
    >>> import deltaprop as dp
    >>> table = dp.tables.read_table("data/penguins.csv")
    >>> X, y = table.drop(columns="species"), table["species"]
    >>> model = dp.TabularClassifier(random_state=0, max_iter=20).fit(X, y)
    >>> list(dp.tables.predictions(model, X, proba=True).columns[:2])
    ['species', 'probability_Adelie']
    """
    import pandas as pd
    from sklearn.base import is_classifier

    name = model.target_name_ or "prediction"
    if is_classifier(model):
        return pd.DataFrame(_class_columns(model, frame, name, proba))
    if proba:
        raise TableError("Probabilities need a classifier; this model is a regressor.")
    return pd.DataFrame(_number_columns(model, frame, name))


def predict_stream(model: Any, rows: Stream, output: str | Path, proba: bool = False) -> int:
    """Predict for each row of a stream, in order, and write a Parquet file.

    Parameters
    ----------
    model : TabularClassifier or TabularRegressor
        Fitted.
    rows : Stream
        Columns that the model does not need are ignored.
    output : str or Path
        A path, or a URL such as ``"s3://bucket/species.parquet"``. An existing file is replaced
        only once the new one is complete.
    proba : bool, default=False
        Add the probability of each class.

    Returns
    -------
    n : int
        Number of rows written.

    Raises
    ------
    TableError
        If a column is missing.
    ModelFileError
        If the file cannot be written.

    Examples
    --------
    >>> import deltaprop as dp
    >>> rows = dp.tables.stream("data/penguins.csv", target="species")
    >>> model = dp.TabularClassifier(random_state=0, max_iter=20).fit(rows)
    >>> dp.tables.predict_stream(model, rows, "/tmp/species.parquet")
    344
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows, written = rows.only(model.feature_names_in_), 0
    with replacing(output) as file, contextlib.ExitStack() as opened:
        writer: Any = None
        for frame in rows.as_frames(ROWS_PER_GROUP):
            table = pa.Table.from_pandas(predictions(model, frame, proba), preserve_index=False)
            if writer is None:
                writer = opened.enter_context(pq.ParquetWriter(file, table.schema))
            writer.write_table(table)
            written += len(frame)
    return written


def _class_columns(model: Any, frame: Any, name: str, proba: bool) -> dict[str, np.ndarray]:
    if not proba:
        return {name: model.predict(frame)}
    P, labels = model.predict_proba(frame), model.classes_
    columns = {f"probability_{label}": P[:, i] for i, label in enumerate(labels)}
    return {name: model.decide(P), **columns}


def _number_columns(model: Any, frame: Any, name: str) -> dict[str, np.ndarray]:
    loss = model.mlp_.network_.loss_function
    if loss.encoding.predicts == "mean_variance":
        mean, std = model.predict(frame, return_std=True)
        return {name: mean, f"{name}_std": std}
    predicted = np.asarray(model.predict(frame))
    if predicted.ndim == 1:
        return {name: predicted}
    return {f"{name}_q{q:g}": predicted[:, i] for i, q in enumerate(loss.settings["quantiles"])}
