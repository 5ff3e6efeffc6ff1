"""An interpreter of printed equations in NumPy, independent of the package.

It evaluates the text of the terminal. LaTeX and MathML are first translated to it, sign by sign.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import scipy.special

FUNCTIONS: dict[str, Callable[..., Any]] = {
    "exp": np.exp, "log": np.log, "tanh": np.tanh, "cosh": np.cosh, "sinh": np.sinh,
    "sign": np.sign,
    "erf": scipy.special.erf, "max": np.maximum, "√": np.sqrt, "sin": np.sin, "cos": np.cos,
}  # fmt: skip
ITEM = r"\([^\W\d_]+_\d+ᵀ?\)_[ndhkjim]+|[^\W\d_Σ]+_[ndhkjim]{1,2}(?![A-Za-z0-9])"
PARTIAL = rf"∂(?:{ITEM}|[LP])/∂(?:{ITEM})"
INDEXED = rf"{PARTIAL}|{ITEM}|\[[ndhkjim] = [ndhkjim]\]"
INDICES = "ndhkjim"
NAME = r"∂L/∂[Wbrα]_\d+|Σ_[ndhkjim]|[^\W\d_ᵀ²³½]+(?:_\d+)?"
TOKEN = re.compile(rf"\s*(\d+\.?\d*(?:e[+-]?\d+)?|{INDEXED}|{NAME}|\S)")
SHAPE = re.compile(r"[\dN×]+")
SOURCE = re.compile(
    r"\s{2,}\(((?:1\.\d|L2|bias|scale|activation)(?:, (?:L2|scale|activation))?)\)$"
)


class Printed(NamedTuple):
    """left = right, the number in the derivation, and the printed (name, shape) of each symbol."""

    left: str
    right: str
    source: str
    shapes: list[tuple[str, str]]


# ---------------------------------------------------------------- the language


class Reader:
    """A recursive descent parser that computes the value while it reads."""

    def __init__(self, text: str, values: dict[str, Any]) -> None:
        self.tokens = [*TOKEN.findall(text), ""]
        self.at, self.values, self.bars = 0, values, [""]

    @property
    def next(self) -> str:
        return self.tokens[self.at]

    def take(self, expected: str | None = None) -> str:
        token = self.next
        assert expected in (None, token), f"{expected!r} expected at {self.tokens[self.at :]}"
        self.at += 1
        return token

    def whole(self) -> Any:
        value = self.sum()
        self.take("")
        return value

    def condition(self) -> Any:
        left, sign, right = self.sum(), self.take(), self.sum()
        return {"<": left < right, ">": left > right, "≤": left <= right, "≥": left >= right}[sign]

    def sum(self) -> Any:
        if self.next == "−":
            self.take()
            value = -self.product()
        else:
            value = self.product()
        while self.next in ("+", "−"):
            value = value + self.product() if self.take() == "+" else value - self.product()
        return value

    def product(self) -> Any:
        value = self.side_by_side()
        while self.next in ("⊙", "/"):
            if self.take() == "/":
                value = value / self.side_by_side()
            else:
                other = self.side_by_side()
                product = value * other
                value = np.where((value == 0) | (other == 0), 0.0, product)  # 0 log 0 = 0
        return value

    def side_by_side(self) -> Any:
        value = self.raised()
        while self.starts_a_factor():
            other = self.raised()
            scalar = np.ndim(value) == 0 or np.ndim(other) == 0
            value = value * other if scalar else value @ other
        return value

    def starts_a_factor(self) -> bool:
        if self.next == "·":
            self.take()
        if self.next in ("|", "‖"):
            return self.next != self.bars[-1]
        word = bool(re.fullmatch(r"[^\Wᵀ²³]+.*|∂.*", self.next))
        opening = self.next.startswith(("(", "[", "{", "√"))
        return (word and self.next not in ("if", "otherwise")) or opening

    def raised(self) -> Any:
        value = self.atom()
        while self.next in ("ᵀ", "²", "³", "^"):
            sign = self.take()
            if sign == "ᵀ":
                value = value.T
            elif sign == "^":
                self.take("(")
                value = value ** self.sum()
                self.take(")")
            else:
                value = value ** {"²": 2, "³": 3}[sign]
        return value

    def atom(self) -> Any:
        token = self.take()
        if token[0].isdigit() and token != "½":
            return np.asarray(float(token))
        if token == "½":
            return np.asarray(0.5)
        if token in ("Σ_n", "Σ_h"):
            x = self.product()
            return np.sum(x, axis=0) if token == "Σ_n" else np.sum(x, axis=1, keepdims=True)
        if token == "(":
            value = self.sum()
            self.take(")")
            return value
        if token in ("|", "‖"):
            self.bars.append(token)
            value = self.sum()
            self.bars.pop()
            self.take(token)
            return np.abs(value) if token == "|" else np.sqrt(np.sum(value**2))
        if token == "[":
            return self.row()
        if token == "{":
            return self.cases()
        if token in FUNCTIONS:
            self.take("(")
            arguments = self.listed(")")
            return FUNCTIONS[token](*arguments)
        assert token in self.values, f"{token!r} has no value here"
        return np.asarray(self.values[token])

    def listed(self, closing: str) -> list[Any]:
        items = [self.sum()]
        while self.next == ",":
            self.take()
            items.append(self.sum())
        self.take(closing)
        return items

    def row(self) -> Any:
        items = self.listed("]")
        if all(np.ndim(item) == 0 for item in items):
            return np.array(items)
        shape = next(item.shape for item in reversed(items) if np.ndim(item))
        return np.hstack([item if np.ndim(item) else np.full(shape, item) for item in items])

    def cases(self) -> Any:
        values, conditions = [self.sum()], []
        while self.next == "if":
            self.take()
            conditions.append(self.condition())
            self.take(",")
            values.append(self.sum())
        self.take("otherwise")
        self.take("}")
        result = values.pop()
        for value, condition in zip(reversed(values), reversed(conditions), strict=True):
            result = np.where(condition, value, result)
        return result


class IndexedReader(Reader):
    """Computes index notation: every index is an axis, in the order of INDICES.

    A derivative is looked up by the names of its two quantities, as an array with the axes of both.
    """

    def __init__(
        self,
        text: str,
        values: dict[str, Any],
        derivative: Callable[[str, str], np.ndarray],
        sizes: dict[str, int],
    ) -> None:
        super().__init__(text, values)
        self.derivative, self.sizes = derivative, sizes

    def side_by_side(self) -> Any:
        value = self.raised()
        while self.starts_a_factor():
            other = self.raised()
            value = np.where((value == 0) | (other == 0), 0.0, value * other)
        return value

    def atom(self) -> Any:
        if re.fullmatch(r"\[. = .\]", self.next):
            i, j = self.take()[1:-1].split(" = ")
            return along_axes(np.eye(self.sizes[i], self.sizes[j]), i + j)
        if self.next.startswith("Σ_"):
            index = self.take()[2]
            x, axis = self.product(), INDICES.index(index)
            assert np.ndim(x) == len(INDICES), f"Σ_{index} of a constant"
            assert x.shape[axis] == self.sizes[index], f"nothing in Σ_{index} has the index {index}"
            return np.sum(x, axis=axis, keepdims=True)
        if re.fullmatch(PARTIAL, self.next):
            of, by = self.take()[1:].split("/∂")
            (of, i), (by, j) = parse_item(of), parse_item(by)
            return along_axes(self.derivative(of, by), i + j)
        if re.fullmatch(ITEM, self.next):
            name, indices = parse_item(self.take())
            return along_axes(array_of(self.values, name), indices)
        return super().atom()


def parse_item(text: str) -> tuple[str, str]:
    """Return the name and the indices of (W_0)_dh or y_nh; a transposed entry is turned around."""
    if text in ("L", "P"):
        return text, ""
    name, _, indices = text.rpartition("_")
    name = name.strip("()")
    return (name[:-1], indices[::-1]) if name.endswith("ᵀ") else (name, indices)


def array_of(values: dict[str, Any], name: str) -> np.ndarray:
    assert name in values, f"{name!r} has no value here"
    return values[name][:, 0] if name == "w" else np.asarray(values[name])


def along_axes(x: np.ndarray, indices: str) -> np.ndarray:
    """Return x with its axes in the order of INDICES; a repeated index takes the diagonal."""
    assert x.ndim == len(indices), f"{indices} for an array of shape {x.shape}"
    letters = "".join(sorted(set(indices), key=INDICES.index))
    x = np.einsum(f"{indices}->{letters}", x)
    shape = [1] * len(INDICES)
    for letter, size in zip(letters, x.shape, strict=True):
        shape[INDICES.index(letter)] = size
    return x.reshape(shape)


def sizes_of(text: str, values: dict[str, Any]) -> dict[str, int]:
    """Return the size of each index; every array that has the index must have this size."""
    sizes: dict[str, int] = {}
    for found in re.findall(ITEM, text):
        name, indices = parse_item(found)
        for index, size in zip(indices, array_of(values, name).shape, strict=True):
            assert sizes.setdefault(index, size) == size, f"{found}: {index} is out of range"
    return sizes


def is_indexed(equation: Printed) -> bool:
    return bool(re.search(INDEXED, f"{equation.left} = {equation.right}"))


class Derivatives:
    """Derivatives of printed quantities, by central differences of the printed forward pass."""

    def __init__(self, equations: list[Printed], given: dict[str, Any], h: float = 1e-5) -> None:
        self.equations, self.given, self.h = equations, given, h
        self.values = run(equations, given)
        self.found: dict[tuple[str, str], np.ndarray] = {}

    def __call__(self, of: str, by: str) -> np.ndarray:
        if (of, by) not in self.found:
            self.found[of, by] = self._computed(of, by)
        return self.found[of, by]

    def _computed(self, of: str, by: str) -> np.ndarray:
        lefts = [equation.left for equation in self.equations]
        start = lefts.index(by) + 1 if by in lefts else 0
        between = self.equations[start : lefts.index(of) + 1]
        at = np.asarray(self.values[by], float)
        columns = []
        for place in np.ndindex(at.shape):
            sides = []
            for step in (self.h, -self.h):
                moved = at.copy()
                moved[place] += step
                sides.append(run(between, self.values | {by: moved})[of])
            columns.append((sides[0] - sides[1]) / (2 * self.h))
        return np.stack(columns, axis=-1).reshape(*np.shape(self.values[of]), *at.shape)


def verify_indexed(equations: list[Printed], given: dict[str, Any]) -> int:
    """Check every line in index notation against the values of the matrices; return their number.

    A line that begins with = has the left side of the line before it.
    """
    matrices = [equation for equation in equations if not is_indexed(equation)]
    derivative = Derivatives(matrices, given)
    left, count = "", 0
    for equation in equations:
        left = equation.left or left
        if not is_indexed(Printed(left, equation.right, "", [])):
            continue
        text = f"{left} = {equation.right}"
        sizes = sizes_of(text, derivative.values)
        with np.errstate(all="ignore"):
            expected, got = (
                np.atleast_1d(IndexedReader(side, derivative.values, derivative, sizes).whole())
                for side in (left, equation.right)
            )
        if left == "L":
            expected = expected.reshape([1] * len(INDICES))
        assert np.broadcast_shapes(expected.shape, got.shape) == expected.shape, text
        size = max(1.0, float(np.max(np.abs(expected))))
        np.testing.assert_allclose(
            np.broadcast_to(got, expected.shape),
            expected,
            atol=1e-6 * size,
            rtol=1e-6,
            err_msg=text,
        )
        count += 1
    return count


def run(equations: list[Printed], given: dict[str, Any]) -> dict[str, Any]:
    """Compute the equations in order; printed shapes must be those of the values."""
    values = dict(given) | {"π": np.pi}
    N = len(given["X_0"])
    with np.errstate(all="ignore"):
        for left, right, _, shapes in equations:
            value = Reader(right, values).whole()
            if left.startswith("["):
                names = left.strip("[] ").replace(" ", "").split(",")
                K = value.shape[1] // 2
                values |= dict(zip(names, (value[:, :K], value[:, K:]), strict=True))
            else:
                scalar = not any(name == left for name, _ in shapes)
                values[left] = np.asarray(value).reshape(()) if scalar else value
            for name, shape in shapes:
                size = np.shape(values[name])
                assert shape.replace("N", str(N)) == "×".join(map(str, size)), (name, shape, size)
            scalars = set(re.findall(NAME, f"{left} = {right}")) - {name for name, _ in shapes}
            for name in scalars & set(values):
                assert np.ndim(values[name]) == 0, f"no shape stands below {name}"
    return values


# ---------------------------------------------------------------- terminal text


def from_unicode(text: str) -> Iterator[Printed]:
    """Yield the equations of a printed derivation (without numbers)."""
    for block in text.split("\n\n"):
        lines = block.rstrip("\n").split("\n")
        while re.match(r"  \S", lines[0]):  # the rule above a line
            lines.pop(0)
        if not lines[0].startswith("    "):
            continue
        found = SOURCE.search(lines[0])
        assert found, f"no number: {lines[0]!r}"
        lines[0] = SOURCE.sub("", lines[0])
        formula, shapes = "", []
        for i, line in enumerate(lines):
            if re.fullmatch(r"[\s\dN×]*", line):
                continue
            formula += line
            following = lines[i + 1] if i + 1 < len(lines) else ""
            if re.fullmatch(r"[\s\dN×]*", following):
                shapes += list(_below(line, following))
        left, _, right = formula.partition("=")
        yield Printed(left.strip(), right, found[1], shapes)


def _below(line: str, following: str) -> Iterator[tuple[str, str]]:
    for word in SHAPE.finditer(following):
        above = [name for name in re.finditer(NAME, line)
                 if name.start() < word.end() and word.start() < name.end()]  # fmt: skip
        assert len(above) == 1, f"{word[0]} stands below {above} of {line!r}"
        yield above[0][0], word[0]


# ---------------------------------------------------------------- LaTeX

LATEX = {
    r"\odot": "⊙", r"\,": " ", r"\cdot": "·", r"\le": "≤", r"\ge": "≥", r"\|": "‖", r"\{": "{",
    r"\delta": "δ", r"\lambda": "λ", r"\alpha": "α", r"\beta": "β", r"\gamma": "γ",
    r"\varepsilon": "ε", r"\kappa": "κ", r"\mu": "μ", r"\pi": "π", r"\sigma": "σ", r"\tau": "τ",
    r"\Phi": "Φ", r"\varphi": "φ", r"\left": "", r"\right": "", "-": "−", "&": "",
}  # fmt: skip


def from_latex(text: str) -> Iterator[Printed]:
    """Yield the equations of a derivation's LaTeX (without numbers)."""
    for body in re.findall(r"\\begin\{align\*\}\n(.*?)\n\\end\{align\*\}", text, re.S):
        for line in body.split(" \\\\\n"):
            if line.startswith("&\\text"):
                continue
            formula, source = re.fullmatch(r"(.*) \\tag\{(.*)\}", line, re.S).groups()
            shapes: list[tuple[str, str]] = []
            left, right = (_plain(side, shapes) for side in formula.split("&= "))
            yield Printed(left.strip(), right, source, shapes)


