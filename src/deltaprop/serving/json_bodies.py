"""Rows in JSON: a list of objects, or an object of columns."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NoReturn

from deltaprop.serving.fields import Field
from deltaprop.serving.problems import BAD_REQUEST, TOO_LARGE, Refused, invalid
from deltaprop.serving.served import Given, Served

JSON = "application/json"
SHAPES = (
    'the body must be an object with one of two keys: "rows", a list of objects with a value for '
    'each column, or "columns", an object with a list of values for each column'
)


def parsed(body: bytes) -> Any:
    """The value that a body of JSON spells.

    Raises
    ------
    Refused
        If it is not valid JSON. NaN and Infinity are not.

    Examples
    --------
    >>> parsed(b'{"rows": [1]}')
    {'rows': [1]}
    """
    try:
        return json.loads(body, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:  # also of bytes that are no text
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise Refused(BAD_REQUEST, f"the body is not valid JSON: {reason}.") from error


def read_json(served: Served, body: bytes, most_rows: int) -> Given:
    """The rows of a body of JSON.

    Raises
    ------
    Refused
        If it is not JSON, has too many rows, or does not fit the model.
    """
    value = parsed(body)
    if not isinstance(value, dict) or len({"rows", "columns"} & set(value)) != 1:
        raise invalid(f"{SHAPES}.")
    if "rows" in value:
        return _of_rows(served, value["rows"], most_rows)
    return _of_columns(served, value["columns"], most_rows)


def require_count(n: int, most: int) -> None:
    """Raise Refused if a request has no rows or too many."""
    if n == 0:
        raise invalid("the request has no rows; give at least one.")
    if n > most:
        raise Refused(TOO_LARGE, f"the request has {n} rows; at most {most} are allowed.")


def require_fields(served: Served, given: Any, where: str = "") -> None:
    """Raise Refused if a column is missing; further ones are ignored."""
    missing = [name for name in served.by_name if name not in given]
    if missing:
        names = ", ".join(map(repr, missing))
        raise invalid(
            f"{where}missing column(s): {names}. Models for tables take null for an unknown value."
        )


def _of_rows(served: Served, rows: Any, most: int) -> Given:
    if not isinstance(rows, list):
        raise invalid(f"{SHAPES}; rows is not a list.")
    require_count(len(rows), most)
    for i, row in enumerate(rows):
        if not isinstance(row, dict):
            raise invalid(f"row {i} must be an object with a value for each column.")
        if not served.by_name.keys() <= row.keys():
            require_fields(served, row, f"row {i}: ")
    columns = {f.name: f.read([row[f.name] for row in rows]) for f in served.fields}
    return Given(columns, len(rows), by_rows=True)


def _of_columns(served: Served, columns: Any, most: int) -> Given:
    if not isinstance(columns, dict):
        raise invalid(f"{SHAPES}; columns is not an object.")
    require_fields(served, columns)
    n = -1
    for field in served.fields:
        n = _same_length(field, columns, n)
    require_count(n, most)
    return Given({field.name: field.read(columns[field.name]) for field in served.fields}, n)


def _same_length(field: Field, columns: Mapping[str, Any], n: int) -> int:
    values = columns[field.name]
    if not isinstance(values, list):
        raise invalid(f"column {field.name!r} must be a list of values.")
    if n not in (-1, len(values)):
        raise invalid(f"column {field.name!r} has {len(values)} values, those before it {n}.")
    return len(values)


def _refuse_constant(word: str) -> NoReturn:
    raise ValueError(f"{word} is no JSON; send null for a missing number")
