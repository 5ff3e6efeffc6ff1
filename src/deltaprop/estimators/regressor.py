"""The regressor ``MLPRegressor``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, cast

import numpy as np
from sklearn.base import RegressorMixin
from sklearn.callback import with_callbacks
from sklearn.utils import column_or_1d
from sklearn.utils.metaestimators import available_if

from deltaprop.data.rows import Rows
from deltaprop.errors import InputError
from deltaprop.estimators._base import BaseMLP, Task, by_rows, keeps_fit_on_failure
from deltaprop.estimators.contributing import Output
from deltaprop.estimators.declaration import with_parameters
from deltaprop.estimators.fitted import TargetKind
from deltaprop.estimators.parameters import RegressorParameters
from deltaprop.estimators.plain import is_plain_target, missing_targets
from deltaprop.functions import losses
from deltaprop.functions.losses import Loss
from deltaprop.model.inputs import check_weights

if TYPE_CHECKING:
    from jaxtyping import Float

    from deltaprop.data.streams.stream import Stream


@with_parameters()
class MLPRegressor(RegressorMixin, BaseMLP, RegressorParameters):
    """A fully connected network for regression, compatible with scikit-learn's.

    To replace scikit-learn's class, change the import: parameters, attributes and defaults have the
    same names and meanings. Additional parameters follow those of scikit-learn.

    Attributes
    ----------
    coefs_, intercepts_ : lists of ndarray
        Weights W_l of shape (D_l, H_l) and biases b_l of shape (H_l,) of each layer. They are views
        of ``network_.theta``.
    network_ : Network
        The fitted network, with methods such as ``trace`` and ``check``.
    loss_ : float
        Training loss of the epoch whose weights were kept: with early stopping, of the best one,
        otherwise of the last one.
    loss_curve_ : list of float
        Training loss of each epoch.
    best_loss_ : float or None
        Minimum of ``loss_curve_``; None with early stopping.
    validation_scores_, validation_loss_curve_ : list of float or None
        Score and loss on the validation data after each epoch; None without validation data.
    best_epoch_ : int or None
        Number of the epoch whose weights early stopping kept; None without early stopping.
    best_validation_score_ : float or None
        Maximum of ``validation_scores_``.
    n_iter_ : int
        Number of epochs of the last fit.
    t_ : int
        Number of rows that training has processed.
    n_layers_, n_outputs_, n_features_in_ : int
        Number of layers, including the input layer; of outputs; of features.
    feature_names_in_ : ndarray of str
        Names of the features, if X has string column names.
    out_activation_ : str
        Activation function of the output layer.
    records_ : list of RecordedStep
        Signals recorded during the last fit. Model files do not contain them.
    stop_reason_ : {"converged", "max_iter", "callback", "interrupted", "diverged"}
        Why the last fit ended.

    Notes
    -----
    For several targets, the squared error is summed over the targets. scikit-learn reports the mean
    over the targets but uses the gradient of the sum (its issue 8349). Therefore the fitted weights
    agree for first-order solvers, ``loss_`` differs by a factor, the number of targets, and L-BFGS
    uses a loss and a gradient that are consistent.

    Examples
    --------
    >>> import deltaprop as dp
    >>> from sklearn.datasets import make_regression
    >>> X, y = make_regression(200, 5, noise=1.0, random_state=0)
    >>> reg = dp.MLPRegressor(hidden_layer_sizes=20, solver="lbfgs", random_state=0).fit(X, y)
    >>> reg.score(X, y) > 0.95
    True
    """

    @available_if(lambda self: self._has_partial_fit())
    @keeps_fit_on_failure
    @with_callbacks
    def partial_fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> MLPRegressor:
        """Continue training for one epoch on the given rows.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features), or Stream
            Features.
        y : array-like of shape (n_samples,) or (n_samples, n_targets)
            Target values.
        sample_weight : array-like of shape (n_samples,), optional
            Non-negative weights of the rows, not all zero.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If a parameter or the data is invalid, or y has another number of columns than before.
        """
        return cast(
            MLPRegressor, self._fit(X, y, sample_weight, (None, None, None), incremental=True)
        )

    def predict(self, X: Any, return_std: bool = False) -> Any:
        """Predict the target of each row.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
        return_std : bool, default=False
            Whether to return the predicted standard deviation as well. It requires
            loss="gaussian_nll".

        Returns
        -------
        y : ndarray of shape (n_samples,) or (n_samples, n_targets)
            The predictions. For several quantiles, each target has one column per quantile.
        std : ndarray of the same shape
            The standard deviations, with ``return_std=True``.

        Raises
        ------
        ValueError
            If ``return_std=True`` and the loss is not "gaussian_nll".
        """
        z = self._output(X)
        return self.mean_and_std(z) if return_std else self._means(z)

    def mean_and_std(self, z: Float[np.ndarray, "N H"]) -> tuple[np.ndarray, np.ndarray]:
        """Means and standard deviations for rows of the network's output.

        Raises
        ------
        ValueError
            If the loss is not "gaussian_nll".
        """
        if not self._is_gaussian():
            raise InputError(
                "return_std=True needs loss='gaussian_nll', which predicts a variance; this model "
                f"was fitted with loss={self.network_.loss_function.name!r}."
            )
        return self._means(z), _flat(np.sqrt(z[:, z.shape[1] // 2 :]))

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Compute the coefficient of determination R² of the predictions.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
        y : array-like of shape (n_samples,) or (n_samples, n_targets)
            Of several targets per row, those that are NaN are not scored.
        sample_weight : array-like of shape (n_samples,), optional

        Returns
        -------
        float

        Raises
        ------
        ValueError
            If the model predicts several quantiles, for which R² is not defined.
        """
        self.require_score()
        if missing_targets(y) is None:
            return float(super().score(X, y, sample_weight))
        return r2(np.asarray(y), self.predict(X), sample_weight)

    def require_score(self) -> None:
        """Raise ValueError if the model predicts several quantiles, for which R² is not defined."""
        if self._has_several_quantiles():
            raise InputError(
                "score (R²) is not defined for several quantiles; use "
                "sklearn.metrics.mean_pinball_loss on a column of predict(X)."
            )

    # ------------------------------------------------------------ differs from classification

    _saved_attributes: ClassVar = (*BaseMLP._saved_attributes, "_n_targets")

    def _checked(self, X: Any, y: Any, sample_weight: Any, *, reset: bool, task: Task) -> Rows:
        plain_y = is_plain_target(y, "iuf")
        X, y = self._validated_pair(X, y, reset=reset, plain_y=plain_y, numeric=True)
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        n_targets = 1 if y.ndim == 1 else y.shape[1]
        if task == "learn":
            self._n_targets = n_targets
        elif n_targets != getattr(self, "_n_targets", n_targets):
            raise InputError(
                f"y has {n_targets} column(s), but the model was fitted with {self._n_targets}."
            )
        return Rows(by_rows(X), y, check_weights(sample_weight, X), labels=y)

    def _stream_target(self, rows: Stream, task: Task) -> tuple[Any, np.ndarray]:
        self._n_targets = 1
        return rows.encode_y, next(rows.rows())[1]

    def _labels_of(self, y: np.ndarray) -> np.ndarray:
        return y

    def _output_layer(self) -> tuple[Loss, int, str]:
        loss = losses.get(self.loss)
        return loss, self._n_targets * loss.outputs_per_target, loss.link

    def combined(self, outputs: Sequence[Float[np.ndarray, "N H"]]) -> Float[np.ndarray, "N H"]:
        """The mean output; of Gaussian members, the mean and variance of their mixture."""
        mean = super().combined(outputs)
        if not self._is_gaussian() or len(outputs) == 1:
            return mean
        half = mean.shape[1] // 2
        spread = sum((z[:, :half] - mean[:, :half]) ** 2 for z in outputs) / len(outputs)
        return np.hstack([mean[:, :half], mean[:, half:] + spread])

    def _means(self, z: Float[np.ndarray, "N H"]) -> np.ndarray:
        return _flat(z[:, : z.shape[1] // 2] if self._is_gaussian() else z)

    # ------------------------------------------------------------ the protocol `Fitted`

    def target_kind(self) -> TargetKind:
        return "numbers"

    def encode_target(self, y: Any) -> np.ndarray:
        values: np.ndarray = np.asarray(y, dtype=float)
        return values[:, 0] if values.ndim == 2 and values.shape[1] == 1 else values

    def point_prediction(self, z: Float[np.ndarray, "N H"]) -> np.ndarray:
        """The predictions for rows of the network's output, as `predict` returns them."""
        return self._means(z)

    def output_in_words(self, z: Float[np.ndarray, "1 H"]) -> str | None:
        return ", ".join(f"{value:.6g}" for value in np.ravel(self._means(z)))

    def _outputs(self) -> list[Output]:
        n, loss = self._n_targets, self.network_.loss_function
        if self._has_several_quantiles():
            levels = loss.settings["quantiles"]
            return [
                Output(f"q{q:g}" if n == 1 else f"{i}_q{q:g}", i * len(levels) + j)
                for i in range(n)
                for j, q in enumerate(levels)
            ]
        return [Output("prediction" if n == 1 else str(i), i) for i in range(n)]

    # ------------------------------------------------------------ scores

    def _is_gaussian(self) -> bool:
        return self.network_.loss_function.encoding.predicts == "mean_variance"

    def _has_several_quantiles(self) -> bool:
        loss = losses.get(self.loss)
        return loss.encoding.predicts == "quantiles" and loss.outputs_per_target > 1

    def _default_score(self, z: Float[np.ndarray, "N H"], rows: Rows) -> float | None:
        if self._has_several_quantiles():
            return None
        assert rows.labels is not None
        return r2(rows.labels, self._means(z), rows.w)


def r2(
    y: Float[np.ndarray, "N ..."], predicted: Float[np.ndarray, "N ..."], sample_weight: Any = None
) -> float:
    """R² of the targets that are known; of several targets, the mean.

    Examples
    --------
    >>> import numpy as np
    >>> from deltaprop.estimators.regressor import r2
    >>> y = np.array([[0.0, 5.0], [2.0, 9.0], [4.0, np.nan]])
    >>> r2(y, np.array([[0.0, 6.0], [2.0, 8.0], [4.0, 0.0]]))
    0.875
    """
    from sklearn.metrics import r2_score

    if y.ndim == 1 or not np.isnan(y).any():
        return float(r2_score(y, predicted, sample_weight=sample_weight))
    w = np.ones(len(y)) if sample_weight is None else np.asarray(sample_weight)
    of_targets = []
    for column, found in zip(y.T, predicted.T, strict=True):
        known = ~np.isnan(column) & (w > 0)
        if known.any():
            of_targets.append(r2_score(column[known], found[known], sample_weight=w[known]))
    return float(np.mean(of_targets))


def _flat(z: Float[np.ndarray, "N H"]) -> np.ndarray:
    return z[:, 0] if z.shape[1] == 1 else z
