"""Displays of a network and its training, in the style of scikit-learn's ``Display`` classes.

Each class computes in ``from_…``, draws in ``plot(ax=…)``, which can be called repeatedly, and
keeps the axes and the figure in ``ax_`` and ``figure_``. For predictions use scikit-learn's
ConfusionMatrixDisplay, PredictionErrorDisplay, CalibrationDisplay and PartialDependenceDisplay.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from deltaprop.errors import InputError
from deltaprop.explain.entry import SUBSCRIPTS
from deltaprop.model.signals import spread

if TYPE_CHECKING:
    from jaxtyping import Float

    from deltaprop.network import Trace
    from deltaprop.training.history import History

MOST_TICKS = 30  # names on an axis
MATPLOTLIB = (
    "Pictures need matplotlib, which is not installed. Install it with: "
    "pip install 'deltaprop[report]'"
)


def require_matplotlib() -> None:
    """Raise ImportError, with the command that installs it, if matplotlib is missing."""
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise ImportError(MATPLOTLIB) from error


class LossCurveDisplay:
    """Loss and validation score, epoch by epoch.

    Parameters
    ----------
    loss_curve : sequence of float (E,)
        The training loss after each of E epochs.
    validation_loss_curve, validation_scores : sequence of float (E,), optional
    best_epoch : int, optional
        Counted from 1; marked by a line.

    Attributes
    ----------
    ax_, figure_ : matplotlib Axes and Figure
        After :meth:`plot`.

    Examples
    --------
    >>> from deltaprop.inspect import LossCurveDisplay
    >>> display = LossCurveDisplay([3.0, 2.0, 1.5]).plot()
    >>> display.ax_.get_ylabel()
    'loss'
    """

    def __init__(
        self,
        loss_curve: Sequence[float],
        *,
        validation_loss_curve: Sequence[float] | None = None,
        validation_scores: Sequence[float] | None = None,
        best_epoch: int | None = None,
    ) -> None:
        self.loss_curve = loss_curve
        self.validation_loss_curve = validation_loss_curve
        self.validation_scores = validation_scores
        self.best_epoch = best_epoch

    @classmethod
    def from_estimator(
        cls, estimator: Any, *, kind: str = "loss", ax: Any = None
    ) -> LossCurveDisplay:
        """Draw the curves of a fitted estimator, or of a pipeline that ends in one.

        Raises
        ------
        TypeError, sklearn.exceptions.NotFittedError
            If `estimator` is not a deltaprop estimator, or has not been fitted.

        Examples
        --------
        >>> import deltaprop as dp
        >>> from deltaprop.inspect import LossCurveDisplay
        >>> model = dp.MLPRegressor(hidden_layer_sizes=2, random_state=0, max_iter=5)
        >>> model = model.fit([[0.0], [1.0]], [1.0, 2.0])
        >>> LossCurveDisplay.from_estimator(model).ax_.get_xlabel()
        'epoch'
        """
        from deltaprop.inspect.opening import fitted_estimator

        mlp = fitted_estimator(estimator).fitted_mlp()
        return cls(
            mlp.loss_curve_,
            validation_loss_curve=mlp.validation_loss_curve_,
            validation_scores=mlp.validation_scores_,
            best_epoch=mlp.best_epoch_,
        ).plot(ax, kind=kind)

    @classmethod
    def from_history(
        cls, history: History, *, kind: str = "loss", ax: Any = None
    ) -> LossCurveDisplay:
        """Draw the curves of a history that :func:`deltaprop.fit` returned.

        Examples
        --------
        >>> import deltaprop as dp
        >>> from deltaprop.inspect import LossCurveDisplay
        >>> net = dp.Network(1, [dp.Dense(1)], loss="squared_error", seed=0)
        >>> history = dp.fit(net, [[0.0], [1.0]], [1.0, 2.0], max_epochs=3)
        >>> LossCurveDisplay.from_history(history).loss_curve == history.loss_curve
        True
        """
        return cls(
            history.loss_curve,
            validation_loss_curve=history.validation_loss_curve,
            validation_scores=history.validation_scores,
            best_epoch=history.best_epoch,
        ).plot(ax, kind=kind)

    def plot(self, ax: Any = None, *, kind: str = "loss") -> LossCurveDisplay:
        """Draw the losses (`kind` "loss"), or the validation score ("score").

        Raises
        ------
        ValueError
            If `kind` is neither, or is "score" and no score was recorded.
        """
        if kind not in ("loss", "score"):
            raise InputError(f"kind must be 'loss' or 'score', got {kind!r}.")
        if kind == "score" and self.validation_scores is None:
            raise InputError(
                "kind='score' needs validation data: fit with early_stopping=True or with X_val."
            )
        ax = self._start(ax)
        curves = (
            {"training": self.loss_curve, "validation": self.validation_loss_curve}
            if kind == "loss"
            else {"validation": self.validation_scores}
        )
        drawn = []
        for i, (name, values) in enumerate(curves.items()):
            if values is not None:
                color = "C1" if name == "validation" else f"C{i}"
                ax.plot(np.arange(1, len(values) + 1), values, color=color, label=name)
                drawn.append(np.asarray(values, float))
        everything = np.concatenate(drawn)
        if kind == "loss" and everything.min() > 0 and everything.max() > 10 * everything.min():
            log_scale(ax)
        if self.best_epoch is not None:
            ax.axvline(
                self.best_epoch, color="C3", linestyle="--", label=f"best: epoch {self.best_epoch}"
            )
        ax.set(xlabel="epoch", ylabel=kind)
        ax.legend()
        return self

    def _start(self, ax: Any) -> Any:
        self.ax_, self.figure_ = _axes(ax)
        return self.ax_


class SignalFlowDisplay:
    """The size of the signals from layer to layer: forward X_l and a_l, backward δ_l and ∂W_l.

    Parameters
    ----------
    rms : dict of str to sequence of float
        The root mean square of each layer's "X" (L + 1), "a", "delta" and "dW" (L each).

    Attributes
    ----------
    ax_, figure_ : matplotlib Axes and Figure
        After :meth:`plot`.

    Examples
    --------
    >>> import deltaprop as dp
    >>> from deltaprop.inspect import SignalFlowDisplay
    >>> net = dp.Network(2, [dp.Dense(3, "tanh"), dp.Dense(1)], loss="squared_error", seed=0)
    >>> display = SignalFlowDisplay.from_trace(net.trace([[1.0, 2.0]], [3.0]))
    >>> display.ax_.get_xlabel()
    'layer l'
    """

    def __init__(self, rms: dict[str, list[float]]) -> None:
        self.rms = rms

    @classmethod
    def from_trace(cls, trace: Trace, *, ax: Any = None) -> SignalFlowDisplay:
        """Draw a trace that :meth:`deltaprop.Network.trace` returned."""
        return cls(_rms_of(trace)).plot(ax)

    @classmethod
    def from_estimator(cls, estimator: Any, X: Any, y: Any, *, ax: Any = None) -> SignalFlowDisplay:
        """Draw the signals of one pass of a fitted estimator's network over (X, y).

        Examples
        --------
        >>> import deltaprop as dp
        >>> from deltaprop.inspect import SignalFlowDisplay
        >>> X, y = [[0.0], [1.0]], [1.0, 2.0]
        >>> model = dp.MLPRegressor(hidden_layer_sizes=2, random_state=0, max_iter=5).fit(X, y)
        >>> sorted(SignalFlowDisplay.from_estimator(model, X, y).rms)
        ['X', 'a', 'dW', 'delta']
        """
        from deltaprop.inspect.opening import open_model

        opened = open_model(estimator, X, y)
        return cls.from_trace(opened.network.trace(*opened.data), ax=ax)

    def plot(self, ax: Any = None) -> SignalFlowDisplay:
        """Draw a line for each quantity over the layers."""
        self.ax_, self.figure_ = _axes(ax)
        for name, label, color, style in (
            ("X", "Xₗ", "C0", "o-"),
            ("a", "aₗ", "C0", "s--"),
            ("delta", "δₗ", "C1", "o-"),
            ("dW", "∂L/∂Wₗ", "C1", "s--"),
        ):
            values = np.asarray(self.rms[name], float)
            # A logarithmic axis cannot show 0.
            shown = np.where(values > 0, values, np.nan)
            self.ax_.plot(np.arange(len(shown)), shown, style, color=color, label=label)
        self.ax_.set(xlabel="layer l", ylabel="root mean square")
        self.ax_.set_xticks(range(len(self.rms["X"])))
        log_scale(self.ax_)
        self.ax_.legend(ncols=2)
        return self


class WeightsDisplay:
    """A heat map of the weights W_l of one layer, with a row for each input.

    Parameters
    ----------
    W : ndarray (D, H)
    layer : int, default=0
    input_names : sequence of str (D,), optional
        The names of the rows. Rows with the same name, such as those of one column of a table, are
        drawn together under one name.

    Attributes
    ----------
    ax_, figure_, im_ : matplotlib Axes, Figure and AxesImage
        After :meth:`plot`.

    Examples
    --------
    >>> import deltaprop as dp
    >>> from deltaprop.inspect import WeightsDisplay
    >>> net = dp.Network(2, [dp.Dense(3, "tanh"), dp.Dense(1)], loss="squared_error", seed=0)
    >>> WeightsDisplay(net.W[0]).plot().ax_.get_title()
    'W₀ (2 × 3)'
    """

    def __init__(
        self,
        W: Float[np.ndarray, "D H"],
        *,
        layer: int = 0,
        input_names: Sequence[str] | None = None,
    ) -> None:
        self.W = W
        self.layer = layer
        self.input_names = input_names

    @classmethod
    def from_estimator(cls, estimator: Any, layer: int = 0, *, ax: Any = None) -> WeightsDisplay:
        """Draw the weights of one layer of a fitted estimator.

        Raises
        ------
        ValueError
            If the network has no such layer.

        Examples
        --------
        >>> import deltaprop as dp
        >>> from deltaprop.inspect import WeightsDisplay
        >>> model = dp.MLPRegressor(hidden_layer_sizes=2, random_state=0, max_iter=5)
        >>> model = model.fit([[0.0], [1.0]], [1.0, 2.0])
        >>> WeightsDisplay.from_estimator(model, layer=1).W.shape
        (2, 1)
        """
        from deltaprop.inspect.opening import fitted_estimator

        net = fitted_estimator(estimator).fitted_network()
        if not 0 <= layer < net.n_layers:
            raise InputError(f"layer must lie in 0 to {net.n_layers - 1}, got {layer!r}.")
        return cls(net.W[layer], layer=layer).plot(ax)

    def plot(self, ax: Any = None) -> WeightsDisplay:
        """Draw the heat map; white is zero, and both signs have the same scale."""
        self.ax_, self.figure_ = _axes(ax)
        D, H = self.W.shape
        groups = _groups(self.input_names or [])
        order = [d for _, rows in groups for d in rows] or list(range(D))
        most = float(np.abs(self.W).max()) or 1.0
        self.im_ = self.ax_.imshow(
            self.W[order], aspect="auto", cmap="RdBu", vmin=-most, vmax=most,
            interpolation="nearest",
        )  # fmt: skip
        self.figure_.colorbar(self.im_, ax=self.ax_)
        self.ax_.grid(False)
        self.ax_.set(
            title=f"W{str(self.layer).translate(SUBSCRIPTS)} ({D} × {H})",
            xlabel=f"unit of layer {self.layer}",
            ylabel="input" if self.layer == 0 else f"unit of layer {self.layer - 1}",
        )
        self.ax_.set_xticks(_whole_ticks(H))
        self.ax_.set_yticks(_whole_ticks(D))
        if groups:
            self._name_rows(groups)
        return self

    def _name_rows(self, groups: list[tuple[str, list[int]]]) -> None:
        """Write names in the middle of their rows, with lines between; at most MOST_TICKS."""
        sizes = [len(rows) for _, rows in groups]
        ends = np.cumsum(sizes) - 0.5
        step = -(-len(groups) // MOST_TICKS)
        middles = ends - np.asarray(sizes) / 2
        self.ax_.set_yticks(middles[::step], [name for name, _ in groups[::step]])
        if max(sizes) > 1:
            self.ax_.hlines(ends[:-1], *self.ax_.get_xlim(), color="#808080", linewidth=0.6)


def _groups(names: Sequence[str]) -> list[tuple[str, list[int]]]:
    """Return each distinct name with its places, in the order of the first ones."""
    places: dict[str, list[int]] = {}
    for place, name in enumerate(names):
        places.setdefault(name, []).append(place)
    return list(places.items())


class PermutationImportanceDisplay:
    """How much worse the predictions become when one column is shuffled.

    Parameters
    ----------
    importances : ndarray (D, R)
        The decrease of the score in each of R repeats.
    feature_names : sequence of str (D,)
    label : str, optional
        The label of the axis.

    Attributes
    ----------
    ax_, figure_ : matplotlib Axes and Figure
        After :meth:`plot`.

    Notes
    -----
    :func:`sklearn.inspection.permutation_importance` computes the importances.

    Examples
    --------
    >>> import numpy as np
    >>> from deltaprop.inspect import PermutationImportanceDisplay
    >>> display = PermutationImportanceDisplay(np.array([[0.1, 0.2], [0.5, 0.5]]), ["a", "b"])
    >>> [label.get_text() for label in display.plot().ax_.get_yticklabels()]
    ['a', 'b']
    """

    def __init__(
        self,
        importances: Float[np.ndarray, "D R"],
        feature_names: Sequence[str],
        *,
        label: str = "score lost when the column is shuffled",
    ) -> None:
        self.importances = importances
        self.feature_names = feature_names
        self.label = label

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        y: Any,
        *,
        scoring: Any = None,
        n_repeats: int = 5,
        random_state: int | np.random.RandomState | None = 0,
        most: int = 15,
        ax: Any = None,
    ) -> PermutationImportanceDisplay:
        """Shuffle each column of X in turn and draw the decrease of the score.

        Examples
        --------
        >>> import deltaprop as dp
        >>> from deltaprop.inspect import PermutationImportanceDisplay
        >>> X, y = [[0.0, 5.0], [1.0, 2.0], [2.0, 3.0]], [1.0, 2.0, 3.0]
        >>> model = dp.MLPRegressor(hidden_layer_sizes=2, random_state=0, max_iter=5).fit(X, y)
        >>> PermutationImportanceDisplay.from_estimator(model, X, y).importances.shape
        (2, 5)
        """
        from sklearn.inspection import permutation_importance

        found = permutation_importance(
            estimator, X, y, scoring=scoring, n_repeats=n_repeats, random_state=random_state
        )
        D = found.importances.shape[0]
        names = [str(name) for name in getattr(X, "columns", [f"x{i}" for i in range(D)])]
        return cls(found.importances, names).plot(ax, most=most)

    def plot(self, ax: Any = None, *, most: int = 15) -> PermutationImportanceDisplay:
        """Draw a bar for each of the `most` important columns, the most important on top."""
        self.ax_, self.figure_ = _axes(ax)
        mean, std = self.importances.mean(axis=1), self.importances.std(axis=1)
        order = np.argsort(mean, kind="stable")[-most:]
        self.ax_.barh(
            np.arange(len(order)), mean[order], xerr=std[order], color="C0", ecolor="C3", height=0.7
        )
        self.ax_.set_yticks(range(len(order)), [self.feature_names[i] for i in order])
        self.ax_.set_xlabel(self.label)
        self.ax_.grid(False, axis="y")
        return self


# ---------------------------------------------------------------- pieces


def _rms_of(trace: Trace) -> dict[str, list[float]]:
    """Return the root mean square of each array that the signal flow shows."""
    arrays = {"X": trace.X, "a": trace.a, "delta": trace.delta, "dW": trace.dW}
    return {name: [spread(values).rms for values in each] for name, each in arrays.items()}


def _whole_ticks(n: int) -> list[int]:
    """Return at most six whole numbers from 0 to n - 1."""
    return sorted({round(i) for i in np.linspace(0, n - 1, min(n, 6))})


def _axes(ax: Any) -> tuple[Any, Any]:
    """Return the axes to draw on and their figure; create both if no axes are given."""
    require_matplotlib()
    if ax is None:
        import matplotlib.pyplot as plt

        _, ax = plt.subplots()
    return ax, ax.figure


def log_scale(ax: Any) -> None:
    """Set a logarithmic y axis with plain numbers, which do not need math text."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    ax.set_yscale("log")
    low, high = ax.get_ylim()
    ax.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if high < 100 * low else (1.0,)))
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    ax.yaxis.set_minor_formatter(NullFormatter())
