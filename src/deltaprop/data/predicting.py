"""Predictions as columns of a table, in memory or written part by part."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from deltaprop.data.reading import TableError
from deltaprop.data.task import require_columns
from deltaprop.data.writing import WritePart, written_to

if TYPE_CHECKING:
    from deltaprop.data.streams.stream import Stream
    from deltaprop.functions.losses import Loss

ROWS_AT_ONCE = 131_072  # also of a row group of a Parquet file


def predictions(
    model: Any,
    frame: Any,
    proba: bool = False,
    *,
    keep: Sequence[str] = (),
    interval: float | None = None,
) -> Any:
    """Predict for the rows of a DataFrame.

    Parameters
    ----------
    model : TabularClassifier or TabularRegressor
        Fitted.
    frame : pandas.DataFrame
        Columns that the model does not need are ignored.
    proba : bool, default=False
        Add the probability of each class.
    keep : sequence of str, default=()
        Columns of the frame that come first in the result, such as an identifier.
    interval : float in (0, 1), optional
        Add the lower and upper end of an interval that contains the target with this probability.

    Returns
    -------
    pandas.DataFrame
        The columns of `keep`, and one column with the name of the target, or ``prediction`` if it
        has none; ``predicted_NAME`` if the target is kept as well. With ``loss="gaussian_nll"`` a
        second one, ``NAME_std``, contains the standard deviation. With several quantiles there is
        one column ``NAME_qLEVEL`` for each. Probabilities are in ``probability_LABEL``, intervals
        in ``NAME_low`` and ``NAME_high``.

    Raises
    ------
    TableError
        If a column is missing, a regressor is asked for probabilities, or a classifier for
        intervals.

    Examples
    --------
    >>> import deltaprop as dp
    >>> table = dp.tables.read_table("data/penguins.csv")
    >>> X, y = table.drop(columns="species"), table["species"]
    >>> model = dp.TabularClassifier(random_state=0, max_iter=20).fit(X, y)
    >>> list(dp.tables.predictions(model, table, proba=True, keep=["island"]).columns[:3])
    ['island', 'species', 'probability_Adelie']
    """
    import pandas as pd

    require_columns(frame.columns, keep, "to keep")
    name = model.target_name_ or "prediction"
    name = f"predicted_{name}" if name in keep else name
    predicted = pd.DataFrame(predicted_columns(model, frame, name, proba, interval))
    if not keep:
        return predicted
    return pd.concat([frame[list(keep)].reset_index(drop=True), predicted], axis=1)


def predicted_columns(
    model: Any, frame: Any, name: str, proba: bool = False, interval: float | None = None
) -> dict[str, np.ndarray]:
    """The columns of :func:`predictions` as arrays; `name` is that of the target.

    Raises
    ------
    TableError
        As `predictions`.
    """
    from sklearn.base import is_classifier

    if is_classifier(model):
        if interval is not None:
            raise TableError("Intervals need a regressor; ask this classifier for probabilities.")
        return _class_columns(model, frame, name, proba)
    if proba:
        raise TableError("Probabilities need a classifier; this model is a regressor.")
    return _number_columns(model, frame, name, interval)


def predict_stream(
    model: Any,
    rows: Stream,
    output: str | Path,
    proba: bool = False,
    *,
    keep: Sequence[str] = (),
    interval: float | None = None,
) -> int:
    """Predict for each row of a stream, in order, and write a file.

    Parameters
    ----------
    model : TabularClassifier or TabularRegressor
        Fitted.
    rows : Stream
        Columns that the model does not need are ignored.
    output : str or Path
        A path, or a URL such as ``"s3://bucket/species.parquet"``, that ends in .csv, .tsv, .jsonl,
        .ndjson, .parquet or .pq. An existing file is replaced only once the new one is complete.
    proba, keep, interval
        As for :func:`predictions`.

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
    frames = frames_of_stream(model, rows, keep)
    with written_to(output) as write:
        return write_predictions(model, frames, write, proba, keep=keep, interval=interval)


def frames_of_stream(model: Any, rows: Stream, keep: Sequence[str] = ()) -> Iterator[Any]:
    """The rows of a stream as DataFrames, with the columns that predictions need."""
    require_columns(rows.schema.names, keep, "to keep")
    names = list(dict.fromkeys([*model.feature_names_in_, *keep]))
    return rows.only(names).as_frames(ROWS_AT_ONCE)


def frames_of_table(frame: Any) -> Iterator[Any]:
    """The rows of a DataFrame, in parts."""
    for start in range(0, len(frame), ROWS_AT_ONCE):
        yield frame.iloc[start : start + ROWS_AT_ONCE]


def write_predictions(
    model: Any,
    frames: Iterable[Any],
    write: WritePart,
    proba: bool = False,
    *,
    keep: Sequence[str] = (),
    interval: float | None = None,
) -> int:
    """Write the predictions for each part of a table. Returns the number of rows."""
    n = 0
    for frame in frames:
        write(predictions(model, frame, proba, keep=keep, interval=interval))
        n += len(frame)
    return n


def _class_columns(model: Any, frame: Any, name: str, proba: bool) -> dict[str, np.ndarray]:
    P = model.predict_proba(frame) if proba else None
    labels = model.predict(frame) if P is None else model.decide(P)
    words = _as_written(model, model.classes_)
    return columns_of_classes(name, _as_written(model, labels), words, P)


def columns_of_classes(
    name: str, labels: np.ndarray, classes: np.ndarray, P: np.ndarray | None
) -> dict[str, np.ndarray]:
    """Predicted labels (of several per row, 0 or 1 for each) and probabilities as columns."""
    if labels.ndim == 1:
        columns = {name: labels}
    else:
        columns = {f"{name}_{word}": labels[:, i] for i, word in enumerate(classes)}
    if P is None:
        return columns
    return columns | {f"probability_{word}": P[:, i] for i, word in enumerate(classes)}


def _as_written(model: Any, labels: np.ndarray) -> np.ndarray:
    """Labels as the table that the model was trained on writes them: TRUE rather than True."""
    words = model.label_words_
    if words is None or labels.ndim != 1:
        return labels
    return np.array([words[bool(label)] for label in labels], dtype=object)


def _number_columns(
    model: Any, frame: Any, name: str, interval: float | None
) -> dict[str, np.ndarray]:
    loss = model.mlp_.network_.loss_function
    ends = {}
    if interval is not None:
        low, high = np.moveaxis(model.predict_interval(frame, coverage=interval), -1, 0)
        ends = {**_by_target(f"{name}_low", low), **_by_target(f"{name}_high", high)}
    if loss.encoding.predicts == "mean_variance":
        mean, std = model.predict(frame, return_std=True)
        return {**_by_target(name, mean), **_by_target(f"{name}_std", std), **ends}
    return {**columns_of_numbers(name, np.asarray(model.predict(frame)), loss), **ends}


def columns_of_numbers(name: str, predicted: np.ndarray, loss: Loss) -> dict[str, np.ndarray]:
    """Predicted numbers as columns: one for each target, or for each quantile."""
    levels = loss.settings.get("quantiles")
    if levels is not None and predicted.ndim == 2 and predicted.shape[1] == len(levels):
        return {f"{name}_q{q:g}": predicted[:, i] for i, q in enumerate(levels)}
    return _by_target(name, predicted)


def _by_target(name: str, values: np.ndarray) -> dict[str, np.ndarray]:
    """One column, or for several targets one for each, with its index."""
    if values.ndim == 1:
        return {name: values}
    return {f"{name}_{i}": values[:, i] for i in range(values.shape[1])}
