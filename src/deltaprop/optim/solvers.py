"""Solvers: how θ is optimized. A first-order solver is a chain of gradient transformations."""

from __future__ import annotations

import math
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, NoReturn

import numpy as np

from deltaprop.errors import InputError
from deltaprop.functions.checks import is_real
from deltaprop.optim.schedules import Constant, Schedule, check_factors
from deltaprop.optim.transforms import (
    NTK,
    AdamMoments,
    Chain,
    DecayWeights,
    InputScale,
    Momentum,
    Orthogonal,
    ScaleSteps,
    Transformation,
)


@dataclass(frozen=True)
class Solver:
    """An optimizer. Its settings are dataclass fields, which are checked against `_ranges`."""

    name: ClassVar[str]
    """The name of the solver. Estimators and the command line accept the names in `NAMES`."""

    _ranges: ClassVar[dict[str, tuple[float, float, str]]] = {}

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            if each.name in self._ranges:
                low, high, text = self._ranges[each.name]
                if not is_real(value) or not low <= float(value) <= high:
                    self._refuse(each.name, f"a number {text}")
            elif each.type == "bool" and not isinstance(value, (bool, np.bool_)):
                self._refuse(each.name, "True or False")

    def _refuse(self, name: str, expected: str) -> NoReturn:
        raise InputError(
            f"{name} of {type(self).__name__} must be {expected}, got {getattr(self, name)!r}."
        )

    def __repr__(self) -> str:
        """As of any dataclass; a field with ``repr=False`` is shown if it is not the default.

        Checkpoints compare this text, so a new setting must not change it for older ones.
        """
        shown = [
            f"{each.name}={getattr(self, each.name)!r}"
            for each in fields(self)
            if each.repr or getattr(self, each.name) != each.default
        ]
        return f"{type(self).__name__}({', '.join(shown)})"


_POSITIVE = (5e-324, 1.7e308, "> 0")
_NOT_NEGATIVE = (0.0, 1.7e308, ">= 0")
_FRACTION = (0.0, math.nextafter(1.0, 0.0), "in [0, 1)")


