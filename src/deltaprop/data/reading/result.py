"""What reading a table results in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple


class Reading(NamedTuple):
    """A table, and how it was read.

    Attributes
    ----------
    frame : pandas.DataFrame
    notes : sequence of str
        Sentences about what was detected; empty if nothing is unusual.
    problems : sequence of str
        Sentences about cells that do not parse.
    """

    frame: Any
    notes: Sequence[str] = ()
    problems: Sequence[str] = ()
