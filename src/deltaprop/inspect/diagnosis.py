"""``deltaprop.diagnose``: what is wrong with a network, each finding with evidence and advice.

Faults are recognised from the quantities of one pass (:mod:`deltaprop.model.signals`), from the
curves and records of the training, and from X and y. Findings are hints: they state what was
observed and leave the decision to you. The kinds of faults are in :mod:`deltaprop.inspect.faults`.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np

from deltaprop.errors import InputTypeError
from deltaprop.inspect.faults import data, signals, training
from deltaprop.inspect.faults.examined import Examination
from deltaprop.inspect.faults.finding import FAULTS, Finding, finding
from deltaprop.inspect.opening import open_model
from deltaprop.training.history import History


class Diagnosis(list[Finding]):
    """The findings, worst first; ``str`` returns the text. Empty if nothing was found."""

    @property
    def faults(self) -> list[str]:
        """The distinct names of the faults."""
        return list(dict.fromkeys(finding.fault for finding in self))

    def __str__(self) -> str:
        return "\n".join(map(str, self)) if self else "No fault was found."


def diagnose(
    model: Any, X: Any, y: Any, history: History | None = None, validation: Any = None
) -> Diagnosis:
    """Explain what is wrong with a network, its training or its data.

    Parameters
    ----------
    model : Network, fitted estimator, Pipeline or path
        A Pipeline must end in one of deltaprop's estimators; a path names a model file.
    X : array-like, sparse matrix or DataFrame (N, D)
    y : array-like (N,) or (N, K)
        The training data, as the model's ``fit`` takes them; at most 1000 rows are examined.
    history : History, optional
        The result of ``dp.fit``; for an estimator, by default that of its last fit. Without it,
        faults of the training (learning rate, plateau) cannot be recognised.
    validation : (X, y), optional
        Held-out rows, to recognise overfitting.

    Returns
    -------
    Diagnosis
        A list of :class:`Finding`, empty if nothing was found; ``str`` returns the text.

    Raises
    ------
    TypeError, ValueError
        If `model` is not a fitted deltaprop model, or X and y do not fit it.

    Examples
    --------
    >>> import deltaprop as dp
    >>> net = dp.Network(2, [dp.Dense(4, "relu"), dp.Dense(1)], loss="squared_error", seed=0)
    >>> net.b[0][...] = -100
    >>> for finding in dp.diagnose(net, [[1.0, 2.0], [3.0, 4.0]], [0.5, 1.5]):
    ...     print(finding)
    dead units, layer 0
      seen: 4 of 4 units pass no error signal on any of 2 rows (|f′| is below 1 % of its maximum).
      try:  leaky_relu, elu or gelu; a smaller learning rate; initial biases of 0.
    """
    if history is not None and not isinstance(history, History):
        raise InputTypeError(f"history must be a History, as dp.fit returns it; got {history!r}.")
    opened = open_model(model, X, y)
    held_out = None
    if validation is not None:
        if not isinstance(validation, (tuple, list)) or len(validation) != 2:
            raise InputTypeError(f"validation must be (X, y), got {type(validation).__name__}.")
        held_out = open_model(opened.model, *validation).data
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        examined = Examination(
            opened.network, *opened.data, opened.feature_names, history or opened.history, held_out
        )
        return Diagnosis(_findings(examined))


def _findings(case: Examination) -> Iterator[Finding]:
    if not case.finite:
        seen = "the loss, a parameter or an error signal is infinite or NaN."
        yield finding("exploding error signals", None, seen)
        yield from data.unscaled_inputs(case)
        return
    # If one fault explains another, only the first is reported.
    units = [*signals.dead_units(case), *signals.saturated_units(case)]
    too_high = [*training.rate_too_high(case)]
    exploding = [] if too_high else [*signals.exploding(case)]
    vanishing = [] if units else [*signals.vanishing(case)]
    outputs = [] if exploding else [*signals.saturated_outputs(case)]
    found = [*exploding, *vanishing, *units, *outputs, *data.unscaled_inputs(case), *too_high]
    slow = [] if found else [*training.rate_too_low(case)]
    found += [*slow, *data.label_leakage(case), *training.overfitting(case)]
    yield from found or training.plateau(case)


__all__ = ["FAULTS", "Diagnosis", "Finding", "diagnose"]
