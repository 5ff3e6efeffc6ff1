"""The exponential moving average of θ, which takes the place of θ wherever a model is used.

Training changes θ. After the epoch that ends with step t, the average is

    A ← ρ A + (1 - ρ) θ    with    ρ = Π_s min(d, (1 + s) / (10 + s))

over the steps s of the epoch, where d is the decay; the first A is θ after the first epoch. The
second number in the minimum shortens the average at first, so that it forgets the start.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

from deltaprop.optim.state import TrainingState

if TYPE_CHECKING:
    from jaxtyping import Float


def retained(decay: float, first: int, end: int) -> float:
    """ρ of an epoch whose steps are `first` + 1 to `end`.

    Examples
    --------
    >>> from deltaprop.training.averaging import retained
    >>> round(retained(0.99, 0, 2), 4), round(retained(0.99, 5000, 5020), 4)
    (0.0455, 0.8179)
    """
    s = np.arange(first + 1, end + 1)
    return float(np.minimum(decay, (1 + s) / (10 + s)).prod())


class Average:
    """The average of θ of one training run. With a decay of 0 there is none, and θ itself is used.

    Parameters
    ----------
    theta : ndarray (P,)
        θ of the network, which training changes in place.
    state : TrainingState
        Holds the average between epochs and between calls.
    decay : float
        d, in [0, 1).
    """

    def __init__(self, theta: Float[np.ndarray, " P"], state: TrainingState, decay: float) -> None:
        self._theta, self._state, self._decay = theta, state, decay

    def begin(self) -> None:
        """Go on from the last step of an earlier call that returned its average as θ.

        If θ has been changed since then, the average starts anew.
        """
        state, latest = self._state, self._state.latest
        state.latest = None
        if not self._decay:
            state.average = None
        elif latest is not None and np.array_equal(self._theta, state.average):  # type: ignore[arg-type]
            self._theta[...] = latest
        elif latest is not None:
            state.average = None

    def update(self, first: int) -> None:
        """Include θ, after an epoch that began when `first` steps had been run."""
        state, theta = self._state, self._theta
        if not self._decay:
            return
        if state.average is None:
            state.average = theta.copy()
            return
        kept = retained(self._decay, first, state.step)
        state.average = (kept * state.average + (1 - kept) * theta).astype(theta.dtype)

    @contextmanager
    def in_place_of_theta(self) -> Iterator[None]:
        """Context in which θ of the network is the average."""
        if self._state.average is None:
            yield
            return
        latest = self._theta.copy()
        self._theta[...] = self._state.average
        try:
            yield
        finally:
            self._theta[...] = latest

    def finish(self) -> None:
        """Make the average θ of the network, and keep θ of the last step for a later call."""
        if self._state.average is not None:
            self._state.latest = self._theta.copy()
            self._theta[...] = self._state.average