@dataclass(frozen=True, repr=False)
class FirstOrder(Solver, ABC):
    """A solver that uses the gradient of one mini-batch at a time.

    Parameters
    ----------
    learning_rate : float, default=1e-3
        η > 0.
    rate_factors : mapping of str to float or "ntk", optional
        Factors ≥ 0 by which the steps of some parameters are multiplied, including their decoupled
        weight decay: ``{"b": 0.1}`` gives all biases a tenth of the learning rate, and
        ``{"W_0": 0}`` keeps the first weights as they are. The names are "W", "b", "r" (of
        ``Dense(input_scale=True)``) and "alpha" (of ``Dense(trainable_activation=True)``). With the
        number of a layer, as in "W_0", a factor holds for this layer alone. ``{"W": "ntk"}`` is
        the factor 1/√D_l, and 1/D_l for SGD: with ``Network(init="lecun_normal")``, each V_l = √D_l
        W_l then starts with variance 1 and is trained with the learning rate itself, where
        a_l = X_l V_l / √D_l + b_l. This is the NTK parametrization of RealMLP, exactly so but for
        the decoupled weight decay, which is multiplied as well. Not for Muon.
    """

    learning_rate: float = 1e-3
    rate_factors: Mapping[str, float | str] | None = field(default=None, kw_only=True, repr=False)

    ntk_power: ClassVar[float | None] = None
    """By which power of 1/D_l the step of W_l is multiplied in the NTK parametrization, if any."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.rate_factors is not None:
            factors = _checked_factors(self.rate_factors, self.ntk_power is not None)
            object.__setattr__(self, "rate_factors", factors)

    @property
    def decay_schedule(self) -> Schedule:
        """By which the weight decay is multiplied over time."""
        return Constant()

    def scaling(self) -> tuple[Transformation, ...]:
        """The last transformation, if some parameters have a learning rate of their own."""
        if not self.rate_factors:
            return ()
        return (ScaleSteps(tuple(self.rate_factors.items()), self.ntk_power or 0.0),)

    @abstractmethod
    def transformations(self) -> tuple[Transformation, ...]:
        """The transformations that turn the gradient of a batch into the step added to θ."""


def _checked_factors(factors: Any, ntk: bool) -> dict[str, float | str]:
    if not isinstance(factors, Mapping):
        raise InputError(f"rate_factors must be a dict such as {{'b': 0.1}}, got {factors!r}.")
    for name, factor in factors.items():
        if not (isinstance(name, str) and GROUP.fullmatch(name)):
            raise InputError(
                "rate_factors must name groups of parameters, which are W, b, r and alpha, or "
                f"those of one layer, such as W_0; got {name!r}."
            )
        if factor == NTK and name[0] == "W" and ntk:
            continue
        if not is_real(factor) or not 0 <= float(factor) < math.inf:
            where = f", or {NTK!r} for W of Adam, AdamW and SGD" if factor == NTK else ""
            raise InputError(
                f"rate_factors[{name!r}] must be a number >= 0{where}; got {factor!r}."
            )
    return {
        name: factor if factor == NTK else float(factor) for name, factor in sorted(factors.items())
    }


GROUP = re.compile(r"(W|b|r|alpha)(_(0|[1-9]\d*))?")


@dataclass(frozen=True, repr=False)
class SGD(FirstOrder):
    """v ← μ v - η g, θ ← θ + v; with Nesterov's look-ahead θ ← θ + μ v - η g.

    Parameters
    ----------
    learning_rate : float, default=1e-3
        η > 0.
    momentum : float, default=0.9
        μ in [0, 1].
    nesterov : bool, default=True
        Whether to use Nesterov's look-ahead.
    rate_factors : mapping of str to float, optional
        A learning rate for each group of parameters: see :class:`FirstOrder`.

    References
    ----------
    Sutskever et al. (2013), "On the importance of initialization and momentum in deep learning".

    Examples
    --------
    >>> import deltaprop as dp
    >>> dp.SGD(learning_rate=0.1)
    SGD(learning_rate=0.1, momentum=0.9, nesterov=True)
    """

    name: ClassVar = "sgd"
    ntk_power: ClassVar[float | None] = 1.0

    momentum: float = 0.9
    nesterov: bool = True

    _ranges: ClassVar = {"learning_rate": _POSITIVE, "momentum": (0.0, 1.0, "in [0, 1]")}

    def transformations(self) -> tuple[Transformation, ...]:
        return (Momentum(self.momentum, self.nesterov),)


@dataclass(frozen=True, repr=False)
class Adam(FirstOrder):
    """m ← β₁ m + (1-β₁) g, v ← β₂ v + (1-β₂) g², θ ← θ - η_t m / (√v + ε).

    η_t = η √(1-β₂ᵗ) / (1-β₁ᵗ) corrects for the start of m and v at zero.

    Parameters
    ----------
    learning_rate : float, default=1e-3
        η > 0.
    beta_1, beta_2 : float, default=0.9 and 0.999
        In [0, 1).
    epsilon : float, default=1e-8
        > 0.
    input_scale : float, default=0.0
        ≥ 0. If it is not 0, a factor r_d of each input is optimized as well, with a learning rate
        that is by `input_scale` larger: W_0 = diag(r) V. This lets the first layer select its
        inputs, which helps on tables. RealMLP uses 6.
    rate_factors : mapping of str to float, optional
        A learning rate for each group of parameters: see :class:`FirstOrder`.

    References
    ----------
    Kingma and Ba (2014), "Adam: a method for stochastic optimization", arXiv:1412.6980.
    Holzmüller, Grinsztajn and Steinwart (2024), "Better by default: strong pre-tuned MLPs and
    boosted trees on tabular data", arXiv:2407.04491, for `input_scale`.

    Examples
    --------
    >>> import deltaprop as dp
    >>> dp.Adam(learning_rate=0.01).beta_2
    0.999
    >>> dp.Adam(rate_factors={"b": 0.1, "W_0": 0.5}).rate_factors
    {'W_0': 0.5, 'b': 0.1}
    >>> dp.Adam(rate_factors={"W": "ntk", "b": 0.1}).rate_factors
    {'W': 'ntk', 'b': 0.1}
    """

    name: ClassVar = "adam"
    ntk_power: ClassVar[float | None] = 0.5

    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-8
    input_scale: float = field(default=0.0, kw_only=True, repr=False)

    _ranges: ClassVar = {
        "learning_rate": _POSITIVE,
        "beta_1": _FRACTION,
        "beta_2": _FRACTION,
        "epsilon": _POSITIVE,
        "input_scale": _NOT_NEGATIVE,
    }

    def transformations(self) -> tuple[Transformation, ...]:
        links = self._links()
        return (InputScale(self.input_scale, Chain(links)),) if self.input_scale else links

    def _links(self) -> tuple[Transformation, ...]:
        return (AdamMoments(self.beta_1, self.beta_2, self.epsilon),)


@dataclass(frozen=True, repr=False)
class AdamW(Adam):
    """Adam with decoupled decay: θ ← θ - η_t m / (√v + ε) - η · weight_decay · W.

    Parameters
    ----------
    weight_decay : float, default=0.01
        ≥ 0; biases do not decay.
    weight_decay_schedule : Schedule, default=Constant()
        Multiplies the weight decay over time, in addition to the schedule of the learning rate, by
        which it is multiplied in any case. RealMLP uses ``dp.schedules.FlatCosine()``. The other
        parameters are those of :class:`Adam`.

    References
    ----------
    Loshchilov and Hutter (2019), "Decoupled weight decay regularization", arXiv:1711.05101.

    Examples
    --------
    >>> import deltaprop as dp
    >>> dp.AdamW(weight_decay=0.1).weight_decay
    0.1
    >>> dp.AdamW(weight_decay_schedule=dp.schedules.FlatCosine()).decay_schedule
    FlatCosine(flat=0.5)
    """

    name: ClassVar = "adamw"

    weight_decay: float = 0.01
    weight_decay_schedule: Schedule = field(default=Constant(), kw_only=True, repr=False)

    _ranges: ClassVar = {**Adam._ranges, "weight_decay": _NOT_NEGATIVE}

    def __post_init__(self) -> None:
        super().__post_init__()
        check_factors("weight_decay_schedule", self.weight_decay_schedule)

    @property
    def decay_schedule(self) -> Schedule:
        """By which the weight decay is multiplied over time."""
        return self.weight_decay_schedule

    def _links(self) -> tuple[Transformation, ...]:
        return (*super()._links(), DecayWeights(self.weight_decay))


@dataclass(frozen=True, repr=False)
class Muon(AdamW):
    """Muon for the weight matrices of hidden layers, AdamW for everything else.

    A step of W_l, 0 < l < L-1, is -η · 0.2 √max(D_l, H_l) · O - η · weight_decay · W_l, where O is
    about the closest orthogonal matrix to the average gradient: all of its singular values are
    near 1, by five iterations of Newton and Schulz. The factor 0.2 √max(D_l, H_l) gives the step
    the size that steps of AdamW have, so that both can share one learning rate (Liu et al.). The
    first and the last W_l, those of layers with groups, and all b_l, take the steps of AdamW. A
    network with fewer than two hidden layers has no such W_l.

    A step costs as much more as 5 H_l further rows in the batch (for D_l = H_l), so that small
    batches take several times as long as with AdamW.

    Parameters
    ----------
    hidden_momentum : float, default=0.95
        μ in [0, 1): M ← μ M + (1-μ) ∂W_l, and O is that of (1-μ) ∂W_l + μ M. The other parameters
        are those of :class:`AdamW`.

    References
    ----------
    Jordan et al. (2024), "Muon: an optimizer for hidden layers in neural networks",
    https://kellerjordan.github.io/posts/muon/.
    Liu et al. (2025), "Muon is scalable for LLM training", arXiv:2502.16982, for the factor.

    Examples
    --------
    >>> import deltaprop as dp
    >>> dp.Muon(learning_rate=0.01).hidden_momentum
    0.95
    """

    name: ClassVar = "muon"
    ntk_power: ClassVar[float | None] = None

    hidden_momentum: float = 0.95

    _ranges: ClassVar = {**AdamW._ranges, "hidden_momentum": _FRACTION}

    def _links(self) -> tuple[Transformation, ...]:
        adam = AdamMoments(self.beta_1, self.beta_2, self.epsilon)
        orthogonal = Orthogonal(self.hidden_momentum, Chain((adam,)))
        return (orthogonal, DecayWeights(self.weight_decay))


@dataclass(frozen=True)
class LBFGS(Solver):
    """Limited-memory BFGS over all rows at once, by SciPy.

    Parameters
    ----------
    max_fun : int, default=15000
        The maximum number of evaluations of the loss and its gradient.

    References
    ----------
    Zhu, Byrd, Lu and Nocedal (1997), Algorithm 778.

    Examples
    --------
    >>> import deltaprop as dp
    >>> dp.LBFGS()
    LBFGS(max_fun=15000)
    """

    name: ClassVar = "lbfgs"

    max_fun: int = 15000

    _ranges: ClassVar = {"max_fun": (1.0, 1.7e308, ">= 1")}


BY_NAME: dict[str, type[Solver]] = {
    solver.name: solver for solver in (Adam, SGD, LBFGS, AdamW, Muon)
}
NAMES = tuple(BY_NAME)


def is_full_batch(solver: object) -> bool:
    """Whether a solver, given as an object or by name, uses all rows in each step.

    Examples
    --------
    >>> from deltaprop.optim.solvers import is_full_batch
    >>> is_full_batch("lbfgs"), is_full_batch("adam")
    (True, False)
    """
    kind = BY_NAME.get(solver) if isinstance(solver, str) else type(solver)
    return kind is not None and issubclass(kind, Solver) and not issubclass(kind, FirstOrder)
