"""What every kind of column implements."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from deltaprop.data.columns.description import Description

if TYPE_CHECKING:
    from jaxtyping import Float


class EncodedColumn(Protocol):
    """What was learned about a column, and how its values become numbers.

    Encoding takes two steps, so that rows are written to the result in blocks that fit the cache
    while whole columns are read at once. A column may also have a method ``read_cell(cell)``, which
    returns what `read` returns for a single value, given as a Python object, or None if it cannot.
    Model files contain the attributes of these objects.
    """

    @property
    def name(self) -> str:
        """The name of the column in the table."""

    @property
    def kind(self) -> str:
        """One of "numeric", "category", "date", "text" and "dropped"."""

    @property
    def choices(self) -> tuple[str, ...]:
        """The categories that were seen; empty for other kinds."""

    def names(self) -> list[str]:
        """The names of the encoded columns."""

    def flags(self) -> list[str]:
        """The names of the columns that mark missing values."""

    def read(self, column: Any) -> Any:
        """The values of a pandas Series as an array with one entry or row per value."""

    def write(
        self, values: Any, out: Float[np.ndarray, "n k"], flags: Float[np.ndarray, "n m"]
    ) -> None:
        """Encode a slice of what `read` returned, into one column per name and per flag."""

    def describe(self) -> Description:
        """What becomes of its values, in words."""

    def is_consistent(self) -> bool:
        """Whether the sizes of the attributes fit together, after they were read from a file."""
