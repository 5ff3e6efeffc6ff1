"""Checks of a training state that was read from a file.

Compiled code does not check the sizes and indices in a state, so damaged or malicious files must be
rejected first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from deltaprop.optim.state import TrainingState
from deltaprop.storage.codec import ModelFileError

if TYPE_CHECKING:
    from jaxtyping import Float


def require_sound(state: TrainingState, theta: Float[np.ndarray, " P"]) -> None:
    """Raise ModelFileError unless training of a network with parameters θ can continue from there.

    Examples
    --------
    >>> import numpy as np
    >>> require_sound(TrainingState(solver_state=(np.zeros(3),)), theta=np.zeros(3))
    >>> require_sound(TrainingState(solver_state=(np.zeros(4),)), theta=np.zeros(3))
    Traceback (most recent call last):
    deltaprop.storage.codec.ModelFileError: its optimizer state does not fit the network
    """
    if not _fits(state.solver_state, theta):
        raise ModelFileError("its optimizer state does not fit the network")
    for part in (state.average, state.latest):
        if part is not None and not _is_like(part, theta):
            raise ModelFileError("its average of the parameters does not fit the network")
    if state.order is not None and not _is_permutation(state.order):
        raise ModelFileError("its row order is not a permutation")
    for name, count in (
        ("number of steps", state.step),
        ("number of epochs", state.epoch),
        ("number of samples", state.samples),
    ):
        if not _is_int64_count(count):
            raise ModelFileError(f"its {name} is not a non-negative integer")
    for name, seed in (("row order", state.order_seed), ("dropout", state.dropout_seed)):
        if seed is not None and not _is_int64_count(seed):
            raise ModelFileError(f"its seed of the {name} is not a non-negative integer")
    noise = state.noise_seed
    if noise is not None and not (type(noise) is int and 0 <= noise < 2**128):
        raise ModelFileError("its seed of the noise is not an integer in 0 to 2**128 - 1")
    if type(state.mu_squared) is not float or not state.mu_squared >= 0:
        raise ModelFileError("its privacy accounting is not a non-negative number")
    if not isinstance(state.rng, (np.random.RandomState, type(None))):
        raise ModelFileError("it contains an invalid random state")


def _fits(solver_state: Any, theta: Float[np.ndarray, " P"]) -> bool:
    """Whether each part is a vector like θ, or a square matrix, whose size K-FAC checks later."""
    return isinstance(solver_state, tuple) and all(
        isinstance(part, np.ndarray)
        and part.dtype == theta.dtype
        and (part.shape == theta.shape or (part.ndim == 2 and part.shape[0] == part.shape[1]))
        for part in solver_state
    )


def _is_like(part: Any, theta: Float[np.ndarray, " P"]) -> bool:
    return isinstance(part, np.ndarray) and part.dtype == theta.dtype and part.shape == theta.shape


def _is_permutation(order: Any) -> bool:
    return (
        isinstance(order, np.ndarray)
        and order.dtype == np.int64
        and np.array_equal(np.sort(order, axis=None), np.arange(len(order)))
    )


def _is_int64_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 2**63
