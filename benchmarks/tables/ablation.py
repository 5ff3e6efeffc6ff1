"""What each ingredient of the default model contributes: the default without it, on real tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.tables.contestants import OURS, Contestant, deltaprop
from benchmarks.tables.ranks import FAMILIES, compare, scores
from benchmarks.tables.report import markdown
from benchmarks.tables.table import CLASSIFICATION

WITHOUT: dict[str, dict[str, Any]] = {
    "folds: one network": {"cv": 1},
    "bins": {"n_bins": 0},
    "trainable input scale": {"input_scale": 0.0},
    "moving average of the weights": {"ema_decay": 0.0},
    "dropout": {"dropout": 0.0},
    "weight decay": {"weight_decay": 0.0},
    "SiLU: ReLU instead": {"activation": "relu"},
}
VARIANTS = {
    f"{OURS} without {name}": Contestant(deltaprop, values) for name, values in WITHOUT.items()
}
HEAD = (
    "without", "log-loss, MAE: × the default's, median", "worse, better in", "mean rank",
    "accuracy", "R²", "worse, better in", "mean rank", "fit time: × the default's",
)  # fmt: skip


def table(results: pd.DataFrame, peers: Sequence[str]) -> str:
    """Return a Markdown table of the default and its variants.

    A mean rank is that among `peers`, if the variant takes the place of the default.
    """
    names = [name for name in VARIANTS if name in set(results["contestant"])]
    rows = [_row(results, name, peers) for name in (OURS, *names)]
    return markdown(HEAD, rows)


def _row(results: pd.DataFrame, name: str, peers: Sequence[str]) -> list[str]:
    cells = [name.removeprefix(f"{OURS} without ") if name != OURS else "(the default)"]
    for family in FAMILIES:
        if name == OURS:
            cells += ["1"] if family.sign > 0 else ["", ""]
            cells.append("")
        else:
            pair = scores(results, family, [OURS, name])
            worse = family.sign * (pair[name] - pair[OURS])
            cells += _ratio(pair, name) if family.sign > 0 else _differences(results, pair, name)
            cells.append(f"{(worse > 0).sum()}, {(worse < 0).sum()}")
        cells.append(f"{compare(results, family, [name, *peers]).means[name]:.2f}")
    return [*cells, f"{_seconds(results, name):.2f}"]


def _ratio(pair: pd.DataFrame, name: str) -> list[str]:
    """The median: a log-loss near 0 has ratios that would dominate a mean."""
    return [f"{(pair[name] / pair[OURS]).median():.3f}"]


def _differences(results: pd.DataFrame, pair: pd.DataFrame, name: str) -> list[str]:
    """Mean differences of accuracy and of R², which have different scales."""
    tasks = results.drop_duplicates("table").set_index("table")["task"].reindex(pair.index)
    change = pair[name] - pair[OURS]
    kinds = (tasks == CLASSIFICATION, tasks != CLASSIFICATION)
    return [f"{change[kind.to_numpy()].mean():+.4f}" for kind in kinds]


def _seconds(results: pd.DataFrame, name: str) -> float:
    """Geometric mean of the ratio of fit times."""
    both = results[results["contestant"].isin([OURS, name]) & results["error"].isna()]
    times = both.pivot_table(index="table", columns="contestant", values="fit_seconds").dropna()
    return float(np.exp(np.log(times[name] / times[OURS]).mean()))
