"""The description of a prediction: which numbers are computed from a row, in which order.

A row of a table becomes a vector x of `n_encoded` numbers: each column writes its own entries, and
then the bins theirs. The networks compute an output from x, and the mean of their outputs becomes
numbers or classes. Networks and MLP estimators have no columns: their input is x.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from jaxtyping import Float, Int

NOWHERE = -1  # the place of a category without an encoded column of its own


@dataclass(frozen=True)
class NumberStep:
    """A column of numbers.

        z = (value - center) · scale, clipped to [-1e100, 1e100], so that its square is finite
        x[at] = z / √(1 + (z / 3)²); 0 if z is NaN
        x[flag] = high if the value is NaN, else low

    With knots, x[at] = Φ⁻¹(p) instead, clipped to its values at p = 1e-7 and 1 - 1e-7, and 0 if the
    value is NaN or all knots are equal. p is the share of the knots below the value, linear between
    them. Values that are less than 1e-7 away from the first or last knot count as outside of it:
    :mod:`deltaprop.data.columns.quantiles`.

    Attributes
    ----------
    name : str
    at : int
    center, scale : float
    flag : int or None
        None if no value was missing when the model was fitted.
    low, high : float
    unit : str
        "seconds" for durations, otherwise empty.
    knots : ndarray of float64 of shape (Q,) or None
        Quantiles, for equal distances of p from 0 to 1.
    """

    name: str
    at: int
    center: float
    scale: float
    flag: int | None = None
    low: float = 0.0
    high: float = 0.0
    unit: str = ""
    knots: Float[np.ndarray, " Q"] | None = None


@dataclass(frozen=True)
class DateStep:
    """A column of dates, of which each part is encoded as a number, as in :class:`NumberStep`.

    Attributes
    ----------
    name : str
    at : int
        The entry of the first part; the others follow.
    parts : tuple of str
        Some of "year", "month", "day", "hour" and "total_seconds", the seconds since 1970 in UTC.
    center, scale : ndarray of shape (k,)
    flag : int or None
        The entry that marks a missing date for the first part; those of the others follow.
    low, high : ndarray of shape (k,) or (0,)
    pattern : str or None
        The format of dates that are strings, as in ``strptime``.
    zone : str or None
        The time zone of year, month, day and hour; None for dates without a time zone.
    """

    name: str
    at: int
    parts: tuple[str, ...]
    center: Float[np.ndarray, " k"]
    scale: Float[np.ndarray, " k"]
    flag: int | None
    low: Float[np.ndarray, " m"]
    high: Float[np.ndarray, " m"]
    pattern: str | None
    zone: str | None


@dataclass(frozen=True)
class CategoryStep:
    """A column of categories, which are compared as strings.

        x[at : at + k] = low, but high in the column of the category

    Attributes
    ----------
    name : str
    at : int
    labels : tuple of str
        The known categories, sorted.
    places : tuple of int
        For each label, its column in 0 … k-1, or NOWHERE.
    missing, unknown : int
        The columns of missing values and of other categories, or NOWHERE.
    low, high : ndarray of float32 of shape (k,)
    missing_words : bool
        Whether blanks and words such as "NA" and "?" are missing values.
    """

    name: str
    at: int
    labels: tuple[str, ...]
    places: tuple[int, ...]
    missing: int
    unknown: int
    low: Float[np.ndarray, " k"]
    high: Float[np.ndarray, " k"]
    missing_words: bool


ColumnStep = NumberStep | DateStep | CategoryStep


@dataclass(frozen=True)
class BinStep:
    """The bins of encoded numbers: x[at + i] = (x[source_i] - low_i) / (high_i - low_i) in [0, 1].

    Attributes
    ----------
    at : int
    source : ndarray of int64 of shape (B,)
    low, high : ndarray of float32 of shape (B,)
    """

    at: int
    source: Int[np.ndarray, " B"]
    low: Float[np.ndarray, " B"]
    high: Float[np.ndarray, " B"]


@dataclass(frozen=True)
class DenseStep:
    """A layer: a = x W + b, then f(a), or with alpha, a + alpha ⊙ (f(a) - a).

    Attributes
    ----------
    W : ndarray of shape (D, H)
        The factors of the inputs, if the layer has any, are multiplied into it.
    b : ndarray of shape (H,)
    activation : str
        The name of a built-in activation.
    alpha : ndarray of shape (H,) or None
    """

    W: Float[np.ndarray, "D H"]
    b: Float[np.ndarray, " H"]
    activation: str
    alpha: Float[np.ndarray, " H"] | None = None


@dataclass(frozen=True)
class Numbers:
    """The predictions are numbers: output · scale + mean.

    Attributes
    ----------
    names : tuple of str
        One for each number. With `gaussian`, means come first, then standard deviations.
    mean, scale : ndarray of float64 of shape (n,)
        For each of the names.
    gaussian : bool
        Whether the outputs are means, then variances, of which the square roots are scaled. Those
        of an ensemble are the mean and the variance of the mixture.
    """

    names: tuple[str, ...]
    mean: Float[np.ndarray, " n"]
    scale: Float[np.ndarray, " n"]
    gaussian: bool = False


@dataclass(frozen=True)
class Classes:
    """The predictions are probabilities of classes, or margins, and the class decided for.

    Attributes
    ----------
    labels : tuple
        The classes as the model predicts them: strings, numbers or booleans.
    several : bool
        Whether each of the labels may be predicted or not, rather than one of them.
    pair : bool
        Whether the only output z is that of the second of two classes, so that the probabilities
        are 1 - z and z.
    margins : bool
        Whether the outputs are signed margins, with loss="hinge", and not probabilities.
    threshold : ndarray of shape (1,) or (C,) or None
        The value above which the second class, or each of several labels, is predicted. None for
        the largest value or the least cost.
    cost : ndarray of shape (C, C) or None
        Entry (i, j) is the cost of predicting class j for a row of class i.
    ordered : bool
        Whether output k is the probability that the class is larger than the k-th one, with
        loss="ordinal". None of them counts as larger than the one before.
    """

    labels: tuple[Any, ...]
    several: bool
    pair: bool
    margins: bool
    threshold: Float[np.ndarray, " t"] | None = None
    cost: Float[np.ndarray, "C C"] | None = None
    ordered: bool = False


@dataclass(frozen=True)
class Plan:
    """Everything that a prediction needs.

    Attributes
    ----------
    columns : tuple of ColumnStep
        Empty for networks and MLP estimators.
    bins : BinStep or None
    n_encoded : int
        The length of x.
    inputs : tuple of str
        The names of the columns of the table, or of the entries of x.
    networks : tuple of tuple of DenseStep
        The layers of each member of the ensemble.
    output : Numbers or Classes
    target : str or None
        The name of the target column.
    """

    columns: tuple[ColumnStep, ...]
    bins: BinStep | None
    n_encoded: int
    inputs: tuple[str, ...]
    networks: tuple[tuple[DenseStep, ...], ...]
    output: Numbers | Classes
    target: str | None = None

    @property
    def dtype(self) -> np.dtype:
        """The dtype of x and of the networks."""
        return self.networks[0][0].W.dtype

    @property
    def n_outputs(self) -> int:
        """The number of outputs of each network."""
        return len(self.networks[0][-1].b)
