"""The layers of a network as a table."""

from __future__ import annotations

from html import escape
from typing import NamedTuple

from deltaprop.network import Network


class Layer(NamedTuple):
    """One row of the table: shapes, functions and the number of parameters of layer l."""

    layer: int
    inputs: int
    outputs: int
    activation: str
    dropout: float
    parameters: int


def layers_of(net: Network) -> list[Layer]:
    """A row for each layer.

    Examples
    --------
    >>> import deltaprop as dp
    >>> from deltaprop.explain.layers import layers_of
    >>> net = dp.Network(4, [dp.Dense(10, "tanh"), dp.Dense(3, "softmax")], loss="cross_entropy")
    >>> layers_of(net)[1]
    Layer(layer=1, inputs=10, outputs=3, activation='softmax', dropout=0.0, parameters=33)
    """
    return [
        Layer(l, W.shape[0], W.shape[1], dense.activation.name, dense.dropout, W.size + b.size)
        for l, (dense, W, b) in enumerate(zip(net.layers, net.W, net.b, strict=True))
    ]


def layers_html(net: Network) -> str:
    """The table for notebooks and reports; names of the user's own functions are escaped.

    Examples
    --------
    >>> import deltaprop as dp
    >>> from deltaprop.explain.layers import layers_html
    >>> "13 parameters" in layers_html(dp.Network(12, [dp.Dense(1)], loss="squared_error"))
    True
    """
    rows = "".join(
        f"<tr><td>{row.layer}</td><td>{row.inputs:,}</td><td>{row.outputs:,}</td>"
        f"<td>{escape(row.activation)}</td><td>{row.dropout:g}</td><td>{row.parameters:,}</td></tr>"
        for row in layers_of(net)
    )
    heads = "".join(f"<th>{name}</th>" for name in Layer._fields)
    return (
        f'<table class="deltaprop-layers"><caption>loss {escape(net.loss_function.name)}, '
        f"λ = {net.l2:g}, {net.theta.size:,} parameters, {net.dtype.name}</caption>"
        f"<thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>"
    )
