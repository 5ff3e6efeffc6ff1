"""Compare a model for tables with a linear model and a constant prediction, on the same rows."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from deltaprop.estimators.fitted import as_labels
from deltaprop.estimators.tabular.baseline import Baseline
from deltaprop.estimators.tabular.decisions import cost_matrix
from deltaprop.inspect.metrics import (
    HEADLINE,
    Metric,
    Predicted,
    metric_of_cost,
    metrics_of_classes,
    metrics_of_numbers,
    quick,
)

if TYPE_CHECKING:
    from jaxtyping import Float, Int

    from deltaprop.estimators.tabular.folds import Fold

MODEL, LINEAR, MOST_FREQUENT, MEAN = "deltaprop", "linear model", "most frequent", "mean"
MOST_ROWS = 20_000  # that a linear model is fitted to
N_RESAMPLES, MOST_RESAMPLED = 50, 1000
ROUNDING = 1e-9  # smaller margins are rounding errors
WIDTH = 1.96  # standard errors on each side of a 95 % interval


@dataclass(frozen=True)
class Comparison:
    """The metrics of several models on the same rows.

    Attributes
    ----------
    n_rows : int
    metrics : tuple of Metric
    scores : dict of str to dict of str to float
        For each model, the value of each metric. The first model is the one that is judged.
    margins : dict of str to dict of str to float
        Half the width of their 95 % intervals, from a bootstrap over the rows.
    headline : Metric
        The metric of the verdict.
    difference_margins : dict of str to float
        For each of the other models, half the width of the 95 % interval of the difference between
        the models in this metric. Every resample contains the same rows for both.
    """

    n_rows: int
    metrics: tuple[Metric, ...]
    scores: dict[str, dict[str, float]]
    margins: dict[str, dict[str, float]]
    headline: Metric
    difference_margins: dict[str, float]

    def gain(self, other: str) -> float:
        """By how much the model is better than another one, in the headline's metric."""
        name = self.headline.name
        return self.headline.gain(self.scores[MODEL][name], self.scores[other][name])

    def rows(self) -> Iterator[list[str]]:
        """For each metric its label, ↓ if lower is better, and its value and margin per model."""
        for metric in self.metrics:
            yield [
                metric.label + ("" if metric.greater_is_better else " ↓"),
                *(
                    with_margin(values[metric.name], self.margins[model][metric.name])
                    for model, values in self.scores.items()
                ),
            ]

    @property
    def verdict(self) -> str:
        """Whether the model is worth it, in one sentence."""
        trivial = next((name for name in (MOST_FREQUENT, MEAN) if name in self.scores), None)
        if trivial is not None and self.gain(trivial) <= self.difference_margins[trivial]:
            what = "the most frequent class" if trivial == MOST_FREQUENT else "the mean"
            return (
                f"No better than always predicting {what} {self._values(trivial)}: the columns say "
                "little about the target."
            )
        if LINEAR not in self.scores:
            return ""
        gain, margin = self.gain(LINEAR), self.difference_margins[LINEAR]
        by = f"by {with_margin(abs(gain), margin)} {self.headline.label}"
        if gain > margin:
            return f"Better than the linear model {by}."
        if gain < -margin:
            return f"Worse than the linear model {by}: use that, or get more rows."
        return (
            f"No better than the linear model {self._values(LINEAR)}: use that, or get more rows."
        )

    def _values(self, other: str) -> str:
        name = self.headline.name
        ours, theirs = self.scores[MODEL][name], self.scores[other][name]
        margin = self.difference_margins[other]
        return (
            f"({self.headline.label} {ours:.4g} against {theirs:.4g}; the difference is "
            f"{with_margin(self.gain(other), margin)})"
        )


def with_margin(value: float, margin: float) -> str:
    """A number and its margin of error, to as many digits as the margin justifies.

    Examples
    --------
    >>> with_margin(0.04123, 0.0093), with_margin(1234.5, 87.2)
    ('0.041 ± 0.009', '1,234 ± 87')
    >>> with_margin(-0.0012, 0.02)
    '0.00 ± 0.02'
    """
    if not (math.isfinite(margin) and margin > ROUNDING * max(1.0, abs(value))):
        return f"{value:,.4g}"
    digits = max(0, -math.floor(math.log10(margin)))
    return f"{value:z,.{digits}f} ± {margin:,.{digits}f}"  # z: no -0.00


