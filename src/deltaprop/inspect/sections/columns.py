"""The sections about the columns of the data: which ones matter, and how."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from deltaprop.inspect import displays
from deltaprop.inspect.markup import Markup, figure, figures, label_of, paragraph
from deltaprop.inspect.report_data import Case

if TYPE_CHECKING:
    from jaxtyping import Float

PARTIAL_ROWS, PARTIAL_GRID, PARTIAL_COLUMNS = 200, 20, 4
MOST_CATEGORIES = 12
MOST_CURVES = 6


def importance(case: Case) -> Markup | None:
    """Return a chart of how much the predictions depend on each column."""
    if not np.isfinite(case.importances).all():
        return None
    label = f"increase of the {case.skill_name}"
    show = displays.PermutationImportanceDisplay(
        case.importances, [label_of(name) for name in case.names], label=label
    )
    bars = min(len(case.names), 15)
    return figures([figure(show.plot, (
        "How much worse the predictions become when a column is shuffled. Columns with the same "
        "information share their importance."
    ), 1.2 + 0.26 * bars)])  # fmt: skip


def partial_dependence(case: Case) -> Markup | None:
    """Return curves of the average prediction for the most important columns."""
    shown = (curves for i in case.by_importance() if (curves := _curves(case, i)) is not None)
    some = [curves for curves, _ in zip(shown, range(PARTIAL_COLUMNS), strict=False)]
    if not some:
        return None
    low = min(curves.average.min() for curves in some)
    high = max(curves.average.max() for curves in some)
    margin = 0.05 * (high - low) or 0.5
    what = "probability" if case.probabilities is not None else "prediction"

    def draw(ax: Any, curves: Curves) -> None:
        style = "o:" if curves.is_category else "-"
        for values, name in zip(curves.average, curves.labels, strict=True):
            ax.plot(curves.grid, values, style, label=name)
        ax.set(xlabel=curves.name, ylabel=f"mean {what}", ylim=(low - margin, high + margin))
        if curves.is_category:
            ax.tick_params("x", rotation=30 if max(map(len, curves.grid)) > 6 else 0)
        if any(curves.labels):
            ax.legend()

    text = (
        f"The average {what} over at most {PARTIAL_ROWS} rows if the column had this value in "
        "every row."
    )
    return Markup(
        paragraph(text)
        + figures(
            figure(lambda ax, curves=curves: draw(ax, curves), curves.name) for curves in some
        )
    )


class Curves(NamedTuple):
    """The partial dependence on one column: one curve, or a curve for each class."""

    name: str
    grid: list[Any]
    average: Float[np.ndarray, "K G"]
    labels: list[str | None]
    is_category: bool


def _curves(case: Case, column: int) -> Curves | None:
    """Return None for a column that cannot be an axis: dates, text, a single value."""
    import pandas as pd
    from sklearn.inspection import partial_dependence

    X, _ = case.sample(PARTIAL_ROWS)
    frame = X if hasattr(X, "columns") else pd.DataFrame(X)
    kept = frame.iloc[:, column].notna().to_numpy()
    values = frame.iloc[:, column][kept]
    is_number = pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values)
    is_date = pd.api.types.is_datetime64_any_dtype(values)
    most = len(values) if is_number else MOST_CATEGORIES
    if is_date or not 2 <= values.astype(object).nunique() <= most:
        return None
    X = X[kept]
    if is_number and hasattr(X, "columns"):  # partial_dependence rejects integers
        X = X.astype({X.columns[column]: float})
    found = partial_dependence(
        case.model, X if hasattr(X, "columns") or not is_number else np.asarray(X, float), [column],
        categorical_features=None if is_number else [column], grid_resolution=PARTIAL_GRID,
        percentiles=(0.02, 0.98), kind="average",
    )  # fmt: skip
    average = found.average
    labels: list[str | None] = [None] * len(average)
    if case.is_classifier and len(average) == len(case.mlp.classes_):
        by_frequency = np.argsort(
            -np.bincount(np.searchsorted(case.mlp.classes_, case.y[case.known]))
        )
        some = sorted(by_frequency[:MOST_CURVES])
        average, labels = average[some], [label_of(case.mlp.classes_[k]) for k in some]
    elif case.is_classifier:
        labels = [f"P({label_of(case.mlp.classes_[-1])})"]
    grid = list(found.grid_values[0])
    return Curves(
        case.names[column], grid if is_number else [label_of(value) for value in grid],
        average, labels, not is_number,
    )  # fmt: skip
