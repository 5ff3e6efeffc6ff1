"""The fields that a part of a file may have: their names, types and bounds.

A *kind* is a function that returns whether a value is of that kind.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

import numpy as np

from deltaprop.storage.codec import ModelFileError

Kind = Callable[[Any], bool]

LARGEST = 2**63 - 1


def require(part: Any, fields: Mapping[str, Kind], what: str) -> None:
    """Raise ModelFileError unless `part` has exactly these fields, each of its kind.

    Parameters
    ----------
    part : object
        Decoded from a file.
    fields : mapping of str to kind
    what : str
        What the part is, for the error message.

    Examples
    --------
    >>> require({"count": 3}, {"count": whole(0, 10)}, "position")
    >>> require({"count": 30}, {"count": whole(0, 10)}, "position")
    Traceback (most recent call last):
    deltaprop.storage.codec.ModelFileError: the 'count' of its position is not valid: 30
    """
    if not isinstance(part, dict):
        raise ModelFileError(f"its {what} is not a set of named values")
    if unknown := part.keys() - fields.keys():
        raise ModelFileError(f"its {what} has an unknown entry, {sorted(map(str, unknown))[0]!r}")
    for name, is_valid in fields.items():
        if name not in part:
            raise ModelFileError(f"its {what} has no {name!r}")
        if not is_valid(part[name]):
            raise ModelFileError(f"the {name!r} of its {what} is not valid: {_short(part[name])}")


def whole(low: int = 0, high: int = LARGEST) -> Kind:
    """An int between these bounds, and not a bool."""
    return lambda value: type(value) is int and low <= value <= high


def number(value: Any) -> bool:
    """A float, which may be infinite or NaN."""
    return type(value) is float


def boolean(value: Any) -> bool:
    """True or False."""
    return type(value) is bool


def one_of(values: Collection[Any]) -> Kind:
    """One of these values."""
    return lambda value: isinstance(value, (str, int)) and value in values


def vector(dtype: str = "float64", length: int | None = None) -> Kind:
    """A one-dimensional array of this dtype, of any length or of a given one."""
    return lambda value: (
        isinstance(value, np.ndarray)
        and value.ndim == 1
        and value.dtype == dtype
        and length in (None, len(value))
    )


def optional(kind: Kind) -> Kind:
    """None, or a value of that kind."""
    return lambda value: value is None or kind(value)


def named(value: Any) -> bool:
    """A dictionary whose keys are strings."""
    return isinstance(value, dict) and all(isinstance(key, str) for key in value)


def anything(value: Any) -> bool:
    """Any value; the one that uses it checks it."""
    return True


def _short(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) <= 60 else shown[:57] + "..."
