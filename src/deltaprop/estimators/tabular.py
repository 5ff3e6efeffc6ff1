"""Estimators for DataFrames: a TableEncoder and an MLP with defaults that suit tables."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any, ClassVar, cast

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils.validation import check_is_fitted

from deltaprop.data import TableEncoder, as_frame
from deltaprop.data.reading import TableError
from deltaprop.estimators._base import diagram
from deltaprop.estimators.classifier import MLPClassifier
from deltaprop.estimators.declaration import with_parameters
from deltaprop.estimators.parameters import (
    RunParameters,
    TabularClassifierParameters,
    TabularParameters,
    TabularRegressorParameters,
)
from deltaprop.estimators.regressor import MLPRegressor
from deltaprop.functions.losses import Loss
from deltaprop.training.fitting import is_stream, refuse_with_stream

if TYPE_CHECKING:
    from jaxtyping import Float

    from deltaprop.data.streaming import Stream

SAMPLE = 100_000  # rows of a stream that tell how to encode it
ON_ANY_SCALE = ("squared_error", "absolute_error", "huber", "quantile", "log_cosh", "gaussian_nll")
ON_A_RATIO_SCALE = ("poisson", "gamma", "tweedie")


class BaseTabular(RunParameters, TabularParameters, BaseEstimator):
    """The common part of both tabular estimators."""

    _parameter_constraints: ClassVar[dict[str, list[Any]]]

    encoder_: TableEncoder
    mlp_: Any

    def _new_mlp(self, kind: type[Any], n_rows: int) -> Any:
        """An MLP estimator with our parameters, and the settings that suit tables."""
        batch = self.batch_size
        if batch == "auto":  # about twenty steps per epoch, on small tables as well
            batch = int(np.clip(n_rows // 20, 16, 256))
        parameters = {f.name: getattr(self, f.name) for f in fields(self)} | {
            "batch_size": min(batch, n_rows),
            "early_stopping": self.solver != "lbfgs",
            "scoring": "loss",
            "tol": 0.0,
            "init": "he_uniform",
        }
        return kind(**parameters)

    def _html_repr(self) -> str:
        return diagram(self, self.mlp_.network_ if hasattr(self, "mlp_") else None)

    def _encode_new(self, X: Any) -> Float[np.ndarray, "N D"]:
        frame = as_frame(X)
        self._learn_encoding(frame)
        return self.encoder_.transform(frame)

    def _learn_encoding(self, frame: Any) -> None:
        self.encoder_ = TableEncoder().fit(frame)
        self.feature_names_in_ = self.encoder_.feature_names_in_
        self.n_features_in_ = self.encoder_.n_features_in_

    def _encode_stream(self, X: Stream, y: Any, sample_weight: Any) -> Stream:
        """The stream's rows, encoded as a random sample of them tells."""
        refuse_with_stream(y=y, sample_weight=sample_weight)
        self.target_name_ = X.target
        sample = X.sample(SAMPLE, every_category=True)[list(X.features)]
        self._learn_encoding(sample)
        width = self.encoder_.transform(sample.iloc[:1]).shape[1]
        return X.encoded(self.encoder_.transform, None, width)

    def _encode(self, X: Any) -> Float[np.ndarray, "N D"]:
        check_is_fitted(self)
        return self.encoder_.transform(X)


def _column(y: Any) -> np.ndarray:
    if y is None:
        raise ValueError("This estimator requires y to be passed, but the target y is None.")
    values = np.asarray(y)
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    return values


def _name(y: Any) -> str | None:
    """The target's column name, where y has one."""
    name = getattr(y, "name", None)
    return None if name is None else str(name)


