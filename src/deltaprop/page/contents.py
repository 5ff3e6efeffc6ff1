"""The contents of the page: the steps of a network, and the numbers of a pass over edited rows."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from deltaprop.errors import InputError
from deltaprop.explain.entry import matrix_of, write_entry
from deltaprop.explain.expressions import Equation, Expression, Name, Row, Symbol, evaluate, symbols
from deltaprop.explain.mathml import MathML, formula, words
from deltaprop.explain.path import ways_of
from deltaprop.explain.steps import BatchForm, Phase, Step, steps_of
from deltaprop.explain.values import Batch, batch_of
from deltaprop.page.labels import words_for
from deltaprop.page.subject import Subject

if TYPE_CHECKING:
    from jaxtyping import Float

    from deltaprop.model import Model

MOST_ROWS = 32  # rows of data in one pass
MOST_CELLS = 512  # rows and columns of a matrix that are sent
MOST_IN_STRIP = 1024  # entries of a matrix that is shown in full beside its equation


# ---------------------------------------------------------------- steps


@dataclass(frozen=True)
class Line:
    """One equation of the derivation as the page shows it.

    Attributes
    ----------
    key : str
        The name of the computed quantity in code, such as "a_0", "delta_1" or "dW_0".
    phase : {"forward", "loss", "backward"}
    equation : Equation
    is_output : bool
        Whether the equation computes ŷ.
    """

    key: str
    phase: Phase
    equation: Equation
    is_output: bool = False

    @property
    def operands(self) -> list[Symbol]:
        """The distinct symbols of the right-hand side."""
        found = {symbol.key: symbol for symbol in symbols(self.equation.right)}
        return [symbol for symbol in found.values() if symbol.name != "π"]

    def describe(self) -> dict[str, Any]:
        """Return the parts that stay the same while the user steps and edits."""
        texts = words_for(next(symbols(self.equation.left)))
        math = formula(self.equation, shapes=False)
        return {
            "key": self.key,
            "phase": self.phase,
            "title": "The outputs of the network" if self.is_output else texts.title,
            "formula": f"<math><mrow><mi>ŷ</mi><mo>=</mo>{math}</mrow></math>"
            if self.is_output
            else f"<math>{math}</math>",
            "note": texts.note,
            "operands": [symbol.code for symbol in self.operands],
        }


def lines_of(steps: Sequence[Step]) -> list[Line]:
    """Return the equations of all steps after the setup; ŷ = X_L is merged into the one before it.

    Examples
    --------
    >>> import deltaprop as dp
    >>> from deltaprop.explain.steps import steps_of
    >>> from deltaprop.page.contents import lines_of
    >>> net = dp.Network(2, [dp.Dense(3, "tanh"), dp.Dense(1)], loss="squared_error")
    >>> [line.key for line in lines_of(steps_of(net))]
    ['a_0', 'X_1', 'a_1', 'X_2', 'loss', 'delta_1', 'dW_1', 'db_1', 'delta_0', 'dW_0', 'db_0']
    """
    return [*_lines(steps)]


def _lines(steps: Sequence[Step]) -> Iterator[Line]:
    for step in steps:
        if step.phase == "setup":
            continue
        equations = list(step.equations)
        has_output = isinstance(equations[-1].left, Symbol) and equations[-1].left.name == "ŷ"
        if has_output:
            equations.pop()
        for equation in equations:
            is_output = has_output and equation is equations[-1]
            yield Line(_key(equation.left), step.phase, equation, is_output)


def _key(left: Expression) -> str:
    return ",".join(symbol.code for symbol in symbols(left))


def _steps(subject: Subject) -> tuple[Step, ...]:
    """Return the steps for any number of rows; one-hot rows of classes sum to 1."""
    return steps_of(subject.network(), BatchForm(proper=subject.targets.are_classes))


# ---------------------------------------------------------------- what the page asks for


def describe(subject: Subject) -> dict[str, Any]:
    """Return everything that stays the same while the user steps and edits."""
    net = subject.network()
    ways = ways_of(net, BatchForm(proper=subject.targets.are_classes))
    return {
        "title": _title(net) if subject.member is None else f"{subject.member}: {_title(net)}",
        "loss": net.loss_function.name,
        "columns": [asdict(column) for column in subject.inputs.columns],
        "targets": [asdict(column) for column in subject.targets.columns],
        "outputs": subject.outputs,
        "n_rows": subject.inputs.n_rows,
        "most_rows": MOST_ROWS,
        "steps": [
            line.describe() | {"way": _way(ways, line)} for line in lines_of(_steps(subject))
        ],
    }


def _way(ways: Mapping[Name, Sequence[Equation]], line: Line) -> list[dict[str, str]]:
    """Return the lines that lead to an equation: the rule of each, in words, and its MathML."""
    lines = ways.get(next(symbols(line.equation.left)).key, ())
    before: Expression | None = None
    found = []
    for each in lines:
        inner = formula(each, shapes=False, continues=each.left is before)
        before = each.left
        found.append(
            {"rule": words(each.rule), "formula": f'<math displaystyle="true">{inner}</math>',
             "source": each.source}
        )  # fmt: skip
    return found


def trace(subject: Subject, request: dict[str, Any]) -> dict[str, Any]:
    """Return the numbers of one step and a summary of all steps, computed on edited copies.

    Parameters
    ----------
    request : dict
        All entries are optional. ``step`` is the key of a step; ``first`` and ``count`` select the
        rows; ``entry`` is the [row, column] of the result to write out. Edits are ``inputs`` and
        ``targets`` as [row, column, value], ``W`` as [l, d, h, value], ``b`` as [l, h, value].

    Raises
    ------
    ValueError, IndexError
        If there is no such step, row or entry, or a value has the wrong type.
    """
    with np.errstate(all="ignore"):
        scene = _Scene(subject, request)
        line = scene.line
        symbols_shown = {symbol.code: symbol for symbol in line.operands}
        return {
            "step": line.key,
            "first": scene.first,
            "inputs": scene.inputs,
            "targets": scene.targets,
            "loss": plain(scene.values["L", None]),
            "prediction": scene.prediction(),
            "yhat": plain(scene.values["ŷ", None][0]),
            "matrices": {key: scene.matrix(key, x) for key, x in symbols_shown.items()}
            | {line.key: scene.matrix(line.key, line.equation.left)},
            "strips": {line.key: scene.strip(line) for line in scene.lines},
            "worked": scene.worked(),
        }


def worked(subject: Subject, request: dict[str, Any]) -> dict[str, Any]:
    """Return one entry of a step's result, written out; the request is as for `trace`."""
    with np.errstate(all="ignore"):
        return _Scene(subject, request).worked()


