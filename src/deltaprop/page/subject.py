"""What the page shows: a network, rows and targets as the user knows them, and their names.

Subjects for estimators, which need their encoders, are in :mod:`deltaprop.inspect.page_subjects`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from deltaprop.errors import InputError, InputTypeError

if TYPE_CHECKING:
    from jaxtyping import Float, Num

    from deltaprop.model import Model

Edit = tuple[int, int, Any]  # row, column, value


@dataclass(frozen=True)
class Column:
    """A column that the user can edit.

    Attributes
    ----------
    name : str
    kind : {"number", "choice", "text"}
    choices : tuple of str
        For the kind "choice".
    """

    name: str
    kind: str
    choices: tuple[str, ...] = ()


@dataclass(frozen=True)
class Inputs:
    """The rows as they were given, and how to encode them as X_0.

    Attributes
    ----------
    columns : list of Column
    rows : callable
        ``rows(first, count, edits)`` returns a part of the rows after edits.
    values : callable
        Turns such a part into a list of lists for JSON.
    encode : callable
        Turns such a part into X_0.
    features : list of str
        The names of the columns of X_0.
    n_rows : int
    direct : bool
        Whether X_0 is equal to the rows, so that its entries can be edited.
    """

    columns: list[Column]
    rows: Callable[[int, int, Sequence[Edit]], Any]
    values: Callable[[Any], list[list[Any]]]
    encode: Callable[[Any], Any]
    features: list[str]
    n_rows: int
    direct: bool


@dataclass(frozen=True)
class Targets:
    """The targets as they were given, and how to encode them as y.

    Attributes
    ----------
    columns : list of Column
    values : ndarray (N, K)
        Numbers; indices of `choices` for classes.
    encode : callable
        Turns some rows of `values` into y.
    """

    columns: list[Column]
    values: Num[np.ndarray, "N K"]
    encode: Callable[[Any], Any]

    @property
    def are_classes(self) -> bool:
        """Whether each row has exactly one class."""
        return self.columns[0].kind == "choice"


@dataclass(frozen=True)
class Subject:
    """An opened model: its network, rows, targets, and the names of its outputs.

    Attributes
    ----------
    network : callable
        Returns the current network. It is called for each request, because training may continue.
    inputs : Inputs
    targets : Targets
    outputs : list of str
    say : callable
        Turns one row of outputs into text, such as the predicted class; returns None if the
        prediction has no text.
    member : str or None
        Which member of an ensemble the network is, such as "members_[0], one of 8".
    """

    network: Callable[[], Model]
    inputs: Inputs
    targets: Targets
    outputs: list[str]
    say: Callable[[Float[np.ndarray, "1 H"]], str | None]
    member: str | None = None

    def take(
        self, first: int, count: int, inputs: Sequence[Edit] = (), targets: Sequence[Edit] = ()
    ) -> tuple[Any, Any, list[list[Any]], list[list[Any]]]:
        """Return X and y for the network, and the same rows as the user sees them, after edits."""
        rows = self.inputs.rows(first, count, inputs)
        values = self.targets.values[first : first + count].astype(np.float64)
        for row, k, value in targets:
            values[row - first, k] = finite_number(value, self.targets.columns[k].name)
        return (
            self.inputs.encode(rows),
            self.targets.encode(values),
            self.inputs.values(rows),
            values.tolist(),
        )

    def check(self) -> Subject:
        """Return this subject if its rows and targets fit the network and each other.

        Raises
        ------
        ValueError
            If they do not fit.
        """
        N = len(self.targets.values)
        if self.inputs.n_rows != N:
            raise InputError(f"X has {self.inputs.n_rows} row(s) and y has {N}; they must agree.")
        if np.isnan(self.targets.values).any():
            raise InputError("y contains NaN; the page needs rows whose targets are all known.")
        self.network().encode(self.targets.encode(self.targets.values))
        X_0, y_0, *_ = self.take(0, 1)
        self.network().loss(X_0, y_0)
        return self


def network_subject(
    net: Model, X: Any, y: Any, feature_names: Any = None, target_names: Any = None
) -> Subject:
    """Return the subject for a plain network on (X, y).

    Raises
    ------
    TypeError
        If names are not a sequence.
    ValueError
        If X and y do not fit the network or each other, or there are too few or too many names.

    Examples
    --------
    >>> import deltaprop as dp
    >>> from deltaprop.page.subject import network_subject
    >>> net = dp.Network(2, [dp.Dense(2, "softmax")], loss="cross_entropy", seed=0)
    >>> subject = network_subject(net, [[0.5, 1.0]], [1], target_names=["no", "yes"])
    >>> subject.outputs, subject.inputs.features
    (['no', 'yes'], ['x0', 'x1'])
    """
    y = np.asarray(y)
    net.encode(y)
    names = list_of_names("target_names", target_names)
    H = net.n_outputs
    classes = y.ndim == 1 and y.dtype.kind in "iub" and net.loss_function.task == "classification"
    choices = tuple(names or map(str, range(max(H, 2)))) if classes else ()
    if classes and len(choices) != max(H, 2):
        raise InputError(f"target_names must name the {max(H, 2)} classes; got {len(choices)}.")
    if not classes and names and len(names) != H:
        raise InputError(f"target_names must name the {H} output(s); got {len(names)}.")
    outputs = output_names(H, choices or names)

    def encode(values: Num[np.ndarray, "N K"]) -> Any:
        return values[:, 0].astype(y.dtype) if y.ndim == 1 else values

    table = y.reshape(len(y), -1).astype(np.float64)
    columns = [Column("target", "choice", choices)] if choices else number_columns(table, outputs)
    return Subject(
        lambda: net,
        matrix_inputs(X, net.n_features, feature_names),
        Targets(columns, table, encode),
        outputs,
        lambda z: choices[_winner(net, z)] if choices else None,
    ).check()


def _winner(net: Model, z: Float[np.ndarray, "1 H"]) -> int:
    """Return the index of the predicted class."""
    if z.shape[1] > 1:
        return int(np.argmax(z))
    return int(z[0, 0] > (0.0 if net.loss_function.encoding.margins else 0.5))


def matrix_inputs(X: Any, n_features: int, feature_names: Any = None) -> Inputs:
    """Return the inputs for rows that are X_0 without encoding."""
    if feature_names is None and hasattr(X, "columns"):
        feature_names = list(X.columns)
    names = list_of_names("feature_names", feature_names) or [f"x{d}" for d in range(n_features)]
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
            part[row - first, column] = finite_number(value, names[column])
        return part

    return Inputs(
        [Column(name, "number") for name in names], rows, lambda part: part.tolist(),
        lambda part: part, names, array.shape[0], direct=True,
    )  # fmt: skip


# ---------------------------------------------------------------- names and numbers


def number_columns(table: Num[np.ndarray, "N K"], names: Any) -> list[Column]:
    """Return a column for each target, named "target" or "target 0", … unless all have names."""
    names = list(names) if names is not None and len(names) == table.shape[1] else None
    if names is None:
        K = table.shape[1]
        names = ["target"] if K == 1 else [f"target {k}" for k in range(K)]
    return [Column(str(name), "number") for name in names]


def output_names(H: int, names: Sequence[str]) -> list[str]:
    """Return the given names if there is one for each output, else ŷ0, ŷ1, …

    A single output with two classes is named after the second class.
    """
    if H == 1 and len(names) == 2:
        return [names[1]]
    return list(names) if len(names) == H else ["ŷ"] if H == 1 else [f"ŷ{h}" for h in range(H)]


def list_of_names(argument: str, names: Any) -> list[str]:
    """Return `names` as a list of strings; empty for None."""
    if names is None:
        return []
    if isinstance(names, str):
        return [names]
    try:
        return [str(name) for name in names]
    except TypeError:
        raise InputTypeError(f"{argument} must be a sequence of names, got {names!r}.") from None


def finite_number(value: Any, name: str) -> float:
    """Return `value` as a finite float; raise InputError if it is not one."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise InputError(f"{name} must be a number, got {value!r}.") from None
    if not np.isfinite(number):
        raise InputError(f"{name} must be a finite number, got {value!r}.")
    return number
