"""What a fitted tabular estimator shows of itself: a line of text, and tables for notebooks."""

from __future__ import annotations

from collections import Counter
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

from deltaprop.data.columns.description import shortened

if TYPE_CHECKING:
    from deltaprop.data.encoder import TableEncoder

MOST_COLUMNS = 100  # rows of the table in a notebook
HEADS = (
    "column", "kind", "note", "encoded columns", "bins", "missing", "missing values become",
    "unknown values become",
)  # fmt: skip


def summary(model: Any) -> str:
    """The number of networks and of columns of each kind, and the score of the cross-validation.

    Examples
    --------
    >>> import deltaprop as dp
    >>> X, y = [[0.0, "a"], [1.0, "b"], [2.0, "a"], [3.0, "b"]] * 5, [0.0, 1.0, 2.0, 3.0] * 5
    >>> dp.TabularRegressor(cv=1, max_iter=5, random_state=0).fit(X, y)
    TabularRegressor(cv=1, max_iter=5, random_state=0)
    # fitted: 1 network; 2 columns: 1 numeric, 1 category
    """
    n, kinds = len(model.members_), model.encoder_.kinds_
    networks = f"{n} network{'s' * (n > 1)}"
    if model.cv_score_ is not None:
        networks += f", score {model.cv_score_:.4g} in the cross-validation"
    threshold = threshold_in_words(model)
    if threshold is not None:
        networks += f", decision threshold {threshold}"
    counts = ", ".join(f"{number} {kind}" for kind, number in Counter(kinds.values()).items())
    return f"fitted: {networks}; {len(kinds)} column{'s' * (len(kinds) > 1)}: {counts}"


def threshold_in_words(model: Any) -> str | None:
    """The thresholds of a classifier, of each label; None if all are 0.5 or there are none."""
    found = getattr(model, "threshold_", None)
    if found is None or (np.asarray(found) == 0.5).all():
        return None
    return ", ".join(f"{t:.3g}" for t in np.atleast_1d(found))


def column_table(encoder: TableEncoder) -> tuple[list[str], list[list[str]]]:
    """The heads and rows of a table of what was done to each column, without empty columns.

    The first two columns are the name and the kind.
    """
    rows = _rows(encoder)
    filled = [i for i in range(len(HEADS)) if any(row[i] for row in rows)]
    return [HEADS[i] for i in filled], [[row[i] for i in filled] for row in rows]


def _rows(encoder: TableEncoder) -> list[tuple[str, ...]]:
    table = encoder.describe()
    return [
        (
            name, row.kind, row.note, _with_names(row.encoded - row.bins, row.names),
            str(row.bins or ""), "" if row.missing is None else str(row.missing),
            row.missing_become, row.unknown_become,
        )
        for name, row in zip(
            table.index, table.astype({"missing": object}).itertuples(index=False), strict=True
        )
    ]  # fmt: skip


def columns_html(encoder: TableEncoder) -> str:
    """The same as a table that can be folded."""
    heads, rows = column_table(encoder)
    body = "".join(f"<tr>{_cells('td', row)}</tr>" for row in rows[:MOST_COLUMNS])
    some = "" if len(rows) <= MOST_COLUMNS else f" (the first {MOST_COLUMNS} of {len(rows)})"
    return (
        f'<details class="deltaprop-columns"><summary>What was done to each column{some}</summary>'
        f"<table><thead><tr>{_cells('th', heads)}</tr></thead><tbody>{body}</tbody></table>"
        "</details>"
    )


def _with_names(number: int, names: list[str]) -> str:
    return f"{number}: {shortened(names)}" if number else ""


def _cells(tag: str, values: list[str]) -> str:
    return "".join(f"<{tag}>{escape(value)}</{tag}>" for value in values)
