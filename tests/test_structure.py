"""The contracts on imports between packages, and the table of layers in the docs."""

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CONTRACTS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"][
    "contracts"
]
LAYERS = next(contract for contract in CONTRACTS if contract["id"] == "layers")["layers"]


def lint_imports(folder):
    """The exit code and the output of ``lint-imports`` for the package below `folder`."""
    command = "import sys; sys.path.insert(0, 'src'); from importlinter.cli import lint_imports"
    call = "sys.exit(lint_imports(config_filename='pyproject.toml', cache_dir=None))"
    run = subprocess.run(
        [sys.executable, "-c", f"{command}; {call}"],
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return run.returncode, run.stdout + run.stderr


@pytest.fixture
def copy(tmp_path):
    shutil.copytree(ROOT / "src", tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def test_imports_keep_the_contracts(copy):
    code, output = lint_imports(copy)
    assert code == 0, output
    assert "0 broken" in output


PLANTED = {
    "at the top": ("optim/schedules.py", "import deltaprop.network"),
    "inside a function": ("engines/reference.py", "def f():\n    from deltaprop import network"),
    "for type checkers": (
        "training/loop.py",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import deltaprop.network",
    ),
    "a cycle of siblings": ("optim/transforms.py", "from deltaprop.optim import solvers"),
}


@pytest.mark.parametrize("where", PLANTED)
def test_a_planted_forbidden_import_is_found(where, copy):
    file, planted = PLANTED[where]
    path = copy / "src" / "deltaprop" / file
    path.write_text(path.read_text() + f"\n{planted}\n")
    code, output = lint_imports(copy)
    assert code != 0
    assert "BROKEN" in output


def test_the_table_of_layers_in_the_docs_is_that_of_the_contract():
    page = (ROOT / "docs" / "design.md").read_text()
    table = page[page.index("## Layers") : page.index("## Where do I add")]
    rows = re.findall(r"^\| `(\w+)` \| .+ \| (.+) \|$", table, re.MULTILINE)
    documented = [name for name, _ in rows]
    assert documented == [name for layer in LAYERS for name in layer.split(" | ")]
    bottom = LAYERS[-1].split(" | ")
    for name, allowed in rows:
        assert allowed == ("nothing" if name in bottom else "everything below")
