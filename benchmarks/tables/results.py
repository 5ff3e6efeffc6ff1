"""One Parquet file of results: a row for each table, seed and contestant."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

COLUMNS = {
    "table": "string", "half": "string", "task": "string", "rows": "Int64",
    "seed": "Int64", "contestant": "string", "parameters": "string",
    "accuracy": "Float64", "log_loss": "Float64", "auc": "Float64",
    "r2": "Float64", "mae": "Float64",
    "fit_seconds": "Float64", "predict_seconds": "Float64", "others": "Float64",
    "error": "string", "threads": "Int64", "machine": "string",
}  # fmt: skip


class Key(NamedTuple):
    """What a row is about."""

    table: str
    seed: int
    contestant: str


class Results:
    """The rows of a file. Each new row is written at once; the file is replaced as a whole.

    Parameters
    ----------
    path : Path
        May be missing; its folder must exist.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._rows: dict[Key, dict[str, Any]] = {}
        if path.exists():
            for row in read(path).to_dict("records"):
                self._rows[_key(row)] = row

    def __contains__(self, key: Key) -> bool:
        return key in self._rows

    def get(self, key: Key) -> dict[str, Any] | None:
        return self._rows.get(key)

    def add(self, row: dict[str, Any]) -> None:
        """Add or replace a row, and write the file."""
        self._rows[_key(row)] = row
        beside = self.path.with_name(self.path.name + ".part")
        self.frame().to_parquet(beside, index=False)
        beside.replace(self.path)

    def frame(self) -> pd.DataFrame:
        return pd.DataFrame(list(self._rows.values()), columns=list(COLUMNS)).astype(COLUMNS)


def read(path: Path) -> pd.DataFrame:
    """Return the results of a file."""
    return pd.read_parquet(path).reindex(columns=list(COLUMNS)).astype(COLUMNS)


def _key(row: dict[str, Any]) -> Key:
    return Key(str(row["table"]), int(row["seed"]), str(row["contestant"]))
