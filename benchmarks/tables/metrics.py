"""The scores of predictions on rows that were held out."""

from __future__ import annotations

import numpy as np
from sklearn.metrics import (
    accuracy_score,
    log_loss,
    mean_absolute_error,
    r2_score,
    roc_auc_score,
)

SMALLEST = 1e-7  # a probability of 0 in float32 counts as this


def of_classes(y: np.ndarray, predicted: np.ndarray, p: np.ndarray) -> dict[str, float]:
    """Return accuracy, log-loss and area under the ROC curve (one against the rest, mean)."""
    p = np.clip(np.asarray(p, dtype=np.float64), SMALLEST, 1.0)
    p /= p.sum(axis=1, keepdims=True)
    classes = np.arange(p.shape[1])
    return {
        "accuracy": float(accuracy_score(y, predicted)),
        "log_loss": float(log_loss(y, p, labels=classes)),
        "auc": float(
            roc_auc_score(y, p[:, 1])
            if len(classes) == 2
            else roc_auc_score(y, p, multi_class="ovr", labels=classes)
        ),
    }


def of_numbers(y: np.ndarray, predicted: np.ndarray) -> dict[str, float]:
    """Return R² and the mean absolute error."""
    return {
        "r2": float(r2_score(y, predicted)),
        "mae": float(mean_absolute_error(y, predicted)),
    }
