"""Columns of numbers: integers, floats, booleans, decimals, durations, and strings of numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from deltaprop.data.columns.description import CONSTANT, NORMAL, Description
from deltaprop.data.columns.quantiles import Quantiles
from deltaprop.data.columns.squashing import Squash, is_end

if TYPE_CHECKING:
    from typing import Self

    from jaxtyping import Float, Num

PLAIN = (float, int, bool)


@dataclass
class NumberColumn:
    """A column of numbers; booleans are 0 and 1.

    Attributes
    ----------
    name : str
    squash : Squash or Quantiles
        Its scale.
    low, high : ndarray of shape (0,) or (1,)
        What the column that marks missing values contains for known and for missing values; empty
        if no value was missing.
    n_missing : int or None
        How many were missing in ``fit``; None in files of earlier versions.
    """

    name: str
    squash: Squash | Quantiles
    low: Float[np.ndarray, " m"]
    high: Float[np.ndarray, " m"]
    n_missing: int | None = None

    kind: ClassVar[str] = "numeric"
    choices: ClassVar[tuple[str, ...]] = ()

    @classmethod
    def fitted(cls, name: str, column: Any) -> Self:
        return cls.of_values(name, cls.values_of(column))

    @classmethod
    def of_values(cls, name: str, numbers: Num[np.ndarray, " N"]) -> Self:
        return cls.of_table([name], numbers[None])[0]

    @classmethod
    def of_table(cls, names: Sequence[str], numbers: Num[np.ndarray, "k N"]) -> list[Self]:
        """Several columns, which are the rows of an array."""
        N, missing = numbers.shape[1], np.count_nonzero(np.isnan(numbers), axis=1)
        low, high = Squash.of_flags(missing, N).ends()
        scales = Squash.of_table(numbers).parts()
        own = [slice(j, j + min(n, 1)) for j, n in enumerate(missing.tolist())]
        return [
            cls(name, scale, low[flag], high[flag], n_missing=n)
            for name, scale, flag, n in zip(names, scales, own, missing.tolist(), strict=True)
        ]

    @staticmethod
    def values_of(column: Any) -> Num[np.ndarray, " N"]:
        from deltaprop.data.columns import values

        return values.numbers(column)

    def names(self) -> list[str]:
        return [self.name]

    def flags(self) -> list[str]:
        return [f"{self.name} missing"] * len(self.low)

    def read(self, column: Any) -> Num[np.ndarray, " N"]:
        return self.values_of(column)

    def read_cell(self, cell: Any) -> list[float] | None:
        """What `read` returns for a column of one value; None if that is no plain number."""
        if type(cell) not in PLAIN:
            return None
        try:
            return [float(cell)]
        except OverflowError:
            return None

    def write(
        self, values: Any, out: Float[np.ndarray, "n 1"], flags: Float[np.ndarray, "n m"]
    ) -> None:
        out[:], marks = Numbers([self]).encoded([values])
        if marks is not None:
            flags[:] = marks

    def describe(self) -> Description:
        become = "the median, marked by another column" if len(self.low) else "the median"
        note = NORMAL if isinstance(self.squash, Quantiles) else ""
        note = note if self.squash.scale.any() else CONSTANT
        return Description(self.n_missing, become, note=note)

    def is_consistent(self) -> bool:
        m = len(self.low)
        return self.squash.has_width(1) and m <= 1 and is_end(self.low, m) and is_end(self.high, m)


class DurationColumn(NumberColumn):
    """A column of durations, in seconds."""

    @staticmethod
    def values_of(column: Any) -> Num[np.ndarray, " N"]:
        from deltaprop.data.columns import values

        return values.seconds(column)

    def read_cell(self, cell: Any) -> None:
        return None


class Numbers:
    """Many columns of numbers, which are encoded at once."""

    def __init__(self, columns: Sequence[NumberColumn]) -> None:
        scales = [column.squash for column in columns]
        self.squash: Any = (Squash if not scales else type(scales[0])).joined(scales)  # type: ignore[arg-type]
        self.flagged = [i for i, column in enumerate(columns) if len(column.low)]
        self.low, self.high = (
            np.concatenate([np.empty(0, np.float32), *ends])[:, None]
            for ends in ((c.low for c in columns), (c.high for c in columns))
        )

    def encoded(
        self, values: Sequence[Num[np.ndarray, " n"]]
    ) -> tuple[Float[np.ndarray, "n k"], Float[np.ndarray, "n m"] | None]:
        """Encode slices of what the columns' `read` returned; None if there are no flags."""
        table = np.empty((len(values), len(values[0])))
        for row, column in zip(table, values, strict=True):
            row[:] = column
        flags = None
        if self.flagged:
            flags = np.where(np.isnan(table[self.flagged]), self.high, self.low).T
        return self.squash.apply(table).T, flags
