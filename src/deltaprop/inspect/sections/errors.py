"""The sections about wrong predictions: which ones, by how much, and in which rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from deltaprop.inspect.markup import (
    Markup,
    figure,
    figures,
    label_of,
    paragraph,
    table,
    text_of,
)
from deltaprop.inspect.report_data import SAMPLE, Case

if TYPE_CHECKING:
    from deltaprop.explain.contributed import Contributions

WORST_ROWS, WORST_COLUMNS = 10, 8
EXPLAINED, BASELINES = 3, 30  # rows whose predictions are explained, and compared with
OF_SEVERAL_CLASSES = (
    "How often the predicted class is right, against its predicted probability. Below the line the "
    "model is overconfident, above it underconfident."
)
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
    from sklearn.metrics import PredictionErrorDisplay

    return figures([figure(
        lambda ax: PredictionErrorDisplay.from_predictions(
            case.y, case.predicted, kind="residual_vs_predicted", subsample=SAMPLE, random_state=0,
            ax=ax, scatter_kwargs={"color": "C0", "alpha": 0.5, "s": 14},
        ),
        "The residual y − ŷ against the prediction. A pattern is something that the model misses; "
        "a cloud around the line is noise.",
    )])  # fmt: skip


def calibration(case: Case) -> Markup | None:
    """Return the calibration curve of a classifier that predicts probabilities."""
    if case.probabilities is None:
        return None
    from sklearn.calibration import CalibrationDisplay

    P, classes = case.probabilities, case.mlp.classes_
    if P.shape[1] == 2:
        observed, probability = case.y == classes[1], P[:, 1]
        name, caption = f"P({label_of(classes[1])})", _of_two_classes(*map(label_of, classes))
    else:
        observed, probability = case.predicted == case.y, P.max(axis=1)
        name, caption = "P(predicted class)", OF_SEVERAL_CLASSES

    def draw(ax: Any) -> None:
        CalibrationDisplay.from_predictions(
            observed.astype(int), np.clip(probability, 0, 1), pos_label=1, strategy="quantile",
            n_bins=int(np.clip(len(probability) // 20, 3, 10)), name=name, color="C0", ax=ax,
        )  # fmt: skip
        ax.set(xlabel=name, ylabel="observed frequency")
        ax.legend(loc="best")

    return figures([figure(draw, caption)])


def _of_two_classes(first: str, second: str) -> str:
    """The caption of P(second), which says something else on each side of one half."""
    return (
        f"The observed frequency of {second} against the predicted P({second}). Below the line "
        f"P({second}) is too high, above it too low. Right of ½, where {second} is predicted, the "
        f"model is therefore overconfident below the line; left of ½, where {first} is predicted, "
        "it is overconfident above the line."
    )


def worst_rows(case: Case) -> Markup:
    """Return a table of the rows with the worst predictions."""
    from sklearn.utils import _safe_indexing

    if not case.is_classifier:
        error = np.abs(case.y - case.predicted)
        extra: dict[str, np.ndarray] = {"y - ŷ": case.y - case.predicted}
    elif case.probabilities is not None:
        of_true_class = case.of_true_class(case.probabilities, case.y)
        error, extra = 1 - of_true_class, {"P(true)": of_true_class}
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
        + _contributions(case, rows[:EXPLAINED], [line[0] for line in lines])
    )


def _contributions(case: Case, rows: np.ndarray, names: list[str]) -> Markup:
    """Return charts of how much each column contributed to the predictions of some rows."""
    from sklearn.utils import _safe_indexing

    others, _ = case.sample(BASELINES)
    estimator: Any = case.estimator
    found = estimator.contributions(
        case.before_estimator(_safe_indexing(case.X, rows)), case.before_estimator(others)
    )
    charts = [_chart(found, k, f"Row {names[k]}") for k in range(len(rows))]
    text = (
        "How much each column contributed to the predictions of the first of these rows, compared "
        f"with the mean prediction of {len(others)} rows, by integrated gradients."
    )
    return Markup(paragraph(text) + figures(charts))


def _chart(found: Contributions, k: int, name: str) -> Markup:
    bars = found.row(k)[:WORST_COLUMNS][::-1]
    j = int(found.predicted[k].argmax())
    labels = [
        label_of(f"{column} = {text_of(value)}")
        for column, value in zip(bars.index, bars.value, strict=True)
    ]

    def draw(ax: Any) -> None:
        signs = ["C0" if amount >= 0 else "C1" for amount in bars.contribution]
        ax.barh(range(len(bars)), bars.contribution, color=signs)
        ax.set_yticks(range(len(bars)), labels)
        ax.axvline(0, color="gray", linewidth=0.8)
        ax.set(xlabel="contribution")

    caption = (
        f"{name}: {label_of(found.outputs[j])}, {found.predicted[k, j]:.4g} instead of "
        f"{found.base[j]:.4g}."
    )
    return figure(draw, caption, 1.2 + 0.26 * len(bars))
