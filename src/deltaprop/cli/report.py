"""What commands print about the scores of a model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text
from sklearn.base import is_classifier

from deltaprop.cli.output import as_text
from deltaprop.estimators.fitted import as_labels
from deltaprop.inspect.comparison import Comparison
from deltaprop.inspect.scores import classification, of_labels, of_numbers, regression

if TYPE_CHECKING:
    import pandas as pd

    from deltaprop.cli.models import Tabular


def comparison_facts(comparison: Comparison) -> dict[str, Any]:
    """What ``--json`` contains of a comparison."""
    headline = comparison.headline.name
    return {
        "scores": comparison.scores,
        "margins": comparison.margins,
        "metric": headline,
        "verdict": comparison.verdict,
        "differences": {
            name: {"gain": comparison.gain(name), "margin": margin}
            for name, margin in comparison.difference_margins.items()
        },
    }


def details(model: Tabular, X: pd.DataFrame, y: pd.Series) -> dict[str, Any]:
    """Return the scores of each class, or the quantiles of the residuals."""
    found = classification(model, X, y) if is_classifier(model) else regression(model, X, y)
    return {name: value for name, value in found.items() if name != "scores"}


def cv_details(model: Tabular, y: pd.Series) -> dict[str, Any]:
    """Return the same for the predictions of a fit's rows by members that did not see them."""
    predicted = model.cv_prediction_
    assert predicted is not None
    known = np.isfinite(predicted.reshape(len(predicted), -1)).all(axis=1)
    if is_classifier(model):
        labels = model.decide(predicted[known])
        found = of_labels(as_labels(y, model.classes_)[known], labels, model.classes_)
    else:
        numbers = predicted if predicted.ndim == 1 else predicted[:, predicted.shape[1] // 2]
        found = of_numbers(np.asarray(y, float)[known], numbers[known])
    return {name: value for name, value in found.items() if name != "scores"}


# ---------------------------------------------------------------- printed for people


def print_training(result: Mapping[str, Any], comparison: Comparison, n_parameters: int) -> None:
    """Print what a training run did, the scores of its model, and where the results are."""
    console = Console()
    classes = f" with {len(result['classes'])} classes" if "classes" in result else ""
    console.print(
        as_text(result["target"], "bold"),
        f": {result['task']}{classes}, {result['train_rows']:,} training rows{_rest(result)}.",
        sep="",
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
    where = "On the held-out rows" if result["test_rows"] else "In the cross-validation"
    print_scores(result, comparison, where, console)
    for text in result["suspected_leakage"].values():
        console.print(Text("Suspected leakage:", "bold"), as_text(text))
    for what in ("model", "report"):
        if what in result:
            console.print(
                Text(f"The {what} is in"), as_text(result[what], "bold"), sep=" ", end=".\n"
            )


def _rest(result: Mapping[str, Any]) -> str:
    return f", {result['test_rows']:,} held-out rows" if result["test_rows"] else ""


def _networks(result: Mapping[str, Any]) -> str:
    return f"{result['networks']} networks, " if result["networks"] > 1 else ""


def print_scores(
    result: Mapping[str, Any], comparison: Comparison, where: str, console: Console
) -> None:
    """Print the scores and the verdict, and those of each class or the quantiles of residuals."""
    console.print(_score_table(comparison, f"{where} ({comparison.n_rows:,})"))
    if "classes" in result:
        console.print(_class_table(result["classes"]))
    else:
        console.print(_residual_table(result["residual_quantiles"]))
    if result["verdict"]:
        console.print(as_text(result["verdict"], "bold"))


def _score_table(comparison: Comparison, title: str) -> Table:
    """A row for each metric, a column for each model; ± is half of a 95 % interval."""
    table = _table("", *comparison.scores, title=title)
    for metric, row in zip(comparison.metrics, comparison.rows(), strict=True):
        table.add_row(*row, style="bold" if metric is comparison.headline else None)
    return table


def _class_table(classes: Mapping[str, Mapping[str, float]]) -> Table:
    table = _table("class", "precision", "recall", "f1", "rows")
    for label, values in classes.items():
        table.add_row(as_text(label), *(_formatted(value) for value in values.values()))
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
