"""Public names and signatures, compared with public_api.txt, so that none changes by accident.

After a change on purpose: ``python -m tests.test_public_api > tests/public_api.txt``.
"""

import importlib
import inspect
import re
from pathlib import Path

import deltaprop as dp
from website.reference import INTERNAL

SNAPSHOT = Path(__file__).parent / "public_api.txt"
MODULES = ("deltaprop.inspect", "deltaprop.errors")  # public, but no attributes of deltaprop


def shown(signature):
    """The names, kinds and defaults of parameters; annotations are no promise."""
    parameters = [p.replace(annotation=p.empty) for p in signature.parameters.values()]
    text = str(signature.replace(parameters=parameters, return_annotation=signature.empty))
    return re.sub(r" at 0x[0-9a-f]+", "", text)


def signature_of(thing):
    try:
        return shown(inspect.signature(thing))
    except (TypeError, ValueError):
        return ""


def members(cls):
    """A line for each public method and property that deltaprop defines."""
    for name in sorted(dir(cls)):
        owner = next((base for base in cls.__mro__ if name in vars(base)), None)
        if name.startswith("_") or name in INTERNAL or owner is None or not owner.__module__.startswith("deltaprop"):
            continue
        found = inspect.getattr_static(cls, name)
        if isinstance(found, property):
            yield f"    {name}"
        elif callable(getattr(cls, name)):
            yield f"    {name}{signature_of(getattr(cls, name))}"


def described(name, thing):
    if inspect.isclass(thing):
        yield f"{name}{signature_of(thing)}"
        yield from members(thing)
    elif inspect.ismodule(thing):
        yield from module(name, thing)
    elif callable(thing):
        yield f"{name}{signature_of(thing)}"
    else:
        yield name


def module(name, thing):
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


def public_api():
    lines = []
    for name in sorted(set(dp.__all__) - {"__version__"}):
        lines += described(f"deltaprop.{name}", getattr(dp, name))
    for name in MODULES:
        lines += module(name, importlib.import_module(name))
    return "\n".join(lines) + "\n"


def test_public_names_and_signatures_are_those_of_the_snapshot():
    assert public_api() == SNAPSHOT.read_text(encoding="utf-8"), (
        "The public API has changed. If this is on purpose, describe it in CHANGELOG.md and run "
        "`python -m tests.test_public_api > tests/public_api.txt`."
    )


if __name__ == "__main__":
    print(public_api(), end="")
