"""The lines that lead to each equation: every one is computed by the independent interpreter.

Derivatives on the left and the right side are found by central differences of the printed forward
pass, so that a wrong line differs from its left side.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

import deltaprop as dp
from deltaprop.explain import algebra, formulas, indexed, path
from deltaprop.explain.derivation import Derivation
from deltaprop.explain.expressions import Equal, IndexedSum, Item, evaluate

from . import interpreter
from .oracles import Problem
from .strategies import ACTIVATIONS, LOSSES, make_problem, outputs_allowed
from .test_derivation import FORMATS, SOURCES, agree, given_values, typeset


def derivation(problem: Problem) -> Derivation:
    return problem.network().derivation(*problem.data, steps=True)


def verify(problem: Problem, formats: tuple[str, ...] = ("unicode",)) -> int:
    """Check every printed line; return the number of those in index notation."""
    d, counts = derivation(problem), set()
    for format in formats:
        text = getattr(dataclasses.replace(d, values={}), format)
        printed = list(interpreter.READERS[format](text))
        for equation in printed:
            assert set(equation.source.split(", ")) <= SOURCES | {"1.5", "1.6"}
        given = given_values(problem)
        matrices = [equation for equation in printed if not interpreter.is_indexed(equation)]
        agree(interpreter.run(matrices, given), problem.network(), problem.data)
        counts.add(interpreter.verify_indexed(printed, given))
    assert len(counts) == 1, "the formats have the same lines"
    return counts.pop()


NETWORKS = {
    "the document's": make_problem(0, ("tanh", "softmax"), (3, 4), "cross_entropy", l2=0.3),
    "binary": make_problem(1, ("relu", "logistic"), (3, 2), "binary_cross_entropy"),
    "regression": make_problem(2, ("gelu", "identity"), (3, 2), "squared_error", l2=0.1,
                               reduction="mean", weighted=True),
    "deep": make_problem(3, ("softmax", "silu", "identity"), (3, 2, 2), "squared_error", l2=0.2,
                         reduction="sklearn"),
    "softmax without collapse": make_problem(4, ("elu", "softmax"), (2, 3), "squared_error",
                                             weighted=True),
    "one layer": make_problem(5, ("exp",), (2,), "poisson", reduction="mean"),
}  # fmt: skip


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("name", NETWORKS)
def test_every_line_holds_in_every_format(name, format):
    assert verify(NETWORKS[name], (format,)) >= 12


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_hidden_activation(activation):
    assert verify(make_problem(1, (activation, "identity"), (3, 2), "squared_error", N=3)) > 20


@pytest.mark.parametrize("activation", ["identity", "tanh", "logistic", "softmax", "exp"])
@pytest.mark.parametrize("loss", LOSSES)
def test_every_pair_of_loss_and_output(loss, activation):
    params: dict[str, Any] = {"quantiles": (0.2, 0.8)} if loss == "quantile" else {}
    if outputs_allowed(activation, loss, params, 2):
        problem = make_problem(1, ("tanh", activation), (2, 2), loss, params=params, N=3, l2=0.1)
        assert verify(problem) > 20


@pytest.mark.parametrize("params", [
    {"label_smoothing": 0.1}, {"class_weight": (0.5, 2.0)},
    {"label_smoothing": 0.1, "class_weight": (0.5, 2.0)},
])  # fmt: skip
@pytest.mark.parametrize(("loss", "last"), [
    ("cross_entropy", "softmax"), ("binary_cross_entropy", "logistic"), ("cross_entropy", "exp"),
])  # fmt: skip
def test_smoothed_and_weighted_targets(loss, last, params):
    verify(make_problem(2, ("relu", last), (3, 2), loss, params=params, N=3))


def test_dropout_is_a_factor():
    layers = [dp.Dense(3, "tanh", 0.5), dp.Dense(2, "softmax", 0.2), dp.Dense(2)]
    net = dp.Network(2, layers, loss="squared_error", seed=0)
    rng = np.random.default_rng(0)
    given = {"X_0": rng.normal(size=(3, 2)), "y": rng.normal(size=(3, 2))}
    given |= {"M_0": rng.integers(0, 2, (3, 3)) * 2.0, "M_1": rng.integers(0, 2, (3, 2)) / 0.8}
    given |= {f"W_{l}": W for l, W in enumerate(net.W)}
    given |= {f"b_{l}": b for l, b in enumerate(net.b)}
    printed = list(interpreter.from_unicode(str(net.derivation(steps=True))))
    assert interpreter.verify_indexed(printed, given) > 40


# ---------------------------------------------------------------- planted errors


def _wrong_jacobian(self: Any, l: int) -> Any:
    return Item(self.z[l], "nh") * (Equal("h", "k") + Item(self.z[l], "nk"))


def _wrong_pull(self: Any, l: int) -> Any:
    g, z = path.Symbol("g", l, self.a[l].shape), self.z[l]
    total = IndexedSum("h", Item(g, "nh") * Item(z, "nh"))
    return Item(z, "nk") * (Item(g, "nk") + total)


def _wrong_penalty(self: Any, l: int) -> Any:
    return None if self.P is None else 2 * self.λ * Item(self.W[l], "dh")


def _swapped(x: Any, row: str, column: str) -> Any:
    return Item(x, column + row) if len(x.shape) == 2 and x.name == "W" else ITEM(x, row, column)


ITEM = indexed.item
PLANTED = {
    "softmax's Jacobian": (path._PathWriter, "_jacobian", _wrong_jacobian, "the document's"),
    "the sum of softmax": (path._PathWriter, "_pulled_back", _wrong_pull,
                           "softmax without collapse"),
    "the penalty": (path._PathWriter, "_penalty_value", _wrong_penalty, "the document's"),
    "an index": (indexed, "item", _swapped, "the document's"),
    "the quotient rule": (path.algebra, "jacobian_of_softmax",
                          lambda a, b, same, total: [(same * total, "")], "the document's"),
    "the mask": (path._PathWriter, "_signal",
                 lambda self, l, i: path.Partial(self._L, Item(self.b[l], i[1:])), "regression"),
}  # fmt: skip
TABLES = {
    "f′ of logistic": (algebra.SLOPES, "logistic", "binary"),
    "f′ of tanh": (algebra.SLOPES, "tanh", "the document's"),
    "loss′ of cross-entropy": (algebra.LOSS_SLOPES, "cross_entropy", "the document's"),
    "loss′ of squared error": (algebra.LOSS_SLOPES, "squared_error", "regression"),
    "the product": (algebra.PRODUCTS, ("binary_cross_entropy", "logistic"), "binary"),
}


@pytest.mark.parametrize("error", PLANTED)
def test_a_wrong_line_is_detected(error, monkeypatch):
    where, name, wrong, network = PLANTED[error]
    verify(NETWORKS[network])
    monkeypatch.setattr(where, name, wrong)
    with pytest.raises(AssertionError):
        verify(NETWORKS[network])


@pytest.mark.parametrize("error", TABLES)
def test_a_wrong_factor_in_the_algebra_is_detected(error, monkeypatch):
    table, key, network = TABLES[error]
    right = table[key]
    find = right.lines if isinstance(right, algebra.Slope) else right

    def doubled(*arguments: Any) -> Any:
        return [(2 * line, rule) for line, rule in find(*arguments)]

    wrong = right._replace(lines=doubled) if isinstance(right, algebra.Slope) else doubled
    monkeypatch.setitem(table, key, wrong)
    with pytest.raises(AssertionError):
        verify(NETWORKS[network])


def test_a_wrong_derivative_is_detected(monkeypatch):
    monkeypatch.setitem(formulas.ACTIVATIONS, "tanh", lambda a, z, s: (formulas.tanh(a), 1 + z**2))
    with pytest.raises(AssertionError):
        interpreter.verify_indexed(
            list(interpreter.from_unicode(str(
                NETWORKS["the document's"].network().derivation(steps=True)
            ))),
            given_values(NETWORKS["the document's"]),
        )  # fmt: skip


# ---------------------------------------------------------------- numbers and text


@pytest.mark.parametrize("name", NETWORKS)
def test_the_numbers_of_an_entry_give_the_result(name):
    """Each line with numbers in full gives the entry of its left side."""
    d = derivation(NETWORKS[name])
    count = 0
    for equation in (equation for step in d.steps for equation in step.equations):
        if indexed.numbers_at_first(equation, d.values) is None:
            continue
        numbers = indexed._Numbers(d.values, 1000)
        places = dict.fromkeys(indexed._indices(equation.left), 0)
        right = evaluate(numbers.at(equation.right, places), {})
        np.testing.assert_allclose(
            right, numbers.value(equation.left, places), rtol=1e-9, atol=1e-12
        )
        count += 1
    assert count >= 12


def test_softmax_is_derived_from_its_jacobian():
    """The document's own path, with the rule that leads to each line."""
    net = dp.Network(2, [dp.Dense(3, "tanh"), dp.Dense(3, "softmax")], loss="cross_entropy", seed=0)
    text = str(net.derivation(steps=True))
    lines = [
        "∂L/∂(W_1)_dh = Σ_n ∂L/∂(a_1)_nh · ∂(a_1)_nh/∂(W_1)_dh",
        "= Σ_n (X_1ᵀ)_dn (δ_1)_nh",
        "= Σ_h ∂L/∂ŷ_nh · ∂ŷ_nh/∂(a_1)_nk",
        "= ŷ_nh ([h = k] − ŷ_nk)",
        "= −Σ_h y_nh ([h = k] − ŷ_nk)",
        "= ŷ_nk Σ_h y_nh − y_nk",
        "= ŷ_nk − y_nk",
        "∂(a_1)_nk/∂(a_0)_nh = (1 − (X_1)_nh²) (W_1)_hk",
        "= (1 − (X_1)_nh²) Σ_k (δ_1)_nk (W_1ᵀ)_kh",
    ]
    places = [text.index(line) for line in lines]
    assert places == sorted(places)
    for rule in ("Chain rule", "Quotient rule", "Each row of y sums to 1.", "Insert (1.9)."):
        assert rule in text


