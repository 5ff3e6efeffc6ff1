"""The state of a training run, from which a later call continues it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from jaxtyping import Float, Int


@dataclass
class TrainingState:
    """Optimizer state, counters and random states between two epochs.

    Attributes
    ----------
    solver_state : tuple of ndarrays
        The state of the solver's gradient transformations, such as Adam's moments.
    step, epoch, samples : int
        The numbers of optimization steps and epochs that were run and of samples that they used.
    scale : float
        The factor by which plateaus have reduced the learning rate.
    order : ndarray of int (N,) or None
        The row order of the last epoch; the next one shuffles it.
    order_seed : int or None
        The seed of the row order, if the rows are not in memory.
    rng : RandomState or None
        Draws the row orders.
    dropout_seed : int or None
        The seed of the dropout masks and of K-FAC's random signs.
    noise_seed : int or None
        The seed of the noise of private training. Whoever knows it can remove the noise.
    mu_squared : float
        The privacy loss so far, μ² of Gaussian differential privacy; infinite if part of the
        training was not private.
    average : ndarray (P,) or None
        The exponential moving average of θ, if there is one.
    latest : ndarray (P,) or None
        θ of the last step, if the network was given the average at the end.
    """

    solver_state: tuple[Any, ...] = ()
    step: int = 0
    epoch: int = 0
    samples: int = 0
    scale: float = 1.0
    order: Int[np.ndarray, " N"] | None = None
    order_seed: int | None = None
    rng: np.random.RandomState | None = None
    dropout_seed: int | None = None
    noise_seed: int | None = None
    mu_squared: float = 0.0
    average: Float[np.ndarray, " P"] | None = None
    latest: Float[np.ndarray, " P"] | None = None


@dataclass
class EpochInProgress:
    """The position inside an unfinished epoch, and the best θ so far.

    Attributes
    ----------
    best_theta : ndarray (P,) or None
        θ of the best epoch so far, if validation data chooses the epoch.
    steps : int
        The number of steps of the epoch.
    first : int
        ``TrainingState.step`` at the start of the epoch.
    done : int
        How many steps of the epoch have been run.
    loss : float
        The part of the epoch's loss that these steps contribute.
    """

    best_theta: Float[np.ndarray, " P"] | None = None
    steps: int = 1
    first: int = 0
    done: int = 0
    loss: float = 0.0
