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
from deltaprop.estimators.classifier import MLPClassifier
from deltaprop.estimators.declaration import with_parameters
from deltaprop.estimators.parameters import TabularClassifierParameters
from deltaprop.estimators.tabular.base import BaseTabular, column, name_of
from deltaprop.estimators.tabular.calibration import Conformal, check_coverage, sets, temperature
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
            row, an indicator matrix of 0 and 1 with a column for each label.
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
        self.temperature_, self.label_words_ = 1.0, None
        if isinstance(X, Stream):
            self._fit_stream(X, y, sample_weight)
        else:
            self.target_name_ = name_of(y)
            labels = _labels(y)
            self._fit_members(X, labels, sample_weight, groups)
            self._remember(X, labels)
        self.classes_ = self.mlp_.classes_
        return self

    _saved_attributes: ClassVar = (
        *BaseTabular._saved_attributes, "classes_", "temperature_", "label_words_"
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

    def predict(self, X: Any) -> np.ndarray:
        """Predict the class of each row.

        Parameters
        ----------
        X : DataFrame
            A table with the columns that the model was fitted to.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_labels)
            The most probable class of each row; for several labels per row, an indicator matrix of
            those whose probability exceeds 0.5.
        """
        z = self._output(X)
        return cast(np.ndarray, self.mlp_.labels(z))

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

    # ------------------------------------------------------------ held-out rows

    def _calibrate(self, z: Float[np.ndarray, "N H"], rows: Rows) -> Float[np.ndarray, "N H"]:
        if self.mlp_.out_activation_ not in ("logistic", "softmax"):
            return z
        T = temperature(*self._decisions(z, rows))
        if T == 1.0:
            return z
        if T > 1:  # the mean of all members is less sure than the one that predicted a row
            T = T**0.5
        self.temperature_ = T
        for network in self.networks_:
            network.W[-1][...] /= T
            network.b[-1][...] /= T
        return _cooled(z, T, each=self.mlp_.out_activation_ == "logistic")

    def _decisions(self, z: Float[np.ndarray, "N H"], rows: Rows) -> tuple[Any, Any, Any]:
        """The probabilities, class and weight of each decision: one per row, or one per label."""
        if rows.y.ndim == 1:
            return self.mlp_.probabilities(z), _index(rows.y), rows.w
        p = z.ravel()
        w = None if rows.w is None else np.repeat(rows.w, z.shape[1])
        return np.stack([1 - p, p], axis=1), _index(rows.y.ravel()), w

    def _prediction_of(self, z: Float[np.ndarray, "N H"]) -> np.ndarray:
        if hasattr(self.mlp_, "predict_proba"):
            return cast(np.ndarray, self.mlp_.probabilities(z))
        return np.hstack([-z, z]) if z.shape[1] == 1 else z

    def _score_of(self, z: Float[np.ndarray, "N H"], rows: Rows) -> float | None:
        return cast(float, self.mlp_._default_score(z, rows))

    def _errors_of(self, z: Float[np.ndarray, "N H"], rows: Rows) -> list[Conformal] | None:
        if not hasattr(self.mlp_, "predict_proba") or rows.y.ndim == 2:
            return None
        P = self.mlp_.probabilities(z)
        return [Conformal.of(1 - P[np.arange(len(P)), _index(rows.y)], rows.w)]


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
    if labels.dtype == object and pd.isna(labels).any():
        raise TableError("y has missing labels; remove those rows.")
    if labels.ndim != 1:
        return _indicators(labels)
    if labels.dtype == object and infer_dtype(labels) != "string":  # keeps booleans and numbers
        labels = pd.Series(labels).infer_objects().to_numpy()
    if labels.dtype == object:
        labels = np.array([str(label) for label in labels])
    return labels


def _indicators(labels: np.ndarray) -> np.ndarray:
    """Several labels per row, as an indicator matrix of 0 and 1."""
    if labels.ndim != 2 or labels.shape[1] == 0 or not np.isin(labels, (0, 1)).all():
        raise InputError(
            "y must have one column of class labels, or for several labels per row one column of 0 "
            f"and 1 for each; got an array of shape {labels.shape}."
        )
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
