"""The layers of a network as ONNX operators: a_l = X_l W_l + b_l and X_{l+1} = f_l(a_l)."""

from __future__ import annotations

from deltaprop.derivation import equations
from deltaprop.export.activations import activated
from deltaprop.export.graph import Graph, Value
from deltaprop.network import Network


def network_output(graph: Graph, network: Network, X: Value, member: str = "") -> Value:
    """ŷ of a network for rows X, in the dtype of the graph."""
    V, _ = equations.in_effect(network.W, network.f, network.vectors)
    for l, layer in enumerate(network.layers):
        alpha = network.alpha[l]
        a = graph.op(
            "Gemm", X, graph.parameter(V[l], f"W_{l}{member}"),
            graph.parameter(network.b[l], f"b_{l}{member}"), name=f"layer_{l}{member}",
        )  # fmt: skip
        X = activated(graph, layer.activation, a, layer.units)
        if alpha is not None:  # a + α ⊙ (f(a) - a)
            change = graph.op("Sub", X, a)
            X = graph.op(
                "Add", a, graph.op("Mul", graph.parameter(alpha, f"alpha_{l}{member}"), change)
            )
    return X
