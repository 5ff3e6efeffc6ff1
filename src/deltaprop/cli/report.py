"""How good a model is on rows that it has not seen, beside a linear model and a guess."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from deltaprop.estimators.fitted import as_labels
from deltaprop.inspect.scores import (
    class_scores,
    classification,
    error_scores,
    point_prediction,
    regression,
)

__all__ = ["as_labels", "classification", "peers", "point_prediction", "regression", "show"]


def peers(model: Any, train: tuple[Any, Any], test: tuple[Any, Any]) -> dict[str, dict[str, float]]:
    """The same scores of a linear model and of a guess, on the model's own encoding."""
    from sklearn.dummy import DummyClassifier, DummyRegressor
    from sklearn.linear_model import LogisticRegression, Ridge

    Z, Z_test = model.encoder_.transform(train[0]), model.encoder_.transform(test[0])
    if hasattr(model, "classes_"):
        y, truth = as_labels(train[1], model.classes_), as_labels(test[1], model.classes_)
        rivals = {
            "linear model": LogisticRegression(max_iter=500),
            "most frequent": DummyClassifier(),
        }
        score: Any = class_scores
    else:
        y, truth = np.asarray(train[1], float), np.asarray(test[1], float)
        rivals = {"linear model": Ridge(), "mean": DummyRegressor()}
        score = error_scores
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return {
            name: score(truth, rival.fit(Z, y).predict(Z_test)) for name, rival in rivals.items()
        }


def show(report: dict[str, Any], console: Any) -> None:
    """Print a report for people."""
    from rich.table import Table

    names = list(next(iter(report["scores"].values())))
    table = Table("", *(name.replace("_", " ") for name in names), title="On the rows held out")
    for who, scores in report["scores"].items():
        style = "bold" if who == "deltaprop" else None
        table.add_row(who, *(_number(scores[name]) for name in names), style=style)
    _right(table)
    console.print(table)
    if "classes" in report:
        table = Table("class", "precision", "recall", "f1", "rows")
        for label, scores in report["classes"].items():
            table.add_row(label, *(_number(value) for value in scores.values()))
    else:
        quantiles = report["residual_quantiles"]
        table = Table("residual y - ŷ", *(f"{float(q):.0%}" for q in quantiles))
        table.add_row("", *(_number(value) for value in quantiles.values()))
    _right(table)
    console.print(table)


def _right(table: Any) -> None:
    for column in table.columns[1:]:
        column.justify = "right"


def _number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:,.4g}"
