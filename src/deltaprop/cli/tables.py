"""Read the table of a command, and split its rows into training and test rows."""

from __future__ import annotations

import csv
import warnings
from glob import has_magic
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from sklearn.base import is_classifier
from sklearn.model_selection import train_test_split
from sklearn.utils.multiclass import check_classification_targets

from deltaprop.cli.options import DEFAULT_MEMORY, DataOptions
from deltaprop.cli.reading_options import for_streams, read_table
from deltaprop.data.overview.describing import describe
from deltaprop.data.reading import ReadingOptions, TableError, is_database
from deltaprop.data.streams.opening import stream
from deltaprop.data.task import recognise_task, require_columns, split_target
from deltaprop.estimators.fitted import as_labels

if TYPE_CHECKING:
    import pandas as pd
    from jaxtyping import Float, Int

    from deltaprop.cli.models import Tabular
    from deltaprop.data.overview.describing import Overview

    Rows = tuple[pd.DataFrame, pd.Series]

FEWEST_ROWS = 10
FEWEST_ROWS_OF_A_CLASS = 3  # to train, validate and test on
SAMPLE = 20_000  # rows of a stream from which the task is recognised and baselines are fitted


class TrainingData(NamedTuple):
    """Rows to train and test on.

    `fit` contains the arguments of the estimator's ``fit``: X, y, weights and groups, or a Stream.
    `test`
    are the held-out rows, if there are any, `baseline` the rows on which the baselines are fitted.
    `label_words` are the words of the table for True and False, if these are the labels.
    """

    task: str
    fit: tuple[Any, ...]
    test: Rows | None
    baseline: Rows
    n_rows: int
    n_without_target: int
    label_words: dict[bool, str] | None = None
    overview: Overview | None = None  # of a table in memory

    @property
    def groups(self) -> np.ndarray | None:
        """The group of each row to train on."""
        return self.fit[3] if len(self.fit) > 3 else None


def training_data(options: DataOptions) -> TrainingData:
    """Read a table, recognise the task, and hold rows out, unless the test size is None.

    Raises
    ------
    TableError
        If the table cannot be read or used with these options.
    """
    if options.memory or is_streamed(options.table):
        return _streamed(options)
    return _in_memory(options)


def is_streamed(table: str) -> bool:
    """Return whether a table is a folder, a glob or in an object store."""
    if "://" in table:
        return not table.startswith(("http://", "https://")) and not is_database(table)
    return Path(table).is_dir() or (has_magic(table) and not Path(table).exists())


def rows_with_target(
    model: Tabular, path: str, table: str, reading: ReadingOptions | None = None
) -> Rows:
    """Return the rows of a table that have a target; errors name the model's file by `path`."""
    if model.target_name_ is None:
        raise TableError(
            f"The model in {path!r} was fitted to an array, so the name of its target is unknown; "
            "fit it to a pandas Series with a name."
        )
    return split_rows(model, read_table(table, reading))


def split_rows(model: Tabular, frame: pd.DataFrame) -> Rows:
    """Return the rows that have a target; TableError if the target does not fit the model."""
    assert model.target_name_ is not None
    X, y, _ = split_target(frame, model.target_name_)
    if is_classifier(model):
        _require_labels(y, model.classes_)
    else:
        _require_numbers(y, "The model is a regressor, which")
    return X, y


def _require_labels(y: pd.Series, classes: np.ndarray) -> None:
    try:
        as_labels(y, classes)
    except (TypeError, ValueError) as error:
        raise TableError(
            f"Column {y.name!r}, the target, must hold classes such as {classes[0]!s}, which the "
            f"model was trained on: {error}."
        ) from error


def _require_numbers(y: pd.Series, who: str, hint: str = "") -> None:
    import pandas as pd

    if not pd.api.types.is_numeric_dtype(y):
        raise TableError(
            f"{who} needs numbers, but column {y.name!r} contains text such as {y.iloc[0]!r}.{hint}"
        )
    if not np.isfinite(y.to_numpy(dtype=float)).all():
        raise TableError(
            f"{who} needs finite numbers, but column {y.name!r} has infinite values; leave those "
            "rows out."
        )


def _require_classes(y: pd.Series) -> None:
    import pandas as pd

    labels = y.to_numpy(dtype=float) if pd.api.types.is_numeric_dtype(y) else y.astype(str)
    try:
        check_classification_targets(labels)
    except ValueError as error:
        raise TableError(
            f"--task classification needs classes, but column {y.name!r} holds other values "
            f"({error}). Use --task regression."
        ) from error


# ---------------------------------------------------------------- in memory


def _in_memory(options: DataOptions) -> TrainingData:
    frame = _in_order(read_table(options.table, options.reading), options.time_column)
    features, y, n_without_target = _features_and_target(frame, options)
    X, weights = _without_weights(features, options.weight)
    X, groups = _without_groups(X, options.groups)
    task = _task(options.task, y)
    y = _whole(y) if task == "classification" else y
    train, test = _split(y, task, options, groups)
    rows = X.iloc[train], y.iloc[train]
    return TrainingData(
        task,
        fit=(*rows, *(None if part is None else part[train] for part in (weights, groups))),
        test=(X.iloc[test], y.iloc[test]) if len(test) else None,
        baseline=rows,
        n_rows=len(frame),
        n_without_target=n_without_target,
        label_words=_label_words(options, y),
        overview=describe(frame.drop(columns=list(options.drop)), options.target, leakage=False),
    )


def _label_words(options: DataOptions, y: pd.Series) -> dict[bool, str] | None:
    """The words for True and False in a text file, such as TRUE; None if they are not known."""
    import pandas as pd

    if pd.api.types.infer_dtype(y) != "boolean" or not Path(options.table).is_file():
        return None
    try:
        column = pd.read_csv(
            options.table, sep=None, engine="python", usecols=[options.target], dtype=str,
            nrows=SAMPLE,
        )[options.target]  # fmt: skip
    except (ValueError, OSError, csv.Error):  # not a text file, or one of an unusual kind
        return None
    words = {word.strip() for word in column.dropna()}
    found = {word.lower() == "true": word for word in words if word.lower() in ("true", "false")}
    return found if len(found) == len(words) == 2 else None


def _features_and_target(
    frame: pd.DataFrame, options: DataOptions
) -> tuple[pd.DataFrame, pd.Series, int]:
    """Return the columns to use, the target, and the number of rows without a target."""
    target, drop = options.target, list(options.drop)
    require_columns(frame, [target], "--target")
    require_columns(frame, drop, "--drop")
    if target in drop or target == options.weight:
        raise TableError(f"--target {target!r} cannot also be dropped or be the weight.")
    return split_target(frame.drop(columns=drop), target)


def _in_order(frame: pd.DataFrame, time_column: str | None) -> pd.DataFrame:
    """Return the rows in the order of a column of times or numbers."""
    if time_column is None:
        return frame
    import pandas as pd

    require_columns(frame, [time_column], "--time-column")
    times = frame[time_column]
    if not pd.api.types.is_numeric_dtype(times):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of several formats in one column
            times = pd.to_datetime(times, errors="coerce", format="mixed", utc=True)
    unknown = times.isna()
    if unknown.any():
        value = frame[time_column][unknown].iloc[0]
        raise TableError(
            f"--time-column {time_column!r} must hold a time or a number in every row; "
            f"{int(unknown.sum())} row(s) have none, such as {value!r}."
        )
    order = np.argsort(times.to_numpy(), kind="stable")
    return frame.iloc[order].reset_index(drop=True)


def _without_groups(
    features: pd.DataFrame, groups: str | None
) -> tuple[pd.DataFrame, np.ndarray | None]:
    """Return the features without the column of groups, and the group of each row."""
    if groups is None:
        return features, None
    require_columns(features, [groups], "--groups")
    column = features[groups]
    if column.isna().any():
        raise TableError(f"--groups {groups!r} must name a group in every row; some are missing.")
    if column.nunique() < 2:
        raise TableError(f"--groups {groups!r} must name at least two groups.")
    if features.shape[1] == 1:
        raise TableError("The table has no column besides the target and the groups.")
    return features.drop(columns=groups), column.astype(str).to_numpy()


def _without_weights(
    features: pd.DataFrame, weight: str | None
) -> tuple[pd.DataFrame, Float[np.ndarray, " N"] | None]:
    """Return the features without the column of sample weights, and the weights."""
    if weight is None:
        return features, None
    require_columns(features, [weight], "--weight")
    try:
        weights = features[weight].to_numpy(dtype=float)
    except (TypeError, ValueError) as error:
        raise TableError(f"--weight {weight!r} must hold numbers: {error}.") from error
    if not np.isfinite(weights).all() or (weights < 0).any() or not weights.any():
        raise TableError(
            f"--weight {weight!r} must hold numbers >= 0 that are not all 0, with none missing."
        )
    if features.shape[1] == 1:
        raise TableError("The table has no column besides the target and the weight.")
    return features.drop(columns=weight), weights


# ---------------------------------------------------------------- streamed


def _streamed(options: DataOptions) -> TrainingData:
    """Return a stream to train on; held-out rows and rows for baselines are read into memory."""
    for name, column in (("groups", options.groups), ("time-column", options.time_column)):
        if column is not None:
            raise TableError(f"--{name} needs a table in memory: one file, without --memory.")
    everything = stream(
        options.table,
        options.target,
        weight=options.weight,
        memory=options.memory or DEFAULT_MEMORY,
        **for_streams(options.reading),
    ).without(options.drop)
    rows = everything.with_target_known()
    task = _task(options.task, rows.sample(SAMPLE)[options.target])
    assert options.test_size is not None
    train, test = rows.set_aside(rows.share_in_memory(options.test_size), options.seed)
    in_memory = [
        (frame[list(rows.features)], frame[options.target])
        for frame in (test.sample(len(test)), train.sample(SAMPLE))
    ]
    return TrainingData(
        task,
        fit=(train,),
        test=in_memory[0],
        baseline=in_memory[1],
        n_rows=len(everything),
        n_without_target=len(everything) - len(rows),
    )


# ---------------------------------------------------------------- the task and the split


def _task(task: str, y: pd.Series) -> str:
    """Return the task, recognised from y if it is "auto"; TableError if y does not suit it."""
    if task == "auto":
        return recognise_task(y)
    if task == "regression":
        _require_numbers(y, "--task regression", " Use --task classification.")
    else:
        _require_classes(y)
    return task


def _whole(y: pd.Series) -> pd.Series:
    """Return labels such as 0.0 and 1.0, which beside a missing one are not read as 0 and 1."""
    if y.dtype.kind != "f" or (y != np.floor(y)).any():
        return y
    return y.astype(np.int64)


def _split(
    y: pd.Series, task: str, options: DataOptions, groups: np.ndarray | None
) -> tuple[Int[np.ndarray, " train"], Int[np.ndarray, " test"]]:
    """The indices of the rows to train on and of the held-out ones."""
    if len(y) < FEWEST_ROWS:
        raise TableError(
            f"The table has {len(y)} row(s) with a target; at least {FEWEST_ROWS} are needed."
        )
    rows = np.arange(len(y))
    labels = None if task == "regression" else y.astype(str).to_numpy()
    is_rare = np.zeros(len(y), bool) if labels is None else _is_rare(labels, str(y.name))
    if options.test_size is None:
        return rows, rows[:0]
    if options.time_column is not None:
        n_test = min(len(y) - 1, max(1, round(options.test_size * len(y))))
        return _of_classes(rows[:-n_test], rows[-n_test:], labels, options)
    if groups is not None:
        return _of_classes(*_group_split(groups, options), labels, options)
    if labels is None:
        return _random_split(rows, None, options)
    common = labels[~is_rare]
    too_few_to_stratify = int(options.test_size * len(common)) < len(set(common))
    train, test = _random_split(rows[~is_rare], None if too_few_to_stratify else common, options)
    train = np.concatenate([train, rows[is_rare]])  # rare classes are trained on, never held out
    return _of_classes(train, test, labels, options)


def _of_classes(
    train: np.ndarray, test: np.ndarray, labels: np.ndarray | None, options: DataOptions
) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows as they are, if those to train on are of two classes or more."""
    if labels is not None and len(set(labels[train])) < 2:
        raise TableError(
            f"--test-size {options.test_size:g} leaves rows of only one class to train on; choose "
            "a smaller fraction."
        )
    return train, test


def _is_rare(labels: np.ndarray, target: str) -> np.ndarray:
    """Return for each row whether its class has too few rows to hold one out."""
    classes, index, counts = np.unique(labels, return_inverse=True, return_counts=True)
    if np.count_nonzero(counts >= FEWEST_ROWS_OF_A_CLASS) < 2:
        rarest = int(np.argmin(counts))
        raise TableError(
            f"Column {target!r}, the target, has {counts[rarest]} row(s) of class "
            f"{str(classes[rarest])!r}; two classes need at least "
            f"{FEWEST_ROWS_OF_A_CLASS} rows each."
        )
    rare: np.ndarray = counts[index] < FEWEST_ROWS_OF_A_CLASS
    return rare


def _group_split(groups: np.ndarray, options: DataOptions) -> tuple[np.ndarray, np.ndarray]:
    """Hold out about the fraction of the rows, in whole groups."""
    from sklearn.model_selection import GroupShuffleSplit

    splitter = GroupShuffleSplit(1, test_size=options.test_size, random_state=options.seed)
    try:
        train, test = next(splitter.split(groups, groups=groups))
    except ValueError as error:
        raise TableError(
            f"--test-size {options.test_size:g} does not suit {len(set(groups))} groups: {error}"
        ) from error
    return train, test


def _random_split(
    rows: np.ndarray, stratify: np.ndarray | None, options: DataOptions
) -> tuple[np.ndarray, np.ndarray]:
    if options.test_size is None:
        return rows, rows[:0]
    try:
        train, test = train_test_split(
            rows, test_size=options.test_size, random_state=options.seed, stratify=stratify
        )
    except ValueError as error:
        raise TableError(
            f"--test-size {options.test_size:g} does not suit {len(rows)} rows: {error}"
        ) from error
    return train, test
