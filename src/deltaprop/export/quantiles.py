"""The scale of a normal distribution as ONNX operators: :mod:`deltaprop.data.columns.quantiles`.

A number's place among the knots is Σ_i min(1, max(0, (x - v_i) / (v_{i+1} - v_i))) over the
distinct values v_i, plus the number of further knots that equal one of the values below it, and
half of those that equal it. Φ⁻¹ is the rational approximation of Cephes (Moshier), which SciPy
uses, too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from deltaprop.data.columns.quantiles import THRESHOLD, Quantiles
from deltaprop.export.graph import Graph, Value

if TYPE_CHECKING:
    from jaxtyping import Float

CENTRAL = float(np.exp(-2))  # the smallest p for which the approximation around ½ is used
LEAST = 1e-9  # of p; smaller ones are clipped anyway
P_CENTRAL = (
    -5.99633501014107895267e1, 9.80010754185999661536e1, -5.66762857469070293439e1,
    1.39312609387279679503e1, -1.23916583867381258016e0,
)  # fmt: skip
Q_CENTRAL = (
    1.0, 1.95448858338141759834e0, 4.67627912898881538453e0, 8.63602421390890590575e1,
    -2.25462687854119370527e2, 2.00260212380060660359e2, -8.20372256168333339912e1,
    1.59056225126211695515e1, -1.18331621121330003142e0,
)  # fmt: skip
P_TAIL = (
    4.05544892305962419923e0, 3.15251094599893866154e1, 5.71628192246421288162e1,
    4.40805073893200834700e1, 1.46849561928858024014e1, 2.18663306850790267539e0,
    -1.40256079171354495875e-1, -3.50424626827848203418e-2, -8.57456785154685413611e-4,
)  # fmt: skip
Q_TAIL = (
    1.0, 1.57799883256466749731e1, 4.53907635128879210584e1, 4.13172038254672030440e1,
    1.50425385692907503408e1, 2.50464946208309415979e0, -1.42182922854787788574e-1,
    -3.80806407691578277194e-2, -9.33259480895457427372e-4,
)  # fmt: skip


def normal(graph: Graph, inputs: Sequence[Value], quantiles: Quantiles) -> Value:
    """`Quantiles.apply` of columns (N, 1), in float64; the result (N, k) is float32."""
    from scipy.special import ndtri

    X = graph.concat(*inputs)
    P = graph.concat(
        *(_probability(graph, x, k) for x, k in zip(inputs, quantiles.knots, strict=True))
    )
    end = float(ndtri(1 - (THRESHOLD - np.spacing(1))))
    z = graph.op("Clip", _inverse(graph, P), *(_number(graph, bound) for bound in (-end, end)))
    constant = graph.constant(quantiles.scale[None] == 0)
    zero = graph.op("Or", graph.op("IsNaN", X), constant)
    return graph.cast(graph.op("Where", zero, _number(graph, 0.0), z), "float32")


def _probability(graph: Graph, x: Value, knots: Float[np.ndarray, " Q"]) -> Value:
    """F(x), (N, 1)."""
    values, counts = np.unique(knots, return_counts=True)
    place = _sum(graph, _steps(graph, x, values))
    if (counts > 1).any():
        several = values[counts > 1][None], 0.5 * (counts[counts > 1][None] - 1)
        at, half = (graph.constant(v, np.float64) for v in several)
        for comparison in ("GreaterOrEqual", "Greater"):
            passed = graph.cast(graph.op(comparison, x, at), "float64")
            place = graph.op("Add", place, _sum(graph, graph.op("Mul", passed, half)))
    p = graph.op("Div", place, _number(graph, max(1.0, len(knots) - 1.0)))
    over = graph.op("Greater", x, _number(graph, knots[-1] - THRESHOLD))
    under = graph.op("Less", x, _number(graph, knots[0] + THRESHOLD))
    p = graph.op("Where", over, _number(graph, 1.0), p)
    return graph.op("Where", under, _number(graph, 0.0), p)


def _steps(graph: Graph, x: Value, values: Float[np.ndarray, " m"]) -> Value:
    """How much of each interval between neighbouring values lies below x, (N, m - 1)."""
    if len(values) == 1:
        return graph.op("Mul", x, _number(graph, 0.0))
    low, width = (graph.constant(v[None], np.float64) for v in (values[:-1], np.diff(values)))
    share = graph.op("Div", graph.op("Sub", x, low), width)
    return graph.op("Clip", share, _number(graph, 0.0), _number(graph, 1.0))


def _inverse(graph: Graph, p: Value) -> Value:
    """Φ⁻¹(p)."""
    add, subtract, multiply, divide, least = map(_operation(graph), OPERATIONS)
    rest = graph.op("Sub", _number(graph, 1.0), p)
    y = graph.op("Max", least(p, rest), _number(graph, LEAST))
    around = subtract(p, 0.5)
    square = multiply(around, around)
    ratio = divide(_polynomial(graph, square, P_CENTRAL), _polynomial(graph, square, Q_CENTRAL))
    central = multiply(
        add(around, multiply(around, multiply(square, ratio))), float(np.sqrt(2 * np.pi))
    )
    x = graph.op("Sqrt", multiply(graph.op("Log", y), -2.0))
    z = graph.op("Div", _number(graph, 1.0), x)
    ratio = divide(_polynomial(graph, z, P_TAIL), _polynomial(graph, z, Q_TAIL))
    upper = subtract(subtract(x, divide(graph.op("Log", x), x)), multiply(z, ratio))
    below = graph.op("Less", p, _number(graph, 0.5))
    tail = graph.op("Where", below, graph.op("Neg", upper), upper)
    return graph.op("Where", graph.op("Greater", y, _number(graph, CENTRAL)), central, tail)


OPERATIONS = ("Add", "Sub", "Mul", "Div", "Min")


def _operation(graph: Graph) -> Callable[[str], Callable[[Value, Value | float], Value]]:
    """An operator of a value and a value or number."""

    def of(kind: str) -> Callable[[Value, Value | float], Value]:
        def apply(x: Value, y: Value | float) -> Value:
            return graph.op(kind, x, y if isinstance(y, str) else _number(graph, y))

        return apply

    return of


def _polynomial(graph: Graph, x: Value, coefficients: Sequence[float]) -> Value:
    """The polynomial with these coefficients, that of the highest power first."""
    first, *others = coefficients
    total = graph.op("Add", graph.op("Mul", x, _number(graph, first)), _number(graph, others[0]))
    for c in others[1:]:
        total = graph.op("Add", graph.op("Mul", total, x), _number(graph, c))
    return total


def _sum(graph: Graph, values: Value) -> Value:
    return graph.op("ReduceSum", values, graph.constant([1], np.int64), keepdims=1)


def _number(graph: Graph, value: Any) -> Value:
    return graph.constant(value, np.float64)
