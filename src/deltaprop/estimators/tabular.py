"""Estimators for DataFrames: a TableEncoder and an MLP with defaults that suit tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils.validation import check_is_fitted

from deltaprop.data.encoder import TableEncoder, as_frame
from deltaprop.data.reading import TableError
from deltaprop.data.streamed_rows import refuse_with_stream
from deltaprop.data.streams.stream import Stream
from deltaprop.engines.xla_engine import Xla
from deltaprop.errors import InputError
from deltaprop.estimators._base import diagram
from deltaprop.estimators.classifier import MLPClassifier
from deltaprop.estimators.regressor import MLPRegressor
from deltaprop.functions.losses import Loss

if TYPE_CHECKING:
    from jaxtyping import Float

SAMPLE = 100_000  # rows of a stream that tell how to encode it
ON_ANY_SCALE = ("squared_error", "absolute_error", "huber", "quantile", "log_cosh", "gaussian_nll")
ON_A_RATIO_SCALE = ("poisson", "gamma", "tweedie")


class BaseTabular(BaseEstimator):
    """The common part of both tabular estimators."""

    hidden_layer_sizes: Any
    activation: Any
    loss: Any
    solver: Any
    alpha: float
    weight_decay: float
    batch_size: int | str
    learning_rate: Any
    learning_rate_init: float
    dropout: Any
    max_iter: int
    n_iter_no_change: int
    validation_fraction: float
    random_state: Any
    callbacks: Any
    engine: str | Xla
    record: Any
    checkpoint: Any

    encoder_: TableEncoder
    mlp_: Any

    def _new_mlp(self, kind: type, n_rows: int, **extra: Any) -> Any:
        batch = self.batch_size
        if batch == "auto":  # some twenty steps an epoch, also on small tables
            batch = int(np.clip(n_rows // 20, 16, 256))
        return kind(
            hidden_layer_sizes=self.hidden_layer_sizes,
            activation=self.activation,
            loss=self.loss,
            solver=self.solver,
            alpha=self.alpha,
            weight_decay=self.weight_decay,
            batch_size=min(batch, n_rows),
            learning_rate=self.learning_rate,
            learning_rate_init=self.learning_rate_init,
            dropout=self.dropout,
            max_iter=self.max_iter,
            n_iter_no_change=self.n_iter_no_change,
            validation_fraction=self.validation_fraction,
            early_stopping=self.solver != "lbfgs",
            scoring="loss",
            tol=0.0,
            init="he_uniform",
            random_state=self.random_state,
            callbacks=self.callbacks,
            engine=self.engine,
            record=self.record,
            checkpoint=self.checkpoint,
            **extra,
        )

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
        raise InputError("This estimator requires y to be passed, but the target y is None.")
    values = np.asarray(y)
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    return values


def _name(y: Any) -> str | None:
    """The target's column name, where y has one."""
    name = getattr(y, "name", None)
    return None if name is None else str(name)


