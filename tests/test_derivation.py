"""What a derivation prints is parsed by KaTeX and computed by an interpreter of the tests' own.

Neither looks at the package's expression trees: only the printed text counts.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from functools import cache
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings

import deltaprop as dp
from deltaprop import equations
from deltaprop.inspect import formulas
from deltaprop.inspect.derivation import Derivation
from deltaprop.inspect.expressions import Writer
from deltaprop.inspect.latex import Latex

from . import interpreter
from .oracles import Problem, encode
from .strategies import ACTIVATIONS, LOSSES, make_problem, outputs_allowed, problems

FORMATS = ("unicode", "latex", "html")
SOURCES = {"1.1", "1.2", "1.3", "1.4", "1.7", "1.8", "1.9", "L2", "bias"}


@cache
def katex() -> Callable[[str], str]:
    """KaTeX itself, in a JavaScript engine; raises at anything that is not LaTeX to it."""
    from py_mini_racer import MiniRacer

    engine = MiniRacer()
    script = distribution("sphinxcontrib-katex").locate_file("sphinxcontrib/katex.min.js")
    engine.eval(Path(str(script)).read_text(encoding="utf-8"))
    options = "{displayMode: true, strict: 'error', output: 'html'}"
    return lambda tex: engine.eval(f"katex.renderToString({json.dumps(tex)}, {options})")


def typeset(tex: str) -> int:
    """Set every block of a derivation; their number."""
    blocks = tex.strip().split("\n\n")
    for block in blocks:
        katex()(block)
    return len(blocks)


def read(d: Derivation, format: str) -> list[interpreter.Printed]:
    text = getattr(dataclasses.replace(d, values={}), format)
    return list(interpreter.READERS[format](text))


def what_is_given(problem: Problem) -> dict[str, Any]:
    """The symbols that a derivation starts from, under the names that it prints."""
    encoding = ("label_smoothing", "class_weight")
    plain = {k: v for k, v in problem.params.items() if k not in encoding}
    known = {"X_0": problem.X, "y": encode(problem.with_(params=plain))}
    for l, (W, b) in enumerate(zip(problem.W, problem.b, strict=True)):
        known |= {f"W_{l}": W, f"b_{l}": b}
    if problem.sample_weight is not None:
        known["w"] = problem.sample_weight[:, None]
    return known


def agree(got: dict[str, Any], net: dp.Network, data: tuple[Any, ...]) -> None:
    """Every printed quantity is the engine's."""
    t, g = net.trace(*data), net.gradient(*data)
    same(got["L"], net.loss(*data), "L")
    same(got["ŷ"], t.X[-1], "ŷ")
    for l in range(net.n_layers):
        wanted = {"a": t.a[l], "δ": t.delta[l], "∂L/∂W": g.dW[l], "∂L/∂b": g.db[l], "X": t.X[l]}
        for name, value in wanted.items():
            same(got[f"{name}_{l}"], value, f"{name}_{l}")


def same(got: Any, wanted: Any, name: str) -> None:
    assert np.shape(got) == np.shape(wanted), name
    size = max(1.0, float(np.max(np.abs(wanted))))
    np.testing.assert_allclose(got, wanted, rtol=1e-9, atol=1e-10 * size, err_msg=name)


def proven(problem: Problem, formats: tuple[str, ...] = FORMATS) -> None:
    net = problem.network()
    d = net.derivation(*problem.data)
    for format in formats:
        printed = read(d, format)
        for equation in printed:
            assert set(equation.source.split(", ")) <= SOURCES
        agree(interpreter.run(printed, what_is_given(problem)), net, problem.data)


@settings(max_examples=200)
@given(problems())
def test_what_is_printed_computes_what_the_network_computes(problem):
    """Depths, widths from 1, activations, losses, L2, reductions, weights: in all three formats."""
    proven(problem)
    net = problem.network()
    assert typeset(net.derivation(*problem.data).latex) == 2 * net.n_layers + 2


@pytest.mark.parametrize("activation", [*ACTIVATIONS, "mean_variance"])
@pytest.mark.parametrize("loss", LOSSES)
def test_every_pair_of_loss_and_output(loss, activation):
    params: dict[str, Any] = {"quantiles": (0.2, 0.8)} if loss == "quantile" else {}
    if outputs_allowed(activation, loss, params, 2):
        problem = make_problem(
            1, ("tanh", activation), (3, 2), loss, params=params, weighted=True, l2=0.1
        )
        proven(problem)


