"""Run the fits that are not in the results yet."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from importlib import metadata
from typing import Any

from benchmarks import machine
from benchmarks.tables.contestants import Contestant
from benchmarks.tables.registry import half_of
from benchmarks.tables.results import Key, Results
from benchmarks.tables.splits import SEEDS, seeds_of
from benchmarks.tables.table import Table
from benchmarks.tables.worker import Worker

PACKAGES = (
    "deltaprop", "numpy", "pandas", "scikit-learn", "numba", "xgboost", "xgboost-cpu", "lightgbm",
    "catboost", "pytabkit", "torch", "autogluon.tabular",
)  # fmt: skip


@dataclass(frozen=True)
class Plan:
    """What to run, and within which limits.

    Parameters
    ----------
    tables : sequence of Table
    contestants : mapping of str to Contestant
    seeds : int, default=5
        At most so many seeds of each table.
    threads : int, default=2
        Threads of each fit.
    limit : float, default=600
        Seconds of a fit and its predictions; more is an error.
    seconds : float, default=inf
        No fit starts after this time.
    again : bool, default=False
        Whether fits that failed run again.
    most_others : float, default=inf
        Fits run again during which other programs used more than so many processors.
    """

    tables: Sequence[Table]
    contestants: Mapping[str, Contestant]
    seeds: int = SEEDS
    threads: int = 2
    limit: float = 600.0
    seconds: float = math.inf
    again: bool = False
    most_others: float = math.inf

    def fits(self) -> Iterator[tuple[Table, int, str]]:
        """Yield all fits. Those of a table and a seed follow each other."""
        for table in self.tables:
            for seed in seeds_of(table, self.seeds):
                for name, contestant in self.contestants.items():
                    if table.rows <= contestant.most_rows:
                        yield table, seed, name

    def left(self, results: Results) -> list[tuple[Table, int, str]]:
        """Return the fits that are not in the results.

        Raises
        ------
        ValueError
            If the results of a contestant were obtained with other parameters.
        """
        return [fit for fit in self.fits() if not self._is_done(results, *fit)]

    def _is_done(self, results: Results, table: Table, seed: int, name: str) -> bool:
        row = results.get(Key(table.name, seed, name))
        if row is None:
            return False
        if row["parameters"] != parameters_of(self.contestants[name]):
            raise ValueError(
                f"The file holds results of {name!r} with the parameters {row['parameters']}; "
                "give these parameters another name, or write to another file."
            )
        failed = isinstance(row.get("error"), str)
        others = row.get("others")
        disturbed = isinstance(others, float) and others > self.most_others
        return not (failed and self.again) and not disturbed


def run(plan: Plan, results: Results, say: Callable[[str], None] = print) -> int:
    """Run what is left, and return how many fits are left after that."""
    began = time.monotonic()
    facts = json.dumps(described())
    left = plan.left(results)
    with ExitStack() as stack:
        workers = {
            name: stack.enter_context(closing(Worker(contestant, plan.threads)))
            for name, contestant in plan.contestants.items()
        }
        for k, (table, seed, name) in enumerate(left):
            if time.monotonic() - began > plan.seconds:
                return len(left) - k
            outcome = workers[name].measure(table, seed, plan.limit)
            results.add({
                **_about(table), "seed": seed, "contestant": name,
                "parameters": parameters_of(plan.contestants[name]),
                "threads": plan.threads, "machine": facts, **outcome,
            })  # fmt: skip
            say(f"{k + 1}/{len(left)} {table.name}, seed {seed}, {name}: {_shown(outcome)}")
    return 0


def described() -> dict[str, Any]:
    """Return the facts about the machine, with the versions of the contestants."""
    installed = {}
    for name in PACKAGES:
        try:
            installed[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return {**machine.describe(), "versions": installed}


def parameters_of(contestant: Contestant) -> str:
    return json.dumps(dict(contestant.parameters), sort_keys=True)


def _about(table: Table) -> dict[str, Any]:
    return {
        "table": table.name, "half": half_of(table.name), "task": table.task, "rows": table.rows,
    }  # fmt: skip


def _shown(outcome: Mapping[str, Any]) -> str:
    if "error" in outcome:
        return str(outcome["error"])
    known = {name: value for name, value in outcome.items() if value is not None}
    return ", ".join(f"{name} {value:.4g}" for name, value in known.items())
