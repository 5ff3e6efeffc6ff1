"""What held-out predictions tell about a model: a temperature, intervals and sets.

A member's predictions for the rows that it did not see are like its predictions for new rows. So
the errors on these rows say how sure the model may be.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from deltaprop.errors import InputError
from deltaprop.functions.checks import is_real

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int

HOTTEST = 5.0  # temperatures lie between 1 / HOTTEST and HOTTEST
GAIN = 1.92  # half the 95 % quantile of χ²(1): a smaller gain in log-likelihood may be chance
MOST_SCORES = 10_001  # that are kept of a model's held-out rows
TINY = 1e-12


def temperature(
    P: Float[np.ndarray, "N C"], y: Int[np.ndarray, " N"], w: Float[np.ndarray, " N"] | None = None
) -> float:
    """T > 0, for which probabilities proportional to P^(1/T) have the least log-loss.

    1 if the gain may be chance. Guo et al. (2017), "On calibration of modern neural networks".

    Parameters
    ----------
    P : array (N, C)
        Probabilities of classes.
    y : array of int (N,)
        The index of each row's class.
    w : array (N,), optional
        Sample weights.

    Examples
    --------
    >>> import numpy as np
    >>> P = np.tile([0.99, 0.01], (100, 1))  # too sure: every fifth row is of the other class
    >>> y = (np.arange(100) % 5 == 0).astype(int)
    >>> round(temperature(P, y), 2)
    3.31
    """
    from scipy.optimize import minimize_scalar

    logits = np.log(np.clip(P.astype(np.float64), TINY, 1))
    weights = np.ones(len(y)) if w is None else w * (len(w) / w.sum())

    def loss(log_T: float) -> float:
        scaled = logits / np.exp(log_T)
        scaled -= scaled.max(axis=1, keepdims=True)
        total = np.log(np.exp(scaled).sum(axis=1))
        return float(weights @ (total - scaled[np.arange(len(y)), y]))

    limit = np.log(HOTTEST)
    found = minimize_scalar(loss, bounds=(-limit, limit), method="bounded")
    return float(np.exp(found.x)) if loss(0.0) - found.fun > GAIN else 1.0


@dataclass
class Conformal:
    """The scores of held-out rows, whose quantiles bound those of new rows.

    If new rows are like the held-out ones, a new score is at most their
    ⌈(n + 1) · coverage⌉-th smallest with this probability (Vovk, Gammerman and Shafer, "Algorithmic
    learning in a random world", 2005).

    Attributes
    ----------
    scores : ndarray of shape (n,)
        Sorted. At most 10,001 quantiles of them are kept.
    """

    scores: Float[np.ndarray, " n"]

    @classmethod
    def of(
        cls, scores: Float[np.ndarray, " N"], w: Float[np.ndarray, " N"] | None = None
    ) -> Conformal:
        """The finite ones of these scores.

        With sample weights, there are as many quantiles of the weighted scores as the rows of
        different weights are worth rows of equal weights: n = (Σ w)² / Σ w² (Kish, "Survey
        sampling", 1965).

        Examples
        --------
        >>> import numpy as np
        >>> Conformal.of(np.array([3.0, 1.0, 2.0]), np.array([1.0, 0.0, 1.0])).scores
        array([2., 3.])
        """
        known = np.isfinite(scores)
        scores = scores[known].astype(np.float64)
        scores = np.sort(scores) if w is None else _weighted_quantiles(scores, w[known])
        if len(scores) > MOST_SCORES:
            scores = np.quantile(scores, np.linspace(0, 1, MOST_SCORES))
        return cls(scores)

    def upper(self, probability: float) -> float:
        """The bound that a new score is below with this probability; infinite for too few rows."""
        rank = int(np.ceil((len(self.scores) + 1) * probability - 1e-9))
        return float(self.scores[rank - 1]) if 1 <= rank <= len(self.scores) else float("inf")

    def lower(self, probability: float) -> float:
        """The bound that a new score is above with this probability."""
        return -Conformal(-self.scores[::-1]).upper(probability)

    def is_consistent(self) -> bool:
        """Whether these are sorted numbers, after they were read from a file."""
        scores: Any = self.scores
        return (
            isinstance(scores, np.ndarray)
            and scores.ndim == 1
            and scores.dtype == np.float64
            and bool(np.isfinite(scores).all() and (np.diff(scores) >= 0).all())
        )


def _weighted_quantiles(
    scores: Float[np.ndarray, " N"], w: Float[np.ndarray, " N"]
) -> Float[np.ndarray, " n"]:
    w = w.astype(np.float64)
    if not w.any():
        return np.empty(0)
    order = np.argsort(scores)
    n = round(float(w.sum() ** 2 / (w @ w)))
    below = np.cumsum(w[order]) / w.sum()
    places = np.searchsorted(below, (np.arange(n) + 0.5) / n)
    quantiles: np.ndarray = scores[order][places]
    return quantiles


def check_coverage(coverage: object) -> float:
    """`coverage` as a float in (0, 1)."""
    if not is_real(coverage) or not 0 < float(coverage) < 1:  # type: ignore[arg-type]
        raise InputError(f"coverage must be a number in (0, 1), such as 0.9; got {coverage!r}.")
    return float(coverage)  # type: ignore[arg-type]


def sets(
    P: Float[np.ndarray, "N C"], errors: Conformal, coverage: float
) -> Bool[np.ndarray, "N C"]:
    """The classes whose probability is not lower than that of most true classes.

    The most probable class is always one of them.
    """
    found: np.ndarray = 1 - errors.upper(coverage) - TINY <= P
    found[np.arange(len(P)), P.argmax(axis=1)] = True
    return found
