"""Columns of categories: one column for each category, and one for all rare ones."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from deltaprop.data.columns.description import CONSTANT, Description
from deltaprop.data.columns.squashing import Squash, is_end
from deltaprop.data.columns.words import label, without_missing_words

if TYPE_CHECKING:
    from jaxtyping import Float, Int

FEW = 40  # up to here, even a category of a single row has a column of its own
PLAIN = (str, float, int, bool, type(None))
MOST = 1000  # columns for categories; those that are less frequent are rare


@dataclass
class CategoryColumn:
    """A column of categories, which are compared as strings: 1 and "1" are the same.

    Attributes
    ----------
    name : str
    labels : list of str
        The categories that have a column of their own, sorted.
    missing_words : bool
        Whether strings such as "NA" and "?" are missing values. They are categories if the column
        had the dtype category.
    rare, missing : bool
        Whether there is a column for rare categories, and one for missing values. A category that
        was not seen counts as rare. Without that column, it is none of the known ones.
    low, high : ndarray of shape (k,)
        The two values in each encoded column, the second one in the rows of its category. There is
        one encoded column for each of these columns, or a single one if they are two.
    n_missing, n_rare : int or None
        How many values were missing in ``fit``, and how many distinct ones were rare; None in files
        of earlier versions.
    """

    name: str
    labels: list[str]
    missing_words: bool
    rare: bool
    missing: bool
    low: Float[np.ndarray, " k"]
    high: Float[np.ndarray, " k"]
    n_missing: int | None = None
    n_rare: int | None = None

    kind: ClassVar[str] = "category"
    DERIVED: ClassVar = ("slots", "table")

    @classmethod
    def fitted(cls, name: str, column: Any, missing_words: bool = False) -> CategoryColumn:
        from deltaprop.data.columns import values

        return cls.of_values(name, *values.distinct(column), missing_words)

    @classmethod
    def of_values(
        cls, name: str, labels: list[str | None], codes: Int[np.ndarray, " N"], missing_words: bool
    ) -> CategoryColumn:
        if missing_words:
            labels = without_missing_words(labels)
        counts: Counter[str | None] = Counter()
        numbers = np.bincount(np.asarray(codes, np.int64) + 1, minlength=len(labels) + 1)
        for word, number in zip([None, *labels], numbers.tolist(), strict=True):
            counts[word] += number
        missing = counts[None]
        # A category of the dtype may not occur.
        known = Counter({word: n for word, n in counts.items() if word is not None and n})
        own = _frequent(known)
        rare = known.total() - sum(known[word] for word in own)
        ones = [known[word] for word in own] + [n for n in (rare, missing) if n]
        low, high = Squash.of_flags(
            np.array(ones[1:] if len(ones) == 2 else ones), len(codes)
        ).ends()
        return cls(
            name, own, missing_words, bool(rare), bool(missing), low, high,
            n_missing=missing, n_rare=len(known) - len(own),
        )  # fmt: skip

    @property
    def choices(self) -> tuple[str, ...]:
        return tuple(self.labels)

    def names(self) -> list[str]:
        words = [*self.labels, *["rare"] * self.rare, *["nan"] * self.missing]
        return [f"{self.name}_{word}" for word in (words[1:] if len(words) == 2 else words)]

    def flags(self) -> list[str]:
        return []

    def read(self, column: Any) -> Int[np.ndarray, " N"]:
        """The slot of each row, which is a row of the table."""
        from deltaprop.data.columns import values

        labels, codes = values.distinct(column)
        found: np.ndarray = np.array(self._slots_of([*labels, None]))[codes]
        return found

    def read_cell(self, cell: Any) -> list[int] | None:
        """What `read` returns for a column of one value; None if that is no word or number."""
        return self._slots_of([label(cell)]) if type(cell) in PLAIN else None

    def _slots_of(self, labels: list[str | None]) -> list[int]:
        if self.missing_words:
            labels = without_missing_words(labels)
        slots, unknown = self.slots, self._unknown
        return [slots.get(word, unknown) for word in labels]

    def write(
        self,
        values: Int[np.ndarray, " n"],
        out: Float[np.ndarray, "n k"],
        flags: Float[np.ndarray, "n 0"],
    ) -> None:
        out[:] = self.table[values]

    def describe(self) -> Description:
        unknown = "none of the known values"
        if self.rare:
            unknown = "a rare value" + (f" (one column for {self.n_rare})" if self.n_rare else "")
        missing = "a value of its own" if self.missing else unknown
        note = CONSTANT if self._n_slots == 1 else ""
        return Description(self.n_missing, missing, unknown, note)

    def is_consistent(self) -> bool:
        k = 1 if self._n_slots == 2 else self._n_slots
        return is_end(self.low, k) and is_end(self.high, k)

    # ------------------------------------------------------------ derived from the attributes

    @cached_property
    def slots(self) -> dict[str | None, int]:
        """The slot of each category, and of missing values."""
        slots: dict[str | None, int] = {word: i for i, word in enumerate(self.labels)}
        slots[None] = self._n_slots - 1 if self.missing else self._unknown
        return slots

    @cached_property
    def table(self) -> Float[np.ndarray, "slots k"]:
        """The encoded row of each slot; the last one is that of none of the known categories."""
        table = np.tile(self.low, (self._n_slots + 1, 1))
        if self._n_slots == 2:
            table[1] = self.high
        else:
            np.fill_diagonal(table, self.high)
        return table

    @property
    def _n_slots(self) -> int:
        return len(self.labels) + self.rare + self.missing

    @property
    def _unknown(self) -> int:
        """The slot of categories that were not seen."""
        return len(self.labels) if self.rare else self._n_slots


def _frequent(counts: Counter[str]) -> list[str]:
    """The categories that get a column of their own."""
    if len(counts) <= FEW:
        return sorted(counts)
    ranked = sorted(counts, key=lambda word: (-counts[word], word))
    return sorted(word for word in ranked[:MOST] if counts[word] > 1)