def _plain(tex: str, shapes: list[tuple[str, str]]) -> str:
    out = ""
    while tex:
        if tex[0] == "{":  # the base of a power, in brackets
            group, tex = _group(tex)
            out += f"({_plain(group, shapes)})"
        elif tex[0] in "^_":
            sign, tex = tex[0], tex[1:]
            group, tex = _group(tex)
            inner = _plain(group, shapes)
            out += f"_{inner}" if sign == "_" else "ᵀ" if group == r"\top" else f"^({inner})"
        elif tex[0] == "\\":
            command, arguments, tex = _command(tex)
            out += _translated(command, arguments, shapes)
        else:
            out, tex = out + LATEX.get(tex[0], tex[0]), tex[1:]
    return out


def _command(tex: str) -> tuple[str, list[str], str]:
    command = re.match(r"\\([A-Za-z]+|.)", tex)[0]
    tex = tex[len(command) :]
    counts = {r"\frac": 2, r"\tfrac": 2, r"\underset": 2, r"\sqrt": 1, r"\operatorname": 1,
              r"\hat": 1, r"\text": 1, r"\begin": 1}  # fmt: skip
    arguments = []
    for _ in range(counts.get(command, 0)):
        argument, tex = _group(tex)
        arguments.append(argument)
    if command == r"\sum":
        arguments, tex = [tex[2]], tex[4:]
    if command == r"\begin":
        body, tex = tex.split(r"\end{cases}", 1)  # cases are not nested
        arguments = [body]
    return command, arguments, tex


