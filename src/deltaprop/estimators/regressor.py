"""The regressor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, cast

import numpy as np
from sklearn.base import RegressorMixin
from sklearn.callback import with_callbacks
from sklearn.utils import column_or_1d
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import validate_data

from deltaprop.data.rows import Rows
from deltaprop.engines.xla_engine import Xla
from deltaprop.estimators._base import KEPT, BaseMLP, Task, by_rows, keeps_fit_on_failure
from deltaprop.functions import losses
from deltaprop.functions.losses import Loss
from deltaprop.model.inputs import check_weights

if TYPE_CHECKING:
    from jaxtyping import Float

    from deltaprop.data.streams.stream import Stream

LOSSES = (
    "squared_error", "absolute_error", "huber", "quantile", "log_cosh", "poisson", "gamma",
    "tweedie", "gaussian_nll",
)  # fmt: skip
LINKS = {"poisson": "exp", "gamma": "exp", "tweedie": "exp", "gaussian_nll": "mean_variance"}


class MLPRegressor(RegressorMixin, BaseMLP):
    """A fully connected network that predicts numbers: scikit-learn's ``MLPRegressor``, and more.

    Changing the import line is all that a user of scikit-learn has to do: parameters, attributes
    and defaults mean the same. Below them stand the parameters that scikit-learn does not have.

    Parameters
    ----------
    loss : str or Loss, default="squared_error"
        "squared_error" (half of it), "absolute_error", "huber", "quantile", "log_cosh",
        "poisson", "gamma", "tweedie" (half their deviances, with an exponential output),
        "gaussian_nll" (a mean and a variance for each target), or a :class:`deltaprop.Loss` such
        as ``dp.losses.Quantile((0.1, 0.5, 0.9))``.
    hidden_layer_sizes : int or array-like of int, default=(100,)
        Units of each hidden layer.
    activation : str, Activation or list of them, default="relu"
        Of the hidden layers: one for all or one for each, from ``deltaprop.activations.NAMES``
        or the user's own :class:`deltaprop.Activation`.
    solver : {"adam", "sgd", "lbfgs", "adamw"} or Solver, default="adam"
    alpha : float, default=0.0001
        Strength of the L2 penalty, alpha / 2 ‖W‖² divided by the batch's (weighted) size.
    batch_size : int or "auto", default="auto"
        Rows a step; "auto" is min(200, n_samples). L-BFGS uses all rows.
    learning_rate : str or Schedule, default="constant"
        "constant", "invscaling", "adaptive", "cosine", "warmup_cosine", "one_cycle", or a
        ``deltaprop.schedules`` object. Unlike scikit-learn's it applies to Adam too.
    learning_rate_init : float, default=0.001
    power_t : float, default=0.5
        Exponent of "invscaling".
    max_iter : int, default=200
        Most epochs (iterations of L-BFGS).
    shuffle : bool, default=True
    random_state : int, RandomState or None, default=None
        Of the initial weights, the validation split, the order of rows and dropout.
    tol : float, default=1e-4
        Least improvement that counts.
    verbose : bool, default=False
        Print loss and validation score of each epoch.
    warm_start : bool, default=False
        Start ``fit`` from the weights of the last one.
    momentum : float, default=0.9
        Of "sgd", in [0, 1].
    nesterovs_momentum : bool, default=True
        Of "sgd".
    early_stopping : bool, default=False
        Stop on validation data and restore the best weights. First-order solvers only.
    validation_fraction : float, default=0.1
        Share of rows set aside with `early_stopping` when no X_val is given.
    beta_1, beta_2, epsilon : float, default=0.9, 0.999 and 1e-8
        Of "adam" and "adamw".
    n_iter_no_change : int, default=10
        Epochs without improvement by `tol` before the search stops.
    max_fun : int, default=15000
        Most evaluations of "lbfgs".
    out_activation : str or Activation, default="auto"
        Of the output layer; "auto" takes the one that belongs to the loss.
    dropout : float or list of float, default=0.0
        Share of each hidden layer's outputs that a training step drops, in [0, 1).
    clip_norm : float or None, default=None
        Longest gradient, in Euclidean norm over all parameters.
    weight_decay : float, default=0.01
        Decoupled decay of "adamw".
    init : str, default="sklearn"
        How weights start, from ``deltaprop.initializers.NAMES``.
    scoring : str, callable or None, default=None
        What early stopping maximises on the validation data: any scikit-learn scorer, "loss" for
        minus the validation loss, or None for R².
    callbacks : list of callables or None, default=None
        Called with a ``deltaprop.search.Epoch`` after each epoch; returning True stops.
        scikit-learn's own callbacks are set with ``set_callbacks``.
    engine : {"auto", "reference", "fused", "xla"} or Xla, default="auto"
        Who computes; see :func:`deltaprop.fit`.
    n_threads : int or None, default=None
    reproducible : bool, default=False
        As in :func:`deltaprop.fit`: threads of the fused engine, and whether results must be the
        same bits for any number of them.
    record : int, Record or None, default=None
        Record the network's signals every so many steps, in ``records_``; see
        :class:`deltaprop.Record`.
    checkpoint : str, Path, Checkpoint or None, default=None
        A folder that keeps the state of ``fit``, which goes on from what it finds there; see
        :class:`deltaprop.Checkpoint`. One folder for one fit; ``partial_fit`` does not use it.
    privacy : Privacy or None, default=None
        Bound what the fitted weights reveal about any row; see :class:`deltaprop.Privacy`, and
        ``privacy_epsilon`` for the bound. The losses and scores on the rows, such as
        ``loss_curve_``, are not protected.

    Attributes
    ----------
    coefs_, intercepts_ : lists of ndarray
        W_l (D_l, H_l) and b_l (H_l,): views into ``network_.theta``.
    network_ : Network
        The fitted network, for ``network_.trace``, ``network_.check`` and the rest.
    loss_, loss_curve_, best_loss_ : float, list of float, float or None
        Training loss of the last epoch, of each epoch, and the least (None with early stopping).
    validation_scores_, best_validation_score_, validation_loss_curve_ : list or None
        After each epoch, where there was validation data.
    n_iter_, t_, n_layers_, n_outputs_, n_features_in_ : int
        Epochs of the last fit, rows seen, layers with the input, outputs, features.
    feature_names_in_ : ndarray of str
        Where X had them.
    out_activation_ : str
    records_ : list of RecordedStep
        Of the last fit; not written to model files.
    stop_reason_ : {"converged", "max_iter", "callback", "interrupted", "diverged"}

    Notes
    -----
    With several targets the squared error is summed over them, and the gradient is the gradient
    of that sum. scikit-learn reports the mean over targets but follows the gradient of the sum
    (its issue 8349): the fitted weights agree for first-order solvers, ``loss_`` differs by that
    factor, and L-BFGS is consistent here.

    Examples
    --------
    >>> import deltaprop as dp
    >>> from sklearn.datasets import make_regression
    >>> X, y = make_regression(200, 5, noise=1.0, random_state=0)
    >>> reg = dp.MLPRegressor(hidden_layer_sizes=20, solver="lbfgs", random_state=0).fit(X, y)
    >>> reg.score(X, y) > 0.95
    True
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **BaseMLP._parameter_constraints,
        "loss": [StrOptions(set(LOSSES)), Loss],
    }

    def __init__(
        self,
        loss: Any = "squared_error",
        hidden_layer_sizes: Any = (100,),
        activation: Any = "relu",
        *,
        solver: Any = "adam",
        alpha: float = 0.0001,
        batch_size: int | str = "auto",
        learning_rate: Any = "constant",
        learning_rate_init: float = 0.001,
        power_t: float = 0.5,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: Any = None,
        tol: float = 1e-4,
        verbose: Any = False,
        warm_start: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: float = 10,
        max_fun: int = 15000,
        out_activation: Any = "auto",
        dropout: Any = 0.0,
        clip_norm: float | None = None,
        weight_decay: float = 0.01,
        init: str = "sklearn",
        scoring: Any = None,
        callbacks: Any = None,
        engine: str | Xla = "auto",
        n_threads: int | None = None,
        reproducible: bool = False,
        record: Any = None,
        checkpoint: Any = None,
        privacy: Any = None,
    ) -> None:
        self.loss = loss
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.solver = solver
        self.alpha = alpha
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.learning_rate_init = learning_rate_init
        self.power_t = power_t
        self.max_iter = max_iter
        self.shuffle = shuffle
        self.random_state = random_state
        self.tol = tol
        self.verbose = verbose
        self.warm_start = warm_start
        self.momentum = momentum
        self.nesterovs_momentum = nesterovs_momentum
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon
        self.n_iter_no_change = n_iter_no_change
        self.max_fun = max_fun
        self.out_activation = out_activation
        self.dropout = dropout
        self.clip_norm = clip_norm
        self.weight_decay = weight_decay
        self.init = init
        self.scoring = scoring
        self.callbacks = callbacks
        self.engine = engine
        self.n_threads = n_threads
        self.reproducible = reproducible
        self.record = record
        self.checkpoint = checkpoint
        self.privacy = privacy

    @available_if(lambda self: self._has_partial_fit())
    @keeps_fit_on_failure
    @with_callbacks
    def partial_fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> MLPRegressor:
        """Take one more pass over the given rows.

        Parameters
        ----------
        X : array-like or sparse matrix (n_samples, n_features)
        y : array-like (n_samples,) or (n_samples, n_targets)
        sample_weight : array-like (n_samples,), optional

        Returns
        -------
        self
        """
        return cast(
            MLPRegressor, self._fit(X, y, sample_weight, (None, None, None), incremental=True)
        )

    def predict(self, X: Any, return_std: bool = False) -> Any:
        """Predict the target of each row.

        Parameters
        ----------
        X : array-like or sparse matrix (n_samples, n_features)
        return_std : bool, default=False
            With loss="gaussian_nll", also return the predicted standard deviation.

        Returns
        -------
        y : ndarray (n_samples,) or (n_samples, n_targets)
            With several quantiles, one column for each level of each target.
        std : ndarray of the same shape
            Only with ``return_std=True``.

        Raises
        ------
        ValueError
            If `return_std` is asked of a model without a variance.
        """
        z = self._output(X)
        mean = self._means(z)
        if not return_std:
            return mean
        if not self._is_gaussian():
            raise ValueError(
                "return_std=True needs loss='gaussian_nll', which learns a variance; this model "
                f"has loss={self.network_.loss_function.name!r}."
            )
        return mean, _flat(np.sqrt(z[:, z.shape[1] // 2 :]))

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """R² of the predictions; undefined (ValueError) for several quantiles."""
        if self._has_several_quantiles():
            raise ValueError(
                "score (R²) is not defined for several quantiles; use "
                "sklearn.metrics.mean_pinball_loss on a column of predict(X)."
            )
        return float(super().score(X, y, sample_weight))

    # ------------------------------------------------------------ what differs from classification

    def _checked(self, X: Any, y: Any, sample_weight: Any, *, reset: bool, task: Task) -> Rows:
        X, y = validate_data(
            self, X, y, accept_sparse=["csr", "csc"], multi_output=True, y_numeric=True,
            dtype=KEPT, reset=reset,
        )  # fmt: skip
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        n_targets = 1 if y.ndim == 1 else y.shape[1]
        if task == "learn":
            self._n_targets = n_targets
        elif n_targets != getattr(self, "_n_targets", n_targets):
            raise ValueError(f"y has {n_targets} column(s), but was fitted with {self._n_targets}.")
        return Rows(by_rows(X), y, check_weights(sample_weight, X), labels=y)

    def _stream_target(self, rows: Stream, task: Task) -> tuple[Any, np.ndarray]:
        self._n_targets = 1
        return rows.encode_y, next(rows.rows())[1]

    def _labels_of(self, y: np.ndarray) -> np.ndarray:
        return y

    def _output_layer(self) -> tuple[Loss, int, str]:
        loss = losses.get(self.loss)
        return loss, self._n_targets * loss.outputs_per_target, LINKS.get(loss.name, "identity")

    def _means(self, z: Float[np.ndarray, "N H"]) -> np.ndarray:
        return _flat(z[:, : z.shape[1] // 2] if self._is_gaussian() else z)

    def _is_gaussian(self) -> bool:
        return bool(self.network_.loss_function.name == "gaussian_nll")

    def _has_several_quantiles(self) -> bool:
        loss = losses.get(self.loss)
        return loss.name == "quantile" and loss.outputs_per_target > 1

    def _default_score(self, z: Float[np.ndarray, "N H"], rows: Rows) -> float | None:
        if self._has_several_quantiles():
            return None
        from sklearn.metrics import r2_score

        return float(r2_score(rows.labels, self._means(z), sample_weight=rows.w))


def _flat(z: Float[np.ndarray, "N H"]) -> np.ndarray:
    return z[:, 0] if z.shape[1] == 1 else z
