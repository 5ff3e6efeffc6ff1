"""The sections about wrong predictions: which ones, by how much, and in which rows."""

from __future__ import annotations

from typing import Any

import numpy as np

from deltaprop.inspect.markup import Markup, figure, figures, label_of, paragraph, table
from deltaprop.inspect.report_data import SAMPLE, Case

WORST_ROWS, WORST_COLUMNS = 10, 8
CLASSES_WITH_NUMBERS, CLASSES_WITH_NAMES = 12, 30


def mistakes(case: Case) -> Markup:
    """Return the confusion matrix of a classifier, or the residuals of a regressor."""
    return _confusion(case) if case.is_classifier else _residuals(case)


def _confusion(case: Case) -> Markup:
    from sklearn.metrics import ConfusionMatrixDisplay

    classes = case.mlp.classes_
    labels = [label_of(label) for label in classes]

    def draw(ax: Any) -> None:
        ax.grid(False)
        ConfusionMatrixDisplay.from_predictions(
            case.y[case.known], case.predicted[case.known], labels=classes, display_labels=labels,
            include_values=len(classes) <= CLASSES_WITH_NUMBERS, colorbar=False, cmap="Blues",
            xticks_rotation=30 if max(map(len, labels)) > 6 else 0, ax=ax,
        )  # fmt: skip
        if len(classes) > CLASSES_WITH_NAMES:
            ax.set_xticks([]), ax.set_yticks([])

    side = min(4.6, 2.6 + 0.3 * len(classes))
    return figures([figure(draw, "Rows by true and predicted class.", side)])


def _residuals(case: Case) -> Markup:
    return figures([_errors(case, "residual_vs_predicted", (
        "The residual y − ŷ against the prediction. A pattern is something that the model misses; "
        "a cloud around the line is noise."
    ))])  # fmt: skip


def _errors(case: Case, kind: str, caption: str) -> Markup:
    from sklearn.metrics import PredictionErrorDisplay

    return figure(
        lambda ax: PredictionErrorDisplay.from_predictions(
            case.y, case.predicted, kind=kind, subsample=SAMPLE, random_state=0, ax=ax,
            scatter_kwargs={"color": "C0", "alpha": 0.5, "s": 14},
        ),
        caption,
    )  # fmt: skip


def calibration(case: Case) -> Markup | None:
    """Return a calibration curve, or true against predicted values for a regressor."""
    if not case.is_classifier:
        return figures([_errors(case, "actual_vs_predicted", (
            "True against predicted values. On the line they agree."
        ))])  # fmt: skip
    if case.probabilities is None:
        return None
    from sklearn.calibration import CalibrationDisplay

    P, classes = case.probabilities, case.mlp.classes_
    if P.shape[1] == 2:
        observed, probability, name = case.y == classes[1], P[:, 1], f"P({label_of(classes[1])})"
    else:
        observed, probability, name = case.predicted == case.y, P.max(axis=1), "P(predicted class)"

    def draw(ax: Any) -> None:
        CalibrationDisplay.from_predictions(
            observed.astype(int), np.clip(probability, 0, 1), pos_label=1, strategy="quantile",
            n_bins=int(np.clip(len(probability) // 20, 3, 10)), name=name, color="C0", ax=ax,
        )  # fmt: skip
        ax.set(xlabel=name, ylabel="observed frequency")
        ax.legend(loc="best")

    return figures([figure(draw, (
        "Observed frequency against predicted probability. Below the line the model is "
        "overconfident, above it underconfident."
    ))])  # fmt: skip


def worst_rows(case: Case) -> Markup:
    """Return a table of the rows with the worst predictions."""
    from sklearn.utils import _safe_indexing

    if not case.is_classifier:
        error = np.abs(case.y - case.predicted)
        extra: dict[str, np.ndarray] = {"y - ŷ": case.y - case.predicted}
    elif case.probabilities is not None:
        of_truth = case.of_truth(case.probabilities, case.y)
        error, extra = 1 - of_truth, {"P(true)": of_truth}
    else:
        error, extra = (case.predicted != case.y).astype(float), {}
    rows = np.argsort(-error, kind="stable")[:WORST_ROWS]
    columns = case.by_importance()[:WORST_COLUMNS]
    X = _safe_indexing(case.X, rows)
    X = X.toarray() if hasattr(X, "toarray") else X
    cells = X.iloc[:, columns].to_numpy(object) if hasattr(X, "columns") else X[:, columns]
    index = getattr(X, "index", rows)
    lines = [
        (str(index[k]), case.y[n], case.predicted[n], *(v[n] for v in extra.values()), *cells[k])
        for k, n in enumerate(rows)
    ]
    heads = ("row", "true", "predicted", *extra, *(case.names[i] for i in columns))
    some = "" if len(columns) == len(case.names) else ", with the most important columns"
    return Markup(
        paragraph(f"The {len(rows)} rows that the model predicts worst{some}.")
        + table(heads, lines)
    )
