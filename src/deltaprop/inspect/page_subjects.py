"""Subjects of the interactive page for every kind of model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from deltaprop.data.encoder import TableEncoder
from deltaprop.data.frames import as_frame
from deltaprop.estimators.fitted import Fitted, as_labels
from deltaprop.estimators.tabular import BaseTabular
from deltaprop.inspect.opening import OpenedModel, open_model, split_pipeline
from deltaprop.page.subject import (
    Column,
    Edit,
    Inputs,
    Subject,
    Targets,
    finite_number,
    list_of_names,
    matrix_inputs,
    network_subject,
    number_columns,
    output_names,
)


def subject_of(
    model: Any, X: Any, y: Any, feature_names: Any = None, target_names: Any = None
) -> Subject:
    """Open `model` on (X, y) for the page; the arguments are those of :func:`deltaprop.explore`.

    Examples
    --------
    >>> import deltaprop as dp
    >>> from deltaprop.inspect.page_subjects import subject_of
    >>> X, y = [[0.0], [1.0], [2.0]], ["no", "yes", "yes"]
    >>> model = dp.MLPClassifier(2, random_state=0, max_iter=5).fit(X, y)
    >>> subject_of(model, X, y).targets.columns[0].choices
    ('no', 'yes')
    """
    opened = open_model(model)
    if opened.estimator is None:
        return network_subject(opened.network, X, y, feature_names, target_names)
    estimator = opened.estimator
    targets = _targets(estimator, y, opened.target_name, target_names)
    return Subject(
        estimator.fitted_network,
        _inputs(opened, X, feature_names),
        targets,
        output_names(opened.network.n_outputs, _output_names(targets, target_names)),
        estimator.output_in_words,
    ).check()


def _output_names(targets: Targets, target_names: Any) -> Sequence[str]:
    if targets.are_classes:
        return targets.columns[0].choices
    if len(targets.columns) > 1:
        return [column.name for column in targets.columns]
    return list_of_names("target_names", target_names)


# ---------------------------------------------------------------- targets


def _targets(estimator: Fitted, y: Any, target_name: str | None, target_names: Any) -> Targets:
    values = np.asarray(y)
    match estimator.target_kind():
        case "labels":
            table = values.astype(np.float64)
            names = [str(label) for label in estimator.fitted_mlp().classes_]
            return Targets(
                number_columns(table, names),
                table,
                lambda rows: estimator.encode_target(rows.astype(np.int8)),
            )
        case "classes":
            return _class_targets(estimator, values.ravel(), target_name or "target")
        case "numbers":
            return _number_targets(estimator, values, target_name, target_names)


def _class_targets(estimator: Fitted, y: np.ndarray, name: str) -> Targets:
    classes = estimator.fitted_mlp().classes_
    estimator.encode_target(y)  # raises for unknown classes
    index = np.searchsorted(classes, as_labels(y, classes))[:, None]
    column = Column(name, "choice", tuple(str(label) for label in classes))
    return Targets(
        [column], index, lambda rows: estimator.encode_target(classes[rows[:, 0].astype(int)])
    )


def _number_targets(
    estimator: Fitted, y: np.ndarray, target_name: str | None, target_names: Any
) -> Targets:
    table = y.reshape(len(y), -1).astype(np.float64)
    if table.shape[1] == 1:
        name = target_name or (target_names if isinstance(target_names, str) else "target")
        columns = [Column(name, "number")]
    else:
        columns = number_columns(table, list_of_names("target_names", target_names) or None)
    return Targets(columns, table, estimator.encode_target)


# ---------------------------------------------------------------- rows


def _inputs(opened: OpenedModel, X: Any, feature_names: Any) -> Inputs:
    """Return the rows as the user knows them: numbers, table columns, or a pipeline's input."""
    steps, estimator = split_pipeline(opened.model)
    n_features = opened.network.n_features
    if steps is not None:
        return _pipeline_inputs(steps, estimator, X, n_features, feature_names)
    if isinstance(estimator, BaseTabular):
        frame = as_frame(X)
        estimator.encode_rows(frame[:1])  # raises for missing columns
        columns = _encoded_columns(estimator.encoder_)
        return _frame_inputs(frame, columns, estimator.encode_rows, estimator.feature_names() or [])
    names = estimator.feature_names() if feature_names is None else feature_names
    return matrix_inputs(X, n_features, names)


def _pipeline_inputs(
    steps: Any, estimator: Fitted, X: Any, n_features: int, feature_names: Any
) -> Inputs:
    def encode(rows: Any) -> Any:
        return estimator.encode_rows(steps.transform(rows))

    features = estimator.feature_names() or _transformed_names(steps, n_features)
    if hasattr(X, "columns"):
        frame = as_frame(X)
        columns = [_plain_column(str(name), frame[name]) for name in frame.columns]
        return _frame_inputs(frame, columns, encode, features)
    inputs = matrix_inputs(X, np.shape(X)[1], feature_names)
    return replace(inputs, encode=encode, features=features, direct=False)


def _transformed_names(steps: Any, n_features: int) -> list[str]:
    """Return the names of the columns that the steps of a pipeline produce, or x0, x1, …"""
    try:
        return [str(name) for name in steps.get_feature_names_out()]
    except (AttributeError, ValueError):  # some transformers do not provide names
        return [f"x{d}" for d in range(n_features)]


def _plain_column(name: str, column: Any) -> Column:
    import pandas as pd

    is_number = pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)
    return Column(name, "number" if is_number else "text")


def _encoded_columns(encoder: TableEncoder) -> list[Column]:
    """Return the columns that a table's encoder uses, with the categories of the training data."""
    return [
        _encoded_column(name, encoder)
        for name in encoder.feature_names_in_
        if encoder.kinds_[name] != "dropped"
    ]


def _encoded_column(name: str, encoder: TableEncoder) -> Column:
    column = encoder.columns_[name]
    if column.choices:
        return Column(name, "choice", column.choices)
    return Column(name, "number" if column.kind == "numeric" else "text")


def _frame_inputs(
    frame: Any, columns: list[Column], encode: Callable[[Any], Any], features: list[str]
) -> Inputs:
    """Return the rows of a table in which the user can edit `columns`."""
    used = [column.name for column in columns]

    def rows(first: int, count: int, edits: Sequence[Edit]) -> Any:
        part = frame.iloc[first : first + count].reset_index(drop=True)
        for row, k, value in edits:
            _set_cell(part, row - first, columns[k], value)
        return part

    def values(part: Any) -> list[list[Any]]:
        return [[_cell(value) for value in row] for row in part[used].itertuples(index=False)]

    return Inputs(columns, rows, values, encode, features, len(frame), direct=False)


def _set_cell(part: Any, row: int, column: Column, value: Any) -> None:
    """Write an edited value into a table, with the dtype of its column; "" is a missing value."""
    import pandas as pd

    name, empty = column.name, value is None or value == ""
    if column.kind == "number":
        part[name] = pd.to_numeric(part[name], errors="coerce").astype(float)
        value = np.nan if empty else finite_number(value, name)
    elif pd.api.types.is_datetime64_any_dtype(part[name]):
        value = pd.NaT if empty else pd.Timestamp(value)
    else:
        part[name] = part[name].astype(object)
        value = None if empty else str(value)
    part.loc[row, name] = value


def _cell(value: Any) -> Any:
    """Convert a cell for JSON; None if it is missing."""
    if value is None or value != value:
        return None
    if isinstance(value, (bool, np.bool_)):
        return str(value)
    if isinstance(value, (int, float, np.number)):
        return float(value)
    return str(value)
