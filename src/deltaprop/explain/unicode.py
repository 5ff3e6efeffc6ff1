"""Steps as text for the terminal: each formula on a line, the shapes of its symbols below."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import accumulate
from textwrap import wrap
from typing import Any

import numpy as np

from deltaprop.explain.expressions import (
    Equal,
    Equation,
    Expression,
    Item,
    Name,
    Number,
    Partial,
    Shape,
    Symbol,
)
from deltaprop.explain.indexed import numbers_at_first
from deltaprop.explain.steps import Step
from deltaprop.explain.substitution import numbers_below
from deltaprop.explain.writer import Writer, digits, grid

WIDTH = 92
SOURCE_COLUMN = 72
RULE = "  "  # the indent of a rule
SUPERSCRIPTS = {2: "²", 3: "³"}
SIGNS = {" ": " "} | {sign: f" {sign} " for sign in ("·", "+", "−", "⊙", "/", "<", ">", "≤", "≥")}


@dataclass(frozen=True)
class Piece:
    """A word with the text below it, or a matrix of several lines."""

    lines: tuple[str, ...]
    below: str = ""
    depth: int | None = None  # the number of enclosing brackets, if a line may break here

    @property
    def width(self) -> int:
        return max(len(self.below), *(len(line) for line in self.lines))


Pieces = list[Piece]


def document(steps: Iterable[Step], values: dict[Name, Any]) -> str:
    """Write all steps, with numbers below the equations whose symbols have values."""
    blocks = []
    for step in steps:
        blocks.append("\n".join([step.title, *_notes(step.notes)]))
        before: Expression | None = None
        for equation in step.equations:
            continues, before = equation.left is before, equation.left
            blocks.append("\n".join(_equation(equation, values, continues=continues)))
    return "\n\n".join(blocks) + "\n"


def _notes(notes: Iterable[str]) -> list[str]:
    return [line for note in notes for line in wrap(note, WIDTH, initial_indent="  ",
                                                    subsequent_indent="    ")]  # fmt: skip


def _equation(equation: Equation, values: dict[Name, Any], *, continues: bool) -> list[str]:
    """The rule that leads to an equation, the equation, and its numbers."""
    lines = wrap(equation.rule, WIDTH, initial_indent=RULE, subsequent_indent=RULE)
    lines += formula(equation, continues=continues)
    written, result = numbers_below(equation, values)
    if written:
        lines += _numbers(Unicode(values).write(equation.right))
    if result is not None:
        lines += _numbers([matrix(result)])
    if numbers := numbers_at_first(equation, values):
        lines += wrap(numbers, WIDTH, initial_indent=" " * 8, subsequent_indent=" " * 10)
    return lines


def formula(equation: Equation, *, continues: bool = False) -> list[str]:
    """The lines of one equation, with its number at the end of the first line.

    If it continues the equation before it, its left side is left out.
    """
    left, right, source, _ = equation
    if continues:
        lines = _set([word("= "), *Unicode().write(right)], indent=8, further=10)
    else:
        pieces = [*Unicode().write(left), word(" = "), *Unicode().write(right)]
        lines = _set(pieces, indent=4, further=8)
    lines[0] = f"{lines[0]:<{SOURCE_COLUMN}}  ({source})"
    return lines


def _numbers(pieces: Pieces) -> list[str]:
    return _set([word("= "), *pieces], indent=8, further=10)


def _set(pieces: Pieces, indent: int, further: int) -> list[str]:
    """Set pieces side by side, in as many rows as needed."""
    lines: list[str] = []
    for i, row in enumerate(_rows(pieces, WIDTH - further)):
        margin = " " * (further if i else indent)
        lines += [(margin + line).rstrip() for line in _side_by_side(row)]
    return lines


def _rows(pieces: Pieces, room: int) -> list[Pieces]:
    """Break before the last of the outermost signs in the right two thirds of the room."""
    ends = [0, *accumulate(piece.width for piece in pieces)]
    if ends[-1] <= room:
        return [pieces]
    places = [
        (piece.depth, -i)
        for i, piece in enumerate(pieces)
        if piece.depth is not None and room // 3 < ends[i] <= room
    ]
    if not places:
        return [pieces]
    at = -min(places)[1]
    return [pieces[:at], *_rows(pieces[at:], room)]


def _side_by_side(row: Pieces) -> list[str]:
    height = max(len(piece.lines) for piece in row)
    columns = []
    for piece in row:
        above = (height - len(piece.lines)) // 2
        padded = [""] * above + list(piece.lines)
        padded += [""] * (height - len(padded)) + [piece.below]
        columns.append([line.center(piece.width) for line in padded])
    lines = ["".join(parts) for parts in zip(*columns, strict=True)]
    return lines if lines[-1].strip() else lines[:-1]


def word(text: str, below: str = "", depth: int | None = None) -> Piece:
    return Piece((text,), below, depth)


def matrix(value: Any) -> Piece:
    """A number, or rows of numbers in brackets."""
    rows = grid(value)
    if np.ndim(value) == 0:
        return word(rows[0][0])
    widths = [max(len(entry) for entry in column) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(entry.rjust(w) for entry, w in zip(row, widths, strict=True)) for row in rows
    ]
    if len(lines) == 1:
        return word(f"[{lines[0]}]")
    left = ["⎡", *"⎢" * (len(lines) - 2), "⎣"]
    right = ["⎤", *"⎥" * (len(lines) - 2), "⎦"]
    return Piece(tuple(f"{a}{line}{b}" for a, line, b in zip(left, lines, right, strict=True)))


def shape_below(shape: Shape) -> str:
    return "×".join(str(size) for size in shape)


class Unicode(Writer[Pieces]):
    """A tree as lines for a terminal."""

    def number(self, value: float) -> Pieces:
        if abs(value) == 0.5:
            return [word("½" if value > 0 else "−½")]
        return [word(digits(value))]

    def symbol(self, x: Symbol) -> Pieces:
        return [word(indexed_text(x), shape_below(x.shape))]

    def indexed(self, x: Item | Partial | Equal) -> Pieces:
        return [word(indexed_text(x))]

    def matrix(self, value: Any) -> Pieces:
        return [matrix(value)]

    def bracketed(self, x: Pieces) -> Pieces:
        return _enclosed("(", x, ")")

    def binary(self, sign: str, left: Pieces, right: Pieces) -> Pieces:
        if sign == " " and _needs_a_dot(left[-1], right[0]):
            sign = "·"
        return [*left, word(SIGNS[sign], depth={"+": 0, "−": 0, "⊙": 0, " ": 1}.get(sign)), *right]

    def prefix(self, sign: str, x: Pieces) -> Pieces:
        return [word("−" if sign == "−" else f"{sign} "), *x]

    def power(self, base: Pieces, exponent: Expression) -> Pieces:
        if isinstance(exponent, Number) and exponent.value in SUPERSCRIPTS:
            return _raised(base, SUPERSCRIPTS[int(exponent.value)])
        return [*base, word("^("), *self.write(exponent), word(")")]

    def transpose(self, x: Pieces) -> Pieces:
        return _raised(x, "ᵀ")

    def call(self, name: str, arguments: list[Pieces]) -> Pieces:
        opening, closing = {"abs": ("|", "|"), "norm": ("‖", "‖")}.get(name, (f"{name}(", ")"))
        return _enclosed(opening, _listed(arguments), closing)

    def row(self, items: list[Pieces]) -> Pieces:
        return _enclosed("[", _listed(items), "]")

    def cases(self, branches: list[tuple[Pieces, Pieces]], otherwise: Pieces) -> Pieces:
        pieces: Pieces = []
        for value, condition in branches:
            pieces += [*value, word(" if "), *condition, word(", ", depth=0)]
        return _enclosed("{", [*pieces, *otherwise], " otherwise}")


def _needs_a_dot(left: Piece, right: Piece) -> bool:
    """Whether a product would read as one number, "3 4", or as one derivative."""
    before, after = left.lines[0], right.lines[0]
    return after[:1].isdigit() or before.startswith("∂") or after.startswith("∂")


def indexed_text(x: Item | Partial | Equal | Symbol) -> str:
    """(W_0)_dh, ∂L/∂(W_0)_dh or [h = k] in plain text."""
    match x:
        case Equal(left, right):
            return f"[{left} = {right}]"
        case Partial(of, by):
            return f"∂{indexed_text(of)}/∂{indexed_text(by)}"
        case Item(symbol, indices, transposed):
            name = indexed_text(symbol) + ("ᵀ" if transposed else "")
            return f"{name}_{indices}" if symbol.index is None else f"({name})_{indices}"
    return x.name if x.index is None else f"{x.name}_{x.index}"


def _enclosed(opening: str, inner: Pieces, closing: str) -> Pieces:
    deeper = [piece if piece.depth is None else replace(piece, depth=piece.depth + 1)
              for piece in inner]  # fmt: skip
    return [word(opening), *deeper, word(closing)]


def _raised(base: Pieces, sign: str) -> Pieces:
    """Add a superscript to the last word, or to the first line of a matrix."""
    *before, last = base
    blank = " " * len(sign)
    lines = tuple(line + (blank if i else sign) for i, line in enumerate(last.lines))
    return [*before, replace(last, lines=lines)]


def _listed(items: Iterable[Pieces]) -> Pieces:
    pieces: Pieces = []
    for item in items:
        pieces += [word(", ", depth=0), *item] if pieces else item
    return pieces


__all__ = ["Unicode", "document", "formula", "matrix"]
