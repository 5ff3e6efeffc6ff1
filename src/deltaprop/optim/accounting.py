"""Privacy accounting: (ε, δ) of μ-Gaussian differential privacy.

References
----------
Dong, Roth and Su (2019), "Gaussian differential privacy", arXiv:1905.02383.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from deltaprop.errors import InputError
from deltaprop.functions.checks import is_real


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
    check_delta(delta)
    if mu == math.inf:
        return math.inf
    if mu == 0 or delta_of(0.0, mu) <= delta:
        return 0.0
    return least(lambda epsilon: delta_of(epsilon, mu) <= delta)


def least(holds: Callable[[float], bool]) -> float:
    """The least x > 0 from which on `holds` is true, up to rounding; it is true for the result."""
    low, high = 0.0, 1.0
    while not holds(high):
        low, high = high, 2 * high
    while low < (middle := (low + high) / 2) < high and high - low > 1e-14 * high:
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high


def check_delta(delta: Any) -> None:
    """Raise ValueError unless δ is a number in (0, 1)."""
    if not is_real(delta) or not 0 < float(delta) < 1:
        raise InputError(f"delta must be a number in (0, 1), got {delta!r}.")
