"""The names of columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from deltaprop.data.reading.errors import TableError


def with_names(frame: Any, names: Sequence[Any]) -> Any:
    """The table with these names; a column without one is called "Unnamed: 0", as by pandas."""
    found = [str(name).strip().lstrip("\ufeff") for name in names]
    if found and found[0].startswith("#"):
        found[0] = found[0].lstrip("# ")
    return frame.set_axis([name or f"Unnamed: {i}" for i, name in enumerate(found)], axis=1)


def require_distinct(table: str, names: Sequence[str]) -> None:
    """Raise TableError if two columns have the same name."""
    twice = sorted({name for name in names if name and names.count(name) > 1})
    if twice:
        raise TableError(
            f"{table} has more than one column named {', '.join(map(repr, twice))}; rename them."
        )
