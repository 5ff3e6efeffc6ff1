"""Scores of a model, next to those of a linear model and a constant prediction.

They are those on held-out rows or, without such rows, those in a cross-validation.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from sklearn.base import is_classifier

from deltaprop.estimators.fitted import as_labels
from deltaprop.inspect.scores import (
    class_scores,
    classification,
    error_scores,
    of_labels,
    of_numbers,
    regression,
)

if TYPE_CHECKING:
    import pandas as pd

    from deltaprop.cli.models import Tabular

    Rows = tuple[pd.DataFrame, pd.Series]

Scores = dict[str, float]
BASELINE_FOLDS, MOST_ROWS = 3, 20_000


def scores(model: Tabular, X: pd.DataFrame, y: pd.Series) -> dict[str, Any]:
    """Return the scores of a model on rows with a known target."""
    return classification(model, X, y) if is_classifier(model) else regression(model, X, y)


def cv_scores(model: Tabular, y: pd.Series) -> dict[str, Any]:
    """Return the scores of predictions for the rows of a fit by members that did not see them."""
    predicted = model.cv_prediction_
    assert predicted is not None
    known = np.isfinite(predicted.reshape(len(predicted), -1)).all(axis=1)
    if not is_classifier(model):
        numbers = predicted if predicted.ndim == 1 else predicted[:, predicted.shape[1] // 2]
        return of_numbers(np.asarray(y, float)[known], numbers[known])
    labels = model.decide(predicted[known])
    return of_labels(as_labels(y, model.classes_)[known], labels, model.classes_)


def cv_baseline_scores(model: Tabular, X: pd.DataFrame, y: pd.Series) -> dict[str, Scores]:
    """Return the scores of the baselines in a cross-validation on at most MOST_ROWS rows."""
    from sklearn.model_selection import cross_val_predict

    rows = np.linspace(0, len(y) - 1, min(len(y), MOST_ROWS)).astype(int)
    Z, known = model.encoder_.encode(X.iloc[rows]), y.iloc[rows]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if is_classifier(model):
            truth = as_labels(known, model.classes_)
            score, baselines = class_scores, _classifiers(truth)
        else:
            truth, score, baselines = np.asarray(known, float), error_scores, _regressors()
        return {
            name: score(truth, cross_val_predict(baseline, Z, truth, cv=BASELINE_FOLDS))
            for name, baseline in baselines.items()
        }


def baseline_scores(model: Tabular, train: Rows, test: Rows) -> dict[str, Scores]:
    """Return the scores of a linear model and a constant prediction on the model's encoding."""
    encode = model.encoder_.encode
    Z, Z_test = encode(train[0]), encode(test[0])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if is_classifier(model):
            labels, truth = (as_labels(y, model.classes_) for y in (train[1], test[1]))
            return {
                name: class_scores(truth, baseline.fit(Z, labels).predict(Z_test))
                for name, baseline in _classifiers(labels).items()
            }
        numbers, truth = (np.asarray(y, float) for y in (train[1], test[1]))
        return {
            name: error_scores(truth, baseline.fit(Z, numbers).predict(Z_test))
            for name, baseline in _regressors().items()
        }


def _classifiers(labels: np.ndarray) -> dict[str, Any]:
    from sklearn.dummy import DummyClassifier
    from sklearn.linear_model import LogisticRegression

    baselines = {
        "linear model": LogisticRegression(max_iter=500),
        "most frequent": DummyClassifier(),
    }
    if len(np.unique(labels)) < 2:  # possible in a sample of a large table
        del baselines["linear model"]
    return baselines


def _regressors() -> dict[str, Any]:
    from sklearn.dummy import DummyRegressor
    from sklearn.linear_model import Ridge

    return {"linear model": Ridge(), "mean": DummyRegressor()}


# ---------------------------------------------------------------- printed for people


def print_training(result: Mapping[str, Any], n_parameters: int) -> None:
    """Print what a training run did, the scores of its model, and where the results are."""
    console = Console()
    classes = f" with {len(result['classes'])} classes" if "classes" in result else ""
    console.print(
        f"[bold]{result['target']}[/]: {result['task']}{classes}, {result['train_rows']:,} "
        f"training rows{_rest(result)}."
    )
    if result["rows_without_target"]:
        console.print(f"{result['rows_without_target']} row(s) without a target were left out.")
    console.print(
        f"{_networks(result)}{n_parameters:,} parameters, {result['epochs']} epochs in "
        f"{result['seconds']:.1f} s ({result['stop_reason']})."
    )
    if "epsilon" in result:
        console.print(
            f"The training is ({result['epsilon']:.3g}, {result['delta']:.3g})-differentially "
            "private. The encoding of the table is not covered."
        )
    print_scores(result, console)
    for text in result["suspected_leakage"].values():
        console.print(f"[bold]Suspected leakage:[/] {escape(text)}")
    console.print(f"The model is in [bold]{result['model']}[/].")
    if "report" in result:
        console.print(f"The report is in [bold]{result['report']}[/].")


def _rest(result: Mapping[str, Any]) -> str:
    return f", {result['test_rows']:,} held-out rows" if result["test_rows"] else ""


def _networks(result: Mapping[str, Any]) -> str:
    return f"{result['networks']} networks, " if result["networks"] > 1 else ""


def print_scores(result: Mapping[str, Any], console: Console) -> None:
    """Print the scores, and those of each class or the quantiles of the residuals."""
    held_out = result.get("test_rows", True)
    title = "On the held-out rows" if held_out else "In the cross-validation"
    console.print(_score_table(result["scores"], title))
    if "classes" in result:
        console.print(_class_table(result["classes"]))
    else:
        console.print(_residual_table(result["residual_quantiles"]))


def _score_table(scores: Mapping[str, Scores], title: str) -> Table:
    names = list(next(iter(scores.values())))
    table = _table("", *(name.replace("_", " ") for name in names), title=title)
    for model, values in scores.items():
        style = "bold" if model == "deltaprop" else None
        table.add_row(model, *(_formatted(values[name]) for name in names), style=style)
    return table


def _class_table(classes: Mapping[str, Scores]) -> Table:
    table = _table("class", "precision", "recall", "f1", "rows")
    for label, values in classes.items():
        table.add_row(label, *(_formatted(value) for value in values.values()))
    return table


def _residual_table(quantiles: Mapping[str, float]) -> Table:
    table = _table("residual y - ŷ", *(f"{float(q):.0%}" for q in quantiles))
    table.add_row("", *(_formatted(value) for value in quantiles.values()))
    return table


def _table(*columns: str, title: str | None = None) -> Table:
    """Return an empty table; its first column is for names, the others are for numbers."""
    table = Table(*columns, title=title)
    for column in table.columns[1:]:
        column.justify = "right"
    return table


def _formatted(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:,.4g}"
