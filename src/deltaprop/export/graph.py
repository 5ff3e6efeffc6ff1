"""``Graph``: an ONNX graph, to which nodes and constants are added one by one.

A value of the graph, which is an input, a constant or the output of a node, is its name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from deltaprop._version import __version__
from deltaprop.errors import InputError
from deltaprop.export.optional import onnx_module

if TYPE_CHECKING:
    from jaxtyping import Shaped

OPSET = 15  # of 2021, which every current runtime supports
ML_OPSET = 2  # of the domain ai.onnx.ml, for LabelEncoder
IR_VERSION = 8

Value = str
DType = Literal["float32", "float64", "float16"]
DTYPES: tuple[DType, ...] = get_args(DType)


class Graph:
    """A graph whose nodes are in the order in which they were added.

    Parameters
    ----------
    dtype : {"float32", "float64", "float16"}
        The dtype in which networks are computed.

    Attributes
    ----------
    outputs : list of str
        The names of its outputs.

    Examples
    --------
    >>> import pytest; onnx = pytest.importorskip("onnx")
    >>> graph = Graph("float32")
    >>> x = graph.input("x", "float32", 2)
    >>> graph.output(graph.op("Tanh", x), "y", "float32", 2)
    'y'
    >>> [node.op_type for node in graph.model({}).graph.node]
    ['Tanh', 'Identity']
    """

    def __init__(self, dtype: DType) -> None:
        self.dtype: DType = dtype
        self.outputs: list[str] = []
        self._helper = onnx_module("onnx.helper")
        self._numpy_helper = onnx_module("onnx.numpy_helper")
        self._names: set[str] = set()
        self._nodes: list[Any] = []
        self._constants: list[Any] = []
        self._ends: tuple[list[Any], list[Any]] = ([], [])

    def input(self, name: str, kind: str, columns: int) -> Value:
        """An input of shape (N, columns), of this dtype or "string"; declare all inputs first."""
        if not name or name in self._names:
            raise InputError(f"{name!r} cannot be the name of an input; rename the column.")
        self._names.add(name)
        self._ends[0].append(self._tensor(name, kind, ["N", columns]))
        return name

    def output(self, value: Value, name: str, kind: str, columns: int | None) -> str:
        """Declare an output of shape (N,) or (N, columns), and return its name.

        If a column of the table has this name, it is followed by an underscore.
        """
        name = self._new(name, "_")
        self._nodes.append(self._helper.make_node("Identity", [value], [name], name=f"to {name}"))
        shape = ["N"] if columns is None else ["N", columns]
        self._ends[1].append(self._tensor(name, kind, shape))
        self.outputs.append(name)
        return name

    def op(
        self,
        kind: str,
        *inputs: Value,
        name: str | None = None,
        domain: str = "",
        **attributes: Any,
    ) -> Value:
        """The output of a new node."""
        value = self._new(name or kind.lower())
        node = self._helper.make_node(
            kind, list(inputs), [value], name=value, domain=domain, **attributes
        )
        self._nodes.append(node)
        return value

    def constant(self, array: Any, dtype: Any = None, name: str = "constant") -> Value:
        """A constant array."""
        values = np.ascontiguousarray(np.asarray(array, dtype)).reshape(np.shape(array))
        if values.dtype.kind in "US":
            values = values.astype(object)
        value = self._new(name)
        self._constants.append(self._numpy_helper.from_array(values, value))
        return value

    def parameter(self, array: Shaped[np.ndarray, "..."] | float, name: str) -> Value:
        """A constant in the dtype in which networks are computed."""
        return self.constant(array, self.dtype, name)

    @contextmanager
    def computed_in(self, dtype: DType) -> Iterator[None]:
        """A context in which networks are computed in another dtype."""
        before, self.dtype = self.dtype, dtype
        yield
        self.dtype = before

    def cast(self, value: Value, dtype: str) -> Value:
        """The value in another dtype."""
        return self.op("Cast", value, to=self._type(dtype))

    def concat(self, *values: Value) -> Value:
        """Columns beside each other."""
        return values[0] if len(values) == 1 else self.op("Concat", *values, axis=1)

    def columns(self, value: Value, places: Any) -> Value:
        """Some of the columns."""
        return self.op("Gather", value, self.constant(np.asarray(places, np.int64)), axis=1)

    def model(self, metadata: Mapping[str, str]) -> Any:
        """The finished ``onnx.ModelProto``."""
        helper = self._helper
        graph = helper.make_graph(self._nodes, "deltaprop", *self._ends, self._constants)
        versions = [helper.make_opsetid("", OPSET), helper.make_opsetid("ai.onnx.ml", ML_OPSET)]
        model = helper.make_model(
            graph, opset_imports=versions, ir_version=IR_VERSION,
            producer_name="deltaprop", producer_version=__version__,
        )  # fmt: skip
        helper.set_model_props(model, dict(metadata))
        return model

    def _new(self, name: str, mark: str = "") -> str:
        """A name that no other value has: this one, followed by a number or by marks."""
        found, n = name, 1
        while found in self._names:
            found, n = (found + mark if mark else f"{name}_{n}"), n + 1
        self._names.add(found)
        return found

    def _type(self, kind: str) -> int:
        if kind == "string":
            return int(onnx_module("onnx").TensorProto.STRING)
        return int(self._helper.np_dtype_to_tensor_dtype(np.dtype(kind)))

    def _tensor(self, name: str, kind: str, shape: list[Any]) -> Any:
        return self._helper.make_tensor_value_info(name, self._type(kind), shape)
