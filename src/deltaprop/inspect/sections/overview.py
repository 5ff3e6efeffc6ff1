"""The sections that describe a model: what it is, how good it is, how it was trained."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np

from deltaprop.explain.layers import layers_html
from deltaprop.inspect import displays
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
from deltaprop.inspect.report_data import Case

MOST_CATEGORIES = 12


def model(case: Case) -> Markup:
    """Return the kind of model, its layers, settings and data."""
    net, mlp = case.estimator.fitted_network(), case.mlp
    parts: list[Markup] = []
    if case.estimator is not case.model:
        before = ", ".join(type(step).__name__ for _, step in case.model.steps[:-1])
        parts.append(paragraph(f"A pipeline: {before}, then a {type(case.estimator).__name__}."))
    parts.append(
        paragraph(
            f"Stopped after {mlp.n_iter_} epochs ({mlp.stop_reason_}) with a training loss of "
            f"{mlp.loss_:.4g}."
        )
    )
    parts.append(scrolling(layers_html(net)))
    changed = _changed_settings(case.estimator)
    if changed:
        parts += [
            heading("Settings that are not the default"),
            table(("setting", "value"), changed),
        ]
    parts += [heading("Data"), table(("column", "kind"), _columns(case), tall=True)]
    return Markup("".join(parts))


def _changed_settings(estimator: Any) -> list[tuple[str, str]]:
    defaults = inspect.signature(type(estimator)).parameters
    return [
        (name, repr(value))
        for name, value in estimator.get_params(deep=False).items()
        if name != "callbacks" and repr(value) != repr(defaults[name].default)
    ]


def _columns(case: Case) -> list[tuple[str, str]]:
    target = "number"
    if case.is_classifier:
        labels = ", ".join(text_of(label, 30) for label in case.mlp.classes_[:MOST_CATEGORIES])
        target = f"{len(case.mlp.classes_)} classes: {labels}"
    kinds = case.estimator.column_kinds()
    columns = [(name, kinds.get(name, "numeric")) for name in case.names]
    return [(f"{case.target} (the target)", target), *columns]


def scores(case: Case) -> Markup:
    """Return the scores of the predictions."""
    scores = dict(case.scores["scores"]["deltaprop"])
    names = {
        "accuracy": "accuracy",
        "balanced_accuracy": "balanced accuracy",
        "r2": "R²",
        "mae": "mean absolute error",
        "rmse": "root mean squared error",
    }
    shown: dict[str, object] = {names[name]: value for name, value in scores.items()}
    if case.is_classifier:
        if case.probabilities is not None:
            shown["log loss"] = -float(np.mean(np.log(case.of_truth(case.probabilities, case.y))))
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
    parts = [
        figure(
            lambda ax: show(case.model, ax=ax),
            "The loss after each epoch. If the validation loss is far above the training loss, the "
            "model overfits. If both still fall at the end, more epochs would help.",
        )
    ]
    if getattr(case.mlp, "validation_scores_", None):
        score = case.mlp.scoring if isinstance(case.mlp.scoring, str) else "loss"
        default = "accuracy" if case.is_classifier else "R²"
        name = default if score == "loss" else score
        parts.append(
            figure(
                lambda ax: show(case.model, kind="score", ax=ax).ax_.set_ylabel(name),
                f"The {name} on the validation rows.",
            )
        )
    return figures(parts)