@with_parameters(like=MLPClassifier)
class TabularClassifier(ClassifierMixin, BaseTabular, TabularClassifierParameters):
    """Classify the rows of a table: any columns in, no preparation needed.

    Categories, dates, text and missing values are encoded by
    :class:`deltaprop.data.TableEncoder`; the network stops early on a part of the rows that it
    sets aside, and keeps the weights of the best epoch.

    Attributes
    ----------
    encoder_ : TableEncoder
    mlp_ : MLPClassifier
    classes_ : ndarray
    feature_names_in_ : ndarray of str
    target_name_ : str or None
        Of y, where it was a column.

    Examples
    --------
    >>> import deltaprop as dp
    >>> table = dp.tables.read_table("data/penguins.csv")
    >>> X, y = table.drop(columns="species"), table["species"]
    >>> model = dp.TabularClassifier(random_state=0).fit(X, y)
    >>> model.score(X, y) > 0.95
    True
    """

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> TabularClassifier:
        """Fit to the rows of a DataFrame (pandas, polars, Arrow) and their labels, or to a Stream.

        Of a :func:`deltaprop.data.stream` a random sample of 100,000 rows tells how columns are
        encoded; all rows are trained on.

        Raises
        ------
        ValueError
            If a label is missing, or data or a parameter is out of range.
        """
        if is_stream(X):
            rows = self._encode_stream(X, y, sample_weight)
            self.mlp_ = self._new_mlp(MLPClassifier, len(rows))
            self.mlp_.fit(rows)
            self.classes_ = self.mlp_.classes_
            return self
        self.target_name_ = _name(y)
        labels = _column(y)
        if labels.dtype == object and any(label is None or label != label for label in labels):
            raise TableError("y has missing labels; leave those rows out.")
        if labels.dtype == object:  # of booleans or numbers only, it is not an array of words
            labels = pd.Series(labels).infer_objects().to_numpy()
        if labels.dtype == object:
            labels = np.array([str(label) for label in labels])
        Z = self._encode_new(X)
        self.mlp_ = self._new_mlp(MLPClassifier, len(Z))
        self.mlp_.fit(Z, labels, sample_weight)
        self.classes_ = self.mlp_.classes_
        return self

    def predict(self, X: Any) -> np.ndarray:
        """The most probable class of each row."""
        Z = self._encode(X)
        return cast(np.ndarray, self.mlp_.predict(Z))

    def predict_proba(self, X: Any) -> Float[np.ndarray, "N C"]:
        """The probability of each class, in the order of ``classes_``."""
        Z = self._encode(X)
        return cast(np.ndarray, self.mlp_.predict_proba(Z))


@with_parameters(like=MLPRegressor)
class TabularRegressor(RegressorMixin, BaseTabular, TabularRegressorParameters):
    """Predict a number for the rows of a table: any columns in, no preparation needed.

    As :class:`TabularClassifier`. Losses that suit any scale see y standardised, those of counts
    and amounts see y over its mean, and predictions come back on y's own scale.

    Attributes
    ----------
    encoder_ : TableEncoder
    mlp_ : MLPRegressor
        Fitted to (y - y_mean_) / y_scale_.
    y_mean_, y_scale_ : float
    feature_names_in_ : ndarray of str
    target_name_ : str or None
        Of y, where it was a column.

    Examples
    --------
    >>> import deltaprop as dp
    >>> table = dp.tables.read_table("data/penguins.csv").dropna()
    >>> X, y = table.drop(columns="body_mass_g"), table["body_mass_g"]
    >>> model = dp.TabularRegressor(random_state=0).fit(X, y)
    >>> model.score(X, y) > 0.8
    True
    """

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> TabularRegressor:
        """Fit to the rows of a DataFrame (pandas, polars, Arrow) and their numbers, or to a Stream.

        Of a :func:`deltaprop.data.stream` a random sample of 100,000 rows tells how columns are
        encoded; all rows are trained on.

        Raises
        ------
        ValueError
            If y is not finite numbers, or data or a parameter is out of range.
        """
        if is_stream(X):
            rows = self._encode_stream(X, y, sample_weight)
            self._set_scale(*X.moments())
            self.mlp_ = self._new_mlp(MLPRegressor, len(rows))
            self.mlp_.fit(rows.encoded(None, self._scaled))
            return self
        self.target_name_ = _name(y)
        try:
            values = _column(y).astype(np.float64)
        except (TypeError, ValueError) as error:
            raise TableError(f"y must hold numbers for a regression: {error}.") from error
        if not np.isfinite(values).all():
            raise TableError("y contains NaN or infinity; leave those rows out.")
        Z = self._encode_new(X)
        self._set_scale(float(values.mean()), float(values.std()))
        self.mlp_ = self._new_mlp(MLPRegressor, len(Z))
        self.mlp_.fit(Z, self._scaled(values), sample_weight)
        return self

    def _set_scale(self, mean: float, deviation: float) -> None:
        name = self.loss.name if isinstance(self.loss, Loss) else self.loss
        self.y_mean_, self.y_scale_ = 0.0, 1.0
        if name in ON_ANY_SCALE:
            self.y_mean_, self.y_scale_ = mean, deviation or 1.0
        elif name in ON_A_RATIO_SCALE and mean > 0:  # the output exp(a) starts near 1
            self.y_scale_ = mean

    def _scaled(self, y: Any) -> Float[np.ndarray, " N"]:
        scaled: np.ndarray = (np.asarray(y, np.float64) - self.y_mean_) / self.y_scale_
        return scaled

    def predict(self, X: Any, return_std: bool = False) -> Any:
        """The predicted number of each row; with loss="gaussian_nll" also its deviation."""
        Z = self._encode(X)
        if not return_std:
            return self.mlp_.predict(Z).astype(np.float64) * self.y_scale_ + self.y_mean_
        mean, std = self.mlp_.predict(Z, return_std=True)
        return mean * self.y_scale_ + self.y_mean_, std * self.y_scale_
