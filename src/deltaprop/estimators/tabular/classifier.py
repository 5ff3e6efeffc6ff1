"""The classifier for tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, cast

import numpy as np
import pandas as pd
from pandas.api.types import infer_dtype
from sklearn.base import ClassifierMixin

from deltaprop.data.reading import TableError
from deltaprop.data.rows import Rows
from deltaprop.data.streams.stream import Stream
from deltaprop.errors import InputError
from deltaprop.estimators._base import keeps_fit_on_failure
from deltaprop.estimators.classifier import MLPClassifier, accuracy
from deltaprop.estimators.declaration import with_parameters
from deltaprop.estimators.parameters import TabularClassifierParameters
from deltaprop.estimators.plain import missing_targets
from deltaprop.estimators.tabular.base import (
    BaseTabular,
    column,
    name_of,
    weights_of_known_rows,
)
from deltaprop.estimators.tabular.calibration import Conformal, check_coverage, sets, temperature
from deltaprop.estimators.tabular.decisions import Rule, cost_matrix, rule_for
from deltaprop.network import Network
from deltaprop.storage.codec import ModelFileError

if TYPE_CHECKING:
    from jaxtyping import Bool, Float

NESTED = (list, tuple, set, dict, np.ndarray)


@with_parameters(like=MLPClassifier)
class TabularClassifier(ClassifierMixin, BaseTabular, TabularClassifierParameters):
    """A classifier for the rows of a table, which needs no preprocessing.

    A :class:`deltaprop.tables.TableEncoder` encodes categories, dates, text and missing values. By
    default the model is an ensemble: its members are networks that are trained on the folds of a
    cross-validation but one, and stop when the loss on this one no longer improves. So every row
    trains most members, and the predictions of the others for it give an honest score. A
    temperature that is learned from them calibrates the probabilities.

    Attributes
    ----------
    encoder_ : TableEncoder
        The fitted encoder.
    members_ : list of MLPClassifier
        The members of the ensemble, which are fitted to the encoded rows. The prediction is the
        mean of their probabilities.
    networks_ : list of Network
        Their networks.
    network_ : Network
        The network of the first member, with methods such as ``trace`` and ``check``.
    mlp_ : MLPClassifier
        The first member.
    cv_score_ : float or None
        The accuracy of the predictions for held-out rows, as ``score`` computes it; of several
        labels per row, all must be right. None without a cross-validation.
    cv_prediction_ : ndarray of shape (n_samples, n_classes) or None
        The probabilities for each row, predicted by members that did not see it; NaN if all of
        them did. With loss="hinge" they are margins. Model files do not contain them.
    temperature_ : float
        By which the inputs of the output layers' activations were divided; 1 if that did not help.
    label_words_ : dict of bool to str or None
        How the table that ``deltaprop train`` read writes True and False, if these are the labels.
    threshold_ : float or ndarray of shape (n_labels,) or None
        The probability above which the positive class, ``classes_[1]``, is predicted; of several
        labels per row, that of each. None for more than two classes and with loss="hinge".
    classes_ : ndarray
        The class labels, in the order of the columns of ``predict_proba``.
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
    >>> table = dp.tables.read_table("data/penguins.csv")
    >>> X, y = table.drop(columns="species"), table["species"]
    >>> model = dp.TabularClassifier(random_state=0).fit(X, y)
    >>> model.score(X, y) > 0.95
    True
    >>> model.cv_score_ > 0.95
    True
    """

    _mlp: ClassVar = MLPClassifier

    temperature_: float
    label_words_: dict[bool, str] | None
    threshold_: float | np.ndarray | None

    @keeps_fit_on_failure
    def fit(
        self, X: Any, y: Any = None, sample_weight: Any = None, groups: Any = None
    ) -> TabularClassifier:
        """Fit the model to X and y.

        Parameters
        ----------
        X : DataFrame (pandas, polars or Arrow) or Stream
            Features. A :func:`deltaprop.tables.stream` contains the target and the sample weights
            as well. Its encoding is learned from a random sample of 100,000 rows; a single network
            is trained on all rows.
        y : array-like of shape (n_samples,) or (n_samples, n_labels)
            Class labels, without missing values: strings, booleans or numbers. Labels of other
            types, or of several types, are replaced by their strings. Or, for several labels per
            row, an indicator matrix of 0 and 1 with a column for each label. Some of them may be
            missing (NaN): they do not contribute to the loss, and rows without a known label are
            not used.
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
            If a label is missing, or if a parameter or the data is invalid.
        """
        self.temperature_, self.threshold_, self.label_words_ = 1.0, None, None
        if isinstance(X, Stream):
            self._fit_stream(X, y, sample_weight)
        else:
            self.target_name_ = name_of(y)
            labels = _labels(y)
            sample_weight = weights_of_known_rows(labels, sample_weight)
            self._fit_members(X, labels, sample_weight, groups)
            self._remember(X, labels)
        self.classes_ = self.mlp_.classes_
        if self.threshold_ is None:
            self.threshold_ = self._default_threshold()
        return self

    _saved_attributes: ClassVar = (
        *BaseTabular._saved_attributes, "classes_", "temperature_", "threshold_", "label_words_"
    )  # fmt: skip

    def _require_consistent(self) -> None:
        super()._require_consistent()
        for member in self.members_:
            self._require_equal("classes_", member)
        if not isinstance(getattr(self, "temperature_", 1.0), float):
            raise ModelFileError("its temperature is not a number")
        self.label_words_ = self.__dict__.get("label_words_")  # earlier versions did not store it
        if self.label_words_ is not None and not _are_words(self.label_words_):
            raise ModelFileError("its label_words_ are not two words")
        if "threshold_" not in self.__dict__:  # earlier versions did not store it
            self.threshold_ = self._default_threshold()
        if not self._has_thresholds():
            raise ModelFileError("its threshold_ does not fit its target")

    def predict(self, X: Any) -> np.ndarray:
        """Predict the class of each row.

        Parameters
        ----------
        X : DataFrame
            A table with the columns that the model was fitted to.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_labels)
            The most probable class of each row, or with `decision_threshold` or `cost` the one that
            they decide for. For several labels per row, an indicator matrix of those whose
            probability exceeds ``threshold_``.
        """
        return self.labels(self._output(X))

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Compute the accuracy of the predictions.

        Parameters
        ----------
        X : DataFrame
            A table with the columns that the model was fitted to.
        y : array-like of shape (n_samples,) or (n_samples, n_labels)
            For several labels per row, all of them that are known, which are not NaN, must be
            predicted correctly.
        sample_weight : array-like of shape (n_samples,), optional

        Returns
        -------
        float
        """
        if missing_targets(y) is None:
            return float(super().score(X, y, sample_weight))
        return accuracy(np.asarray(y), self.predict(X), sample_weight)

    def predict_proba(self, X: Any) -> Float[np.ndarray, "N C"]:
        """Predict the probability of each class. Not available with loss="hinge".

        Parameters
        ----------
        X : DataFrame
            A table with the columns that the model was fitted to.

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            The columns are in the order of ``classes_``. For several labels per row, each is the
            probability of its label.
        """
        z = self._output(X)
        if not hasattr(self.mlp_, "predict_proba"):
            raise AttributeError("predict_proba is not available with loss='hinge'.")
        return cast(np.ndarray, self.mlp_.probabilities(z))

    def predict_set(self, X: Any, coverage: float = 0.9) -> Bool[np.ndarray, "N C"]:
        """Predict a set of classes for each row, which contains the true one with this probability.

        The sets are those of conformal prediction: a class is in the set if its probability is not
        lower than that of most of the true classes of held-out rows. The most probable class always
        is. The probability is that over all rows, not for each of them, and it requires that new
        rows are like those that the model was fitted to.

        Parameters
        ----------
        X : DataFrame
            A table with the columns that the model was fitted to.
        coverage : float, default=0.9
            The probability, in (0, 1).

        Returns
        -------
        ndarray of bool of shape (n_samples, n_classes)
            Whether each class is in the set. The columns are in the order of ``classes_``.

        Raises
        ------
        ValueError
            If `coverage` is out of range, or if the model was fitted without a cross-validation or
            to several labels per row.

        References
        ----------
        Sadinle, Lei and Wasserman (2019), "Least ambiguous set-valued classifiers with bounded
        error levels".

        Examples
        --------
        >>> import deltaprop as dp
        >>> table = dp.tables.read_table("data/penguins.csv")
        >>> X, y = table.drop(columns="species"), table["species"]
        >>> model = dp.TabularClassifier(random_state=0).fit(X, y)
        >>> model.predict_set(X[:1]).tolist()
        [[True, False, False]]
        """
        coverage = check_coverage(coverage)
        return sets(self.predict_proba(X), self._errors()[0], coverage)

    # ------------------------------------------------------------ decisions

    def decide(self, P: Float[np.ndarray, "N C"]) -> np.ndarray:
        """The classes that ``predict`` decides for, given their probabilities.

        Parameters
        ----------
        P : array (n_samples, n_classes)
            As ``predict_proba`` returns them.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_labels)

        Examples
        --------
        >>> import deltaprop as dp
        >>> X, y = [[0.0], [1.0], [2.0], [3.0]] * 5, ["no", "no", "yes", "yes"] * 5
        >>> cost = {"false_positive": 1, "false_negative": 9}
        >>> model = dp.TabularClassifier(cost=cost, cv=1, max_iter=5, random_state=0).fit(X, y)
        >>> model.threshold_, model.decide([[0.8, 0.2]]).tolist()
        (0.1, ['yes'])
        """
        P, classes, threshold = np.asarray(P), self.mlp_.classes_, cast(Any, self.threshold_)
        if self.target_kind() == "labels":
            return cast(np.ndarray, np.greater(P, threshold).astype(int))
        if threshold is not None and len(classes) == 2:
            index = (P[:, 1] > threshold).astype(int)
        elif self.cost is None or len(classes) == 1:
            index = P.argmax(axis=1)
        else:
            index = (P @ cost_matrix(self.cost, len(classes))).argmin(axis=1)
        return cast(np.ndarray, classes[index])

    def labels(self, z: Float[np.ndarray, "N H"]) -> np.ndarray:
        """The classes that ``predict`` decides for, given the output of the ensemble."""
        if self.mlp_._gives_margins():
            return cast(np.ndarray, self.mlp_.labels(z))
        return self.decide(self.mlp_.probabilities(z))

    def _target_of(self, y: Any) -> np.ndarray:
        return _labels(y)

    def output_in_words(self, z: Float[np.ndarray, "1 H"]) -> str | None:
        return None if self.target_kind() == "labels" else str(self.labels(z)[0])

    def _rule(self) -> Rule | None:
        """How the thresholds are chosen; None if there are none."""
        is_default = self.decision_threshold == "auto" and self.cost is None
        if self.mlp_._gives_margins():
            if not is_default:
                raise InputError(
                    "decision_threshold and cost need probabilities, which loss='hinge' does not "
                    "give; use the default loss."
                )
            return None
        C = len(self.mlp_.classes_)
        if C <= 2 or self.target_kind() == "labels":
            return rule_for(self.decision_threshold, self.cost)
        if self.decision_threshold != "auto":
            raise InputError(
                f"decision_threshold is for two classes or several labels per row, but y has {C} "
                "classes; give the cost of wrong decisions as a matrix instead."
            )
        if self.cost is not None:
            cost_matrix(self.cost, C)
        return None

    def _check_decision(self, single: bool) -> None:
        if not single:
            self._rule()
        elif isinstance(self.decision_threshold, str) and self.decision_threshold != "auto":
            rule_for(self.decision_threshold, self.cost).default()

    def _default_threshold(self) -> Any:
        """The threshold without held-out predictions, of each label."""
        rule = self._rule()
        if rule is None:
            return None
        if self.target_kind() == "labels":
            return np.full(len(self.mlp_.classes_), rule.default())
        return rule.default()

    def _has_thresholds(self) -> bool:
        """Whether `threshold_`, which was read from a file, fits the target."""
        found = self.threshold_
        if self._rule() is None:
            return found is None
        if self.target_kind() != "labels":
            return isinstance(found, float) and 0 <= found <= 1
        shape = (len(self.mlp_.classes_),)
        return isinstance(found, np.ndarray) and found.shape == shape and bool((found >= 0).all())

    def _learn_decision(self, z: Float[np.ndarray, "N H"], rows: Rows) -> None:
        rule = self._rule()
        if rule is None:
            return
        if len(self.mlp_.classes_) == 1:
            self.threshold_ = 0.5
            return
        P = self.mlp_.probabilities(z).astype(np.float64)
        w = np.ones(len(P)) if rows.w is None else rows.w.astype(np.float64)
        if rows.y.ndim == 1:
            self.threshold_ = rule.tuned(P[:, 1], rows.y == 1, w)
        else:
            known = (~np.isnan(y) for y in rows.y.T)
            self.threshold_ = np.array(
                [
                    rule.tuned(p[k], y[k] == 1, w[k])
                    for p, y, k in zip(P.T, rows.y.T, known, strict=True)
                ]
            )

    # ------------------------------------------------------------ held-out rows

    def _calibrate(self, z: Float[np.ndarray, "N H"], rows: Rows) -> Float[np.ndarray, "N H"]:
        if self.mlp_.out_activation_ not in ("logistic", "softmax"):
            return z
        T = temperature(*self._decisions(z, rows))
        if T == 1.0:
            return z
        if T > 1 and not self.refit:  # the mean of all members is less sure than each of them
            T = T**0.5
        self.temperature_ = T
        for network in self.networks_:
            self._cool(network)
        return _cooled(z, T, each=self.mlp_.out_activation_ == "logistic")

    def _cool(self, network: Network) -> None:
        network.W[-1][...] /= self.temperature_
        network.b[-1][...] /= self.temperature_

    def _decisions(self, z: Float[np.ndarray, "N H"], rows: Rows) -> tuple[Any, Any, Any]:
        """The probabilities, class and weight of each decision: one per row, or one per label."""
        if rows.y.ndim == 1:
            return self.mlp_.probabilities(z), _index(rows.y), rows.w
        known = ~np.isnan(rows.y)
        p = z[known]
        w = None if rows.w is None else np.broadcast_to(rows.w[:, None], z.shape)[known]
        return np.stack([1 - p, p], axis=1), _index(rows.y[known]), w

    def _prediction_of(self, z: Float[np.ndarray, "N H"]) -> np.ndarray:
        if hasattr(self.mlp_, "predict_proba"):
            return cast(np.ndarray, self.mlp_.probabilities(z))
        return np.hstack([-z, z]) if z.shape[1] == 1 else z

    def _score_of(self, z: Float[np.ndarray, "N H"], rows: Rows) -> float | None:
        assert rows.labels is not None
        return accuracy(rows.labels, self.labels(z), rows.w)

    def _errors_of(self, z: Float[np.ndarray, "N H"], rows: Rows) -> list[Conformal] | None:
        if not hasattr(self.mlp_, "predict_proba") or self.target_kind() == "labels":
            return None
        P = self.mlp_.probabilities(z)
        return [Conformal.of(1 - P[np.arange(len(P)), self.mlp_.class_indices(rows.y)], rows.w)]


