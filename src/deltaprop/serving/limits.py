"""How much a server accepts."""

from __future__ import annotations

from dataclasses import dataclass

MIB = 2**20


@dataclass(frozen=True)
class Limits:
    """How much a server accepts.

    Attributes
    ----------
    body : int
        Bytes of a request's body.
    rows : int
        Rows of a request.
    batch : int
        Rows of several requests that are predicted together.
    waiting : int
        Rows that may wait for their predictions.
    seconds : float
        In which the body of a request must arrive.
    """

    body: int = 16 * MIB
    rows: int = 10_000
    batch: int = 4096
    waiting: int = 100_000
    seconds: float = 30.0
