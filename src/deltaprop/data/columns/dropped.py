"""Columns whose values are all missing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from deltaprop.data.columns.description import Description


@dataclass
class DroppedColumn:
    """A column whose values are all missing, which is not encoded."""

    name: str
    n_missing: int | None = None

    kind: ClassVar[str] = "dropped"
    choices: ClassVar[tuple[str, ...]] = ()

    def names(self) -> list[str]:
        return []

    def flags(self) -> list[str]:
        return []

    def read(self, column: Any) -> Any:
        return np.empty((len(column), 0))

    def write(self, values: Any, out: Any, flags: Any) -> None:
        """There is nothing to encode."""

    def describe(self) -> Description:
        return Description(self.n_missing, note="dropped: all values are missing")

    def is_consistent(self) -> bool:
        return True
