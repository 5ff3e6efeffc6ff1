"""How good a model is on rows that it has not seen, beside a linear model and a guess."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from jaxtyping import Float

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


def classification(model: Any, X: Any, y: Any) -> dict[str, Any]:
    """Scores of a classifier, overall and for each class."""
    from sklearn.metrics import precision_recall_fscore_support

    truth = as_labels(y, model.classes_)
    predicted = model.predict(X)
    parts = precision_recall_fscore_support(
        truth, predicted, labels=model.classes_, zero_division=0.0
    )
    return {
        "scores": {"deltaprop": _class_scores(truth, predicted)},
        "classes": {
            str(label): {
                "precision": float(p),
                "recall": float(r),
                "f1": float(f1),
                "rows": int(n),
            }
            for label, p, r, f1, n in zip(model.classes_, *parts, strict=True)
        },
    }


def regression(model: Any, X: Any, y: Any) -> dict[str, Any]:
    """Errors of a regressor and the quantiles of its residuals y - ŷ."""
    predicted = point_prediction(model, X)
    truth = np.asarray(y, dtype=float)
    residuals = np.quantile(truth - predicted, QUANTILES)
    return {
        "scores": {"deltaprop": _error_scores(truth, predicted)},
        "residual_quantiles": {
            f"{q:g}": float(r) for q, r in zip(QUANTILES, residuals, strict=True)
        },
    }


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
        score: Any = _class_scores
    else:
        y, truth = np.asarray(train[1], float), np.asarray(test[1], float)
        rivals = {"linear model": Ridge(), "mean": DummyRegressor()}
        score = _error_scores
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return {
            name: score(truth, rival.fit(Z, y).predict(Z_test)) for name, rival in rivals.items()
        }


def as_labels(y: Any, classes: np.ndarray) -> np.ndarray:
    """y as the model's labels: words where it was fitted to words."""
    values = np.asarray(y)
    if classes.dtype.kind in "US":
        return np.array([str(value) for value in values])
    return values.astype(classes.dtype)


def point_prediction(model: Any, X: Any) -> Float[np.ndarray, " N"]:
    """One number a row; of several quantiles, the middle one."""
    predicted = np.asarray(model.predict(X))
    return predicted if predicted.ndim == 1 else predicted[:, predicted.shape[1] // 2]


def _class_scores(truth: np.ndarray, predicted: np.ndarray) -> dict[str, float]:
    from sklearn.metrics import accuracy_score, balanced_accuracy_score

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return {
            "accuracy": float(accuracy_score(truth, predicted)),
            "balanced_accuracy": float(balanced_accuracy_score(truth, predicted)),
        }


def _error_scores(truth: np.ndarray, predicted: np.ndarray) -> dict[str, float]:
    from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error

    return {
        "r2": float(r2_score(truth, predicted)),
        "mae": float(mean_absolute_error(truth, predicted)),
        "rmse": float(root_mean_squared_error(truth, predicted)),
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
