"""``deltaprop.report``: one HTML file that shows a trained model to people.

Whatever comes from data (names of columns and classes, values) is escaped, and the page's own
policy forbids scripts and every request: it opens offline and stays quiet.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from deltaprop._version import __version__
from deltaprop.errors import InputError
from deltaprop.explain.layers import layers_html
from deltaprop.inspect import displays
from deltaprop.inspect.markup import (
    Markup,
    facts,
    figure,
    figures,
    heading,
    label_of,
    page,
    says,
    scrolling,
    table,
    text_of,
)
from deltaprop.inspect.opening import Opened, mlp_of, opened
from deltaprop.inspect.scores import as_labels, classification, point_prediction, regression

if TYPE_CHECKING:
    from jaxtyping import Bool, Float

# What is slow looks at a sample of the rows, so that a report takes seconds.
SAMPLE = 1000  # rows for the signals, importances and clouds of points
PROOF_ROWS = 20
PARTIAL_ROWS, PARTIAL_GRID, PARTIAL_COLUMNS = 200, 20, 4
MOST_CATEGORIES = 12
MOST_CURVES = 6
WORST_ROWS, WORST_COLUMNS = 10, 8
HEAT_MAPS = 4
CLASSES_WITH_NUMBERS, CLASSES_WITH_NAMES = 12, 30


@dataclass(frozen=True)
class Report:
    """What :func:`deltaprop.report` returns: a page that notebooks show and ``save`` writes.

    Attributes
    ----------
    html : str
        The whole page.
    """

    html: str = field(repr=False)

    def save(self, path: str | Path) -> None:
        """Write the page to a file, in one step: there is the old file or the new one.

        Raises
        ------
        deltaprop.storage.places.OutputError
            If the file cannot be written; an existing file is unchanged then.
        """
        from deltaprop.storage.places import write_bytes

        write_bytes(path, self.html.encode())

    def _repr_html_(self) -> str:
        """In a frame of its own, so that its styles and the notebook's stay apart."""
        return (
            '<iframe style="width: 100%; height: 80vh; border: 0" title="Report" sandbox '
            f'srcdoc="{escape(self.html)}"></iframe>'
        )


def report(
    model: Any, X: Any, y: Any, path: str | Path | None = None, *, title: str | None = None
) -> Report:
    """Show a trained model on one page: what it is, how good it is, and why.

    Layers and settings, scores, learning curves, the signals from layer to layer, confusion matrix
    or residuals, calibration, permutation importance and partial dependence, the network's
    equations and the proof of each, and the rows that it predicts worst.

    Parameters
    ----------
    model : MLPClassifier, MLPRegressor, TabularClassifier, TabularRegressor or Pipeline
        Fitted; a Pipeline has to end in one of the others.
    X : DataFrame, array-like or sparse matrix (N, D)
        Rows to judge the model by; best ones that it was not trained on.
    y : array-like (N,)
        Their labels or numbers.
    path : str or Path, optional
        Where to write the page; customarily ends in ``.html``.
    title : str, optional
        By default the kind of model and the target's name.

    Returns
    -------
    Report
        Notebooks show it; ``.html`` is the page, ``.save(path)`` writes it.

    Raises
    ------
    ImportError
        If matplotlib is not installed; ``pip install 'deltaprop[report]'`` installs it.
    TypeError, sklearn.exceptions.NotFittedError
        If `model` is of another kind, or not fitted.
    ValueError
        If X and y do not fit together, or y has several columns.
    deltaprop.storage.places.OutputError
        If `path` cannot be written. Nothing is changed then.

    Notes
    -----
    The page is one self-contained file: styles and pictures are inside, there are no scripts and
    no requests. Importances, partial dependences, signals and proofs look at a sample of the rows;
    scores look at all. The pictures one by one: ``deltaprop.inspect`` and scikit-learn's displays.

    References
    ----------
    Calibration of the predicted class: Guo et al., "On Calibration of Modern Neural Networks",
    2017. Importance: Breiman, "Random Forests", 2001. Partial dependence: Friedman, "Greedy
    Function Approximation", 2001.

    Examples
    --------
    >>> import deltaprop as dp, tempfile, os
    >>> from sklearn.datasets import load_iris
    >>> X, y = load_iris(return_X_y=True, as_frame=True)
    >>> clf = dp.MLPClassifier(4, random_state=0, max_iter=50).fit(X, y)
    >>> path = os.path.join(tempfile.mkdtemp(), "iris.html")
    >>> page = dp.report(clf, X, y, path)
    >>> "petal length" in page.html, os.path.getsize(path) > 10_000
    (True, True)
    """
    displays.require_matplotlib()
    if path is not None:
        _require_writable(path)
    case = _Case(model, X, y)
    made = Report(
        page(
            title or f"{type(case.last).__name__}: {case.target}",
            f"{len(case.y):,} rows · deltaprop {__version__} · {datetime.now():%Y-%m-%d %H:%M}",
            {name: html for name, section in _SECTIONS.items() if (html := section(case))},
        )
    )
    if path is not None:
        made.save(path)
    return made


