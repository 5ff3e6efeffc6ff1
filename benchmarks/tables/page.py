"""``python -m benchmarks.tables page``: docs/tables_benchmark.md, from benchmarks/results/.

The files there are those that ``run`` wrote; a test compares the page with what this writes.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import pandas as pd

from benchmarks.tables import ablation, report
from benchmarks.tables.contestants import CONTESTANTS, OURS
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
This page is written by `python -m benchmarks.tables run results.parquet --half 'held out' --seeds 1` and
`python -m benchmarks.tables page`, from the files in `benchmarks/results`. The tables are those that were not used while the
defaults were chosen; `python -m benchmarks.tables list` names both halves. One split of each table was run.

"""  # noqa: E501
INGREDIENTS = """
## What each ingredient contributes

On the other half, the 26 tables of at most 12,000 rows on which the defaults were chosen, one split each: the default without one
of its ingredients. The mean rank is that among scikit-learn's MLP, HistGradientBoosting, XGBoost, LightGBM and CatBoost.
`python -m benchmarks.tables run results.parquet --ablation --seeds 1 --most-rows 12000`, then
`python -m benchmarks.tables ablation results.parquet peers.parquet`.

"""  # noqa: E501


def write(docs: Path = DOCS) -> Path:
    """Write the page and its pictures, and return the path of the page."""
    results = read(RESULTS / "held_out.parquet")
    results = results[results["half"] == "held out"]
    contestants = [name for name in report.contestants_of(results) if report.in_all_sizes(name)]
    with tempfile.TemporaryDirectory() as folder:
        text = report.write(results, Path(folder), contestants).read_text()
        for drawn, name in PICTURES.items():
            shutil.copy(Path(folder) / drawn, docs / name)
            text = text.replace(f"({drawn})", f"({name})")
    path = docs / "tables_benchmark.md"
    path.write_text(text.replace(TITLE, TITLE + INTRODUCTION) + INGREDIENTS + _ingredients())
    return path


def _ingredients() -> str:
    files = ("ablation.parquet", "peers_of_ablation.parquet")
    found = pd.concat([read(RESULTS / name) for name in files])
    found = found.drop_duplicates(["table", "seed", "contestant"])
    peers = [name for name in CONTESTANTS if not name.startswith(OURS)]
    return (
        ablation.table(found, [name for name in peers if name in set(found["contestant"])]) + "\n"
    )
