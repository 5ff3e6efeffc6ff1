"""The layers of a network as an HTML table, for notebooks."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from deltaprop.network import Network


def layer_table(net: Network) -> str:
    """One row a layer: inputs, units, activation, dropout where there is some, parameters.

    Examples
    --------
    >>> import deltaprop as dp
    >>> from deltaprop.explain.summary import layer_table
    >>> net = dp.Network(2, [dp.Dense(3, "tanh")], loss="squared_error")
    >>> "<td>tanh</td><td>9</td>" in layer_table(net)
    True
    """
    dropout = any(layer.dropout for layer in net.layers)
    head = ["layer", "inputs", "units", "activation", *["dropout"] * dropout, "parameters"]
    rows = [
        [l, D, H, layer.activation.name, *[f"{layer.dropout:g}"] * dropout, D * H + H]
        for l, (layer, (D, H)) in enumerate(zip(net.layers, net.layout.shapes, strict=True))
    ]
    caption = (
        f"loss {net.loss_function.name}, λ = {net.l2:g}, reduction {net.reduction}, "
        f"{net.theta.size} parameters"
    )
    cells = "".join(
        "<tr>" + "".join(f"<td>{escape(str(cell))}</td>" for cell in row) + "</tr>" for row in rows
    )
    names = "".join(f"<th>{name}</th>" for name in head)
    return (
        f"<table><caption>Network: {escape(caption)}</caption>"
        f"<thead><tr>{names}</tr></thead><tbody>{cells}</tbody></table>"
    )
