"""What is wrong with a network, in words: each finding with its evidence and what to try.

Faults are recognised from the quantities of one pass (:mod:`deltaprop.model.signals`), from the
curves and records of the search, and from X and y. Losses are compared with the *constant's*: the
mean loss of the best prediction that does not look at X. It is 1 on the scale of every threshold.

Thresholds are set so that networks that learn stay below them with room to spare; each says why it
is what it is. Findings are hints. They say what was seen, and the reader decides.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from deltaprop.errors import InputTypeError
from deltaprop.model.inputs import check_X_y
from deltaprop.model.signals import Signals, flat_at_both_ends, is_flat, summarise
from deltaprop.network import Dense, Network, Trace
from deltaprop.optim.solvers import LBFGS
from deltaprop.training.history import History
from deltaprop.training.recording import RecordedStep

if TYPE_CHECKING:
    from jaxtyping import Float, Num

ROWS = 1000  # of X and y that are looked at, evenly spaced

# A thousandth of the last layer's error signal: a step that is right for one end of the network is
# a thousand times off at the other. Good initialisation keeps the ratio within 10 over tens of
# layers (He et al. 2015), so that nothing in between is left to doubt.
VANISHED, EXPLODED = 1e-3, 1e3
# Half a layer's units: a ReLU layer works with a quarter of them dead; with half, the network has
# half the width that was asked for.
DEAD = 0.5
# Half of all (row, unit) pairs: tanh units of a trained network saturate on the rows that they are
# sure of, a few per cent of the pairs in networks that learnt. One whose loss is a twentieth of the
# constant's has nothing left to learn: L-BFGS without l2 ends there, saturated and right.
SATURATED, SOLVED = 0.5, 0.05
# First weights suit columns of RMS 1: |a_0| is then about 1. At RMS 30, a is about 30: sigmoids are
# flat from 3 (tanh) or 6 on, and a step that is right for other weights is 900 times too long for
# these. Pixels from 0 to 16 (RMS up to 12) still train.
UNSCALED = 30.0
# A loss that climbs back more than it ever fell, in at least every fifth epoch; noise of batches
# gives rises below a twentieth of the constant's loss.
CLIMB, OFTEN = 0.05, 0.2
# A tenth of all weights replaced each step; 1e-3 is usual.
MOVED = 0.1
# A search that slows down as it nears its end falls little in its last quarter. One whose last
# quarter brings more than half of a quarter's share still falls in a straight line.
STRAIGHT = 0.5
# Two fifths of all that there is to learn hold on the training rows only, or the validation loss
# has climbed by a tenth from its best. Early stopping on a small noisy table (diabetes) leaves 0.2.
GAP, PAST_BEST = 0.4, 0.1
# Less than a tenth of what there is to learn has been learnt, and the second half of the search
# moved the loss by less than a hundredth of it.
FAR, STILL = 0.9, 0.01
# One column alone is right on 99 %: the strongest column of the usual tables (iris, wine, breast
# cancer, penguins) reaches 96 %.
LEAK = 0.99


@dataclass(frozen=True)
class Finding:
    """One fault.

    Attributes
    ----------
    fault : str
        Of ``deltaprop.inspect.diagnosis.FAULTS``.
    layer : int or None
        Where; None for faults of the search or the data.
    evidence : str
        What was seen, in numbers.
    advice : str
        What to try.
    """

    fault: str
    layer: int | None
    evidence: str
    advice: str

    def __str__(self) -> str:
        where = "" if self.layer is None else f", layer {self.layer}"
        return f"{self.fault}{where}\n  seen: {self.evidence}\n  try:  {self.advice}"


class Diagnosis(list[Finding]):
    """The findings, worst first; ``str`` gives the text. Empty where nothing was found."""

    @property
    def faults(self) -> list[str]:
        """Their names, each once."""
        return list(dict.fromkeys(finding.fault for finding in self))

    def __str__(self) -> str:
        return "\n".join(map(str, self)) if self else "Nothing wrong was found."


FAULTS = {
    "exploding error signals":
        "a smaller first step: init='he_uniform' or 'glorot_uniform', clip_norm=1, fewer layers.",
    "vanishing error signals":
        "relu, gelu or silu in place of sigmoids, init='he_uniform', fewer layers.",
    "dead units":
        "leaky_relu, elu or gelu; a smaller learning rate; biases that start at 0.",
    "saturated units":
        "scaled inputs, a smaller learning rate, smaller first weights, l2 > 0; or relu.",
    "saturated outputs":
        "the loss that belongs to the output (softmax with cross_entropy, logistic with "
        "binary_cross_entropy), scaled inputs, smaller first weights.",
    "unscaled inputs":
        "sklearn.preprocessing.StandardScaler before the network, or deltaprop's Tabular "
        "estimators, which scale by themselves.",
    "learning rate too high":
        "a learning rate 10 times smaller, clip_norm, or a schedule that decays.",
    "learning rate too low":
        "a learning rate 10 times larger, or more epochs.",
    "label leakage":
        "ask how that column came about: if it is known only after y is, drop it.",
    "overfitting":
        "early stopping (validation=0.2), l2, dropout, fewer units, more rows.",
    "plateau":
        "more units or layers, other features, less l2; another init or seed. X may not say "
        "more about y.",
}  # fmt: skip
"""The faults, and what to try for each."""


def diagnose(
    model: Any, X: Any, y: Any, history: History | None = None, validation: Any = None
) -> Diagnosis:
    """Say in words what is wrong with a network, or with the search that trained it.

    Parameters
    ----------
    model : Network or fitted estimator
    X : array-like, sparse matrix or DataFrame (N, D)
    y : array-like (N,) or (N, K)
        What it was trained on, as its ``fit`` takes them; at most 1000 rows are looked at.
    history : History, optional
        What ``dp.fit`` returned. An estimator brings its own. Without one, faults of the search
        (learning rate, plateau) cannot be seen.
    validation : (X, y), optional
        Rows that were not trained on, to see overfitting.

    Returns
    -------
    Diagnosis
        A list of :class:`Finding`, empty where nothing was found; ``str`` gives the text.

    Raises
    ------
    TypeError, ValueError
        If `model` is no fitted model of deltaprop's, or X and y do not fit it.

    Examples
    --------
    >>> import deltaprop as dp
    >>> net = dp.Network(2, [dp.Dense(4, "relu"), dp.Dense(1)], loss="squared_error", seed=0)
    >>> net.b[0][...] = -100
    >>> for finding in dp.diagnose(net, [[1.0, 2.0], [3.0, 4.0]], [0.5, 1.5]):
    ...     print(finding)
    dead units, layer 0
      seen: 4 of 4 units pass no error signal on any of 2 rows (|f′| below 1 % of its steepest).
      try:  leaky_relu, elu or gelu; a smaller learning rate; biases that start at 0.
    """
    if history is not None and not isinstance(history, History):
        raise InputTypeError(f"history must be what dp.fit returned, got {history!r}.")
    net, rows_X, rows_y, names = _unwrapped(model, X, y)
    if history is None and not isinstance(model, Network):
        history = _own_history(getattr(model, "mlp_", model))
    held_out = None
    if validation is not None:
        if not isinstance(validation, (tuple, list)) or len(validation) != 2:
            raise InputTypeError(f"validation must be (X, y), got {type(validation).__name__}.")
        held_out = _unwrapped(model, *validation)[1:3]
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        case = _Case(net, rows_X, rows_y, names, history, held_out)
        return Diagnosis(_findings(case))


def _findings(case: _Case) -> Iterator[Finding]:
    if not case.finite:
        seen = "the loss, a parameter or an error signal is infinite or not a number."
        yield Finding(*_named("exploding error signals", None, seen))
        yield from _unscaled(case)
        return
    # Where one fault explains another, only the first is told.
    units, too_high = [*_dead(case), *_saturated(case)], [*_too_high(case)]
    exploding = [] if too_high else [*_exploding(case)]
    vanishing = [] if units else [*_vanishing(case)]
    outputs = [] if exploding else [*_saturated_outputs(case)]
    found = [*exploding, *vanishing, *units, *outputs, *_unscaled(case), *too_high]
    slow = [] if found else [*_too_low(case)]
    found += [*slow, *_leakage(case), *_overfitting(case)]
    yield from found or _plateau(case)


def _named(fault: str, layer: int | None, seen: str) -> tuple[str, int | None, str, str]:
    return fault, layer, seen, FAULTS[fault]


# ---------------------------------------------------------------- what is looked at


@dataclass
class _Case:
    """The patient: a network in its own terms, and what was recorded of its search."""

    net: Network
    X: Any
    y: Num[np.ndarray, "N ..."]
    names: Sequence[str] | None
    history: History | None
    held_out: tuple[Any, Any] | None

    def __post_init__(self) -> None:
        N = self.X.shape[0]
        some = np.unique(np.linspace(0, N - 1, min(N, ROWS)).round().astype(int))
        self.N = N
        self.X, self.y = self.X[some], self.y[some]

    @cached_property
    def trace(self) -> Trace:
        return self.net.trace(self.X, self.y)

    @cached_property
    def signals(self) -> Signals:
        return summarise(self.trace)

    @property
    def finite(self) -> bool:
        parts = [self.net.theta, *self.trace.delta, np.array(self.trace.loss)]
        return all(bool(np.isfinite(part).all()) for part in parts)

    @cached_property
    def loss(self) -> float:
        return _mean_loss(self.net, self.X, self.y)

    @cached_property
    def constant(self) -> float:
        """The mean loss of the best prediction that does not look at X."""
        from deltaprop.training.fitting import fit

        net = self.net
        alone = Network(1, [Dense(net.n_outputs, net.f[-1])], loss=net.loss_function, seed=0,
                        reduction="mean")  # fmt: skip
        alone.theta[...] = 0
        alone.b[0][...] = 0.1  # at 0 a ReLU would have no slope
        nothing = np.zeros((len(self.y), 1))
        try:
            fit(alone, nothing, self.y, solver=LBFGS(), engine="reference", tol=1e-6)
        except ValueError:  # the user's own loss, out of bounds
            return float("nan")
        return _mean_loss(alone, nothing, self.y)

    @cached_property
    def curve(self) -> Float[np.ndarray, " E"]:
        """The training loss a sample of each epoch, in parts of the constant's."""
        if self.history is None:
            return np.empty(0)
        progress, curve = self.history.progress, np.asarray(self.history.loss_curve, float)
        if self.net.reduction == "sum":
            curve = curve / (progress.samples / progress.epoch if progress.samples else self.N)
        scaled: np.ndarray = curve / self.constant
        return scaled

    @cached_property
    def validation_curve(self) -> Float[np.ndarray, " E"]:
        curve = None if self.history is None else self.history.validation_loss_curve
        return np.asarray(curve or [], float) / self.constant

    @property
    def records(self) -> list[RecordedStep]:
        return [] if self.history is None else self.history.records