def _require_writable(path: str | Path) -> None:
    """Fail before the work, not after it."""
    from deltaprop.storage.places import OutputError, unwritable

    if (reason := unwritable(path)) is not None:
        raise OutputError(f"{str(path)!r} cannot be written: {reason}")


class _Case:
    """A model and the rows to judge it by, with what several sections ask of them."""

    def __init__(self, model: Any, X: Any, y: Any) -> None:
        from sklearn.utils.validation import check_consistent_length

        self.model, self.mlp = model, mlp_of(model)
        self.last = model[-1] if hasattr(model, "steps") else model
        self.X = _rows(X)
        check_consistent_length(self.X, y)
        values = np.asarray(y)
        values = values[:, 0] if values.ndim == 2 and values.shape[1] == 1 else values
        if values.ndim != 1:
            raise InputError(
                f"y must have one column to report on, got shape {values.shape}. The pictures that "
                "suit several targets are in deltaprop.inspect."
            )
        self.is_classifier = hasattr(self.mlp, "classes_")
        self.y = (
            as_labels(values, self.mlp.classes_) if self.is_classifier else values.astype(float)
        )
        if not self.known.any():
            raise InputError("y holds no class that the model has seen in training.")
        unnamed = [f"x{i}" for i in range(self.X.shape[1])]
        self.names = [str(name) for name in getattr(self.X, "columns", unnamed)]
        name = getattr(self.last, "target_name_", None) or getattr(y, "name", None)
        self.target = "y" if name is None else str(name)

    @cached_property
    def known(self) -> Bool[np.ndarray, " N"]:
        """Rows whose class the model has seen in training."""
        if not self.is_classifier:
            return np.ones(len(self.y), bool)
        return np.isin(self.y, self.mlp.classes_)

    def sample(self, most: int) -> tuple[Any, np.ndarray]:
        """At most so many rows with a known class, the same at each call; dense."""
        from sklearn.utils import _safe_indexing

        rows = np.flatnonzero(self.known)
        if len(rows) > most:
            rows = np.sort(np.random.RandomState(0).choice(rows, most, replace=False))
        X = _safe_indexing(self.X, rows)
        return (X.toarray() if hasattr(X, "toarray") else X), self.y[rows]

    @cached_property
    def predicted(self) -> np.ndarray:
        if self.is_classifier:
            return np.asarray(self.model.predict(self.X))
        return point_prediction(self.model, self.X)

    @cached_property
    def probabilities(self) -> Float[np.ndarray, "N C"] | None:
        if not (self.is_classifier and hasattr(self.model, "predict_proba")):
            return None
        return np.asarray(self.model.predict_proba(self.X))

    @cached_property
    def scores(self) -> dict[str, Any]:
        judge = classification if self.is_classifier else regression
        return judge(self.model, self.X, self.y)

    @cached_property
    def inside(self) -> Opened:
        return opened(self.model, *self.sample(SAMPLE))

    @cached_property
    def importances(self) -> Float[np.ndarray, "D R"]:
        from sklearn.inspection import permutation_importance

        X, y = self.sample(SAMPLE)
        repeats = 5 if len(self.names) <= 30 else 2
        found = permutation_importance(
            self.model, X, y, scoring=self._skill, n_repeats=repeats, random_state=0
        )
        return np.asarray(found.importances)

    def by_importance(self) -> list[int]:
        """The columns, the most important first."""
        return [int(i) for i in np.argsort(-self.importances.mean(axis=1), kind="stable")]

    def _skill(self, model: Any, X: Any, y: np.ndarray) -> float:
        from sklearn.metrics import accuracy_score, mean_absolute_error

        if not self.is_classifier:
            return -float(mean_absolute_error(y, point_prediction(model, X)))
        if self.probabilities is None:
            return float(accuracy_score(y, model.predict(X)))
        return float(np.mean(np.log(self.of_truth(np.asarray(model.predict_proba(X)), y))))

    @property
    def skill_name(self) -> str:
        if not self.is_classifier:
            return "mean absolute error"
        return "error rate" if self.probabilities is None else "log loss"

    def of_truth(self, P: Float[np.ndarray, "N C"], y: np.ndarray) -> Float[np.ndarray, " N"]:
        """The probability of each row's true class; hardly any for one never seen."""
        column = np.searchsorted(self.mlp.classes_, y).clip(max=P.shape[1] - 1)
        P_true = np.where(self.mlp.classes_[column] == y, P[np.arange(len(y)), column], 0.0)
        return np.clip(P_true, 1e-15, 1.0)


