"""scikit-learn's tests of its MLPs, run on deltaprop's: only the import line is replaced.

The tests come from the installed scikit-learn. `EXCEPTIONS` lists those that are left out because
they use private attributes.
"""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
import sklearn.neural_network.tests

SUITE = Path(sklearn.neural_network.tests.__path__[0]) / "test_mlp.py"
THEIRS = "from sklearn.neural_network import MLPClassifier, MLPRegressor\n"
OURS = "from deltaprop import MLPClassifier, MLPRegressor\n"
PRIVATE = {"_optimizer", "_no_improvement_count", "_loss_grad_lbfgs"}
EXCEPTIONS = {
    "test_gradient": "calls _loss_grad_lbfgs, scikit-learn's own packing of the parameters; "
    "deltaprop's gradient is verified in test_gradients.py",
    "test_learning_rate_warmstart": "reads _optimizer.learning_rate",
    "test_adaptive_learning_rate": "reads _optimizer.learning_rate",
    "test_n_iter_no_change": "reads _no_improvement_count",
    "test_n_iter_no_change_inf": "reads _no_improvement_count",
}
CONFTEST = """
import pytest

@pytest.fixture
def global_random_seed():
    return 42
"""


def private_reads() -> dict[str, set[str]]:
    """Return the private attributes that each test of the suite reads."""
    tree = ast.parse(SUITE.read_text(encoding="utf-8"))
    return {
        test.name: {
            node.attr
            for node in ast.walk(test)
            if isinstance(node, ast.Attribute)
            and node.attr in PRIVATE
            and isinstance(node.ctx, ast.Load)
        }
        for test in tree.body
        if isinstance(test, ast.FunctionDef) and test.name.startswith("test_")
    }


def test_exceptions_are_those_that_read_private_attributes() -> None:
    reads = private_reads()
    assert {name for name, attributes in reads.items() if attributes} == set(EXCEPTIONS)
    for name, reason in EXCEPTIONS.items():
        assert any(attribute in reason for attribute in reads[name]), name


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Return the outcome of each of scikit-learn's tests on deltaprop's classes."""
    folder = tmp_path_factory.mktemp("scikit_learn")
    source = SUITE.read_text(encoding="utf-8")
    assert source.count(THEIRS) == 1
    (folder / "test_mlp.py").write_text(source.replace(THEIRS, OURS), encoding="utf-8")
    (folder / "conftest.py").write_text(CONFTEST, encoding="utf-8")
    (folder / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    report = folder / "report.xml"
    command = [sys.executable, "-m", "pytest", "-q", "--tb=short", "-p", "no:cacheprovider"]
    command += ["-p", "no:xdist", f"--junitxml={report}", str(folder / "test_mlp.py")]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")}
    run = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=600
    )
    assert report.exists(), run.stdout + run.stderr
    outcomes = {}
    for case in ET.parse(report).iter("testcase"):
        trouble = [child for child in case if child.tag in ("failure", "error", "skipped")]
        outcomes[case.attrib["name"]] = (
            f"{trouble[0].tag}: {trouble[0].text}" if trouble else "passed"
        )
    return outcomes


def function_of(case: str) -> str:
    return case.split("[")[0]


def test_scikit_learns_suite_passes(results: dict[str, str]) -> None:
    assert {function_of(case) for case in results} == set(private_reads())
    failed = {
        case: outcome
        for case, outcome in results.items()
        if outcome != "passed" and function_of(case) not in EXCEPTIONS
    }
    assert not failed, "\n\n".join(f"{case}\n{outcome}" for case, outcome in failed.items())
    assert sum(outcome == "passed" for outcome in results.values()) >= 50


def test_exceptions_fail_for_the_missing_private_attribute(results: dict[str, str]) -> None:
    for case, outcome in results.items():
        if function_of(case) in EXCEPTIONS and outcome != "passed":
            assert outcome.startswith("failure: ")
            missing = private_reads()[function_of(case)]
            assert any(f"has no attribute '{name}'" in outcome for name in missing), outcome
