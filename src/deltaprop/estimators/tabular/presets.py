"""Presets: the values of the parameters that are "auto"."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

NOT_OF_NETWORKS = ("cv", "repeats", "n_bins")
SMALLEST_BATCH, LARGEST_BATCH = 16, 256
# From so many rows on there are more bins; fewer networks; a single network that is trained for a
# planned number of epochs, in which it sees about ROWS_IN_ALL rows; and larger batches, fewer bins.
ENOUGH_FOR_BINS, SEVERAL, MANY, VERY_MANY = 4_000, 25_000, 60_000, 200_000
ROWS_IN_ALL, FEWEST_EPOCHS = 800_000, 4
LARGE_BATCH, FEW_BINS, MORE_BINS = 1024, 6, 24
MOST_BINS, FEWEST_BINS = 4_000, 4  # of all columns together, and of each one: fewer are useless


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
    learning_rate_init, weight_decay, input_scale, ema_decay : float
    n_iter_no_change : float
    batch_size : int or None
        None for a twentieth of the rows, between 16 and 256.
    learning_rate : str or Schedule
    max_iter : int
    """

    cv: int
    repeats: int
    n_bins: int
    hidden_layer_sizes: Any
    dropout: Any
    learning_rate_init: float
    weight_decay: float
    input_scale: float
    ema_decay: float
    n_iter_no_change: float
    batch_size: int | None = None
    learning_rate: Any = "constant"
    max_iter: int = 200

    def for_rows(self, n_rows: int) -> Preset:
        """The values for a table of this many rows: if they are many, fewer networks and epochs."""
        if n_rows < ENOUGH_FOR_BINS:
            return self
        if n_rows < SEVERAL:
            return replace(self, n_bins=MORE_BINS)
        if n_rows < MANY:
            return replace(self, n_bins=MORE_BINS, cv=min(self.cv, 4), repeats=1)
        few_epochs = replace(
            self, cv=1, repeats=1, learning_rate="one_cycle", n_iter_no_change=np.inf,
            max_iter=max(FEWEST_EPOCHS, round(ROWS_IN_ALL / n_rows)),
        )  # fmt: skip
        if n_rows < VERY_MANY:
            return few_epochs
        n_bins = min(self.n_bins, FEW_BINS)
        return replace(few_epochs, batch_size=LARGE_BATCH, learning_rate_init=0.008, n_bins=n_bins)

    def for_columns(self, n_columns: int) -> Preset:
        """The values for a table of this many columns: if they are many, fewer bins or none.

        Examples
        --------
        >>> preset = PRESETS["default"]
        >>> [preset.for_columns(n).n_bins for n in (10, 500, 2000)]
        [12, 8, 0]
        """
        n_bins = min(self.n_bins, MOST_BINS // max(1, n_columns))
        return replace(self, n_bins=n_bins if n_bins >= FEWEST_BINS else 0)

    def with_values(self, **given: Any) -> Preset:
        """The same with other values."""
        return replace(self, **given)

    def parameters(self, n_rows: int) -> dict[str, Any]:
        """The parameters of each network."""
        found = {name: v for name, v in vars(self).items() if name not in NOT_OF_NETWORKS}
        batch = batch_size_for(n_rows) if self.batch_size is None else int(self.batch_size)
        return found | {"batch_size": min(batch, n_rows)}


def batch_size_for(n_rows: int) -> int:
    """About twenty steps per epoch, for small tables."""
    return int(np.clip(n_rows // 20, SMALLEST_BATCH, LARGEST_BATCH))


PRESETS = {
    "fast": Preset(1, 1, 12, (128, 64), 0.1, 0.004, 0.02, 20.0, 0.998, 12),
    "default": Preset(8, 1, 12, (128, 128), 0.15, 0.004, 0.02, 20.0, 0.998, 12),
    "best": Preset(8, 3, 24, (256, 256), 0.15, 0.003, 0.02, 20.0, 0.998, 20),
}
