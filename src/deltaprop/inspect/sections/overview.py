"""The sections that describe a model: what it is, how good it is, how it was trained."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np

from deltaprop.estimators.tabular.summaries import column_table
from deltaprop.explain.layers import layers_html
from deltaprop.inspect import displays
from deltaprop.inspect.comparison import Comparison
from deltaprop.inspect.markup import (
    Markup,
    facts,
    figure,
    figures,
    heading,
    paragraph,
    scrolling,
    table,
    text_of,
)
from deltaprop.inspect.opening import split_pipeline
from deltaprop.inspect.report_data import Case
from deltaprop.inspect.sections.members import curves, held_out

MOST_CATEGORIES = 12


def model(case: Case) -> Markup:
    """Return the kind of model, its layers, settings and data."""
    net = case.inside.network
    parts: list[Markup] = []
    if case.estimator is not case.model:
        steps, _ = split_pipeline(case.model)
        before = ", ".join(type(step).__name__ for _, step in steps.steps) if steps else "no steps"
        parts.append(paragraph(f"A pipeline: {before}, then a {type(case.estimator).__name__}."))
    parts += [paragraph(_training(case)), scrolling(layers_html(net))]
    changed = _changed_settings(case.estimator)
    if changed:
        parts += [
            heading("Settings that are not the default"),
            table(("setting", "value"), changed),
        ]
    parts += [heading("Data"), *_data(case)]
    return Markup("".join(parts))


def _training(case: Case) -> str:
    if case.member_name is not None:
        return (
            f"An ensemble of {len(case.members)} networks: the prediction is the mean of theirs. "
            "The sections on signals, weights and equations show the network of "
            f"{case.member_name}."
        )
    mlp = case.mlp
    return (
        f"Stopped after {mlp.n_iter_} epochs ({mlp.stop_reason_}) with a training loss of "
        f"{mlp.loss_:.4g}."
    )


def _changed_settings(estimator: Any) -> list[tuple[str, str]]:
    defaults = inspect.signature(type(estimator)).parameters
    return [
        (name, repr(value))
        for name, value in estimator.get_params(deep=False).items()
        if name != "callbacks" and repr(value) != repr(defaults[name].default)
    ]


def _data(case: Case) -> list[Markup]:
    """Return an overview of the rows, a table of the columns, and warnings of suspected leakage."""
    encoder = getattr(case.estimator, "encoder_", None)
    if encoder is None:
        heads, rows = ["column", "kind"], [[name, "numeric"] for name in case.names]
    else:
        heads, rows = column_table(encoder)
        if case.estimator is case.model:
            rows += [[name, "not used"] for name in case.names if name not in encoder.columns_]
        heads = ["missing in training" if head == "missing" else head for head in heads]
    rows = [[*row, *[""] * (len(heads) - len(row))] for row in [_target(case), *rows]]
    missing = dict(zip(case.names, case.missing, strict=True))
    here = ["0", *(str(missing.get(str(row[0]), "")) for row in rows[1:])]
    rows = [[*row[:2], count, *row[2:]] for row, count in zip(rows, here, strict=True)]
    heads = [*heads[:2], "missing here", *heads[2:]]
    leaks = (paragraph(f"Suspected leakage: {text}") for text in case.leaks.values())
    return [facts(_counts(case)), table(heads, rows, tall=True), *leaks]


def _counts(case: Case) -> dict[str, object]:
    """Return what the rows of the report are, in numbers."""
    cells = len(case.y) * len(case.names)
    counts: dict[str, object] = {
        "rows here": f"{len(case.y):,}",
        "columns": f"{len(case.names):,}",
        "of the cells missing": f"{sum(case.missing) / cells:.1%}",
        "duplicate rows": "" if case.duplicates is None else f"{case.duplicates:,}",
        "columns with one value": f"{case.constant_columns:,}",
    }
    if case.is_classifier:
        _, sizes = np.unique(case.y, return_counts=True)
        counts["of the rows in the rarest class"] = f"{sizes.min() / len(case.y):.1%}"
    return {name: value for name, value in counts.items() if value != ""}


def _target(case: Case) -> list[str]:
    target = "number"
    if case.is_classifier:
        labels = ", ".join(text_of(label, 30) for label in case.mlp.classes_[:MOST_CATEGORIES])
        target = f"{len(case.mlp.classes_)} classes: {labels}"
    return [f"{case.target} (the target)", target]


def scores(case: Case) -> Markup:
    """Return the scores of the predictions, beside those of a linear model if there is one."""
    if case.comparison is None:
        return _scores(case)
    return Markup(_compared(case.comparison, case.trained_on) + _scores(case))


def _compared(comparison: Comparison, trained_on: float | None) -> Markup:
    """A row for each metric, a column for each model, and what follows from them."""
    parts = [table(("", *comparison.scores), list(comparison.rows()))]
    if trained_on:
        parts.append(
            paragraph(
                f"The model was trained on {max(trained_on, 0.01):.0%} of these rows: on new rows "
                "it is usually less accurate."
            )
        )
    elif comparison.verdict:
        parts.append(paragraph(comparison.verdict))
    parts.append(paragraph("± is half of a 95 % interval; ↓ means that lower is better."))
    return Markup("".join(parts))


def _scores(case: Case) -> Markup:
    scores = dict(case.scores["scores"]["deltaprop"])
    names = {
        "accuracy": "accuracy",
        "balanced_accuracy": "balanced accuracy",
        "r2": "R²",
        "mae": "mean absolute error",
        "rmse": "root mean squared error",
    }
    shown: dict[str, object] = {names[name]: value for name, value in scores.items()}
    shown |= held_out(case)
    if case.is_classifier:
        if case.probabilities is not None:
            shown["log loss"] = -float(
                np.mean(np.log(case.of_true_class(case.probabilities, case.y)))
            )
        _, counts = np.unique(case.y, return_counts=True)
        shown["accuracy of the most frequent class"] = float(counts.max() / counts.sum())
        heads = ("class", "precision", "recall", "f1", "rows")
        rows = [(label, *values.values()) for label, values in case.scores["classes"].items()]
        return Markup(facts(shown) + table(heads, rows, tall=True))
    shown["error of always predicting the mean"] = float(np.std(case.y))
    quantiles = case.scores["residual_quantiles"]
    levels = [f"{float(q):.0%}" for q in quantiles]
    return Markup(facts(shown) + table(("y - ŷ", *levels), [("quantile", *quantiles.values())]))


def learning_curves(case: Case) -> Markup | None:
    """Return the loss and the validation score of each epoch."""
    if not getattr(case.mlp, "loss_curve_", None):
        return None
    show = displays.LossCurveDisplay.from_estimator
    is_ensemble = len(case.members) > 1 and all(m.validation_loss_curve_ for m in case.members)
    parts = [curves(case)] if is_ensemble else []
    of = "" if case.member_name is None else f" of {case.member_name}"
    parts += [
        figure(
            lambda ax: show(case.shown, ax=ax),
            f"The loss{of} after each epoch. If the validation loss is far above the training "
            "loss, the model overfits. If both still fall at the end, more epochs would help.",
        )
    ]
    if getattr(case.mlp, "validation_scores_", None):
        score = case.mlp.scoring if isinstance(case.mlp.scoring, str) else "loss"
        default = "accuracy" if case.is_classifier else "R²"
        name = default if score == "loss" else score
        parts.append(
            figure(
                lambda ax: show(case.shown, kind="score", ax=ax).ax_.set_ylabel(name),
                f"The {name}{of} on the validation rows.",
            )
        )
    return figures(parts)
