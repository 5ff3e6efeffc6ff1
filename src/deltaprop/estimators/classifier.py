"""The classifier ``MLPClassifier``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, cast

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.callback import with_callbacks
from sklearn.utils import column_or_1d, compute_sample_weight
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import _check_partial_fit_first_call

from deltaprop.data.rows import Rows
from deltaprop.errors import InputError, raised_as_input_error
from deltaprop.estimators._base import (
    BaseMLP,
    Task,
    by_rows,
    keeps_fit_on_failure,
    working_dtype,
)
from deltaprop.estimators.contributing import Output
from deltaprop.estimators.declaration import with_parameters
from deltaprop.estimators.fitted import TargetKind, as_labels
from deltaprop.estimators.parameters import ClassifierParameters
from deltaprop.estimators.plain import is_plain_target, kind_and_labels, missing_targets
from deltaprop.functions import losses
from deltaprop.functions.losses import Loss
from deltaprop.model.inputs import check_weights
from deltaprop.storage.codec import ModelFileError

if TYPE_CHECKING:
    from jaxtyping import Float

    from deltaprop.data.streams.stream import Stream

ORDINAL = "ordinal"
CROSS_ENTROPIES = ("log_loss", ORDINAL)  # losses that depend on the target


def _gives_probabilities(estimator: MLPClassifier) -> bool:
    if estimator._gives_margins():
        raise AttributeError("predict_proba is not available with loss='hinge'.")
    return True


@with_parameters()
class MLPClassifier(ClassifierMixin, BaseMLP, ClassifierParameters):
    """A fully connected network for classification, compatible with scikit-learn's.

    To replace scikit-learn's class, change the import: parameters, attributes and defaults have the
    same names and meanings. Additional parameters follow those of scikit-learn.

    Attributes
    ----------
    classes_ : ndarray
        The class labels, in the order of the columns of ``predict_proba``.
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
    The cross-entropy is the loss of equation (1.3). With a softmax or logistic output its error
    signal simplifies to δ = ŷ - y.

    Two of the differences from scikit-learn (``docs/scikit-learn.md``): the split of early stopping
    is stratified for more than two classes as well, if each class has at least two rows, and
    ``partial_fit`` continues the random numbers of the previous call instead of starting again from
    `random_state`.

    Examples
    --------
    >>> import deltaprop as dp
    >>> from sklearn.datasets import load_iris
    >>> X, y = load_iris(return_X_y=True)
    >>> clf = dp.MLPClassifier((16, 8), ["tanh", "relu"], solver="lbfgs", random_state=0).fit(X, y)
    >>> clf.score(X, y) > 0.95
    True
    """

    @available_if(lambda self: self._has_partial_fit())
    @keeps_fit_on_failure
    @with_callbacks
    def partial_fit(
        self, X: Any, y: Any = None, sample_weight: Any = None, classes: Any = None
    ) -> MLPClassifier:
        """Continue training for one epoch on the given rows.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features), or Stream
            Features.
        y : array-like of shape (n_samples,) or (n_samples, n_labels)
            Class labels, or an indicator matrix of labels.
        sample_weight : array-like of shape (n_samples,), optional
            Non-negative weights of the rows, not all zero.
        classes : array-like, optional
            All labels that can occur in any call. Required at the first call.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If `classes` is missing at the first call or differs at a later one, if y has other
            labels, or if a parameter or the data is invalid.
        """
        self._validate_params()
        _check_partial_fit_first_call(self, classes)  # sets classes_ at the first call
        return cast(
            MLPClassifier, self._fit(X, y, sample_weight, (None, None, None), incremental=True)
        )

    def predict(self, X: Any) -> np.ndarray:
        """Predict the class of each row.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_labels)
            The most probable class of each row. For a multilabel target, an indicator matrix of the
            labels whose probability exceeds 0.5.
        """
        return self.labels(self._output(X))

    @available_if(_gives_probabilities)
    def predict_proba(self, X: Any) -> Float[np.ndarray, "N C"]:
        """Predict the probability of each class. Not available with loss="hinge".

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            The columns are in the order of ``classes_``.
        """
        return self.probabilities(self._output(X))

    def probabilities(self, z: Float[np.ndarray, "N H"]) -> Float[np.ndarray, "N C"]:
        """The probability of each class, for rows of the network's output."""
        if self._kind == ORDINAL:
            # Of P(y > k), none may be larger than the one before.
            above = np.minimum.accumulate(z, axis=1)
            ones = np.ones_like(z[:, :1])
            return cast(np.ndarray, -np.diff(np.hstack([ones, above, 0 * ones]), axis=1))
        if self._kind == "multilabel" or z.shape[1] > 1:
            return z
        if len(self.classes_) == 1:
            return np.ones_like(z)
        return np.hstack([1 - z, z])

    @available_if(_gives_probabilities)
    def predict_log_proba(self, X: Any) -> Float[np.ndarray, "N C"]:
        """Predict the logarithm of the probability of each class.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            The logarithm of ``predict_proba(X)``.
        """
        return cast(np.ndarray, np.log(self.predict_proba(X)))

    @available_if(lambda self: self._has_decision_function())
    def decision_function(self, X: Any) -> Float[np.ndarray, "N ..."]:
        """Compute the signed margin of each class. Only available with loss="hinge".

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_classes)
            One column for two classes: a positive margin predicts ``classes_[1]``.
        """
        z = self._output(X)
        return z.ravel() if z.shape[1] == 1 else z

    # ------------------------------------------------------------ differs from regression

    _saved_attributes: ClassVar = (*BaseMLP._saved_attributes, "classes_", "_kind")

    def _require_consistent(self) -> None:
        super()._require_consistent()
        n_outputs, n_classes = self.network_.n_outputs, len(self.classes_)
        expected = n_classes - 1 if self._kind == ORDINAL else n_classes
        if n_outputs != expected and not (n_outputs == 1 and n_classes <= 2):
            raise ModelFileError("its number of classes differs from the outputs of its network")
        if self._kind not in ("binary", "multiclass", "multilabel", ORDINAL):
            raise ModelFileError(f"it has an unknown kind of target, {self._kind!r}")

    def _checked(self, X: Any, y: Any, sample_weight: Any, *, reset: bool, task: Task) -> Rows:
        X, y = self._validated_pair(X, y, reset=reset, plain_y=is_plain_target(y, "biuU"))
        y = y.toarray() if hasattr(y, "toarray") else y
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        is_missing = missing_targets(y)
        known = y if is_missing is None else np.where(is_missing, 0.0, y)
        self._learn_or_check_classes(known, task)
        w = check_weights(sample_weight, X)
        if self.class_weight is not None:
            if is_missing is not None:
                raise InputError("class_weight needs all labels of each row, but y contains NaN.")
            with raised_as_input_error():
                balance = compute_sample_weight(self.class_weight, y).astype(working_dtype(X))
            if (balance < 0).any():
                raise InputError(
                    f"class_weight must hold weights >= 0 for each class, got {self.class_weight}."
                )
            w = balance if w is None else w * balance
        return Rows(by_rows(X), self._codes(y), w, labels=y)

    def _stream_target(self, rows: Stream, task: Task) -> tuple[Any, np.ndarray]:
        labels = self.classes_ if hasattr(self, "classes_") else rows.values()
        self._learn_or_check_classes(labels, task)
        return self._checked_codes, self._codes(labels)

    def _checked_codes(self, y: np.ndarray) -> np.ndarray:
        known = np.isin(y, self.classes_)
        if not known.all():
            raise InputError(
                f"`y` has classes not in `self.classes_`. `self.classes_` has {self.classes_}. "
                f"'y' has {np.unique(y[~known])}."
            )
        return self._codes(y)

    def _labels_of(self, y: np.ndarray) -> np.ndarray:
        return cast(np.ndarray, self.classes_[self.class_indices(y)])

    def class_indices(self, y: np.ndarray) -> np.ndarray:
        """The index of the class of each row, for one class per row as the network takes it."""
        return cast(np.ndarray, y.sum(axis=1) if self._kind == ORDINAL else y.astype(np.int64))

    def _forget_target(self) -> None:
        self.__dict__.pop("classes_", None)

    def _learn_or_check_classes(self, y: np.ndarray, task: Task) -> None:
        kind, present = kind_and_labels(y)
        if task == "learn":
            if not hasattr(self, "classes_"):  # partial_fit sets them beforehand
                self.classes_ = present
            several = "multiclass" if len(self.classes_) > 2 else "binary"
            self._kind = "multilabel" if kind.startswith("multilabel") else several
            if self.loss == ORDINAL:
                self._require_order()
        if task == "same" and set(present) != set(self.classes_):
            raise InputError(
                "warm_start can only be used where `y` has the same classes as in the previous "
                f"call to fit. Previously got {self.classes_}, `y` has {present}"
            )
        if present is not self.classes_ and len(np.setdiff1d(present, self.classes_)):
            raise InputError(
                "`y` has classes not in `self.classes_`. "
                f"`self.classes_` has {self.classes_}. 'y' has {present}."
            )

    def _require_order(self) -> None:
        """Make the kind ordinal; InputError if the classes have no order."""
        if self._kind == "multilabel" or self.classes_.dtype.kind not in "biuf":
            found = "several labels per row" if self._kind == "multilabel" else "strings"
            raise InputError(
                "loss='ordinal' needs classes that are numbers, whose order is theirs; y has "
                f"{found}. Encode low, medium and high as 0, 1 and 2, for example."
            )
        if self._kind == "multiclass":
            self._kind = ORDINAL

    def _codes(self, y: np.ndarray) -> np.ndarray:
        """0 and 1 for two classes or several labels, otherwise the index of each row's class.

        For an ordinal target, 0 or 1 for each but the largest class: whether y is larger.
        """
        if self._kind == ORDINAL:
            return (y[:, None] > self.classes_[:-1]).astype(np.int8)
        if self._kind == "multilabel":
            return y.astype(np.int8 if missing_targets(y) is None else np.float32)
        if self._kind == "multiclass" or self._one_hot():
            return cast(np.ndarray, np.searchsorted(self.classes_, y))
        positive: np.ndarray = (y == self.classes_[-1]).astype(np.int8)
        return positive if len(self.classes_) > 1 else np.zeros_like(positive)

    def _one_hot(self) -> bool:
        """Whether two classes have one output each, as the categorical cross-entropy requires."""
        return self.loss not in CROSS_ENTROPIES and losses.get(self.loss).encoding.one_hot_pairs

    def _output_layer(self) -> tuple[Loss, int, str]:
        labels = len(self.classes_)
        if self._kind == ORDINAL:
            return losses.BinaryCrossEntropy(), labels - 1, "logistic"
        n_outputs = 1 if self._kind == "binary" and not self._one_hot() else max(labels, 1)
        several = self._kind == "multiclass" or self._one_hot()
        if self.loss in CROSS_ENTROPIES:
            loss = losses.CrossEntropy() if several else losses.BinaryCrossEntropy()
        else:
            loss = losses.get(self.loss)
        if self._kind not in loss.encoding.class_targets:
            suited = " or ".join(sorted(loss.encoding.class_targets))
            raise InputError(
                f"loss={loss.name!r} is for {suited} targets, but y is {self._kind}; use "
                "'log_loss', which suits all of them."
            )
        if loss.encoding.margins:
            return loss, n_outputs, loss.link
        return loss, n_outputs, "softmax" if several else "logistic"

    def labels(self, z: Float[np.ndarray, "N H"]) -> np.ndarray:
        """The predicted labels, for rows of the network's output."""
        threshold = 0.0 if self._gives_margins() else 0.5
        if self._kind == "multilabel":
            return (z > threshold).astype(int)
        if z.shape[1] > 1 or self._kind == ORDINAL:
            best = np.argmax(self.probabilities(z) if self._kind == ORDINAL else z, axis=1)
            return cast(np.ndarray, self.classes_[best])
        index = (
            (z[:, 0] > threshold).astype(int) if len(self.classes_) > 1 else np.zeros(len(z), int)
        )
        return cast(np.ndarray, self.classes_[index])

    # ------------------------------------------------------------ the protocol `Fitted`

    def target_kind(self) -> TargetKind:
        return "labels" if self._kind == "multilabel" else "classes"

    def encode_target(self, y: Any) -> np.ndarray:
        values = y.toarray() if hasattr(y, "toarray") else np.asarray(y)
        if self._kind == "multilabel":
            return self._codes(values)
        labels = as_labels(values.ravel(), self.classes_)
        unknown = sorted({str(label) for label in labels[~np.isin(labels, self.classes_)]})
        if unknown:
            raise InputError(
                f"y has classes that the model does not know: {', '.join(unknown)}. It knows "
                f"{', '.join(str(label) for label in self.classes_)}."
            )
        return self._codes(labels)

    def output_in_words(self, z: Float[np.ndarray, "1 H"]) -> str | None:
        return None if self._kind == "multilabel" else str(self.labels(z)[0])

    def _outputs(self) -> list[Output]:
        labels = [str(label) for label in self.classes_]
        if self._kind == ORDINAL:
            return [Output(f"> {label}", k) for k, label in enumerate(labels[:-1])]
        if self.network_.n_outputs == 1:
            return [Output(labels[-1], 0)]
        return [Output(label, k) for k, label in enumerate(labels)]

    # ------------------------------------------------------------ scores and tags

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Compute the accuracy of the predictions.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
        y : array-like of shape (n_samples,) or (n_samples, n_labels)
            For several labels per row, all of them that are known, which are not NaN, must be
            predicted correctly.
        sample_weight : array-like of shape (n_samples,), optional

        Returns
        -------
        float
        """
        predicted = self.predict(X)
        if missing_targets(y) is not None:
            return accuracy(np.asarray(y), predicted, sample_weight)
        plain = sample_weight is None and is_plain_target(y, "biuU")
        if plain and y.dtype.kind == predicted.dtype.kind and y.shape == predicted.shape:
            return accuracy(y, predicted)
        from sklearn.metrics import accuracy_score

        return float(accuracy_score(y, predicted, sample_weight=sample_weight))

    def _default_score(self, z: Float[np.ndarray, "N H"], rows: Rows) -> float:
        assert rows.labels is not None
        return accuracy(rows.labels, self.labels(z), rows.w)

    def _stratify(self, rows: Rows, n_held: int) -> np.ndarray | None:
        if self._kind == "multilabel":
            return None
        if self._kind == "binary":
            return rows.y[:, None].astype(bool)
        counts = np.bincount(self.class_indices(rows.y))
        possible = counts[counts > 0].min() >= 2 and n_held >= np.count_nonzero(counts)
        return rows.labels if possible else None

    def _gives_margins(self) -> bool:
        """Whether the outputs are signed margins, as with the hinge loss, and not probabilities."""
        return self.loss not in CROSS_ENTROPIES and losses.get(self.loss).encoding.margins

    def _has_decision_function(self) -> bool:
        if not self._gives_margins():
            raise AttributeError("decision_function needs loss='hinge'; use predict_proba.")
        return True

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags


def accuracy(
    y: np.ndarray, predicted: np.ndarray, weights: Float[np.ndarray, " N"] | None = None
) -> float:
    """The (weighted) fraction of rows that are predicted correctly.

    The same as scikit-learn's ``accuracy_score``, without its checks of the input. Labels that are
    missing (NaN) do not count, and neither do rows without a known label.
    """
    correct, missing = y == predicted, missing_targets(y)
    if missing is not None:
        correct |= missing
        weights = np.where(missing.all(axis=1), 0.0, 1.0 if weights is None else weights)
    return float(np.average(correct if y.ndim == 1 else correct.all(axis=1), weights=weights))
