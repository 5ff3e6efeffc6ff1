"""Faults of the data: inputs on a wrong scale, and columns that reveal the target."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from deltaprop.inspect.faults.examined import Examination
from deltaprop.inspect.faults.finding import Finding, finding
from deltaprop.inspect.leakage import leaks_of

# Initial weights suit columns of RMS 1: |a_0| is then about 1. At RMS 30, a is about 30: sigmoids
# are flat from 3 (tanh) or 6 on, and a step that suits other weights is 900 times too long for
# these weights. Pixels from 0 to 16 (RMS up to 12) still train.
UNSCALED = 30.0


def unscaled_inputs(case: Examination) -> Iterator[Finding]:
    X = case.X
    squares = X.multiply(X) if hasattr(X, "multiply") else np.square(X, dtype=np.float64)
    rms = np.sqrt(np.asarray(squares.mean(axis=0)).ravel())
    largest, usual = int(np.argmax(rms)), float(np.median(rms))
    if rms[largest] > UNSCALED or rms[largest] < 1 / UNSCALED:
        seen = (
            f"{_column(case, largest)} has RMS {rms[largest]:.3g}, the median column {usual:.3g}; "
            "initial weights assume an RMS of about 1."
        )
        yield finding("unscaled inputs", 0, seen)


def label_leakage(case: Examination) -> Iterator[Finding]:
    groups = [places for _, places in case.columns]
    for leak in leaks_of(case.net, case.X, case.y, groups):
        name = case.columns[leak.group][0]
        column = f"column {name}" if case.names is None else f"column {name!r}"
        yield finding("label leakage", None, leak.in_words(column))


def _column(case: Examination, d: int) -> str:
    return f"column {d}" if case.names is None else f"column {case.names[d]!r}"
