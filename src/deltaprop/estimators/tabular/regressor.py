"""The regressor for tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pandas as pd
from sklearn.base import RegressorMixin
from sklearn.utils.validation import check_is_fitted

from deltaprop.data.reading import TableError
from deltaprop.data.rows import Rows
from deltaprop.data.streamed_rows import refuse_with_stream
from deltaprop.data.streams.stream import Stream
from deltaprop.errors import InputError
from deltaprop.estimators._base import keeps_fit_on_failure
from deltaprop.estimators.contributing import Output
from deltaprop.estimators.declaration import with_parameters
from deltaprop.estimators.parameters import TabularRegressorParameters
from deltaprop.estimators.plain import missing_targets
from deltaprop.estimators.regressor import MLPRegressor, r2
from deltaprop.estimators.tabular.base import (
    BaseTabular,
    column,
    name_of,
    weights_of_known_rows,
)
from deltaprop.estimators.tabular.calibration import Conformal, check_coverage
from deltaprop.functions.losses import Loss
from deltaprop.model.inputs import check_weights
from deltaprop.storage.codec import ModelFileError

if TYPE_CHECKING:
    from jaxtyping import Float

ON_ANY_SCALE = ("squared_error", "absolute_error", "huber", "quantile", "log_cosh", "gaussian_nll")
ON_A_RATIO_SCALE = ("poisson", "gamma", "tweedie")


@with_parameters(like=MLPRegressor)
class TabularRegressor(RegressorMixin, BaseTabular, TabularRegressorParameters):
    """A regressor for the rows of a table, which needs no preprocessing.

    A :class:`deltaprop.tables.TableEncoder` encodes categories, dates, text and missing values. By
    default the model is an ensemble: its members are networks that are trained on the folds of a
    cross-validation but one, and stop when the loss on this one no longer improves. So every row
    trains most members, and the predictions of the others for it give an honest score and the
    width of intervals.

    The target is scaled for training, and predictions are converted back to its original scale.
    "poisson", "gamma" and "tweedie" use the target divided by its mean, the other built-in losses
    the standardized target. Several targets are scaled one by one, and predicted by the same
    networks.

    Attributes
    ----------
    encoder_ : TableEncoder
        The fitted encoder.
    members_ : list of MLPRegressor
        The members of the ensemble, which are fitted to the encoded rows and
        (y - y_mean_) / y_scale_. The prediction is the mean of theirs.
    networks_ : list of Network
        Their networks.
    network_ : Network
        The network of the first member, with methods such as ``trace`` and ``check``.
    mlp_ : MLPRegressor
        The first member.
    cv_score_ : float or None
        R² of the predictions for held-out rows, as ``score`` computes it; the mean over several
        targets. None without a cross-validation, and for several quantiles.
    cv_prediction_ : ndarray of shape (n_samples,) or (n_samples, n_targets) or None
        The prediction for each row by members that did not see it; NaN if all of them did. Model
        files do not contain it.
    y_mean_, y_scale_ : float or ndarray of shape (n_targets,)
        Location and scale of the target, from the weighted rows; of several targets, one each.
    fingerprint_ : Fingerprint or None
        Recognizes the rows that the model was fitted to, when it is evaluated; None with
        `privacy`.
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
    >>> model.cv_score_ > 0.8
    True
    """

    _mlp: ClassVar = MLPRegressor

    @keeps_fit_on_failure
    def fit(
        self, X: Any, y: Any = None, sample_weight: Any = None, groups: Any = None
    ) -> TabularRegressor:
        """Fit the model to X and y.

        Parameters
        ----------
        X : DataFrame (pandas, polars or Arrow) or Stream
            Features. A :func:`deltaprop.tables.stream` contains the target and the sample weights
            as well. Its encoding is learned from a random sample of 100,000 rows; a single network
            is trained on all rows.
        y : array-like of shape (n_samples,) or (n_samples, n_targets)
            Finite numbers. Of several targets per row, some may be missing (NaN): they do not
            contribute to the loss, and rows without a known target are not used.
        sample_weight : array-like of shape (n_samples,), optional
            Non-negative weights of the rows, not all zero.
        groups : array-like of shape (n_samples,), optional
            Rows of one group, such as those of one person, are held out together.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If y has values other than finite numbers and missing ones among several targets, or
            if a parameter or the data is invalid.
        """
        if isinstance(X, Stream):
            refuse_with_stream(y=y, sample_weight=sample_weight)
            self._set_scale(*X.moments())
            self._fit_stream(X, y, sample_weight, self._scaled)
            return self
        self.target_name_ = name_of(y)
        values = _numbers(y)
        sample_weight = weights_of_known_rows(values, sample_weight)
        self._set_scale(*_moments(values, sample_weight))
        self._fit_members(X, self._scaled(values), sample_weight, groups)
        self._remember(X, values)
        return self

    _saved_attributes: ClassVar = (*BaseTabular._saved_attributes, "y_mean_", "y_scale_")

    def _require_consistent(self) -> None:
        super()._require_consistent()
        if not np.isfinite([self.y_mean_, self.y_scale_]).all():
            raise ModelFileError("the scale of its target is not finite")
        if not np.size(self.y_mean_) == np.size(self.y_scale_) == self.mlp_._n_targets:
            raise ModelFileError("the scale of its target does not fit its number of targets")

    def _loss_name(self) -> str:
        return self.loss.name if isinstance(self.loss, Loss) else str(self.loss)

    def _set_scale(self, mean: Any, deviation: Any) -> None:
        self.y_mean_, self.y_scale_ = np.zeros_like(mean), np.ones_like(mean)
        if self._loss_name() in ON_ANY_SCALE:
            # If all targets are equal, the prediction differs from them by rounding errors only.
            rounding = np.spacing(np.abs(mean))
            self.y_mean_, self.y_scale_ = mean, np.where(deviation > 0, deviation, rounding)
        elif self._loss_name() in ON_A_RATIO_SCALE:  # exp(a), the prediction, is initially near 1
            self.y_scale_ = np.where(np.asarray(mean) > 0, mean, 1.0)
        if np.ndim(mean) == 0:
            self.y_mean_, self.y_scale_ = float(self.y_mean_), float(self.y_scale_)

    def encode_target(self, y: Any) -> np.ndarray:
        return self._scaled(self.mlp_.encode_target(y))

    def _target_of(self, y: Any) -> np.ndarray:
        return self._scaled(_numbers(y))

    def _outputs(self) -> list[Output]:
        outputs, n = super()._outputs(), np.size(self.y_mean_)
        means, scales = np.ravel(self.y_mean_), np.ravel(self.y_scale_)
        each = len(outputs) // n  # quantiles of a target
        single = self.target_name_ if len(outputs) == 1 and self.target_name_ else None
        return [
            Output(
                single or output.name,
                output.index,
                float(scales[k // each]),
                float(means[k // each]),
            )
            for k, output in enumerate(outputs)
        ]

    def output_in_words(self, z: Float[np.ndarray, "1 H"]) -> str | None:
        means = self._unscaled(np.ravel(self.mlp_.point_prediction(z)))
        return ", ".join(f"{value:.6g}" for value in means)

    def _scaled(self, y: Any) -> Float[np.ndarray, "N ..."]:
        scaled: np.ndarray = (np.asarray(y, np.float64) - self.y_mean_) / self.y_scale_
        return scaled

    def _unscaled(self, y: np.ndarray) -> np.ndarray:
        mean, scale = self.y_mean_, self.y_scale_
        if np.ndim(mean):  # each target may have several quantiles
            columns = y.shape[-1] // np.size(mean)
            mean, scale = np.repeat(mean, columns), np.repeat(scale, columns)
        unscaled: np.ndarray = y.astype(np.float64) * scale + mean
        return unscaled

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
        y : ndarray of shape (n_samples,) or (n_samples, n_targets)
            The predictions. For several quantiles, each target has one column per quantile.
        std : ndarray of the same shape
            The standard deviations, with ``return_std=True``.
        """
        z = self._output(X)
        if not return_std:
            return self._unscaled(self.mlp_.point_prediction(z))
        mean, std = self.mlp_.mean_and_std(z)
        return self._unscaled(mean), std * self.y_scale_

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Compute the coefficient of determination R² of the predictions.

        Parameters
        ----------
        X : DataFrame
            A table with the columns that the model was fitted to.
        y : array-like of shape (n_samples,) or (n_samples, n_targets)
            Of several targets per row, those that are NaN are not scored.
        sample_weight : array-like of shape (n_samples,), optional

        Returns
        -------
        float
            The mean over several targets.

        Raises
        ------
        ValueError
            If the model predicts several quantiles, for which R² is not defined.
        """
        check_is_fitted(self)
        self.mlp_.require_score()
        if missing_targets(y) is None:
            return float(super().score(X, y, sample_weight))
        return r2(np.asarray(y), self.predict(X), sample_weight)

    def predict_interval(self, X: Any, coverage: float = 0.9) -> Float[np.ndarray, "N ... 2"]:
        """Predict an interval for each row, which contains the target with this probability.

        The interval is that of conformal prediction: it reaches from the prediction as far as the
        errors of most predictions for held-out rows. The probability is that over all rows, not for
        each of them, and it requires that new rows are like those that the model was fitted to. Of
        several targets, each interval contains its own target with this probability.

        Parameters
        ----------
        X : DataFrame
            A table with the columns that the model was fitted to.
        coverage : float, default=0.9
            The probability, in (0, 1).

        Returns
        -------
        ndarray of shape (n_samples, 2) or (n_samples, n_targets, 2)
            The lower and the upper end. They are infinite if there are too few held-out rows for
            the coverage: fewer than 19 for 0.9. With "poisson", "gamma" and "tweedie", the lower
            end is not negative.

        Raises
        ------
        ValueError
            If `coverage` is out of range, or if the model was fitted without a cross-validation or
            predicts several quantiles.

        References
        ----------
        Barber, Candès, Ramdas and Tibshirani (2021), "Predictive inference with the jackknife+".

        Examples
        --------
        >>> import deltaprop as dp
        >>> table = dp.tables.read_table("data/penguins.csv").dropna()
        >>> X, y = table.drop(columns="body_mass_g"), table["body_mass_g"]
        >>> model = dp.TabularRegressor(random_state=0).fit(X, y)
        >>> low, high = model.predict_interval(X, coverage=0.8).T
        >>> bool(0.7 < ((low <= y) & (y <= high)).mean() < 0.9)
        True
        """
        tail = (1 - check_coverage(coverage)) / 2
        errors = self._errors()
        y = self._unscaled(self.mlp_.point_prediction(self._output(X)))
        lower, upper = ([getattr(e, end)(1 - tail) for e in errors] for end in ("lower", "upper"))
        if y.ndim == 1:
            lower, upper = lower[0], upper[0]
        low = y + lower
        if self._loss_name() in ON_A_RATIO_SCALE:
            low = np.maximum(low, 0.0)
        return np.stack([low, y + upper], axis=-1)

    # ------------------------------------------------------------ held-out rows

    def _calibrate(self, z: Float[np.ndarray, "N H"], rows: Rows) -> Float[np.ndarray, "N H"]:
        return z

    def _prediction_of(self, z: Float[np.ndarray, "N H"]) -> np.ndarray:
        return self._unscaled(self.mlp_.point_prediction(z))

    def _score_of(self, z: Float[np.ndarray, "N H"], rows: Rows) -> float | None:
        predicted = self._prediction_of(z)
        if predicted.shape != rows.y.shape:  # several quantiles
            return None
        return r2(self._unscaled(rows.y), predicted, rows.w)

    def _errors_of(self, z: Float[np.ndarray, "N H"], rows: Rows) -> list[Conformal] | None:
        predicted = self.mlp_.point_prediction(z)
        if predicted.shape != rows.y.shape:  # several quantiles
            return None
        errors = ((rows.y - predicted) * self.y_scale_).reshape(len(predicted), -1)
        return [Conformal.of(column, rows.w) for column in errors.T]


def _numbers(y: Any) -> Float[np.ndarray, " N"]:
    """The target as numbers."""
    values = column(y)
    if values.ndim > 2 or values.size == 0:
        raise InputError(f"y must have one or more columns of numbers, got shape {values.shape}.")
    if values.dtype.kind in "mMc":
        raise TableError(
            f"y must hold numbers for a regression, got {values.dtype}; convert it to float."
        )
    if values.dtype == object and values.ndim == 2:
        values = np.where(pd.isna(values), np.nan, values)
    try:
        found: np.ndarray = values.astype(np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise TableError(
            f"y must hold numbers for a regression: {error}. For classes, use TabularClassifier."
        ) from error
    if np.isinf(found).any() or (found.ndim == 1 and np.isnan(found).any()):
        raise TableError("y contains NaN or infinity; remove those rows.")
    return found


def _moments(y: Float[np.ndarray, "N ..."], sample_weight: Any) -> tuple[Any, Any]:
    """The (weighted) mean and standard deviation of each target, of its known values."""
    w = check_weights(sample_weight, y)
    if missing_targets(y) is None:
        mean = np.average(y, axis=0, weights=w)
        return mean, np.sqrt(np.average((y - mean) ** 2, axis=0, weights=w))
    of_targets = []
    for target in y.T:
        known = ~np.isnan(target)
        of_targets.append(_moments(target[known], None if w is None else w[known]))
    return tuple(np.array(of_targets).T)
