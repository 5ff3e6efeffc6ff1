"""Run the tests of the mathematics on mutants of it.

    python -m mutation                              all modules, a sample of 300 mutants
    python -m mutation activations solvers --all    every mutant of two modules
    python -m mutation --list                       how many mutants each module has

Survivors are printed with their line and change. Those in ``mutation/equivalent.txt``, each with a
reason, count as equivalent. Exits with 1 if the score is below 95 %.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import importlib.abc
import importlib.machinery
import importlib.util
import math
import os
import random
import resource
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import CodeType
from typing import NamedTuple

from .operators import Mutant, mutants, unchanged

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "deltaprop"
MODULES = (
    "derivation.equations",
    "functions.activations",
    "functions.losses.classification",
    "functions.losses.counts",
    "functions.losses.focal",
    "functions.losses.gaussian",
    "functions.losses.hinge",
    "functions.losses.loss",
    "functions.losses.quantile",
    "functions.losses.regression",
    "functions.losses.targets",
    "optim.solvers",
    "optim.transforms",
)
TESTS = {  # in this order; they end at the first failure
    "derivation": ("test_mathematics",),
    "functions": ("test_mathematics",),
    "optim": ("test_mathematics", "test_transforms"),
}
SECONDS = 60  # of the processor for one mutant; one that takes longer is detected
SCORE = 0.95


class Outcome(NamedTuple):
    """What the tests said to one mutant."""

    module: str
    mutant: Mutant
    detected: bool
    seconds: float


class Importer(importlib.abc.MetaPathFinder, importlib.machinery.SourceFileLoader):
    """Imports one module from other source code."""

    def __init__(self, name: str, path: Path, source: str) -> None:
        super().__init__(name, str(path))
        self._name, self._mutated = name, source

    def find_spec(self, name: str, path: object = None, target: object = None) -> object:
        if name != self._name:
            return None
        return importlib.util.spec_from_file_location(name, self.path, loader=self)

    def get_code(self, fullname: str) -> CodeType:
        return compile(self._mutated, self.path, "exec")


def path_of(module: str) -> Path:
    return PACKAGE.joinpath(*module.split(".")).with_suffix(".py")


def run_tests(module: str, source: str) -> int:
    """The exit status of pytest in this process, with another source of a module."""
    import pytest

    name = f"deltaprop.{module}"
    sys.meta_path.insert(0, Importer(name, path_of(module), source))
    _never_compile()
    files = [str(ROOT / "tests" / f"{each}.py") for each in TESTS[module.split(".")[0]]]
    doctests = str(path_of(module))
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # this and most options save time
    return int(pytest.main([
        "-x", "-q", "-o", "addopts=", "--import-mode=importlib", "-m", "not slow", "--tb=no",
        "--assert=plain", "-p", "no:cacheprovider", "-p", "no:unraisableexception",
        "-p", "no:threadexception", "-p", "no:logging", "--doctest-modules", *files, doctests,
    ]))  # fmt: skip


def _never_compile() -> None:
    """Skip tests that need compiled code, because compiling mutated functions takes long."""
    import pytest

    from deltaprop.engines.fused import compiling, objects

    def refuse(unit: object) -> None:
        pytest.skip("compiled code")

    objects.addresses = refuse
    compiling.start = lambda net, X: False


def judged(module: str, mutant: Mutant) -> Outcome:
    """Run the tests on a mutant in a child process."""
    begun = time.monotonic()
    child = os.fork()
    if child == 0:
        _become_silent()
        resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS + 1))
        os._exit(1 if run_tests(module, mutant.source) else 0)
    _, status = os.waitpid(child, 0)
    return Outcome(module, mutant, status != 0, time.monotonic() - begun)


def _become_silent() -> None:
    null = os.open(os.devnull, os.O_RDWR)
    for handle in (1, 2):
        os.dup2(null, handle)


def import_others() -> None:
    """Import what takes long, so that the children need not; nothing of deltaprop."""
    for name in ("pytest", "hypothesis", "numpy", "scipy.special", "scipy.optimize", "scipy.sparse",
                 "sklearn._loss.loss", "sklearn.datasets", "torch", "jax", "jax.numpy", "pandas",
                 "array_api_strict", "safetensors.numpy"):  # fmt: skip
        if importlib.util.find_spec(name.partition(".")[0]) is not None:
            importlib.import_module(name)
    assert "deltaprop" not in sys.modules
    gc.collect()
    gc.freeze()  # the children do not go through these objects again


# ---------------------------------------------------------------- reports


def equivalent() -> dict[str, str]:
    """The mutants that no test can detect, and why."""
    found, why = {}, ""
    for line in (Path(__file__).parent / "equivalent.txt").read_text().splitlines():
        if line.startswith("# "):
            why = line[2:]
        elif line.strip():
            found[line.strip()] = why
    return found


def name_of(module: str, mutant: Mutant) -> str:
    return f"{module}: {mutant.key}"


def interval(k: int, n: int) -> tuple[float, float]:
    """Wilson's 95 % interval of the proportion k / n."""
    z, p = 1.96, k / n
    middle, spread = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return (middle - spread) / (1 + z * z / n), (middle + spread) / (1 + z * z / n)