def edited(net: Model, W: Sequence[Any], b: Sequence[Any]) -> Model:
    """Return a copy of `net` with other values in some entries of its W_l and b_l."""
    net = net.copy()
    for name, parameters, edits in (("W", net.W, W), ("b", net.b, b)):
        for l, *place, value in edits:
            if not isinstance(value, (int, float)) or not np.isfinite(value):
                raise InputError(f"{name}_{l} must hold finite numbers, got {value!r}.")
            parameters[l][tuple(place)] = value
    return net


def plain(array: Any) -> Any:
    """Convert numbers for JSON; NaN and infinity, which JSON does not have, become strings."""
    array = np.asarray(array, dtype=np.float64)
    return array.tolist() if np.isfinite(array).all() else _as_strings(array.tolist())


def _as_strings(values: Any) -> Any:
    if isinstance(values, list):
        return [_as_strings(value) for value in values]
    if math.isfinite(values):
        return values
    return "NaN" if math.isnan(values) else "Infinity" if values > 0 else "-Infinity"


def rms(array: Any) -> Any:
    """Return the root mean square, for JSON."""
    return plain(np.sqrt(np.mean(np.square(np.asarray(array, dtype=np.float64)))))


# ---------------------------------------------------------------- numbers


class _Scene:
    """One pass over some rows, and the step that is shown."""

    def __init__(self, subject: Subject, request: dict[str, Any]) -> None:
        self.subject, self.request = subject, request
        self.first, self.count = _rows(subject, request)
        self.net = edited(subject.network(), request.get("W", ()), request.get("b", ()))
        shown = range(self.first, self.first + self.count)
        X, y, self.inputs, self.targets = subject.take(
            self.first,
            self.count,
            [edit for edit in request.get("inputs", ()) if edit[0] in shown],
            [edit for edit in request.get("targets", ()) if edit[0] in shown],
        )
        steps = _steps(subject)
        self.lines = lines_of(steps)
        self.line = self._line(request.get("step", "a_0"))
        self.batch: Batch = batch_of(self.net, X, y)
        self.values: dict[Name, Any] = self.batch.values(steps)

    def _line(self, key: Any) -> Line:
        by_key = {line.key: line for line in self.lines}
        if key not in by_key:
            raise InputError(f"step must be one of {', '.join(by_key)}; got {key!r}.")
        return by_key[key]

    def prediction(self) -> str | None:
        yhat = self.values["ŷ", None][:1]
        return self.subject.say(yhat) if np.isfinite(yhat).all() else None

    def worked(self) -> dict[str, Any]:
        """Return the text, and the row or column of each operand that it uses."""
        R, C = self._value(self.line.equation.left).shape
        row, column = self.request.get("entry", (0, 0))
        row, column = max(0, min(int(row), R - 1)), max(0, min(int(column), C - 1))
        entry = write_entry(self.line.equation, self.values, row, column)
        used = {symbol.code: entry.used.get(symbol.key, set()) for symbol in self.line.operands}
        return {"text": entry.text, "marks": {key: _mark(cells) for key, cells in used.items()}}

    def matrix(self, key: str, x: Expression) -> dict[str, Any]:
        values, (rows, columns) = self._value(x), self._names(x)
        symbol = next(symbols(x))
        return {
            "key": key,
            "symbol": MathML(shapes=False).write(x),
            "name": words_for(symbol).name,
            "shape": values.shape,
            "rows": rows[:MOST_CELLS],
            "columns": columns[:MOST_CELLS],
            "values": plain(values[:MOST_CELLS, :MOST_CELLS]),
            "most": plain(np.max(np.abs(values))),
            "rms": rms(values),
            "digits": 9 if self.net.dtype == np.float32 else 17,
            "edits": self._edits(symbol),
        }

    def strip(self, line: Line) -> dict[str, Any]:
        """Return the first row of a matrix with a row per sample, or a small matrix in full."""
        left = line.equation.left
        values = self._value(left)
        part = values[:1] if _has_samples(left) else values
        return {
            "rms": rms(values),
            "most": plain(np.max(np.abs(values))),
            "values": plain(part) if part.size <= MOST_IN_STRIP else None,
        }

    def _value(self, x: Expression) -> Float[np.ndarray, "R C"]:
        return matrix_of(evaluate(x, self.values))

    # ------------------------------------------------------------ names of rows and columns

    def _names(self, x: Expression) -> tuple[list[str], list[str]]:
        R, C = self._value(x).shape
        symbol = next(symbols(x))
        if _has_samples(x):
            return self._samples, self._columns(symbol, C)
        if symbol.name in ("W", "∂L/∂W") and symbol.index is not None:
            return self._units(symbol.index), self._units(symbol.index + 1)
        if symbol.name in ("b", "∂L/∂b"):
            return ["bias"], self._columns(symbol, C)
        if symbol.name in ("r", "∂L/∂r") and symbol.index is not None:
            return ["scale"], self._units(symbol.index)
        return [symbol.name] * R, self._columns(symbol, C)

    def _columns(self, symbol: Symbol, C: int) -> list[str]:
        """Return the names of units, inputs or outputs if there are C of them, else numbers."""
        if symbol.name == "X" and symbol.index is not None:
            names = self._units(symbol.index)
        elif symbol.index is not None:
            names = self._units(symbol.index + 1)
        else:
            names = self.subject.outputs
        if len(names) == C and symbol.shape:
            return names
        return ["value"] if C == 1 else [str(k) for k in range(C)]

    @cached_property
    def _samples(self) -> list[str]:
        return [f"row {n}" for n in range(self.first, self.first + self.count)]

    def _units(self, l: int) -> list[str]:
        """Return the names of the columns of X_l."""
        if l == 0:
            return self.subject.inputs.features
        if l == self.net.n_layers:
            return self.subject.outputs
        return [f"unit {h}" for h in range(self.net.layers[l - 1].units)]

    def _edits(self, symbol: Symbol) -> str | None:
        """Return the key of the request's edits that change the entries of this matrix, or None."""
        if symbol.key == ("X", 0) and self.subject.inputs.direct:
            return "inputs"
        return symbol.name if symbol.name in ("W", "b") else None


def _has_samples(x: Expression) -> bool:
    """Return whether x has a row for each sample."""
    parts = x.items if isinstance(x, Row) else (x,)
    return all(isinstance(part, Symbol) and part.shape[:1] == ("N",) for part in parts)


def _mark(cells: set[tuple[int, int]]) -> dict[str, int]:
    """Return the row or the column, or both, that all cells have in common."""
    rows, columns = {row for row, _ in cells}, {column for _, column in cells}
    mark = {"row": rows, "column": columns}
    return {name: shared.pop() for name, shared in mark.items() if len(shared) == 1}


def _rows(subject: Subject, request: dict[str, Any]) -> tuple[int, int]:
    first, count, N = request.get("first", 0), request.get("count", 1), subject.inputs.n_rows
    if not (isinstance(first, int) and 0 <= first < N):
        raise InputError(f"first must be a row from 0 to {N - 1}, got {first!r}.")
    if not (isinstance(count, int) and 1 <= count <= MOST_ROWS):
        raise InputError(f"count must be a number of rows from 1 to {MOST_ROWS}, got {count!r}.")
    return first, min(count, N - first)


def _title(net: Model) -> str:
    return " → ".join([str(net.n_features), *(layer.description for layer in net.layers)])
