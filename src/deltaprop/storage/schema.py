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


def require(part: Any, fields: Mapping[str, Kind], what: str, *, complete: bool = True) -> None:
    """Raise ModelFileError unless `part` has exactly these fields, each of its kind.

    Parameters
    ----------
    part : object
        Decoded from a file.
    fields : mapping of str to kind
    what : str
        What the part is, for the error message.
    complete : bool, default=True
        Whether no field may be absent.

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
            if complete:
                raise ModelFileError(f"its {what} has no {name!r}")
            continue
        if not is_valid(part[name]):
            raise ModelFileError(f"the {name!r} of its {what} is not valid: {_short(part[name])}")


def whole(low: int = 0, high: int = LARGEST) -> Kind:
    """An int between these bounds, and not a bool."""
    return lambda value: type(value) is int and low <= value <= high


def real(value: Any) -> bool:
    """A float or int, of Python or NumPy, which may be infinite or NaN."""
    return isinstance(value, (float, int, np.floating, np.integer)) and not isinstance(value, bool)


def text(value: Any) -> bool:
    """A string."""
    return isinstance(value, str)


def none(value: Any) -> bool:
    """None."""
    return value is None


def number(value: Any) -> bool:
    """A float, which may be infinite or NaN."""
    return type(value) is float


def anything(value: Any) -> bool:
    """Any value; the one that uses it checks it."""
    return True


def boolean(value: Any) -> bool:
    """True or False."""
    return type(value) is bool


def integer(low: int = 0, high: int = LARGEST) -> Kind:
    """An int of Python or NumPy between these bounds, and not a bool."""
    return lambda value: (
        isinstance(value, (int, np.integer))
        and not isinstance(value, bool)
        and low <= int(value) <= high
    )


def flag(value: Any) -> bool:
    """True or False, of Python or NumPy."""
    return isinstance(value, (bool, np.bool_))


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


def array(kinds: str, ndim: int | None = None, entry: Kind = anything) -> Kind:
    """An array whose dtype is of one of these kinds, such as "f", with this number of axes."""
    return lambda value: (
        isinstance(value, np.ndarray)
        and value.dtype.kind in kinds
        and ndim in (None, value.ndim)
        and (entry is anything or all(map(entry, value.ravel().tolist())))
    )


def items(kind: Kind, low: int = 0, high: int = LARGEST) -> Kind:
    """A list of so many items of that kind."""
    return lambda value: (
        isinstance(value, list) and low <= len(value) <= high and all(map(kind, value))
    )


def sequence(kind: Kind) -> Kind:
    """A list, tuple or one-dimensional array of items of that kind."""
    return lambda value: (
        (isinstance(value, (list, tuple)) or (isinstance(value, np.ndarray) and value.ndim == 1))
        and all(map(kind, value))
    )


def unordered(kind: Kind) -> Kind:
    """A set of items of that kind."""
    return lambda value: isinstance(value, set) and all(map(kind, value))


def nested(kind: Kind) -> Kind:
    """A value of that kind, or lists, tuples and arrays of such, which contain each other."""

    def is_valid(value: Any) -> bool:
        if isinstance(value, np.ndarray):
            return all(map(is_valid, value.ravel()))
        return all(map(is_valid, value)) if isinstance(value, (list, tuple)) else kind(value)

    return is_valid


def dictionary(key: Kind, value: Kind | None = None) -> Kind:
    """A dictionary whose keys and values are of these kinds."""
    return lambda part: (
        isinstance(part, dict)
        and all(map(key, part))
        and (value is None or all(map(value, part.values())))
    )


def instance(name: str | None = None) -> Kind:
    """An object of the class of this name, or of any that files may contain."""
    plain = (str, int, float, list, dict, tuple, set, np.ndarray, np.generic, type(None))
    return lambda value: (
        type(value).__name__ == name if name is not None else not isinstance(value, plain)
    )


def either(*kinds: Kind) -> Kind:
    """A value of one of these kinds."""
    return lambda value: any(kind(value) for kind in kinds)


def optional(kind: Kind) -> Kind:
    """None, or a value of that kind."""
    return lambda value: value is None or kind(value)


def named(fields: Mapping[str, Kind] | None = None) -> Kind:
    """A dictionary whose keys are strings, or which has exactly these fields."""
    return lambda value: (
        isinstance(value, dict)
        and all(isinstance(key, str) for key in value)
        and (
            fields is None
            or (value.keys() == fields.keys() and all(fields[k](v) for k, v in value.items()))
        )
    )


def _short(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) <= 60 else shown[:57] + "..."