def _mean_loss(net: Network, X: Any, y: Num[np.ndarray, "N ..."]) -> float:
    return net.mean_loss(X, y, None)


def _unwrapped(model: Any, X: Any, y: Any) -> tuple[Network, Any, Any, Sequence[str] | None]:
    """The network, and X and y as it sees them, with the names of X's columns where it has some."""
    names = [str(name) for name in X.columns] if hasattr(X, "columns") else None
    if hasattr(model, "encoder_"):  # a Tabular estimator
        X = model.encoder_.transform(X)
        y = np.asarray(y)
        if hasattr(model, "classes_"):
            y = y.astype(model.classes_.dtype)
        else:
            y = (y.astype(np.float64) - model.y_mean_) / model.y_scale_
        model, names = model.mlp_, None
    if isinstance(model, Network):
        X, y = check_X_y(model, X, y, narrow=False)
        return model, X, y, names
    if not hasattr(model, "_checked"):
        raise InputTypeError(f"model must be a deltaprop.Network or estimator, got {model!r}.")
    from sklearn.utils.validation import check_is_fitted

    check_is_fitted(model)
    rows = model._checked(X, y, None, reset=False, task="within")
    X = rows.X.tocsr() if hasattr(rows.X, "tocsr") else rows.X
    return model._network(), X, rows.y, names


