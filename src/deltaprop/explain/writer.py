"""How a tree becomes text: where brackets are needed, and how numbers look.

:class:`Writer` decides about brackets for all formats; its subclasses in :mod:`.unicode`,
:mod:`.latex`, :mod:`.mathml` and :mod:`.entry` define how each part looks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np

from deltaprop.errors import InputTypeError
from deltaprop.explain.expressions import (
    Binary,
    Call,
    Cases,
    Equal,
    Expression,
    IndexedSum,
    Item,
    Name,
    Number,
    Partial,
    Power,
    Prefix,
    Row,
    Symbol,
    Transpose,
    is_matrix_product,
)

if TYPE_CHECKING:
    from jaxtyping import Float

MOST_SHOWN = 6  # rows and columns of an array that is printed whole


def grid(value: Any) -> list[list[str]]:
    """Format an array as rows of numbers; "…" replaces the middle of a large one."""
    if np.ndim(value) == 0:
        return [[f"{float(value):.5g}".replace("-", "−")]]
    table: Float[np.ndarray, "R C"] = np.atleast_2d(np.asarray(value, dtype=float))
    finite = np.abs(table[np.isfinite(table)])
    largest = float(finite.max(initial=0.0))
    if (table == np.round(table)).all() and largest < 1e5:
        form = ".0f"
    else:
        form = ".4f" if 1e-2 <= largest < 1e5 else ".3e"
    rows, columns = (_shown(size) for size in table.shape)
    return [
        [
            "…" if r is None or c is None else f"{table[r, c] + 0.0:{form}}".replace("-", "−")
            for c in columns
        ]
        for r in rows
    ]


def digits(value: float) -> str:
    """A constant of a formula in full precision, without a fraction if it is an integer."""
    return f"{value:.17g}" if value == int(value) else repr(float(value))


def _shown(size: int) -> list[int | None]:
    return list(range(size)) if size <= MOST_SHOWN else [0, 1, 2, None, size - 1]


# ---------------------------------------------------------------- writing

Text = TypeVar("Text")

# How tightly a node binds: 0 a sum, 1 a product or quotient, 2 a matrix product, 3 a power, 4 a
# word. SIDES holds the lowest level that each side of a sign may have without brackets.
LEVEL = {"+": 0, "−": 0, "⊙": 1, "/": 1, " ": 2}
SIDES = {"+": (0, 1), "−": (0, 1), "⊙": (1, 2), "/": (1, 3), " ": (2, 3)}


class Writer(Generic[Text]):
    """Writes a tree and adds brackets where needed; subclasses define how each part looks.

    Symbols are written by name, or as numbers if `values` are given.
    """

    flat_quotients = True  # a / b on one line, not one above the other
    closed_cases = True  # cases end with a brace

    def __init__(self, values: dict[Name, Any] | None = None) -> None:
        self.values = values

    def write(self, x: Expression, least: int = 0) -> Text:
        text = self._written(x)
        return self.bracketed(text) if self._level(x) < least else text

    def _written(self, x: Expression) -> Text:
        match x:
            case Number(value):
                return self.number(value)
            case Symbol():
                if self.values is None or x.name == "π":
                    return self.symbol(x)
                return self.matrix(self.values[x.key])
            case Binary("/", left, right) if not self.flat_quotients:
                return self.quotient(self.write(left), self.write(right))
            case Binary(sign, left, right):
                return self.binary(sign, *self._sides(sign, left, right))
            case Prefix(sign, inner):
                return self.prefix(sign, self.write(inner, 1))
            case Item() | Partial() | Equal():
                return self.indexed(x)
            case IndexedSum(index, inner):
                return self.prefix(f"Σ_{index}", self.write(inner, 1))
            case Power(base, exponent):
                return self.power(self.write(base, 4), exponent)
            case Transpose(inner):
                return self.transpose(self.write(inner, 4))
            case Call(name, arguments):
                return self.call(name, [self.write(argument) for argument in arguments])
            case Row(items):
                return self.row([self.write(item) for item in items])
            case Cases(branches, otherwise):
                pairs = [(self.write(v), self.write(condition, -1)) for v, condition in branches]
                return self.cases(pairs, self.write(otherwise))
        raise InputTypeError(f"{x!r} is not an expression.")

    def _sides(self, sign: str, left: Expression, right: Expression) -> tuple[Text, Text]:
        least_left, least_right = SIDES.get(sign, (0, 0))
        if least_left > 0 and self._ends_with_a_sum(left):  # Σ x ⊙ y would read as Σ (x ⊙ y)
            least_left = 5
        if sign in ("⊙", " ") and self._is_sum(right):
            least_right = 1
        if sign == "⊙":  # no convention orders ⊙ and the matrix product
            least_left = 3 if is_matrix_product(left) else least_left
            least_right = 3 if is_matrix_product(right) else least_right
        return self.write(left, least_left), self.write(right, least_right)

    def _ends_with_a_sum(self, x: Expression) -> bool:
        """Whether x ends with a Σ that would include what follows."""
        if self._is_sum(x):
            return True
        return isinstance(x, Binary) and x.sign in ("⊙", " ") and self._ends_with_a_sum(x.right)

    @staticmethod
    def _is_sum(x: Expression) -> bool:
        return isinstance(x, IndexedSum) or (isinstance(x, Prefix) and x.sign != "−")

    def _level(self, x: Expression) -> int:
        match x:
            case Number(value):
                return 4 if value >= 0 else 0
            case Binary("/"):
                return 1 if self.flat_quotients else 3
            case Binary(sign):
                return LEVEL.get(sign, -1)
            case Prefix(sign):
                return 0 if sign == "−" else 1
            case IndexedSum():
                return 1
            case Power() | Transpose():
                return 3
            case Cases():
                return 4 if self.closed_cases else 0
        return 4

    def number(self, value: float) -> Text:
        raise NotImplementedError

    def symbol(self, x: Symbol) -> Text:
        raise NotImplementedError

    def indexed(self, x: Item | Partial | Equal) -> Text:
        """An entry, a derivative of an entry, or [h = k]."""
        raise NotImplementedError

    def matrix(self, value: Any) -> Text:
        """The numbers of a symbol."""
        raise NotImplementedError

    def bracketed(self, x: Text) -> Text:
        raise NotImplementedError

    def binary(self, sign: str, left: Text, right: Text) -> Text:
        raise NotImplementedError

    def quotient(self, above: Text, below: Text) -> Text:
        raise NotImplementedError

    def prefix(self, sign: str, x: Text) -> Text:
        raise NotImplementedError

    def power(self, base: Text, exponent: Expression) -> Text:
        raise NotImplementedError

    def transpose(self, x: Text) -> Text:
        raise NotImplementedError

    def call(self, name: str, arguments: list[Text]) -> Text:
        raise NotImplementedError

    def row(self, items: list[Text]) -> Text:
        raise NotImplementedError

    def cases(self, branches: list[tuple[Text, Text]], otherwise: Text) -> Text:
        raise NotImplementedError
