"""Public names and signatures: ``python -m website.public_api`` writes tests/public_api.txt."""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import deltaprop as dp

SNAPSHOT = Path(__file__).parent.parent / "tests" / "public_api.txt"
# Methods without an underscore that other packages of deltaprop call, and users should not.
INTERNAL = frozenset(
    [
        "as_gradient",
        "blocks",
        "build_fit_request",
        "checked_rows",
        "column_kinds",
        "combined",
        "decide",
        "encode",
        "encode_rows",
        "encode_target",
        "feature_names",
        "fit_history",
        "fit_part",
        "fitted_mlp",
        "fitted_network",
        "forward_backward",
        "interrupted_by",
        "labels",
        "layout",
        "mean_loss",
        "output",
        "output_in_words",
        "penalised",
        "prepare",
        "probabilities",
        "scales",
        "scaling",
        "set_fit_request",
        "set_partial_fit_request",
        "set_predict_request",
        "set_score_request",
        "target",
        "target_kind",
        "target_name",
        "without_last_activation",
    ]
)
MODULES = ("deltaprop.inspect", "deltaprop.errors")  # public, but no attributes of deltaprop


def shown(signature: inspect.Signature) -> str:
    """The names, kinds and defaults of parameters; annotations are no promise."""
    parameters = [p.replace(annotation=p.empty) for p in signature.parameters.values()]
    text = str(signature.replace(parameters=parameters, return_annotation=signature.empty))
    return re.sub(r" at 0x[0-9a-f]+", "", text)


def signature_of(thing: Any) -> str:
    try:
        return shown(inspect.signature(thing))
    except (TypeError, ValueError):
        return ""


def members(cls: type) -> Iterator[str]:
    """A line for each public method and property that deltaprop defines."""
    for name in sorted(dir(cls)):
        owner = next((base for base in cls.__mro__ if name in vars(base)), None)
        if (
            name.startswith("_")
            or name in INTERNAL
            or owner is None
            or not owner.__module__.startswith("deltaprop")
        ):
            continue
        found = inspect.getattr_static(cls, name)
        if isinstance(found, property):
            yield f"    {name}"
        elif callable(getattr(cls, name)):
            yield f"    {name}{signature_of(getattr(cls, name))}"


def described(name: str, thing: Any) -> Iterator[str]:
    if inspect.isclass(thing):
        yield f"{name}{signature_of(thing)}"
        yield from members(thing)
    elif inspect.ismodule(thing):
        yield from module(name, thing)
    elif callable(thing):
        yield f"{name}{signature_of(thing)}"
    else:
        yield name


def public_names(thing: ModuleType) -> list[str]:
    """The names of ``__all__``, or those that a module or package without it defines."""

    def defined_here(value: Any) -> bool:
        home = getattr(value, "__module__", None) or ""
        return f"{home}.".startswith(f"{thing.__name__}.")

    found = (key for key, value in vars(thing).items() if key[0] != "_" and defined_here(value))
    return sorted(getattr(thing, "__all__", None) or found)


def module(name: str, thing: ModuleType) -> Iterator[str]:
    for key in public_names(thing):
        found = getattr(thing, key)
        if not inspect.ismodule(found):
            yield from described(f"{name}.{key}", found)


def public_api() -> str:
    lines = []
    for name in sorted(set(dp.__all__) - {"__version__"}):
        lines += described(f"deltaprop.{name}", getattr(dp, name))
    for name in MODULES:
        lines += module(name, importlib.import_module(name))
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    SNAPSHOT.write_text(public_api(), encoding="utf-8")
