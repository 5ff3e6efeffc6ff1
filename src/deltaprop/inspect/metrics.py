"""Metrics of predictions, computed by scikit-learn, as objects with a name and a direction."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from jaxtyping import Float

HEADLINE = (
    "cost",
    "roc_auc",
    "pinball",
    "r2",
    "accuracy",
)  # the first that a model has is compared


@dataclass(frozen=True)
class Predicted:
    """Predictions for some rows.

    Attributes
    ----------
    values : ndarray (N,)
        Indices of classes, or numbers; of several quantiles, the middle one.
    spread : ndarray (N, H) or None
        The probability of each class, or every quantile; None if there are none.
    """

    values: np.ndarray
    spread: Float[np.ndarray, "N H"] | None = None

    @classmethod
    def of_probabilities(cls, P: Float[np.ndarray, "N C"]) -> Predicted:
        return cls(P.argmax(axis=1), P)

    @classmethod
    def of_numbers(cls, numbers: Float[np.ndarray, "N ..."]) -> Predicted:
        """Of one number for each row, or of several quantiles."""
        if numbers.ndim == 1:
            return cls(numbers)
        middle = numbers[:, numbers.shape[1] // 2]
        return cls(middle, numbers if numbers.shape[1] > 1 else None)

    def take(self, rows: np.ndarray) -> Predicted:
        """The predictions for these rows."""
        return Predicted(self.values[rows], None if self.spread is None else self.spread[rows])


@dataclass(frozen=True)
class Metric:
    """A number that says how good predictions are.

    Attributes
    ----------
    name, label : str
        In options and files, and for people.
    value : callable ``value(truth, predicted)``
        `truth` are the indices of classes, -1 for a class that the model does not know, or numbers.
    greater_is_better : bool
    """

    name: str
    label: str
    value: Callable[[np.ndarray, Predicted], float]
    greater_is_better: bool = True

    def gain(self, ours: float, theirs: float) -> float:
        """By how much our value is better than theirs."""
        return ours - theirs if self.greater_is_better else theirs - ours


def metrics_of_classes(with_probabilities: bool) -> tuple[Metric, ...]:
    """The metrics of a classifier."""
    of_labels = (
        Metric("accuracy", "accuracy", _of_values("accuracy_score")),
        Metric("balanced_accuracy", "balanced accuracy", _of_values("balanced_accuracy_score")),
    )
    if not with_probabilities:
        return of_labels
    return (
        *of_labels,
        Metric("roc_auc", "ROC-AUC", _one_vs_rest("roc_auc_score")),
        Metric("pr_auc", "PR-AUC", _one_vs_rest("average_precision_score")),
        Metric("log_loss", "log-loss", _of_probabilities("log_loss"), False),
        Metric("brier", "Brier score", _of_probabilities("brier_score_loss"), False),
    )


def metric_of_cost(cost: Float[np.ndarray, "C C"]) -> Metric:
    """The mean cost of a decision; cost[i, j] is that of class j for a row of class i."""

    def value(truth: np.ndarray, predicted: Predicted) -> float:
        known = truth >= 0
        return float(cost[truth[known], predicted.values[known]].mean()) if known.any() else np.nan

    return Metric("cost", "cost per row", value, False)


def metrics_of_numbers(levels: tuple[float, ...] | None = None) -> tuple[Metric, ...]:
    """The metrics of a regressor; with quantile levels also their mean pinball loss."""
    found = (
        Metric("r2", "R²", _of_values("r2_score")),
        Metric("mae", "MAE", _of_values("mean_absolute_error"), False),
        Metric("rmse", "RMSE", _of_values("root_mean_squared_error"), False),
    )
    if levels is None:
        return found
    return (*found, Metric("pinball", "pinball loss", _pinball(levels), False))


@contextmanager
def quick() -> Iterator[None]:
    """Context in which scikit-learn's metrics neither warn nor check what is known to be valid."""
    from sklearn import config_context

    with (
        warnings.catch_warnings(),
        config_context(assume_finite=True, skip_parameter_validation=True),
    ):
        warnings.simplefilter("ignore")
        yield


def _of_values(name: str) -> Callable[[np.ndarray, Predicted], float]:
    def value(truth: np.ndarray, predicted: Predicted) -> float:
        return float(_function(name)(truth, predicted.values))

    return value


def _of_probabilities(name: str) -> Callable[[np.ndarray, Predicted], float]:
    def value(truth: np.ndarray, predicted: Predicted) -> float:
        truth, P = _known(truth, predicted)
        if len(truth) == 0 or P.shape[1] < 2:
            return float("nan")
        return float(_function(name)(truth, P, labels=np.arange(P.shape[1])))

    return value


def _one_vs_rest(name: str) -> Callable[[np.ndarray, Predicted], float]:
    """Of two classes, the metric of the second; of several, the mean over those that occur."""

    def value(truth: np.ndarray, predicted: Predicted) -> float:
        truth, P = _known(truth, predicted)
        counts = np.bincount(truth, minlength=P.shape[1])
        classes = [1] if P.shape[1] == 2 else range(P.shape[1])
        found = [
            _function(name)(truth == c, P[:, c]) for c in classes if 0 < counts[c] < len(truth)
        ]
        return float(np.mean(found)) if found else float("nan")

    return value


def _pinball(levels: tuple[float, ...]) -> Callable[[np.ndarray, Predicted], float]:
    def value(truth: np.ndarray, predicted: Predicted) -> float:
        every = predicted.values[:, None] if predicted.spread is None else predicted.spread
        losses = [
            _function("mean_pinball_loss")(truth, column, alpha=q)
            for column, q in zip(every.T, levels, strict=True)
        ]
        return float(np.mean(losses))

    return value


def _known(truth: np.ndarray, predicted: Predicted) -> tuple[np.ndarray, np.ndarray]:
    """The rows of classes that the model knows."""
    assert predicted.spread is not None
    known = truth >= 0
    return truth[known], predicted.spread[known]


def _function(name: str) -> Any:
    import sklearn.metrics

    return getattr(sklearn.metrics, name)


CLASS_METRICS = tuple(metric.name for metric in metrics_of_classes(True))
NUMBER_METRICS = tuple(metric.name for metric in metrics_of_numbers((0.5,)))
