"""An equation as a tree of symbols: building, evaluating and writing it.

Python's operators build the tree in the notation of the derivation: ``*`` and ``/`` work entry by
entry, ``@`` is the matrix product, ``x.T`` the transpose. A writer (:mod:`.unicode`, :mod:`.latex`,
:mod:`.mathml`, :mod:`.entry`) turns a tree into text. :class:`Writer` decides for all of them where
brackets are needed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

import numpy as np

from deltaprop.errors import InputTypeError

if TYPE_CHECKING:
    from jaxtyping import Float

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


class Equation(NamedTuple):
    """left = right, with the number of the equation in the derivation.

    Attributes
    ----------
    left : Expression
        A symbol, or a row of symbols.
    right : Expression
        The formula.
    source : str
        The number, such as "1.4, L2".
    """

    left: Expression
    right: Expression
    source: str


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
        case Call(name="norm"):
            return True
        case Row():
            return False
    return all(is_scalar(part) for part in parts(x))


def parts(x: Expression) -> tuple[Expression, ...]:
    """The nodes directly below x."""
    match x:
        case Binary(_, left, right):
            return left, right
        case Prefix(_, inner) | Transpose(inner):
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
    if sign == "⊙":
        return np.where((x == 0) | (y == 0), 0.0, x * y)
    if sign == " ":
        return x * y if x.ndim == 0 or y.ndim == 0 else x @ y
    signs = {"+": np.add, "−": np.subtract, "/": np.divide,
             ">": np.greater, "<": np.less, "≥": np.greater_equal, "≤": np.less_equal}  # fmt: skip
    return signs[sign](x, y)


def _side_by_side(columns: list[Any]) -> Any:
    if all(column.ndim == 0 for column in columns):
        return np.array(columns)
    rows = max((column for column in columns if column.ndim), key=np.size).shape
    return np.concatenate([np.broadcast_to(c, c.shape if c.ndim else rows) for c in columns], 1)


MOST_SHOWN = 6  # rows and columns of an array that is printed whole


def is_matrix_product(x: Expression) -> bool:
    """Whether x is a product of two matrices."""
    return isinstance(x, Binary) and x.sign == " " and not is_scalar(x.left)


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
        return isinstance(x, Prefix) and x.sign != "−"

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
            case Power() | Transpose():
                return 3
            case Cases():
                return 4 if self.closed_cases else 0
        return 4

    def number(self, value: float) -> Text:
        raise NotImplementedError

    def symbol(self, x: Symbol) -> Text:
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
