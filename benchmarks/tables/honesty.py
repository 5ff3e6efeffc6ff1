"""Whether what a model says of itself is true: its score, its intervals and sets, its temperature.

Each table is divided as in the comparison. The model is fitted to 70 % of the rows; the other 30 %
show which share of them its intervals or sets cover, how its `cv_score_` compares with the score,
and what the temperature does to the log-loss.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pandas as pd
from sklearn.metrics import log_loss

from benchmarks.tables.contestants import Job, deltaprop
from benchmarks.tables.splits import split
from benchmarks.tables.table import CLASSIFICATION, Table

COVERAGE = 0.9


def measure(tables: Iterable[Table], say: Callable[[str], None]) -> pd.DataFrame:
    """Return one row for each table."""
    found = []
    for table in tables:
        row = {"table": table.name, "task": table.task, **_honesty(table)}
        say(", ".join(f"{k} {v:.4g}" if isinstance(v, float) else str(v) for k, v in row.items()))
        found.append(row)
    return pd.DataFrame(found)


def summary(found: pd.DataFrame) -> str:
    """Return the means over the tables of each task."""
    lines = []
    for task, rows in found.groupby("task"):
        gap = rows["cv_score"] - rows["score"]
        lines.append(
            f"{task}, {len(rows)} tables: coverage of {COVERAGE:.0%} "
            f"{'sets' if task == CLASSIFICATION else 'intervals'} {rows['coverage'].mean():.3f} "
            f"({rows['coverage'].min():.3f} to {rows['coverage'].max():.3f}); cv_score_ minus the "
            f"score {gap.mean():+.4f} on average, {gap.abs().median():.4f} in the median"
        )
        if task == CLASSIFICATION:
            change = np.log(rows["log_loss"] / rows["log_loss_without_temperature"])
            lines.append(
                f"temperature: log-loss × {np.exp(change.mean()):.4f} on average, at most × "
                f"{np.exp(change.max()):.4f}; left at 1 in {(rows['temperature'] == 1).sum()}"
            )
    return "\n".join(lines)


def _honesty(table: Table) -> dict[str, Any]:
    data = split(table.load(), table.task, seed=0)
    model: Any = deltaprop(Job(table.task, seed=0, threads=2))
    model.fit(*data.train)
    X, y = data.test
    found = {"rows": len(data.train.y), "score": model.score(X, y), "cv_score": model.cv_score_}
    if model.cv_score_ is None:  # a large table, without a cross-validation
        return found
    if table.task != CLASSIFICATION:
        low, high = model.predict_interval(X, COVERAGE).T
        return {**found, "coverage": float(((low <= y) & (y <= high)).mean())}
    sets = model.predict_set(X, COVERAGE)
    found |= {
        "coverage": float(sets[np.arange(len(y)), y].mean()),
        "size": float(sets.sum(axis=1).mean()),
        "temperature": model.temperature_,
        "log_loss": float(log_loss(y, model.predict_proba(X))),
    }
    for network in model.networks_:
        network.W[-1][...] *= model.temperature_
        network.b[-1][...] *= model.temperature_
    return {**found, "log_loss_without_temperature": float(log_loss(y, model.predict_proba(X)))}
