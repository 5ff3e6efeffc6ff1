"""The pages of the API reference: every name of `deltaprop.__all__`, and some packages below it."""

from __future__ import annotations

import inspect
import json
import pkgutil
from typing import NamedTuple

import deltaprop
from website.public_api import INTERNAL, public_names


class Section(NamedTuple):
    title: str
    about: str
    names: tuple[str, ...]


SECTIONS = {
    "classifier": Section(
        "TabularClassifier",
        "The classifier for tables.",
        ("TabularClassifier",),
    ),
    "regressor": Section(
        "TabularRegressor",
        "The regressor for tables.",
        ("TabularRegressor",),
    ),
    "tune": Section("tune", "The search for good parameters of the models for tables.", ("tune",)),
    "mlp_classifier": Section(
        "MLPClassifier",
        "The replacement of scikit-learn's class of the same name.",
        ("MLPClassifier",),
    ),
    "mlp_regressor": Section(
        "MLPRegressor",
        "The replacement of scikit-learn's class of the same name.",
        ("MLPRegressor",),
    ),
    "network": Section(
        "Networks and training",
        "A network as named matrices, and what trains it.",
        ("Network", "Dense", "Periodic", "fit", "fit_many", "cross_validate", "Xla"),
    ),
    "solvers": Section(
        "Solvers and schedules",
        "How θ is optimized.",
        ("SGD", "Adam", "AdamW", "Muon", "LBFGS", "KFAC", "schedules"),
    ),
    "functions": Section(
        "Activations, losses and equations",
        "The functions of a network, and the equations of the derivation.",
        ("Activation", "activations", "Loss", "losses", "initializers", "equations"),
    ),
    "inspect": Section(
        "Looking inside",
        "The page, the report, the diagnosis, and what is recorded during training.",
        ("explore", "Watch", "report", "diagnose", "Record", "Progress", "track", "inspect"),
    ),
    "tables": Section("Tables", "Reading, describing, encoding and streaming.", ("tables",)),
    "files": Section(
        "Files and checkpoints",
        "Models and training runs on disk.",
        ("save", "load", "files", "Checkpoint"),
    ),
    "export": Section(
        "Export and serving",
        "Models in other formats and libraries, and predictions over HTTP.",
        (
            "to_onnx",
            "to_c",
            "to_python",
            "to_sklearn",
            "to_torch",
            "from_sklearn",
            "from_torch",
            "from_keras",
            "from_onnx",
            "serve",
        ),
    ),
    "scale": Section(
        "Clusters and privacy",
        "Many machines, and training that bounds what a network reveals.",
        ("cluster", "Privacy"),
    ),
    "other": Section(
        "Errors and deprecated names",
        "The base class of errors that the user can correct, and names that will be removed.",
        ("errors", "search"),
    ),
}
HOME = {  # names that are not attributes of deltaprop, or are there under another one
    "activations": "functions.activations",
    "losses": "functions.losses",
    "initializers": "functions.initializers",
    "equations": "derivation.equations",
    "schedules": "optim.schedules",
    "track": "training.trackers",
}
_FILTERS = ["!^_", f"!^({'|'.join(sorted(INTERNAL))})$"]


def _entry(path: str) -> str:
    """What mkdocstrings replaces by the docstrings of a class, a function or a module."""
    lines = [f"::: {path}", "    options:", f"      filters: {json.dumps(_FILTERS)}"]
    found = pkgutil.resolve_name(path)
    if inspect.ismodule(found):
        shown = [
            name
            for name in public_names(found)
            if getattr(found, name) is not getattr(deltaprop, name, None)  # which has its own entry
            and path != "deltaprop.search"  # which is deprecated
        ]
        lines.append(f"      members: {json.dumps(shown)}")
    return "\n".join(lines)


def _page(section: Section) -> str:
    blocks = [f"# {section.title}\n\n{section.about}"]
    blocks += [_entry(f"deltaprop.{HOME.get(name, name)}") for name in section.names]
    return "\n\n".join(blocks) + "\n"


def _index() -> str:
    rows = [
        f"| [{section.title}](reference/{key}.md) | {section.about} | "
        + ", ".join(f"`{name}`" for name in section.names)
        + " |"
        for key, section in SECTIONS.items()
    ]
    return "\n".join(
        [
            "# Reference",
            "",
            "These are the public names of deltaprop, after `import deltaprop as dp`. Names that "
            "are not here, or that begin with an underscore, may change at any time "
            "([versions](versions.md)). `dp.__version__` is the version.",
            "",
            "| page | contents | names |",
            "|---|---|---|",
            *rows,
            "",
        ]
    )


def pages() -> dict[str, str]:
    """The Markdown of each page, by its path."""
    sections = {f"reference/{key}.md": _page(section) for key, section in SECTIONS.items()}
    return {"reference.md": _index(), **sections}
