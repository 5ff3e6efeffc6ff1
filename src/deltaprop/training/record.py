"""``dp.Record``: at which steps the signals of a network are recorded."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from deltaprop.errors import InputError, InputTypeError
from deltaprop.functions.checks import is_int

NEVER = 2**62


@dataclass(frozen=True)
class Record:
    """What ``dp.fit(..., record=...)`` records; an int stands for ``Record(every=int)``.

    Parameters
    ----------
    every : int, default=100
        Record before the first step and after every `every` steps (iterations of L-BFGS).
    steps : sequence of int, optional
        The steps after which to record, instead of `every`; 0 is before the first step.
    rows : sequence of int, optional
        Indices of the rows of X for which traces are computed. The default is at most 256 evenly
        spaced training rows.
    arrays : bool, default=False
        Whether to keep the θ of every record, which ``.trace`` needs. Otherwise the first 64 MB are
        kept, and later records have only their loss and summary.

    Raises
    ------
    ValueError, TypeError
        If `every` is not an int >= 1, or `steps` or `rows` are not ints >= 0.

    Examples
    --------
    >>> import deltaprop as dp
    >>> dp.Record(steps=[0, 10, 100])
    Record(every=100, steps=(0, 10, 100), rows=None, arrays=False)
    """

    every: int = 100
    steps: Sequence[int] | None = None
    rows: Sequence[int] | None = None
    arrays: bool = False

    def __post_init__(self) -> None:
        if not is_int(self.every, 1):
            raise InputError(f"every of a Record must be an int >= 1, got {self.every!r}.")
        if not isinstance(self.arrays, bool):
            raise InputTypeError(f"arrays of a Record must be True or False, got {self.arrays!r}.")
        if self.steps is not None:
            object.__setattr__(
                self, "steps", tuple(sorted(_non_negative_ints("steps", self.steps)))
            )
        if self.rows is not None:
            object.__setattr__(self, "rows", tuple(_non_negative_ints("rows", self.rows)))

    def after(self, step: int) -> int:
        """The first step after `step` that is to be recorded."""
        if self.steps is None:
            return step + int(self.every) - step % int(self.every)
        next_index = bisect_right(self.steps, step)
        return self.steps[next_index] if next_index < len(self.steps) else NEVER


def check_record(record: Any) -> Record | None:
    """The :class:`Record` that the argument `record` stands for."""
    if record is None or isinstance(record, Record):
        return record
    if is_int(record):
        return Record(every=int(record))
    raise InputTypeError(
        "record must be a number of steps, a deltaprop.Record such as dp.Record(every=100), or "
        f"None; got {record!r}."
    )


def _non_negative_ints(name: str, values: Any) -> list[int]:
    values = list(values)
    if not values or not all(is_int(v, 0) for v in values):
        raise InputError(f"{name} of a Record must be one or more ints >= 0, got {values!r}.")
    return [int(v) for v in values]
