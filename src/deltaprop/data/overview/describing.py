"""``deltaprop.tables.describe``: what is in a table, in a few lines."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from deltaprop.data.frames import as_frame
from deltaprop.data.reading import TableError
from deltaprop.data.task import recognise_task, require_columns
from deltaprop.functions.printable import printable

if TYPE_CHECKING:
    import pandas as pd

    from deltaprop.data.overview.columns import ColumnFacts

MOST_ROWS = 20_000  # evenly spaced, that are looked at; missing values are counted in all rows
KINDS = {
    "numeric": "numeric", "boolean": "boolean", "category": "categorical", "date": "date",
    "text": "text", "empty": "empty",
}  # fmt: skip


@dataclass(frozen=True)
class Overview:
    """What is in a table. ``print`` shows it in a few lines.

    Attributes
    ----------
    rows : int
    facts : list of ColumnFacts
        One for each column.
    findings : list of str
        What is worth knowing, in one sentence each.
    """

    rows: int
    facts: list[ColumnFacts]
    findings: list[str]

    def __str__(self) -> str:
        kinds = Counter(fact.kind for fact in self.facts)
        shown = ", ".join(f"{kinds[kind]} {word}" for kind, word in KINDS.items() if kinds[kind])
        head = f"{self.rows:,} rows, {len(self.facts)} columns: {shown}."
        return "\n".join([head, *map(printable, self.findings)])

    @property
    def columns(self) -> pd.DataFrame:
        """A row for each column: its kind, missing fraction, distinct values and examples."""
        import pandas as pd

        return pd.DataFrame(
            {
                "kind": [fact.kind for fact in self.facts],
                "missing": [fact.missing for fact in self.facts],
                "distinct": [fact.distinct for fact in self.facts],
                "examples": [", ".join(fact.examples) for fact in self.facts],
            },
            index=[fact.name for fact in self.facts],
        )


def describe(table: Any, target: str | None = None, *, leakage: bool = True) -> Overview:
    """Describe a table: its columns, missing values, and what may harm a model.

    Parameters
    ----------
    table : pandas, polars or Arrow table, dict of columns, or array-like (N, D)
        As returned by :func:`read_table`.
    target : str, optional
        The column to predict. Its classes, and columns that give it away, are reported as well.
    leakage : bool, default=True
        Look for columns that give the target away, which takes most of the time.

    Returns
    -------
    Overview
        Of more than 20,000 rows, evenly spaced ones are looked at, except for missing values.

    Raises
    ------
    TableError
        If the table has no rows, or the target is not among its columns.

    Examples
    --------
    >>> import deltaprop as dp
    >>> table = dp.tables.read_table("data/penguins.csv")
    >>> dp.tables.describe(table, "species").rows
    344
    """
    from deltaprop.data.overview.columns import facts_of

    frame = as_frame(table)
    if target is not None:
        require_columns(frame, [target], "target")
    rows = frame.iloc[:: -(-len(frame) // MOST_ROWS)]
    missing = frame.isna().mean()
    facts = [facts_of(rows[name], float(missing[name])) for name in frame.columns]
    return Overview(len(frame), facts, list(_findings(frame, rows, facts, target, leakage)))


def _findings(
    frame: pd.DataFrame,
    rows: pd.DataFrame,
    facts: list[ColumnFacts],
    target: str | None,
    leakage: bool,
) -> Iterator[str]:
    from deltaprop.data.overview import findings

    if target is not None:
        yield from _about_target(frame[target], rows[target])
    yield from findings.findings_about_columns(facts, rows, target)
    yield from findings.findings_about_rows(rows, len(frame))
    if target is not None and leakage and (task := _task(rows[target])):
        known = rows[rows[target].notna()]
        features = known.drop(columns=target)
        yield from findings.leaks(features, known[target], task == "classification")


def _about_target(target: pd.Series, rows: pd.Series) -> Iterator[str]:
    from deltaprop.data.overview import findings

    n = int(target.isna().sum())
    if n:
        yield f"{n:,} rows without {target.name}, the target, are left out."
    task = _task(rows)
    if task == "classification":
        yield from findings.findings_about_classes(target.dropna())
    elif task == "regression":
        yield from findings.findings_about_numbers(target)
    else:
        yield f"{target.name} cannot be predicted: it has one value only, or is a name or a date."


def _task(y: pd.Series) -> str | None:
    try:
        return recognise_task(y.dropna())
    except TableError:
        return None
