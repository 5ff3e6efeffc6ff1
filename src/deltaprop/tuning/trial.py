"""One trial: the folds of a cross-validation with one set of parameters, on one thread."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from deltaprop.estimators.tabular import BaseTabular
from deltaprop.training.history import Epoch
from deltaprop.tuning.pruning import Curves, MedianRule, loss_at

State = Literal["complete", "pruned", "failed"]


@dataclass(frozen=True)
class Outcome:
    """What a trial found.

    Attributes
    ----------
    state : {"complete", "pruned", "failed"}
    loss : float
        The mean held-out loss of the folds; of a pruned trial, that of the folds it began.
    curves : list of list of float
        For each fold, the lowest held-out loss up to each epoch.
    seconds : float
    error : str or None
        Why the trial failed.
    """

    state: State
    loss: float
    curves: list[list[float]]
    seconds: float
    error: str | None = None

    @property
    def epochs(self) -> int:
        """The number of epochs of all networks."""
        return sum(len(curve) for curve in self.curves)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


class Pruned(Exception):
    """The trial is behind others."""


class Stopped(Exception):
    """All trials are to end."""


class Observer:
    """A callback that collects the held-out losses of a trial, and ends it if a rule says so."""

    def __init__(self, rule: MedianRule, stop: threading.Event) -> None:
        self._rule, self._stop = rule, stop
        self.curves: list[list[float]] = []

    def __call__(self, event: Epoch) -> None:
        if self._stop.is_set():
            raise Stopped
        if event.member == len(self.curves):
            self.curves.append([])
        curve, loss = self.curves[-1], event.validation_loss
        lowest = curve[-1] if curve else math.inf
        curve.append(loss if loss is not None and loss < lowest else lowest)
        if self._rule.stops(self.curves):
            raise Pruned


@dataclass(frozen=True)
class Data:
    """What the models are fitted to."""

    X: Any
    y: Any
    sample_weight: Any
    groups: Any

    def fit(self, model: Any) -> Any:
        return model.fit(self.X, self.y, sample_weight=self.sample_weight, groups=self.groups)


def with_parameters(model: BaseTabular, **parameters: Any) -> BaseTabular:
    """An unfitted estimator with other parameters. Unlike a clone, it shares its callbacks."""
    return type(model)(**model.get_params(deep=False) | parameters)


def run_trial(
    model: BaseTabular, data: Data, others: Sequence[Curves], stop: threading.Event, must: bool
) -> Outcome | None:
    """Cross-validate an estimator.

    Parameters
    ----------
    model : BaseTabular
        Its `cv` are the folds.
    data : Data
    others : sequence of Curves
        Complete trials to compare it with.
    stop : Event
        If it is set, the trial ends after an epoch and returns None.
    must : bool
        Whether to raise what goes wrong, instead of returning it.
    """
    observer, began = Observer(MedianRule(others), stop), time.monotonic()
    state: State = "complete"
    error = None
    try:
        with _on_one_thread():
            data.fit(with_parameters(model, callbacks=[observer], refit=False))
    except Stopped:
        return None
    except Pruned:
        state = "pruned"
    except ValueError as found:
        if must:
            raise
        state, error = "failed", str(found)
    curves = observer.curves
    loss = math.nan
    if curves and state != "failed":
        loss = loss_at(curves, len(curves) - 1, len(curves[-1]))
    return Outcome(state, loss, curves, time.monotonic() - began, error)


def _on_one_thread() -> Any:
    """A context in which deltaprop uses one thread, as inside of a parallel job of joblib."""
    from joblib.parallel import SequentialBackend, parallel_config

    return parallel_config(backend=SequentialBackend(nesting_level=1))