class TabularClassifier(ClassifierMixin, BaseTabular):
    """Classify the rows of a table: any columns in, no preparation needed.

    Categories, dates, text and missing values are encoded by
    :class:`deltaprop.tables.TableEncoder`; the network stops early on a part of the rows that it
    sets aside, and keeps the weights of the best epoch.

    Parameters
    ----------
    hidden_layer_sizes : tuple of int, default=(128, 64)
    activation : str or list, default="silu"
    loss : str or Loss, default="log_loss"
    solver : str, default="adamw"
    alpha : float, default=0.0
    weight_decay : float, default=0.01
    batch_size : int or "auto", default="auto"
        "auto" is a twentieth of the rows, between 16 and 256.
    learning_rate : str or Schedule, default="constant"
    learning_rate_init : float, default=0.002
    dropout : float, default=0.0
    max_iter : int, default=200
    n_iter_no_change : int, default=15
    validation_fraction : float, default=0.15
    class_weight : dict, "balanced" or None, default=None
    random_state : int, RandomState or None, default=None
    callbacks : list of callables or None, default=None
    engine : str or Xla, default="auto"
    record : int, Record or None, default=None
    checkpoint : str, Path, Checkpoint or None, default=None
        All as in :class:`deltaprop.MLPClassifier`.

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

    def __init__(
        self,
        hidden_layer_sizes: Any = (128, 64),
        activation: Any = "silu",
        *,
        loss: Any = "log_loss",
        solver: Any = "adamw",
        alpha: float = 0.0,
        weight_decay: float = 0.01,
        batch_size: int | str = "auto",
        learning_rate: Any = "constant",
        learning_rate_init: float = 0.002,
        dropout: Any = 0.0,
        max_iter: int = 200,
        n_iter_no_change: int = 15,
        validation_fraction: float = 0.15,
        class_weight: Any = None,
        random_state: Any = None,
        callbacks: Any = None,
        engine: str | Xla = "auto",
        record: Any = None,
        checkpoint: Any = None,
    ) -> None:
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.loss = loss
        self.solver = solver
        self.alpha = alpha
        self.weight_decay = weight_decay
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.learning_rate_init = learning_rate_init
        self.dropout = dropout
        self.max_iter = max_iter
        self.n_iter_no_change = n_iter_no_change
        self.validation_fraction = validation_fraction
        self.class_weight = class_weight
        self.random_state = random_state
        self.callbacks = callbacks
        self.engine = engine
        self.record = record
        self.checkpoint = checkpoint

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> TabularClassifier:
        """Fit to the rows of a DataFrame (pandas, polars, Arrow) and their labels, or to a Stream.

        Of a :func:`deltaprop.tables.stream` a random sample of 100,000 rows tells how columns are
        encoded; all rows are trained on.

        Raises
        ------
        ValueError
            If a label is missing, or data or a parameter is out of range.
        """
        if isinstance(X, Stream):
            rows = self._encode_stream(X, y, sample_weight)
            self.mlp_ = self._new_mlp(MLPClassifier, len(rows), class_weight=self.class_weight)
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
        self.mlp_ = self._new_mlp(MLPClassifier, len(Z), class_weight=self.class_weight)
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


class TabularRegressor(RegressorMixin, BaseTabular):
    """Predict a number for the rows of a table: any columns in, no preparation needed.

    As :class:`TabularClassifier`. Losses that suit any scale see y standardised, those of counts
    and amounts see y over its mean, and predictions come back on y's own scale.

    Parameters
    ----------
    hidden_layer_sizes : tuple of int, default=(128, 64)
    activation : str or list, default="silu"
    loss : str or Loss, default="squared_error"
    solver : str, default="adamw"
    alpha : float, default=0.0
    weight_decay : float, default=0.01
    batch_size : int or "auto", default="auto"
        "auto" is a twentieth of the rows, between 16 and 256.
    learning_rate : str or Schedule, default="constant"
    learning_rate_init : float, default=0.002
    dropout : float, default=0.0
    max_iter : int, default=200
    n_iter_no_change : int, default=15
    validation_fraction : float, default=0.15
    random_state : int, RandomState or None, default=None
    callbacks : list of callables or None, default=None
    engine : str or Xla, default="auto"
    record : int, Record or None, default=None
    checkpoint : str, Path, Checkpoint or None, default=None
        All as in :class:`deltaprop.MLPRegressor`.

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

    def __init__(
        self,
        hidden_layer_sizes: Any = (128, 64),
        activation: Any = "silu",
        *,
        loss: Any = "squared_error",
        solver: Any = "adamw",
        alpha: float = 0.0,
        weight_decay: float = 0.01,
        batch_size: int | str = "auto",
        learning_rate: Any = "constant",
        learning_rate_init: float = 0.002,
        dropout: Any = 0.0,
        max_iter: int = 200,
        n_iter_no_change: int = 15,
        validation_fraction: float = 0.15,
        random_state: Any = None,
        callbacks: Any = None,
        engine: str | Xla = "auto",
        record: Any = None,
        checkpoint: Any = None,
    ) -> None:
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.loss = loss
        self.solver = solver
        self.alpha = alpha
        self.weight_decay = weight_decay
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.learning_rate_init = learning_rate_init
        self.dropout = dropout
        self.max_iter = max_iter
        self.n_iter_no_change = n_iter_no_change
        self.validation_fraction = validation_fraction
        self.random_state = random_state
        self.callbacks = callbacks
        self.engine = engine
        self.record = record
        self.checkpoint = checkpoint

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> TabularRegressor:
        """Fit to the rows of a DataFrame (pandas, polars, Arrow) and their numbers, or to a Stream.

        Of a :func:`deltaprop.tables.stream` a random sample of 100,000 rows tells how columns are
        encoded; all rows are trained on.

        Raises
        ------
        ValueError
            If y is not finite numbers, or data or a parameter is out of range.
        """
        if isinstance(X, Stream):
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
