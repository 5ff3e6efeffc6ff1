"""A page without scripts that says how to send requests to the model."""

from __future__ import annotations

import json
from html import escape

from deltaprop.serving.served import Served

STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:46rem;margin:2rem auto;padding:0 1rem;"
    "color-scheme:light dark}table{border-collapse:collapse;width:100%}"
    "td,th{text-align:left;padding:.3rem .6rem .3rem 0;border-bottom:1px solid #8884;"
    "vertical-align:top}pre{overflow-x:auto;padding:.8rem;border:1px solid #8884;"
    "border-radius:.4rem}"
)
POLICY = "default-src 'none'; style-src 'unsafe-inline'"
SHOWN = 8  # categories in the table
EXAMPLES = {"numeric": 1.5, "date": "2024-05-31", "text": "some text"}


def docs(served: Served, base: str, needs_token: bool) -> str:
    """The page, for a server at the address `base`."""
    columns = "".join(
        f"<tr><td><code>{escape(field.name)}</code><td>{field.kind}"
        f"<td>{escape(field.expects)}{_known(field.choices)}"
        for field in served.fields
    )
    outputs = "".join(
        f"<tr><td><code>{escape(name)}</code><td>"
        f"{'on request' if name in served.on_request else 'always'}"
        for name in served.outputs
    )
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>{escape(served.name)}</title><style>{STYLE}</style>"
        f"<h1>{escape(served.name)}</h1><p>Predicts <code>{escape(served.target)}</code>; "
        f"version <code>{served.version}</code>. The whole interface is described in "
        '<a href="openapi.json">openapi.json</a> (OpenAPI 3.1).'
        f"<h2>A request</h2><pre>{escape(_curl(served, base, needs_token))}</pre>"
        f"<h2>Columns</h2><table><tr><th>name<th>kind<th>value{columns}</table>"
        f"<h2>Predictions</h2><table><tr><th>name<th>given{outputs}</table></html>"
    )


def _known(choices: tuple[str, ...]) -> str:
    if not choices:
        return ""
    more = len(choices) - SHOWN
    words = escape(", ".join(choices[:SHOWN]))
    return f"<br><small>{words}{f' and {more} more' if more > 0 else ''}</small>"


def _curl(served: Served, base: str, needs_token: bool) -> str:
    row = {
        field.name: field.choices[0] if field.choices else EXAMPLES.get(field.kind, "a")
        for field in served.fields
    }
    body = json.dumps({"rows": [row]}, ensure_ascii=False).replace("'", "'\\''")
    token = "  -H 'Authorization: Bearer TOKEN' \\\n" if needs_token else ""
    more = "?proba=true" if served.gives_probabilities else ""
    return (
        f"curl '{base}predict{more}' \\\n{token}  -H 'Content-Type: application/json' \\\n"
        f"  -d '{body}'"
    )
