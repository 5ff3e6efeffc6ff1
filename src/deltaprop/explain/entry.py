"""One entry of an equation, written out with numbers: 0.5 · 2 + 1 · (−3) = −2."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from deltaprop.explain.expressions import (
    Binary,
    Call,
    Cases,
    Equation,
    Expression,
    Name,
    Number,
    Power,
    Prefix,
    Row,
    Symbol,
    Transpose,
    evaluate,
    is_matrix_product,
    is_scalar,
    parts,
)
from deltaprop.explain.writer import Writer

MOST_TERMS = 5  # terms of a sum that are written out
SUPERSCRIPTS = {2.0: "²", 3.0: "³"}
SUBSCRIPTS = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")


@dataclass(frozen=True)
class Entry:
    """One entry of an equation's result and how it is computed.

    Attributes
    ----------
    text : str
        The right side with numbers, and the result.
    used : dict
        For each symbol the (row, column) of every entry that the text shows.
    """

    text: str
    used: dict[Name, set[tuple[int, int]]]


def write_entry(equation: Equation, values: Mapping[Name, Any], row: int, column: int) -> Entry:
    """Write out the entry of `equation` at (row, column).

    Long sums show their first terms and the last one. If a value is missing, because the equation
    depends on a custom function that is known by name only, the text is the result alone.

    Examples
    --------
    >>> import deltaprop as dp
    >>> from deltaprop.explain.entry import write_entry
    >>> from deltaprop.explain.steps import steps_of
    >>> from deltaprop.explain.values import batch_of
    >>> net = dp.Network(2, [dp.Dense(1, "tanh")], loss="squared_error")
    >>> net.theta = [0.5, -1.0, 2.0]
    >>> steps, batch = steps_of(net), batch_of(net, [[1.0, 3.0]], [0.5])
    >>> print(write_entry(steps[1].equations[0], batch.values(steps), 0, 0).text)
    1 · 0.5 + 3 · (−1) + 2 = −0.5
    """
    result = short(matrix_of(evaluate(equation.left, values))[row, column])
    picked = _Picker(values)
    try:
        right = Line().write(picked.pick(equation.right, row, column))
    except KeyError:
        return Entry(result, {})
    return Entry(f"{right} = {result}", picked.used)


def matrix_of(value: Any) -> np.ndarray:
    """Return a scalar or a vector as a matrix with one row."""
    return np.atleast_2d(np.asarray(value))


def short(value: float) -> str:
    """Format a number with three significant digits.

    Examples
    --------
    >>> from deltaprop.explain.entry import short
    >>> short(1234.5), short(-0.25), short(1.5e-5), short(float("inf"))
    ('1230', '−0.25', '1.5e−5', '∞')
    """
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    if value == 0 or 1e-3 <= abs(value) < 1e4:
        text = f"{float(f'{value:.3g}'):g}" if value else "0"
    else:
        mantissa, exponent = f"{value:.1e}".split("e")
        text = f"{mantissa}e{int(exponent)}"
    return text.replace("-", "−")


class _Picker:
    """Turns an equation of arrays into the equation of one entry, with numbers."""

    def __init__(self, values: Mapping[Name, Any], most_terms: int = MOST_TERMS) -> None:
        self.values, self.most_terms = values, most_terms
        self.used: dict[Name, set[tuple[int, int]]] = {}

    def pick(self, x: Expression, n: int, h: int) -> Expression:
        match x:
            case Symbol():
                return self._number(x, n, h)
            case Binary(" ", left, right) if is_matrix_product(x):
                return self._sum(
                    self._shape(left)[1],
                    lambda k: _times(self.pick(left, n, k), self.pick(right, k, h)),
                )
            case Binary(" ", left, right):
                return _times(self.pick(left, n, h), self.pick(right, n, h))
            case Binary(sign, left, right):
                return Binary(sign, self.pick(left, n, h), self.pick(right, n, h))
            case Prefix("−", inner):
                return Prefix("−", self.pick(inner, n, h))
            case Prefix("Σ_n", inner):
                return self._sum(self._shape(inner)[0], lambda m: self.pick(inner, m, h))
            case Prefix(_, inner):
                return self._sum(self._shape(inner)[1], lambda k: self.pick(inner, n, k))
            case Power(base, exponent):
                return Power(self.pick(base, n, h), self.pick(exponent, n, h))
            case Transpose(inner):
                return self.pick(inner, h, n)
            case Call() | Row() | Cases():
                return self._pick_one_of_several(x, n, h)
        return x

    def _pick_one_of_several(self, x: Call | Row | Cases, n: int, h: int) -> Expression:
        match x:
            case Call("norm"):
                return Number(float(evaluate(x, self.values)))
            case Call(name, arguments, rowwise=True):
                return _entry_of_row(name, [self._row(argument, n) for argument in arguments], h)
            case Call(name, arguments):
                return Call(name, tuple(self.pick(argument, n, h) for argument in arguments))
            case Row(items):
                return self._pick_column(items, n, h)
            case Cases(branches, otherwise):
                for value, condition in branches:
                    if self._at(evaluate(condition, self.values), n, h):
                        return self.pick(value, n, h)
                return self.pick(otherwise, n, h)

    def _pick_column(self, items: tuple[Expression, ...], n: int, h: int) -> Expression:
        """Column h of expressions that stand side by side."""
        for item, width in zip(items, self._widths(items), strict=True):
            if h < width:
                return self.pick(item, n, h)
            h -= width
        raise IndexError(f"column out of range: {h}")

    def _widths(self, items: tuple[Expression, ...]) -> list[int]:
        """The number of columns of each item; scalars are as wide as the widest item."""
        widths = [self._shape(item)[1] for item in items]
        return [
            max(widths) if is_scalar(item) else width
            for item, width in zip(items, widths, strict=True)
        ]

    def _row(self, x: Expression, n: int) -> list[Expression]:
        size = self._shape(x)[1]
        return first_and_last(size, lambda k: self.pick(x, n, k), self.most_terms)

    def _sum(self, count: int, term: Callable[[int], Expression]) -> Expression:
        total, *others = first_and_last(count, term, self.most_terms)
        for other in others:
            total = Binary("+", total, other)
        return total

    def _number(self, x: Symbol, n: int, h: int) -> Expression:
        array = matrix_of(self.values[x.key])
        place = min(n, array.shape[0] - 1), min(h, array.shape[1] - 1)
        self.used.setdefault(x.key, set()).add(place)
        return Number(float(array[place]))

    @staticmethod
    def _at(value: Any, n: int, h: int) -> Any:
        array = matrix_of(value)
        return array[min(n, array.shape[0] - 1), min(h, array.shape[1] - 1)]

    def _shape(self, x: Expression) -> tuple[int, int]:
        """The shape of x as a matrix, without computing it."""
        if isinstance(x, Symbol):
            rows, columns = matrix_of(self.values[x.key]).shape
            return rows, columns
        shapes = [self._shape(part) for part in parts(x)] or [(1, 1)]
        rows, columns = (max(sizes) for sizes in zip(*shapes, strict=True))
        match x:
            case Binary() if is_matrix_product(x):
                return shapes[0][0], shapes[1][1]
            case Transpose():
                return columns, rows
            case Prefix("Σ_n"):
                return 1, columns
            case Prefix("Σ_h"):
                return rows, 1
            case Call("norm"):
                return 1, 1
            case Row(items):
                return rows, sum(self._widths(items))
        return rows, columns


ELLIPSIS = Symbol("…", None, ())


def first_and_last(count: int, term: Callable[[int], Expression], most: int) -> list[Expression]:
    """Return the terms of a sum; of a long one, the first ones, an ellipsis and the last one."""
    if count <= most:
        return [term(k) for k in range(count)]
    return [*(term(k) for k in range(most - 1)), ELLIPSIS, term(count - 1)]


def _times(x: Expression, y: Expression) -> Expression:
    return Binary("⊙", x, y)


def _entry_of_row(name: str, rows: list[list[Expression]], h: int) -> Expression:
    write = Line().write
    listed = "; ".join(", ".join(write(number) for number in row) for row in rows)
    return Symbol(f"{name}({listed}){str(h).translate(SUBSCRIPTS)}", None, ())


class Line(Writer[str]):
    """Numbers and signs on one line of plain text."""

    def number(self, value: float) -> str:
        return short(value)

    def symbol(self, x: Symbol) -> str:
        return x.name

    def bracketed(self, x: str) -> str:
        return f"({x})"

    def binary(self, sign: str, left: str, right: str) -> str:
        return f"{left} {'·' if sign == '⊙' else sign} {right}"

    def prefix(self, sign: str, x: str) -> str:
        return f"{sign}{x}"

    def power(self, base: str, exponent: Expression) -> str:
        if isinstance(exponent, Number) and exponent.value in SUPERSCRIPTS:
            return base + SUPERSCRIPTS[exponent.value]
        return f"{base}^({self.write(exponent)})"

    def call(self, name: str, arguments: list[str]) -> str:
        inner = ", ".join(arguments)
        return f"|{inner}|" if name == "abs" else f"{name}({inner})"


__all__ = ["Entry", "Line", "first_and_last", "matrix_of", "short", "write_entry"]
