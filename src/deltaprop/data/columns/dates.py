"""Columns of dates: year, month, day, hour, and the seconds since 1970."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from deltaprop.data.columns.description import CONSTANT, Description
from deltaprop.data.columns.squashing import Squash, is_end

if TYPE_CHECKING:
    import pandas as pd
    from jaxtyping import Float

PARTS = ("year", "month", "day", "hour")


@dataclass
class DateColumn:
    """A column of dates.

    Attributes
    ----------
    name : str
    pattern : str or None
        The format of dates that are strings.
    zone : str or None
        The time zone in which the parts of a date are taken.
    parts : list of str
        The parts; dates without a time have no hour.
    squash : Squash
        Their scale.
    low, high : ndarray of shape (0,) or (k,)
        What the columns that mark missing values contain for known and for missing values.
    n_missing : int or None
        How many were missing in ``fit``; None in files of earlier versions.
    """

    name: str
    pattern: str | None
    zone: str | None
    parts: list[str]
    squash: Squash
    low: Float[np.ndarray, " m"]
    high: Float[np.ndarray, " m"]
    n_missing: int | None = None

    kind: ClassVar[str] = "date"
    choices: ClassVar[tuple[str, ...]] = ()

    @classmethod
    def fitted(cls, name: str, column: Any, pattern: str | None = None) -> DateColumn:
        from deltaprop.data.columns import values

        zone = _zone(column, pattern)
        dates = values.dates(column, pattern, zone)
        known = dates.dropna()
        wall = known.tz_localize(None)  # in some time zones, midnight does not exist on some days
        parts = [*PARTS[: 3 if (wall == wall.normalize()).all() else 4], "total_seconds"]
        missing = len(dates) - len(known)
        flags = Squash.of_flags(np.full(len(parts) * bool(missing), missing), len(dates))
        scale = Squash.of_table(np.stack([part_of(dates, part) for part in parts]))
        return cls(name, pattern, zone, parts, scale, *flags.ends(), n_missing=missing)

    def names(self) -> list[str]:
        return [f"{self.name}_{part}" for part in self.parts]

    def flags(self) -> list[str]:
        return [f"{name} missing" for name in self.names()] if len(self.low) else []

    def read(self, column: Any) -> Float[np.ndarray, "N k"]:
        from deltaprop.data.columns import values

        dates = values.dates(column, self.pattern, self.zone)
        return np.stack([part_of(dates, part) for part in self.parts], axis=1)

    def write(
        self,
        values: Float[np.ndarray, "n k"],
        out: Float[np.ndarray, "n k"],
        flags: Float[np.ndarray, "n m"],
    ) -> None:
        if len(self.low):
            flags[:] = np.where(np.isfinite(values[:, :1]), self.low, self.high)
        out[:] = self.squash.apply(values.T.copy()).T

    def describe(self) -> Description:
        become = "the medians, marked by other columns" if len(self.low) else "the medians"
        return Description(self.n_missing, become, note=self._note())

    def _note(self) -> str:
        fixed = [p for p, scale in zip(self.parts, self.squash.scale, strict=True) if not scale]
        if len(fixed) == len(self.parts):
            return CONSTANT
        return f"constant, without effect: {', '.join(fixed)}" if fixed else ""

    def is_consistent(self) -> bool:
        k, m = len(self.parts), len(self.low)
        known = {*PARTS, "total_seconds"}
        return (
            known.issuperset(self.parts) and self.squash.has_width(k)
            and m in (0, k) and is_end(self.low, m) and is_end(self.high, m)
        )  # fmt: skip


def _zone(column: Any, pattern: str | None) -> str | None:
    """The time zone of a column of dates, or of strings of this format; UTC if it has no name."""
    import pandas as pd

    from deltaprop.data.columns import values

    zone = values.with_zones(column, pattern).tz
    if zone is None:
        return None
    try:
        pd.DatetimeIndex([], tz="UTC").tz_convert(str(zone))
    except (KeyError, ValueError):  # no such name, as for the zones of dateutil
        return "UTC"
    return str(zone)


def part_of(dates: pd.DatetimeIndex, part: str) -> Float[np.ndarray, " N"]:
    """A part of dates; NaN for a missing date."""
    if part != "total_seconds":
        found: np.ndarray = getattr(dates, part).to_numpy(dtype=np.float64)
        return found
    # Since 1970, in UTC. Subtracting 1970 from dates before 1678 overflows.
    per_second = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[dates.unit]
    return np.where(dates.isna(), np.nan, dates.asi8 / per_second)
