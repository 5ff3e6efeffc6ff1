"""What the page looks at: a network, and rows as their owner knows them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from deltaprop.errors import InputError, InputTypeError
from deltaprop.network import Network

if TYPE_CHECKING:
    from jaxtyping import Float, Num

Edit = tuple[int, int, Any]  # row, column, value

# Losses that take classes, and so a choice among names.
OF_CLASSES = ("cross_entropy", "binary_cross_entropy", "focal", "hinge")


@dataclass(frozen=True)
class Column:
    """A column that the user can edit: a number, one of `choices`, or words."""

    name: str
    kind: str
    choices: tuple[str, ...] = ()


@dataclass(frozen=True)
class Inputs:
    """The rows as they were given, and the way from there to X_0."""

    columns: list[Column]
    rows: Callable[[int, int, Sequence[Edit]], Any]
    values: Callable[[Any], list[list[Any]]]
    encode: Callable[[Any], Any]
    features: list[str]  # names of X_0's columns
    n_rows: int
    direct: bool  # whether X_0 is the rows themselves, so that its entries can be edited


@dataclass(frozen=True)
class Targets:
    """The targets as they were given (indices of `choices` for classes), and the way to y."""

    columns: list[Column]
    values: Num[np.ndarray, "N K"]
    encode: Callable[[Any], Any]


@dataclass(frozen=True)
class Subject:
    """A model, opened: its network, rows, targets, and the names of its outputs."""

    network: Callable[[], Network]  # asked anew each time: training may go on meanwhile
    inputs: Inputs
    targets: Targets
    outputs: list[str]
    say: Callable[[Float[np.ndarray, "1 H"]], str | None]  # an output in the user's words

    def take(
        self, first: int, count: int, inputs: Sequence[Edit] = (), targets: Sequence[Edit] = ()
    ) -> tuple[Any, Any, list[list[Any]], list[list[Any]]]:
        """X and y for the network, and the same rows as the user sees them, after edits."""
        rows = self.inputs.rows(first, count, inputs)
        values = self.targets.values[first : first + count].astype(np.float64)
        for row, k, value in targets:
            values[row - first, k] = _number(value, self.targets.columns[k].name)
        return (
            self.inputs.encode(rows),
            self.targets.encode(values),
            self.inputs.values(rows),
            values.tolist(),
        )


def subject(
    model: Any, X: Any, y: Any, feature_names: Any = None, target_names: Any = None
) -> Subject:
    """Open `model`, a Network or one of the estimators, on rows of its own kind.

    Raises
    ------
    TypeError
        If `model` is neither.
    ValueError
        If X and y do not fit the model or each other.
    """
    if isinstance(model, Network):
        opened = _of_network(model, X, y, feature_names, target_names)
    elif hasattr(model, "mlp_"):
        opened = _of_tabular(model, X, y)
    elif hasattr(model, "network_"):
        opened = _of_mlp(model, X, y, feature_names, target_names)
    else:
        raise InputTypeError(
            "model must be a deltaprop.Network or a fitted MLPClassifier, MLPRegressor, "
            f"TabularClassifier or TabularRegressor; got {type(model).__name__}."
        )
    N = len(opened.targets.values)
    if opened.inputs.n_rows != N:
        raise InputError(f"X has {opened.inputs.n_rows} row(s) and y has {N}; they must agree.")
    opened.network().encode(opened.targets.encode(opened.targets.values))
    X_0, y_0, *_ = opened.take(0, 1)
    opened.network().loss(X_0, y_0)  # the model's own checks, before anybody looks
    return opened


# ---------------------------------------------------------------- three kinds of models


def _of_network(net: Network, X: Any, y: Any, feature_names: Any, target_names: Any) -> Subject:
    y = np.asarray(y)
    net.encode(y)
    names = _names("target_names", target_names)
    H = net.n_outputs
    classes = y.ndim == 1 and y.dtype.kind in "iub" and net.loss_function.name in OF_CLASSES
    choices = tuple(names or map(str, range(max(H, 2)))) if classes else ()
    if classes and len(choices) != max(H, 2):
        raise InputError(f"target_names must name the {max(H, 2)} classes; got {len(choices)}.")
    if not classes and names and len(names) != H:
        raise InputError(f"target_names must name the {H} output(s); got {len(names)}.")
    outputs = _output_names(H, choices or names)

    def encode(values: Num[np.ndarray, "N K"]) -> Any:
        return values[:, 0].astype(y.dtype) if y.ndim == 1 else values

    table = y.reshape(len(y), -1).astype(np.float64)
    columns = [Column("target", "choice", choices)] if choices else _numbers(table, outputs)
    return Subject(
        lambda: net,
        _matrix(X, net.n_features, feature_names),
        Targets(columns, table, encode),
        outputs,
        lambda z: choices[_winner(net, z)] if choices else None,
    )


def _of_mlp(model: Any, X: Any, y: Any, feature_names: Any, target_names: Any) -> Subject:
    net = model._network()
    if feature_names is None and hasattr(model, "feature_names_in_"):
        feature_names = model.feature_names_in_
    targets, say = _estimator_targets(model, y, target_names)
    choices = [choice for column in targets.columns[:1] for choice in column.choices]
    several = [column.name for column in targets.columns] if len(targets.columns) > 1 else []
    names = choices or several
    return Subject(
        model._network,
        _matrix(X, net.n_features, feature_names),
        targets,
        _output_names(net.n_outputs, names or _names("target_names", target_names)),
        say,
    )


def _of_tabular(model: Any, X: Any, y: Any) -> Subject:
    target = getattr(model, "target_name_", None)
    mean, scale = getattr(model, "y_mean_", 0.0), getattr(model, "y_scale_", 1.0)
    targets, say = _estimator_targets(model.mlp_, y, target, mean, scale)
    net = model.mlp_.network_
    return Subject(
        model.mlp_._network,
        _frame(X, model.encoder_),
        targets,
        _output_names(net.n_outputs, targets.columns[0].choices),
        say,
    )


def _estimator_targets(
    mlp: Any, y: Any, names: Any, mean: float = 0.0, scale: float = 1.0
) -> tuple[Targets, Callable[[Any], str | None]]:
    """The targets of a fitted MLP, and how it puts an output into words."""
    values = np.asarray(y)
    single = values.ndim == 1 or values.shape[1] == 1
    name = names if isinstance(names, str) else "target"
    if not hasattr(mlp, "classes_"):
        table = values.reshape(len(values), -1).astype(np.float64)
        several = names if not single and not isinstance(names, str) else None
        columns = [Column(name, "number")] if single else _numbers(table, several)

        def encode(rows: Float[np.ndarray, "N K"]) -> Any:
            scaled = (rows - mean) / scale
            return scaled[:, 0] if single else scaled

        def say(z: Float[np.ndarray, "1 H"]) -> str | None:
            means = np.atleast_2d(mlp._means(z) * scale + mean)
            return ", ".join(f"{value:.6g}" for value in means.ravel())

        return Targets(columns, table, encode), say
    if mlp._kind == "multilabel":
        table = values.astype(np.float64)
        columns = _numbers(table, [str(label) for label in mlp.classes_])
        return Targets(columns, table, lambda rows: rows.astype(np.int8)), lambda z: None
    labels = values.ravel()
    classes = mlp.classes_
    if classes.dtype.kind in "US":
        labels = np.array([str(label) for label in labels])
    unknown = sorted({str(label) for label in labels} - {str(label) for label in classes})
    if unknown:
        raise InputError(
            f"y has classes that the model does not know: {', '.join(unknown)}. It knows "
            f"{', '.join(str(label) for label in classes)}."
        )
    index = np.searchsorted(classes, labels.astype(classes.dtype))[:, None]
    column = Column(name, "choice", tuple(str(label) for label in classes))
    return (
        Targets([column], index, lambda rows: mlp._codes(classes[rows[:, 0].astype(int)])),
        lambda z: str(mlp._labels(z)[0]),
    )


# ---------------------------------------------------------------- rows


def _matrix(X: Any, n_features: int, feature_names: Any) -> Inputs:
    """Rows that are numbers already: X_0 itself."""
    if feature_names is None and hasattr(X, "columns"):
        feature_names = list(X.columns)
    names = _names("feature_names", feature_names) or [f"x{d}" for d in range(n_features)]
    if len(names) != n_features:
        raise InputError(
            f"feature_names must name the {n_features} column(s) of X; got {len(names)}."
        )
    array = X.tocsr() if hasattr(X, "tocsr") else np.asarray(X)
    if array.ndim != 2 or array.shape[0] == 0:
        raise InputError(f"X must have shape (N, {n_features}) with N >= 1, got {array.shape}.")

    def rows(first: int, count: int, edits: Sequence[Edit]) -> Float[np.ndarray, "N D"]:
        part = array[first : first + count]
        part = part.toarray() if hasattr(part, "toarray") else np.array(part)
        part = part.astype(np.result_type(part.dtype, np.float32))
        for row, column, value in edits:
            part[row - first, column] = _number(value, names[column])
        return part

    return Inputs(
        [Column(name, "number") for name in names], rows, lambda part: part.tolist(),
        lambda part: part, names, array.shape[0], direct=True,
    )  # fmt: skip


def _frame(X: Any, encoder: Any) -> Inputs:
    """Rows of a table, which the model's encoder turns into X_0."""
    import pandas as pd

    from deltaprop.data.encoder import as_frame

    frame = as_frame(X)
    encoder.transform(frame[:1])  # missing columns are said here
    used = [name for name in encoder.feature_names_in_ if encoder.kinds_[name] != "dropped"]
    columns = [_table_column(name, frame[name], encoder) for name in used]

    def rows(first: int, count: int, edits: Sequence[Edit]) -> Any:
        part = frame.iloc[first : first + count].reset_index(drop=True)
        for row, k, value in edits:
            name, kind = columns[k].name, columns[k].kind
            empty = value is None or value == ""
            if kind == "number":
                part[name] = pd.to_numeric(part[name], errors="coerce").astype(float)
                value = np.nan if empty else _number(value, name)
            elif pd.api.types.is_datetime64_any_dtype(part[name]):
                value = pd.NaT if empty else pd.Timestamp(value)
            else:
                part[name] = part[name].astype(object)
                value = None if empty else str(value)
            part.loc[row - first, name] = value
        return part

    def values(part: Any) -> list[list[Any]]:
        return [[_plain(value) for value in row] for row in part[used].itertuples(index=False)]

    indicator = getattr(encoder.imputer_, "indicator_", None)
    names = list(encoder.feature_names_out_)
    missing = [] if indicator is None else [f"{names[d]} missing" for d in indicator.features_]
    return Inputs(
        columns, rows, values, encoder.transform, names + missing, len(frame), direct=False
    )