def _rows(X: Any) -> Any:
    """X as something whose rows can be picked: a pandas DataFrame, CSR or an array."""
    if hasattr(X, "to_pandas"):
        return X.to_pandas()
    if hasattr(X, "tocsr"):
        return X.tocsr()
    X = X if hasattr(X, "columns") else np.asarray(X)
    if X.ndim != 2:
        raise InputError(f"X must be a table with rows and columns, got shape {X.shape}.")
    return X


# ---------------------------------------------------------------- the sections


def _model(case: _Case) -> Markup:
    net, mlp = case.mlp._network(), case.mlp
    parts: list[Markup] = []
    if case.last is not case.model:
        before = ", ".join(type(step).__name__ for _, step in case.model.steps[:-1])
        parts.append(says(f"A pipeline: {before}, then a {type(case.last).__name__}."))
    parts.append(
        says(
            f"Stopped after {mlp.n_iter_} epochs ({mlp.stop_reason_}) with a training loss of "
            f"{mlp.loss_:.4g}."
        )
    )
    parts.append(scrolling(layers_html(net)))
    changed = _changed_settings(case.last)
    if changed:
        parts += [
            heading("Settings that are not the default"),
            table(("setting", "value"), changed),
        ]
    parts += [heading("Data"), table(("column", "kind"), _columns(case), tall=True)]
    return Markup("".join(parts))


def _changed_settings(estimator: Any) -> list[tuple[str, str]]:
    defaults = inspect.signature(type(estimator)).parameters
    return [
        (name, repr(value))
        for name, value in estimator.get_params(deep=False).items()
        if name != "callbacks" and repr(value) != repr(defaults[name].default)
    ]


def _columns(case: _Case) -> list[tuple[str, str]]:
    target = "number"
    if case.is_classifier:
        labels = ", ".join(text_of(label, 30) for label in case.mlp.classes_[:MOST_CATEGORIES])
        target = f"{len(case.mlp.classes_)} classes: {labels}"
    kinds = getattr(getattr(case.last, "encoder_", None), "kinds_", {})
    columns = [(name, kinds.get(name, "numeric")) for name in case.names]
    return [(f"{case.target} (the target)", target), *columns]


