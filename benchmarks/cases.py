"""All cases: the work of a turn, its contestants, and the unit of its time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from benchmarks import estimators, first_fit, grid, peers, prediction
from benchmarks.problem import PROBLEMS
from benchmarks.turns import Build


@dataclass(frozen=True)
class Case:
    """A case; `scale` converts seconds to `unit`, and `contestants` takes the number of threads.

    Training runs with the default of each library, which is the number of cores it is pinned to.
    """

    name: str
    title: str
    unit: str
    scale: float
    contestants: Callable[[int], dict[str, Build]]


CASES = (
    *(
        Case(p.name, p.title, p.unit, p.scale, lambda threads, p=p: peers.training(p))  # type: ignore[misc]
        for p in PROBLEMS
    ),
    Case(
        "small-fit",
        "small-fit: a whole fit of 6 → 16 → 2, 640 rows, 20 epochs",
        "ms",
        1e3 / estimators.FITS,
        estimators.array,
    ),
    Case("table", "table: a whole fit to 1,000 rows of mixed columns", "ms", 1e3, estimators.table),
    Case(
        "grid",
        "grid: 5-fold cross-validation of 20 configurations on digits",
        "s",
        1,
        grid.contestants,
    ),
    Case(
        "predict-one",
        "predict-one: probabilities of one row, 64 → 100 → 10",
        "µs per call",
        1e6 / prediction.CALLS,
        prediction.one_row,
    ),
    Case(
        "predict-bulk",
        "predict-bulk: probabilities of 100,000 rows, 784 → 256 → 128 → 10",
        "ms",
        1e3,
        prediction.bulk,
    ),
    Case(
        "table-one",
        "table-one: probabilities of one row of 20 columns",
        "ms per call",
        1e3 / prediction.TABLE_CALLS,
        prediction.table_row,
    ),
    Case(
        "table-bulk",
        "table-bulk: probabilities of 100,000 rows of 20 columns",
        "ms",
        1e3,
        prediction.table_rows,
    ),
    Case(
        "first-fit",
        "first-fit: a new process that imports and trains on iris",
        "s",
        1,
        first_fit.contestants,
    ),
)
NAMES = tuple(case.name for case in CASES)
OURS = "deltaprop"  # the others are compared with it; names with this prefix always run
PEERS = (*peers.MODULES, "onnxruntime")


def chosen(case: Case, threads: int, names: list[str] | None) -> dict[str, Build]:
    """Return the requested contestants of a case."""
    everyone = case.contestants(threads)
    if names is None:
        return everyone
    return {k: build for k, build in everyone.items() if k.startswith(OURS) or k in names}
