r"""Steps as LaTeX: an ``align*`` for each, shapes by ``\underset``, numbers by ``\tag``."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from textwrap import wrap
from typing import Any

import numpy as np

from deltaprop.explain.expressions import (
    Equal,
    Equation,
    Expression,
    Item,
    Name,
    Partial,
    Shape,
    Symbol,
)
from deltaprop.explain.indexed import numbers_at_first
from deltaprop.explain.steps import Step
from deltaprop.explain.substitution import numbers_below
from deltaprop.explain.writer import Writer, digits, grid

GREEK = {
    "α": "alpha", "β": "beta", "γ": "gamma", "δ": "delta", "ε": "varepsilon", "κ": "kappa",
    "λ": "lambda", "μ": "mu", "π": "pi", "σ": "sigma", "τ": "tau", "Φ": "Phi", "φ": "varphi",
}  # fmt: skip
NAMES = {letter: f"\\{name}" for letter, name in GREEK.items()} | {"ŷ": r"\hat{y}"}
OPERATORS = ("exp", "log", "tanh", "cosh", "sinh", "sin", "cos", "arctan", "max", "min")
SIGNS = {" ": r"\,", "·": r" \cdot ", "⊙": r" \odot ", "−": " - ", "≤": r" \le ", "≥": r" \ge "}
ESCAPES = {"\\": r"\backslash ", "{": r"\{", "}": r"\}", "_": r"\_", "%": r"\%", "&": r"\&",
           "#": r"\#", "$": r"\$", "^": r"\char94 ", "~": r"\char126 "}  # fmt: skip
IN_WORDS = {"′": "$'$", "ᵀ": r"$^{\top}$", "−": "$-$", "→": r"$\to$", "⊙": r"$\odot$",
            "Σ": r"$\Sigma$", "ŷ": r"$\hat{y}$", "∂": r"$\partial$", "·": r"$\cdot$",
            "½": r"$\tfrac{1}{2}$", "²": "$^2$", "³": "$^3$", "∞": r"$\infty$"} | {
    letter: f"${name}$" for letter, name in NAMES.items() if letter != "ŷ"
}  # fmt: skip

# X_0, (X_0)_nd, and δ_0 after δ became $\delta$
INDEX = re.compile(r"((?<![A-Za-z])[A-Za-z]|[$)])\\_(\w+)")


def document(steps: Iterable[Step], values: dict[Name, Any]) -> str:
    """Write all steps, for a document that loads amsmath."""
    return "\n".join(_step(step, values) for step in steps)


def _step(step: Step, values: dict[Name, Any]) -> str:
    rows = [rf"&\textbf{{{words(step.title)}}}", *_sentences(step.notes)]
    blocks = [rows]
    before: Expression | None = None
    for equation in step.equations:
        continues = equation.left is before
        if equation.rule and not continues:  # a page can end between two blocks
            blocks.append(rows := [])
        before = equation.left
        rows += _sentences([equation.rule])
        rows.append(formula(equation, continues=continues))
        rows += _numbers(equation, values)
    return "\n".join(_aligned(block) for block in blocks)


def _aligned(rows: list[str]) -> str:
    body = " \\\\\n".join(rows)
    return f"\\begin{{align*}}\n{body}\n\\end{{align*}}\n"


def _sentences(notes: Iterable[str]) -> list[str]:
    return [rf"&\text{{{words(line)}}}" for note in notes for line in wrap(note, 92)]


def _numbers(equation: Equation, values: dict[Name, Any]) -> list[str]:
    """The rows with numbers below an equation."""
    rows = []
    written, result = numbers_below(equation, values)
    if written:
        rows.append(f"&= {Latex(values).write(equation.right)}")
    if result is not None:
        rows.append(f"&= {matrix(result)}")
    return rows + _sentences([numbers_at_first(equation, values) or ""])


def formula(equation: Equation, *, continues: bool = False) -> str:
    """left &= right \\tag{number}; without the left side if it continues an equation."""
    left, right, source, _ = equation
    start = "" if continues else Latex().write(left)
    return rf"{start} &= {Latex().write(right)} \tag{{{source}}}"


def matrix(value: Any) -> str:
    """Return a number, or a ``bmatrix`` of numbers."""
    rows = [[_number(entry) for entry in row] for row in grid(value)]
    if np.ndim(value) == 0:
        return rows[0][0]
    body = r" \\ ".join(" & ".join(row) for row in rows)
    return rf"\begin{{bmatrix}} {body} \end{{bmatrix}}"


def words(text: str) -> str:
    """Escape plain text for ``\\text``."""
    escaped = "".join(ESCAPES.get(c) or IN_WORDS.get(c) or c for c in text)
    return INDEX.sub(r"\1$_{\2}$", escaped)


def shape_below(shape: Shape) -> str:
    return r"\times ".join(str(size) for size in shape)


def _number(digits: str) -> str:
    mantissa, e, exponent = digits.replace("−", "-").partition("e")
    power = rf"\cdot 10^{{{int(exponent)}}}" if e else ""
    return {"…": r"\cdots"}.get(mantissa, mantissa) + power


class Latex(Writer[str]):
    """A tree as LaTeX."""

    flat_quotients = False
    closed_cases = False

    def number(self, value: float) -> str:
        if abs(value) == 0.5:
            return r"\tfrac{1}{2}" if value > 0 else r"-\tfrac{1}{2}"
        return _number(digits(value))

    def symbol(self, x: Symbol) -> str:
        letter = x.name.removeprefix("∂L/∂")
        text = self._plain(replace(x, name=letter))
        if letter != x.name:
            text = rf"\frac{{\partial L}}{{\partial {text}}}"
        return rf"\underset{{{shape_below(x.shape)}}}{{{text}}}" if x.shape else text

    def indexed(self, x: Item | Partial | Equal) -> str:
        match x:
            case Equal(left, right):
                return f"[{left} = {right}]"
            case Partial(of, by):
                above, below = (self._plain(part) for part in (of, by))
                return rf"\frac{{\partial {above}}}{{\partial {below}}}"
        return self._plain(x)

    def _plain(self, x: Item | Symbol) -> str:
        """A symbol without its shape, or an entry."""
        if isinstance(x, Symbol):
            return NAMES.get(x.name, x.name) + ("" if x.index is None else f"_{{{x.index}}}")
        name = self._plain(x.symbol) + (r"^{\top}" if x.transposed else "")
        return f"{name}_{{{x.indices}}}" if x.symbol.index is None else f"({name})_{{{x.indices}}}"

    def matrix(self, value: Any) -> str:
        return matrix(value)

    def bracketed(self, x: str) -> str:
        return rf"\left({x}\right)"

    def binary(self, sign: str, left: str, right: str) -> str:
        if sign == " " and right[:1].isdigit():
            sign = "·"  # "3 4" would read as one number
        return left + SIGNS.get(sign, f" {sign} ") + right

    def quotient(self, above: str, below: str) -> str:
        return rf"\frac{{{above}}}{{{below}}}"

    def prefix(self, sign: str, x: str) -> str:
        return f"-{x}" if sign == "−" else rf"\sum_{{{sign.removeprefix('Σ_')}}} {x}"

    def power(self, base: str, exponent: Expression) -> str:
        return f"{{{base}}}^{{{self.write(exponent)}}}"

    def transpose(self, x: str) -> str:
        return rf"{{{x}}}^{{\top}}"

    def call(self, name: str, arguments: list[str]) -> str:
        inner = ", ".join(arguments)
        if name == "√":
            return rf"\sqrt{{{inner}}}"
        if name in ("abs", "norm"):
            bar = "|" if name == "abs" else r"\|"
            return rf"\left{bar}{inner}\right{bar}"
        function = f"\\{name}" if name in OPERATORS else rf"\operatorname{{{_operator(name)}}}"
        return rf"{function}\left({inner}\right)"

    def row(self, items: list[str]) -> str:
        return rf"\left[{', '.join(items)}\right]"

    def cases(self, branches: list[tuple[str, str]], otherwise: str) -> str:
        rows = [rf"{value} & \text{{if }} {condition}" for value, condition in branches]
        body = r" \\ ".join([*rows, rf"{otherwise} & \text{{otherwise}}"])
        return rf"\begin{{cases}} {body} \end{{cases}}"


def _operator(name: str) -> str:
    return name if name.isascii() and name.isalpha() else rf"\text{{{words(name)}}}"
