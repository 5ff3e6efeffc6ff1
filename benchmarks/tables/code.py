"""How closely C headers, Python files and light models agree with the models, on every table.

Models are trained as in :mod:`benchmarks.tables.exports`, and compared on rows of the same tables,
most of which are new. Differences of regressions are relative to the standard deviation of the
predictions.
"""

from __future__ import annotations

import ctypes
import runpy
import subprocess
import tempfile
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.tables.exports import COMPARED, TRAINED, fitted
from benchmarks.tables.table import CLASSIFICATION, Table

OF_PYTHON = 200  # rows that are compared, as each takes milliseconds
SHIM = """
#include "model.h"
void run(const char *const *cells, long n, double *out)
{
    for (long i = 0; i < n; i++) {
        model_row row = model_empty_row();
        const char *const *cell = cells + i * MODEL_N_COLUMNS;
        for (int c = 0; c < MODEL_N_COLUMNS; c++) model_set(&row, c, cell[c]);
        PREDICT(&row, out + i * WIDTH);
    }
}
"""


def measure(tables: Iterable[Table], say: Callable[[str], None]) -> pd.DataFrame:
    """Return one row for each table."""
    found = []
    for table in tables:
        row = _of_table(table)
        shown = (f"{k} {v:.3g}" if isinstance(v, float) else f"{k} {v}" for k, v in row.items())
        say(", ".join(shown))
        found.append(row)
    return pd.DataFrame(found)


def summary(found: pd.DataFrame) -> str:
    """Return the largest differences of all tables, and the median of the sizes."""
    parts = [
        f"{name}: largest difference {found[name].max():.2g}, median {found[name].median():.2g}"
        for name in ("C", "Python", "light")
    ]
    sizes = (f"{of}: {found[of].median() / 1e6:.2f} MB" for of in ("C bytes", "Python bytes"))
    return "\n".join([f"{len(found)} tables.", *parts, f"Medians of {', '.join(sizes)}."])


def _of_table(table: Table) -> dict[str, Any]:
    import deltaprop as dp

    X, y = table.load()
    chosen = np.random.default_rng(0).permutation(len(X))
    rows, trained = chosen[:COMPARED], np.sort(chosen[:TRAINED])
    with warnings.catch_warnings(), tempfile.TemporaryDirectory() as folder:
        warnings.simplefilter("ignore")
        model, texts = fitted(table.task, X.iloc[trained], y[trained])
        X = X.iloc[rows].drop(columns=texts)
        of_classes = table.task == CLASSIFICATION
        expected = model.predict_proba(X) if of_classes else model.predict(X)
        place = Path(folder)
        dp.save(model, place / "model.dp")
        light = dp.load(place / "model.dp", light=True)
        sizes = dp.to_c(model, place / "model.h"), dp.to_python(model, place / "model.py")
        found = {
            "C": _of_c(model, X, place, of_classes),
            "Python": _of_python(X[:OF_PYTHON], place / "model.py", of_classes),
            "light": light.predict_proba(X) if of_classes else light.predict(X),
        }
    scale = 1.0 if of_classes else float(np.std(expected))
    return {
        "table": table.name, "rows": len(X),
        **{k: float(np.abs(v - expected[: len(v)]).max()) / scale for k, v in found.items()},
        "C bytes": sizes[0], "Python bytes": sizes[1],
    }  # fmt: skip


def _of_c(model: Any, X: pd.DataFrame, folder: Path, of_classes: bool) -> np.ndarray:
    """The predictions of the header, in a library whose rows are text."""
    from deltaprop.export import inputs_of

    width = "MODEL_N_CLASSES" if of_classes else "MODEL_N_OUTPUTS"
    predict = "model_predict_proba" if of_classes else "model_predict"
    source = SHIM.replace("PREDICT", predict).replace("WIDTH", width)
    (folder / "model.c").write_text(source)
    command = "gcc -std=c99 -O2 -Wall -Wextra -Werror -shared -fPIC model.c -o model.so -lm"
    subprocess.run(command.split(), cwd=folder, check=True)
    columns = [_cells(values) for values in inputs_of(model, X).values()]
    cells = [cell for row in zip(*columns, strict=True) for cell in row]
    n_outputs = len(model.classes_) if of_classes else 1
    out = np.empty((len(X), n_outputs))
    run = ctypes.CDLL(str(folder / "model.so")).run
    run.argtypes = [ctypes.POINTER(ctypes.c_char_p), ctypes.c_long, ctypes.c_void_p]
    run.restype = None
    run((ctypes.c_char_p * len(cells))(*cells), len(X), out.ctypes.data)
    return out if of_classes else out[:, 0]


def _cells(values: np.ndarray) -> list[bytes | None]:
    """A column as text; None for missing values."""
    if values.dtype.kind == "f":
        return [None if np.isnan(v) else repr(v).encode() for v in values[:, 0].tolist()]
    return [word.encode() if word else None for word in values[:, 0].tolist()]


def _of_python(X: pd.DataFrame, file: Path, of_classes: bool) -> np.ndarray:
    """The predictions of the Python file for dicts."""
    predict = runpy.run_path(str(file))["predict_proba" if of_classes else "predict"]
    rows = X.astype(object).where(X.notna(), None).to_dict("records")
    return np.array([predict(row) for row in rows])