def _own_history(model: Any) -> History:
    """An estimator's attributes as a History."""
    return History(
        loss_curve=model.loss_curve_,
        validation_loss_curve=model.validation_loss_curve_,
        n_epochs=model.n_iter_,
        stop_reason=model.stop_reason_.replace("max_iter", "max_epochs"),
        best_epoch=model.n_iter_ if model.early_stopping else None,
        progress=model._progress,
        records=getattr(model, "records_", None) or [],
    )


# ---------------------------------------------------------------- error signals and units


def _vanishing(case: _Case) -> Iterator[Finding]:
    for l, share in _shares_of_last(case):
        if share < VANISHED:
            seen = (
                f"RMS(δ_{l}) is {share:.1e} of the last layer's; from layer to layer "
                f"{_ratios(case)} is left."
            )
            yield Finding(*_named("vanishing error signals", l, seen))
            return


def _exploding(case: _Case) -> Iterator[Finding]:
    for l, share in _shares_of_last(case):
        if share > EXPLODED:
            seen = (
                f"RMS(δ_{l}) is {share:.1e} times the last layer's; from layer to layer it grows "
                f"by {_ratios(case)}."
            )
            yield Finding(*_named("exploding error signals", l, seen))
            return


def _shares_of_last(case: _Case) -> list[tuple[int, float]]:
    """RMS(δ_l) in parts of the last layer's, from the last hidden layer down."""
    rms = [layer.delta.rms for layer in case.signals.layers]
    if rms[-1] == 0:
        return []
    return [(l, rms[l] / rms[-1]) for l in reversed(range(len(rms) - 1))]


