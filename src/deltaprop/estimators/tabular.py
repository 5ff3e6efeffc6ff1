"""Estimators for DataFrames: a TableEncoder and an MLP estimator with defaults for tables."""

from __future__ import annotations

import warnings
from dataclasses import fields
from typing import TYPE_CHECKING, Any, ClassVar, cast

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils.validation import check_is_fitted

from deltaprop.data.encoder import TableEncoder
from deltaprop.data.reading import TableError
from deltaprop.data.streamed_rows import refuse_with_stream
from deltaprop.data.streams.stream import Stream
from deltaprop.errors import InputError
from deltaprop.estimators._base import BaseMLP, diagram
from deltaprop.estimators._saving import (
    EstimatorState,
    require_prediction,
    restore_attributes,
    state_of,
)
from deltaprop.estimators.classifier import MLPClassifier
from deltaprop.estimators.declaration import with_parameters
from deltaprop.estimators.fitted import TargetKind
from deltaprop.estimators.parameters import (
    RunParameters,
    TabularClassifierParameters,
    TabularParameters,
    TabularRegressorParameters,
)
from deltaprop.estimators.regressor import MLPRegressor
from deltaprop.functions.losses import Loss
from deltaprop.network import Network
from deltaprop.optim.solvers import is_full_batch
from deltaprop.storage.codec import ModelFileError
from deltaprop.training.history import History

if TYPE_CHECKING:
    from jaxtyping import Float


SAMPLE = 100_000  # rows of a stream from which the encoding is learned
ON_ANY_SCALE = ("squared_error", "absolute_error", "huber", "quantile", "log_cosh", "gaussian_nll")
ON_A_RATIO_SCALE = ("poisson", "gamma", "tweedie")


