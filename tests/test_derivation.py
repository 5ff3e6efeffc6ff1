"""Derivations are parsed by KaTeX and computed by the independent interpreter of the tests.

Both use the printed text only, not the package's expression trees.
"""

from __future__ import annotations

import dataclasses
import re
import xml.etree.ElementTree as ET
from typing import Any

import numpy as np
import pytest
import scipy.sparse
from hypothesis import given, settings

import deltaprop as dp
from deltaprop import equations
from deltaprop.explain import entry, formulas
from deltaprop.explain.derivation import Derivation
from deltaprop.explain.entry import matrix_of
from deltaprop.explain.expressions import evaluate
from deltaprop.explain.latex import Latex
from deltaprop.explain.steps import steps_of
from deltaprop.explain.values import batch_of
from deltaprop.explain.writer import Writer

from . import interpreter, katex
from .oracles import Problem, encode
from .strategies import ACTIVATIONS, LOSSES, make_problem, outputs_allowed, problems

FORMATS = ("unicode", "latex", "html")
SOURCES = {"1.1", "1.2", "1.3", "1.4", "1.7", "1.8", "1.9", "L2", "bias", "scale", "activation"}


def typeset(tex: str) -> int:
    """Render every block of a derivation; return their number."""
    blocks = tex.strip().split("\n\n")
    for block in blocks:
        katex.render(block)
    return len(blocks)


def read(d: Derivation, format: str) -> list[interpreter.Printed]:
    text = getattr(dataclasses.replace(d, values={}), format)
    return list(interpreter.READERS[format](text))


def given_values(problem: Problem) -> dict[str, Any]:
    """Return the symbols that a derivation starts from, under their printed names."""
    encoding = ("label_smoothing", "class_weight")
    plain = {k: v for k, v in problem.params.items() if k not in encoding}
    known = {"X_0": problem.X, "y": encode(problem.with_(params=plain))}
    for l, (W, b) in enumerate(zip(problem.W, problem.b, strict=True)):
        known |= {f"W_{l}": W, f"b_{l}": b}
    if problem.sample_weight is not None:
        known["w"] = problem.sample_weight[:, None]
    return known


def agree(got: dict[str, Any], net: dp.Network, data: tuple[Any, ...]) -> None:
    """Assert that every printed quantity is that of the network."""
    t, g = net.trace(*data), net.gradient(*data)
    same(got["L"], net.loss(*data), "L")
    same(got["ŷ"], t.X[-1], "ŷ")
    for l in range(net.n_layers):
        expected = {"a": t.a[l], "δ": t.delta[l], "∂L/∂W": g.dW[l], "∂L/∂b": g.db[l], "X": t.X[l]}
        for name, value in expected.items():
            same(got[f"{name}_{l}"], value, f"{name}_{l}")


def same(got: Any, expected: Any, name: str) -> None:
    assert np.shape(got) == np.shape(expected), name
    size = max(1.0, float(np.max(np.abs(expected))))
    np.testing.assert_allclose(got, expected, rtol=1e-9, atol=1e-10 * size, err_msg=name)


def verified(problem: Problem, formats: tuple[str, ...] = FORMATS) -> None:
    net = problem.network()
    d = net.derivation(*problem.data)
    for format in formats:
        printed = read(d, format)
        for equation in printed:
            assert set(equation.source.split(", ")) <= SOURCES
        agree(interpreter.run(printed, given_values(problem)), net, problem.data)


@settings(max_examples=200)
@given(problems())
def test_printed_equations_give_the_values_of_the_network(problem):
    """Depths, widths from 1, activations, losses, L2, reductions, weights: in all three formats."""
    verified(problem)
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
        verified(problem)


@pytest.mark.parametrize("params", [
    {}, {"label_smoothing": 0.1}, {"class_weight": (0.5, 2.0)},
    {"label_smoothing": 0.1, "class_weight": (0.5, 2.0)},
])  # fmt: skip
@pytest.mark.parametrize(("loss", "last"), [
    ("cross_entropy", "softmax"), ("binary_cross_entropy", "logistic"),
    ("cross_entropy", "logistic"), ("binary_cross_entropy", "tanh"),
])  # fmt: skip
def test_smoothed_and_weighted_targets(loss, last, params):
    verified(make_problem(2, ("relu", last), (3, 2), loss, params=params))


