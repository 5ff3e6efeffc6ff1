"""Schedules: a factor for each step, of the learning rate, the weight decay or the dropout."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from deltaprop.errors import InputError, InputTypeError

if TYPE_CHECKING:
    from jaxtyping import Float, Int


class Clock(NamedTuple):
    """The position of a training run at the start of an epoch."""

    samples: int  # used so far
    total_steps: int  # of the whole training run


@dataclass(frozen=True)
class Schedule(ABC):
    """The base class of all schedules."""

    @abstractmethod
    def factors(self, steps: Int[np.ndarray, " S"], clock: Clock) -> Float[np.ndarray, " S"]:
        """One factor for each step of the epoch. Steps are counted from 0 over the whole run."""


@dataclass(frozen=True)
class Constant(Schedule):
    """A constant factor of 1.

    Examples
    --------
    >>> import numpy as np
    >>> from deltaprop.optim.schedules import Clock, Constant
    >>> Constant().factors(np.arange(2), Clock(0, 10))
    array([1., 1.])
    """

    def factors(self, steps: Int[np.ndarray, " S"], clock: Clock) -> Float[np.ndarray, " S"]:
        return np.ones(len(steps))


@dataclass(frozen=True)
class InverseScaling(Schedule):
    """(samples used + 1)^-power, updated after each epoch: scikit-learn's ``"invscaling"``.

    Parameters
    ----------
    power : float, default=0.5
        >= 0.

    Examples
    --------
    >>> import numpy as np
    >>> from deltaprop.optim.schedules import Clock, InverseScaling
    >>> InverseScaling().factors(np.arange(4), Clock(samples=3, total_steps=4)).round(2)
    array([0.5, 0.5, 0.5, 0.5])
    """

    power: float = 0.5

    def __post_init__(self) -> None:
        _check("power", self.power, 0, float("inf"))

    def factors(self, steps: Int[np.ndarray, " S"], clock: Clock) -> Float[np.ndarray, " S"]:
        return np.full(len(steps), 1 / (clock.samples + 1) ** self.power)


@dataclass(frozen=True)
class Adaptive(Schedule):
    """1, divided by `divisor` on every plateau instead of stopping: scikit-learn's ``"adaptive"``.

    Training stops on a plateau once the learning rate is at most `minimum`.

    Parameters
    ----------
    divisor : float, default=5.0
        > 1.
    minimum : float, default=1e-6
        >= 0. A learning rate, not a factor.

    Examples
    --------
    >>> import numpy as np
    >>> from deltaprop.optim.schedules import Clock, Adaptive
    >>> Adaptive().factors(np.arange(4), Clock(samples=0, total_steps=4)).round(2)
    array([1., 1., 1., 1.])
    """

    divisor: float = 5.0
    minimum: float = 1e-6

    def __post_init__(self) -> None:
        _check("divisor", self.divisor, 1, float("inf"), open_low=True)
        _check("minimum", self.minimum, 0, float("inf"))

    def factors(self, steps: Int[np.ndarray, " S"], clock: Clock) -> Float[np.ndarray, " S"]:
        return np.ones(len(steps))


@dataclass(frozen=True)
class Cosine(Schedule):
    """Half a cosine from 1 at the first step to `final` at the last. Loshchilov, Hutter (2017).

    Parameters
    ----------
    final : float, default=0.0
        The factor at the last step, in [0, 1].

    Examples
    --------
    >>> import numpy as np
    >>> from deltaprop.optim.schedules import Clock, Cosine
    >>> Cosine().factors(np.arange(4), Clock(samples=0, total_steps=4)).round(2)
    array([1.  , 0.75, 0.25, 0.  ])
    """

    final: float = 0.0

    def __post_init__(self) -> None:
        _check("final", self.final, 0, 1)

    def factors(self, steps: Int[np.ndarray, " S"], clock: Clock) -> Float[np.ndarray, " S"]:
        return _anneal(1.0, self.final, steps / max(1, clock.total_steps - 1))


@dataclass(frozen=True)
class WarmUp(Schedule):
    """A linear increase to 1 over the first fraction `share` of all steps, then another schedule.

    Parameters
    ----------
    share : float, default=0.05
        The fraction of the steps in which the factor increases, in [0, 1].
    then : Schedule, default=Constant()
        The schedule of the remaining steps.

    Examples
    --------
    >>> import numpy as np
    >>> from deltaprop.optim.schedules import Clock, WarmUp
    >>> WarmUp(0.5).factors(np.arange(4), Clock(samples=0, total_steps=4)).round(2)
    array([0.5, 1. , 1. , 1. ])
    """

    share: float = 0.05
    then: Schedule = field(default_factory=Constant)

    def __post_init__(self) -> None:
        _check("share", self.share, 0, 1)
        if not isinstance(self.then, Schedule):
            raise InputTypeError(f"then of WarmUp must be a schedule, got {self.then!r}.")

    def factors(self, steps: Int[np.ndarray, " S"], clock: Clock) -> Float[np.ndarray, " S"]:
        n = max(1, round(self.share * clock.total_steps))
        rest = clock._replace(total_steps=max(1, clock.total_steps - n))
        after = self.then.factors(np.maximum(0, steps - n), rest)
        return np.where(steps < n, (steps + 1) / n, after)


@dataclass(frozen=True)
class OneCycle(Schedule):
    """A cosine from `start` to 1 over the first fraction `peak` of the steps, then to `final`.

    Parameters
    ----------
    peak : float, default=0.3
        The fraction of the steps after which the factor is 1, in (0, 1].
    start, final : float, default=0.04 and 4e-6
        The first and the last factor, in [0, 1].

    References
    ----------
    Smith and Topin (2018), "Super-convergence", arXiv:1708.07120.

    Examples
    --------
    >>> import numpy as np
    >>> from deltaprop.optim.schedules import Clock, OneCycle
    >>> OneCycle(peak=0.5).factors(np.arange(4), Clock(samples=0, total_steps=4)).round(2)
    array([0.04, 1.  , 0.5 , 0.  ])
    """

    peak: float = 0.3
    start: float = 0.04
    final: float = 4e-6

    def __post_init__(self) -> None:
        _check("peak", self.peak, 0, 1, open_low=True)
        _check("start", self.start, 0, 1)
        _check("final", self.final, 0, 1)

    def factors(self, steps: Int[np.ndarray, " S"], clock: Clock) -> Float[np.ndarray, " S"]:
        last = max(1, clock.total_steps - 1)
        top = self.peak * clock.total_steps - 1  # where the factor is 1, as in PyTorch
        up = _anneal(self.start, 1.0, steps / max(1.0, top))
        down = _anneal(1.0, self.final, (steps - top) / max(1.0, last - top))
        return np.where(steps < top, up, down)


@dataclass(frozen=True)
class FlatCosine(Schedule):
    """1 for the first fraction `flat` of the steps, then half a cosine to 0: RealMLP's flat_cos.

    Parameters
    ----------
    flat : float, default=0.5
        The fraction of the steps with a factor of 1, in [0, 1). With 0 it is :class:`Cosine`.

    References
    ----------
    Holzmüller, Grinsztajn and Steinwart (2024), "Better by default: strong pre-tuned MLPs and
    boosted trees on tabular data", arXiv:2407.04491.

    Examples
    --------
    >>> import numpy as np
    >>> from deltaprop.optim.schedules import Clock, FlatCosine
    >>> FlatCosine().factors(np.arange(5), Clock(samples=0, total_steps=5)).round(2)
    array([1. , 1. , 1. , 0.5, 0. ])
    """

    flat: float = 0.5

    def __post_init__(self) -> None:
        _check("flat", self.flat, 0, 1, open_high=True)

    def factors(self, steps: Int[np.ndarray, " S"], clock: Clock) -> Float[np.ndarray, " S"]:
        t = steps / max(1, clock.total_steps - 1)
        return _anneal(1.0, 0.0, (t - self.flat) / (1 - self.flat))


@dataclass(frozen=True)
class CosLog4(Schedule):
    """½ (1 - cos(2π log₂(1 + 15 t))) at the fraction t of the steps: RealMLP's coslog4.

    Four cycles from 0 to 1 and back to 0, each twice as long as the one before it.

    References
    ----------
    Holzmüller, Grinsztajn and Steinwart (2024), "Better by default: strong pre-tuned MLPs and
    boosted trees on tabular data", arXiv:2407.04491.

    Examples
    --------
    >>> import numpy as np
    >>> from deltaprop.optim.schedules import Clock, CosLog4
    >>> CosLog4().factors(np.arange(6), Clock(samples=0, total_steps=15)).round(2) + 0.0
    array([0.  , 0.  , 0.93, 0.  , 0.72, 0.93])
    """

    def factors(self, steps: Int[np.ndarray, " S"], clock: Clock) -> Float[np.ndarray, " S"]:
        t = np.minimum(1.0, steps / clock.total_steps)
        factors: np.ndarray = 0.5 * (1 - np.cos(2 * np.pi * np.log2(1 + 15 * t)))
        return factors


def _anneal(begin: float, end: float, position: Float[np.ndarray, " S"]) -> Float[np.ndarray, " S"]:
    """From `begin` at position 0 to `end` at position 1 and beyond, along half a cosine."""
    p = np.clip(position, 0, 1)
    values: np.ndarray = end + (begin - end) * 0.5 * (1 + np.cos(np.pi * p))
    return values


def _check(
    name: str, value: object, low: float, high: float, open_low: bool = False,
    open_high: bool = False,
) -> None:  # fmt: skip
    ok = (
        isinstance(value, (int, float))
        and low <= value <= high
        and not (open_low and value == low)
        and not (open_high and value == high)
    )
    if not ok:
        left, right = "(" if open_low else "[", ")" if open_high else "]"
        raise InputError(f"{name} must be a number in {left}{low}, {high}{right}, got {value!r}.")


def check_factors(name: str, schedule: object) -> None:
    """Raise unless this is a schedule of factors, as for the weight decay and the dropout."""
    if not isinstance(schedule, Schedule) or isinstance(schedule, Adaptive):
        raise InputTypeError(
            f"{name} must be an object from deltaprop.schedules other than Adaptive, which reacts "
            f"to plateaus; got {schedule!r}. Write, for example, dp.schedules.FlatCosine()."
        )


_BY_NAME = {
    "constant": Constant(),
    "invscaling": InverseScaling(),
    "adaptive": Adaptive(),
    "cosine": Cosine(),
    "warmup_cosine": WarmUp(then=Cosine()),
    "one_cycle": OneCycle(),
    "flat_cosine": FlatCosine(),
    "coslog4": CosLog4(),
}
NAMES = tuple(_BY_NAME)


def get(schedule: str | Schedule) -> Schedule:
    """The schedule of that name with default settings; a :class:`Schedule` is returned unchanged.

    Examples
    --------
    >>> from deltaprop import schedules
    >>> schedules.get("cosine")
    Cosine(final=0.0)
    """
    if isinstance(schedule, Schedule):
        return schedule
    if not isinstance(schedule, str) or schedule not in _BY_NAME:
        raise InputError(
            f"schedule must be one of {', '.join(NAMES)} or a deltaprop.schedules object; "
            f"got {schedule!r}."
        )
    return _BY_NAME[schedule]
