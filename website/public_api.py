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
from website.reference import INTERNAL

SNAPSHOT = Path(__file__).parent.parent / "tests" / "public_api.txt"
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


def module(name: str, thing: ModuleType) -> Iterator[str]:
    public = getattr(thing, "__all__", None)
    if public is None:
        public = [
            key
            for key, value in vars(thing).items()
            if not key.startswith("_") and getattr(value, "__module__", None) == thing.__name__
        ]
    for key in sorted(public):
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
