"""``python -m benchmarks.tables page``: docs/tables_benchmark.md, from benchmarks/results/.

The files there are those that ``run`` wrote; a test compares the page with what this writes.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from benchmarks.tables import ablation, report
from benchmarks.tables.contestants import CONTESTANTS, OURS
from benchmarks.tables.ranks import FAMILIES, compare, finished
from benchmarks.tables.results import read

ROOT = Path(__file__).parents[2]
RESULTS, DOCS = ROOT / "benchmarks" / "results", ROOT / "docs"
PICTURES = {
    "ranks_log_loss.svg": "tables_ranks_log_loss.svg", "time_log_loss.svg": "tables_time.svg",
    "ranks_accuracy.svg": "tables_ranks_accuracy.svg",
    "time_accuracy.svg": "tables_time_accuracy.svg",
}  # fmt: skip
TITLE = "# Real tables\n\n"
INTRODUCTION = """\
This page is written by `python -m benchmarks.tables run results.parquet --half 'held out'` and `python -m benchmarks.tables page`,
from the files in `benchmarks/results`. The tables are those that were not used while the defaults were chosen;
`python -m benchmarks.tables list` names both halves. Tables of up to 5,000 rows were split five times, larger ones once.
Times are those of fits beside which other programs used less than 0.2 processors.

"""  # noqa: E501
INGREDIENTS = """
## What each ingredient contributes

On the other half, the 26 tables of at most 12,000 rows on which the defaults were chosen, one split each: the default without one
of its ingredients. The mean rank is that among scikit-learn's MLP, HistGradientBoosting, XGBoost, LightGBM and CatBoost.
`python -m benchmarks.tables run results.parquet --ablation --seeds 1 --most-rows 12000`, then
`python -m benchmarks.tables ablation results.parquet peers.parquet`.

"""  # noqa: E501
SLOWER = """
## Slower models on the smaller tables

Models that take long were run on one split of the tables of up to 2,600 rows. Ranks are among the models of each table below. The
last column is the median over tables of the time of a fit, divided by the time of the default.

"""  # noqa: E501
AUTOGLUON = """
AutoGluon with `presets="best_quality"`, both with a limit of 300 s, on the tables of up to {most:,} rows:

"""  # noqa: E501
BEST = f"{OURS} best"
SLOWER_MODELS = (BEST, "RealMLP-TD-S", "RealMLP-TD", "TabM-D")
STACKED = (BEST, "AutoGluon best")


def write(docs: Path = DOCS) -> Path:
    """Write the page and its pictures, and return the path of the page."""
    results = read(RESULTS / "held_out.parquet")
    results = results[results["half"] == "held out"]
    slower = _slower(results)
    results = results[results["contestant"] != BEST]  # which was run on the smaller tables only
    contestants = [name for name in report.contestants_of(results) if report.in_all_sizes(name)]
    with tempfile.TemporaryDirectory() as folder:
        text = report.write(results, Path(folder), contestants).read_text()
        for drawn, name in PICTURES.items():
            shutil.copy(Path(folder) / drawn, docs / name)
            text = text.replace(f"({drawn})", f"({name})")
    path = docs / "tables_benchmark.md"
    text = text.replace(TITLE, TITLE + INTRODUCTION)
    path.write_text(text + slower + INGREDIENTS + _ingredients())
    return path


def _slower(results: pd.DataFrame) -> str:
    """Ranks and times of the models that take long, and of AutoGluon's in its own environment."""
    autogluon = pd.concat([results, read(RESULTS / "autogluon.parquet")])
    together = finished(autogluon, (OURS, *STACKED))
    return (
        SLOWER + _ranks(results, (OURS, *SLOWER_MODELS, "CatBoost"))
        + AUTOGLUON.format(most=together["rows"].max()) + _ranks(autogluon, (OURS, *STACKED))
    )  # fmt: skip


def _ranks(results: pd.DataFrame, names: Sequence[str]) -> str:
    """A row for each model: its mean rank in both families, and its time."""
    comparisons = [compare(results, family, names) for family in FAMILIES]
    seconds = report.undisturbed(finished(results, names)).pivot_table(
        index="table", columns="contestant", values="fit_seconds"
    ).astype(float)  # fmt: skip
    ratios = seconds.div(seconds[OURS], axis=0).median()
    rows = [
        [name, *(f"{c.means[name]:.2f}" for c in comparisons), f"{ratios[name]:.3g}"]
        for name in comparisons[0].means.index
    ]
    n = len(comparisons[0].ranks)
    titles = [f"mean rank in {family.title}" for family in FAMILIES]
    return report.markdown([f"{n} tables", *titles, "fit time: × the default's"], rows) + "\n"


def _ingredients() -> str:
    files = ("ablation.parquet", "peers_of_ablation.parquet")
    found = pd.concat([read(RESULTS / name) for name in files])
    found = found.drop_duplicates(["table", "seed", "contestant"])
    peers = [name for name in CONTESTANTS if not name.startswith(OURS)]
    return (
        ablation.table(found, [name for name in peers if name in set(found["contestant"])]) + "\n"
    )
