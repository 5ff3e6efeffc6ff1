"""Which equations are repeated with numbers in place of the symbols."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from deltaprop.explain.expressions import (
    Cases,
    Equation,
    Item,
    Name,
    Number,
    Symbol,
    is_scalar,
    nodes,
    parts,
    symbols,
)

MOST_ARRAYS = 4  # arrays in a formula that is repeated with numbers


def numbers_below(equation: Equation, values: Mapping[Name, Any]) -> tuple[bool, Any]:
    """Return whether to repeat the right side with numbers, and the result (or None)."""
    left, right, *_ = equation
    constant = all(isinstance(part, Number) for part in parts(right) or (right,))
    if not isinstance(left, Symbol) or left.key not in values or constant:
        return False, None
    if any(isinstance(node, Item) for node in nodes(right)):  # its numbers are those of one entry
        return False, None
    arrays = [symbol for symbol in symbols(right) if not is_scalar(symbol)]
    known = all(symbol.key in values for symbol in symbols(right))
    few = 0 < len(arrays) <= MOST_ARRAYS and not isinstance(right, Symbol)
    simple = not any(isinstance(node, Cases) for node in nodes(right))
    return known and few and simple, values[left.key]


__all__ = ["numbers_below"]
