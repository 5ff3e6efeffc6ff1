"""What a step draws at random, computed with NumPy: dropout masks and K-FAC's signs.

Both are functions of the training state, so that all engines draw the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from deltaprop.derivation import fisher
from deltaprop.functions.masks import dropout_mask, signs_of_rows
from deltaprop.model import Model
from deltaprop.optim.state import TrainingState

if TYPE_CHECKING:
    from deltaprop.derivation.equations import Masks, Weights
    from deltaprop.functions.arrays import Array


def dropout_masks(model: Model, state: TrainingState, N: int, factor: float) -> Masks | None:
    """The masks of the next step for a batch of N rows; None if no layer has dropout.

    The probability of each layer is multiplied by `factor`.
    """
    if state.dropout_seed is None:
        return None
    seed, step, dtype = state.dropout_seed, state.step, model.dtype
    return [
        dropout_mask(seed, step, l, N, layer.units, layer.dropout * factor, dtype)
        if layer.dropout
        else None
        for l, layer in enumerate(model.layers)
    ]


def fisher_rows(
    model: Model,
    state: TrainingState,
    X: Sequence[Array],
    a: Sequence[Array],
    shares: Weights,
    masks: Masks | None,
) -> list[Any]:
    """R with RᵀR = A_0, G_0, A_1, … of the next step's batch: `fisher.weighted_rows`."""
    positions = np.arange(len(a[0]), dtype=np.uint32)
    signs = signs_of_rows(
        state.dropout_seed, state.step, model.n_layers, positions, model.n_outputs, model.dtype, np
    )
    return fisher.weighted_rows(X, a, model.W, model.f, model.loss_function, signs, shares, masks)
