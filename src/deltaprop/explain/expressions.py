"""An equation as a tree of symbols: building, evaluating and writing it.

Python's operators build the tree in the notation of the derivation: ``*`` and ``/`` work entry by
entry, ``@`` is the matrix product, ``x.T`` the transpose. :class:`Item`, :class:`Partial`,
:class:`Equal` and :class:`IndexedSum` are the nodes of formulas in index notation, which are about
one entry and therefore scalars. :mod:`.writer` turns a tree into text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from deltaprop.errors import InputTypeError

Shape = tuple[int | str, ...]
Name = tuple[str, int | None]
Values = Mapping[Name, Any]

CODE = {
    "δ": "delta", "λ": "lambda", "∂L/∂W": "dW", "∂L/∂b": "db", "ŷ": "yhat", "L": "loss",
    "α": "alpha", "∂L/∂r": "dr", "∂L/∂α": "dalpha",
}  # fmt: skip


class Expression:
    """A node of a tree.

    Comparisons build nodes as well, so a tree has no truth value and no equality.
    """

    __array_ufunc__ = None  # NumPy scalars must not apply their own operators to a node
    __hash__ = object.__hash__

    def __add__(self, other: Any) -> Expression:
        return Binary("+", self, tree(other))

    def __radd__(self, other: Any) -> Expression:
        return Binary("+", tree(other), self)

    def __sub__(self, other: Any) -> Expression:
        return Binary("−", self, tree(other))

    def __rsub__(self, other: Any) -> Expression:
        return Binary("−", tree(other), self)

    def __mul__(self, other: Any) -> Expression:
        return times(self, tree(other))

    def __rmul__(self, other: Any) -> Expression:
        return times(tree(other), self)

    def __truediv__(self, other: Any) -> Expression:
        return Binary("/", self, tree(other))

    def __rtruediv__(self, other: Any) -> Expression:
        return Binary("/", tree(other), self)

    def __matmul__(self, other: Any) -> Expression:
        return Binary(" ", self, tree(other))

    def __pow__(self, other: Any) -> Expression:
        return Power(self, tree(other))

    def __neg__(self) -> Expression:
        return Prefix("−", self)

    def __abs__(self) -> Expression:
        return Call("abs", (self,))

    def __gt__(self, other: Any) -> Expression:
        return Binary(">", self, tree(other))

    def __lt__(self, other: Any) -> Expression:
        return Binary("<", self, tree(other))

    def __ge__(self, other: Any) -> Expression:
        return Binary("≥", self, tree(other))

    def __le__(self, other: Any) -> Expression:
        return Binary("≤", self, tree(other))

    def __eq__(self, other: object) -> bool:
        raise InputTypeError("an expression has no truth value: compare with < or >.")

    def __bool__(self) -> bool:
        raise InputTypeError("an expression has no truth value.")

    @property
    def T(self) -> Expression:
        return Transpose(self)


@dataclass(frozen=True, eq=False)
class Number(Expression):
    value: float


@dataclass(frozen=True, eq=False)
class Symbol(Expression):
    """A named scalar or array, such as W_0.

    Attributes
    ----------
    name : str
    index : int or None
        The layer; None for quantities of the whole network.
    shape : tuple
        () for a scalar; "N" stands for any number of rows.
    """

    name: str
    index: int | None
    shape: Shape

    @property
    def key(self) -> Name:
        return self.name, self.index

    @property
    def code(self) -> str:
        """The name that the quantity has in code: delta_0 for δ_0, dW_0 for ∂L/∂W_0."""
        name = CODE.get(self.name, self.name)
        return name if self.index is None else f"{name}_{self.index}"


@dataclass(frozen=True, eq=False)
class Binary(Expression):
    """+ − ⊙ / and comparisons; the sign " " is a matrix product or a product with a scalar."""

    sign: str
    left: Expression
    right: Expression


@dataclass(frozen=True, eq=False)
class Prefix(Expression):
    """−x, or the sums Σ_n over the rows and Σ_h over the columns of x."""

    sign: str
    x: Expression


@dataclass(frozen=True, eq=False)
class Power(Expression):
    base: Expression
    exponent: Expression


@dataclass(frozen=True, eq=False)
class Transpose(Expression):
    x: Expression


@dataclass(frozen=True, eq=False)
class Call(Expression):
    """A function of each entry, or of each row if `rowwise`; "norm" is ‖x‖ of all entries."""

    name: str
    arguments: tuple[Expression, ...]
    rowwise: bool = False


@dataclass(frozen=True, eq=False)
class Row(Expression):
    """Columns side by side: [μ, v]."""

    items: tuple[Expression, ...]


@dataclass(frozen=True, eq=False)
class Cases(Expression):
    """The value that belongs to the first true condition of an entry, else `otherwise`."""

    branches: tuple[tuple[Expression, Expression], ...]
    otherwise: Expression


@dataclass(frozen=True, eq=False)
class Item(Expression):
    """An entry of an array, such as (W_0)_dh, or (X_0ᵀ)_dn of its transpose."""

    symbol: Symbol
    indices: str
    transposed: bool = False


@dataclass(frozen=True, eq=False)
class Partial(Expression):
    """∂of/∂by, where `value` is the formula of the derivative, or None if it has none."""

    of: Symbol | Item
    by: Item
    value: Expression | None = None


@dataclass(frozen=True, eq=False)
class Equal(Expression):
    """[h = k]: 1 if the two indices are equal, else 0."""

    left: str
    right: str


@dataclass(frozen=True, eq=False)
class IndexedSum(Expression):
    """The sum of x over an index; the index runs over the axis of an array that has it in x."""

    index: str
    x: Expression


class Equation(NamedTuple):
    """left = right, with the number of the equation in the derivation.

    An equation with the same left side as the one before it, the same object, continues it.

    Attributes
    ----------
    left : Expression
        A symbol, or a row of symbols.
    right : Expression
        The formula.
    source : str
        The number, such as "1.4, L2".
    rule : str
        The rule that leads to this line, in words; empty if none is stated.
    """

    left: Expression
    right: Expression
    source: str
    rule: str = ""


# ---------------------------------------------------------------- building


def tree(x: Any) -> Expression:
    """Turn a number into a node; return a node unchanged."""
    return x if isinstance(x, Expression) else Number(float(x))


def times(x: Expression, y: Expression) -> Expression:
    """x ⊙ y, or x y if one of them is a scalar. A factor of 1 is left out."""
    if is_one(x):
        return y
    if is_one(y):
        return x
    if isinstance(x, Number) and isinstance(y, Number):
        return Number(x.value * y.value)
    if is_scalar(x):
        return Binary(" ", x, y)
    return Binary(" ", y, x) if is_scalar(y) else Binary("⊙", x, y)


def is_one(x: Expression) -> bool:
    return isinstance(x, Number) and x.value == 1


def is_scalar(x: Expression) -> bool:
    match x:
        case Symbol(shape=shape):
            return shape == ()
        case Call(name="norm") | Item() | Partial() | Equal():
            return True
        case Row():
            return False
    return all(is_scalar(part) for part in parts(x))


def parts(x: Expression) -> tuple[Expression, ...]:
    """The nodes directly below x."""
    match x:
        case Binary(_, left, right):
            return left, right
        case Prefix(_, inner) | Transpose(inner) | IndexedSum(_, inner):
            return (inner,)
        case Power(base, exponent):
            return base, exponent
        case Call(_, arguments):
            return arguments
        case Row(items):
            return items
        case Cases(branches, otherwise):
            return (*(node for branch in branches for node in branch), otherwise)
    return ()


def nodes(x: Expression) -> Iterator[Expression]:
    """x and every node below it."""
    yield x
    for part in parts(x):
        yield from nodes(part)


def symbols(x: Expression) -> Iterator[Symbol]:
    """Every symbol of a tree; a symbol that occurs twice is returned twice."""
    return (node for node in nodes(x) if isinstance(node, Symbol))


def call(name: str, *arguments: Any) -> Expression:
    return Call(name, tuple(tree(x) for x in arguments))


def exp(x: Any) -> Expression:
    return call("exp", x)


def log(x: Any) -> Expression:
    return call("log", x)


def tanh(x: Any) -> Expression:
    return call("tanh", x)


def sqrt(x: Any) -> Expression:
    return call("√", x)


def sum_n(x: Expression) -> Expression:
    return Prefix("Σ_n", x)


def sum_h(x: Expression) -> Expression:
    return Prefix("Σ_h", x)


def cases(*branches: tuple[Any, Any], otherwise: Any) -> Expression:
    return Cases(tuple((tree(v), condition) for v, condition in branches), tree(otherwise))


def row(*items: Any) -> Expression:
    return Row(tuple(tree(x) for x in items))


# ---------------------------------------------------------------- numbers


def evaluate(x: Expression, values: Values) -> Any:
    """Compute the number or array that a tree stands for; 0 · log 0 counts as 0.

    Raises
    ------
    KeyError
        If a symbol has no value, or the tree calls a function that is known by name only.
    """
    with np.errstate(all="ignore"):
        return _evaluate(x, values)


def _erf(x: Any) -> Any:
    from scipy.special import erf

    return erf(x)


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "exp": np.exp, "log": np.log, "tanh": np.tanh, "cosh": np.cosh, "sinh": np.sinh,
    "sin": np.sin, "cos": np.cos, "arctan": np.arctan, "√": np.sqrt, "abs": np.abs,
    "sign": np.sign, "max": np.maximum, "min": np.minimum, "norm": np.linalg.norm, "erf": _erf,
}  # fmt: skip


def _evaluate(x: Expression, values: Values) -> Any:
    below = [_evaluate(part, values) for part in parts(x)]
    match x:
        case Number(value):
            return np.asarray(value)
        case Symbol():
            return np.asarray(values[x.key])
        case Binary(sign):
            return _combined(sign, *below)
        case Prefix("−"):
            return -below[0]
        case Prefix(sign):
            return below[0].sum(axis=0) if sign == "Σ_n" else below[0].sum(axis=1, keepdims=True)
        case Power():
            return below[0] ** below[1]
        case Transpose():
            return below[0].T
        case Call(name):
            return FUNCTIONS[name](*below)
        case Row():
            return _side_by_side(below)
        case Cases():
            return np.select(below[1:-1:2], below[:-1:2], below[-1])
    raise InputTypeError(f"{x!r} is not an expression.")


def _combined(sign: str, x: Any, y: Any) -> Any:
    if sign == " " and x.ndim and y.ndim:
        return x @ y
    if sign in ("⊙", " "):
        return np.where((x == 0) | (y == 0), 0.0, x * y)
    signs = {"+": np.add, "−": np.subtract, "/": np.divide,
             ">": np.greater, "<": np.less, "≥": np.greater_equal, "≤": np.less_equal}  # fmt: skip
    return signs[sign](x, y)


def _side_by_side(columns: list[Any]) -> Any:
    if all(column.ndim == 0 for column in columns):
        return np.array(columns)
    rows = max((column for column in columns if column.ndim), key=np.size).shape
    return np.concatenate([np.broadcast_to(c, c.shape if c.ndim else rows) for c in columns], 1)


def is_matrix_product(x: Expression) -> bool:
    """Whether x is a product of two matrices."""
    return isinstance(x, Binary) and x.sign == " " and not is_scalar(x.left)