def _ratios(case: _Case) -> str:
    return ", ".join(f"{s.delta_ratio:.2g}" for s in reversed(case.signals.layers[:-1]))


def _dead(case: _Case) -> Iterator[Finding]:
    layers = list(case.signals.layers)
    if case.net.loss_function.closed_form(case.net.f[-1].name) is not None:
        layers.pop()  # its δ does not go through f′
    for s in layers:
        if s.dead >= DEAD and not flat_at_both_ends(case.net.f[s.layer]):
            seen = (
                f"{len(s.dead_units)} of {s.units} units pass no error signal on any of "
                f"{len(case.y)} rows (|f′| below 1 % of its steepest)"
            )
            since = [r.step for r in case.records if r.summary.layers[s.layer].dead >= DEAD]
            seen += f", since step {since[0]}." if since else "."
            yield Finding(*_named("dead units", s.layer, seen))


def _saturated(case: _Case) -> Iterator[Finding]:
    for s in case.signals.layers[:-1]:
        if s.saturated > SATURATED and case.loss > SOLVED * case.constant:
            seen = (
                f"{s.saturated:.0%} of {s.activation}'s inputs lie where |f′| is below 1 % of its "
                f"steepest; RMS(a_{s.layer}) is {s.a.rms:.2g}, RMS(X_{s.layer}) {s.X.rms:.2g}."
            )
            yield Finding(*_named("saturated units", s.layer, seen))