@pytest.mark.parametrize("reduction", ["sum", "mean"])
@pytest.mark.parametrize("hidden", ACTIVATIONS)
def test_vectors_of_layers_are_printed(hidden, reduction):
    both = {"input_scale": True, "trainable_activation": True}
    layers = [dp.Dense(3, hidden, **both), dp.Dense(4, "tanh", trainable_activation=True),
              dp.Dense(2, "softmax", input_scale=True)]  # fmt: skip
    net = dp.Network(2, layers, loss="cross_entropy", l2=0.1, reduction=reduction, seed=0)
    rng = np.random.default_rng(0)
    net.theta[...] += 0.3 * rng.normal(size=net.theta.size)
    X, y = rng.normal(size=(5, 2)), np.array([0, 1, 1, 0, 1])
    known = {"X_0": X, "y": np.eye(2)[y]}
    for l in range(3):
        vectors = {"W": net.W[l], "b": net.b[l], "r": net.r[l], "α": net.alpha[l]}
        known |= {f"{name}_{l}": v for name, v in vectors.items() if v is not None}
    d, g = net.derivation(X, y), net.gradient(X, y)
    for format in FORMATS:
        got = interpreter.run(read(d, format), dict(known))
        agree(got, net, (X, y))
        for l in range(3):
            for name, expected in (("r", g.dr[l]), ("α", g.dalpha[l])):
                if expected is not None:
                    same(got[f"∂L/∂{name}_{l}"], expected, name)
    assert typeset(d.latex) == 8


def test_every_built_in_has_a_formula():
    """Each has an entry in formulas.py or can be called with symbols; none is printed by name."""
    names = {dp.activations.get(name).name for name in dp.activations.NAMES}
    assert set(formulas.ACTIVATIONS) <= names
    for name in names - set(formulas.ACTIVATIONS):
        net = dp.Network(2, [dp.Dense(2, name), dp.Dense(1)], loss="squared_error")
        assert f"{name}(" not in str(net.derivation())
    assert set(formulas.LOSSES) <= set(dp.losses.NAMES)
    for name in set(dp.losses.NAMES) - set(formulas.LOSSES):
        net = dp.Network(2, [dp.Dense(1)], loss=name)
        assert f"{name}(" not in str(net.derivation())
    losses = [dp.losses.get(name) for name in formulas.LOSSES]
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


@settings(max_examples=50)
@given(problems())
def test_each_entry_written_out_gives_its_result(problem):
    """The line of an entry, computed as it is written, gives the entry of the network."""
    net = problem.network()
    batch = batch_of(net, *problem.data)
    steps = steps_of(net, batch.form)
    values = batch.values(steps)
    for equation in (equation for step in steps for equation in step.equations):
        result = matrix_of(evaluate(equation.left, values))
        size = max(1.0, float(np.max(np.abs(result))))
        for place in np.ndindex(*np.minimum(result.shape, 3)):
            picked = entry._Picker(values, most_terms=1000).pick(equation.right, *place)
            np.testing.assert_allclose(
                evaluate(picked, {}), result[place], rtol=1e-9, atol=1e-10 * size
            )


def test_a_long_sum_shows_its_first_terms_and_the_last():
    net = dp.Network(9, [dp.Dense(1)], loss="squared_error")
    net.theta[...] = [*range(1, 10), 0.5]
    steps, batch = steps_of(net), batch_of(net, [[1.0] * 9], [0.0])
    written = entry.write_entry(steps[1].equations[0], batch.values(steps), 0, 0)
    assert written.text == "1 · 1 + 1 · 2 + 1 · 3 + 1 · 4 + … + 1 · 9 + 0.5 = 45.5"
    assert written.used["W", 0] == {(d, 0) for d in (0, 1, 2, 3, 8)}


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
def test_a_wrong_formula_is_detected(error, format, monkeypatch):
    verified(planted_problem(), (format,))
    table, name, wrong = PLANTED[error]
    monkeypatch.setitem(table, name, wrong)
    with pytest.raises(AssertionError):
        verified(planted_problem(), (format,))


