"""The protocol of engines, which compute the steps of a training run.

The user chooses an :class:`Engine`. It creates a :class:`Trainer` for first-order solvers and an
:class:`Objective` for L-BFGS, both for one model and its rows. Compilation, the division of work
among threads, devices and processes, and falling back to another engine are implementation details.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol, TypeAlias

import numpy as np

from deltaprop.data.rows import Rows
from deltaprop.derivation.fisher import require_information
from deltaprop.errors import InputError
from deltaprop.model import Model
from deltaprop.optim.batch_gradients import BatchGradient, ExactGradient
from deltaprop.optim.state import TrainingState
from deltaprop.optim.transforms import Chain

if TYPE_CHECKING:
    from jaxtyping import Float, Int, Shaped

Order: TypeAlias = "Int[np.ndarray, ' N'] | None"
"""The order of the rows of an epoch; None is the order in which they are stored."""

RATES = np.dtype([("learning_rate", "f8"), ("weight_decay", "f8"), ("dropout", "f8")])
"""η of a step, and the factors of the weight decay and of the dropout probabilities."""

Rates: TypeAlias = "Shaped[np.ndarray, ' S']"
"""One record of the type RATES for each step."""

Objective: TypeAlias = "Callable[[], tuple[float, Float[np.ndarray, ' P']]]"
"""L and ∂L/∂θ over all rows at the current θ of the model."""


class StepObserver(Protocol):
    """Is called after certain steps, for example to record signals."""

    def distance(self, step: int) -> int:
        """How many steps may run before `at` must be called."""

    def at(self, step: int, epoch: int, learning_rate: float | None) -> None:
        """Called after this step, when θ of the model is up to date."""

    def forget_after(self, step: int) -> None:
        """Called when the steps after this one have been undone."""


@dataclass(frozen=True)
class Run:
    """The settings and the state of a training run, which a trainer is created from.

    Attributes
    ----------
    chain : Chain
        The transformations that turn the gradient into a step.
    batch_size : int
    state : TrainingState
        Read and updated by the trainer: solver state, step count, seeds.
    max_epochs : int
    gradient : BatchGradient
        How a batch becomes a loss and a gradient.
    observer : StepObserver or None
    rows_per_epoch : int or None
        How many rows an epoch has, if the trainer is given only a part of them.
    """

    chain: Chain
    batch_size: int
    state: TrainingState
    max_epochs: int
    gradient: BatchGradient = field(default_factory=ExactGradient)
    observer: StepObserver | None = None
    rows_per_epoch: int | None = None

    def part(self, batch_size: int, rows_per_epoch: int) -> Run:
        """The same run for a trainer that is given a part of an epoch's rows."""
        return replace(self, batch_size=batch_size, rows_per_epoch=rows_per_epoch)


class Trainer(Protocol):
    """Runs the steps of first-order training on one model and its rows; updates θ in place."""

    n_samples: int
    batch_size: int

    @property
    def epochs_per_call(self) -> int:
        """How many epochs one call of `run` should run, if nothing happens between them."""

    def run(self, orders: Sequence[Order], rates: Sequence[Rates], first: int = 0) -> list[float]:
        """Run whole epochs, or a part of one.

        Parameters
        ----------
        orders : sequence of ndarray or None
            The row order of each epoch; None is the order in which they are stored.
        rates : sequence of ndarray (S,)
            One record of the type RATES for each step.
        first : int, default=0
            The first step to run. If it is not 0, or there are fewer rates than steps, the call
            runs a part of a single epoch.

        Returns
        -------
        list of float
            Each epoch's loss; the losses of the parts of an epoch add up to it.
        """

    def rewind(self, n: int) -> None:
        """Undo all but the first n epochs of the last call, which had more than one."""


class Processes(Protocol):
    """The processes that train one model together."""

    rank: int
    count: int

    def mean(self, values: Sequence[float | None]) -> tuple[float | None, ...]:
        """The mean of each value over all processes, so that all make the same decisions."""

    def first(self, seed: int) -> int:
        """The seed of process 0."""

    def check_same_order(self, rng: np.random.RandomState) -> None:
        """Raise if processes that are given the same rows would shuffle them differently."""


class SingleProcess:
    """A process that trains alone."""

    rank, count = 0, 1

    def mean(self, values: Sequence[float | None]) -> tuple[float | None, ...]:
        return tuple(values)

    def first(self, seed: int) -> int:
        return seed

    def check_same_order(self, rng: np.random.RandomState) -> None:
        """Do nothing, because there is no other process."""


class Engine(Protocol):
    """Computes the steps of training runs."""

    def trainer(self, model: Model, rows: Rows, run: Run) -> Trainer:
        """A trainer for first-order solvers."""

    def objective(self, model: Model, rows: Rows) -> Objective:
        """Loss and gradient over all rows, for L-BFGS."""

    def part(self) -> tuple[Engine, int, int]:
        """An engine for this process's part of rows that all processes are given.

        Also returns the index of the part, and the number of parts.
        """

    @property
    def processes(self) -> Processes:
        """The processes that train together."""

    def work_layout(self) -> dict[str, str | int]:
        """The settings on which the results depend bit by bit, such as the number of threads."""


def begin(model: Model, run: Run) -> None:
    """Give the run a new solver state, unless it holds one that fits the model and the chain."""
    chain, state = run.chain, run.state
    if chain.needs_fisher:
        require_information(model.loss_function, model.f[-1], model.n_outputs, model.dtype)
    if model.vectors and (chain.needs_fisher or not isinstance(run.gradient, ExactGradient)):
        what = "KFAC has no Fisher factors for" if chain.needs_fisher else "privacy cannot clip"
        raise InputError(
            f"{what} layers with input_scale, trainable_activation or groups, which the network "
            "has. Create its Dense layers without them, or use dp.Adam() without privacy."
        )
    fresh = chain.init(model.theta, model.layout.shapes)
    if not state.solver_state:
        state.solver_state = fresh
    if [part.shape for part in state.solver_state] != [part.shape for part in fresh]:
        raise InputError(
            "The saved optimizer state does not match the solver or the network: it holds "
            f"{len(state.solver_state)} array(s) where {len(fresh)} are expected, or arrays of "
            "other shapes. Continue with the solver and the network of the earlier call, or start "
            "without resume."
        )
