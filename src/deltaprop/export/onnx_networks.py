"""Networks from ONNX files.

A fully connected layer is a node Gemm, or MatMul and perhaps Add. What lies between the output of a
layer and the input of the next one must be an activation. Exporters write an activation as one
operator or as several, so it is recognized by its values: those operators are computed for some
numbers, and the built-in activation with the same values is chosen.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from deltaprop.errors import InputError
from deltaprop.export.assembly import Layer, assembled
from deltaprop.export.optional import onnx_module
from deltaprop.functions import activations
from deltaprop.network import Network
from deltaprop.storage.places import read_bytes

if TYPE_CHECKING:
    from jaxtyping import Float

    from deltaprop.functions.losses import Loss

    Weights = Float[np.ndarray, "..."]

GRID = 61  # rows on which activations are compared
CLOSE = {"float16": 1e-2, "float32": 1e-5, "float64": 1e-5}
"""The differences, absolute and relative, of equal activations."""

FLOATS = (1, 10, 11)  # float, float16 and double, as ONNX numbers types


def from_onnx(file: Any, loss: str | Loss | None = None, *, output: str | None = None) -> Network:
    """The network that an ONNX file of fully connected layers computes.

    Parameters
    ----------
    file : str, Path or onnx.ModelProto
        A file or URL, or the model itself.
    loss : str or Loss, optional
        The loss of the network. By default it suits the last activation: "cross_entropy" for
        softmax, "binary_cross_entropy" for logistic, "poisson" for exp, and otherwise
        "squared_error".
    output : str, optional
        The name of the output that is ŷ; by default, the only one of numbers.

    Returns
    -------
    Network
        In float64 if the weights are, otherwise in float32.

    Raises
    ------
    ValueError
        If the file cannot be read, or if it contains anything but fully connected layers that
        follow each other, with built-in activations between them. The message says what.

    Examples
    --------
    >>> import pytest; onnx = pytest.importorskip("onnx")
    >>> import deltaprop as dp, os, tempfile
    >>> net = dp.Network(4, [dp.Dense(8, "gelu"), dp.Dense(3, "softmax")], loss="cross_entropy")
    >>> path = os.path.join(tempfile.mkdtemp(), "net.onnx")
    >>> _ = dp.to_onnx(net, path)
    >>> dp.from_onnx(path)
    Network(4 → 8 gelu → 3 softmax, loss='cross_entropy', l2=0, reduction='sum', 67 parameters)
    """
    graph = _Graph(_read(file))
    value = graph.output_named(output)
    layers: list[Layer] = []
    while True:  # from the last layer to the first
        source, between = graph.source_of(value)
        linear = graph.linear(source)
        if linear is None:
            break
        (W, b), before = linear
        layers.append(Layer(W, b, graph.activation(source, between, value, W)))
        value = before
    if layers and graph.activation(source, between, value, layers[-1].W.T) != "identity":
        raise InputError(
            f"The input {source!r} of the ONNX file does not go to the first layer unchanged."
        )
    return assembled(layers[::-1], loss)


def _read(file: Any) -> Any:
    """The ModelProto of a file, or the one given."""
    onnx = onnx_module()
    if isinstance(file, onnx.ModelProto):
        return file
    data = read_bytes(file)
    try:
        model = onnx.load_model_from_string(data)
        onnx.checker.check_model(model)
    except Exception as error:
        raise InputError(f"{str(file)!r} is no valid ONNX file: {error}") from error
    return model


class _Graph:
    """An ONNX graph, from whose outputs one can walk back to its inputs."""

    def __init__(self, model: Any) -> None:
        self._onnx, self._model = onnx_module(), model
        self._producer = {name: node for node in model.graph.node for name in node.output}
        to_array = onnx_module("onnx.numpy_helper").to_array
        self._constants = {tensor.name: to_array(tensor) for tensor in model.graph.initializer}
        for node in model.graph.node:  # constants, and what is computed from them
            if all(name in self._constants for name in node.input if name):
                values = self._computed([node], {}, list(node.output))
                self._constants |= dict(zip(node.output, values, strict=True))

    def output_named(self, name: str | None) -> str:
        """The name of this output, or of the only one of numbers."""
        numbers = [
            output.name
            for output in self._model.graph.output
            if output.type.tensor_type.elem_type in FLOATS
        ]
        if name in numbers or (name is None and len(numbers) == 1):
            return name or numbers[0]
        wanted = "one output of numbers" if name is None else f"the output {name!r}"
        raise InputError(
            f"The ONNX file must have {wanted}; its outputs of numbers are "
            f"{', '.join(map(repr, numbers)) or 'none'}. Choose one with output=."
        )

    def source_of(self, value: str) -> tuple[str, list[Any]]:
        """The output of a layer, or the input of the graph, that a value follows from.

        Also returns the nodes between them.
        """
        sources, between, waiting = set(), [], [value]
        while waiting:
            name = waiting.pop()
            node = self._producer.get(name)
            if node is None or self.linear(name) is not None:
                sources.add(name)
            elif node not in between:
                between.append(node)
                waiting += [i for i in node.input if i and i not in self._constants]
        if len(sources) != 1:
            raise InputError(
                f"The layers of the ONNX file do not follow each other: {value!r} depends on "
                f"{', '.join(map(repr, sorted(sources))) or 'no input'}."
            )
        return sources.pop(), [node for node in self._model.graph.node if node in between]

    def linear(self, value: str) -> tuple[tuple[Weights, Weights], str] | None:
        """W, b and the input of the layer whose a_l this value is; None if there is none."""
        node = self._producer.get(value)
        if node is None:
            return None
        if node.op_type == "Add":
            return self._with_bias(node)
        if node.op_type not in ("Gemm", "MatMul") or node.input[1] not in self._constants:
            return None
        W, b = self._constants[node.input[1]], None
        if node.op_type == "Gemm":
            settings = {a.name: self._onnx.helper.get_attribute_value(a) for a in node.attribute}
            if settings.get("transA"):
                return None
            W = (W.T if settings.get("transB") else W) * W.dtype.type(settings.get("alpha", 1.0))
            b = self._constants.get(node.input[2]) if len(node.input) > 2 else None
            b = None if b is None else b * b.dtype.type(settings.get("beta", 1.0))
        if W.ndim != 2:
            return None
        bias = np.zeros(W.shape[1], W.dtype) if b is None else b.reshape(-1)
        return (W, np.broadcast_to(bias, W.shape[1])), node.input[0]

    def _with_bias(self, add: Any) -> tuple[tuple[Weights, Weights], str] | None:
        """The layer of a MatMul whose output this node adds a constant to."""
        for product, bias in (add.input, reversed(add.input)):
            node = self._producer.get(product)
            if node is not None and node.op_type == "MatMul" and bias in self._constants:
                found = self.linear(product)
                b = self._constants[bias].reshape(-1)
                if found is not None and len(b) == found[0][0].shape[1]:
                    return (found[0][0], b), found[1]
        return None

    def activation(self, source: str, nodes: Sequence[Any], value: str, W: Weights) -> str:
        """The built-in activation that these nodes compute, for as many units as W has columns."""
        grid = np.random.default_rng(0).normal(0, 2, (GRID, W.shape[1])).astype(W.dtype)
        found = self._computed(nodes, {source: grid}, [value])[0] if nodes else grid
        close = CLOSE[W.dtype.name]
        for name in dict.fromkeys(activations.get(name).name for name in activations.NAMES):
            z = activations.get(name).f(grid.astype(np.float64), np)
            if z.shape == found.shape and np.allclose(found, z, close, close):
                return name
        raise InputError(
            f"{source!r} is followed by {', '.join(node.op_type for node in nodes)}, which is no "
            "built-in activation."
        )

    def _computed(
        self, nodes: Sequence[Any], values: Mapping[str, np.ndarray], wanted: Sequence[str]
    ) -> list[np.ndarray]:
        """Values that some nodes compute, by ONNX's own reference implementation."""
        helper = self._onnx.helper
        used = {name for node in nodes for name in node.input} & set(self._constants)
        graph = helper.make_graph(
            nodes, "part", [helper.make_empty_tensor_value_info(name) for name in values],
            [helper.make_empty_tensor_value_info(name) for name in wanted],
            [self._onnx.numpy_helper.from_array(self._constants[name], name) for name in used],
        )  # fmt: skip
        part = helper.make_model(graph, opset_imports=self._model.opset_import)
        try:
            evaluator = onnx_module("onnx.reference").ReferenceEvaluator(part)
            found: list[np.ndarray] = evaluator.run(None, dict(values))
        except Exception as error:  # it raises many kinds, as for operators that it does not have
            kinds = ", ".join(node.op_type for node in nodes)
            raise InputError(f"The operators {kinds} cannot be converted: {error}") from error
        return found