@pytest.mark.parametrize("format", FORMATS)
def test_missing_brackets_are_detected(format, monkeypatch):
    monkeypatch.setattr(Writer, "_level", lambda self, x: 4)
    with pytest.raises(AssertionError):
        verified(planted_problem(), (format,))


def test_a_wrong_transpose_or_shape_is_detected(monkeypatch):
    problem = make_problem(0, ("tanh", "identity"), (3, 3), "squared_error", D=3)
    monkeypatch.setattr(Latex, "transpose", lambda self, x: x)
    with pytest.raises((AssertionError, ValueError)):
        verified(problem, ("latex",))
    monkeypatch.undo()
    verified(problem, ("latex",))
    monkeypatch.setattr("deltaprop.explain.latex.shape_below", lambda shape: "N")
    with pytest.raises(AssertionError):
        verified(problem, ("latex",))


def test_katex_rejects_invalid_latex():
    from py_mini_racer import JSEvalException

    with pytest.raises(JSEvalException, match="ParseError"):
        katex.render(r"\begin{align*} a &= \underset{2}{W \end{align*}")


# ---------------------------------------------------------------- numbers below the equations


def substitutions(d: Derivation) -> dict[str, tuple[str, str | None]]:
    """Return from the LaTeX, for each left side, the result and the right side with numbers."""
    found = {}
    for body in d.latex.strip().split("\n\n"):
        rows = [row.removesuffix(r"\end{align*}").strip() for row in body.split(" \\\\\n")]
        for at, row in enumerate(rows):
            if r"\tag{" not in row:
                continue
            name = next(interpreter.from_latex(f"\\begin{{align*}}\n{row}\n\\end{{align*}}")).left
            lines = []
            for later in rows[at + 1 :]:
                if not later.startswith("&= "):
                    break
                lines.append(later.removeprefix("&= "))
            if lines:
                found[name] = (lines[-1], lines[0] if len(lines) > 1 else None)
    return found


def computed(tex: str) -> Any:
    """Return the value of LaTeX that has matrices of numbers in place of symbols."""
    values: dict[str, Any] = {"π": np.pi}

    def named(match: re.Match[str]) -> str:
        rows = [[float(x) for x in row.split("&")] for row in match[1].split(r"\\")]
        name = f"B_{len(values)}"
        values[name] = np.array(rows[0] if len(rows) == 1 else rows)
        return f"{{B_{{{name[2:]}}}}}"

    tex = re.sub(r"\\begin\{bmatrix\}(.*?)\\end\{bmatrix\}", named, tex)
    return interpreter.Reader(interpreter._plain(tex, []), values).whole()


def test_substituted_numbers_give_the_results():
    """Each result is that of the network, and each right side with numbers gives its result."""
    problem = make_problem(
        5, ("tanh", "softmax", "logistic"), (3, 2, 2), "squared_error",
        N=4, weighted=True, l2=0.5, reduction="mean",
    )  # fmt: skip
    net, t = problem.network(), problem.network().trace(*problem.data)
    shown = substitutions(net.derivation(*problem.data))
    expected = {"L": t.loss, "ŷ": t.X[-1], "S": problem.sample_weight.sum()}
    for l in range(3):
        expected |= {f"a_{l}": t.a[l], f"X_{l + 1}": t.X[l + 1], f"δ_{l}": t.delta[l],
                   f"∂L/∂W_{l}": t.dW[l], f"∂L/∂b_{l}": t.db[l]}  # fmt: skip
    assert set(shown) == {*expected, "g_1"}
    for name, value in expected.items():
        result, _ = shown[name]
        np.testing.assert_allclose(computed(result), value, atol=6e-5, err_msg=name)
    written = {name for name, (_, right) in shown.items() if right is not None}
    assert {"a_0", "X_1", "S", "g_1", "δ_0", "∂L/∂W_0", "∂L/∂b_2"} <= written
    for name in written:
        result, right = shown[name]
        np.testing.assert_allclose(computed(right), computed(result), atol=1e-3, err_msg=name)


def test_terminal_matrices_have_aligned_columns_and_large_ones_are_shortened():
    net = dp.Network(20, [dp.Dense(9, "tanh"), dp.Dense(1)], loss="squared_error", seed=0)
    text = str(net.derivation(np.ones((50, 20)), np.zeros(50)))
    assert "50×20 20×9" in text
    block = text.split("a_0  = ")[1].split("\n\n")[0].splitlines()
    assert max(map(len, block)) <= 100
    result = [line for line in block[-5:] if line.strip()[0] in "⎡⎢⎣="]
    assert [line.count("…") for line in result] == [1, 1, 1, 5, 1]
    assert len({line.index("…", 20) for line in result if line.count("…") == 1}) == 1


