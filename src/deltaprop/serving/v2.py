"""The Open Inference Protocol, version 2, with data in JSON.

https://github.com/kserve/open-inference-protocol/blob/main/specification/protocol/inference_rest.md
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any

import numpy as np

from deltaprop.serving.json_bodies import parsed, require_count, require_fields
from deltaprop.serving.problems import invalid
from deltaprop.serving.served import Asked, Given, Served

SIZES = (8, 16, 32, 64)
DATATYPES = {"BOOL", "BYTES", "FP16", "FP32", "FP64"} | {
    f"{sign}INT{size}" for sign in ("", "U") for size in SIZES
}


def metadata(served: Served) -> dict[str, Any]:
    """What the model takes and returns."""
    return {
        "name": served.name,
        "versions": [served.version],
        "platform": "deltaprop",
        "inputs": [
            {"name": field.name, "datatype": field.datatype, "shape": [-1]}
            for field in served.fields
        ],
        "outputs": [
            {"name": name, "datatype": _datatype(values), "shape": [-1]}
            for name, values in served.outputs.items()
        ],
    }


def read_v2(served: Served, body: bytes, most_rows: int) -> tuple[Given, Asked, dict[str, Any]]:
    """The rows of a request, what it asks for, and the request itself.

    Raises
    ------
    Refused
        If it is not such a request, has too many rows, or does not fit the model.
    """
    request = parsed(body)
    if not isinstance(request, dict) or not isinstance(request.get("inputs"), list):
        raise invalid('the body must be an object with the key "inputs", a list of tensors.')
    if not isinstance(request.get("id", ""), str):
        raise invalid("id must be a string.")
    tensors = _tensors(request["inputs"])
    require_fields(served, tensors)
    cells = {
        field.name: _cells(field.name, tensors[field.name], most_rows) for field in served.fields
    }
    lengths = {len(values) for values in cells.values()}
    if len(lengths) > 1:
        raise invalid(f"the inputs have different numbers of rows: {sorted(lengths)}.")
    n = lengths.pop()
    columns = {field.name: field.read(cells[field.name]) for field in served.fields}
    return Given(columns, n), _asked(served, request), request


def response(
    served: Served, columns: Mapping[str, np.ndarray], request: Mapping[str, Any]
) -> dict[str, Any]:
    """The answer with the predicted columns, or those that the request names."""
    names = [output["name"] for output in request.get("outputs") or ()] or list(columns)
    unknown = [name for name in names if name not in columns]
    if unknown:
        raise invalid(f"there is no output {unknown[0]!r}; there are {', '.join(columns)}.")
    answer = {
        "model_name": served.name,
        "model_version": served.version,
        "outputs": [
            {
                "name": name,
                "datatype": _datatype(columns[name]),
                "shape": [len(columns[name])],
                "data": columns[name],
            }
            for name in names
        ],
    }
    return answer | ({"id": request["id"]} if "id" in request else {})


def _tensors(inputs: list[Any]) -> dict[str, dict[str, Any]]:
    tensors = {}
    for tensor in inputs:
        if not isinstance(tensor, dict) or not isinstance(tensor.get("name"), str):
            raise invalid("each input must be an object with name, datatype, shape and data.")
        tensors[tensor["name"]] = tensor
    if len(tensors) < len(inputs):
        raise invalid("two inputs have the same name.")
    return tensors


def _cells(name: str, tensor: Mapping[str, Any], most_rows: int) -> list[Any]:
    datatype, shape, data = tensor.get("datatype"), tensor.get("shape"), tensor.get("data")
    if not isinstance(datatype, str) or datatype not in DATATYPES:
        raise invalid(f"input {name!r} has no known datatype; got {datatype!r}.")
    if not isinstance(data, list):
        raise invalid(f"input {name!r} must have data, a list.")
    if (
        not isinstance(shape, list)
        or not all(type(size) is int and size >= 0 for size in shape)
        or len(shape) not in (1, 2)
        or shape[1:] not in ([], [1])
    ):
        raise invalid(f"input {name!r} must have the shape [n] or [n, 1]; got {shape!r}.")
    cells = [cell for row in data for cell in (row if isinstance(row, list) else [row])]
    if len(cells) != prod(shape):
        raise invalid(f"input {name!r} has {len(cells)} values, but the shape {shape}.")
    require_count(len(cells), most_rows)
    return cells


def _asked(served: Served, request: Mapping[str, Any]) -> Asked:
    """What the parameters, or the names of the outputs, ask for."""
    parameters = request.get("parameters", {})
    outputs = request.get("outputs", [])
    if not isinstance(parameters, dict):
        raise invalid("parameters must be an object.")
    if not isinstance(outputs, list) or not all(
        isinstance(output, dict) and isinstance(output.get("name"), str) for output in outputs
    ):
        raise invalid("outputs must be a list of objects with a name.")
    proba = parameters.get("proba", False)
    if not isinstance(proba, bool):
        raise invalid(f"the parameter proba must be true or false; got {proba!r}.")
    wanted = {output["name"] for output in outputs}
    more = any(name in wanted for name in served.on_request)
    proba = proba or (more and served.gives_probabilities)
    interval = parameters.get("interval")
    if interval is not None and not (
        isinstance(interval, (int, float)) and not isinstance(interval, bool) and 0 < interval < 1
    ):
        raise invalid(f"the parameter interval must lie between 0 and 1; got {interval!r}.")
    if interval is None and more and served.gives_intervals:
        interval = 0.9
    asked = Asked(proba, None if interval is None else float(interval))
    served.check(asked)
    return asked


def _datatype(values: np.ndarray) -> str:
    kinds = {"f": f"FP{values.itemsize * 8}", "i": f"INT{values.itemsize * 8}", "b": "BOOL"}
    kinds["u"] = f"UINT{values.itemsize * 8}"
    return kinds.get(values.dtype.kind, "BYTES")
