"""Predictions as columns of a table; of tables larger than memory, as a Parquet file."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from deltaprop.data.reading import TableError
from deltaprop.storage.places import replacing

if TYPE_CHECKING:
    from deltaprop.data.streaming import Stream

ROWS_AT_ONCE = 131_072  # a row group of the file that is written


def predictions(model: Any, frame: Any, proba: bool = False) -> Any:
    """What a tabular estimator predicts for a DataFrame, as a DataFrame named after the target.

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

    name = model.target_name_ or "prediction"
    if hasattr(model, "classes_"):
        if not proba:
            return pd.DataFrame({name: model.predict(frame)})
        P = model.predict_proba(frame)
        winners = model.classes_[np.argmax(P, axis=1)]
        columns = {f"probability_{label}": P[:, i] for i, label in enumerate(model.classes_)}
        return pd.DataFrame({name: winners, **columns})
    if proba:
        raise TableError("Probabilities need a classifier; this model is a regressor.")
    if model.mlp_.network_.loss_function.name == "gaussian_nll":
        mean, std = model.predict(frame, return_std=True)
        return pd.DataFrame({name: mean, f"{name}_std": std})
    predicted = np.asarray(model.predict(frame))
    if predicted.ndim == 1:
        return pd.DataFrame({name: predicted})
    levels = model.mlp_.network_.loss_function.settings["quantiles"]
    return pd.DataFrame({f"{name}_q{q:g}": predicted[:, i] for i, q in enumerate(levels)})


def predict_stream(model: Any, rows: Stream, output: str | Path, proba: bool = False) -> int:
    """Predict for each row of a stream, in their order, into a Parquet file.

    Parameters
    ----------
    model : TabularClassifier or TabularRegressor
        Fitted.
    rows : Stream
        Columns that the model does not need are ignored.
    output : str or Path
        Or an address such as ``"s3://bucket/species.parquet"``. Until all is written, what was
        there stays.
    proba : bool, default=False
        A column for each class's probability, too.

    Returns
    -------
    n : int
        Rows written.

    Raises
    ------
    TableError
        If a column is missing.

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
        for frame in rows.as_frames(ROWS_AT_ONCE):
            table = pa.Table.from_pandas(predictions(model, frame, proba), preserve_index=False)
            if writer is None:
                writer = opened.enter_context(pq.ParquetWriter(file, table.schema))
            writer.write_table(table)
            written += len(frame)
    return written