@pytest.mark.parametrize("width", [1, 6, 40])
def test_no_line_is_wider_than_a_terminal(width):
    for loss in ("huber", "focal", "quantile", "tweedie"):
        layers = [
            dp.Dense(width, "gelu_tanh", 0.1),
            dp.Dense(width, "selu"),
            dp.Dense(2, "logistic"),
        ]
        net = dp.Network(width, layers, loss=loss, l2=0.1, reduction="sklearn")
        for text in (str(net.derivation()), str(net.derivation(*batch(width, loss)))):
            formulas_ = [line for line in text.splitlines() if line.startswith("  ")]
            assert max(map(len, formulas_)) <= 110, max(formulas_, key=len)


def batch(D: int, loss: str) -> tuple[np.ndarray, np.ndarray]:
    X = np.random.default_rng(0).normal(size=(5, D))
    return X, np.arange(5) % 2 if loss == "focal" else np.ones((5, 2))


# ---------------------------------------------------------------- custom functions


def custom_functions() -> dict[str, Any]:
    sine = dp.Activation("sine", lambda a, xp: xp.sin(a), lambda a, z, xp: xp.cos(a))
    clipped = dp.Activation(
        "clipped",
        lambda a, xp: xp.where(a > 1, 1e-5 * a, 2 * a),
        lambda a, z, xp: xp.where(a > 1, 1e-5 * xp.ones_like(a), 2 * xp.ones_like(a)),
    )
    spread = dp.Activation(
        "spread",
        lambda a, xp: a - xp.sum(a, axis=-1, keepdims=True),
        lambda a, z, xp: np.eye(a.shape[1])[None] - np.ones((len(a), 1, 1)),
        coupling="row",
        vjp=lambda a, z, g, xp: g - xp.sum(g, axis=-1, keepdims=True),
    )
    fourth = dp.Loss(
        "fourth_power",
        lambda t, z, xp, scale: scale * (z - t) ** 4,
        lambda t, z, xp, scale: 4 * scale * (z - t) ** 3,
        params={"scale": 0.25},
    )
    return {"sine": sine, "clipped": clipped, "spread": spread, "fourth": fourth}


@pytest.mark.parametrize("format", FORMATS)
def test_custom_functions_are_written_out(format):
    own = custom_functions()
    layers = [dp.Dense(3, own["sine"]), dp.Dense(2, own["clipped"]), dp.Dense(3, own["spread"])]
    net = dp.Network(2, layers, loss=own["fourth"], seed=1)
    X, y = np.random.default_rng(0).normal(size=(2, 5, 3))
    data = (X[:, :2], y)
    given = {"X_0": data[0], "y": y} | {f"W_{l}": W for l, W in enumerate(net.W)}
    given |= {f"b_{l}": b for l, b in enumerate(net.b)}
    agree(interpreter.run(read(net.derivation(*data), format), given), net, data)


def test_custom_functions_that_need_arrays_are_printed_by_name():
    def needs_arrays(*arguments):
        return np.asarray(arguments[0], dtype=float) * (2 if arguments[0].shape[0] else 1)

    double = dp.Activation("my_{double}%", needs_arrays, lambda a, z, xp: np.full(a.shape, 2.0))
    branching = dp.Loss(
        "my_loss",
        lambda t, z, xp: z - t if (z > t).all() else t - z,
        lambda t, z, xp: xp.sign(z - t) if (z == t).any() else xp.sign(t - z),
    )
    net = dp.Network(2, [dp.Dense(2, double), dp.Dense(2, "softmax")], loss=branching, seed=0)
    d = net.derivation([[1.0, 2.0]], [[3.0, 4.0]])
    assert "X_1 = my_{double}%(a_0)" in str(d)
    assert "δ_0 = 2 (δ_1 W_1ᵀ)" not in str(d)
    assert "δ_0 = my_{double}%′(a_0) ⊙ (δ_1 W_1ᵀ)" in str(d)
    assert "L = Σ_n Σ_h my_loss( y ,  ŷ )" in str(d)
    assert "g_1 = my_loss′( y ,  ŷ )" in str(d)
    assert "my_{double}%" in d.html
    typeset(d.latex)


