"""Formulas in index notation: the entry of an array formula, and its numbers."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from deltaprop.explain.entry import Line, first_and_last, short
from deltaprop.explain.expressions import (
    Binary,
    Call,
    Cases,
    Equal,
    Equation,
    Expression,
    IndexedSum,
    Item,
    Name,
    Number,
    Partial,
    Power,
    Prefix,
    Symbol,
    Transpose,
    evaluate,
    is_matrix_product,
    nodes,
    times,
)

ORDER = "ndhkjim"  # rows, inputs, outputs, and further indices
FREE = "jim"  # indices for sums inside a formula
MOST_TERMS = 4  # terms of a sum that are written out with numbers
Places = dict[str, int]


class NotIndexedError(Exception):
    """A formula has no index notation here: its columns stand side by side, or it needs arrays."""


def item(x: Symbol, row: str, column: str) -> Expression:
    """Return the entry of a symbol; scalars stay as they are."""
    if x.shape == ():
        return x
    if len(x.shape) == 1:
        return Item(x, column)
    return Item(x, row if x.name == "w" else row + column)


def indexed(x: Expression, row: str, column: str) -> Expression:
    """Return the formula of the entry (row, column) of an array formula.

    Raises
    ------
    NotIndexedError
        If the formula contains a function of whole rows that is known by name only, or columns
        that stand side by side.

    Examples
    --------
    >>> from deltaprop.explain.expressions import Symbol, exp, sum_h
    >>> from deltaprop.explain.indexed import indexed
    >>> from deltaprop.explain.unicode import Unicode
    >>> a = Symbol("a", 0, ("N", 3))
    >>> "".join(p.lines[0] for p in Unicode().write(indexed(exp(a) / sum_h(exp(a)), "n", "h")))
    'exp((a_0)_nh) / (Σ_j exp((a_0)_nj))'
    """

    def again(part: Expression) -> Expression:
        return indexed(part, row, column)

    match x:
        case Symbol():
            return item(x, row, column)
        case Binary(" ", left, right) if is_matrix_product(x):
            k = _fresh(row + column)
            return IndexedSum(k, times(indexed(left, row, k), indexed(right, k, column)))
        case Binary("⊙" | " ", left, right):
            return times(again(left), again(right))
        case Prefix("Σ_h", inner):
            k = _fresh(row + column)
            return IndexedSum(k, indexed(inner, row, k))
        case Transpose(inner):
            return indexed(inner, column, row)
        case Call(name, _, rowwise) if rowwise or name == "norm":
            raise NotIndexedError
        case Number() | Binary() | Power() | Call() | Cases() | Prefix("−"):
            return rebuilt(x, again)
    raise NotIndexedError


def _fresh(used: str) -> str:
    return next(letter for letter in FREE if letter not in used)


def rebuilt(x: Expression, change: Callable[[Expression], Expression]) -> Expression:
    """Return the node with `change` applied to the nodes directly below it."""
    match x:
        case Binary(sign, left, right):
            return Binary(sign, change(left), change(right))
        case Prefix(sign, inner):
            return Prefix(sign, change(inner))
        case Power(base, exponent):
            return Power(change(base), change(exponent))
        case Call(name, arguments):
            return Call(name, tuple(change(argument) for argument in arguments))
        case Cases(branches, otherwise):
            pairs = tuple((change(value), change(condition)) for value, condition in branches)
            return Cases(pairs, change(otherwise))
    return x


# ---------------------------------------------------------------- numbers


def numbers_at_first(equation: Equation, values: Mapping[Name, Any]) -> str | None:
    """Return the right side with numbers, where every index of the left side is 0.

    None if the equation is not in index notation, or a function in it is known by name only.

    Examples
    --------
    >>> import deltaprop as dp
    >>> net = dp.Network(2, [dp.Dense(1, "tanh")], loss="squared_error")
    >>> net.theta = [0.5, -1.0, 2.0]
    >>> d = net.derivation([[1.0, 3.0]], [0.5], steps=True)
    >>> from deltaprop.explain.indexed import numbers_at_first
    >>> weights = next(step for step in d.steps if "gradient of the weights" in step.title)
    >>> numbers_at_first(weights.equations[-1], d.values)
    'd = 0, h = 0: 1 · (−0.757) = −0.757'
    """
    indices = _indices(equation.left)
    if indices is None or not values or next(items(equation.right), None) is None:
        return None
    places = dict.fromkeys(sorted(indices, key=ORDER.index), 0)
    write = _Numbers(values, MOST_TERMS)
    try:
        result = write.value(equation.left, places)
        right = write.at(equation.right, places)
    except (KeyError, NotIndexedError):
        return None
    where = ", ".join(f"{index} = 0" for index in places)
    written, end = Line().write(right), short(result)
    text = end if written == end else f"{written} = {end}"
    return f"{where}: {text}" if where else text


def _indices(left: Expression) -> str | None:
    """Return the free indices of a left side; None if it is a matrix."""
    match left:
        case Item(indices=indices):
            return indices
        case Partial(of, by):
            return "".join({*(_indices(of) or ""), *by.indices})
        case Symbol(shape=()):
            return ""
    return None


@dataclass(frozen=True)
class _Numbers:
    """Puts numbers into a formula in index notation."""

    values: Mapping[Name, Any]
    most_terms: int

    def value(self, x: Expression, places: Places) -> float:
        every_term = replace(self, most_terms=sys.maxsize)
        return float(evaluate(every_term.at(x, places), {}))

    def at(self, x: Expression, places: Places) -> Expression:
        match x:
            case Item(symbol, indices, transposed):
                at = tuple(places[i] for i in (indices[::-1] if transposed else indices))
                return Number(float(_entry(self.values[symbol.key], at)))
            case Symbol(shape=()):
                return Number(float(np.asarray(self.values[x.key])))
            case Partial(value=value) if value is not None:
                return Number(self.value(value, places))
            case Symbol() | Partial():
                raise NotIndexedError
            case Equal(left, right):
                return Number(float(places[left] == places[right]))
            case IndexedSum(index, inner):
                size = self._size(index, inner)
                total, *others = first_and_last(
                    size, lambda k: self.at(inner, places | {index: k}), self.most_terms
                )
                for other in others:
                    total = Binary("+", total, other)
                return total
            case Cases(branches, otherwise):
                for value, condition in branches:
                    if evaluate(self.at(condition, places), {}):
                        return self.at(value, places)
                return self.at(otherwise, places)
            case Binary("⊙" | " ", left, right):
                return Binary("⊙", self.at(left, places), self.at(right, places))
        return rebuilt(x, lambda part: self.at(part, places))

    def _size(self, index: str, x: Expression) -> int:
        """Return the number of values of an index, from an array that has it."""
        for entry in items(x):
            at = entry.indices[::-1] if entry.transposed else entry.indices
            if index in at:
                return int(np.shape(self.values[entry.symbol.key])[at.index(index)])
        raise NotIndexedError


def _entry(array: Any, at: tuple[int, ...]) -> float:
    if len(at) < np.ndim(array):  # w is a column
        at = (*at, 0)
    return float(np.asarray(array)[at])


def items(x: Expression) -> Iterator[Item]:
    """Every entry in a formula, also in its derivatives."""
    for node in nodes(x):
        if isinstance(node, Item):
            yield node
        elif isinstance(node, Partial):
            yield from (part for part in (node.of, node.by) if isinstance(part, Item))


__all__ = ["NotIndexedError", "indexed", "item", "items", "numbers_at_first", "rebuilt"]