def compare(
    truth: np.ndarray,
    models: Mapping[str, Predicted],
    metrics: Sequence[Metric],
    headline: str | None = None,
    seed: int = 0,
) -> Comparison:
    """Compute the metrics of several models on the same rows, and bootstrap their intervals.

    Parameters
    ----------
    truth : ndarray (N,)
        The indices of classes, -1 for a class that the model does not know; or numbers.
    models : mapping of str to Predicted
        The first one is judged. The others are what it is compared with.
    metrics : sequence of Metric
    headline : str, optional
        The name of the metric of the verdict. By default ROC-AUC, the pinball loss of a model of
        quantiles, or R².
    seed : int, default=0

    Returns
    -------
    Comparison
        Without metrics that are not defined for these rows. The bootstrap resamples at most 1,000
        rows 50 times, as the standard error of N rows is that of n rows times √(n / N).

    References
    ----------
    Efron and Tibshirani (1993), "An introduction to the bootstrap".
    """
    shrink = WIDTH * math.sqrt(min(1.0, MOST_RESAMPLED / len(truth)))
    column = {metric.name: i for i, metric in enumerate(metrics)}
    with quick():
        values = _values(truth, models, metrics)
        defined = tuple(m for i, m in enumerate(metrics) if np.isfinite(values[:, i]).all())
        shown = _headline(defined, headline)
        resampled = _resampled(truth, models, metrics, seed)
        margins = shrink * np.nan_to_num(np.nanstd(resampled, axis=0))
        gaps = resampled[:, :, column[shown.name]]
        apart = shrink * np.nan_to_num(np.nanstd(gaps - gaps[:, :1], axis=0))
    names = list(models)
    return Comparison(
        len(truth),
        defined,
        _by_name(names, defined, values, column),
        _by_name(names, defined, margins, column),
        shown,
        {name: float(apart[i]) for i, name in enumerate(names) if i},
    )


def _headline(metrics: Sequence[Metric], name: str | None) -> Metric:
    for wanted in (name, *HEADLINE):
        for metric in metrics:
            if metric.name == wanted:
                return metric
    return metrics[0]


def _values(
    truth: np.ndarray, models: Mapping[str, Predicted], metrics: Sequence[Metric]
) -> Float[np.ndarray, "M K"]:
    return np.array([[metric.value(truth, p) for metric in metrics] for p in models.values()])


def _resampled(
    truth: np.ndarray, models: Mapping[str, Predicted], metrics: Sequence[Metric], seed: int
) -> Float[np.ndarray, "B M K"]:
    """The metrics of resamples of the rows."""
    rng = np.random.default_rng(seed)
    rows = rng.permutation(len(truth))[:MOST_RESAMPLED]
    found = []
    for _ in range(N_RESAMPLES):
        drawn = rng.choice(rows, len(rows))
        found.append(_values(truth[drawn], {k: p.take(drawn) for k, p in models.items()}, metrics))
    return np.array(found)


def _by_name(
    names: Sequence[str], metrics: Sequence[Metric], values: np.ndarray, column: Mapping[str, int]
) -> dict[str, dict[str, float]]:
    return {
        name: {metric.name: float(values[i, column[metric.name]]) for metric in metrics}
        for i, name in enumerate(names)
    }


# ---------------------------------------------------------------- of models for tables


class Judged:
    """A fitted TabularClassifier or TabularRegressor, and how it and its baselines are judged.

    Parameters
    ----------
    model : TabularClassifier or TabularRegressor
        Fitted to one target.
    """

    def __init__(self, model: Any) -> None:
        self.model = model
        self.is_classifier = model.target_kind() != "numbers"
        self.trivial = MOST_FREQUENT if self.is_classifier else MEAN
        settings = {} if self.is_classifier else model.mlp_.network_.loss_function.settings
        levels = settings.get("quantiles", ())
        self.levels = tuple(levels) if len(levels) > 1 else None
        cost = getattr(model, "cost", None)
        self.cost = None if cost is None else cost_matrix(cost, len(model.classes_))

    @property
    def metrics(self) -> tuple[Metric, ...]:
        if not self.is_classifier:
            return metrics_of_numbers(self.levels)
        found = metrics_of_classes(hasattr(self.model.mlp_, "predict_proba"))
        return found if self.cost is None else (metric_of_cost(self.cost), *found)

    def truth(self, y: Any) -> np.ndarray:
        """The target as the metrics take it."""
        if not self.is_classifier:
            return np.asarray(y, dtype=float)
        classes = self.model.classes_
        labels = as_labels(y, classes)
        index: np.ndarray = np.searchsorted(classes, labels).clip(max=len(classes) - 1)
        return np.where(classes[index] == labels, index, -1)

    def predictions(self, X: Any) -> Predicted:
        """The predictions of the model."""
        if not self.is_classifier:
            return Predicted.of_numbers(np.asarray(self.model.predict(X)))
        if not hasattr(self.model.mlp_, "predict_proba"):
            return Predicted(self.truth(self.model.predict(X)))
        return self.of_probabilities(self.model.predict_proba(X))

    def of_probabilities(self, P: Float[np.ndarray, "N C"]) -> Predicted:
        """The probabilities, and what the model decides for."""
        return Predicted(self.truth(self.model.decide(P)), P)

    def baseline(self, X: Any, truth: np.ndarray) -> Baseline:
        """Fit the baselines to rows; if there are more than MOST_ROWS, to evenly spaced ones."""
        rows = np.linspace(0, len(truth) - 1, min(len(truth), MOST_ROWS)).astype(int)
        Z, truth = self.model.encode_rows(X.iloc[rows]), truth[rows]
        if not self.is_classifier:
            return Baseline.of_numbers(Z, truth, self.levels)
        return Baseline.of_classes(Z, truth, len(self.model.classes_))

    def _decided(self, P: Float[np.ndarray, "N C"]) -> Predicted:
        """The most probable classes, or those of the least expected cost, as for the model."""
        if self.cost is None:
            return Predicted.of_probabilities(P)
        return Predicted((P @ self.cost).argmin(axis=1), P)

    def with_baselines(
        self, ours: Predicted, linear: np.ndarray, trivial: np.ndarray
    ) -> dict[str, Predicted]:
        """The predictions of all models, by name."""
        make = self._decided if self.is_classifier else Predicted.of_numbers
        return {MODEL: ours, LINEAR: make(linear), self.trivial: make(trivial)}


