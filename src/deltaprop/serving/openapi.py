"""The description of the server in OpenAPI 3.1, generated from the model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from deltaprop._version import __version__
from deltaprop.serving.arrow_bodies import ARROW
from deltaprop.serving.fields import Field
from deltaprop.serving.json_bodies import JSON
from deltaprop.serving.limits import Limits
from deltaprop.serving.served import Served
from deltaprop.serving.v2 import DATATYPES

SHOWN = 20  # categories in the description of a column
Schema = dict[str, Any]
ERRORS = {
    "400": "The body cannot be read.",
    "401": "The token is missing or wrong.",
    "408": "The body did not arrive in time.",
    "413": "The body has too many bytes or rows.",
    "415": "The content type is not known.",
    "421": "Without a token, the header Host must name this machine.",
    "422": "The body does not fit the model.",
    "503": "Too many rows are waiting.",
}


def openapi(served: Served, limits: Limits, needs_token: bool) -> Schema:
    """The description of the server in OpenAPI 3.1."""
    model = f"/v2/models/{served.name}"
    paths = {
        "/predict": {"post": _predict(served)},
        "/v2": {"get": _get("The server.")},
        "/v2/health/live": {"get": _get("Whether the server runs.", secured=False)},
        "/v2/health/ready": {"get": _get("Whether it can predict.", secured=False)},
        model: {"get": _get("What the model takes and returns.")},
        f"{model}/ready": {"get": _get("Whether the model can predict.")},
        f"{model}/infer": {"post": _infer()},
        "/metrics": {"get": _get("Metrics for Prometheus.", "text/plain")},
    }
    described: Schema = {
        "openapi": "3.1.0",
        "info": {
            "title": f"Predictions of {served.target} by {served.name}",
            "version": served.version,
            "description": f"A model of deltaprop {__version__}. A request may have "
            f"{limits.body} bytes and {limits.rows} rows.",
        },
        "paths": paths,
        "components": {"schemas": _schemas(served, limits), "responses": _responses()},
    }
    if needs_token:
        described["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        described["security"] = [{"token": []}]
    return described


def _schemas(served: Served, limits: Limits) -> Schema:
    names = [field.name for field in served.fields]
    cells = {field.name: _cell(field) for field in served.fields}
    many: Schema = {"type": "array", "minItems": 1, "maxItems": limits.rows}
    columns = {
        name: {**many, "items": cell, "description": cell.get("description", "")}
        for name, cell in cells.items()
    }
    outputs = {name: _output(values) for name, values in served.outputs.items()}
    plain = [name for name in outputs if name not in served.on_request]
    return {
        "Row": {"type": "object", "properties": cells, "required": names},
        "Rows": _object({"rows": {**many, "items": _ref("Row")}}),
        "Columns": _object(
            {"columns": {"type": "object", "properties": columns, "required": names}}
        ),
        "Prediction": {"type": "object", "properties": outputs, "required": plain},
        "Predictions": {
            "type": "object",
            "properties": {
                "predictions": {
                    "oneOf": [
                        {"type": "array", "items": _ref("Prediction")},
                        {
                            "type": "object",
                            "properties": {
                                name: {"type": "array", "items": output}
                                for name, output in outputs.items()
                            },
                        },
                    ]
                },
                "model_version": {"type": "string"},
            },
            "required": ["predictions", "model_version"],
        },
        "Error": _object({"error": {"type": "string"}}),
        **_v2_schemas(),
    }


def _v2_schemas() -> Schema:
    tensor = {
        "name": {"type": "string"},
        "datatype": {"enum": sorted(DATATYPES)},
        "shape": {"type": "array", "items": {"type": "integer", "minimum": 0}},
        "data": {"type": "array"},
    }
    output = {
        "type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]
    }  # fmt: skip
    interval = {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1}
    return {
        "InferRequest": {
            "type": "object",
            "properties": {
                "id": {"type": "string"},
                "inputs": {"type": "array", "items": _object(tensor), "minItems": 1},
                "outputs": {"type": "array", "items": output},
                "parameters": {
                    "type": "object",
                    "properties": {"proba": {"type": "boolean"}, "interval": interval},
                },
            },
            "required": ["inputs"],
        },
        "InferResponse": {
            "type": "object",
            "properties": {
                "model_name": {"type": "string"},
                "model_version": {"type": "string"},
                "id": {"type": "string"},
                "outputs": {"type": "array", "items": _object(tensor)},
            },
            "required": ["model_name", "model_version", "outputs"],
        },
    }


def _cell(field: Field) -> Schema:
    schema: Schema = {"type": list(field.types), "description": field.kind}
    if field.choices:
        shown = list(field.choices[:SHOWN])
        more = len(field.choices) - len(shown)
        schema["examples"] = shown
        schema["description"] = (
            f"A category that the model knows: {', '.join(shown)}"
            + (f" and {more} more" if more else "")
            + "; others are encoded as rare or unknown ones."
        )
    return schema


def _output(values: np.ndarray) -> Schema:
    kinds = {"f": ["number", "null"], "i": "integer", "u": "integer", "b": "boolean"}
    return {"type": kinds.get(values.dtype.kind, "string")}


def _predict(served: Served) -> Schema:
    parameters = []
    if served.gives_probabilities:
        parameters.append(_parameter("proba", {"type": "boolean"}, "Add the probabilities."))
    if served.gives_intervals:
        between = {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1}
        what = "Add an interval that contains the target with this probability."
        parameters.append(_parameter("interval", between, what))
    binary: Schema = {ARROW: {}}
    bodies = {"oneOf": [_ref("Rows"), _ref("Columns")]}
    return {
        "summary": f"Predict {served.target}",
        "operationId": "predict",
        "parameters": parameters,
        "requestBody": {"required": True, "content": {JSON: {"schema": bodies}, **binary}},
        "responses": {
            "200": {
                "description": "The predictions, as rows or columns like the request.",
                "content": {JSON: {"schema": _ref("Predictions")}, **binary},
            },
            **_refused(),
        },
    }


def _infer() -> Schema:
    return {
        "summary": "Predict, by the Open Inference Protocol",
        "operationId": "infer",
        "requestBody": {
            "required": True, "content": {JSON: {"schema": _ref("InferRequest")}}
        },
        "responses": {
            "200": {
                "description": "The predictions.",
                "content": {JSON: {"schema": _ref("InferResponse")}},
            },
            **_refused(),
        },
    }  # fmt: skip


def _get(summary: str, media: str = JSON, secured: bool = True) -> Schema:
    found: Schema = {
        "summary": summary,
        "responses": {
            "200": {"description": "It does.", "content": {media: {}}},
            "401": {"$ref": "#/components/responses/401"},
            "421": {"$ref": "#/components/responses/421"},
        },
    }
    return found if secured else {**found, "security": []}


def _parameter(name: str, schema: Schema, description: str) -> Schema:
    return {
        "name": name, "in": "query", "required": False, "schema": schema,
        "description": description,
    }  # fmt: skip


def _refused() -> Schema:
    return {status: {"$ref": f"#/components/responses/{status}"} for status in ERRORS}


def _responses() -> Schema:
    content = {JSON: {"schema": _ref("Error")}}
    return {status: {"description": what, "content": content} for status, what in ERRORS.items()}


def _object(properties: Mapping[str, Any]) -> Schema:
    """An object that must have all of these."""
    return {"type": "object", "properties": dict(properties), "required": list(properties)}


def _ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}
