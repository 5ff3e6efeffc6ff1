"""How closely ONNX files agree with the models, on every table.

A short training run on at most 4,000 rows is enough for that. The files are compared with the model
on at most 20,000 rows of the table, most of which are new, so that unknown categories occur.
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
    """Return how many tables were exported, and for each kind of file the largest differences."""
    exported = found[found["file"].notna()]
    lines = [f"{exported['table'].nunique()} of {found['table'].nunique()} tables were exported."]
    for file, rows in exported.groupby("file", sort=False):
        lost = (rows["score"] - rows["exported_score"]).abs()
        lines.append(
            f"{file}: largest difference {rows['difference'].max():.2g}, median of the tables "
            f"{rows['difference'].median():.2g}; labels that differ: at most "
            f"{1 - rows['same_labels'].min():.2%}; change of the score: at most {lost.max():.2g}, "
            f"in the median {lost.median():.2g}; bytes: {rows['share'].median():.2f} of float32"
        )
    return "\n".join(lines)


def _of_table(table: Table) -> list[dict[str, Any]]:
    import deltaprop as dp
    from deltaprop.errors import InputError

    X, y = table.load()
    chosen = np.random.default_rng(0).permutation(len(X))
    kind = dp.TabularClassifier if table.task == CLASSIFICATION else dp.TabularRegressor
    rows, trained = chosen[:COMPARED], np.sort(chosen[:TRAINED])
    model = kind(cv=2, max_iter=15, random_state=0)
    with warnings.catch_warnings(), tempfile.TemporaryDirectory() as folder:
        warnings.simplefilter("ignore")
        model.fit(X.iloc[trained], y[trained])
        path, X, y = Path(folder) / "model.onnx", X.iloc[rows], y[rows]
        scale = 1.0 if table.task == CLASSIFICATION else float(np.std(model.predict(X)))
        found: list[dict[str, Any]] = []
        for name, options in FILES.items():
            try:
                file: Any = dp.to_onnx(model, path, X=X, y=y, **options)
            except InputError as error:
                return [{"table": table.name, "task": table.task, "file": None, "error": error}]
            found.append({
                "table": table.name, "task": table.task, "file": name,
                "difference": file.agreement.largest_difference / scale,
                "same_labels": file.agreement.same_labels,
                "score": file.agreement.score, "exported_score": file.agreement.exported_score,
                "size": file.size, "share": file.size / (found[0]["size"] if found else file.size),
            })  # fmt: skip
    return found
