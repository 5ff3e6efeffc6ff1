"""``LightModel``: predictions with NumPy alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from deltaprop.data.columns.dates import PARTS
from deltaprop.data.columns.quantiles import Quantiles
from deltaprop.data.columns.squashing import Squash
from deltaprop.data.columns.words import is_missing_word, label
from deltaprop.errors import InputError
from deltaprop.functions import activations
from deltaprop.model.inputs import converted_without_sklearn
from deltaprop.plan.steps import CategoryStep, Classes, DateStep, Numbers, NumberStep, Plan

if TYPE_CHECKING:
    from jaxtyping import Float

    from deltaprop.plan.steps import ColumnStep, DenseStep

ROWS_AT_A_TIME = 8192  # bounds the memory of the encoded rows


class LightModel:
    """A fitted model for predictions only, which needs nothing but NumPy.

    ``dp.load(path, light=True)`` returns one. It is fitted already, and cannot be trained,
    explained or saved.

    Attributes
    ----------
    feature_names_in_ : ndarray of str
        The columns that it reads, or the names of the features.
    classes_ : ndarray or None
        The class labels, in the order of the columns of ``predict_proba``; None for numbers.
    output_names_ : list of str
        The names of the columns of ``predict``, of a model that predicts numbers.
    target_name_ : str or None
        The name of the target column.

    Examples
    --------
    >>> import deltaprop as dp, tempfile, os
    >>> X, y = {"size": [1.0, 2.0, 3.0] * 9, "unit": ["cm", "cm", "m"] * 9}, ["a", "a", "b"] * 9
    >>> model = dp.TabularClassifier((4,), max_iter=20, random_state=0).fit(X, y)
    >>> path = os.path.join(tempfile.mkdtemp(), "model.dp")
    >>> dp.save(model, path)
    >>> light = dp.load(path, light=True)
    >>> light.predict({"size": [1.5, None], "unit": ["cm", "m"]})
    array(['a', 'b'], dtype='<U1')
    """

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self.feature_names_in_ = np.array(plan.inputs, dtype=object)
        self.target_name_ = plan.target
        self.classes_: np.ndarray | None = None
        self.output_names_: list[str] = []
        if isinstance(plan.output, Classes):
            self.classes_ = np.array(plan.output.labels)
        else:
            self.output_names_ = list(plan.output.names)

    def predict(self, X: Any) -> np.ndarray:
        """Predict the class or the number of each row.

        Parameters
        ----------
        X : array of shape (n_samples, n_features), or a table
            A table may be a dict of columns, a list of dicts, a structured array or a DataFrame.
            Columns are numbers, categories (strings or numbers) or dates (``datetime64``); None and
            NaN are missing values.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_outputs)
            As the model returns them. With loss="gaussian_nll", standard deviations follow the
            means.

        Raises
        ------
        ValueError
            If a column is missing, or holds values of another kind.
        """
        z = self._output(X)
        if isinstance(self._plan.output, Numbers):
            return _numbers(z, self._plan.output)
        return _decided(_probabilities(z, self._plan.output), self._plan.output)

    def predict_proba(self, X: Any) -> Float[np.ndarray, "N C"]:
        """Predict the probability of each class.

        Parameters
        ----------
        X : array of shape (n_samples, n_features), or a table
            As for `predict`.

        Returns
        -------
        ndarray of shape (n_samples, n_classes)

        Raises
        ------
        ValueError
            As for `predict`, or if the model predicts no probabilities.
        """
        out = self._plan.output
        if isinstance(out, Numbers) or out.margins:
            raise InputError("This model predicts no probabilities; use predict.")
        return _probabilities(self._output(X), out)

    def _output(self, X: Any) -> Float[np.ndarray, "N H"]:
        """The output of the ensemble."""
        plan = self._plan
        read = _read(plan, X)
        n = len(read) if isinstance(read, np.ndarray) else len(read[0])
        z = np.empty((n, plan.n_outputs), plan.dtype)
        for start in range(0, n, ROWS_AT_A_TIME):
            rows = slice(start, start + ROWS_AT_A_TIME)
            if isinstance(read, np.ndarray):
                x = read[rows]
            else:
                x = _encoded(plan, [values[rows] for values in read])
            z[rows] = _combined([_forward(layers, x) for layers in plan.networks], plan)
        return z

    def __repr__(self) -> str:
        plan = self._plan
        sizes = " → ".join([str(plan.n_encoded), *(str(len(s.b)) for s in plan.networks[0])])
        return f"LightModel({len(plan.inputs)} columns, {len(plan.networks)} × {sizes})"


# ---------------------------------------------------------------- columns


def _read(plan: Plan, X: Any) -> Any:
    """The rows as a matrix for the networks, or what was read of each column of a table."""
    if not plan.columns:
        if isinstance(X, Mapping) or hasattr(X, "columns"):
            X = np.stack([_column(X, name) for name in plan.inputs], axis=1)
        rows = converted_without_sklearn(X, [plan.dtype])
        if rows.shape[1] != plan.n_encoded:
            raise InputError(
                f"X has {rows.shape[1]} column(s), but the model expects {plan.n_encoded}."
            )
        return rows
    table = _table(X, plan.inputs)
    columns = [_values(_column(table, step.name), step) for step in plan.columns]
    if len({len(values) for values in columns}) != 1 or not len(columns[0]):
        raise InputError("X must have rows, and as many values in each column.")
    return columns


def _table(X: Any, names: Sequence[str]) -> Any:
    """X as a mapping of columns."""
    if isinstance(X, np.ndarray) and X.dtype.names is not None:
        return {name: X[name] for name in X.dtype.names}
    if isinstance(X, Mapping) or hasattr(X, "columns"):
        return X
    if isinstance(X, list) and X and all(isinstance(row, Mapping) for row in X):
        return {name: [row.get(name) for row in X] for name in names}
    rows = np.asarray(X, dtype=None if isinstance(X, np.ndarray) else object)
    if rows.ndim != 2 or rows.shape[1] != len(names):
        raise InputError(
            f"X must be a table with the columns {', '.join(names)}, or an array with these "
            f"{len(names)} columns; got shape {rows.shape}."
        )
    return dict(zip(names, rows.T, strict=True))


def _column(table: Any, name: str) -> np.ndarray:
    if name not in (table if isinstance(table, Mapping) else list(table.columns)):
        raise InputError(f"The table lacks column(s) that the model needs: {name}.")
    values = table[name]
    if isinstance(values, (list, tuple)):
        found = np.empty(len(values), object)
        found[:] = values
        return found
    return np.asarray(values)


def _values(cells: np.ndarray, step: ColumnStep) -> np.ndarray:
    """What is read of a column before it is encoded."""
    if isinstance(step, NumberStep):
        return _as_numbers(cells, step)
    if isinstance(step, DateStep):
        return _as_parts(cells, step)
    return _as_slots(cells, step)


def _as_numbers(cells: np.ndarray, step: NumberStep) -> Float[np.ndarray, " N"]:
    if cells.dtype.kind in "biuf":
        return cells.astype(np.float64)
    if cells.dtype.kind == "m":
        seconds: np.ndarray = cells / np.timedelta64(1, "s")
        return seconds
    try:
        return np.array([_as_number(cell) for cell in cells.tolist()], np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise InputError(f"Column {step.name!r} must hold numbers: {error}.") from error


def _as_number(cell: Any) -> float:
    word = label(cell)
    if word is None or is_missing_word(word):
        return float("nan")
    return float({"True": 1.0, "False": 0.0}.get(word, word))


def _as_parts(cells: np.ndarray, step: DateStep) -> Float[np.ndarray, "N k"]:
    """The parts of dates, which are in UTC or in no time zone."""
    if step.zone not in (None, "UTC"):
        raise InputError(
            f"Column {step.name!r} holds dates in the time zone {step.zone}, which needs pandas: "
            "load the model without light=True."
        )
    if cells.dtype.kind in "OU":
        words = map(label, cells.tolist())
        cells = np.array([w if w and not is_missing_word(w) else None for w in words], object)
    try:
        dates = cells.astype("datetime64[us]")
    except (TypeError, ValueError) as error:
        raise InputError(
            f"Column {step.name!r} must hold dates, as datetime64 or in the ISO format: {error}."
        ) from error
    missing = np.isnat(dates)
    years, months, days, hours = (dates.astype(f"datetime64[{unit}]") for unit in "YMDh")
    parts = {
        "year": years.astype(np.int64) + 1970,
        "month": months.astype(np.int64) % 12 + 1,
        "day": (days - months.astype("datetime64[D]")).astype(np.int64) + 1,
        "hour": (hours - days.astype("datetime64[h]")).astype(np.int64),
        "total_seconds": dates.astype(np.int64) / 10**6,
    }
    assert parts.keys() == {*PARTS, "total_seconds"}
    found = np.stack([parts[part] for part in step.parts], axis=1).astype(np.float64)
    found[missing] = np.nan
    return found


def _as_slots(cells: np.ndarray, step: CategoryStep) -> np.ndarray:
    """The encoded column of the category of each row, or NOWHERE."""
    places = dict(zip(step.labels, step.places, strict=True))
    kinds, codes = np.unique(cells, return_inverse=True) if cells.dtype.kind in "biuU" else (
        cells, np.arange(len(cells))
    )  # fmt: skip
    found = []
    for cell in kinds.tolist():
        word = label(cell)
        if word is None or (step.missing_words and is_missing_word(word)):
            found.append(step.missing)
        else:
            found.append(places.get(word, step.unknown))
    return np.array(found, np.int64)[codes]


def _encoded(plan: Plan, columns: list[np.ndarray]) -> Float[np.ndarray, "N D"]:
    """x of each row, as :class:`deltaprop.tables.TableEncoder` computes it."""
    x = np.empty((len(columns[0]), plan.n_encoded), np.float32)
    for step, values in zip(plan.columns, columns, strict=True):
        if isinstance(step, CategoryStep):
            at = slice(step.at, step.at + len(step.low))
            x[:, at] = np.where(values[:, None] == np.arange(len(step.low)), step.high, step.low)
            continue
        table = values.reshape(len(x), -1)
        scale = _scale(step)
        if step.flag is not None:
            flags = slice(step.flag, step.flag + table.shape[1])
            x[:, flags] = np.where(np.isnan(table), step.high, step.low)
        x[:, step.at : step.at + table.shape[1]] = scale.apply(table.T.copy()).T
    if plan.bins is not None:
        bins = plan.bins
        t = (x[:, bins.source] - bins.low) / (bins.high - bins.low)
        np.clip(t, 0, 1, out=x[:, bins.at :])
    return x


def _scale(step: NumberStep | DateStep) -> Squash | Quantiles:
    if isinstance(step, NumberStep) and step.knots is not None:
        return Quantiles([step.knots])
    return Squash(np.atleast_1d(step.center), np.atleast_1d(step.scale))


# ---------------------------------------------------------------- networks


def _forward(layers: Sequence[DenseStep], x: Float[np.ndarray, "N D"]) -> Float[np.ndarray, "N H"]:
    """The output of a network, equations (1.1) and (1.2)."""
    for layer in layers:
        f = activations.get(layer.activation)
        if layer.alpha is not None:
            f = activations.mixed(f, layer.alpha)
        x = f.f(x @ layer.W + layer.b, np)
    return x


def _combined(outputs: list[np.ndarray], plan: Plan) -> Float[np.ndarray, "N H"]:
    """The mean of the outputs, or the mean and the variance of a mixture of Gaussians."""
    mean = sum(outputs[1:], outputs[0]) / len(outputs)
    if isinstance(plan.output, Numbers) and plan.output.gaussian and len(outputs) > 1:
        half = mean.shape[1] // 2
        spread = sum((z[:, :half] - mean[:, :half]) ** 2 for z in outputs) / len(outputs)
        mean[:, half:] += spread
    return mean


# ---------------------------------------------------------------- predictions


def _numbers(z: Float[np.ndarray, "N H"], out: Numbers) -> np.ndarray:
    if out.gaussian:
        half = z.shape[1] // 2
        z = np.hstack([z[:, :half], np.sqrt(z[:, half:])])
    scaled = bool(out.mean.any() or (out.scale != 1).any())
    y = z.astype(np.float64) * out.scale + out.mean if scaled else z
    return y[:, 0] if y.shape[1] == 1 else y


def _probabilities(z: Float[np.ndarray, "N H"], out: Classes) -> Float[np.ndarray, "N C"]:
    """The probability of each class; with loss="hinge", the margins."""
    if out.ordered:
        one = np.ones_like(z[:, :1])
        return -np.diff(np.hstack([one, np.minimum.accumulate(z, axis=1), 0 * one]), axis=1)
    if not out.pair or out.margins:
        return z
    return np.ones_like(z) if len(out.labels) == 1 else np.hstack([1 - z, z])


def _decided(P: Float[np.ndarray, "N C"], out: Classes) -> np.ndarray:
    """The class of each row, given the probabilities or margins."""
    classes = np.array(out.labels)
    if out.several:
        return (out.threshold < P).astype(int)
    if len(classes) == 1:
        index = np.zeros(len(P), int)
    elif out.threshold is not None:
        index = (P[:, -1] > out.threshold[0]).astype(int)
    elif out.cost is not None:
        index = (P @ out.cost).argmin(axis=1)
    else:
        index = P.argmax(axis=1)
    return classes[index]