def _saturated_outputs(case: _Case) -> Iterator[Finding]:
    net, t = case.net, case.trace
    last, f = net.n_layers - 1, net.f[-1]
    if not flat_at_both_ends(f):
        return
    flat = is_flat(f, t.a[-1], t.X[-1])
    if net.loss_function.closed_form(f.name) is not None:
        # δ gets through, but sure and wrong on more rows than a constant is.
        if flat.mean() > SATURATED and case.loss > case.constant:
            seen = (
                f"{flat.mean():.0%} of the outputs are as good as 0 or 1, and the mean loss is "
                f"{case.loss:.3g}; a constant reaches {case.constant:.3g}."
            )
            yield Finding(*_named("saturated outputs", last, seen))
        return
    g = np.abs(net.loss_function.first(net.encode(case.y), t.X[-1], np))
    share = float(g[flat].sum() / g.sum()) if g.any() else 0.0
    if share > SATURATED and case.loss > case.constant / 2:
        seen = (
            f"{share:.0%} of |loss′| sits on outputs where |f′| is below 1 % of its steepest, so "
            f"it does not get back; the mean loss is {case.loss:.3g}, a constant's "
            f"{case.constant:.3g}."
        )
        yield Finding(*_named("saturated outputs", last, seen))


# ---------------------------------------------------------------- data


def _unscaled(case: _Case) -> Iterator[Finding]:
    X = case.X
    squares = X.multiply(X) if hasattr(X, "multiply") else np.square(X, dtype=np.float64)
    rms = np.sqrt(np.asarray(squares.mean(axis=0)).ravel())
    largest, usual = int(np.argmax(rms)), float(np.median(rms))
    if rms[largest] > UNSCALED or rms[largest] < 1 / UNSCALED:
        seen = (
            f"{_column(case, largest)} has RMS {rms[largest]:.3g}, the median column {usual:.3g}; "
            "weights start as if it were 1."
        )
        yield Finding(*_named("unscaled inputs", 0, seen))


def _leakage(case: _Case) -> Iterator[Finding]:
    from sklearn.model_selection import cross_val_score
    from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

    t = case.net.encode(case.y)
    if len(t) < 50:  # chance is enough for one column among many
        return
    labels = _classes(t, case.net.loss_function.name)
    if labels is None:
        tree: Any = DecisionTreeRegressor(min_samples_leaf=5, random_state=0)
        how, target = "r2", t
    else:
        counts = np.unique(labels, return_counts=True)[1]
        if len(counts) < 2 or counts.min() < 3:
            return
        # Two cuts a class: a column that says the class needs no more.
        tree = DecisionTreeClassifier(max_leaf_nodes=2 * len(counts), random_state=0)
        how, target = "balanced_accuracy", labels
    for d in _candidates(case.X, t):
        x = case.X[:, [d]]
        x = x.toarray() if hasattr(x, "toarray") else x
        if tree.fit(x, target).score(x, target) < LEAK:
            continue
        score = float(np.mean(cross_val_score(tree, x, target, scoring=how, cv=3)))
        if score >= LEAK:
            what = "R²" if labels is None else "balanced accuracy"
            seen = f"{_column(case, d)} alone predicts y with {what} {score:.3f} on held-out rows."
            yield Finding(*_named("label leakage", None, seen))


def _classes(t: Float[np.ndarray, "N K"], loss: str) -> Num[np.ndarray, " N"] | None:
    """Class codes, where t says classes."""
    if loss not in ("cross_entropy", "focal", "binary_cross_entropy", "hinge"):
        return None
    labels: np.ndarray = t.argmax(axis=1) if t.shape[1] > 1 else (t[:, 0] > 0.5).astype(int)
    return labels


def _candidates(X: Any, t: Float[np.ndarray, "N K"], most: int = 500) -> Sequence[int]:
    """All columns, or where there are very many, those that go with y most."""
    if X.shape[1] <= most:
        return range(X.shape[1])
    together = np.abs(X.T @ (t - t.mean(axis=0))).max(axis=1)
    return [int(d) for d in np.argsort(-together)[:most]]


def _column(case: _Case, d: int) -> str:
    return f"column {d}" if case.names is None else f"column {case.names[d]!r}"


# ---------------------------------------------------------------- the search


