"""What is worth knowing about the rows and the target of a table, as sentences."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

from deltaprop.data.columns.description import shortened
from deltaprop.data.leakage import FEWEST_ROWS, find_leaks
from deltaprop.data.overview.columns import ColumnFacts

RARE = 10  # rows of a class
UNBALANCED = 0.9  # fraction of the most frequent class
ROWS_FOR_LEAKS = 1000
MOST_CLASSES = 5  # that are named


def findings_about_columns(
    facts: Sequence[ColumnFacts], rows: pd.DataFrame, target: str | None
) -> Iterator[str]:
    """Sentences about columns: missing values, and those without use."""
    missing = sorted((f for f in facts if f.missing > 0), key=lambda f: -f.missing)
    partly = [f"{f.name} {percent(f.missing)}" for f in missing if f.kind != "empty"]
    if partly:
        yield f"Missing values: {shortened(partly, 5)}."
    features = [f for f in facts if f.name != target]
    if empty := [f.name for f in features if f.kind == "empty"]:
        yield (
            f"Left out automatically, as all values are missing: {shortened(empty, 5)}. A column "
            "is used as soon as some of its values are known."
        )
    if constant := [f.name for f in features if f.is_constant]:
        yield f"The same in all rows, so without effect: {shortened(constant, 5)}."
    yield from (f"{a} has the same values as {b}." for a, b in duplicates(facts, rows))
    if identifiers := [f.name for f in features if f.is_identifier]:
        drop = " ".join(f"--drop {name!r}" if " " in name else f"--drop {name}"
                        for name in identifiers[:5])  # fmt: skip
        yield (
            f"Looks like an identifier, from which nothing general can be learned: "
            f"{shortened(identifiers, 5)}. Leave it out with {drop}."
        )
    for f in features:
        if f.sentinel:
            yield f"{f.name} contains {f.sentinel}: if it means missing, use --na {f.sentinel}."


def duplicates(facts: Sequence[ColumnFacts], rows: pd.DataFrame) -> Iterator[tuple[str, str]]:
    """Columns that have the same values as an earlier one, with that one."""
    seen: dict[int, str] = {}
    for f in facts:
        if f.kind == "empty" or f.distinct < 2:
            continue
        codes, values = pd.factorize(_texts(rows[f.name]))
        key = hash((codes.tobytes(), tuple(values)))
        if key in seen:
            yield f.name, seen[key]
        else:
            seen[key] = f.name


def findings_about_rows(rows: pd.DataFrame, n_rows: int) -> Iterator[str]:
    """Sentences about rows that occur more than once."""
    codes = [pd.factorize(_texts(rows.iloc[:, i]))[0] for i in range(rows.shape[1])]
    n = int(pd.DataFrame(dict(enumerate(codes))).duplicated().sum())
    if n:
        of = "" if len(rows) == n_rows else f" of {len(rows):,} rows that were looked at"
        yield (
            f"{n:,} {'row equals' if n == 1 else 'rows equal'} an earlier one "
            f"({percent(n / len(rows))}{of}); held-out rows may then have been trained on."
        )


def findings_about_classes(y: pd.Series) -> Iterator[str]:
    """The frequencies of the classes, and which are rare."""
    counts = y.value_counts()
    counts = counts[counts > 0]
    shares = [f"{label} {percent(n / len(y))}" for label, n in counts.items()]
    yield f"{y.name} has {len(counts)} classes: {shortened(shares, MOST_CLASSES)}."
    if rare := [f"{label} ({n})" for label, n in counts.items() if n < RARE]:
        yield f"Rare classes, with few rows to learn from: {shortened(rare, MOST_CLASSES)}."
    if counts.iloc[0] > UNBALANCED * len(y):
        yield (
            f"The classes are unbalanced: always predicting {counts.index[0]} is right in "
            f"{percent(counts.iloc[0] / len(y))} of the rows, so look at balanced accuracy and AUC."
        )


def findings_about_numbers(y: pd.Series) -> Iterator[str]:
    """The range of a numeric target."""
    low, middle, high = np.nanquantile(y.to_numpy(dtype=float), [0, 0.5, 1])
    yield f"{y.name} is between {low:,.6g} and {high:,.6g}; half of it is below {middle:,.6g}."


def leaks(X: pd.DataFrame, y: pd.Series, is_classes: bool) -> Iterator[str]:
    """Sentences about columns that alone predict the target nearly perfectly."""
    from deltaprop.data.encoder import TableEncoder

    every = -(-len(y) // ROWS_FOR_LEAKS)
    X, y = X.iloc[::every], y.iloc[::every]
    if len(y) < FEWEST_ROWS:
        return
    encoder = TableEncoder().fit(X)
    Z: Any = encoder.encode(X)
    if is_classes:
        labels, _ = pd.factorize(_texts(y))
        t = np.eye(labels.max() + 1)[labels]
    else:
        labels, t = None, y.to_numpy(dtype=float)[:, None]
    groups = [
        (name, places)
        for name, (places, _) in zip(encoder.columns_, encoder.layout.parts(), strict=True)
        if places
    ]
    for leak in find_leaks(Z, t, labels, [places for _, places in groups]):
        yield f"May give the target away: {leak.in_words(repr(groups[leak.group][0]))}"


def _texts(column: pd.Series) -> np.ndarray:
    """The values as strings, also those that are not hashable or not valid Unicode."""
    return np.array([*map(str, column), None], dtype=object)[:-1]


def percent(share: float) -> str:
    """A fraction as a percentage with two digits."""
    return f"{100 * share:.2g} %" if share < 0.995 else f"{100 * share:.3g} %"
