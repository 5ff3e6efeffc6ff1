"""Checks of arguments, shared by several modules."""

from __future__ import annotations

import math
from collections.abc import Mapping
from numbers import Integral, Real
from typing import Any

import numpy as np

from deltaprop.errors import InputTypeError


def is_number(x: Any) -> bool:
    """Whether `x` is a finite number; True and False are not numbers."""
    return isinstance(x, (int, float, np.number)) and not isinstance(x, bool) and np.isfinite(x)


def is_int(x: Any, low: float = -math.inf) -> bool:
    """Whether `x` is an integer >= `low`; True and False are not integers."""
    return isinstance(x, Integral) and not isinstance(x, bool) and int(x) >= low


def is_real(x: Any) -> bool:
    """Whether `x` is a real number other than NaN; True and False are not numbers."""
    return isinstance(x, Real) and not isinstance(x, bool) and not math.isnan(x)


def is_finite(x: Any) -> bool:
    """Whether `x` is a finite real number; True and False are not numbers."""
    return is_real(x) and math.isfinite(x)


def require_callables(
    owner: str, required: Mapping[str, object], optional: Mapping[str, object]
) -> None:
    """Raise TypeError unless every function is callable; an optional one may be None."""
    for part, function in required.items():
        if not callable(function):
            raise InputTypeError(f"{owner}: {part} must be callable, got {function!r}.")
    for part, function in optional.items():
        if function is not None and not callable(function):
            raise InputTypeError(f"{owner}: {part} must be callable or None, got {function!r}.")