def _too_high(case: _Case) -> Iterator[Finding]:
    curve = case.curve
    if len(curve) >= 5:
        steps = np.diff(curve)
        rises = steps[steps > CLIMB]
        climbed, fell = float(rises.sum()), float(curve[0] - curve.min())
        ends_above = curve[-1] > max(curve[0], 1.0) + CLIMB
        if ends_above or (climbed > fell and len(rises) >= OFTEN * len(steps)):
            seen = (
                f"the loss rose in {len(rises)} of {len(steps)} epochs, by {climbed:.3g} in all, "
                f"and fell by {fell:.3g} from the first to its best (1 is a constant's loss); it "
                f"ended at {curve[-1]:.3g}."
            )
            yield Finding(*_named("learning rate too high", None, seen))
            return
    moved = _moved(case)
    moved = moved[len(moved) // 2 :]
    if moved and np.median(moved) > MOVED and case.loss > case.constant / 2:
        seen = f"a step moved the weights by {np.median(moved):.2g} of their size; 1e-3 is usual."
        yield Finding(*_named("learning rate too high", None, seen))


def _moved(case: _Case) -> list[float]:
    """The update-to-weight ratio of each record, of the layer that moved most."""
    most = [max(s.update_to_weight for s in r.summary.layers) for r in case.records]
    return [m for m in most if not np.isnan(m)]


def _too_low(case: _Case) -> Iterator[Finding]:
    curve = case.curve
    if len(curve) < 8 or not case.loss > case.constant / 2:
        return
    quarter = len(curve) // 4
    fell, lately = float(curve[0] - curve[-1]), float(curve[-1 - quarter] - curve[-1])
    steady = np.mean(np.diff(curve) < 0)
    if fell > 0 and steady >= 0.9 and lately > STRAIGHT * fell * quarter / (len(curve) - 1):
        seen = (
            f"the loss still falls in a straight line: by {fell:.2g} in {len(curve)} epochs, "
            f"{lately:.2g} of it in the last {quarter}, and stands at {curve[-1]:.3g} (1 is a "
            "constant's)."
        )
        moved = _moved(case)
        if moved:
            seen += f" A step moved the weights by {np.median(moved):.1e} of their size."
        yield Finding(*_named("learning rate too low", None, seen))


def _overfitting(case: _Case) -> Iterator[Finding]:
    train, curve = case.loss / case.constant, case.validation_curve
    restored = case.history is not None and case.history.best_epoch is not None
    if len(curve) and not restored:
        best = int(np.argmin(curve))
        if curve[-1] > curve[best] + PAST_BEST and case.curve[-1] < case.curve[best]:
            seen = (
                f"the validation loss was best in epoch {best + 1}, at {curve[best]:.3g}, and "
                f"ended at {curve[-1]:.3g}, while the training loss went on to "
                f"{case.curve[-1]:.3g} (1 is a constant's)."
            )
            yield Finding(*_named("overfitting", None, seen))
            return
    held = None
    if case.held_out is not None:
        held = _mean_loss(case.net, *case.held_out) / case.constant
    elif len(curve):
        held = float(curve.min() if restored else curve[-1])
    if held is not None and held > train + GAP and train < 1:
        seen = (
            f"the loss is {train:.3g} on the training rows and {held:.3g} on held-out rows (1 is a "
            "constant's)."
        )
        yield Finding(*_named("overfitting", None, seen))


def _plateau(case: _Case) -> Iterator[Finding]:
    curve = case.curve
    if len(curve) < 10 or not curve[-1] > FAR:
        return
    second = curve[len(curve) // 2 :]
    if abs(second[0] - second[-1]) < STILL:
        seen = (
            f"the loss has stood still since epoch {len(curve) // 2 + 1} of {len(curve)}, at "
            f"{curve[-1]:.3g} (1 is a constant's)."
        )
        yield Finding(*_named("plateau", None, seen))


__all__ = ["FAULTS", "Diagnosis", "Finding", "diagnose"]
