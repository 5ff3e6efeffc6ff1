"""The report of a file of results: Markdown with mean ranks, times and pictures."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.tables import pictures
from benchmarks.tables.contestants import CONTESTANTS
from benchmarks.tables.ranks import FAMILIES, Comparison, Family, compare, finished, scores
from benchmarks.tables.table import CLASSIFICATION, REGRESSION

QUIET = 0.2  # processors that other programs may use while a time is measured
METRICS = {CLASSIFICATION: ("accuracy", "log_loss", "auc"), REGRESSION: ("r2", "mae")}


def write(results: pd.DataFrame, folder: Path, contestants: Sequence[str]) -> Path:
    """Write report.md and its pictures into the folder, and return the path of the report."""
    folder.mkdir(parents=True, exist_ok=True)
    together = finished(results, contestants)
    if together.empty:
        raise ValueError(f"No table was finished by all of {', '.join(contestants)}.")
    sections = [_introduction(results, together, contestants)]
    for family in FAMILIES:
        sections.append(_family(results, together, family, contestants, folder))
    sections += [_times(together, contestants), _metrics(together, contestants)]
    sections += [_scores(results, family, contestants) for family in FAMILIES]
    sections.append(_missing(results, contestants))
    path = folder / "report.md"
    path.write_text("\n\n".join(s for s in sections if s) + "\n")
    return path


def contestants_of(results: pd.DataFrame) -> list[str]:
    """Return the contestants of the results: those known here first, in their order."""
    found = list(dict.fromkeys(results["contestant"]))
    known = [name for name in CONTESTANTS if name in found]
    return known + [name for name in found if name not in known]


def in_all_sizes(name: str) -> bool:
    """Whether a contestant takes part in tables of every size."""
    return name not in CONTESTANTS or math.isinf(CONTESTANTS[name].most_rows)


# ---------------------------------------------------------------- sections


def _introduction(results: pd.DataFrame, together: pd.DataFrame, contestants: Sequence[str]) -> str:
    counts = together.drop_duplicates("table")["task"].value_counts()
    halves = " and ".join(sorted(set(together["half"]))).replace("held out", "held-out")
    facts = json.loads(results["machine"].iloc[-1])
    versions = ", ".join(f"{name} {version}" for name, version in facts["versions"].items())
    return (
        "# Real tables\n\n"
        f"{len(contestants)} models are compared on the {counts.sum()} tables of the {halves} half "
        f"that all of them finished: {counts.get(CLASSIFICATION, 0)} tables for classification and "
        f"{counts.get(REGRESSION, 0)} for regression. 70 % of the rows are for training; scores "
        "are those on the other 30 %, as means over the splits. All are at their defaults with "
        f"{together['threads'].iloc[0]} threads.\n\n"
        f"{facts['processor']}, Python {facts['python']}, {versions}; {facts['date'][:10]}."
    )


def _family(
    results: pd.DataFrame, together: pd.DataFrame, family: Family, contestants: Sequence[str],
    folder: Path,
) -> str:  # fmt: skip
    comparison = compare(results, family, contestants)
    stem = family.columns[CLASSIFICATION]
    diagram, dots = folder / f"ranks_{stem}.svg", folder / f"time_{stem}.svg"
    pictures.critical_difference(diagram, comparison, f"Mean rank in {family.title}")
    title = f"Mean rank in {family.title} against fit time"
    note = f"{len(comparison.ranks)} real tables, 70 % for training"
    seconds = _seconds(undisturbed(together))
    pictures.rank_against_time(dots, comparison.means, seconds, title, note)
    tasks = together.drop_duplicates("table").set_index("table")["task"]
    return (
        f"## {family.title}\n\n{_mean_ranks(comparison, tasks)}\n\n"
        f"Friedman's test: p = {comparison.p_value:.2g}. Two mean ranks differ, by Nemenyi's test "
        f"at the level 0.05, if they are more than {comparison.critical_difference:.2f} apart.\n\n"
        f"![Critical differences]({diagram.name})\n\n![Rank against time]({dots.name})"
    )


def _mean_ranks(comparison: Comparison, tasks: pd.Series) -> str:
    ranks = comparison.ranks
    kinds = [task for task in (CLASSIFICATION, REGRESSION) if (tasks == task).any()]
    head = ["contestant", "mean rank", *kinds, "best in"]
    rows = []
    for name, mean in comparison.means.items():
        parts = [ranks.loc[tasks.index[tasks == task], name].mean() for task in kinds]
        best = int((ranks[name] == ranks.min(axis=1)).sum())
        rows.append([str(name), *(f"{v:.2f}" for v in (mean, *parts)), str(best)])
    return markdown(head, rows)


def _times(together: pd.DataFrame, contestants: Sequence[str]) -> str:
    together = undisturbed(together)
    fit, predict = _seconds(together), _seconds(together, "predict_seconds")
    largest = together.groupby("contestant")["fit_seconds"].max()
    rows = [
        [name, f"{fit[name]:.3g}", f"{largest[name]:.3g}", f"{predict[name]:.3g}"]
        for name in sorted(contestants, key=lambda name: fit[name])
    ]
    head = ["contestant", "fit", "longest fit", "predict"]
    others = together["others"].mean()
    busy = "" if pd.isna(others) else f" Other programs used {others:.2f} of the processors."
    return f"## Seconds\n\nGeometric means over tables.{busy}\n\n{markdown(head, rows)}"


def _metrics(together: pd.DataFrame, contestants: Sequence[str]) -> str:
    """Means over tables; of the errors only those that compare between tables."""
    columns = [c for names in METRICS.values() for c in names if c != "mae"]
    tables = together.groupby(["contestant", "table"])[columns].mean()
    means = tables.groupby("contestant").mean().astype(float)
    shown = [column for column in columns if means[column].notna().all()]
    rows = [[name, *(f"{means.loc[name, c]:.4f}" for c in shown)] for name in contestants]
    return f"## Means over tables\n\n{markdown(['contestant', *shown], rows)}"


def _scores(results: pd.DataFrame, family: Family, contestants: Sequence[str]) -> str:
    found = scores(results, family, contestants)
    rows = []
    for table, row in found.iterrows():
        best = family.sign * (family.sign * row).min()
        cells = [f"**{v:.4g}**" if v == best else f"{v:.4g}" for v in row]
        rows.append([str(table), *cells])
    return f"## {family.title} of each table\n\n{markdown(['table', *contestants], rows)}"


def _missing(results: pd.DataFrame, contestants: Sequence[str]) -> str:
    failed = results[results["error"].notna() & results["contestant"].isin(list(contestants))]
    if failed.empty:
        return ""
    rows = [
        [str(row[c]).replace("|", "\\|") for c in ("table", "seed", "contestant", "error")]
        for _, row in failed.iterrows()
    ]
    return f"## Errors\n\n{markdown(['table', 'seed', 'contestant', 'error'], rows)}"


# ---------------------------------------------------------------- helpers


def undisturbed(results: pd.DataFrame) -> pd.DataFrame:
    """Return the fits of each contestant on each table beside which little else ran, if any."""
    quiet = ~(results["others"].fillna(0.0).astype(float) > QUIET)
    some = quiet.groupby([results["contestant"], results["table"]]).transform("any")
    return results[quiet | ~some]


def _seconds(together: pd.DataFrame, column: str = "fit_seconds") -> pd.Series:
    """Geometric means over tables of the mean over seeds."""
    tables = together.groupby(["contestant", "table"])[column].mean().astype(float)
    return np.exp(np.log(tables).groupby("contestant").mean())


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table in Markdown."""

    def lines() -> Iterator[str]:
        yield f"| {' | '.join(head)} |"
        yield f"| --- |{' ---: |' * (len(head) - 1)}"
        for row in rows:
            yield f"| {' | '.join(row)} |"

    return "\n".join(lines())