def _scores(case: _Case) -> Markup:
    scores = dict(case.scores["scores"]["deltaprop"])
    names = {
        "accuracy": "accuracy",
        "balanced_accuracy": "balanced accuracy",
        "r2": "R²",
        "mae": "mean absolute error",
        "rmse": "root mean squared error",
    }
    shown: dict[str, object] = {names[name]: value for name, value in scores.items()}
    if case.is_classifier:
        if case.probabilities is not None:
            shown["log loss"] = -float(np.mean(np.log(case.of_truth(case.probabilities, case.y))))
        _, counts = np.unique(case.y, return_counts=True)
        shown["accuracy of the most frequent class"] = float(counts.max() / counts.sum())
        heads = ("class", "precision", "recall", "f1", "rows")
        rows = [(label, *values.values()) for label, values in case.scores["classes"].items()]
        return Markup(facts(shown) + table(heads, rows, tall=True))
    shown["error of always saying the mean"] = float(np.std(case.y))
    quantiles = case.scores["residual_quantiles"]
    shares = [f"{float(q):.0%}" for q in quantiles]
    return Markup(facts(shown) + table(("y - ŷ", *shares), [("quantile", *quantiles.values())]))


def _learning(case: _Case) -> Markup | None:
    if not getattr(case.mlp, "loss_curve_", None):
        return None
    show = displays.LossCurveDisplay.from_estimator
    parts = [
        figure(
            lambda ax: show(case.model, ax=ax),
            "The loss after each epoch. Validation far above training: the model learns its rows "
            "by heart. Both still falling at the end: more epochs would help.",
        )
    ]
    if getattr(case.mlp, "validation_scores_", None):
        score = case.mlp.scoring if isinstance(case.mlp.scoring, str) else "loss"
        default = "accuracy" if case.is_classifier else "R²"
        name = default if score == "loss" else score
        parts.append(
            figure(
                lambda ax: show(case.model, kind="score", ax=ax).ax_.set_ylabel(name),
                f"The {name} on the rows set aside for validation.",
            )
        )
    return figures(parts)


def _signals(case: _Case) -> Markup:
    trace = case.inside.net.trace(case.inside.X, case.inside.y)
    return figures(
        [
            figure(
                lambda ax: displays.SignalFlowDisplay.from_trace(trace, ax=ax),
                f"One pass over {len(case.inside.X):,} of these rows: forward X_l and a_l, "
                "backward the error signals δ_l and the gradients. Level lines are healthy; δ_l "
                "that shrinks from layer to layer towards the input vanishes, one that grows "
                "explodes.",
            )
        ]
    )


def _weights(case: _Case) -> Markup:
    net = case.mlp._network()
    names = [label_of(name) for name in case.names] if case.mlp is case.model else None
    return figures(
        figure(
            displays.WeightsDisplay(net.W[l], layer=l, input_names=names if l == 0 else None).plot,
            f"The weights W_{l}: a row an input, a column a unit; white is zero.",
        )
        for l in range(min(net.n_layers, HEAT_MAPS))
    )


def _mistakes(case: _Case) -> Markup:
    return _confusion(case) if case.is_classifier else _residuals(case)


def _confusion(case: _Case) -> Markup:
    from sklearn.metrics import ConfusionMatrixDisplay

    classes = case.mlp.classes_
    labels = [label_of(label) for label in classes]

    def draw(ax: Any) -> None:
        ax.grid(False)
        ConfusionMatrixDisplay.from_predictions(
            case.y[case.known], case.predicted[case.known], labels=classes, display_labels=labels,
            include_values=len(classes) <= CLASSES_WITH_NUMBERS, colorbar=False, cmap="Blues",
            xticks_rotation=30 if max(map(len, labels)) > 6 else 0, ax=ax,
        )  # fmt: skip
        if len(classes) > CLASSES_WITH_NAMES:
            ax.set_xticks([]), ax.set_yticks([])

    side = min(4.6, 2.6 + 0.3 * len(classes))
    return figures([figure(draw, "Rows by true and predicted class.", side)])


def _residuals(case: _Case) -> Markup:
    return figures([_errors(case, "residual_vs_predicted", (
        "What is left, y - ŷ, over the prediction. A shape in it is something that the model "
        "misses; a cloud around the line is noise."
    ))])  # fmt: skip


