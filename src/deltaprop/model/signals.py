r"""Signals: the size of each quantity of a pass, and whether error signals are passed back.

A unit passes its error signal back through f′ (equation 1.9), so f′ shows whether it does. A value
of a is *flat* if |f′(a)| is below one hundredth of the steepest slope of f near 0. This definition
needs only f itself, so it applies to custom activations too. A unit that is flat on every row is
*dead*: its weights receive no gradient. If f is flat at both ends (tanh, logistic), flat values are
*saturated*. If f is flat at one end (relu, gelu), units are normally flat on some of the rows.

Per-sample gradients are never formed: ∂L/∂W_l of sample n is the outer product of its rows of X_l
and δ_l, so the sum of its squared entries is ‖x_n‖² ‖δ_n‖².

Examples
--------
>>> import deltaprop as dp
>>> net = dp.Network(2, [dp.Dense(3, "relu"), dp.Dense(1)], loss="squared_error", seed=0)
>>> net.b[0][1] = -100  # never positive
>>> signals = net.trace([[1.0, 2.0], [3.0, 4.0]], [0.5, 1.5]).summary()
>>> signals.layers[0].dead_units
array([1])
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

from deltaprop.derivation import equations
from deltaprop.functions.activations import Activation, mixed
from deltaprop.functions.arrays import Array

if TYPE_CHECKING:
    import pandas as pd
    from jaxtyping import Bool, Float, Int

# A tanh passes less than this fraction of the signal beyond |a| = 3, a logistic beyond |a| = 6.
# Gradient steps there are one hundred times shorter than near 0.
FLAT = 0.01


class Traced(Protocol):
    """The quantities of a :class:`deltaprop.model.Trace` from which signals are computed."""

    @property
    def X(self) -> list[Array]: ...
    @property
    def a(self) -> list[Float[np.ndarray, "N H"]]: ...
    @property
    def delta(self) -> list[Float[np.ndarray, "N H"]]: ...
    @property
    def dW(self) -> list[Float[np.ndarray, "D H"]]: ...
    @property
    def db(self) -> list[Float[np.ndarray, " H"]]: ...
    @property
    def W(self) -> list[Float[np.ndarray, "D H"]]: ...
    @property
    def f(self) -> tuple[Activation, ...]: ...
    @property
    def l2(self) -> float: ...
    @property
    def r(self) -> Sequence[Float[np.ndarray, " D"] | None]: ...
    @property
    def alpha(self) -> Sequence[Float[np.ndarray, " H"] | None]: ...
    @property
    def connected(self) -> Sequence[Float[np.ndarray, "D H"] | None]: ...


class Spread(NamedTuple):
    """The size of the entries of an array."""

    rms: float
    low: float
    high: float


@dataclass(frozen=True, eq=False)
class LayerSignals:
    """The signals of one layer on the rows of a trace.

    Attributes
    ----------
    layer : int
    activation : str
    units : int
        H_l.
    X, a, delta, dW : Spread
        Root mean square, minimum and maximum of X_l (the input of the layer), a_l, δ_l and ∂L/∂W_l.
    flat : array (H_l,)
        For each unit, the fraction of rows on which it is flat.
    dead : float
        Fraction of units that are flat on every row.
    saturated : float
        Fraction of the entries of a_l that are flat, if f is flat at both ends; else NaN.
    delta_ratio : float
        RMS(δ_l) / RMS(δ_{l+1}): how one layer changes the error signal. NaN for the last layer.
    gradient_to_weight : float
        ‖∂L/∂W_l‖ / ‖W_l‖.
    snr : float
        Signal-to-noise ratio: ‖mean‖ / standard deviation of the per-sample gradients without the
        penalty. The ratio of a batch of B rows is √B times as large. Pure noise on N rows gives
        about 1 / √N. NaN for a single row.
    update_to_weight : float
        ‖ΔW_l‖ / ‖W_l‖ per step since the previous record; NaN outside of records.
    """

    layer: int
    activation: str
    units: int
    X: Spread
    a: Spread
    delta: Spread
    dW: Spread
    flat: Float[np.ndarray, " H"]
    dead: float
    saturated: float
    delta_ratio: float
    gradient_to_weight: float
    snr: float
    update_to_weight: float = float("nan")

    @property
    def dead_units(self) -> Int[np.ndarray, " K"]:
        """The units that are flat on every row."""
        return np.flatnonzero(self.flat == 1)


@dataclass(frozen=True, eq=False)
class Signals:
    """A few numbers for each layer of a trace. ``str`` returns a table.

    Attributes
    ----------
    layers : tuple of LayerSignals

    Examples
    --------
    >>> import deltaprop as dp
    >>> net = dp.Network(2, [dp.Dense(3, "tanh"), dp.Dense(1)], loss="squared_error", seed=0)
    >>> signals = net.trace([[1.0, 2.0], [3.0, 4.0]], [0.5, 1.5]).summary()
    >>> signals.to_frame().index.tolist()
    [0, 1]
    """

    layers: tuple[LayerSignals, ...]

    def rows(self) -> list[dict[str, Any]]:
        """One flat dict per layer, fit for JSON: ``X_rms``, ``X_low``, …, ``dead``, ``snr``."""
        return [_row(layer) for layer in self.layers]

    def to_frame(self) -> pd.DataFrame:
        """The same as a DataFrame with one row per layer."""
        import pandas as pd

        return pd.DataFrame(self.rows()).set_index("layer")

    def units(self) -> pd.DataFrame:
        """A DataFrame with one row per unit: the fraction of flat rows, and whether it is dead."""
        import pandas as pd

        parts = [
            pd.DataFrame(
                {
                    "layer": layer.layer, "unit": np.arange(layer.units),
                    "flat": layer.flat, "dead": layer.flat == 1,
                }
            )
            for layer in self.layers
        ]  # fmt: skip
        return pd.concat(parts, ignore_index=True).set_index(["layer", "unit"])

    def __str__(self) -> str:
        head = (
            "l", "f", "units", "X", "a", "δ", "∂W", "dead", "saturated", "δ_l/δ_l+1",
            "‖∂W‖/‖W‖", "step/‖W‖", "snr",
        )  # fmt: skip
        lines: list[tuple[str, ...]] = [head, *map(_cells, self.layers)]
        kept = [i for i in range(len(head)) if any(line[i] != "–" for line in lines[1:])]
        widths = {i: max(len(line[i]) for line in lines) for i in kept}
        return "\n".join(
            "  ".join(line[i].ljust(widths[i]) for i in kept).rstrip() for line in lines
        )

    def with_updates(
        self, W: Sequence[Float[np.ndarray, "D H"]], W_before: Sequence[Float[np.ndarray, "D H"]],
        steps: int,
    ) -> Signals:  # fmt: skip
        """These signals with the update-to-weight ratio per step, from the weights `steps` ago."""
        ratios = [
            _ratio(_norm(now - before), _norm(before)) / steps
            for now, before in zip(W, W_before, strict=True)
        ]
        return Signals(
            tuple(
                replace(layer, update_to_weight=ratio)
                for layer, ratio in zip(self.layers, ratios, strict=True)
            )
        )


def summarise(trace: Traced) -> Signals:
    """The signals of a trace, which ``trace.summary()`` returns.

    Parameters
    ----------
    trace : Trace
        A trace of at least one row.

    Returns
    -------
    Signals

    Examples
    --------
    >>> import deltaprop as dp
    >>> from deltaprop.model.signals import summarise
    >>> net = dp.Network(1, [dp.Dense(1)], loss="squared_error")
    >>> net.theta = [2.0, 1.0]
    >>> summarise(net.trace([[1.0], [2.0]], [3.0, 6.0])).layers[0].delta  # δ = 0, -1
    Spread(rms=0.7071067811865476, low=-1.0, high=0.0)
    """
    with np.errstate(all="ignore"):  # a diverging network overflows; its signals are inf or NaN
        spreads = [spread(delta) for delta in trace.delta]
        return Signals(tuple(_layer(trace, l, spreads) for l in range(len(trace.a))))


def _layer(trace: Traced, l: int, deltas: list[Spread]) -> LayerSignals:
    f, X, W, delta = trace.f[l], trace.X[l], trace.W[l], trace.delta[l]
    in_effect = f if trace.alpha[l] is None else mixed(f, trace.alpha[l])
    flat = is_flat(in_effect, trace.a[l], trace.X[l + 1])
    inputs = equations.scaled_inputs([X], equations.Vectors(trace.r[l : l + 1]))[0]
    last = l + 1 == len(trace.a)
    return LayerSignals(
        layer=l, activation=f.name, units=W.shape[1],
        X=spread(X), a=spread(trace.a[l]), delta=deltas[l], dW=spread(trace.dW[l]),
        flat=flat.mean(axis=0), dead=float(flat.all(axis=0).mean()),
        saturated=float(flat.mean()) if flat_at_both_ends(f) else float("nan"),
        delta_ratio=float("nan") if last else _ratio(deltas[l].rms, deltas[l + 1].rms),
        gradient_to_weight=_ratio(_norm(trace.dW[l]), _norm(W)),
        snr=_signal_to_noise(inputs, delta, trace.dW[l] - trace.l2 * W, trace.connected[l]),
    )  # fmt: skip


def _signal_to_noise(
    X: Float[Array, "N D"], delta: Float[np.ndarray, "N H"], total: Float[np.ndarray, "D H"],
    connected: Float[np.ndarray, "D H"] | None,
) -> float:  # fmt: skip
    """‖mean‖ / standard deviation over samples of x_n δ_nᵀ, whose sum is `total`.

    Of entries that `connected` excludes, neither is counted.
    """
    N = delta.shape[0]
    if connected is None:
        squares = float(_squared_rows(X) @ _squared_rows(delta))
    else:
        squared = X.multiply(X) if hasattr(X, "multiply") else np.square(X, dtype=np.float64)
        squares = float(np.sum((squared @ connected) * np.square(delta, dtype=np.float64)))
    mean = _norm(total) / N
    variance = (squares - N * mean**2) / (N - 1) if N > 1 else float("nan")
    return _ratio(mean, float(np.sqrt(max(variance, 0.0))))


def _squared_rows(X: Float[Array, "N D"]) -> Float[np.ndarray, " N"]:
    if hasattr(X, "multiply"):  # SciPy's sparse rows
        return np.asarray(X.multiply(X).sum(axis=1), np.float64).ravel()
    squares: np.ndarray = np.einsum("nd,nd->n", X, X, dtype=np.float64)
    return squares


def spread(values: Array) -> Spread:
    """RMS, minimum and maximum of an array or a sparse matrix."""
    if hasattr(values, "multiply"):
        rms = np.sqrt(np.square(values.data, dtype=np.float64).sum() / np.prod(values.shape))
        return Spread(float(rms), float(values.min()), float(values.max()))
    rms = np.sqrt(np.mean(np.square(values, dtype=np.float64)))
    return Spread(float(rms), float(values.min()), float(values.max()))


# ---------------------------------------------------------------- where f is flat


def is_flat(
    f: Activation, a: Float[np.ndarray, "N H"], z: Float[np.ndarray, "N H"]
) -> Bool[np.ndarray, "N H"]:
    """A mask of the entries where |f′(a)| is below 1 % of the steepest slope of f near 0."""
    steepest, _ = _flatness(f)
    flat: np.ndarray = np.abs(f.slopes(a, z, np)) < FLAT * steepest
    return flat


def flat_at_both_ends(f: Activation) -> bool:
    """Whether f is a sigmoid: flat far from 0 on both sides."""
    return _flatness(f)[1]


@lru_cache(maxsize=256)
def _flatness(f: Activation) -> tuple[float, bool]:
    """The steepest |f′| for a in [-1, 1], where weights start, and whether both ends are flat."""

    def slopes(low: float, high: float) -> Float[np.ndarray, " M"]:
        a = np.zeros((101, 2))  # two columns, because f may couple them or need an even number
        a[:, 0] = np.linspace(low, high, 101)
        steepness: np.ndarray = np.abs(f.slopes(a, f.f(a, np), np)[:, 0])
        return steepness

    try:
        with np.errstate(all="ignore"):
            steepest = float(np.nanmax(slopes(-1, 1)))
            ends = [bool((slopes(*end) < FLAT * steepest).all()) for end in ((-30, -12), (12, 30))]
    except (ValueError, IndexError):  # a custom activation for another number of columns
        return 1.0, False
    return steepest, all(ends)


# ---------------------------------------------------------------- helpers


def _norm(values: Float[np.ndarray, "..."]) -> float:
    return float(np.sqrt(np.sum(np.square(values, dtype=np.float64))))


def _ratio(above: float, below: float) -> float:
    if below == 0:
        return float("nan") if above == 0 or np.isnan(above) else float("inf")
    return above / below


def _row(s: LayerSignals) -> dict[str, Any]:
    spreads = {
        f"{name}_{part}": getattr(getattr(s, name), part)
        for name in ("X", "a", "delta", "dW")
        for part in Spread._fields
    }
    return {
        "layer": s.layer, "activation": s.activation, "units": s.units, **spreads,
        "dead": s.dead, "saturated": s.saturated, "delta_ratio": s.delta_ratio,
        "gradient_to_weight": s.gradient_to_weight, "update_to_weight": s.update_to_weight,
        "snr": s.snr,
    }  # fmt: skip


def _cells(s: LayerSignals) -> tuple[str, ...]:
    spreads = map(_spread, (s.X, s.a, s.delta, s.dW))
    fractions = map(_percent, (s.dead, s.saturated))
    numbers = (s.delta_ratio, s.gradient_to_weight, s.update_to_weight, s.snr)
    return (str(s.layer), s.activation, str(s.units), *spreads, *fractions, *map(_number, numbers))


def _number(x: float) -> str:
    return "–" if np.isnan(x) else f"{x:.2g}"


def _percent(x: float) -> str:
    return "–" if np.isnan(x) else f"{x:.0%}"


def _spread(s: Spread) -> str:
    return f"{s.rms:.2g} [{s.low:.2g}, {s.high:.2g}]"