def chosen(names: Sequence[str]) -> list[str]:
    found = [m for m in MODULES if not names or m in names or m.split(".")[-1] in names
             or m.split(".")[-2] in names]  # fmt: skip
    if not found:
        sys.exit(f"no such module; they are {', '.join(MODULES)}")
    return found


def report(outcomes: Sequence[Outcome], known: dict[str, str], n_all: int) -> int:
    counted = [o for o in outcomes if o.detected or name_of(o.module, o.mutant) not in known]
    survivors = [o for o in counted if not o.detected]
    for module in dict.fromkeys(o.module for o in outcomes):
        here = [o for o in counted if o.module == module]
        detected = sum(o.detected for o in here)
        print(f"{module:32} {detected:4} of {len(here):4} detected")
    detected = len(counted) - len(survivors)
    low, high = interval(detected, len(counted))
    print(
        f"score {detected / len(counted):.1%} of {len(counted)} mutants "
        f"({len(outcomes) - len(counted)} equivalent ones besides) of {n_all}"
        + ("" if len(outcomes) == n_all else f"; 95 % interval {low:.1%} to {high:.1%}")
    )
    return 0 if detected / len(counted) >= SCORE else 1


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m mutation", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("modules", nargs="*", metavar="MODULE", help=", ".join(MODULES))
    parser.add_argument("--sample", type=int, default=300, help="how many mutants, at random")
    parser.add_argument("--all", action="store_true", help="every mutant")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--seconds", type=float, default=math.inf, help="stop after this time")
    given = parser.parse_args()
    every = [
        (m, mutant) for m in chosen(given.modules) for mutant in mutants(path_of(m).read_text())
    ]
    if given.list:
        for module in chosen(given.modules):
            print(f"{module:32} {sum(m == module for m, _ in every):5}")
        print(f"{'all':32} {len(every):5}")
        return 0
    begun = time.monotonic()
    os.environ["PYTEST_XDIST_WORKER"] = "mutant"  # conftest.py compiles nothing
    import_others()
    known, outcomes = equivalent(), []
    todo = list(every)
    if not given.all:
        random.Random(given.seed).shuffle(todo)
        todo = todo[: given.sample]
    for module in dict.fromkeys(module for module, _ in todo):
        if judged(module, unchanged(path_of(module).read_text())).detected:
            sys.exit(f"the tests of {module} fail without any mutation")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with contextlib.suppress(KeyboardInterrupt):
        for module, mutant in todo:
            if time.monotonic() - begun > given.seconds:
                break
            outcome = judged(module, mutant)
            outcomes.append(outcome)
            if not outcome.detected and (name := name_of(module, mutant)) not in known:
                print(f"survivor {path_of(module).name}:{mutant.line}  {name}", flush=True)
    return report(outcomes, known, len(every))


if __name__ == "__main__":
    sys.exit(main())
