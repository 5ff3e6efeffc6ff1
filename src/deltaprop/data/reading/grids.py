"""Tables within the cells of a sheet, below titles and blank rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from deltaprop.data.reading.errors import TableError
from deltaprop.data.reading.names import require_distinct, with_names


def table_of(rows: Sequence[Sequence[Any]], name: str) -> pd.DataFrame | None:
    """The table of a sheet, or None if it has fewer than two rows.

    Raises
    ------
    TableError
        If two columns have the same name.

    Examples
    --------
    >>> table_of([["Report", ""], ["", ""], ["x", "y"], [1, 2.5]], "sheet")
       x    y
    0  1  2.5
    """
    cells = [[None if _is_empty(cell) else cell for cell in row] for row in rows]
    filled = [sum(cell is not None for cell in row) for row in cells]
    width = max(filled, default=0)
    needed = min(width, max(2, (width + 1) // 2))
    start = next((i for i, n in enumerate(filled) if n >= needed), None)
    if not width or start is None:
        return None
    body = [row for row, n in zip(cells[start + 1 :], filled[start + 1 :], strict=True) if n]
    if not body:
        return None
    names = ["" if cell is None else str(cell).strip() for cell in cells[start]]
    require_distinct(name, names)
    columns = pd.DataFrame(body, columns=range(len(names)), dtype=object)
    frame = with_names(columns, names)
    unnamed = [c for c in frame.columns if c.startswith("Unnamed: ") and frame[c].isna().all()]
    return _with_integers(frame.drop(columns=unnamed).infer_objects())


def _with_integers(frame: pd.DataFrame) -> pd.DataFrame:
    """The table with whole numbers as integers; sheets have floats only."""
    for i, dtype in enumerate(frame.dtypes):
        column = frame.iloc[:, i]
        if dtype.kind == "f" and (column == column.round()).all() and column.abs().max() < 2**53:
            frame.isetitem(i, column.astype("int64"))
    return frame


def _is_empty(cell: Any) -> bool:
    return cell is None or cell == "" or cell is pd.NaT or cell != cell


def only_sheet(sheets: dict[str, pd.DataFrame], wanted: str | None, name: str) -> str:
    """The name of the sheet to read: the wanted one, or the one with most cells."""
    if wanted is None:
        return max(sheets, key=lambda sheet: sheets[sheet].size)
    if wanted not in sheets:
        raise TableError(
            f"{name} has no sheet {wanted!r} with a table; it has {', '.join(sheets)}."
        )
    return wanted
