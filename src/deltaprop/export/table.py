"""The encoding of a table as ONNX operators, with one input for each column.

==========  ========  ========================================================================
column      input     value
==========  ========  ========================================================================
numbers     double    the number; NaN if it is missing; booleans are 0 and 1, durations seconds
dates       double    seconds since 1970-01-01 00:00 UTC; NaN if it is missing
categories  string    the category; "" if it is missing
==========  ========  ========================================================================

Numbers are double, and scaled in float64 as in Python, because a large number such as a time does
not fit into float32. Every other value that is computed here is float32 in Python as well.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from deltaprop.data.columns import values
from deltaprop.data.columns.categories import CategoryColumn
from deltaprop.data.columns.dates import DateColumn
from deltaprop.data.columns.numbers import NumberColumn
from deltaprop.data.columns.quantiles import Quantiles
from deltaprop.data.columns.squashing import BOUND, LARGEST, Squash
from deltaprop.data.columns.text import TextColumn
from deltaprop.errors import InputError
from deltaprop.export.dates import date_parts, seconds
from deltaprop.export.graph import Graph, Value
from deltaprop.export.quantiles import normal

if TYPE_CHECKING:
    from jaxtyping import Shaped

    from deltaprop.data.columns.bins import Bins
    from deltaprop.data.columns.protocol import EncodedColumn
    from deltaprop.data.encoder import TableEncoder

ALTERNATIVES = (
    "Leave the column out, and fit again; predict with deltaprop; or export only the networks, "
    "model.networks_, and encode rows with model.encoder_."
)


def exported_columns(encoder: TableEncoder) -> list[EncodedColumn]:
    """The columns of a table that have an input.

    Raises
    ------
    InputError
        If ONNX operators cannot express the encoding of one; the message names it.
    """
    columns = [column for column in encoder.columns_.values() if column.names()]
    for column in columns:
        _require_expressible(column)
    return columns


def _require_expressible(column: EncodedColumn) -> None:
    reason = None
    if isinstance(column, TextColumn):
        reason = "holds text, which is encoded by its n-grams"
    elif not isinstance(column, (NumberColumn, DateColumn, CategoryColumn)):
        reason = "is encoded as in an earlier version of deltaprop"
    if reason is not None:
        raise InputError(
            f"Column {column.name!r} {reason}, which ONNX operators cannot express. {ALTERNATIVES}"
        )


def encoded_table(graph: Graph, encoder: TableEncoder) -> Value:
    """The encoded rows, (N, D) float32, of the inputs that this adds for the columns of a table."""
    columns = exported_columns(encoder)
    inputs = [graph.input(column.name, input_dtype(column), 1) for column in columns]
    places = {
        name: (list(features), [j for j in others if j not in features])
        for name, features, (others, _) in zip(
            encoder.columns_, encoder.layout.features, encoder.layout.parts(), strict=True
        )
    }
    blocks = list(_blocks(graph, columns, inputs))
    order = [j for names, part, _ in blocks for name in names for j in places[name][part]]
    Z = graph.concat(*(value for _, _, value in blocks))
    if order != sorted(order):
        Z = graph.columns(Z, np.argsort(order))
    return _with_bins(graph, Z, encoder.bins_) if len(encoder.bins_) else Z


def input_dtype(column: EncodedColumn) -> str:
    """The dtype of the input of a column."""
    return "string" if isinstance(column, CategoryColumn) else "float64"


def cells(column: EncodedColumn, series: Any) -> Shaped[np.ndarray, "N 1"]:
    """The values of a pandas Series as the input of its column takes them."""
    found: np.ndarray
    if isinstance(column, CategoryColumn):
        labels, codes = values.distinct(series)
        found = np.array([word or "" for word in [*labels, None]], dtype=object)[codes]
    elif isinstance(column, DateColumn):
        found = seconds(values.dates(series, column.pattern, column.zone))
    else:
        found = np.asarray(column.read(series), np.float64)
    return found.reshape(-1, 1)


# ---------------------------------------------------------------- kinds of columns

FEATURES, FLAGS = 0, 1
Block = tuple[list[str], int, Value]
"""The names of columns, and their encoded columns, or those that mark missing values, beside each
other."""


def _blocks(
    graph: Graph, columns: Sequence[EncodedColumn], inputs: Sequence[Value]
) -> Iterator[Block]:
    pairs = list(zip(columns, inputs, strict=True))
    numbers = [(c, value) for c, value in pairs if isinstance(c, NumberColumn)]
    if numbers:
        yield from _numbers(graph, *zip(*numbers, strict=True))
    for column, value in pairs:
        if isinstance(column, DateColumn):
            yield from _dates(graph, column, value)
        elif isinstance(column, CategoryColumn):
            yield [column.name], FEATURES, _category(graph, column, value)


def _numbers(
    graph: Graph, columns: Sequence[NumberColumn], inputs: Sequence[Value]
) -> Iterator[Block]:
    X = graph.concat(*inputs)
    scales = [column.squash for column in columns]
    if isinstance(scales[0], Quantiles):  # one encoder scales all numbers in the same way
        Z = normal(graph, inputs, Quantiles.joined(s for s in scales if isinstance(s, Quantiles)))
    else:
        Z = _squashed(graph, X, Squash.joined(s for s in scales if isinstance(s, Squash)))
    yield [column.name for column in columns], FEATURES, Z
    flagged = [i for i, column in enumerate(columns) if len(column.low)]
    if flagged:
        low, high = (np.concatenate([getattr(columns[i], e) for i in flagged]) for e in ENDS)
        marks = _marks(graph, graph.columns(X, flagged), low, high)
        yield [columns[i].name for i in flagged], FLAGS, marks


def _dates(graph: Graph, column: DateColumn, value: Value) -> Iterator[Block]:
    parts = date_parts(graph, value, column.parts, column.zone)
    yield [column.name], FEATURES, _squashed(graph, parts, column.squash)
    if len(column.low):
        yield [column.name], FLAGS, _marks(graph, value, column.low, column.high)


ENDS = ("low", "high")


def _squashed(graph: Graph, X: Value, squash: Squash) -> Value:
    """`Squash.apply`, in float64; the result is float32."""
    centred = graph.op("Sub", X, graph.constant(squash.center, np.float64, "center"))
    z = graph.op("Mul", centred, graph.constant(squash.scale, np.float64, "scale"))
    zero, one, bound = (graph.constant(v, np.float64) for v in (0.0, 1.0, BOUND))
    ends = (graph.constant(end, np.float64) for end in (-LARGEST, LARGEST))
    clipped = graph.op("Clip", z, *ends)
    size = graph.op("Div", clipped, bound)
    root = graph.op("Sqrt", graph.op("Add", graph.op("Mul", size, size), one))
    known = graph.op("Div", clipped, root)
    return graph.cast(graph.op("Where", graph.op("IsNaN", z), zero, known), "float32")


def _marks(graph: Graph, X: Value, low: np.ndarray, high: np.ndarray) -> Value:
    """Columns that mark missing values."""
    ends = (graph.constant(end, np.float32) for end in (high, low))
    return graph.op("Where", graph.op("IsNaN", X), *ends)


def _category(graph: Graph, column: CategoryColumn, value: Value) -> Value:
    """The row of the column's table for each category."""
    slots = dict(column.slots)
    missing = slots.pop(None)
    words = ("", " ", *values.MISSING_WORDS) if column.missing_words else ("",)
    keys = dict.fromkeys(words, missing) | slots
    slot = graph.op(
        "LabelEncoder", graph.op("Reshape", value, graph.constant([-1], np.int64)),
        domain="ai.onnx.ml", keys_strings=list(keys), values_int64s=list(keys.values()),
        default_int64=len(column.table) - 1 if not column.rare else len(column.labels),
    )  # fmt: skip
    return graph.op("Gather", graph.constant(column.table, np.float32, "table"), slot, axis=0)


def _with_bins(graph: Graph, Z: Value, bins: Bins) -> Value:
    """Z and the t_k of the bins, (z - κ_k) / (κ_{k+1} - κ_k) between 0 and 1."""
    low, width = (graph.constant(v, np.float32) for v in (bins.low, bins.high - bins.low))
    above = graph.op("Sub", graph.columns(Z, bins.source), low)
    ends = (graph.constant(end, np.float32) for end in (0.0, 1.0))
    return graph.concat(Z, graph.op("Clip", graph.op("Div", above, width), *ends))
