"""Faults of the data: inputs on a wrong scale, and columns that reveal the target."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from deltaprop.inspect.faults.examined import Examination
from deltaprop.inspect.faults.finding import Finding, finding

if TYPE_CHECKING:
    from jaxtyping import Float, Num

# Initial weights suit columns of RMS 1: |a_0| is then about 1. At RMS 30, a is about 30: sigmoids
# are flat from 3 (tanh) or 6 on, and a step that suits other weights is 900 times too long for
# these weights. Pixels from 0 to 16 (RMS up to 12) still train.
UNSCALED = 30.0
# A single column scores 99 %: the strongest column of the usual tables (iris, wine, breast cancer,
# penguins) scores 96 %.
LEAK = 0.99


def unscaled_inputs(case: Examination) -> Iterator[Finding]:
    X = case.X
    squares = X.multiply(X) if hasattr(X, "multiply") else np.square(X, dtype=np.float64)
    rms = np.sqrt(np.asarray(squares.mean(axis=0)).ravel())
    largest, usual = int(np.argmax(rms)), float(np.median(rms))
    if rms[largest] > UNSCALED or rms[largest] < 1 / UNSCALED:
        seen = (
            f"{_column(case, largest)} has RMS {rms[largest]:.3g}, the median column {usual:.3g}; "
            "initial weights assume an RMS of about 1."
        )
        yield finding("unscaled inputs", 0, seen)


def label_leakage(case: Examination) -> Iterator[Finding]:
    from sklearn.model_selection import cross_val_score
    from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

    t = case.net.encode(case.y)
    if len(t) < 50:  # with few rows, some column of many predicts y by chance
        return
    labels = _classes(t, case.net.loss_function.name)
    if labels is None:
        tree: Any = DecisionTreeRegressor(min_samples_leaf=5, random_state=0)
        scoring, target = "r2", t
    else:
        counts = np.unique(labels, return_counts=True)[1]
        if len(counts) < 2 or counts.min() < 3:
            return
        # Two leaves for each class suffice for a column that determines the class.
        tree = DecisionTreeClassifier(max_leaf_nodes=2 * len(counts), random_state=0)
        scoring, target = "balanced_accuracy", labels
    for d in _candidates(case.X, t):
        x = case.X[:, [d]]
        x = x.toarray() if hasattr(x, "toarray") else x
        if tree.fit(x, target).score(x, target) < LEAK:
            continue
        score = float(np.mean(cross_val_score(tree, x, target, scoring=scoring, cv=3)))
        if score >= LEAK:
            what = "R²" if labels is None else "balanced accuracy"
            seen = f"{_column(case, d)} alone predicts y with {what} {score:.3f} on held-out rows."
            yield finding("label leakage", None, seen)


def _classes(t: Float[np.ndarray, "N K"], loss: str) -> Num[np.ndarray, " N"] | None:
    """Return the class codes, or None if t does not contain classes."""
    if loss not in ("cross_entropy", "focal", "binary_cross_entropy", "hinge"):
        return None
    labels: np.ndarray = t.argmax(axis=1) if t.shape[1] > 1 else (t[:, 0] > 0.5).astype(int)
    return labels


def _candidates(X: Any, t: Float[np.ndarray, "N K"], most: int = 500) -> Sequence[int]:
    """Return all columns, or the `most` columns with the largest covariance with y."""
    if X.shape[1] <= most:
        return range(X.shape[1])
    covariance = np.abs(X.T @ (t - t.mean(axis=0))).max(axis=1)
    return [int(d) for d in np.argsort(-covariance)[:most]]


def _column(case: Examination, d: int) -> str:
    return f"column {d}" if case.names is None else f"column {case.names[d]!r}"
