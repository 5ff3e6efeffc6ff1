"""The classifier."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, cast

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.callback import with_callbacks
from sklearn.utils import column_or_1d, compute_sample_weight
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import (
    _check_partial_fit_first_call,
    check_classification_targets,
    type_of_target,
    unique_labels,
)
from sklearn.utils.validation import validate_data

from deltaprop.data.rows import Rows
from deltaprop.engines.xla_engine import Xla
from deltaprop.estimators._base import (
    KEPT,
    BaseMLP,
    Task,
    by_rows,
    keeps_fit_on_failure,
    working_dtype,
)
from deltaprop.functions import losses
from deltaprop.functions.losses import Loss
from deltaprop.model.inputs import check_weights

if TYPE_CHECKING:
    from jaxtyping import Float

    from deltaprop.data.streams.stream import Stream

LOSSES = ("log_loss", "focal", "hinge")


def _gives_probabilities(estimator: MLPClassifier) -> bool:
    name = estimator.loss.name if isinstance(estimator.loss, Loss) else estimator.loss
    if name == "hinge":
        raise AttributeError("predict_proba is not available with loss='hinge'.")
    return True


class MLPClassifier(ClassifierMixin, BaseMLP):
    """A fully connected network that classifies: scikit-learn's ``MLPClassifier``, and more.

    Changing the import line is all that a user of scikit-learn has to do: parameters, attributes
    and defaults mean the same. Below them stand the parameters that scikit-learn does not have.

    Parameters
    ----------
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
    loss : {"log_loss", "focal", "hinge"} or Loss, default="log_loss"
        "log_loss" is the cross-entropy, binary or categorical as the target asks for.
        ``deltaprop.losses.CrossEntropy(label_smoothing=0.1)`` and the user's own work too.
    class_weight : dict, "balanced" or None, default=None
        Multiplies the sample weights, as in scikit-learn's other classifiers.
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
        minus the validation loss, or None for the accuracy.
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
    classes_ : ndarray
        The labels, in the order of ``predict_proba``'s columns.
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
    The loss is that of equation (1.3) with the softmax's (or logistic function's) collapsed error
    signal δ = ŷ - y. Early stopping's split is stratified for more than two classes too, wherever
    every class has two rows; ``partial_fit`` goes on with its random numbers instead of seeding
    them anew at each call.

    Examples
    --------
    >>> import deltaprop as dp
    >>> from sklearn.datasets import load_iris
    >>> X, y = load_iris(return_X_y=True)
    >>> clf = dp.MLPClassifier((16, 8), ["tanh", "relu"], solver="lbfgs", random_state=0).fit(X, y)
    >>> clf.score(X, y) > 0.95
    True
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **BaseMLP._parameter_constraints,
        "loss": [StrOptions(set(LOSSES)), Loss],
        "class_weight": [None, dict, StrOptions({"balanced"})],
    }

    def __init__(
        self,
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
        loss: Any = "log_loss",
        class_weight: Any = None,
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
        self.loss = loss
        self.class_weight = class_weight
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
    def partial_fit(
        self, X: Any, y: Any = None, sample_weight: Any = None, classes: Any = None
    ) -> MLPClassifier:
        """Take one more pass over the given rows.

        Parameters
        ----------
        X : array-like or sparse matrix (n_samples, n_features)
        y : array-like (n_samples,) or indicator matrix
        sample_weight : array-like (n_samples,), optional
        classes : array-like, optional
            All labels that may ever occur; needed at the first call.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If `classes` is missing at the first call or differs later, or y has other labels.
        """
        self._validate_params()
        self._given = _check_partial_fit_first_call(self, classes)
        return cast(
            MLPClassifier, self._fit(X, y, sample_weight, (None, None, None), incremental=True)
        )

    def predict(self, X: Any) -> np.ndarray:
        """The most probable label of each row (all probable labels of a multilabel target)."""
        return self._labels(self._output(X))

    @available_if(_gives_probabilities)
    def predict_proba(self, X: Any) -> Float[np.ndarray, "N C"]:
        """Probability of each class, in the order of ``classes_``, for each row."""
        z = self._output(X)
        if self._kind == "multilabel" or z.shape[1] > 1:
            return z
        if len(self.classes_) == 1:
            return np.ones_like(z)
        return np.hstack([1 - z, z])

    @available_if(_gives_probabilities)
    def predict_log_proba(self, X: Any) -> Float[np.ndarray, "N C"]:
        """The logarithm of ``predict_proba``."""
        return cast(np.ndarray, np.log(self.predict_proba(X)))

    @available_if(lambda self: self._has_decision_function())
    def decision_function(self, X: Any) -> Float[np.ndarray, "N ..."]:
        """The network's output: the signed margin of each class (with loss="hinge" only)."""
        z = self._output(X)
        return z.ravel() if z.shape[1] == 1 else z

    # ------------------------------------------------------------ what differs from regression

    def _checked(self, X: Any, y: Any, sample_weight: Any, *, reset: bool, task: Task) -> Rows:
        X, y = validate_data(
            self, X, y, accept_sparse=["csr", "csc"], multi_output=True,
            dtype=KEPT, reset=reset,
        )  # fmt: skip
        y = y.toarray() if hasattr(y, "toarray") else y
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        check_classification_targets(y)
        self._know_classes(y, task)
        w = check_weights(sample_weight, X)
        if self.class_weight is not None:
            balance = compute_sample_weight(self.class_weight, y).astype(working_dtype(X))
            if (balance < 0).any():
                raise ValueError(
                    f"class_weight must hold weights >= 0 for each class, got {self.class_weight}."
                )
            w = balance if w is None else w * balance
        return Rows(by_rows(X), self._codes(y), w, labels=y)

    def _stream_target(self, rows: Stream, task: Task) -> tuple[Any, np.ndarray]:
        known = task != "learn" or getattr(self, "_given", False)
        labels = self.classes_ if known else rows.values()
        check_classification_targets(labels)
        self._know_classes(labels, task)
        return self._known_codes, self._codes(labels)

    def _known_codes(self, y: np.ndarray) -> np.ndarray:
        known = np.isin(y, self.classes_)
        if not known.all():
            raise ValueError(
                f"`y` has classes not in `self.classes_`. `self.classes_` has {self.classes_}. "
                f"'y' has {np.unique(y[~known])}."
            )
        return self._codes(y)

    def _labels_of(self, y: np.ndarray) -> np.ndarray:
        return cast(np.ndarray, self.classes_[y])

    def _know_classes(self, y: np.ndarray, task: Task) -> None:
        kind = type_of_target(y, input_name="y")
        if kind == "multiclass-multioutput":
            raise ValueError(
                "y with several multiclass columns is not supported; got type "
                "'multiclass-multioutput'. Fit one classifier a column, for example with "
                "sklearn.multioutput.MultiOutputClassifier."
            )
        present = unique_labels(y)
        if task == "learn":
            if not self.__dict__.pop("_given", False):
                self.classes_ = present
            several = "multiclass" if len(self.classes_) > 2 else "binary"
            self._kind = "multilabel" if kind.startswith("multilabel") else several
        if task == "same" and set(present) != set(self.classes_):
            raise ValueError(
                "warm_start can only be used where `y` has the same classes as in the previous "
                f"call to fit. Previously got {self.classes_}, `y` has {present}"
            )
        if len(np.setdiff1d(present, self.classes_)):
            raise ValueError(
                "`y` has classes not in `self.classes_`. "
                f"`self.classes_` has {self.classes_}. 'y' has {present}."
            )

    def _codes(self, y: np.ndarray) -> np.ndarray:
        """0/1 for two classes or many labels, otherwise the index of each row's class."""
        if self._kind == "multilabel":
            return y.astype(np.int8)
        if self._kind == "multiclass" or self._one_hot():
            return cast(np.ndarray, np.searchsorted(self.classes_, y))
        positive: np.ndarray = (y == self.classes_[-1]).astype(np.int8)
        return positive if len(self.classes_) > 1 else np.zeros_like(positive)

    def _one_hot(self) -> bool:
        """Whether two classes have an output each, as the categorical cross-entropy wants."""
        return isinstance(self.loss, Loss) and self.loss.name == "cross_entropy"

    def _output_layer(self) -> tuple[Loss, int, str]:
        labels = len(self.classes_)
        n_outputs = 1 if self._kind == "binary" and not self._one_hot() else max(labels, 1)
        several = self._kind == "multiclass" or self._one_hot()
        if self.loss == "log_loss":
            loss = losses.CrossEntropy() if several else losses.BinaryCrossEntropy()
        else:
            loss = losses.get(self.loss)
        if self._kind == "multilabel" and loss.name in ("focal", "cross_entropy"):
            raise ValueError(
                f"loss={loss.name!r} compares classes that exclude each other; for a multilabel "
                "target use 'log_loss' or 'hinge'."
            )
        if self._kind == "multiclass" and loss.name == "binary_cross_entropy":
            raise ValueError(
                "loss='binary_cross_entropy' is for two classes or labels, but y has "
                f"{labels} classes; use 'log_loss'."
            )
        if loss.name == "hinge":
            return loss, n_outputs, "identity"
        return loss, n_outputs, "softmax" if several else "logistic"

    def _labels(self, z: Float[np.ndarray, "N H"]) -> np.ndarray:
        threshold = 0.0 if self._is_hinge() else 0.5
        if self._kind == "multilabel":
            return (z > threshold).astype(int)
        if z.shape[1] > 1:
            return cast(np.ndarray, self.classes_[np.argmax(z, axis=1)])
        index = (
            (z[:, 0] > threshold).astype(int) if len(self.classes_) > 1 else np.zeros(len(z), int)
        )
        return cast(np.ndarray, self.classes_[index])

    def _default_score(self, z: Float[np.ndarray, "N H"], rows: Rows) -> float:
        from sklearn.metrics import accuracy_score

        return float(accuracy_score(rows.labels, self._labels(z), sample_weight=rows.w))

    def _stratify(self, rows: Rows, n_held: int) -> np.ndarray | None:
        if self._kind == "multilabel":
            return None
        if self._kind == "binary":
            return rows.y[:, None].astype(bool)
        counts = np.bincount(rows.y)
        possible = counts[counts > 0].min() >= 2 and n_held >= np.count_nonzero(counts)
        return rows.labels if possible else None

    def _is_hinge(self) -> bool:
        return (self.loss.name if isinstance(self.loss, Loss) else self.loss) == "hinge"

    def _has_decision_function(self) -> bool:
        if not self._is_hinge():
            raise AttributeError("decision_function needs loss='hinge'; use predict_proba.")
        return True

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags
