"""Check the arguments of ``dp.tune``, and derive from them what its trials depend on."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable
from dataclasses import fields
from numbers import Integral
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import is_classifier

from deltaprop.data.streams.stream import Stream
from deltaprop.errors import InputError, InputTypeError
from deltaprop.estimators.parameters import AUTO, RunParameters
from deltaprop.estimators.tabular import BaseTabular
from deltaprop.estimators.tabular.folds import Fold, folds_for, most_folds
from deltaprop.estimators.tabular.presets import PRESETS
from deltaprop.functions.checks import is_finite, is_int
from deltaprop.optim.solvers import is_full_batch
from deltaprop.tuning.space import Space

FOLDS = 4
FEWER = ((60_000, 1), (25_000, 2))  # from so many rows on, so many of the folds


def check_model(model: Any, X: Any) -> None:
    """Raise ValueError unless this estimator can be tuned on X."""
    if isinstance(model, type) or not isinstance(model, BaseTabular):
        raise InputTypeError(
            "tune needs an estimator such as dp.TabularClassifier() or dp.TabularRegressor(); got "
            f"{model!r}."
        )
    if model.preset not in PRESETS:
        raise InputError(f"preset must be one of {', '.join(PRESETS)}; got {model.preset!r}.")
    if model.privacy is not None:
        raise InputError(
            "tune does not support privacy: which parameters are best reveals something about the "
            "rows. Tune on public data instead."
        )
    if is_full_batch(model.solver):
        raise InputError(
            f"tune needs a solver that trains in epochs, such as 'adamw'; got {model.solver!r}."
        )
    if isinstance(X, Stream):
        raise InputError("tune needs a table in memory, such as a DataFrame, and not a stream.")


def check_limits(n_trials: Any, time_limit: Any, seed: Any, n_jobs: Any) -> None:
    """Raise ValueError unless these are valid."""
    for name, value in (("n_trials", n_trials), ("n_jobs", n_jobs)):
        if value is not None and not is_int(value, 1):
            raise InputError(f"{name} must be an int >= 1 or None, got {value!r}.")
    if time_limit is not None and not (is_finite(time_limit) and time_limit > 0):
        raise InputError(f"time_limit must be a number of seconds > 0 or None, got {time_limit!r}.")
    if not is_int(seed, 0) or seed >= 2**32:
        raise InputError(f"seed must be an int in [0, 2**32), got {seed!r}.")


def check_callbacks(callbacks: Any) -> tuple[Any, ...]:
    """The callbacks as a tuple; TypeError if they are not callables."""
    if callbacks is None:
        return ()
    if not isinstance(callbacks, Iterable) or not all(map(callable, callbacks := [*callbacks])):
        raise InputTypeError(
            f"callbacks must be a list of functions that take a TrialResult; got {callbacks!r}."
        )
    return tuple(callbacks)


def trial_folds(model: BaseTabular, y: np.ndarray, cv: Any, groups: Any, seed: int) -> list[Fold]:
    """The folds of the cross-validation by which trials are compared."""
    n_rows, share = len(y), FOLDS
    if isinstance(cv, str) and cv == AUTO:
        given = model.cv
        cv = FOLDS if isinstance(given, (str, Integral)) else given
        share = next((n for rows, n in FEWER if n_rows >= rows), FOLDS)
    else:
        share = n_rows
    if isinstance(cv, (Integral, str)):
        if not is_int(cv, 2):
            raise InputError(f"cv must be an int >= 2, a splitter or pairs of rows, got {cv!r}.")
        cv = most_folds(n_rows, int(cv))
        if cv < 2:
            raise InputError(f"tune needs at least 4 rows, got {n_rows}.")
    labels = pd.factorize(y)[0] if is_classifier(model) and y.ndim == 1 else y
    rng = np.random.RandomState(seed)
    folds = folds_for(cv, labels, groups=groups, stratify=is_classifier(model), rng=rng)
    return folds[:share]


def about(
    model: BaseTabular, X: Any, y: np.ndarray, sample_weight: Any, space: Space, seed: int,
    folds: list[Fold],
) -> dict[str, str]:  # fmt: skip
    """What the trials depend on, in short texts, by the names of the arguments."""
    run = {f.name for f in fields(RunParameters)} | {"time_limit"}
    parameters = {k: v for k, v in model.get_params(deep=False).items() if k not in run}
    columns = getattr(X, "columns", getattr(X, "column_names", ()))
    return {
        "model": re.sub(r" at 0x[0-9a-f]+", "", f"{type(model).__name__}({parameters!r})"),
        "X": f"{len(y)} rows, columns {', '.join(map(str, columns))}",
        "y": _digest(y),
        "sample_weight": _digest(sample_weight),
        "space": str(space),
        "seed": str(seed),
        "cv": _digest([fold.held for fold in folds]),
    }


def _digest(values: Any) -> str:
    if values is None:
        return "None"
    parts = values if isinstance(values, list) else [np.asarray(values)]
    texts = [" ".join(map(str, part.ravel().tolist())) for part in map(np.asarray, parts)]
    return f"{zlib.crc32(chr(10).join(texts).encode()):08x}"
