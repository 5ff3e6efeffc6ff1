"""``deltaprop info``: describe the contents of a model file."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from deltaprop.cli.options import AsJson, ModelFile
from deltaprop.cli.output import examples, print_json, say
from deltaprop.cli.registry import app
from deltaprop.functions.printable import printable

if TYPE_CHECKING:
    from deltaprop.cli.models import Tabular


@app.command(epilog=examples("deltaprop info model.dp", "deltaprop info model.dp --json"))
def info(model: ModelFile, as_json: AsJson = False) -> None:
    """Describe the contents of a model file.

    Of a model for tables, this includes what was done to each column.
    """
    from deltaprop.estimators.tabular.summaries import column_table
    from deltaprop.files import load

    opened = load(model)
    facts = _facts(model, opened)
    if as_json:
        print_json(facts)
        return
    facts["networks"] = _counted(facts["networks"])
    encoder = getattr(opened, "encoder_", None)
    for name, value in facts.items():
        if name not in ("columns", "encoding"):
            several = isinstance(value, list)
            shown = ", ".join(map(str, value)) if several else str(value)
            say(f"{name:<11} {printable(shown)}")
    if encoder is not None:
        say(f"\n{_aligned(*column_table(encoder))}")


def _facts(path: str, model: Any) -> dict[str, Any]:
    from sklearn.base import is_classifier

    from deltaprop.estimators.tabular import BaseTabular
    from deltaprop.files import describe
    from deltaprop.inspect.opening import open_model

    header = describe(path)
    networks, of_table = [], {}
    last = model.steps[-1][1] if hasattr(model, "steps") else model
    for part in getattr(last, "estimators_", [model]):  # one for each target
        of_part = part.networks_ if isinstance(part, BaseTabular) else [open_model(part).network]
        networks += of_part
    if isinstance(model, BaseTabular):
        of_table = _facts_of_table(model)
    facts: dict[str, Any] = {
        "file": path,
        "kind": header["kind"],
        "format": header["format"],
        "deltaprop": header["deltaprop"],
        "networks": [repr(network) for network in networks],
        "parameters": sum(int(network.theta.size) for network in networks),
        **of_table,
    }
    if networks[0] is not model and is_classifier(model):
        several = hasattr(last, "estimators_")
        classes = [list(map(str, each)) for each in (last.classes_ if several else [last.classes_])]
        facts["classes"] = classes if several else classes[0]
    return facts


def _facts_of_table(model: Tabular) -> dict[str, Any]:
    table = model.encoder_.describe().astype({"missing": object})
    facts: dict[str, Any] = {"members": len(model.members_)}
    if model.cv_score_ is not None:
        facts["cv_score"] = model.cv_score_
    if hasattr(model, "temperature_"):
        facts["temperature"] = model.temperature_
    threshold: Any = getattr(model, "threshold_", None)
    if threshold is not None:  # an array of the labels' thresholds, or one number
        facts["threshold"] = threshold.tolist() if hasattr(threshold, "tolist") else threshold
    return {
        **facts,
        "target": model.target_name_,
        "columns": model.encoder_.kinds_,
        "encoding": table.where(table.notna(), None).to_dict("index"),
    }


# ---------------------------------------------------------------- printed for people


def _counted(networks: list[str]) -> list[str]:
    """Each distinct network, with its number."""
    return [f"{n} × {net}" if n > 1 else net for net, n in Counter(networks).items()]


def _aligned(heads: list[str], rows: list[list[str]]) -> str:
    lines = [[printable(cell) for cell in line] for line in (heads, *rows)]
    widths = [max(map(len, cells)) for cells in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )
