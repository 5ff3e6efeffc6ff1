"""Steps as HTML with MathML Core, which current browsers display without a script."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from html import escape
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

BLOCK = "display: flex; gap: 2em; align-items: baseline; margin: 0.8em 1em"
FORMULAS = "flex: 1; min-width: 0; overflow: auto hidden"
FIRST, FURTHER = "margin: 0", "margin: 0.4em 0 0 2em"
NUMBERS = "margin: 0.3em 0 0 2em; font-size: 0.85em; opacity: 0.75"
RULE = "margin: 0.6em 1em 0; font-style: italic"
EQUALS = "<mo>=</mo>"
INDEX = re.compile(r"((?<!\w)[^\W\d_]|\))_(\d+|[a-z]+)(?![A-Za-z0-9_])")  # X_0, (X_0)_nd, W_1ᵀ


def document(steps: Iterable[Step], values: dict[Name, Any]) -> str:
    """Write all steps as one ``<div>`` for a page."""
    inner = "".join(_step(step, values) for step in steps)
    return f'<div class="deltaprop-derivation">{inner}</div>\n'


def formula(equation: Equation, *, shapes: bool = True, continues: bool = False) -> str:
    """Write one equation, without its number, as the inside of a ``<math>`` element.

    If it continues the equation before it, its left side is left out.
    """
    write = MathML(shapes=shapes).write
    if continues:
        return _row(EQUALS + write(equation.right))
    return _row(f"{write(equation.left)}{EQUALS}{write(equation.right)}")


def _step(step: Step, values: dict[Name, Any]) -> str:
    blocks = [f"<section><h4>{words(step.title)}</h4>"]
    blocks += [f"<p>{words(note)}</p>" for note in step.notes]
    before: Expression | None = None
    for equation in step.equations:
        continues, before = equation.left is before, equation.left
        blocks.append(_equation(equation, values, continues=continues))
    return "\n".join([*blocks, "</section>"])


def _equation(equation: Equation, values: dict[Name, Any], *, continues: bool) -> str:
    """The rule that leads to an equation, the equation, and its numbers."""
    lines = [formula(equation, continues=continues)]
    written, result = numbers_below(equation, values)
    if written:
        lines.append(_row(EQUALS + MathML(values).write(equation.right)))
    if result is not None:
        lines.append(_row(EQUALS + matrix(result)))
    formulas = "".join(
        f'<div style="{FURTHER if i or continues else FIRST}"><math displaystyle="true">{line}'
        "</math></div>"
        for i, line in enumerate(lines)
    )
    if numbers := numbers_at_first(equation, values):
        formulas += f'<div style="{NUMBERS}">{words(numbers)}</div>'
    rule = f'<p style="{RULE}">{words(equation.rule)}</p>' if equation.rule else ""
    return (
        f'{rule}<div style="{BLOCK}"><div style="{FORMULAS}">{formulas}</div>'
        f"<span>({escape(equation.source)})</span></div>"
    )


def words(text: str) -> str:
    """Escape plain text, and write its indices as subscripts."""
    return INDEX.sub(r"\1<sub>\2</sub>", escape(text))


def matrix(value: Any) -> str:
    """Return a number, or a table of numbers in brackets."""
    rows = grid(value)
    if np.ndim(value) == 0:
        return _number(rows[0][0])
    body = "".join(
        "<mtr>" + "".join(f"<mtd>{_number(entry)}</mtd>" for entry in row) + "</mtr>"
        for row in rows
    )
    return _row(f"<mo>[</mo><mtable>{body}</mtable><mo>]</mo>")


def shape_below(shape: Shape) -> str:
    return "×".join(str(size) for size in shape)


def _number(digits: str) -> str:
    mantissa, e, exponent = digits.partition("e")
    if not e:
        return f"<mn>{digits}</mn>"
    sign = "<mo>−</mo>" if exponent.startswith("−") else ""
    power = f"<mn>{int(exponent.strip('+−'))}</mn>"
    return _row(f"<mn>{mantissa}</mn><mo>·</mo><msup><mn>10</mn>{_row(sign + power)}</msup>")


def _row(inner: str) -> str:
    return f"<mrow>{inner}</mrow>"


def _fenced(opening: str, inner: str, closing: str) -> str:
    """Put brackets around `inner` that grow only if it contains a fraction or a table."""
    tall = "<mfrac" in inner or "<mtable" in inner
    mo = "<mo>" if tall else '<mo stretchy="false">'
    return _row(f"{mo}{opening}</mo>{inner}{mo}{closing}</mo>")


class MathML(Writer[str]):
    """A tree as MathML; `shapes` writes the shape of each symbol below it."""

    flat_quotients = False
    closed_cases = False

    def __init__(self, values: dict[Name, Any] | None = None, *, shapes: bool = True) -> None:
        super().__init__(values)
        self.shapes = shapes

    def number(self, value: float) -> str:
        if abs(value) == 0.5:
            half = "<mfrac><mn>1</mn><mn>2</mn></mfrac>"
            return half if value > 0 else _row(f"<mo>−</mo>{half}")
        return _number(digits(value).replace("-", "−"))

    def indexed(self, x: Item | Partial | Equal) -> str:
        match x:
            case Equal(left, right):
                return _row(f"<mo>[</mo><mi>{left}</mi>{EQUALS}<mi>{right}</mi><mo>]</mo>")
            case Partial(of, by):
                above, below = (_row(f"<mi>∂</mi>{self._plain(part)}") for part in (of, by))
                return f"<mfrac>{above}{below}</mfrac>"
        return self._plain(x)

    def _plain(self, x: Item | Symbol) -> str:
        """A symbol without its shape, or an entry."""
        if isinstance(x, Symbol):
            text = f"<mi>{x.name}</mi>"
            return text if x.index is None else f"<msub>{text}<mn>{x.index}</mn></msub>"
        name = self._plain(x.symbol)
        name = f"<msup>{name}<mo>⊤</mo></msup>" if x.transposed else name
        if x.symbol.index is not None:
            name = _row(f'<mo stretchy="false">(</mo>{name}<mo stretchy="false">)</mo>')
        return f"<msub>{name}<mi>{x.indices}</mi></msub>"

    def symbol(self, x: Symbol) -> str:
        letter = x.name.removeprefix("∂L/∂")
        text = self._plain(replace(x, name=letter))
        if letter != x.name:
            above = _row("<mi>∂</mi><mi>L</mi>")
            text = f"<mfrac>{above}{_row(f'<mi>∂</mi>{text}')}</mfrac>"
        if not (x.shape and self.shapes):
            return text
        return f"<munder>{text}<mtext>{shape_below(x.shape)}</mtext></munder>"

    def matrix(self, value: Any) -> str:
        return matrix(value)

    def bracketed(self, x: str) -> str:
        return _fenced("(", x, ")")

    def binary(self, sign: str, left: str, right: str) -> str:
        if sign == " ":  # a space, or a dot between two numbers
            gap = (
                "<mo>·</mo>"
                if right.startswith(("<mn>", "<mrow><mn>"))
                else '<mspace width="0.4em"></mspace>'
            )
            return _row(left + gap + right)
        return _row(f"{left}<mo>{escape(sign)}</mo>{right}")

    def quotient(self, above: str, below: str) -> str:
        return f"<mfrac>{_row(above)}{_row(below)}</mfrac>"

    def prefix(self, sign: str, x: str) -> str:
        if sign == "−":
            return _row(f"<mo>−</mo>{x}")
        return _row(f"<munder><mo>∑</mo><mi>{sign.removeprefix('Σ_')}</mi></munder>{x}")

    def power(self, base: str, exponent: Expression) -> str:
        return f"<msup>{_row(base)}{_row(self.write(exponent))}</msup>"

    def transpose(self, x: str) -> str:
        return f"<msup>{_row(x)}<mo>⊤</mo></msup>"

    def call(self, name: str, arguments: list[str]) -> str:
        inner = "<mo>,</mo>".join(arguments)
        if name == "√":
            return f"<msqrt>{inner}</msqrt>"
        if name in ("abs", "norm"):
            bar = "|" if name == "abs" else "‖"
            return _fenced(bar, inner, bar)
        return _row(f"<mi>{escape(name)}</mi>{_fenced('(', inner, ')')}")

    def row(self, items: list[str]) -> str:
        return _fenced("[", "<mo>,</mo>".join(items), "]")

    def cases(self, branches: list[tuple[str, str]], otherwise: str) -> str:
        lines = [
            f"<mtr><mtd>{value}</mtd><mtd><mtext>if </mtext>{condition}</mtd></mtr>"
            for value, condition in branches
        ]
        lines.append(f"<mtr><mtd>{otherwise}</mtd><mtd><mtext>otherwise</mtext></mtd></mtr>")
        return _row(f"<mo>{{</mo><mtable>{''.join(lines)}</mtable>")
