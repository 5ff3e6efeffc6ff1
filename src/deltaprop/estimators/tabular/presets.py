"""Presets: the values of the parameters that are "auto"."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

MANY_ROWS = 100_000
FEWER = ((60_000, 1), (25_000, 4))  # from so many rows on, at most so many folds
NOT_OF_NETWORKS = ("cv", "repeats", "n_bins")


@dataclass(frozen=True)
class Preset:
    """The values that a preset gives to the parameters of the same names.

    Attributes
    ----------
    cv : int
        Folds of the cross-validation; 1 for a single network with validation rows.
    repeats : int
        Random divisions into folds.
    n_bins : int
        Largest number of bins of a number.
    hidden_layer_sizes : int or sequence of int
    dropout : float or sequence of float
    learning_rate_init, weight_decay, input_scale : float
    n_iter_no_change : float
    """

    cv: int
    repeats: int
    n_bins: int
    hidden_layer_sizes: Any
    dropout: Any
    learning_rate_init: float
    weight_decay: float
    input_scale: float
    n_iter_no_change: float

    def for_rows(self, n_rows: int) -> Preset:
        """The values for a table of this many rows: fewer networks if they are many."""
        for rows, cv in FEWER:
            if n_rows >= rows and self.cv > cv:
                return replace(self, cv=cv, repeats=1)
        return self

    def with_values(self, **given: Any) -> Preset:
        """The same with other values."""
        return replace(self, **given)

    def parameters(self) -> dict[str, Any]:
        """The parameters of each network."""
        return {name: v for name, v in vars(self).items() if name not in NOT_OF_NETWORKS}


PRESETS = {
    "fast": Preset(1, 1, 12, (128, 64), 0.1, 0.004, 0.02, 20.0, 12),
    "default": Preset(8, 1, 12, (128, 128), 0.15, 0.004, 0.02, 20.0, 12),
    "best": Preset(8, 3, 24, (256, 256), 0.15, 0.003, 0.02, 20.0, 20),
}


def batch_size_for(n_rows: int) -> int:
    """About twenty steps per epoch for small tables, and larger batches for large ones."""
    return int(np.clip(n_rows // 20, 16, 256 if n_rows < 2 * MANY_ROWS else 1024))
