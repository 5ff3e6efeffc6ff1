"""``dp.Privacy``: private training, and the accounting of the privacy loss.

The steps of an epoch share no row, so each row is used once per epoch. An epoch is therefore
(1/noise)-Gaussian-private in the sense of Dong, Roth & Su (2019), and E epochs are
μ-Gaussian-private with μ² = E / noise². The random order of the rows is not used as a further
protection (no amplification by subsampling is claimed).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from numbers import Real
from typing import Any

from deltaprop.errors import InputError
from deltaprop.functions.checks import is_finite, is_int
from deltaprop.optim.accounting import check_delta, delta_of, epsilon_of, least
from deltaprop.optim.batch_gradients import PrivateGradient
from deltaprop.optim.schedules import Adaptive, Schedule
from deltaprop.optim.solvers import FirstOrder, Solver


@dataclass(frozen=True)
class Privacy:
    """Differentially private training: ``dp.fit(net, X, y, privacy=dp.Privacy(noise=4.0))``.

    In each step g = Σ_n min(1, C / ‖g_n‖) g_n + N(0, (noise · C)² I), where g_n is the gradient of
    row n, times its weight, and C is `max_norm`. Under the reductions "mean" and "sklearn", g is
    divided by the batch size. The L2 penalty and the solver are applied afterwards.

    Parameters
    ----------
    noise : float
        The standard deviation of the noise, in units of `max_norm`. With 0, gradients are clipped
        but nothing is protected.
    max_norm : float, default=1.0
        C, the maximum norm of the gradient of one row. :meth:`Network.sample_norms` computes the
        norms.
    seed : int, optional
        The seed of the noise, for tests: whoever knows it can remove the noise. The default is
        drawn from the operating system.

    References
    ----------
    Abadi et al. (2016), "Deep learning with differential privacy". Dong, Roth & Su (2019),
    "Gaussian differential privacy". ``docs/private.md`` lists what is protected and what is not.

    Examples
    --------
    >>> import deltaprop as dp
    >>> privacy = dp.Privacy(noise=4.0)
    >>> round(privacy.epsilon(delta=1e-5, epochs=1), 3)
    0.926
    >>> net = dp.Network(1, [dp.Dense(1)], loss="squared_error", reduction="mean", seed=0)
    >>> history = dp.fit(net, [[0.0], [1.0]], [1.0, 2.0], privacy=privacy, max_epochs=20)
    >>> round(history.epsilon(delta=1e-5), 3)  # of the epochs that were run
    4.983
    """

    noise: float
    max_norm: float = 1.0
    seed: int | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not is_finite(self.noise) or self.noise < 0:
            raise InputError(f"noise of Privacy must be a number >= 0, got {self.noise!r}.")
        if not is_finite(self.max_norm) or self.max_norm <= 0:
            raise InputError(f"max_norm of Privacy must be a number > 0, got {self.max_norm!r}.")
        if self.seed is not None and not (is_int(self.seed, 0) and self.seed < 2**128):
            raise InputError(
                f"seed of Privacy must be an int in 0 to 2**128 - 1 or None, got {self.seed!r}."
            )

    @classmethod
    def of(
        cls,
        epsilon: float,
        delta: float,
        epochs: int,
        max_norm: float = 1.0,
        seed: int | None = None,
    ) -> Privacy:
        """Privacy with the least noise for which `epochs` are (ε, δ)-differentially private.

        Parameters
        ----------
        epsilon : float
            ε > 0.
        delta : float
            In (0, 1). Use less than one over the number of rows.
        epochs : int
            The `max_epochs` of the fit, at least 1.
        max_norm, seed
            As in the constructor.

        Raises
        ------
        ValueError
            If an argument is out of range.

        Examples
        --------
        >>> import deltaprop as dp
        >>> dp.Privacy.of(epsilon=3, delta=1e-5, epochs=20)
        Privacy(noise=6.218..., max_norm=1.0)
        """
        if not is_finite(epsilon) or epsilon <= 0:
            raise InputError(f"epsilon must be a number > 0, got {epsilon!r}.")
        check_delta(delta)
        if not is_int(epochs, 1):
            raise InputError(f"epochs must be an int >= 1, got {epochs!r}.")
        noise = least(lambda x: delta_of(epsilon, math.sqrt(epochs) / x) <= delta)
        return cls(noise, max_norm, seed)

    def epsilon(self, delta: float, epochs: int) -> float:
        """ε of the (ε, δ)-differential privacy of this number of epochs; infinite without noise."""
        if not is_int(epochs, 1):
            raise InputError(f"epochs must be an int >= 1, got {epochs!r}.")
        return epsilon_of(delta, math.sqrt(epochs * self.mu_squared_per_epoch))

    @property
    def mu_squared_per_epoch(self) -> float:
        """The increase of μ², the privacy loss, in each epoch."""
        mu = 1 / self.noise if self.noise else math.inf
        return mu * mu

    @property
    def gradient(self) -> PrivateGradient:
        """The object by which engines compute the private gradient of a batch."""
        return PrivateGradient(self.max_norm, self.noise)

    def check_solver(self, solver: Solver) -> None:
        """Raise ValueError unless the solver uses the rows only through the noisy gradient."""
        uses_rows = not isinstance(solver, FirstOrder) or any(
            link.needs_fisher for link in solver.transformations()
        )
        if uses_rows:
            raise InputError(
                "privacy needs a solver that uses the rows only through the noisy gradient: SGD, "
                f"Adam or AdamW, got {type(solver).__name__}."
            )

    def check_stopping(self, schedule: Schedule, validation: Any, restore_best: bool) -> None:
        """Raise ValueError if early stopping or the schedule would depend on the private rows."""
        if isinstance(validation, Real):
            raise InputError(
                f"validation is a fraction of the rows, {validation!r}, but privacy must protect "
                "them: a choice that depends on rows reveals something about them. Give public "
                "data, validation=(X, y), or leave validation out."
            )
        if isinstance(schedule, Adaptive) and (validation is None or not restore_best):
            raise InputError(
                "schedule Adaptive depends on the loss on the rows, which privacy must protect. "
                "Use another one, such as dp.schedules.Cosine(), or give public data, "
                "validation=(X, y)."
            )