def _are_words(words: Any) -> bool:
    """Whether these are the words for True and False."""
    return (
        isinstance(words, dict)
        and set(words) == {False, True}
        and all(isinstance(word, str) for word in words.values())
    )


def _labels(y: Any) -> np.ndarray:
    """Class labels as strings, booleans or numbers."""
    labels = column(y)
    objects = labels.flat if labels.dtype == object else ()
    nested = next((label for label in objects if isinstance(label, NESTED)), None)
    if nested is not None:
        raise InputError(
            f"y must have one label per row, but a label is a {type(nested).__name__}."
        )
    if labels.dtype.kind == "c":
        raise InputError("y has complex numbers as labels; convert them to strings.")
    if labels.ndim != 1:
        return _indicators(labels)
    if labels.dtype == object and pd.isna(labels).any():
        raise TableError("y has missing labels; remove those rows.")
    if labels.dtype == object and infer_dtype(labels) != "string":  # keeps booleans and numbers
        labels = pd.Series(labels).infer_objects().to_numpy()
    if labels.dtype == object:
        labels = np.array([str(label) for label in labels])
    return labels


def _indicators(labels: np.ndarray) -> np.ndarray:
    """Several labels per row, as an indicator matrix of 0 and 1; NaN for missing ones."""
    missing = pd.isna(labels)
    known = np.where(missing, 0, labels.astype(object))
    if labels.ndim != 2 or labels.shape[1] == 0 or not np.isin(known, (0, 1)).all():
        raise InputError(
            "y must have one column of class labels, or for several labels per row one column of 0 "
            f"and 1 for each; got an array of shape {labels.shape}. For several columns of "
            "classes, fit sklearn.multioutput.MultiOutputClassifier(TabularClassifier())."
        )
    if missing.any():
        return np.where(missing, np.nan, known.astype(np.float32))
    indicators: np.ndarray = labels.astype(np.int64)
    return indicators


def _index(y: np.ndarray) -> np.ndarray:
    """The index of each row's class."""
    index: np.ndarray = y.astype(np.int64)
    return index


def _cooled(z: Float[np.ndarray, "N H"], T: float, each: bool) -> Float[np.ndarray, "N H"]:
    """The outputs for inputs of the last activation that are divided by T.

    They are probabilities of classes, or with `each` of one label each.
    """
    powers = np.clip(z, 1e-12, 1) ** (1 / T)
    others = np.clip(1 - z, 1e-12, 1) ** (1 / T)
    total = powers + others if each else powers.sum(axis=1, keepdims=True)
    cooled: np.ndarray = powers / total
    return cooled
