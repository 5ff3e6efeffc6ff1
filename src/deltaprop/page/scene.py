"""What the page shows: the network's steps, and the numbers of one pass over edited rows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from deltaprop.derivation import equations
from deltaprop.errors import InputError
from deltaprop.network import Network, Trace
from deltaprop.page.formulas import steps, symbol
from deltaprop.page.subject import Subject

if TYPE_CHECKING:
    from jaxtyping import Float

MOST_ROWS = 32  # of data in one pass
MOST_CELLS = 512  # of a matrix that are sent, along each axis
STRIP = 1024  # entries of a matrix that is shown whole beside its equation


def describe(subject: Subject) -> dict[str, Any]:
    """Everything that stays the same while the user steps and edits."""
    net = subject.network()
    return {
        "title": _title(net),
        "loss": net.loss_function.name,
        "columns": [asdict(column) for column in subject.inputs.columns],
        "targets": [asdict(column) for column in subject.targets.columns],
        "outputs": subject.outputs,
        "n_rows": subject.inputs.n_rows,
        "most_rows": MOST_ROWS,
        "steps": [asdict(step) for step in steps(net)],
    }


def trace(subject: Subject, request: dict[str, Any]) -> dict[str, Any]:
    """The numbers of one step, and a summary of all steps, from ``net.trace`` on edited copies.

    Parameters
    ----------
    request : dict
        ``step``, a key of the steps; ``first`` and ``count``, the rows; and the edits:
        ``inputs`` and ``targets`` as [row, column, value], ``W`` as [l, d, h, value], ``b`` as
        [l, h, value]. All may be left out.

    Raises
    ------
    ValueError, IndexError
        If there is no such step, row or entry, or a value is not of its kind.
    """
    first, count = _rows(subject, request)
    ours = range(first, first + count)
    net = edited(subject.network(), request.get("W", ()), request.get("b", ()))
    X, y, inputs, targets = subject.take(
        first,
        count,
        [edit for edit in request.get("inputs", ()) if edit[0] in ours],
        [edit for edit in request.get("targets", ()) if edit[0] in ours],
    )
    by_key = {step.key: step for step in steps(net)}
    step = by_key.get(request.get("step", "a_0"))
    if step is None:
        raise InputError(f"step must be one of {', '.join(by_key)}; got {request.get('step')!r}.")
    with np.errstate(all="ignore"):
        done = net.trace(X, y)
        numbers = _Numbers(subject, net, done, net.encode(y), first)
        wanted = (*step.operands, step.key)
        return {
            "step": step.key,
            "first": first,
            "inputs": inputs,
            "targets": targets,
            "loss": plain(done.loss),
            "penalty": plain(equations.penalty(net.W, net.scales(count, None)[1])),
            "strength": net.scales(count, None)[1],
            "share": 1.0 if net.reduction == "sum" else 1 / count,
            "prediction": subject.say(done.X[-1][:1]) if np.isfinite(done.X[-1]).all() else None,
            "yhat": plain(done.X[-1][0]),
            "matrices": {key: numbers.matrix(key) for key in wanted},
            "strips": {key: numbers.strip(key) for key in by_key},
        }


def edited(net: Network, W: Sequence[Any], b: Sequence[Any]) -> Network:
    """A copy of `net` with other values in some entries of its W_l and b_l."""
    net = net.copy()
    for name, of, edits in (("W", net.W, W), ("b", net.b, b)):
        for l, *place, value in edits:
            if not isinstance(value, (int, float)) or not np.isfinite(value):
                raise InputError(f"{name}_{l} must hold finite numbers, got {value!r}.")
            of[l][tuple(place)] = value
    return net


def plain(array: Any) -> Any:
    """Numbers as JSON knows them, which has no NaN and no infinity: those become words."""
    array = np.asarray(array, dtype=np.float64)
    return array.tolist() if np.isfinite(array).all() else _words(array.tolist())


def _words(values: Any) -> Any:
    if isinstance(values, list):
        return [_words(value) for value in values]
    if math.isfinite(values):
        return values
    return "NaN" if math.isnan(values) else "Infinity" if values > 0 else "-Infinity"


def rms(array: Any) -> Any:
    """√ of the mean square, as JSON knows it."""
    return plain(np.sqrt(np.mean(np.square(np.asarray(array, dtype=np.float64)))))


class _Numbers:
    """The matrices of one pass by their keys."""

    def __init__(
        self, subject: Subject, net: Network, done: Trace, t: Float[np.ndarray, "N K"], first: int
    ) -> None:
        self._subject, self._net, self._done, self._t = subject, net, done, t
        self._samples = [f"row {n}" for n in range(first, first + len(t))]

    def matrix(self, key: str) -> dict[str, Any]:
        values, rows, columns = self.values(key), *self._names(key)
        return {
            "key": key,
            "symbol": symbol(key),
            "shape": values.shape,
            "rows": rows[:MOST_CELLS],
            "columns": columns[:MOST_CELLS],
            "values": plain(values[:MOST_CELLS, :MOST_CELLS]),
            "most": plain(np.max(np.abs(values))),
            "rms": rms(values),
            "digits": 9 if self._net.dtype == np.float32 else 17,
            "edits": self._edits(key),
        }

    def strip(self, key: str) -> dict[str, Any]:
        """The first row of data's part of a matrix, or a parameter's whole where it is small."""
        values = self.values(key)
        part = values if key.partition("_")[0] in ("dW", "db") else values[:1]
        small = part.size <= STRIP
        return {
            "rms": rms(values),
            "most": plain(np.max(np.abs(values))),
            "values": plain(part) if small else None,
        }

    def values(self, key: str) -> Float[np.ndarray, "R C"]:
        net, done = self._net, self._done
        name, _, index = key.partition("_")
        l = int(index or 0)
        if name in ("X", "a", "delta", "dW", "db"):
            found = getattr(done, name)[l]
        elif name in ("W", "b"):
            found = getattr(net, name)[l]
        elif name == "t":
            found = self._t
        elif name == "slope":
            found = net.f[l].df(done.a[l], done.X[l + 1], np)
        elif name == "pull":
            found = self._pull(l)
        else:
            found = equations.sample_losses(
                self._t, done.a[-1], done.X[-1], net.f[-1], net.loss_function
            )[:, None]
        return np.atleast_2d(found.toarray() if hasattr(found, "toarray") else found)

    def _pull(self, l: int) -> Float[np.ndarray, "N H"]:
        """∂L/∂X_{l+1}."""
        net, done = self._net, self._done
        if l + 1 < net.n_layers:
            return np.asarray(done.delta[l + 1] @ net.W[l + 1].T)
        weights, _ = net.scales(len(self._t), None)
        return np.asarray(weights * net.loss_function.first(self._t, done.X[-1], np))

    def _names(self, key: str) -> tuple[list[str], list[str]]:
        """Of the matrix's rows and columns."""
        name, _, index = key.partition("_")
        l = int(index or 0)
        if name == "loss":
            return self._samples, ["loss"]
        if name == "t":
            K = self._t.shape[1]
            outputs = self._subject.outputs
            return self._samples, outputs if len(outputs) == K else [str(k) for k in range(K)]
        if name == "X":
            return self._samples, self._inputs_of(l)
        if name in ("W", "dW"):
            return self._inputs_of(l), self._inputs_of(l + 1)
        if name in ("b", "db"):
            return ["bias"], self._inputs_of(l + 1)
        return self._samples, self._inputs_of(l + 1)

    def _inputs_of(self, l: int) -> list[str]:
        net = self._net
        if l == 0:
            return self._subject.inputs.features
        units = net.layers[l - 1].units
        return self._subject.outputs if l == net.n_layers else [f"unit {h}" for h in range(units)]

    def _edits(self, key: str) -> str | None:
        """Which of the request's edits change this matrix's entries."""
        name = key.partition("_")[0]
        if key == "X_0" and self._subject.inputs.direct:
            return "inputs"
        return name if name in ("W", "b") else None


def _rows(subject: Subject, request: dict[str, Any]) -> tuple[int, int]:
    first, count, N = request.get("first", 0), request.get("count", 1), subject.inputs.n_rows
    if not (isinstance(first, int) and 0 <= first < N):
        raise InputError(f"first must be a row from 0 to {N - 1}, got {first!r}.")
    if not (isinstance(count, int) and 1 <= count <= MOST_ROWS):
        raise InputError(f"count must be a number of rows from 1 to {MOST_ROWS}, got {count!r}.")
    return first, min(count, N - first)


def _title(net: Network) -> str:
    return " → ".join(
        [str(net.n_features), *(f"{d.units} {d.activation.name}" for d in net.layers)]
    )
