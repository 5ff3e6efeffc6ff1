"""Target encodings: how a loss checks y and turns it into the array t that its formulas use.

===============  ==========================================  ====================================
encoding         y                                           t
===============  ==========================================  ====================================
`Target`         numbers, (N,) or (N, H)                     y as it is
`Amounts`        numbers >= 0, or > 0                        y as it is
`HalfTheColumns` numbers, (N,) or (N, H / 2)                 y as it is
`Repeated`       numbers, (N,) or (N, H / Q)                 each column repeated Q times
`Probabilities`  0/1 or probabilities, (N,) or (N, H)        y (1 - ε) + ε / 2
`Classes`        class indices (N,), or probabilities (N, H) w_h (one-hot (1 - ε) + ε / H)
`OneOrMore`      as `Probabilities` if H = 1, else `Classes` 0/1 or one-hot
`Signs`          class indices, 0/1 or -1/+1                 -1/+1
===============  ==========================================  ====================================

A y of several columns may contain NaN, for targets that are missing, if the encoding is
`separable`: t is NaN there too.

ε is `label_smoothing`, w is `class_weight`. H is the number of outputs of the network.

An encoding also describes how to interpret the outputs of a network, for example as probabilities
or as margins.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from deltaprop.errors import InputError
from deltaprop.functions.arrays import Array
from deltaprop.functions.checks import is_number

if TYPE_CHECKING:
    from jaxtyping import Float, Num

    Given = Num[Array, "N ..."]
    Columns = Float[Array, "N K"]

Predicts = Literal["mean", "mean_variance", "quantiles", "class"]
ClassTarget = Literal["binary", "multiclass", "multilabel"]


class Target:
    """Numbers, one column for each output: the default, and the base of all other encodings.

    Encodings of the same class with the same settings are equal, also if one is a copy.

    Attributes
    ----------
    predicts : {"mean", "mean_variance", "quantiles", "class"}
        What the outputs of a network estimate.
    class_targets : frozenset of {"binary", "multiclass", "multilabel"}
        The classification tasks that the loss can be used for.
    margins : bool
        Whether outputs are signed margins with the threshold 0, not probabilities.
    one_hot_pairs : bool
        Whether two classes need two outputs instead of one.
    separable : bool
        Whether each column of y has its own summands of the loss, so that it may be missing.

    Examples
    --------
    >>> import numpy as np
    >>> from deltaprop.functions.losses.targets import Classes, Target
    >>> Target().encode(np.array([1, 2]), 1, np.dtype("float64"), np)
    array([[1.],
           [2.]])
    >>> Classes(label_smoothing=0.5).encode(np.array([1]), 2, np.dtype("float64"), np)
    array([[0.25, 0.75]])
    """

    predicts: ClassVar[Predicts] = "mean"
    class_targets: ClassVar[frozenset[ClassTarget]] = frozenset(
        ("binary", "multiclass", "multilabel")
    )
    margins: ClassVar[bool] = False
    one_hot_pairs: ClassVar[bool] = False
    separable: ClassVar[bool] = True

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and vars(other) == vars(self)

    def __hash__(self) -> int:
        return hash((type(self), *vars(self).items()))

    @property
    def settings(self) -> dict[str, Any]:
        """The settings of the encoding, which model files store with those of the loss."""
        return {}

    def n_columns(self, H: int) -> int:
        """The number of columns of t for H outputs."""
        return H

    def check(self, y: Given, H: int, name: str) -> None:
        """Raise ValueError if y does not fit the loss `name` of a network with H outputs."""
        columns = 1 if y.ndim == 1 else y.shape[1]
        if columns != H:
            raise InputError(
                f"y has {columns} column(s), but the network has {H} output(s). For loss {name!r} "
                f"give y of shape (N, {H}) or change the last layer's units to {columns}."
            )

    def columns(self, y: Given, H: int, dtype: Any, xp: ModuleType) -> Columns:
        """t without label smoothing and class weights: what printed formulas call y."""
        return as_numbers(y, dtype, xp)

    def encode(self, y: Given, H: int, dtype: Any, xp: ModuleType) -> Columns:
        """t, in that dtype and namespace."""
        return self.columns(y, H, dtype, xp)

    def description(self, H: int) -> str:
        """What a printed derivation adds to the word "target"."""
        return ""


def as_numbers(y: Given, dtype: Any, xp: ModuleType) -> Columns:
    """Numbers as columns: (N,) becomes (N, 1)."""
    return xp.astype(y[:, None] if y.ndim == 1 else y, dtype)


def _range(y: Given) -> tuple[float, float]:
    """The smallest and the largest known number."""
    known = y[~np.isnan(y)]
    return float(known.min()), float(known.max())


def _require_columns(y: Given, H: int, name: str) -> None:
    if y.shape[1] != H:
        raise InputError(
            f"y has {y.shape[1]} column(s), but the network has {H} output(s): loss {name!r} "
            f"needs one column for each output, or class indices of shape (N,)."
        )


# ---------------------------------------------------------------- numbers


@dataclass(frozen=True, eq=False, repr=False)
class Amounts(Target):
    """Numbers that are >= 0, such as counts, or > 0 if `positive`."""

    positive: bool = False

    def check(self, y: Given, H: int, name: str) -> None:
        super().check(y, H, name)
        low, _ = _range(y)
        if low < 0 or (self.positive and low == 0):
            bound = "> 0" if self.positive else ">= 0"
            raise InputError(
                f"y must be {bound} for loss {name!r}; its smallest value is {low:g}. "
                "Some value(s) of y are out of the valid range of the loss: remove those rows or "
                "use another loss, such as 'squared_error'."
            )


class HalfTheColumns(Target):
    """Numbers, one column for each pair of a mean and a variance."""

    predicts = "mean_variance"

    def n_columns(self, H: int) -> int:
        return H // 2

    def check(self, y: Given, H: int, name: str) -> None:
        columns = 1 if y.ndim == 1 else y.shape[1]
        if 2 * columns != H:
            raise InputError(
                f"y has {columns} column(s); loss {name!r} needs a mean and a variance for each, "
                f"so {2 * columns} outputs, but the network has {H}. Change the last layer's units."
            )


@dataclass(frozen=True, eq=False, repr=False)
class Repeated(Target):
    """Numbers whose columns are repeated for `times` outputs each."""

    times: int
    predicts: ClassVar[Predicts] = "quantiles"

    def check(self, y: Given, H: int, name: str) -> None:
        columns = 1 if y.ndim == 1 else y.shape[1]
        if columns * self.times != H:
            raise InputError(
                f"y has {columns} column(s) and the loss {self.times} quantile(s), which needs "
                f"{columns * self.times} outputs; the network has {H}. "
                "Change the last layer's units."
            )

    def columns(self, y: Given, H: int, dtype: Any, xp: ModuleType) -> Columns:
        numbers = as_numbers(y, dtype, xp)
        N, K = numbers.shape
        repeated = xp.broadcast_to(numbers[:, :, None], (N, K, self.times))
        return xp.reshape(repeated, (N, K * self.times))

    def description(self, H: int) -> str:
        return ", each column once for each of its levels" if self.times > 1 else ""


# ---------------------------------------------------------------- classes


@dataclass(frozen=True, eq=False, repr=False)
class Probabilities(Target):
    """0/1, or the probability of class 1, for each output."""

    label_smoothing: float = 0.0

    predicts: ClassVar[Predicts] = "class"
    class_targets: ClassVar[frozenset[ClassTarget]] = frozenset(("binary", "multilabel"))

    @property
    def settings(self) -> dict[str, Any]:
        return {"label_smoothing": self.label_smoothing}

    def check(self, y: Given, H: int, name: str) -> None:
        columns = y[:, None] if y.ndim == 1 else y
        _require_columns(columns, H, name)
        low, high = _range(columns)
        if low < 0 or high > 1:
            raise InputError(
                f"y must lie in [0, 1] for loss {name!r}; its values range from {low:g} to "
                f"{high:g}. Encode the two classes as 0 and 1."
            )

    def encode(self, y: Given, H: int, dtype: Any, xp: ModuleType) -> Columns:
        ε = self.label_smoothing
        return self.columns(y, H, dtype, xp) * (1 - ε) + ε / 2


@dataclass(frozen=True, eq=False, repr=False)
class Classes(Target):
    """Class indices 0 ... H - 1, or one row of non-negative weights over the H classes."""

    label_smoothing: float = 0.0
    class_weight: tuple[float, ...] | None = None

    predicts: ClassVar[Predicts] = "class"
    class_targets: ClassVar[frozenset[ClassTarget]] = frozenset(("binary", "multiclass"))
    one_hot_pairs: ClassVar[bool] = True
    separable: ClassVar[bool] = False

    @property
    def settings(self) -> dict[str, Any]:
        return {"label_smoothing": self.label_smoothing, "class_weight": self.class_weight}

    def check(self, y: Given, H: int, name: str) -> None:
        if self.class_weight and len(self.class_weight) != H:
            raise InputError(
                f"class_weight holds {len(self.class_weight)} weight(s), but the network has {H} "
                "output(s)."
            )
        if y.ndim == 1:
            _check_indices(y, H)
            return
        _require_columns(y, H, name)
        if float(y.min()) < 0:
            raise InputError(
                f"y must hold probabilities >= 0 for loss {name!r}; its smallest value is "
                f"{float(y.min()):g}."
            )

    def columns(self, y: Given, H: int, dtype: Any, xp: ModuleType) -> Columns:
        if y.ndim == 1:
            y = y[:, None] == xp.arange(H, dtype=y.dtype)[None, :]
        return xp.astype(y, dtype)

    def encode(self, y: Given, H: int, dtype: Any, xp: ModuleType) -> Columns:
        ε = self.label_smoothing
        t = self.columns(y, H, dtype, xp) * (1 - ε) + ε / H
        if self.class_weight:
            t = t * xp.asarray(self.class_weight, dtype=t.dtype)[None, :]
        return t

    def description(self, H: int) -> str:
        return " as one-hot rows (or rows of probabilities)"


def _check_indices(y: Given, H: int) -> None:
    outside = (y < 0) | (y >= H) | (y != np.floor(y))
    if outside.any():
        raise InputError(
            f"y must hold class indices 0 to {H - 1}, one for each of the network's {H} "
            f"output(s); got {y[outside][0]!s}. Encode the classes as 0, 1, … "
            "or give y as one-hot rows (N, H)."
        )


class OneOrMore(Target):
    """A single output takes 0/1 or probabilities, several outputs take classes."""

    predicts = "class"
    class_targets = frozenset(("binary", "multiclass"))
    separable = False

    def _for(self, H: int) -> Target:
        return Probabilities() if H == 1 else Classes()

    def check(self, y: Given, H: int, name: str) -> None:
        self._for(H).check(y, H, name)

    def columns(self, y: Given, H: int, dtype: Any, xp: ModuleType) -> Columns:
        return self._for(H).columns(y, H, dtype, xp)

    def description(self, H: int) -> str:
        return self._for(H).description(H)


class Signs(OneOrMore):
    """-1/+1 for each output; class indices mark their class with +1 and the others with -1."""

    class_targets = Target.class_targets
    margins = True
    separable = True

    def check(self, y: Given, H: int, name: str) -> None:
        if y.ndim == 1 and H > 1:
            _check_indices(y, H)
            return
        columns = y[:, None] if y.ndim == 1 else y
        _require_columns(columns, H, name)
        valid = np.isin(columns, (-1, 0, 1)) | np.isnan(columns)
        if not valid.all():
            raise InputError(
                f"y must hold 0/1 or -1/+1 for loss {name!r}; got {columns[~valid][0]!s}."
            )

    def columns(self, y: Given, H: int, dtype: Any, xp: ModuleType) -> Columns:
        marks = super().columns(y, H, dtype, xp)
        signs = 2 * xp.astype(marks > 0, dtype) - 1
        return xp.where(xp.isnan(marks), marks, signs)

    def description(self, H: int) -> str:
        return " as −1 and 1"


# ---------------------------------------------------------------- checks of settings


def checked_smoothing(label_smoothing: float) -> float:
    """`label_smoothing` as a float in [0, 1)."""
    if not is_number(label_smoothing) or not 0 <= label_smoothing < 1:
        raise InputError(f"label_smoothing must be a number in [0, 1), got {label_smoothing!r}.")
    return float(label_smoothing)


def checked_weights(class_weight: Iterable[float] | None) -> tuple[float, ...] | None:
    """`class_weight` as a tuple of floats >= 0, or None."""
    if class_weight is None:
        return None
    weights = tuple(class_weight)
    if not weights or not all(is_number(w) and w >= 0 for w in weights):
        raise InputError(
            "class_weight must be a sequence of numbers >= 0, one for each class, or None; "
            f"got {class_weight!r}."
        )
    return tuple(float(w) for w in weights)
