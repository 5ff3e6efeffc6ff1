"""Validation data: the loss and score after each epoch, and which of them is monitored."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from numbers import Real
from typing import Any

import numpy as np

from deltaprop.data.rows import Rows, TrainingRows
from deltaprop.engines.prediction import HeldOut
from deltaprop.engines.protocol import Processes
from deltaprop.errors import InputError, InputTypeError
from deltaprop.model import Model

Evaluate = Callable[[], tuple[float | None, float | None]]
"""Loss and score on the validation data at the current θ; None for one that is not computed."""


@dataclass(frozen=True)
class Validation:
    """What is evaluated after each epoch.

    Parameters
    ----------
    evaluate : callable
        Returns loss and score.
    stops : bool, default=True
        Whether training stops when the monitored one no longer improves, and restores the best θ.
    monitor_loss : bool, default=False
        Whether the loss is monitored even if there is a score.
    """

    evaluate: Evaluate
    stops: bool = True
    monitor_loss: bool = False

    def over(self, processes: Processes) -> Validation:
        """The same with means over all processes, so that all of them stop in the same epoch."""

        def evaluate() -> tuple[float | None, float | None]:
            loss, score = processes.mean(self.evaluate())
            return loss, score

        return replace(self, evaluate=evaluate)

    def monitored(self, loss: float | None, score: float | None) -> float:
        """The value whose improvement is monitored: the score, or the negative loss."""
        if score is not None and not self.monitor_loss:
            return score
        assert loss is not None
        return -loss


def held_out(
    model: Model,
    rows: TrainingRows,
    validation: float | tuple[Any, ...],
    rng: np.random.RandomState,
) -> tuple[TrainingRows, Rows]:
    """The rows to train on, and the rows to validate on.

    Parameters
    ----------
    validation : float or tuple
        A fraction of the rows to hold out, or (X, y) or (X, y, sample_weight).
    """
    if isinstance(validation, Real) and not isinstance(validation, bool):
        if not 0 < float(validation) < 1:
            raise InputError(
                "validation must be a fraction in (0, 1), (X, y) or (X, y, sample_weight); "
                f"got {validation!r}."
            )
        return rows.split(model, float(validation), rng)
    if not isinstance(validation, (tuple, list)) or len(validation) not in (2, 3):
        raise InputTypeError(
            "validation must be a fraction in (0, 1), (X, y) or (X, y, sample_weight); "
            f"got {type(validation).__name__}."
        )
    return rows, Rows.checked(model, *validation)


def on_rows(
    model: Model, rows: Rows, scorer: Callable[[Any, Any, Any], float] | None, stops: bool
) -> Validation:
    """Validation on held-out rows: their mean loss and, with a scorer, a score."""

    held = HeldOut(model, rows)

    def evaluate() -> tuple[float | None, float | None]:
        loss, _ = held.evaluate()
        return loss, None if scorer is None else float(scorer(model, rows.X, rows.y))

    return Validation(evaluate, stops)
