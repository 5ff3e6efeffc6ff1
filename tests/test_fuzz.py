"""The fuzz targets: their seeds, some mutations, and what once broke a promise."""

import random
import subprocess
import sys
from pathlib import Path

import pytest
from fuzz import child, mutations
from fuzz.__main__ import NAMES
from fuzz.targets import TARGETS, Target

pytestmark = pytest.mark.filterwarnings("ignore")

FOUND = Path(child.__file__).parent / "found"
OPENED = {}


def opened(name):
    if name not in OPENED:
        OPENED[name] = TARGETS[name]()
    return OPENED[name]


def test_all_targets_are_named():
    assert set(NAMES) == set(TARGETS)
    assert {folder.name for folder in FOUND.iterdir()} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_seeds_and_some_mutations_keep_the_promises(name):
    target, rng = opened(name), random.Random(name)
    for data in target.seeds:
        assert child.failure(target, data) is None
    for _ in range(5 if name == "tabular" else 30):
        data = target.mutate(rng.choice(target.seeds), rng)
        error = child.failure(target, data)
        assert error is None, (error, data)


@pytest.mark.parametrize("name", NAMES)
def test_most_seeds_are_accepted(name):
    """Otherwise the mutations would only reach the first check."""
    target, accepted = opened(name), 0
    for data in target.seeds:
        try:
            target.run(data)
            accepted += 1
        except target.allowed:
            pass
    assert accepted > 0.6 * len(target.seeds)


@pytest.mark.parametrize("path", sorted(FOUND.glob("*/*")), ids=lambda path: path.name)
def test_what_once_broke_a_promise(path):
    assert child.failure(opened(path.parent.name), path.read_bytes()) is None


def test_a_bug_is_found(tmp_path, capsys):
    def run(data):
        if b"7" in data:
            raise KeyError("a bug")

    target = Target([b'{"a": [1, 2]}'], mutations.of_json_text, run, (ValueError,))
    child.run_from_seeds(target, child.Case(target, tmp_path), 500, 60, seed=0)
    assert "finding: KeyError" in capsys.readouterr().out
    data = next(file for file in tmp_path.iterdir() if len(file.name) == 12).read_bytes()
    assert isinstance(child.failure(target, data), KeyError)


@pytest.mark.parametrize(
    ("run", "error"),
    [
        (lambda data: [None for _ in iter(int, 1)], child.TooSlow),
        pytest.param(
            lambda data: b"x" * int((child._most_memory() + 100) * 2**20),
            child.TooMuchMemory,
            marks=pytest.mark.slow,  # it takes as much memory as all tests before
        ),
    ],
)
def test_time_and_memory_are_bounded(run, error, monkeypatch):
    monkeypatch.setattr(child, "SECONDS", 0.5 if error is child.TooSlow else 60)
    monkeypatch.setattr(child, "MEGABYTES", 50)
    child.signal.signal(child.signal.SIGPROF, child._stop)
    target = Target([b""], mutations.of_bytes, run, (Exception,))
    assert isinstance(child.failure(target, b""), error)


def test_the_command_counts_cases(tmp_path):
    command = [sys.executable, "-m", "fuzz", "page", "--cases=30", f"--findings={tmp_path}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "30 cases" in done.stdout