@pytest.mark.parametrize("f", [
    lambda a, xp: a @ np.ones((3, 3)), lambda a, xp: a * np.arange(3.0), lambda a, xp: np.sin(a),
    lambda a, xp: xp.where((a > 0) & (a < 1), a, 0 * a), lambda a, xp: a[:, ::-1],
    lambda a, xp: xp.where(a == 0, a, 2 * a), lambda a, xp: xp.exp(a - xp.max(a)),
])  # fmt: skip
def test_functions_that_symbols_cannot_express_are_printed_by_name(f):
    own = dp.Activation("own", f, lambda a, z, xp: xp.ones_like(a))
    net = dp.Network(2, [dp.Dense(3, own)], loss="squared_error")
    assert "X_1 = own(a_0)" in str(net.derivation())


def test_markup_in_names_is_escaped():
    bold = dp.Activation("<b>&", lambda a, xp: np.sin(a), lambda a, z, xp: np.cos(a))
    net = dp.Network(1, [dp.Dense(1, bold)], loss="squared_error")
    assert "<b>" not in net.derivation().html
    assert "<b>" not in net._repr_html_()
    list(interpreter.from_html(net.derivation().html))
    typeset(net.derivation().latex)


# ---------------------------------------------------------------- the object


def test_str_uses_the_format_and_notebooks_show_mathml():
    net = dp.Network(2, [dp.Dense(2, "tanh")], loss="squared_error", seed=0)
    d = net.derivation()
    assert str(d) == d.unicode
    for format in FORMATS:
        assert str(net.derivation(format=format)) == getattr(d, format)
    assert d._repr_html_() == d.html
    assert d._repr_latex_() == d.latex


def test_the_penalty_is_printed_only_where_there_is_one():
    def printed(l2):
        return str(dp.Network(1, [dp.Dense(1)], loss="squared_error", l2=l2).derivation())

    assert "λ" not in printed(0.0)
    assert "λ = 0.25" in printed(0.25)
    assert "X_0ᵀ δ_0 + λ W_0" in printed(0.25)


def test_a_hidden_layer_without_a_slope_has_no_factor():
    """f′ of the identity is 1, which is not printed."""
    net = dp.Network(1, [dp.Dense(2), dp.Dense(1)], loss="squared_error")
    assert "δ_0 = δ_1 W_1ᵀ" in str(net.derivation())
    assert "δ_1 =  ŷ  −  y" in str(net.derivation())


@pytest.mark.parametrize(("arguments", "message"), [
    ({"format": "markdown"}, "format must be one of unicode, latex, html; got 'markdown'"),
    ({"X": [[1.0]]}, "y is missing"),
    ({"y": [1.0]}, "X is missing"),
    ({"sample_weight": [1.0]}, "sample_weight needs a batch"),
    ({"X": [[1.0, 2.0]], "y": [1.0]}, "2 column"),
])  # fmt: skip
def test_bad_arguments(arguments, message):
    net = dp.Network(1, [dp.Dense(1)], loss="squared_error")
    with pytest.raises(ValueError, match=message):
        net.derivation(**arguments)


def test_a_sparse_batch_prints_as_the_dense_one():
    net = dp.Network(2, [dp.Dense(1)], loss="squared_error", seed=0)
    X, y = np.array([[0.0, 2.0], [1.0, 0.0]]), [1.0, 2.0]
    assert str(net.derivation(scipy.sparse.csr_matrix(X), y)) == str(net.derivation(X, y))


def test_the_layer_table_for_notebooks():
    net = dp.Network(4, [dp.Dense(10, "tanh", 0.1), dp.Dense(3, "softmax")], loss="cross_entropy")
    table = ET.fromstring(net._repr_html_())
    rows = [[cell.text for cell in row] for row in table.iter("tr")]
    assert rows == [
        ["layer", "inputs", "units", "activation", "dropout", "parameters"],
        ["0", "4", "10", "tanh", "0.1", "50"],
        ["1", "10", "3", "softmax", "0", "33"],
    ]