def _translated(command: str, arguments: list[str], shapes: list[tuple[str, str]]) -> str:
    if command == r"\frac" and arguments[0].startswith(r"\partial "):
        above, below = (_plain(x.replace(r"\partial ", ""), shapes) for x in arguments)
        return f"∂{above}/∂{below}"
    if command == r"\underset":
        name = _plain(arguments[1], shapes)
        shapes.append((name, arguments[0].replace(r"\times ", "×")))
        return name
    if command == r"\begin":
        return "{" + ", ".join(_plain(row, shapes) for row in arguments[0].split(r"\\")) + "}"
    inner = [_plain(argument, shapes) for argument in arguments]
    if command in (r"\frac", r"\tfrac"):
        return f"(({inner[0]}) / ({inner[1]}))"
    if command == r"\sum":
        return f"Σ_{inner[0]} "
    if command == r"\sqrt":
        return f"√({inner[0]})"
    if command == r"\hat":
        return "ŷ"
    if command in (r"\operatorname", r"\text"):
        return f" {inner[0]} "
    return LATEX.get(command, f" {command[1:]} ")


def _group(tex: str) -> tuple[str, str]:
    assert tex[0] == "{", tex
    depth = 0
    for i, c in enumerate(tex):
        escaped = i > 0 and tex[i - 1] == "\\"
        depth += (c == "{" and not escaped) - (c == "}" and not escaped)
        if depth == 0:
            return tex[1:i], tex[i + 1 :]
    raise AssertionError(f"no closing brace: {tex}")