@pytest.mark.parametrize("params", [
    {}, {"label_smoothing": 0.1}, {"class_weight": (0.5, 2.0)},
    {"label_smoothing": 0.1, "class_weight": (0.5, 2.0)},
])  # fmt: skip
@pytest.mark.parametrize(("loss", "last"), [
    ("cross_entropy", "softmax"), ("binary_cross_entropy", "logistic"),
    ("cross_entropy", "logistic"), ("binary_cross_entropy", "tanh"),
])  # fmt: skip
def test_smoothed_and_weighted_targets(loss, last, params):
    proven(make_problem(2, ("relu", last), (3, 2), loss, params=params))


def test_every_built_in_has_a_formula():
    names = {dp.activations.get(name).name for name in dp.activations.NAMES}
    assert set(formulas.ACTIVATIONS) == names
    assert set(formulas.LOSSES) == set(dp.losses.NAMES)
    losses = [dp.losses.get(name) for name in dp.losses.NAMES]
    assert set(formulas.CLOSED) == {(loss.name, f) for loss in losses for f in dict(loss.closed)}


@pytest.mark.parametrize("format", FORMATS)
def test_dropout_is_in_the_formulas(format):
    """With random masks the printed formulas are those of training."""
    rng = np.random.default_rng(0)
    layers = [dp.Dense(3, "tanh", 0.5), dp.Dense(3, "softmax", 0.2), dp.Dense(2, "gelu", 0.1),
              dp.Dense(2)]  # fmt: skip
    net = dp.Network(2, layers, loss="huber", l2=0.3, seed=0)
    X, y = rng.normal(size=(4, 2)), rng.normal(size=(4, 2))
    masks = [rng.integers(0, 2, (4, layer.units)) / (1 - layer.dropout) for layer in layers[:-1]]
    given = {"X_0": X, "y": y} | {f"M_{l}": mask for l, mask in enumerate(masks)}
    for l in range(4):
        given |= {f"W_{l}": net.W[l], f"b_{l}": net.b[l]}
    got = interpreter.run(read(net.derivation(), format), given)
    trained = equations.forward_backward(
        X, y, net.W, net.b, net.f, net.loss_function, 0.3, masks=[*masks, None]
    )
    same(got["L"], trained.loss, "L")
    for l in range(4):
        same(got[f"δ_{l}"], trained.delta[l], f"δ_{l}")
        same(got[f"∂L/∂W_{l}"], trained.dW[l], f"∂L/∂W_{l}")


# ---------------------------------------------------------------- planted errors


PLANTED = {
    "f′": (formulas.ACTIVATIONS, "tanh", lambda a, z, s: (formulas.tanh(a), 1 + z**2)),
    "f": (formulas.ACTIVATIONS, "silu", lambda a, z, s: (a / (1 + formulas.exp(a)), z)),
    "loss": (formulas.LOSSES, "cross_entropy", lambda y, z, s: (-(y * z), -(y / z))),
    "δ": (formulas.CLOSED, ("cross_entropy", "softmax"), lambda y, z, s: y - z),
}


def planted_problem() -> Problem:
    return make_problem(0, ("tanh", "silu", "softmax"), (3, 3, 3), "cross_entropy", l2=0.5)


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("error", PLANTED)
def test_a_wrong_formula_turns_red(error, format, monkeypatch):
    proven(planted_problem(), (format,))
    table, name, wrong = PLANTED[error]
    monkeypatch.setitem(table, name, wrong)
    with pytest.raises(AssertionError):
        proven(planted_problem(), (format,))


@pytest.mark.parametrize("format", FORMATS)
def test_forgotten_brackets_turn_red(format, monkeypatch):
    monkeypatch.setattr(Writer, "_level", lambda self, x: 4)
    with pytest.raises(AssertionError):
        proven(planted_problem(), (format,))


def test_a_transpose_or_a_shape_that_is_wrong_turns_red(monkeypatch):
    problem = make_problem(0, ("tanh", "identity"), (3, 3), "squared_error", D=3)
    monkeypatch.setattr(Latex, "transpose", lambda self, x: x)
    with pytest.raises((AssertionError, ValueError)):
        proven(problem, ("latex",))
    monkeypatch.undo()
    proven(problem, ("latex",))
    monkeypatch.setattr("deltaprop.inspect.latex.shape_below", lambda shape: "N")
    with pytest.raises(AssertionError):
        proven(problem, ("latex",))


def test_katex_refuses_what_is_no_latex():
    from py_mini_racer import JSEvalException

    with pytest.raises(JSEvalException, match="ParseError"):
        katex()(r"\begin{align*} a &= \underset{2}{W \end{align*}")
