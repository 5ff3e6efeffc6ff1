"""Faults of error signals and units, recognised from one pass."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from deltaprop.inspect.faults.examined import Examination
from deltaprop.inspect.faults.finding import Finding, finding
from deltaprop.model.signals import flat_at_both_ends, is_flat

# The error signal is a thousand times smaller (larger) than that of the last layer: a learning rate
# that suits one end of the network is wrong by that factor at the other. Good initialisation keeps
# the ratio below 10 over tens of layers (He et al. 2015), far below the thresholds.
VANISHED, EXPLODED = 1e-3, 1e3
# Half of the units of a layer: a ReLU layer still works with a quarter of them dead; with half, the
# layer has half of its width.
DEAD = 0.5
# Half of all (row, unit) pairs: tanh units of a trained network saturate on the rows that they are
# confident about, which are a few per cent of the pairs. A network whose loss is a twentieth of
# that of the constant prediction has little left to learn: L-BFGS without l2 ends with saturated
# units and correct predictions.
SATURATED, SOLVED = 0.5, 0.05


def vanishing(case: Examination) -> Iterator[Finding]:
    for l, ratio in _ratios_to_last(case):
        if ratio < VANISHED:
            seen = (
                f"RMS(δ_{l}) is {ratio:.1e} of the last layer's; the ratios from layer "
                f"to layer are {_ratios(case)}."
            )
            yield finding("vanishing error signals", l, seen)
            return


def exploding(case: Examination) -> Iterator[Finding]:
    for l, ratio in _ratios_to_last(case):
        if ratio > EXPLODED:
            seen = (
                f"RMS(δ_{l}) is {ratio:.1e} times the last layer's; the ratios from layer to "
                f"layer are {_ratios(case)}."
            )
            yield finding("exploding error signals", l, seen)
            return


def _ratios_to_last(case: Examination) -> list[tuple[int, float]]:
    """Return RMS(δ_l) / RMS(δ of the last layer), from the last hidden layer to the first."""
    rms = [layer.delta.rms for layer in case.signals.layers]
    if rms[-1] == 0:
        return []
    return [(l, rms[l] / rms[-1]) for l in reversed(range(len(rms) - 1))]


def _ratios(case: Examination) -> str:
    return ", ".join(f"{s.delta_ratio:.2g}" for s in reversed(case.signals.layers[:-1]))


def dead_units(case: Examination) -> Iterator[Finding]:
    layers = list(case.signals.layers)
    if case.net.loss_function.closed_form(case.net.f[-1].name) is not None:
        layers.pop()  # its δ is not multiplied by f′
    for s in layers:
        if s.dead >= DEAD and not flat_at_both_ends(case.net.f[s.layer]):
            seen = (
                f"{len(s.dead_units)} of {s.units} units pass no error signal on any of "
                f"{len(case.y)} rows (|f′| is below 1 % of its maximum)"
            )
            since = [r.step for r in case.records if r.summary.layers[s.layer].dead >= DEAD]
            seen += f", since step {since[0]}." if since else "."
            yield finding("dead units", s.layer, seen)


def saturated_units(case: Examination) -> Iterator[Finding]:
    for s in case.signals.layers[:-1]:
        if s.saturated > SATURATED and case.loss > SOLVED * case.constant:
            seen = (
                f"{s.saturated:.0%} of the inputs of {s.activation} lie where |f′| is below 1 % of "
                f"its maximum; RMS(a_{s.layer}) is {s.a.rms:.2g}, RMS(X_{s.layer}) {s.X.rms:.2g}."
            )
            yield finding("saturated units", s.layer, seen)


def saturated_outputs(case: Examination) -> Iterator[Finding]:
    net, t = case.net, case.trace
    last, f = net.n_layers - 1, net.f[-1]
    if not flat_at_both_ends(f):
        return
    flat = is_flat(f, t.a[-1], t.X[-1])
    if net.loss_function.closed_form(f.name) is not None:
        # δ does not vanish, but the outputs are confident and worse than a constant prediction.
        if flat.mean() > SATURATED and case.loss > case.constant:
            seen = (
                f"{flat.mean():.0%} of the outputs are nearly 0 or 1, and the mean loss is "
                f"{case.loss:.3g}; the best constant prediction has {case.constant:.3g}."
            )
            yield finding("saturated outputs", last, seen)
        return
    g = np.abs(net.loss_function.first(net.encode(case.y), t.X[-1], np))
    fraction = float(g[flat].sum() / g.sum()) if g.any() else 0.0
    if fraction > SATURATED and case.loss > case.constant / 2:
        seen = (
            f"{fraction:.0%} of |loss′| is at outputs where |f′| is below 1 % of its maximum, so "
            f"it is not passed back; the mean loss is {case.loss:.3g}, that of the best constant "
            f"prediction {case.constant:.3g}."
        )
        yield finding("saturated outputs", last, seen)
