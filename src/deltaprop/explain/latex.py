r"""Steps as LaTeX: an ``align*`` for each, shapes by ``\underset``, numbers by ``\tag``."""

from __future__ import annotations

import re
from collections.abc import Iterable
from textwrap import wrap
from typing import Any

import numpy as np

from deltaprop.explain.expressions import (
    Equation,
    Expression,
    Name,
    Shape,
    Symbol,
    Writer,
    digits,
    grid,
)
from deltaprop.explain.steps import Step
from deltaprop.explain.substitution import numbers_below

GREEK = {
    "α": "alpha", "β": "beta", "γ": "gamma", "δ": "delta", "ε": "varepsilon", "κ": "kappa",
    "λ": "lambda", "μ": "mu", "π": "pi", "σ": "sigma", "τ": "tau", "Φ": "Phi", "φ": "varphi",
}  # fmt: skip
NAMES = {letter: f"\\{name}" for letter, name in GREEK.items()} | {"ŷ": r"\hat{y}"}
OPERATORS = ("exp", "log", "tanh", "cosh", "sinh", "sin", "cos", "arctan", "max", "min")
SIGNS = {" ": r"\,", "·": r" \cdot ", "⊙": r" \odot ", "−": " - ", "≤": r" \le ", "≥": r" \ge "}
SUMS = {"−": "-", "Σ_n": r"\sum_{n} ", "Σ_h": r"\sum_{h} "}
ESCAPES = {"\\": r"\backslash ", "{": r"\{", "}": r"\}", "_": r"\_", "%": r"\%", "&": r"\&",
           "#": r"\#", "$": r"\$", "^": r"\char94 ", "~": r"\char126 "}  # fmt: skip
IN_WORDS = {"′": "$'$", "ᵀ": r"$^{\top}$", "−": "$-$", "→": r"$\to$", "⊙": r"$\odot$",
            "Σ": r"$\Sigma$", "ŷ": r"$\hat{y}$"} | {
    letter: f"${name}$" for letter, name in NAMES.items() if letter != "ŷ"
}  # fmt: skip

INDEX = re.compile(r"(?:(?<=[XWabM$])|(?<=\br))\\_(\w+)")  # X_0, and δ_0 after δ became $\delta$


def document(steps: Iterable[Step], values: dict[Name, Any]) -> str:
    """Write all steps, for a document that loads amsmath."""
    return "\n".join(_step(step, values) for step in steps)


def _step(step: Step, values: dict[Name, Any]) -> str:
    rows = [rf"&\textbf{{{words(step.title)}}}"]
    rows += [rf"&\text{{{words(line)}}}" for note in step.notes for line in wrap(note, 92)]
    for equation in step.equations:
        rows.append(formula(equation))
        written, result = numbers_below(equation, values)
        if written:
            rows.append(f"&= {Latex(values).write(equation.right)}")
        if result is not None:
            rows.append(f"&= {matrix(result)}")
    body = " \\\\\n".join(rows)
    return f"\\begin{{align*}}\n{body}\n\\end{{align*}}\n"


def formula(equation: Equation) -> str:
    """left &= right \\tag{number}."""
    left, right, source = equation
    return rf"{Latex().write(left)} &= {Latex().write(right)} \tag{{{source}}}"


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
    return INDEX.sub(r"$_{\1}$", escaped)


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
        text = NAMES.get(letter, letter) + ("" if x.index is None else f"_{{{x.index}}}")
        if letter != x.name:
            text = rf"\frac{{\partial L}}{{\partial {text}}}"
        return rf"\underset{{{shape_below(x.shape)}}}{{{text}}}" if x.shape else text

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
        return SUMS[sign] + x

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
