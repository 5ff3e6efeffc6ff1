"""``deltaprop.diagnose``: what is wrong with a network, each finding with evidence and advice.

Faults are recognised from the quantities of one pass (:mod:`deltaprop.model.signals`), from the
curves and records of the training, and from X and y. Findings are hints: they state what was
observed and leave the decision to you. The kinds of faults are in :mod:`deltaprop.inspect.faults`.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from deltaprop.errors import InputError, InputTypeError
from deltaprop.inspect.faults import data, signals, training
from deltaprop.inspect.faults.examined import Examination
from deltaprop.inspect.faults.finding import FAULTS, Finding, finding
from deltaprop.inspect.leakage import column_groups
from deltaprop.inspect.opening import OpenedModel, members_of, open_model
from deltaprop.training.history import History

OF_DATA = ("unscaled inputs", "label leakage")  # faults that do not depend on the member


class Diagnosis(list[Finding]):
    """The findings, causes before effects; ``str`` returns the text. Empty if there are none."""

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
        A Pipeline must end in one of deltaprop's estimators; a path names a model file. Of an
        ensemble, every member is examined, and the findings say which of them have the fault.
    X : array-like, sparse matrix or DataFrame (N, D)
    y : array-like (N,) or (N, K)
        The training data, as the model's ``fit`` takes them; at most 1000 rows are examined.
    history : History, optional
        The result of ``dp.fit``; for an estimator, by default that of its last fit. Without it,
        faults of the training (learning rate, plateau) cannot be recognised. Not for ensembles.
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
    members = [None] if opened.estimator is None else members_of(opened.estimator)
    if history is not None and len(members) > 1:
        raise InputError("history: each member of an ensemble has its own; leave it out.")
    held_out = None
    if validation is not None:
        if not isinstance(validation, (tuple, list)) or len(validation) != 2:
            raise InputTypeError(f"validation must be (X, y), got {type(validation).__name__}.")
        held_out = open_model(opened.model, *validation).data
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cases = [_examination(opened, member, history, held_out) for member in members]
        of_data = [*data.unscaled_inputs(cases[0])]
        leaks = [*data.label_leakage(cases[0])] if cases[0].finite else []
        return Diagnosis(_merged([[*_findings(case, of_data, leaks)] for case in cases]))


def _examination(
    opened: OpenedModel, member: Any, history: History | None, held_out: Any
) -> Examination:
    network = opened.network if member is None else member.fitted_network()
    curves = history or (None if member is None else member.fit_history())
    return Examination(
        network, *opened.data, opened.feature_names, column_groups(opened), curves, held_out
    )


def _merged(found: list[list[Finding]]) -> list[Finding]:
    """The findings of all members: one for each fault and layer, which names the members."""
    if len(found) == 1:
        return found[0]
    merged: dict[Any, list[Finding]] = {}
    for i, findings in enumerate(found):
        for each in findings:
            is_of_data = each.fault in OF_DATA
            key = each if is_of_data else (each.fault, each.layer)
            merged.setdefault(key, []).append(each if is_of_data else replace(each, members=(i,)))
    members = {key: tuple(i for each in same for i in each.members) for key, same in merged.items()}
    return [replace(same[0], members=members[key]) for key, same in merged.items()]


def _findings(
    case: Examination, unscaled: list[Finding], leaks: list[Finding]
) -> Iterator[Finding]:
    """The findings of one network; the last two arguments are those that concern the data."""
    if not case.finite:
        seen = "the loss, a parameter or an error signal is infinite or NaN."
        yield finding("exploding error signals", None, seen)
        yield from unscaled
        return
    # If one fault explains another, it comes first, or alone.
    units = [*signals.dead_units(case), *signals.saturated_units(case)]
    too_high = [*training.rate_too_high(case)]
    exploding = [] if too_high else [*signals.exploding(case)]
    vanishing = [] if units else [*signals.vanishing(case)]
    outputs = [] if exploding else [*signals.saturated_outputs(case)]
    found = [*unscaled, *too_high, *exploding, *vanishing, *units, *outputs]
    slow = [] if found else [*training.rate_too_low(case)]
    found += [*slow, *leaks, *training.overfitting(case)]
    yield from found or training.plateau(case)


__all__ = ["FAULTS", "Diagnosis", "Finding", "diagnose"]