def test_rules_lead_to_every_line_in_index_notation():
    for problem in NETWORKS.values():
        for step in derivation(problem).steps:
            for equation in step.equations:
                if isinstance(equation.left, (Item, path.Partial)):
                    assert equation.rule.endswith((".", "layer")), equation


def test_no_line_is_wider_than_a_terminal():
    for problem in NETWORKS.values():
        d = derivation(problem)
        for values in ({}, d.values):
            lines = dataclasses.replace(d, values=values).unicode.splitlines()
            assert max(map(len, lines)) <= 110, max(lines, key=len)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_latex_is_typeset_in_blocks_that_pages_can_separate(name):
    d = derivation(NETWORKS[name])
    assert typeset(d.latex) > len(d.steps) + 3


def test_without_index_notation_the_general_formula_is_written():
    """Columns side by side and functions known by name only have no entries to write."""
    net = dp.Network(
        2, [dp.Dense(2, "tanh"), dp.Dense(2, "mean_variance")], loss="gaussian_nll", seed=0
    )
    text = str(net.derivation([[1.0, 2.0]], [0.5], steps=True))
    assert "as matrices; (1.8) then collapses for gaussian_nll" in text
    assert "(δ_1)_nh = ∂L/∂(a_1)_nh" in text

    def needs_arrays(*arguments):
        return np.asarray(arguments[0], dtype=float) * (2 if arguments[0].shape[0] else 1)

    double = dp.Activation("double", needs_arrays, lambda a, z, xp: np.full(a.shape, 2.0))
    spread = dp.Activation(
        "spread", needs_arrays, lambda a, z, xp: np.eye(a.shape[1])[None] * np.ones((len(a), 1, 1)),
        coupling="row",
    )  # fmt: skip
    net = dp.Network(2, [dp.Dense(2, double), dp.Dense(2, spread), dp.Dense(2, spread)],
                     loss="squared_error", seed=0)  # fmt: skip
    text = str(net.derivation([[1.0, 2.0]], [[0.5, 1.0]], steps=True))
    assert "double′((a_0)_nh)" in text
    assert "spread couples a row" in text


def test_the_heading_of_a_coupled_output_is_true():
    """δ of softmax is not loss′ ⊙ f′."""
    softmax = dp.Network(2, [dp.Dense(3, "softmax"), dp.Dense(2, "softmax")], loss="cross_entropy")
    titles = [step.title for step in softmax.derivation().steps if step.phase == "backward"]
    assert titles == [
        "Backward, layer 1: δ_1 = loss′(y, ŷ) times the Jacobian of softmax in each row, which "
        "collapses for softmax with cross_entropy",
        "Backward, layer 0: δ_0 = δ_1 W_1ᵀ times the Jacobian of softmax in each row",
    ]
    logistic = dp.Network(2, [dp.Dense(1, "logistic")], loss="binary_cross_entropy")
    assert "δ_0 = loss′(y, ŷ) ⊙ f′(a_0), which collapses" in logistic.derivation().steps[-1].title
