"""Dates as seconds since 1970, and their parts as ONNX operators.

The parts follow from the number of days by the calendar's cycles of 400, 100 and 4 years, counted
from 1 March of the year 0, so that a leap day is the last of its year (Hinnant, "chrono-Compatible
Low-Level Date Algorithms"). All numbers are integers far below 2⁵³, which float64 represents
exactly. In a time zone, the parts are those of its wall clock, seconds + Σ_k change_k [seconds >=
t_k], where t_k are the times at which its clock is changed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from deltaprop.data.columns.dates import part_of
from deltaprop.export.graph import Graph, Value

if TYPE_CHECKING:
    from jaxtyping import Float

YEARS = (1900, 2101)  # whose changes of clocks are known
DAY, HOUR = 86_400.0, 3_600.0
ERA_DAYS, MARCH_OF_YEAR_0 = 146_097.0, 719_468.0  # days of 400 years; days before 1970


def seconds(dates: Any) -> Float[np.ndarray, " N"]:
    """The seconds since 1970 of a pandas DatetimeIndex, in UTC; NaN for a missing date."""
    return part_of(dates, "total_seconds")


def date_parts(graph: Graph, utc: Value, parts: Sequence[str], zone: str | None) -> Value:
    """Some of the year, month, day, hour and seconds of dates, (N, k) float64."""
    add, subtract, multiply, floor_divide = _arithmetic(graph)
    s = utc if zone in (None, "UTC") else _wall_clock(graph, utc, zone)
    days = floor_divide(s, DAY)
    z = add(days, MARCH_OF_YEAR_0)
    era = floor_divide(z, ERA_DAYS)
    day_of_era = subtract(z, multiply(era, ERA_DAYS))
    leap = floor_divide(day_of_era, 1460.0)
    century = floor_divide(day_of_era, 36524.0)
    last = floor_divide(day_of_era, 146096.0)
    year_of_era = floor_divide(subtract(add(subtract(day_of_era, leap), century), last), 365.0)
    before = add(multiply(year_of_era, 365.0), floor_divide(year_of_era, 4.0))
    day_of_year = subtract(day_of_era, subtract(before, floor_divide(year_of_era, 100.0)))
    month = floor_divide(add(multiply(day_of_year, 5.0), 2.0), 153.0)  # 0 is March
    day = add(subtract(day_of_year, floor_divide(add(multiply(month, 153.0), 2.0), 5.0)), 1.0)
    late = floor_divide(month, 10.0)  # 1 in January and February
    found = {
        "year": add(add(year_of_era, multiply(era, 400.0)), late),
        "month": subtract(add(month, 3.0), multiply(late, 12.0)),
        "day": day,
        "hour": floor_divide(subtract(s, multiply(days, DAY)), HOUR),
        "total_seconds": utc,
    }
    return graph.concat(*(found[part] for part in parts))


def clock_changes(zone: str) -> tuple[Float[np.ndarray, " K"], Float[np.ndarray, " K"]]:
    """When the clock of a time zone is changed, in seconds since 1970, and by how many seconds.

    The first change is at -∞, from UTC. Changes before 1900 and after 2100 are left out.

    Examples
    --------
    >>> times, changes = clock_changes("Europe/Berlin")
    >>> np.cumsum(changes)[np.searchsorted(times, 1.7e9) - 1]  # in November 2023
    np.float64(3600.0)
    """
    import pandas as pd

    def offset(s: Any) -> Any:
        utc = pd.DatetimeIndex(s.astype("datetime64[s]")).tz_localize("UTC")
        return (utc.tz_convert(zone).tz_localize(None) - utc.tz_localize(None)).total_seconds()

    first, end = (int(np.datetime64(str(year), "s").astype(np.int64)) for year in YEARS)
    days = np.arange(first, end, int(DAY))
    offsets = np.asarray(offset(days))
    [at] = np.nonzero(np.diff(offsets))
    before, after = days[at], days[at + 1]
    while (after - before > 1).any():  # halve the interval in which each change lies
        middle = (before + after) // 2
        early = np.asarray(offset(middle)) == offsets[at]
        before, after = np.where(early, middle, before), np.where(early, after, middle)
    changes = np.concatenate([offsets[:1], np.diff(offsets)[at]])
    return np.concatenate([[-np.inf], after]), changes


def _wall_clock(graph: Graph, utc: Value, zone: str) -> Value:
    """The seconds of the wall clock since its 1970, (N, 1)."""
    times, changes = (graph.constant(v[None], np.float64) for v in clock_changes(zone))
    passed = graph.cast(graph.op("GreaterOrEqual", utc, times), "float64")
    axis = graph.constant([1], np.int64)
    offset = graph.op("ReduceSum", graph.op("Mul", passed, changes), axis, keepdims=1)
    return graph.op("Add", utc, offset)


def _arithmetic(graph: Graph) -> list[Callable[[Value, Value | float], Value]]:
    """+, -, · and ⌊ / ⌋ of float64 values and numbers."""

    def operation(kind: str) -> Callable[[Value, Value | float], Value]:
        def apply(x: Value, y: Value | float) -> Value:
            other = y if isinstance(y, str) else graph.constant(y, np.float64)
            return graph.op(kind, x, other)

        return apply

    divide = operation("Div")
    return [
        *map(operation, ("Add", "Sub", "Mul")),
        lambda x, y: graph.op("Floor", divide(x, y)),
    ]
