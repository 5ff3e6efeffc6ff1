"""What was done to a column, in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

NORMAL = "quantiles are those of a normal distribution"
CONSTANT = "constant: encoded as 0, so it has no effect"


@dataclass(frozen=True)
class Description:
    """What becomes of the values of a column.

    Attributes
    ----------
    missing : int or None
        The number of missing values in the rows of ``fit``; None in files of earlier versions.
    missing_become, unknown_become : str
        What missing values become, and values that ``fit`` has not seen. Empty if it has seen no
        value, or if any value is known.
    note : str
        What else to know, such as why a column is dropped; usually empty.
    """

    missing: int | None
    missing_become: str = ""
    unknown_become: str = ""
    note: str = ""


def shortened(names: Sequence[str], most: int = 3) -> str:
    """At most this many names, and how many more there are.

    Examples
    --------
    >>> shortened(["a", "b", "c", "d", "e"])
    'a, b, c and 2 more'
    """
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"
