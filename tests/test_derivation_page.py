"""docs/derivation.md has every equation once, and names functions and tests that exist."""

import ast
import importlib
import re
from pathlib import Path

import pytest

from .katex import render

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs" / "derivation.md").read_text(encoding="utf-8")
TEXT = re.sub(r"^```.*?^```", "", PAGE, flags=re.DOTALL | re.MULTILINE)  # without the example
FUNCTIONS = sorted(set(re.findall(r"`(deltaprop(?:\.\w+)+)`", TEXT)))
TESTS = sorted(set(re.findall(r"`(tests/\w+\.py::\w+)`", TEXT)))
SECTIONS = re.split(r"^## ", TEXT, flags=re.MULTILINE)[1:]


def resolve(path: str) -> object:
    """Return the object of a dotted path: the longest module in it, then attributes."""
    parts = path.split(".")
    for length in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:length]))
        except ModuleNotFoundError:
            continue
        for name in parts[length:]:
            found = getattr(found, name)
        return found
    raise ModuleNotFoundError(path)


@pytest.mark.parametrize("path", FUNCTIONS)
def test_named_functions_exist(path):
    found = resolve(path)
    assert callable(found) or isinstance(found, property)


@pytest.mark.parametrize("test", TESTS)
def test_named_tests_exist(test):
    path, name = test.split("::")
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize(
    "number", [f"1.{k}" for k in range(1, 10)] + ["bias", "L2", "scale", "activation"]
)
def test_every_equation_appears_once(number):
    assert TEXT.count(rf"\tag{{{number}}}") == 1


@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: section.split("\n")[0])
def test_sections_with_equations_name_code_and_tests(section):
    if r"\tag{" in section:
        assert any(f"`{path}`" in section for path in FUNCTIONS)
        assert any(f"`{test}`" in section for test in TESTS)


def test_the_mathematics_is_latex():
    blocks = re.findall(r"\$\$(.*?)\$\$", TEXT, flags=re.DOTALL)
    inline = re.findall(r"\$([^$]+)\$", re.sub(r"\$\$.*?\$\$", "", TEXT, flags=re.DOTALL))
    assert blocks
    assert inline
    for formula in [*blocks, *inline]:
        render(formula)