class BaseTabular(RunParameters, TabularParameters, BaseEstimator):
    """The common part of both tabular estimators."""

    _parameter_constraints: ClassVar[dict[str, list[Any]]]

    encoder_: TableEncoder
    mlp_: Any
    target_name_: str | None

    def _new_mlp(self, kind: type[Any], n_rows: int) -> Any:
        """An MLP estimator with the parameters of this estimator and settings for tables."""
        batch = self.batch_size
        if batch == "auto":  # about twenty steps per epoch, even for small tables
            batch = int(np.clip(n_rows // 20, 16, 256))
        parameters = {f.name: getattr(self, f.name) for f in fields(self)} | {
            "batch_size": min(batch, n_rows),
            "early_stopping": not is_full_batch(self.solver) and self.privacy is None,
            "scoring": "loss",
            "tol": 0.0,
            "init": "he_uniform",
        }
        if self.privacy is not None:
            warnings.warn(
                "privacy covers the training of the network. The encoding of the table (categories,"
                " means, scales) is learned from the rows without noise and is not covered.",
                stacklevel=3,
            )
        return kind(**parameters)

    # ------------------------------------------------------------ the protocol `Fitted`

    def fitted_mlp(self) -> Any:
        check_is_fitted(self)
        return self.mlp_

    def fitted_network(self) -> Network:
        return cast(Network, self.fitted_mlp().fitted_network())

    def encode_rows(self, X: Any) -> Float[np.ndarray, "N D"]:
        return self._encode(X)

    def feature_names(self) -> list[str] | None:
        return [str(name) for name in self.encoder_.get_feature_names_out()]

    def column_kinds(self) -> dict[str, str]:
        return self.encoder_.kinds_

    def target_name(self) -> str | None:
        return self.target_name_

    def fit_history(self) -> History:
        return cast(History, self.mlp_.fit_history())

    def target_kind(self) -> TargetKind:
        return cast(TargetKind, self.mlp_.target_kind())

    def encode_target(self, y: Any) -> np.ndarray:
        return cast(np.ndarray, self.mlp_.encode_target(y))

    def output_in_words(self, z: Float[np.ndarray, "1 H"]) -> str | None:
        return cast("str | None", self.mlp_.output_in_words(z))

    # ------------------------------------------------------------ notebooks

    def _html_repr(self) -> str:
        return diagram(self, self.mlp_.network_ if hasattr(self, "mlp_") else None)

    # ------------------------------------------------------------ model files

    _saved_attributes: ClassVar[tuple[str, ...]] = (
        "n_features_in_", "feature_names_in_", "encoder_", "target_name_",
    )  # fmt: skip
    """The fitted attributes that a model file may contain; `mlp_` is stored beside them."""

    def __deltaprop_state__(self) -> EstimatorState:
        """What :func:`deltaprop.save` stores."""
        return state_of(self, self._saved_attributes, self.mlp_)

    def __deltaprop_restore__(self, fitted: dict[str, Any], mlp: BaseMLP) -> None:
        """Restore what `__deltaprop_state__` returned; ModelFileError if it is inconsistent."""
        restore_attributes(self, fitted, self._saved_attributes)
        self.mlp_ = mlp
        if not isinstance(fitted.get("encoder_"), TableEncoder):
            raise ModelFileError("it contains no preprocessing")
        self.encoder_.upgrade()
        self._require_consistent()
        # A row of missing values and a row of strings go through every step.
        columns = self.encoder_.columns_
        require_prediction(self, pd.DataFrame({name: [None, "1"] for name in columns}))

    def _require_consistent(self) -> None:
        """Raise ModelFileError if the fitted attributes do not fit the parts."""
        self._require_equal("n_features_in_", self.encoder_)
        self._require_equal("feature_names_in_", self.encoder_)

    def _require_equal(self, name: str, part: Any) -> None:
        if not np.array_equal(getattr(self, name), getattr(part, name)):
            raise ModelFileError(f"its {name} differs from that of its {type(part).__name__}")

    # ------------------------------------------------------------ encoding

    def _encode_new(self, X: Any) -> Float[np.ndarray, "N D"]:
        self._set_encoder(TableEncoder().fit(X))
        return self._encode(X)

    def _set_encoder(self, encoder: TableEncoder) -> None:
        self.encoder_ = encoder
        self.feature_names_in_ = encoder.feature_names_in_
        self.n_features_in_ = encoder.n_features_in_

    def _encode_stream(self, X: Stream, y: Any, sample_weight: Any) -> Stream:
        """The rows of the stream, with an encoding that is learned from a random sample."""
        refuse_with_stream(y=y, sample_weight=sample_weight)
        self.target_name_ = X.target
        sample = X.sample(SAMPLE, every_category=True)[list(X.features)]
        sample = sample.astype(dict.fromkeys(X.category_features(), "category"))
        self._set_encoder(TableEncoder().fit(sample))
        return X.encoded(self.encoder_.encode, None, self.encoder_.layout.width)

    def _encode(self, X: Any) -> Float[np.ndarray, "N D"]:
        check_is_fitted(self)
        return self.encoder_.encode(X)


def _column(y: Any) -> np.ndarray:
    if y is None:
        raise InputError("This estimator requires y to be passed, but the target y is None.")
    values = np.asarray(y)
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    return values


def _name(y: Any) -> str | None:
    """The column name of the target, if it has one."""
    name = getattr(y, "name", None)
    return None if name is None else str(name)


@with_parameters(like=MLPClassifier)
class TabularClassifier(ClassifierMixin, BaseTabular, TabularClassifierParameters):
    """A classifier for the rows of a table, which needs no preprocessing.

    A :class:`deltaprop.tables.TableEncoder` encodes categories, dates, text and missing values. A
    fraction of the rows is held out for early stopping, and the weights of the best epoch are kept.

    Attributes
    ----------
    encoder_ : TableEncoder
        The fitted encoder.
    mlp_ : MLPClassifier
        The classifier that is fitted to the encoded rows.
    classes_ : ndarray
        The class labels, in the order of the columns of ``predict_proba``.
    n_features_in_ : int
        Number of columns of X.
    feature_names_in_ : ndarray of str
        Column names of X.
    target_name_ : str or None
        Column name of y, if it has one.

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
        """Fit the model to X and y.

        Parameters
        ----------
        X : DataFrame (pandas, polars or Arrow) or Stream
            Features. A :func:`deltaprop.tables.stream` contains the target and the sample weights
            as well. Its encoding is learned from a random sample of 100,000 rows; the network is
            trained on all rows.
        y : array-like of shape (n_samples,)
            Class labels, without missing values.
        sample_weight : array-like of shape (n_samples,), optional
            Non-negative weights of the rows, not all zero.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If a label is missing, or if a parameter or the data is invalid.
        """
        if isinstance(X, Stream):
            rows = self._encode_stream(X, y, sample_weight)
            self.mlp_ = self._new_mlp(MLPClassifier, len(rows))
            self.mlp_.fit(rows)
            self.classes_ = self.mlp_.classes_
            return self
        self.target_name_ = _name(y)
        labels = _column(y)
        if labels.dtype == object and pd.isna(labels).any():
            raise TableError("y has missing labels; remove those rows.")
        if labels.dtype == object:  # an array of booleans or numbers keeps their type
            labels = pd.Series(labels).infer_objects().to_numpy()
        if labels.dtype == object:
            labels = np.array([str(label) for label in labels])
        Z = self._encode_new(X)
        self.mlp_ = self._new_mlp(MLPClassifier, len(Z))
        self.mlp_.fit(Z, labels, sample_weight)
        self.classes_ = self.mlp_.classes_
        return self

    _saved_attributes: ClassVar = (*BaseTabular._saved_attributes, "classes_")

    def _require_consistent(self) -> None:
        super()._require_consistent()
        self._require_equal("classes_", self.mlp_)

    def predict(self, X: Any) -> np.ndarray:
        """Predict the class of each row.

        Parameters
        ----------
        X : DataFrame
            A table with the columns that the model was fitted to.

        Returns
        -------
        ndarray of shape (n_samples,)
        """
        Z = self._encode(X)
        return cast(np.ndarray, self.mlp_.predict(Z))

    def predict_proba(self, X: Any) -> Float[np.ndarray, "N C"]:
        """Predict the probability of each class. Not available with loss="hinge".

        Parameters
        ----------
        X : DataFrame
            A table with the columns that the model was fitted to.

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            The columns are in the order of ``classes_``.
        """
        Z = self._encode(X)
        return cast(np.ndarray, self.mlp_.predict_proba(Z))


@with_parameters(like=MLPRegressor)
class TabularRegressor(RegressorMixin, BaseTabular, TabularRegressorParameters):
    """A regressor for the rows of a table, which needs no preprocessing.

    A :class:`deltaprop.tables.TableEncoder` encodes categories, dates, text and missing values. A
    fraction of the rows is held out for early stopping, and the weights of the best epoch are kept.

    The target is scaled for training, and predictions are converted back to its original scale.
    "poisson", "gamma" and "tweedie" use the target divided by its mean, the other built-in losses
    the standardized target.

    Attributes
    ----------
    encoder_ : TableEncoder
        The fitted encoder.
    mlp_ : MLPRegressor
        The regressor that is fitted to the encoded rows and (y - y_mean_) / y_scale_.
    y_mean_, y_scale_ : float
        Location and scale of the target.
    n_features_in_ : int
        Number of columns of X.
    feature_names_in_ : ndarray of str
        Column names of X.
    target_name_ : str or None
        Column name of y, if it has one.

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
        """Fit the model to X and y.

        Parameters
        ----------
        X : DataFrame (pandas, polars or Arrow) or Stream
            Features. A :func:`deltaprop.tables.stream` contains the target and the sample weights
            as well. Its encoding is learned from a random sample of 100,000 rows; the network is
            trained on all rows.
        y : array-like of shape (n_samples,)
            Finite numbers.
        sample_weight : array-like of shape (n_samples,), optional
            Non-negative weights of the rows, not all zero.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If y has values other than finite numbers, or if a parameter or the data is invalid.
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
            raise TableError("y contains NaN or infinity; remove those rows.")
        Z = self._encode_new(X)
        self._set_scale(float(values.mean()), float(values.std()))
        self.mlp_ = self._new_mlp(MLPRegressor, len(Z))
        self.mlp_.fit(Z, self._scaled(values), sample_weight)
        return self

    _saved_attributes: ClassVar = (*BaseTabular._saved_attributes, "y_mean_", "y_scale_")

    def _require_consistent(self) -> None:
        super()._require_consistent()
        if not np.isfinite([self.y_mean_, self.y_scale_]).all():
            raise ModelFileError("the scale of its target is not finite")

    def _set_scale(self, mean: float, deviation: float) -> None:
        name = self.loss.name if isinstance(self.loss, Loss) else self.loss
        self.y_mean_, self.y_scale_ = 0.0, 1.0
        if name in ON_ANY_SCALE:
            self.y_mean_, self.y_scale_ = mean, deviation or 1.0
        elif name in ON_A_RATIO_SCALE and mean > 0:  # exp(a), the prediction, is initially near 1
            self.y_scale_ = mean

    def encode_target(self, y: Any) -> np.ndarray:
        return self._scaled(self.mlp_.encode_target(y))

    def output_in_words(self, z: Float[np.ndarray, "1 H"]) -> str | None:
        means = np.ravel(self.mlp_.point_prediction(z)) * self.y_scale_ + self.y_mean_
        return ", ".join(f"{value:.6g}" for value in means)

    def _scaled(self, y: Any) -> Float[np.ndarray, " N"]:
        scaled: np.ndarray = (np.asarray(y, np.float64) - self.y_mean_) / self.y_scale_
        return scaled

    def predict(self, X: Any, return_std: bool = False) -> Any:
        """Predict the target of each row.

        Parameters
        ----------
        X : DataFrame
            A table with the columns that the model was fitted to.
        return_std : bool, default=False
            Whether to return the predicted standard deviation as well. It requires
            loss="gaussian_nll".

        Returns
        -------
        y : ndarray of shape (n_samples,)
            The predictions. For several quantiles, one column per quantile.
        std : ndarray of shape (n_samples,)
            The standard deviations, with ``return_std=True``.
        """
        Z = self._encode(X)
        if not return_std:
            return self.mlp_.predict(Z).astype(np.float64) * self.y_scale_ + self.y_mean_
        mean, std = self.mlp_.predict(Z, return_std=True)
        return mean * self.y_scale_ + self.y_mean_, std * self.y_scale_
