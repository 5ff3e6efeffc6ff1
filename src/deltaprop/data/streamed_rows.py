"""The rows of a stream as rows to train on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from deltaprop.data.rows import PROBE_ROWS, Rows, sketch
from deltaprop.data.streams.stream import Stream
from deltaprop.errors import InputError
from deltaprop.model.inputs import Expects, check_y
from deltaprop.optim.state import TrainingState

if TYPE_CHECKING:
    from jaxtyping import Int

INSTEAD = {
    "y": "name its column: stream(…, target=…)",
    "target": "name it there: stream(…, target=…)",
    "sample_weight": "name their column: stream(…, weight=…)",
    "class_weight": "name a column of weights: stream(…, weight=…)",
}


@dataclass(frozen=True, eq=False)
class StreamedRows:
    """A :class:`deltaprop.tables.Stream` that is trained on.

    A seed represents the row order, because an array of all row numbers may not fit in memory.
    """

    stream: Stream

    def __len__(self) -> int:
        return len(self.stream)

    @property
    def n_features(self) -> int:
        return self.stream.shape[1]

    @property
    def dtype(self) -> np.dtype:
        return self.stream.dtype

    @property
    def total_weight(self) -> float:
        return self.stream.total_weight()

    def split(
        self, network: Expects, fraction: float, rng: np.random.RandomState
    ) -> tuple[StreamedRows, Rows]:
        fraction = self.stream.share_in_memory(fraction)
        kept, held = self.stream.set_aside(fraction, int(rng.randint(2**31 - 1)))
        X, y, w = held.in_memory(network.dtype)
        return StreamedRows(kept), Rows(X, check_y(network, y), w)

    def next_order(self, state: TrainingState, rng: np.random.RandomState) -> Int[np.ndarray, " 1"]:
        state.order_seed = int(rng.randint(2**31 - 1))
        return np.array([state.order_seed])

    def present_order(self, state: TrainingState) -> Int[np.ndarray, " 1"] | None:
        return None if state.order_seed is None else np.array([state.order_seed])

    def require_in_memory(self, what: str) -> None:
        raise InputError(f"{what}. A stream does not hold its rows in memory.")

    def require_distinct(self, why: str) -> None:
        """A stream reads every row once in an epoch."""

    def fingerprint(self) -> dict[str, Any]:
        return {
            "number of rows": len(self),
            "data": [sketch(part[:PROBE_ROWS]) for part in self.stream.head()],
            "weighted": False,
            "memory": str(self.stream.memory),
        }


def refuse_with_stream(**arguments: Any) -> None:
    """Raise ValueError if an argument is given that cannot be combined with a stream."""
    for name, value in arguments.items():
        if value is not None:
            hint = INSTEAD.get(name, "it needs rows in memory")
            raise InputError(f"{name} cannot be given with a stream: {hint}.")
