"""Columns of an Arrow record batch as NumPy arrays or a pandas DataFrame."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from deltaprop.data.reading import TableError

if TYPE_CHECKING:
    from jaxtyping import Num, Shaped


def numbers(batch: Any, name: str) -> Num[np.ndarray, " n"]:
    """A column of finite numbers; TableError if it contains anything else."""
    column = batch.column(name)
    try:
        found: np.ndarray = column.to_numpy(zero_copy_only=False)
        if found.dtype.kind not in "biuf":
            found = found.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise TableError(f"Column {name!r} contains {column.type}, not numbers.") from error
    if found.dtype.kind == "f" and not np.isfinite(found).all():
        raise TableError(
            f"Column {name!r} has missing or infinite values. Remove these rows; if the column is "
            "a feature, TabularClassifier and TabularRegressor accept missing values."
        )
    return found


def target_values(batch: Any, name: str) -> Shaped[np.ndarray, " n"]:
    """The target column, strings as ``str``; TableError if a value is missing."""
    column = batch.column(name)
    if column.null_count:
        raise TableError(f"Column {name!r}, the target, has missing values; remove these rows.")
    found: np.ndarray = decoded(column).to_numpy(zero_copy_only=False)
    return found.astype(str) if found.dtype == object else found


def frame(batch: Any, names: Sequence[str]) -> Any:
    """These columns as a DataFrame; categories become plain values."""
    batch = batch.select(list(names))
    for i, field in enumerate(batch.schema):
        plain = decoded(batch.column(i))
        batch = batch.set_column(i, field.name, plain)
    return batch.to_pandas(ignore_metadata=True)


def decoded(column: Any) -> Any:
    """The column with a dictionary encoding, if it has one, replaced by its values."""
    import pyarrow as pa

    return column.dictionary_decode() if pa.types.is_dictionary(column.type) else column


def without_views(batch: Any) -> Any:
    """The batch with string views as plain strings, as few functions of Arrow accept views."""
    import pyarrow as pa

    for i, field in enumerate(batch.schema):
        if pa.types.is_string_view(field.type):
            batch = batch.set_column(i, field.name, batch.column(i).cast(pa.large_string()))
    return batch


def holds_strings(arrow_type: Any) -> bool:
    """Whether a column of this Arrow type contains strings, dictionary-encoded ones included."""
    from pyarrow import types

    values = arrow_type.value_type if types.is_dictionary(arrow_type) else arrow_type
    tests = (types.is_string, types.is_large_string, types.is_string_view)
    return any(test(values) for test in tests)


def holds_numbers(arrow_type: Any) -> bool:
    """Whether a column of this Arrow type contains integers, floats, decimals or booleans."""
    from pyarrow import types

    tests = (types.is_integer, types.is_floating, types.is_boolean, types.is_decimal)
    return any(test(arrow_type) for test in tests)