def _table_column(name: str, column: Any, encoder: Any) -> Column:
    kind = encoder.kinds_[name]
    if kind == "category":
        for step in encoder.chains_[name]:
            if hasattr(step, "categories_"):
                known = [str(value) for value in step.categories_[0] if value == value and value]
                return Column(name, "choice", tuple(known))
    return Column(name, "number" if kind == "numeric" else "text")


# ---------------------------------------------------------------- pieces


def _numbers(table: Num[np.ndarray, "N K"], names: Any) -> list[Column]:
    names = list(names) if names is not None and len(names) == table.shape[1] else None
    if names is None:
        K = table.shape[1]
        names = ["target"] if K == 1 else [f"target {k}" for k in range(K)]
    return [Column(str(name), "number") for name in names]


def _output_names(H: int, names: Sequence[str]) -> list[str]:
    """The names that fit, one an output; of two classes with one output, the second."""
    if H == 1 and len(names) == 2:
        return [names[1]]
    return list(names) if len(names) == H else ["ŷ"] if H == 1 else [f"ŷ{h}" for h in range(H)]


def _winner(net: Network, z: Float[np.ndarray, "1 H"]) -> int:
    if z.shape[1] > 1:
        return int(np.argmax(z))
    return int(z[0, 0] > (0.0 if net.loss_function.name == "hinge" else 0.5))


def _names(argument: str, names: Any) -> list[str]:
    if names is None:
        return []
    if isinstance(names, str):
        return [names]
    try:
        return [str(name) for name in names]
    except TypeError:
        raise InputTypeError(f"{argument} must be a sequence of names, got {names!r}.") from None


def _number(value: Any, name: str) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise InputError(f"{name} must be a number, got {value!r}.") from None
    if not np.isfinite(number):
        raise InputError(f"{name} must be a finite number, got {value!r}.")
    return number


def _plain(value: Any) -> Any:
    """A cell as JSON knows it; None where it is missing."""
    if value is None or value != value:
        return None
    if isinstance(value, (bool, np.bool_)):
        return str(value)
    if isinstance(value, (int, float, np.number)):
        return float(value)
    return str(value)