# ---------------------------------------------------------------- MathML


def from_html(text: str) -> Iterator[Printed]:
    """Yield the equations of a derivation's HTML (without numbers); it must be well-formed."""
    for block in ET.fromstring(text).iter("div"):
        formula = block.find("div/div/math")
        if formula is None:
            continue
        shapes: list[tuple[str, str]] = []
        left, _, right = _walk(formula, shapes).partition("=")
        yield Printed(left.strip(), right, block.find("span").text.strip("()"), shapes)


def from_math(text: str) -> str:
    """Return the plain text of MathML, such as a formula of the interactive page."""
    return _walk(ET.fromstring(f"<math>{text}</math>"), []).strip()


def _walk(x: ET.Element, shapes: list[tuple[str, str]]) -> str:
    inner = [_walk(child, shapes) for child in x]
    if x.tag in ("mi", "mn", "mo", "mtext"):
        return {"⊤": "ᵀ", "∑": "Σ", "+": " + ", "=": " = "}.get(x.text, x.text)
    if x.tag == "mspace":
        return " "
    if x.tag == "msub":
        return f"{inner[0]}_{inner[1]}"
    if x.tag == "munder":
        if inner[0] == "Σ":
            return f"Σ_{inner[1]} "
        shapes.append((inner[0], inner[1]))
        return inner[0]
    if x.tag == "mfrac":
        derivative = inner[0].startswith("∂")
        return f"{inner[0]}/{inner[1]}" if derivative else f"(({inner[0]}) / ({inner[1]}))"
    if x.tag == "msup" and x[0].tag == "msub":  # the transpose of an entry
        return "".join(inner)
    if x.tag == "msup":
        return f"({inner[0]})ᵀ" if inner[1] == "ᵀ" else f"({inner[0]})^({inner[1]})"
    if x.tag == "msqrt":
        return f"√({''.join(inner)})"
    if x.tag == "mtable":
        return ", ".join(inner) + "}"
    if x.tag == "mtr":
        return " ".join(inner)
    return "".join(inner)


READERS = {"unicode": from_unicode, "latex": from_latex, "html": from_html}
