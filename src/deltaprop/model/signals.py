r"""Cheap summaries of a pass: how large each quantity is, and whether error signals get through.

A unit passes its error signal back through f′ (equation 1.9), so f′ itself says whether it does:
a value of a is *flat* where |f′(a)| is below a hundredth of f's steepest slope near 0. That needs
no knowledge of f by name, and works for the user's own. A unit that is flat on every row is *dead*:
nothing it gets can change it. Where f is flat at both ends (tanh, logistic), flat values are
*saturated*; where it is flat at one end (relu, gelu), being flat on some rows is how it works.

Per-sample gradients are never formed: sample n's ∂L/∂W_l is the outer product of its rows of X_l
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

from deltaprop.functions.activations import Activation
from deltaprop.functions.arrays import Array

if TYPE_CHECKING:
    import pandas as pd
    from jaxtyping import Bool, Float, Int

# Beyond |a| = 3 a tanh passes less than this share of the signal, a logistic beyond |a| = 6: a
# gradient step there is a hundred times too short.
FLAT = 0.01


class Traced(Protocol):
    """What signals are computed from: the quantities of a :class:`deltaprop.model.Trace`."""

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


class Spread(NamedTuple):
    """The size of an array's entries."""

    rms: float
    low: float
    high: float


@dataclass(frozen=True, eq=False)
class LayerSignals:
    """What one layer's quantities look like on the rows of a trace.

    Attributes
    ----------
    layer : int
    activation : str
    units : int
        H_l.
    X, a, delta, dW : Spread
        Root mean square, minimum and maximum of X_l (the layer's input), a_l, δ_l and ∂L/∂W_l.
    flat : array (H_l,)
        For each unit the share of rows on which |f′| is below 1 % of f's steepest slope.
    dead : float
        Share of units that are flat on every row: no error signal passes.
    saturated : float
        Share of all entries of a_l that are flat, where f is flat at both ends; else NaN.
    delta_ratio : float
        RMS(δ_l) / RMS(δ_{l+1}): what one more layer leaves of the error signal. NaN for the last.
    gradient_to_weight : float
        ‖∂L/∂W_l‖ / ‖W_l‖.
    snr : float
        ‖mean‖ / spread of the gradients of single samples (their data term); a batch of B has √B
        times that. On N rows pure noise gives 1 / √N. NaN for a single row.
    update_to_weight : float
        ‖ΔW_l‖ / ‖W_l‖ a step since the record before; NaN outside records.
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
    """A trace in a few numbers a layer: ``str`` gives a table.

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
        """One flat dict a layer, JSON-able: ``X_rms``, ``X_low``, …, ``dead``, ``snr``."""
        return [_row(layer) for layer in self.layers]

    def to_frame(self) -> pd.DataFrame:
        """The same as a DataFrame with one row a layer."""
        import pandas as pd

        return pd.DataFrame(self.rows()).set_index("layer")

    def units(self) -> pd.DataFrame:
        """One row a unit: the share of rows on which it is flat, and whether it is dead."""
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
        """These signals with the update-to-weight ratio a step, from the weights `steps` ago."""
        moved = [
            _ratio(_norm(now - before), _norm(before)) / steps
            for now, before in zip(W, W_before, strict=True)
        ]
        return Signals(
            tuple(
                replace(layer, update_to_weight=m)
                for layer, m in zip(self.layers, moved, strict=True)
            )
        )


def summarise(trace: Traced) -> Signals:
    """The signals of a trace; what ``trace.summary()`` calls.

    Parameters
    ----------
    trace : Trace
        Of at least one row.

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
    with np.errstate(all="ignore"):  # a sick network overflows; that is what is to be seen
        spreads = [spread(delta) for delta in trace.delta]
        return Signals(tuple(_layer(trace, l, spreads) for l in range(len(trace.a))))


def _layer(trace: Traced, l: int, deltas: list[Spread]) -> LayerSignals:
    f, X, W, delta = trace.f[l], trace.X[l], trace.W[l], trace.delta[l]
    flat = is_flat(f, trace.a[l], trace.X[l + 1])
    last = l + 1 == len(trace.a)
    return LayerSignals(
        layer=l, activation=f.name, units=W.shape[1],
        X=spread(X), a=spread(trace.a[l]), delta=deltas[l], dW=spread(trace.dW[l]),
        flat=flat.mean(axis=0), dead=float(flat.all(axis=0).mean()),
        saturated=float(flat.mean()) if flat_at_both_ends(f) else float("nan"),
        delta_ratio=float("nan") if last else _ratio(deltas[l].rms, deltas[l + 1].rms),
        gradient_to_weight=_ratio(_norm(trace.dW[l]), _norm(W)),
        snr=_signal_to_noise(X, delta, trace.dW[l] - trace.l2 * W),
    )  # fmt: skip


def _signal_to_noise(
    X: Float[Array, "N D"], delta: Float[np.ndarray, "N H"], total: Float[np.ndarray, "D H"]
) -> float:
    """‖mean‖ / spread over samples of x_n δ_nᵀ, whose sum is `total`."""
    N = delta.shape[0]
    squares = float(_squared_rows(X) @ _squared_rows(delta))
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


# ---------------------------------------------------------------- flat places of f


def is_flat(
    f: Activation, a: Float[np.ndarray, "N H"], z: Float[np.ndarray, "N H"]
) -> Bool[np.ndarray, "N H"]:
    """Where |f′(a)| is below 1 % of f's steepest slope near 0."""
    steepest, _ = _shape(f)
    flat: np.ndarray = np.abs(f.slopes(a, z, np)) < FLAT * steepest
    return flat


def flat_at_both_ends(f: Activation) -> bool:
    """Whether f is a sigmoid: it has no slope far out on either side."""
    return _shape(f)[1]


@lru_cache(maxsize=256)
def _shape(f: Activation) -> tuple[float, bool]:
    """The steepest |f′| for a in [-1, 1], where weights start, and whether both ends are flat."""

    def slopes(low: float, high: float) -> Float[np.ndarray, " M"]:
        a = np.zeros((101, 2))  # two columns: f may couple them, or halve them
        a[:, 0] = np.linspace(low, high, 101)
        steepness: np.ndarray = np.abs(f.slopes(a, f.f(a, np), np)[:, 0])
        return steepness

    try:
        with np.errstate(all="ignore"):
            steepest = float(np.nanmax(slopes(-1, 1)))
            ends = [bool((slopes(*end) < FLAT * steepest).all()) for end in ((-30, -12), (12, 30))]
    except (ValueError, IndexError):  # the user's own, for a number of columns of its own
        return 1.0, False
    return steepest, all(ends)


# ---------------------------------------------------------------- pieces


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
    shares = map(_share, (s.dead, s.saturated))
    numbers = (s.delta_ratio, s.gradient_to_weight, s.update_to_weight, s.snr)
    return (str(s.layer), s.activation, str(s.units), *spreads, *shares, *map(_number, numbers))


def _number(x: float) -> str:
    return "–" if np.isnan(x) else f"{x:.2g}"


def _share(x: float) -> str:
    return "–" if np.isnan(x) else f"{x:.0%}"


def _spread(s: Spread) -> str:
    return f"{s.rms:.2g} [{s.low:.2g}, {s.high:.2g}]"
