"""From the probabilities of classes to a decision: thresholds, and costs of wrong decisions.

The positive class, the last of two, is predicted if its probability exceeds a threshold. A rule
chooses the threshold: :class:`Fixed`, :class:`LeastCost` or :class:`BestScore`. The last two learn
it from predictions for held-out rows, of which only the confusion matrix at each threshold matters.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin

from deltaprop.errors import InputError, InputTypeError
from deltaprop.functions.checks import is_real

if TYPE_CHECKING:
    from jaxtyping import Bool, Float

MOST_CUTS = 100  # thresholds that are compared
CHANCE = 3.0  # standard errors: a smaller gain may be due to chance


class Rule(Protocol):
    """How the threshold for the probability of the positive class is chosen."""

    def default(self) -> float:
        """The threshold without held-out predictions."""

    def tuned(
        self, p: Float[np.ndarray, " N"], y: Bool[np.ndarray, " N"], w: Float[np.ndarray, " N"]
    ) -> float:
        """The threshold for held-out rows: probabilities, which are positive, and weights."""


@dataclass(frozen=True)
class Fixed:
    """A given threshold."""

    threshold: float

    def default(self) -> float:
        return self.threshold

    def tuned(
        self, p: Float[np.ndarray, " N"], y: Bool[np.ndarray, " N"], w: Float[np.ndarray, " N"]
    ) -> float:
        return self.threshold


@dataclass(frozen=True)
class LeastCost:
    """The threshold of the least cost, cost[i, j] for predicting class j for a row of class i.

    If the probabilities are calibrated, it is c₁ / (c₁ + c₂), where c₁ is the additional cost of a
    false positive and c₂ that of a false negative (Elkan 2001, "The foundations of cost-sensitive
    learning"). Another threshold is chosen only if it lowers the cost of held-out rows by more than
    chance may.

    Examples
    --------
    >>> import numpy as np
    >>> LeastCost(np.array([[0.0, 1.0], [4.0, 0.0]])).default()
    0.2
    """

    cost: Float[np.ndarray, "2 2"]

    def default(self) -> float:
        false_positive, false_negative = self._extra()
        return float(false_positive / (false_positive + false_negative))

    def tuned(
        self, p: Float[np.ndarray, " N"], y: Bool[np.ndarray, " N"], w: Float[np.ndarray, " N"]
    ) -> float:
        start, cuts = self.default(), _cuts(p, y)
        costs = (_confusions(p, y, w, cuts) * self.cost).sum(axis=(1, 2))
        best = float(cuts[np.argmin(costs)])
        between = (p > min(start, best)) & (p <= max(start, best))
        false_positive, false_negative = self._extra()
        gain = w * between * np.where(y, false_negative, -false_positive)
        total = gain.sum() if best < start else -gain.sum()
        return best if total > CHANCE * np.sqrt(gain @ gain) else start

    def _extra(self) -> tuple[float, float]:
        """How much more a wrong decision costs than the right one, for each class."""
        (negative, false_positive), (false_negative, positive) = self.cost
        return false_positive - negative, false_negative - positive


@dataclass(frozen=True)
class BestScore:
    """The threshold with the best score of held-out rows.

    Parameters
    ----------
    scoring : str
        The name of a scorer of scikit-learn that compares predicted classes with the true ones.
    """

    scoring: str

    def default(self) -> float:
        raise InputError(
            f"decision_threshold={self.scoring!r} needs the predictions for held-out rows, which "
            "only a cross-validation gives: fit with cv='auto' or cv >= 2, or give a number."
        )

    def tuned(
        self, p: Float[np.ndarray, " N"], y: Bool[np.ndarray, " N"], w: Float[np.ndarray, " N"]
    ) -> float:
        if not w.any():
            return 0.5
        cuts = _cuts(p, y)
        found = np.array([self._score(each) for each in _confusions(p, y, w, cuts)])
        scores = np.where(np.isfinite(found), found, -np.inf)
        best = cuts[scores == scores.max()]
        return float(best[np.argmin(np.abs(best - 0.5))])

    def _score(self, confusion: Float[np.ndarray, "2 2"]) -> float:
        """The score of rows with this confusion matrix: that of four rows of these weights."""
        scorer = _scorer(self.scoring)
        truth, predicted = np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a precision without positive predictions
            return float(scorer(_Given(), predicted, truth, sample_weight=confusion.ravel()))


def rule_for(decision_threshold: Any, cost: Any) -> Rule:
    """The rule that the parameters of a classifier of two classes, or of labels, describe.

    Raises
    ------
    ValueError
        If they are invalid, or both are given.
    """
    if cost is not None:
        if decision_threshold != "auto":
            raise InputError("Give either decision_threshold or cost; got both.")
        return LeastCost(cost_matrix(cost, 2))
    if decision_threshold == "auto":
        return Fixed(0.5)
    if isinstance(decision_threshold, str):
        _scorer(decision_threshold)
        return BestScore(decision_threshold)
    if not is_real(decision_threshold) or not 0 <= float(decision_threshold) <= 1:
        raise InputError(
            "decision_threshold must be 'auto', a number in [0, 1] or the name of a scorer of "
            f"scikit-learn; got {decision_threshold!r}."
        )
    return Fixed(float(decision_threshold))


def cost_matrix(cost: Any, C: int) -> Float[np.ndarray, "C C"]:
    """`cost` as an array: entry (i, j) is the cost of predicting class j for a row of class i.

    Raises
    ------
    ValueError
        If `cost` is not of this form, or if a wrong decision costs less than the right one.

    Examples
    --------
    >>> cost_matrix({"false_positive": 1, "false_negative": 5}, 2)
    array([[0., 1.],
           [5., 0.]])
    """
    if isinstance(cost, Mapping):
        cost = _of_errors(cost, C)
    try:
        found = np.array(cost, np.float64)
    except (TypeError, ValueError) as error:
        raise InputTypeError(f"cost must be a dict or a matrix of numbers: {error}") from error
    if found.shape != (C, C) or not np.isfinite(found).all():
        raise InputError(
            f"cost must be a matrix of {C} × {C} finite numbers, where row i and column j is the "
            f"cost of predicting class j for a row of class i; got {cost!r}."
        )
    extra = found - np.diag(found)[:, None]
    if (extra < 0).any() or not extra.any():
        raise InputError(
            f"cost must be larger for wrong decisions than for right ones; got {cost!r}."
        )
    return found


def _of_errors(cost: Mapping[str, float], C: int) -> list[list[float]]:
    if set(cost) != {"false_positive", "false_negative"}:
        raise InputError(
            "cost must have the keys 'false_positive' and 'false_negative', or be a matrix with a "
            f"row and a column for each class; got {cost!r}."
        )
    if C != 2:
        raise InputError(
            f"cost must be a matrix of {C} × {C} numbers, as there are {C} classes; got {cost!r}."
        )
    return [[0.0, cost["false_positive"]], [cost["false_negative"], 0.0]]


# ---------------------------------------------------------------- thresholds of held-out rows


def _cuts(p: Float[np.ndarray, " N"], y: Bool[np.ndarray, " N"]) -> Float[np.ndarray, " K"]:
    """Thresholds between the probabilities, and below and above all of them."""
    values = p
    if len(p) > MOST_CUTS:  # one of the classes may be rare
        shares = np.linspace(0, 1, MOST_CUTS // 2)
        values = np.concatenate([np.quantile(p[of], shares) for of in (y, ~y) if of.any()])
    values = np.unique(np.concatenate([[0.0], values, [1.0]]))
    cuts: np.ndarray = (values[1:] + values[:-1]) / 2
    return cuts


def _confusions(
    p: Float[np.ndarray, " N"], y: Bool[np.ndarray, " N"], w: Float[np.ndarray, " N"],
    cuts: Float[np.ndarray, " K"],
) -> Float[np.ndarray, "K 2 2"]:  # fmt: skip
    """The weighted confusion matrix at each threshold: [k, i, j] of class i, predicted as j."""
    order = np.argsort(p)
    below = np.searchsorted(p[order], cuts, side="right")
    weights = np.stack([w * ~y, w * y])[:, order]
    sums = np.concatenate([np.zeros((2, 1)), np.cumsum(weights, axis=1)], axis=1)
    negative = sums[:, below]
    found: np.ndarray = np.stack([negative, sums[:, -1:] - negative], axis=-1).transpose(1, 0, 2)
    return found


# ---------------------------------------------------------------- scorers of scikit-learn


class _Given(ClassifierMixin, BaseEstimator):
    """A fitted classifier whose predictions are its input."""

    def __init__(self) -> None:
        self.classes_ = np.array([0, 1])

    def predict(self, X: np.ndarray) -> np.ndarray:
        return X


def _scorer(name: str) -> Any:
    """The scorer of this name; InputError if it needs more than predicted classes."""
    from sklearn.metrics import get_scorer

    try:
        scorer = get_scorer(name)
        scorer(_Given(), np.array([0, 1]), np.array([0, 1]), sample_weight=np.ones(2))
    except (ValueError, TypeError, AttributeError) as error:
        raise InputError(
            f"decision_threshold={name!r} is not the name of a scorer of scikit-learn that "
            f"compares the classes of weighted rows, such as 'balanced_accuracy' or 'f1': {error}"
        ) from error
    return scorer