def _errors(case: _Case, kind: str, caption: str) -> Markup:
    from sklearn.metrics import PredictionErrorDisplay

    return figure(
        lambda ax: PredictionErrorDisplay.from_predictions(
            case.y, case.predicted, kind=kind, subsample=SAMPLE, random_state=0, ax=ax,
            scatter_kwargs={"color": "C0", "alpha": 0.5, "s": 14},
        ),
        caption,
    )  # fmt: skip


def _calibration(case: _Case) -> Markup | None:
    if not case.is_classifier:
        return figures([_errors(case, "actual_vs_predicted", (
            "True over predicted values: on the line they agree on average."
        ))])  # fmt: skip
    if case.probabilities is None:
        return None
    from sklearn.calibration import CalibrationDisplay

    P, classes = case.probabilities, case.mlp.classes_
    if P.shape[1] == 2:
        happened, said, name = case.y == classes[1], P[:, 1], f"P({label_of(classes[1])})"
    else:
        happened, said, name = case.predicted == case.y, P.max(axis=1), "P(predicted class)"

    def draw(ax: Any) -> None:
        CalibrationDisplay.from_predictions(
            happened.astype(int), np.clip(said, 0, 1), pos_label=1, strategy="quantile",
            n_bins=int(np.clip(len(said) // 20, 3, 10)), name=name, color="C0", ax=ax,
        )  # fmt: skip
        ax.set(xlabel=name, ylabel="share of rows where it was so")
        ax.legend(loc="best")

    return figures([figure(draw, (
        "How often it was so, over how probable the model said it was. Below the line the model is "
        "too sure of itself, above it too careful."
    ))])  # fmt: skip


def _importance(case: _Case) -> Markup | None:
    if not np.isfinite(case.importances).all():
        return None
    label = f"rise of the {case.skill_name}"
    show = displays.PermutationImportanceDisplay(
        case.importances, [label_of(name) for name in case.names], label=label
    )
    bars = min(len(case.names), 15)
    return figures([figure(show.plot, (
        "How much worse the predictions get when a column is shuffled. Columns that say the same "
        "share their importance."
    ), 1.2 + 0.26 * bars)])  # fmt: skip


def _partial_dependence(case: _Case) -> Markup | None:
    shown = (curves for i in case.by_importance() if (curves := _curves(case, i)) is not None)
    some = [curves for curves, _ in zip(shown, range(PARTIAL_COLUMNS), strict=False)]
    if not some:
        return None
    low = min(curves.average.min() for curves in some)
    high = max(curves.average.max() for curves in some)
    room = 0.05 * (high - low) or 0.5
    what = "probability" if case.probabilities is not None else "prediction"

    def draw(ax: Any, curves: Curves) -> None:
        style = "o:" if curves.is_category else "-"
        for values, name in zip(curves.average, curves.labels, strict=True):
            ax.plot(curves.grid, values, style, label=name)
        ax.set(xlabel=curves.name, ylabel=f"mean {what}", ylim=(low - room, high + room))
        if curves.is_category:
            ax.tick_params("x", rotation=30 if max(map(len, curves.grid)) > 6 else 0)
        if any(curves.labels):
            ax.legend()

    text = (
        f"The mean {what} over {PARTIAL_ROWS} rows or fewer, were the column of this value in all "
        "of them."
    )
    return Markup(
        says(text)
        + figures(
            figure(lambda ax, curves=curves: draw(ax, curves), curves.name) for curves in some
        )
    )


class Curves(NamedTuple):
    """The partial dependence on one column: a curve for each class, or one."""

    name: str
    grid: list[Any]
    average: Float[np.ndarray, "K G"]
    labels: list[str | None]
    is_category: bool


def _curves(case: _Case, column: int) -> Curves | None:
    """None for a column with no place on an axis: dates, text, a single value."""
    import pandas as pd
    from sklearn.inspection import partial_dependence

    X, _ = case.sample(PARTIAL_ROWS)
    frame = X if hasattr(X, "columns") else pd.DataFrame(X)
    kept = frame.iloc[:, column].notna().to_numpy()
    values = frame.iloc[:, column][kept]
    is_number = pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values)
    is_date = pd.api.types.is_datetime64_any_dtype(values)
    most = len(values) if is_number else MOST_CATEGORIES
    if is_date or not 2 <= values.astype(object).nunique() <= most:
        return None
    X = X[kept]
    if is_number and hasattr(X, "columns"):  # scikit-learn does not draw whole numbers
        X = X.astype({X.columns[column]: float})
    found = partial_dependence(
        case.model, X if hasattr(X, "columns") or not is_number else np.asarray(X, float), [column],
        categorical_features=None if is_number else [column], grid_resolution=PARTIAL_GRID,
        percentiles=(0.02, 0.98), kind="average",
    )  # fmt: skip
    average = found.average
    labels: list[str | None] = [None] * len(average)
    if case.is_classifier and len(average) == len(case.mlp.classes_):
        often = np.argsort(-np.bincount(np.searchsorted(case.mlp.classes_, case.y[case.known])))
        some = sorted(often[:MOST_CURVES])
        average, labels = average[some], [label_of(case.mlp.classes_[k]) for k in some]
    elif case.is_classifier:
        labels = [f"P({label_of(case.mlp.classes_[-1])})"]
    grid = list(found.grid_values[0])
    return Curves(
        case.names[column], grid if is_number else [label_of(value) for value in grid],
        average, labels, not is_number,
    )  # fmt: skip


def _equations(case: _Case) -> Markup:
    return Markup(f'<div class="equations">{case.inside.net.derivation().html}</div>')


def _proof(case: _Case) -> Markup:
    net, X, y = case.inside
    proof = net.check(X[:PROOF_ROWS], y[:PROOF_ROWS])
    verdicts = {True: Markup('<span class="holds">holds</span>'),
                False: Markup('<span class="fails">FAILS</span>')}  # fmt: skip
    rows = [(e.equation, verdicts[e.ok], f"{e.error:.1e}", e.method, e.where) for e in proof.rows]
    text = (
        f"Each equation of this network, tested on {min(PROOF_ROWS, len(X))} of these rows by "
        "other means than the equation: "
        + ("all hold." if proof.ok else "some do NOT hold; see where.")
    )
    return Markup(
        says(text) + table(("equation", "", "relative error", "method", "worst at"), rows, True)
    )


def _worst(case: _Case) -> Markup:
    from sklearn.utils import _safe_indexing

    if not case.is_classifier:
        badness = np.abs(case.y - case.predicted)
        extra: dict[str, np.ndarray] = {"y - ŷ": case.y - case.predicted}
    elif case.probabilities is not None:
        of_truth = case.of_truth(case.probabilities, case.y)
        badness, extra = 1 - of_truth, {"P(true)": of_truth}
    else:
        badness, extra = (case.predicted != case.y).astype(float), {}
    rows = np.argsort(-badness, kind="stable")[:WORST_ROWS]
    columns = case.by_importance()[:WORST_COLUMNS]
    X = _safe_indexing(case.X, rows)
    X = X.toarray() if hasattr(X, "toarray") else X
    cells = X.iloc[:, columns].to_numpy(object) if hasattr(X, "columns") else X[:, columns]
    index = getattr(X, "index", rows)
    lines = [
        (str(index[k]), case.y[n], case.predicted[n], *(v[n] for v in extra.values()), *cells[k])
        for k, n in enumerate(rows)
    ]
    heads = ("row", "true", "predicted", *extra, *(case.names[i] for i in columns))
    some = "" if len(columns) == len(case.names) else ", with the most important columns"
    return Markup(
        says(f"The {len(rows)} rows that the model predicts worst{some}.") + table(heads, lines)
    )


_SECTIONS: dict[str, Callable[[_Case], Markup | None]] = {
    "Model": _model,
    "Scores": _scores,
    "Learning curves": _learning,
    "Mistakes": _mistakes,
    "Calibration": _calibration,
    "Importance": _importance,
    "Signal flow": _signals,
    "Partial dependence": _partial_dependence,
    "Worst rows": _worst,
    "Weights": _weights,
    "Equations": _equations,
    "Proof": _proof,
}
