"""``deltaprop info``: describe the contents of a model file."""

from __future__ import annotations

from typing import Any

from deltaprop.cli.options import AsJson, ModelFile
from deltaprop.cli.output import print_json
from deltaprop.cli.registry import app


@app.command()
def info(model: ModelFile, as_json: AsJson = False) -> None:
    """Describe the contents of a model file."""
    facts = _facts(model)
    if as_json:
        print_json(facts)
        return
    for name, value in facts.items():
        print(f"{name:<11} {_text(value)}")


def _facts(path: str) -> dict[str, Any]:
    from sklearn.base import is_classifier

    from deltaprop.estimators import TabularClassifier, TabularRegressor
    from deltaprop.files import describe, load
    from deltaprop.inspect.opening import open_model

    header, model = describe(path), load(path)
    network = open_model(model).network
    facts: dict[str, Any] = {
        "file": path,
        "kind": header["kind"],
        "format": header["format"],
        "deltaprop": header["deltaprop"],
        "network": repr(network),
        "parameters": int(network.theta.size),
    }
    if isinstance(model, (TabularClassifier, TabularRegressor)):
        facts["target"] = model.target_name_
        facts["columns"] = model.encoder_.kinds_
    if network is not model and is_classifier(model):
        facts["classes"] = [str(label) for label in model.classes_]
    return facts


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{column} ({kind})" for column, kind in value.items())
    return ", ".join(value) if isinstance(value, list) else str(value)