def on_rows(model: Any, X: Any, y: Any, metric: str | None = None) -> Comparison:
    """Compare a model with the baselines that it has, on rows with a known target.

    Parameters
    ----------
    model : TabularClassifier or TabularRegressor
        Fitted to one target. Its ``baseline_``, if it is not None, was fitted to the same rows.
    X : DataFrame
    y : array-like (N,)
    metric : str, optional
        As `headline` of :func:`compare`.
    """
    judged = Judged(model)
    ours = judged.predictions(X)
    models = {MODEL: ours}
    if (baseline := model.baseline_) is not None:
        Z = model.encode_rows(X)
        models = judged.with_baselines(ours, baseline.linear(Z), baseline.trivial(Z.shape[0]))
    return compare(judged.truth(y), models, judged.metrics, metric)


def trained_on(model: Any, X: Any, y: Any) -> float | None:
    """Return the share of rows that a model was trained on; None if that is not known."""
    fingerprint = getattr(model, "fingerprint_", None)
    if fingerprint is None or not hasattr(X, "columns"):
        return None
    share: float | None = fingerprint.seen(X[list(model.feature_names_in_)], y)
    return share


def in_cross_validation(
    model: Any, X: Any, y: Any, folds: Sequence[Fold], metric: str | None = None
) -> Comparison:
    """Compare predictions for the rows of a fit by members that did not see them with baselines.

    Parameters
    ----------
    model : TabularClassifier or TabularRegressor
        It has held-out predictions, ``cv_prediction_``.
    X, y : DataFrame and array-like (N,)
        The rows that it was fitted to.
    folds : sequence of Fold
        The division of the rows for the baselines.
    metric : str, optional
    """
    judged = Judged(model)
    truth = judged.truth(y)
    held, linear, trivial = _held_out_baselines(judged, X, truth, folds)
    predicted = model.cv_prediction_
    known = held[np.isfinite(predicted.reshape(len(predicted), -1)).all(axis=1)[held]]
    place = np.searchsorted(held, known)
    make: Callable[[np.ndarray], Predicted] = Predicted.of_numbers
    if judged.is_classifier:
        has = hasattr(model.mlp_, "predict_proba")
        make = judged.of_probabilities if has else _of_margins
    models = judged.with_baselines(make(predicted[known]), linear[place], trivial[place])
    return compare(truth[known], models, judged.metrics, metric)


def _of_margins(margins: Float[np.ndarray, "N C"]) -> Predicted:
    return Predicted(margins.argmax(axis=1))


def _held_out_baselines(
    judged: Judged, X: Any, truth: np.ndarray, folds: Sequence[Fold]
) -> tuple[Int[np.ndarray, " M"], np.ndarray, np.ndarray]:
    """The rows that are held out in a fold, in order, and the predictions of the baselines."""
    encode = judged.model.encode_rows
    parts = []
    for fold in folds:
        baseline = judged.baseline(X.iloc[fold.train], truth[fold.train])
        Z = encode(X.iloc[fold.held])
        parts.append((fold.held, baseline.linear(Z), baseline.trivial(Z.shape[0])))
    held, linear, trivial = (np.concatenate(part) for part in zip(*parts, strict=True))
    held, first = np.unique(held, return_index=True)
    return held, linear[first], trivial[first]
