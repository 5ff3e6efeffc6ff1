"""How closely ONNX files agree with the models, on every table.

A short training run on at most 4,000 rows is enough for that. The files are compared with the model
on at most 20,000 rows of the table, most of which are new, so that unknown categories occur.
Differences of regressions are relative to the standard deviation of the predictions.
"""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.tables.table import CLASSIFICATION, Table

TRAINED, COMPARED = 4_000, 20_000
FILES: dict[str, dict[str, Any]] = {
    "float32": {}, "float16": {"dtype": "float16"}, "int8": {"quantize": True},
}  # fmt: skip


def measure(tables: Iterable[Table], say: Callable[[str], None]) -> pd.DataFrame:
    """Return one row for each table and kind of file."""
    found = []
    for table in tables:
        for row in _of_table(table):
            say(", ".join(f"{k} {v:.3g}" if isinstance(v, float) else str(v)
                          for k, v in row.items()))  # fmt: skip
            found.append(row)
    return pd.DataFrame(found)


def summary(found: pd.DataFrame) -> str:
    """Return, for each kind of file, the differences on all tables."""
    without = found.loc[found["without"] != "", "table"].nunique()
    lines = [f"{found['table'].nunique()} tables, {without} of them without their columns of text."]
    for file, rows in found.groupby("file", sort=False):
        lost = (rows["score"] - rows["exported_score"]).abs()
        lines.append(
            f"{file}: largest difference {rows['difference'].max():.2g}, median of the tables "
            f"{rows['difference'].median():.2g}; labels that differ: at most "
            f"{1 - rows['same_labels'].min():.2%}; change of the score: at most {lost.max():.2g}, "
            f"in the median {lost.median():.2g}; size: {rows['share'].median():.2f} of float32"
        )
    return "\n".join(lines)


def _of_table(table: Table) -> list[dict[str, Any]]:
    import deltaprop as dp

    X, y = table.load()
    chosen = np.random.default_rng(0).permutation(len(X))
    rows, trained = chosen[:COMPARED], np.sort(chosen[:TRAINED])
    found: list[dict[str, Any]] = []
    with warnings.catch_warnings(), tempfile.TemporaryDirectory() as folder:
        warnings.simplefilter("ignore")
        model, texts = fitted(table.task, X.iloc[trained], y[trained])
        X, y, path = X.iloc[rows].drop(columns=texts), y[rows], Path(folder) / "model.onnx"
        scale = 1.0 if table.task == CLASSIFICATION else float(np.std(model.predict(X)))
        for name, options in FILES.items():
            file: Any = dp.to_onnx(model, path, X=X, y=y, **options)
            found.append({
                "table": table.name, "without": ", ".join(texts), "file": name,
                "difference": file.agreement.largest_difference / scale,
                "same_labels": file.agreement.same_labels,
                "score": file.agreement.score, "exported_score": file.agreement.exported_score,
                "size": file.size, "share": file.size / (found[0]["size"] if found else file.size),
            })  # fmt: skip
    return found


def fitted(task: str, X: pd.DataFrame, y: np.ndarray) -> tuple[Any, list[str]]:
    """A model, and the columns of text that it is fitted without, as they cannot be exported."""
    import deltaprop as dp

    kind = dp.TabularClassifier if task == CLASSIFICATION else dp.TabularRegressor
    kinds = dp.tables.TableEncoder().fit(X).kinds_
    texts = [name for name, kind in kinds.items() if kind == "text"]
    return kind(cv=2, max_iter=15, random_state=0).fit(X.drop(columns=texts), y), texts
