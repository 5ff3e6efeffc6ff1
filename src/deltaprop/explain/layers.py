"""The layers of a network as a table, for notebooks and reports."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from deltaprop.model import Model


class Layer(NamedTuple):
    """One row of the table: shapes, functions and the number of parameters of layer l."""

    layer: int
    inputs: int
    units: int
    activation: str
    dropout: float
    parameters: int


def layers_of(model: Model) -> list[Layer]:
    """Return a row for each layer.

    Examples
    --------
    >>> import deltaprop as dp
    >>> from deltaprop.explain.layers import layers_of
    >>> net = dp.Network(4, [dp.Dense(10, "tanh"), dp.Dense(3, "softmax")], loss="cross_entropy")
    >>> layers_of(net)[1]
    Layer(layer=1, inputs=10, units=3, activation='softmax', dropout=0.0, parameters=33)
    """
    parameters = [0] * model.n_layers
    for part in model.layout.parts:
        parameters[part.layer] += part.size
    return [
        Layer(l, len(W), dense.units, dense.activation.name, dense.dropout, parameters[l])
        for l, (dense, W) in enumerate(zip(model.layers, model.W, strict=True))
    ]


def layers_html(model: Model) -> str:
    """Return the table as HTML; the dropout column appears only if some layer has dropout.

    Examples
    --------
    >>> import deltaprop as dp
    >>> from deltaprop.explain.layers import layers_html
    >>> "13 parameters" in layers_html(dp.Network(12, [dp.Dense(1)], loss="squared_error"))
    True
    """
    layers = layers_of(model)
    dropout = any(layer.dropout for layer in layers)
    columns = [name for name in Layer._fields if dropout or name != "dropout"]
    heads = "".join(f"<th>{name}</th>" for name in columns)
    rows = "".join(
        "<tr>" + "".join(f"<td>{_text(getattr(layer, name))}</td>" for name in columns) + "</tr>"
        for layer in layers
    )
    return (
        f'<table class="deltaprop-layers"><caption>loss {escape(model.loss_function.name)}, '
        f"λ = {model.l2:g}, reduction {model.reduction}, {model.theta.size:,} parameters, "
        f"{model.dtype.name}</caption>"
        f"<thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>"
    )


def _text(value: int | float | str) -> str:
    match value:
        case int():
            return f"{value:,}"
        case float():
            return f"{value:g}"
    return escape(value)
