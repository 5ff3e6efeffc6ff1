"""The data of a report: a model, rows with known targets, and results that sections share."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from deltaprop.errors import InputError, raised_as_input_error
from deltaprop.estimators.fitted import as_labels
from deltaprop.inspect.comparison import Comparison, on_rows, trained_on
from deltaprop.inspect.leakage import suspected_leaks
from deltaprop.inspect.opening import (
    OpenedModel,
    fitted_estimator,
    loaded,
    member_name,
    members_of,
    one_member,
    open_model,
    split_pipeline,
)
from deltaprop.inspect.scores import classification, point_prediction, regression

if TYPE_CHECKING:
    from jaxtyping import Bool, Float

SAMPLE = 1000  # rows for the signals, importances and scatter plots


class Case:
    """A model and the rows that it is evaluated on, with the results that several sections use."""

    def __init__(self, model: Any, X: Any, y: Any, member: int | None = None) -> None:
        from sklearn.utils.validation import check_consistent_length

        self.model = loaded(model)
        self.estimator = fitted_estimator(self.model)
        self.members = members_of(self.estimator)
        self.shown = one_member(self.estimator, member)
        self.member, self.member_name = member, member_name(self.estimator, member)
        self.mlp = self.shown.fitted_mlp()
        self.X = _rows(X)
        with raised_as_input_error():
            check_consistent_length(self.X, y)
        values = np.asarray(y)
        values = values[:, 0] if values.ndim == 2 and values.shape[1] == 1 else values
        if values.ndim != 1:
            raise InputError(
                f"y must have one column, got shape {values.shape}. The displays in "
                "deltaprop.inspect support several targets."
            )
        self.is_classifier = self.estimator.target_kind() != "numbers"
        self.y = (
            as_labels(values, self.mlp.classes_) if self.is_classifier else values.astype(float)
        )
        if not self.known.any():
            raise InputError("y has no class that the model has seen in training.")
        unnamed = [f"x{i}" for i in range(self.X.shape[1])]
        self.names = [str(name) for name in getattr(self.X, "columns", unnamed)]
        name = self.estimator.target_name() or getattr(y, "name", None)
        self.target = "y" if name is None else str(name)

    @cached_property
    def known(self) -> Bool[np.ndarray, " N"]:
        """Which rows have a class that the model has seen in training."""
        if not self.is_classifier:
            return np.ones(len(self.y), bool)
        return np.isin(self.y, self.mlp.classes_)

    def sample(self, most: int) -> tuple[Any, np.ndarray]:
        """Return at most `most` dense rows with a known class; each call returns the same rows."""
        from sklearn.utils import _safe_indexing

        rows = np.flatnonzero(self.known)
        if len(rows) > most:
            rows = np.sort(np.random.RandomState(0).choice(rows, most, replace=False))
        X = _safe_indexing(self.X, rows)
        return (X.toarray() if hasattr(X, "toarray") else X), self.y[rows]

    @cached_property
    def predicted(self) -> np.ndarray:
        if self.is_classifier:
            return np.asarray(self.model.predict(self.X))
        return point_prediction(self.model, self.X)

    @cached_property
    def probabilities(self) -> Float[np.ndarray, "N C"] | None:
        if not (self.is_classifier and hasattr(self.model, "predict_proba")):
            return None
        return np.asarray(self.model.predict_proba(self.X))

    @cached_property
    def scores(self) -> dict[str, Any]:
        score = classification if self.is_classifier else regression
        return score(self.model, self.X, self.y)

    @cached_property
    def comparison(self) -> Comparison | None:
        """The model beside the linear one of its training; None if it has none."""
        if getattr(self.estimator, "baseline_", None) is None:
            return None
        return on_rows(self.estimator, self.before_estimator(self.X), self.y)

    @cached_property
    def trained_on(self) -> float | None:
        """The share of the rows that the model was trained on; None if that is unknown."""
        return trained_on(self.estimator, self.before_estimator(self.X), self.y)

    @cached_property
    def inside(self) -> OpenedModel:
        """The network, and a sample of the rows in the form that it takes."""
        return open_model(self.model, *self.sample(SAMPLE), member=self.member)

    @cached_property
    def of_members(self) -> tuple[np.ndarray, np.ndarray]:
        """The predictions of all members (M, N) or (M, N, C) for a sample of the rows, and y.

        They are probabilities, or one-hot rows of the predicted classes if there are none.
        """
        X, y = self.sample(SAMPLE)
        X = self.before_estimator(X)
        models: list[Any] = [one_member(self.estimator, i) for i in range(len(self.members))]
        if not self.is_classifier:
            return np.stack([point_prediction(model, X) for model in models]), y
        if hasattr(models[0].fitted_mlp(), "predict_proba"):
            return np.stack([model.predict_proba(X) for model in models]), y
        labels = np.stack([model.predict(X) for model in models])
        return (labels[:, :, None] == self.mlp.classes_).astype(float), y

    @cached_property
    def missing(self) -> list[int]:
        """The number of missing values in each column."""
        if hasattr(self.X, "isna"):
            return [int(n) for n in self.X.isna().sum()]
        if hasattr(self.X, "tocsr") or self.X.dtype.kind not in "fO":
            return [0] * self.X.shape[1]
        return [int(n) for n in (self.X != self.X).sum(axis=0)]  # NaN differs from itself

    @cached_property
    def duplicates(self) -> int | None:
        """The number of rows that an earlier row repeats; None for sparse rows."""
        import pandas as pd

        if hasattr(self.X, "tocsr"):
            return None
        frame = self.X if hasattr(self.X, "duplicated") else pd.DataFrame(self.X)
        try:
            return int(frame.duplicated().sum())
        except TypeError:  # cells that cannot be compared, such as lists
            return None

    @cached_property
    def constant_columns(self) -> int:
        """The number of columns with at most one distinct value, apart from missing ones."""
        import pandas as pd

        if hasattr(self.X, "tocsr"):
            low, high = self.X.min(axis=0), self.X.max(axis=0)
            return int((low.toarray() == high.toarray()).sum())
        frame = self.X if hasattr(self.X, "iloc") else pd.DataFrame(self.X)
        columns = (frame.iloc[:, i].dropna() for i in range(frame.shape[1]))
        return sum(column.astype(str).nunique() <= 1 for column in columns)

    @cached_property
    def leaks(self) -> dict[str, str]:
        """What is said of each column that alone predicts the target."""
        return suspected_leaks(self.model, *self.sample(SAMPLE))

    def before_estimator(self, X: Any) -> Any:
        """Rows as the estimator takes them, after the other steps of a pipeline."""
        steps, _ = split_pipeline(self.model)
        return X if steps is None else steps.transform(X)

    @cached_property
    def importances(self) -> Float[np.ndarray, "D R"]:
        from sklearn.inspection import permutation_importance

        X, y = self.sample(SAMPLE)
        repeats = 5 if len(self.names) <= 30 else 2
        found = permutation_importance(
            self.model, X, y, scoring=self._skill, n_repeats=repeats, random_state=0
        )
        return np.asarray(found.importances)

    def by_importance(self) -> list[int]:
        """Return the indices of the columns, the most important first."""
        return [int(i) for i in np.argsort(-self.importances.mean(axis=1), kind="stable")]

    def _skill(self, model: Any, X: Any, y: np.ndarray) -> float:
        from sklearn.metrics import accuracy_score, mean_absolute_error

        if not self.is_classifier:
            return -float(mean_absolute_error(y, point_prediction(model, X)))
        if self.probabilities is None:
            return float(accuracy_score(y, model.predict(X)))
        return float(np.mean(np.log(self.of_true_class(np.asarray(model.predict_proba(X)), y))))

    @property
    def skill_name(self) -> str:
        if not self.is_classifier:
            return "mean absolute error"
        return "error rate" if self.probabilities is None else "log loss"

    def of_true_class(self, P: Float[np.ndarray, "N C"], y: np.ndarray) -> Float[np.ndarray, " N"]:
        """Return the predicted probability of each row's true class; 1e-15 for an unknown class."""
        column = np.searchsorted(self.mlp.classes_, y).clip(max=P.shape[1] - 1)
        P_true = np.where(self.mlp.classes_[column] == y, P[np.arange(len(y)), column], 0.0)
        return np.clip(P_true, 1e-15, 1.0)


def _rows(X: Any) -> Any:
    """Return X as a type whose rows can be selected: a pandas DataFrame, CSR matrix or array."""
    if hasattr(X, "to_pandas"):
        return X.to_pandas()
    if hasattr(X, "tocsr"):
        return X.tocsr()
    X = X if hasattr(X, "columns") else np.asarray(X)
    if X.ndim != 2:
        raise InputError(f"X must be a table with rows and columns, got shape {X.shape}.")
    return X
