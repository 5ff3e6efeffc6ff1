"""The critical-difference diagram, and mean rank against fit time; both as SVG."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.tables.contestants import OURS
from benchmarks.tables.ranks import Comparison

INK, PALE, OURS_INK, PEER_INK = "#1f2328", "#59636e", "#d1242f", "#3f7fd0"
STYLE = {
    "svg.hashsalt": "benchmarks.tables",  # the same picture for the same numbers
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "text.color": INK, "axes.edgecolor": PALE, "axes.labelcolor": INK,
    "xtick.color": PALE, "ytick.color": PALE,
}  # fmt: skip


def critical_difference(path: Path, comparison: Comparison, title: str) -> None:
    """Draw mean ranks on a line; bars join contestants that Nemenyi's test cannot tell apart."""
    means, width = comparison.means, comparison.critical_difference
    k = len(means)
    bars = groups(means, width)
    bottom = -1.0 - 0.35 * len(bars)
    rows = (k + 1) // 2
    figure, axes = _figure(8, 1.9 + 0.3 * rows + 0.15 * len(bars))
    axes.set_xlim(1 - 0.35 * (k - 1), k + 0.35 * (k - 1))
    axes.set_ylim(bottom - 0.9 * rows, 2.6)
    axes.axis("off")
    axes.text(0.5, 1.0, title, transform=axes.transAxes, ha="center", va="top", weight="bold")
    axes.plot([1, k], [0, 0], color=INK, lw=1.2)
    for rank in range(1, k + 1):
        axes.plot([rank, rank], [0, 0.2], color=INK, lw=1.2)
        axes.text(rank, 0.3, str(rank), ha="center", va="bottom", color=PALE)
    axes.plot([1, 1 + width], [1.35, 1.35], color=INK, lw=1.2)
    axes.text(1 + width + 0.08, 1.35, f"critical difference {width:.2f}", va="center", color=PALE)
    for j, (low, high) in enumerate(bars):
        y = -0.45 - 0.35 * j
        axes.plot([low - 0.03, high + 0.03], [y, y], color=PALE, lw=4, solid_capstyle="butt")
    for j, (name, rank) in enumerate(means.items()):
        left = j < rows
        y = bottom - 0.9 * (j if left else k - 1 - j)
        edge, align = (0.9, "right") if left else (k + 0.1, "left")
        axes.plot([rank, rank, edge], [0, y, y], color=_colour(str(name)), lw=1)
        label = f"{name}  {rank:.2f}" if left else f"{rank:.2f}  {name}"
        axes.text(edge + (-0.05 if left else 0.05), y, label, ha=align, va="center")
    _save(figure, path)


def groups(means: pd.Series, width: float) -> list[tuple[float, float]]:
    """Return the first and last mean rank of each largest set within `width`, of two or more."""
    values = [float(v) for v in means.sort_values()]
    found: list[tuple[float, float]] = []
    for low in values:
        high = max(v for v in values if v - low <= width)
        if high > low and (not found or high > found[-1][1]):
            found.append((low, high))
    return found


def rank_against_time(
    path: Path, means: pd.Series, seconds: pd.Series, title: str, note: str
) -> None:
    """Draw a dot for each contestant: better is higher up, faster is further left."""
    figure, axes = _figure(7.6, 4.6)
    for name, rank in means.items():
        colour = _colour(str(name))
        axes.scatter(seconds[name], rank, s=70, color=colour, zorder=3)
        axes.annotate(
            str(name), (seconds[name], rank), xytext=(7, 5), textcoords="offset points",
            weight="bold" if colour == OURS_INK else "normal",
        )  # fmt: skip
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter("{x:g}")
    axes.margins(x=0.18, y=0.15)
    axes.invert_yaxis()
    axes.set_xlabel("seconds of a fit (geometric mean over tables)")
    axes.set_ylabel("mean rank (1 is the best)")
    axes.set_title(title, loc="left", weight="bold")
    axes.grid(True, color="#d8dee4", zorder=0)
    axes.spines[["top", "right"]].set_visible(False)
    axes.text(1, 1.02, note, transform=axes.transAxes, ha="right", color=PALE, size=8)
    _save(figure, path)


def _colour(name: str) -> str:
    return OURS_INK if name.startswith(OURS) else PEER_INK


def _figure(width: float, height: float) -> tuple[Any, Any]:
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context(STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        return figure, figure.subplots()


def _save(figure: Any, path: Path) -> None:
    from matplotlib import rc_context

    with rc_context(STYLE):
        figure.savefig(path, format="svg", metadata={"Date": None})
