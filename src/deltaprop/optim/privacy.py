"""``dp.Privacy``: private training, and the account of what it reveals of a row.

The steps of an epoch share no row, so that each row meets the noise once an epoch: an epoch is
(1/noise)-Gaussian-private in the sense of Dong, Roth & Su (2019), and E epochs are
μ-Gaussian-private with μ² = E / noise². Nothing is claimed for the order of rows being random.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any

import numpy as np

from deltaprop.optim.schedules import Adaptive, Schedule
from deltaprop.optim.solvers import SGD, Adam, AdamW, Solver

if TYPE_CHECKING:
    from jaxtyping import Int


@dataclass(frozen=True)
class Privacy:
    """Differentially private training: ``dp.fit(net, X, y, privacy=dp.Privacy(noise=4.0))``.

    In each step g = Σ_n min(1, C / ‖g_n‖) g_n + N(0, (noise · C)² I), where g_n is the gradient of
    row n, times its weight, and C is `max_norm`. Under reductions "mean" and "sklearn" g is divided
    by the batch size. Then L2 and the solver follow.

    Parameters
    ----------
    noise : float
        Standard deviation of the noise, in units of `max_norm`. 0 clips only and protects nothing.
    max_norm : float, default=1.0
        C, the longest gradient of one row. :meth:`Network.sample_norms` shows what they are.
    seed : int, optional
        Of the noise, for tests: whoever knows it can take the noise away. By default it comes from
        the operating system.

    References
    ----------
    Abadi et al. (2016), "Deep learning with differential privacy". Dong, Roth & Su (2019),
    "Gaussian differential privacy". ``docs/private.md`` says what is protected and what is not.

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
        if not _is_real(self.noise) or self.noise < 0:
            raise ValueError(f"noise of Privacy must be a number >= 0, got {self.noise!r}.")
        if not _is_real(self.max_norm) or self.max_norm <= 0:
            raise ValueError(f"max_norm of Privacy must be a number > 0, got {self.max_norm!r}.")
        if self.seed is not None and not (_is_int_from(self.seed, 0) and self.seed < 2**128):
            raise ValueError(
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
        """The least noise that makes so many epochs (ε, δ)-differentially private.

        Parameters
        ----------
        epsilon : float
            ε > 0.
        delta : float
            In (0, 1); less than one over the number of rows.
        epochs : int
            The `max_epochs` of the fit.

        Examples
        --------
        >>> import deltaprop as dp
        >>> dp.Privacy.of(epsilon=3, delta=1e-5, epochs=20)
        Privacy(noise=6.218..., max_norm=1.0)
        """
        if not _is_real(epsilon) or epsilon <= 0:
            raise ValueError(f"epsilon must be a number > 0, got {epsilon!r}.")
        _check_delta(delta)
        if not _is_int_from(epochs, 1):
            raise ValueError(f"epochs must be an int >= 1, got {epochs!r}.")
        noise = _least(lambda x: delta_of(epsilon, math.sqrt(epochs) / x) <= delta)
        return cls(noise, max_norm, seed)

    def epsilon(self, delta: float, epochs: int) -> float:
        """ε of the (ε, δ)-differential privacy of so many epochs; inf without noise."""
        if not _is_int_from(epochs, 1):
            raise ValueError(f"epochs must be an int >= 1, got {epochs!r}.")
        return epsilon_of(delta, math.sqrt(epochs * self.an_epoch))

    @property
    def an_epoch(self) -> float:
        """What an epoch adds to μ²."""
        mu = 1 / self.noise if self.noise else math.inf
        return mu * mu


def delta_of(epsilon: float, mu: float) -> float:
    """δ(ε) of μ-Gaussian privacy: Φ(−ε/μ + μ/2) − e^ε Φ(−ε/μ − μ/2).

    Examples
    --------
    >>> round(delta_of(1.0, 0.5), 6)
    0.00683
    """
    from scipy.special import log_ndtr

    first = log_ndtr(mu / 2 - epsilon / mu)
    second = epsilon + log_ndtr(-mu / 2 - epsilon / mu)
    return float(-math.exp(first) * math.expm1(min(0.0, second - first)))


def epsilon_of(delta: float, mu: float) -> float:
    """The least ε with δ(ε) ≤ `delta` under μ-Gaussian privacy.

    Examples
    --------
    >>> round(epsilon_of(1e-5, 0.5), 3)
    1.993
    """
    _check_delta(delta)
    if mu == math.inf:
        return math.inf
    if mu == 0 or delta_of(0.0, mu) <= delta:
        return 0.0
    return _least(lambda epsilon: delta_of(epsilon, mu) <= delta)


def _least(holds: Callable[[float], bool]) -> float:
    """The least x > 0 from which on this holds: never less, more by rounding at most."""
    low, high = 0.0, 1.0
    while not holds(high):
        low, high = high, 2 * high
    while low < (middle := (low + high) / 2) < high and high - low > 1e-14 * high:
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high


def refuse_what_leaks(
    solver: Solver,
    schedule: Schedule,
    rows: Int[np.ndarray, " M"] | None,
    validation: Any,
    restore_best: bool,
    engine: Any,
) -> None:
    """Raise ValueError for what would reveal more of the rows than is accounted for."""
    if not isinstance(solver, (SGD, Adam, AdamW)) or solver.needs_fisher:
        raise ValueError(
            "privacy needs a solver that sees the rows through the noisy gradient alone: SGD, Adam "
            f"or AdamW, got {type(solver).__name__}."
        )
    if isinstance(validation, Real):
        raise ValueError(
            f"validation is a share of the rows, {validation!r}, which privacy is to protect: what "
            "is chosen by them reveals them. Give public data, validation=(X, y), or none."
        )
    if isinstance(schedule, Adaptive) and (validation is None or not restore_best):
        raise ValueError(
            "schedule Adaptive looks at the loss on the rows, which privacy is to protect. Take "
            "another, such as dp.schedules.Cosine(), or validation=(X, y) of public data."
        )
    if rows is not None and (again := len(rows) - len(np.unique(rows))):
        raise ValueError(
            f"rows names {again} row(s) again, but privacy counts on "
            "each being used once an epoch. Name each once."
        )
    if getattr(engine, "dtype", None) is not None:
        raise ValueError(
            f"dtype of Xla is {engine.dtype!r}, in which gradients cannot be held to max_norm of "
            "privacy. Leave it out."
        )


def _check_delta(delta: Any) -> None:
    if not _is_real(delta) or not 0 < delta < 1:
        raise ValueError(f"delta must be a number in (0, 1), got {delta!r}.")


def _is_real(x: Any) -> bool:
    return isinstance(x, Real) and not isinstance(x, bool) and math.isfinite(x)


def _is_int_from(x: Any, low: int) -> bool:
    return isinstance(x, Integral) and not isinstance(x, bool) and int(x) >= low
