"""The results of a case as a record for files and as a printed table."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.cases import OURS, Case
from benchmarks.turns import Times

BUSY = 0.3  # processors that other programs may use; above this, the times are unreliable
SAME = 0.05  # relative difference of the values of contestants; rounding alone grows to 0.03


def record(case: Case, busy: int, times: dict[str, Times], others: float | None) -> dict[str, Any]:
    """Return the results of a case beside `busy` busy processes as values for JSON."""
    ours = times[OURS].median
    return {
        "name": case.name,
        "title": case.title,
        "unit": case.unit,
        "busy": busy,
        "processors_used_by_others": others,
        "contestants": {
            name: {
                "median": _scaled(t.median, case.scale),
                "over_ours": t.median / ours if t.median and ours else None,
                "first_seconds": t.first,
                "turns": [_scaled(s, case.scale) for s in t.seconds],
                "value": t.value,
                "error": t.error,
            }
            for name, t in times.items()
        },
    }


def show(result: dict[str, Any], console: Console) -> None:
    """Print the table of a case, and deltaprop's time as a multiple of the floor."""
    table = Table(title=result["title"] + beside(result["busy"]), title_justify="left")
    table.add_column("", no_wrap=True)
    for heading in (
        result["unit"],
        "fastest – slowest",
        "× ours",
        "first turn, s",
        "loss or score",
    ):
        table.add_column(heading, justify="right")
    values = result["contestants"]
    for name, it in values.items():
        if it["error"]:
            continue
        low, high = min(it["turns"]), max(it["turns"])
        table.add_row(
            name,
            _number(it["median"]),
            f"{_number(low)} – {_number(high)}",
            "" if it["over_ours"] is None else f"{it['over_ours']:.2f}",
            f"{it['first_seconds']:.2f}",
            _value(it["value"], values[OURS]["value"]),
        )
    console.print(table)
    for name, it in values.items():
        if it["error"]:
            console.print(f"{name}: {it['error']}", style="dim", markup=False)
    if warning := disturbed(result["processors_used_by_others"]):
        console.print(warning, style="red")
    ours, floor = values[OURS]["median"], values.get("floor", {}).get("median")
    if ours and floor:
        console.print(
            f"ours: {_number(ours)} {result['unit']}, {ours / floor:.2f} × the floor", style="bold"
        )


def beside(busy: int) -> str:
    """Return what a title says about the busy processes."""
    return f", beside {busy} busy process{'es' if busy > 1 else ''}" if busy else ""


def disturbed(others: float | None) -> str | None:
    """Return a warning if other programs, without our busy processes, made times unreliable."""
    if others is None or others <= BUSY:
        return None
    return f"Other programs used {others:.1f} of these processors; run it again."


def _scaled(seconds: float | None, scale: float) -> float | None:
    return None if seconds is None else seconds * scale


def _number(x: float) -> str:
    return f"{x:,.0f}" if x >= 100 else f"{x:.3g}"


def _value(value: float | None, ours: float | None) -> str:
    """Format the value of a contestant, marked if it shows that the work was not the same."""
    if value is None:
        return ""
    differs = ours is not None and abs(value - ours) > SAME * abs(ours)
    return f"{value:.4g}{' (differs)' if differs else ''}"
