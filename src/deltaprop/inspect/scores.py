"""Scores of classifiers and regressors on rows with a known target."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from deltaprop.estimators.fitted import as_labels

if TYPE_CHECKING:
    from jaxtyping import Float

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


def classification(model: Any, X: Any, y: Any) -> dict[str, Any]:
    """Return the scores of a classifier, overall and for each class."""
    return of_labels(as_labels(y, model.classes_), model.predict(X), model.classes_)


def of_labels(truth: np.ndarray, predicted: np.ndarray, classes: np.ndarray) -> dict[str, Any]:
    """Return the scores of predicted labels, overall and for each class."""
    from sklearn.metrics import precision_recall_fscore_support

    parts = precision_recall_fscore_support(truth, predicted, labels=classes, zero_division=0.0)
    return {
        "scores": {"deltaprop": class_scores(truth, predicted)},
        "classes": {
            str(label): {
                "precision": float(p),
                "recall": float(r),
                "f1": float(f1),
                "rows": int(n),
            }
            for label, p, r, f1, n in zip(classes, *parts, strict=True)
        },
    }


def regression(model: Any, X: Any, y: Any) -> dict[str, Any]:
    """Return the errors of a regressor and the quantiles of its residuals y - ŷ."""
    return of_numbers(np.asarray(y, dtype=float), point_prediction(model, X))


def of_numbers(
    truth: Float[np.ndarray, " N"], predicted: Float[np.ndarray, " N"]
) -> dict[str, Any]:
    """Return the errors of predicted numbers and the quantiles of the residuals."""
    residuals = np.quantile(truth - predicted, QUANTILES)
    return {
        "scores": {"deltaprop": error_scores(truth, predicted)},
        "residual_quantiles": {
            f"{q:g}": float(r) for q, r in zip(QUANTILES, residuals, strict=True)
        },
    }


def point_prediction(model: Any, X: Any) -> Float[np.ndarray, " N"]:
    """Return one prediction per row; of several quantiles, the middle one."""
    predicted = np.asarray(model.predict(X))
    return predicted if predicted.ndim == 1 else predicted[:, predicted.shape[1] // 2]


def decided(model: Any, P: Float[np.ndarray, "N C"]) -> np.ndarray:
    """Return the labels that a classifier decides for, given the probabilities of its classes."""
    if hasattr(model, "decide"):
        return np.asarray(model.decide(P))
    return np.asarray(model.classes_[P.argmax(axis=1)])


def class_scores(truth: np.ndarray, predicted: np.ndarray) -> dict[str, float]:
    """Return the accuracy, and the mean of the recalls of all classes."""
    from sklearn.metrics import accuracy_score, balanced_accuracy_score

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return {
            "accuracy": float(accuracy_score(truth, predicted)),
            "balanced_accuracy": float(balanced_accuracy_score(truth, predicted)),
        }


def error_scores(truth: np.ndarray, predicted: np.ndarray) -> dict[str, float]:
    """Return R², the mean absolute error and the root mean squared error."""
    from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error

    return {
        "r2": float(r2_score(truth, predicted)),
        "mae": float(mean_absolute_error(truth, predicted)),
        "rmse": float(root_mean_squared_error(truth, predicted)),
    }
