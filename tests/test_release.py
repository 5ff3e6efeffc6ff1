"""What is released: one version, equal names, reproducible builds, a wheel that works alone."""

import hashlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
import venv
from pathlib import Path

import pytest
import yaml
from website import badges

import deltaprop as dp

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
# Pieces of the hosts of package registries, which a mirror would replace.
REGISTRIES = re.compile(r"py" r"pi\.org|python" r"hosted|ana" r"conda\.org|npm" r"js\.")


def test_the_version_is_in_one_place():
    assert PROJECT["project"]["dynamic"] == ["version"]
    assert "version" not in PROJECT["project"]
    source = ROOT / PROJECT["tool"]["hatch"]["version"]["path"]
    assert f'__version__ = "{dp.__version__}"' in source.read_text(encoding="utf-8")
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == dp.__version__


def test_the_badges_of_the_readme_are_true():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for name, text in badges.badges().items():
        assert (badges.FOLDER / name).read_text(encoding="utf-8") == text, (
            "run `python -m website.badges`"
        )
        assert f"](docs/assets/badges/{name})" in readme
    assert f"![Version {dp.__version__}]" in readme


def test_the_conda_recipe_has_the_dependencies_of_pyproject():
    recipe = (ROOT / "conda" / "meta.yaml").read_text(encoding="utf-8")
    run = recipe[recipe.index("  run:") : recipe.index("\ntest:")]
    found = [line.strip(" -").replace(" ", "") for line in run.splitlines() if "- " in line]
    assert found == [f"python{PROJECT['project']['requires-python']}"] + [
        requirement.split(";")[0].replace(" ", "")
        for requirement in PROJECT["project"]["dependencies"]
    ]


def test_the_locked_requirements_are_those_of_pyproject():
    locked = (ROOT / "requirements" / "ci.txt").read_text(encoding="utf-8")
    names = set(re.findall(r"^([\w.-]+)==", locked, re.MULTILINE))
    extras = PROJECT["project"]["optional-dependencies"]
    wanted = [*PROJECT["project"]["dependencies"], *extras["test"], *extras["docs"]]
    needed = {re.match(r"[\w.-]+", requirement)[0].lower() for requirement in wanted}
    assert sorted(needed - names - {"deltaprop"}) == [], "run requirements/update"
    blocks = re.split(r"\n(?=\S)", locked.strip())
    assert all("--hash=sha256:" in block for block in blocks if "==" in block)
    assert not REGISTRIES.search(locked)
    assert "index-url" not in locked


def test_workflows_are_valid_and_give_few_permissions():
    paths = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
    assert {path.stem for path in paths} >= {"tests", "release", "docs", "codeql", "scorecard"}
    for path in paths:
        workflow = yaml.safe_load(path.read_text(encoding="utf-8"))
        assert workflow["permissions"] in ({"contents": "read"}, "read-all"), path
        for job in workflow["jobs"].values():
            assert all("uses" in step or "run" in step for step in job["steps"])
            for step in job["steps"]:  # a tag can be moved to other code, a commit cannot
                assert re.search(r"@[0-9a-f]{40}$", step.get("uses", "@" + "0" * 40)), step
    tests = yaml.safe_load((ROOT / ".github/workflows/tests.yml").read_text(encoding="utf-8"))
    matrix = tests["jobs"]["tests"]["strategy"]["matrix"]
    assert matrix["python"] == ["3.11", "3.12", "3.13", "3.14"]
    assert len(matrix["os"]) == 3


# ---------------------------------------------------------------- builds


def build(folder):
    environment = {**os.environ, "SOURCE_DATE_EPOCH": "1700000000"}
    command = [sys.executable, "-m", "build", "-o", str(folder), str(ROOT)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.iterdir()}


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    pytest.importorskip("build")
    folder = tmp_path_factory.mktemp("dist")
    return folder, build(folder)


@pytest.mark.slow
def test_two_builds_have_the_same_bytes(built, tmp_path):
    first = built[1]
    assert sorted(Path(name).suffix for name in first) == [".gz", ".whl"]
    assert build(tmp_path / "again") == first


@pytest.fixture(scope="module")
def alone(built, tmp_path_factory):
    """A function that runs commands in a new environment, which has the wheel and nothing else."""
    (wheel,) = built[0].glob("*.whl")
    folder = tmp_path_factory.mktemp("alone")
    venv.create(folder / "venv", with_pip=True)
    scripts = folder / "venv" / ("Scripts" if os.name == "nt" else "bin")
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}

    def run(program, *arguments):
        done = subprocess.run(
            [scripts / program, *arguments],
            cwd=folder, env=environment, capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, (done.stdout + done.stderr)[-2000:]
        return done.stdout

    run("python", "-m", "pip", "install", str(wheel))
    shutil.copytree(ROOT / "data", folder / "data")
    return run


@pytest.mark.slow
def test_the_wheel_alone_works_in_a_clean_environment(alone):
    assert dp.__version__ in alone("deltaprop", "--version")
    where = alone("python", "-c", "import deltaprop; print(deltaprop.__file__)")
    assert "site-packages" in where
    assert str(ROOT) not in where


@pytest.mark.slow
def test_the_tour_works_in_a_clean_environment(alone):
    tour = ROOT / "docs" / "tour.md"
    (commands,) = re.findall(r"^```bash\n(.*?)^```", tour.read_text("utf-8"), re.S | re.M)
    for command in commands.splitlines():
        alone(*shlex.split(command))
    written = "print(len(open('predictions.csv').readlines()))"
    assert alone("python", "-c", written).strip() == "345"
    options = ["-o", "ELLIPSIS", "-o", "NORMALIZE_WHITESPACE"]
    assert alone("python", "-m", "doctest", *options, str(tour)) == ""


@pytest.mark.slow
def test_the_bill_of_materials_has_what_is_installed(alone, tmp_path):
    pytest.importorskip("cyclonedx_py")
    python = alone("python", "-c", "import sys; print(sys.executable)").strip()
    command = [sys.executable, "-m", "cyclonedx_py", "environment", python]
    file = tmp_path / "deltaprop.cdx.json"
    written = ["--output-format", "JSON", "--output-file", str(file)]
    subprocess.run([*command, *written], check=True, capture_output=True)
    names = {part["name"].lower() for part in json.loads(file.read_text())["components"]}
    needed = {re.match(r"[\w-]+", each)[0] for each in PROJECT["project"]["dependencies"]}
    assert needed <= names
