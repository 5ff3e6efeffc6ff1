"""A linear model and a constant prediction, beside which the scores of a model are shown."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from jaxtyping import Float, Int


@dataclass
class Baseline:
    """A linear model and a constant prediction for encoded rows.

    Attributes
    ----------
    coef, intercept : ndarrays (D, H) and (H,)
        Of the linear model. H is the number of classes, of quantiles, or 1.
    constant : ndarray (H,)
        The constant prediction: the share of each class, the mean, or the quantiles.
    gives_probabilities : bool
        Whether predictions are probabilities of classes rather than numbers.
    """

    coef: Float[np.ndarray, "D H"]
    intercept: Float[np.ndarray, " H"]
    constant: Float[np.ndarray, " H"]
    gives_probabilities: bool

    @classmethod
    def of_classes(
        cls, Z: Float[np.ndarray, "N D"], y: Int[np.ndarray, " N"], n_classes: int
    ) -> Baseline:
        """Fit scikit-learn's logistic regression to the indices of classes.

        Examples
        --------
        >>> import numpy as np
        >>> Z, y = np.array([[-2.0], [-1.0], [1.0], [2.0]]), np.array([0, 0, 1, 1])
        >>> baseline = Baseline.of_classes(Z, y, n_classes=2)
        >>> baseline.linear(Z).argmax(axis=1), baseline.trivial(1)
        (array([0, 0, 1, 1]), array([[0.5, 0.5]]))
        """
        from sklearn.linear_model import LogisticRegression

        constant = np.bincount(y, minlength=n_classes) / len(y)
        coef, intercept = np.zeros((Z.shape[1], n_classes)), np.log(np.maximum(constant, 1e-12))
        present = np.unique(y)
        if len(present) > 1:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                found = LogisticRegression(max_iter=500).fit(Z, y)
            two = len(found.classes_) == 2  # scikit-learn has only the second column of two
            at = found.classes_[1:] if two else found.classes_
            intercept = np.where(np.isin(np.arange(n_classes), found.classes_), 0.0, -30.0)
            coef[:, at], intercept[at] = found.coef_.T, found.intercept_
        return cls(coef, intercept, constant, True)

    @classmethod
    def of_numbers(
        cls,
        Z: Float[np.ndarray, "N D"],
        y: Float[np.ndarray, " N"],
        levels: tuple[float, ...] | None = None,
    ) -> Baseline:
        """Fit scikit-learn's ridge regression; for quantiles, shifted by those of its residuals.

        Examples
        --------
        >>> import numpy as np
        >>> Z = np.arange(5.0)[:, None]
        >>> Baseline.of_numbers(Z, 2 * Z[:, 0]).trivial(1)
        array([[4.]])
        """
        from sklearn.linear_model import Ridge

        found = Ridge().fit(Z, y)
        offsets, constant = np.zeros(1), np.array([y.mean()])
        if levels is not None:
            offsets = np.quantile(y - found.predict(Z), levels)
            constant = np.quantile(y, levels)
        coef = np.repeat(found.coef_[:, None], len(offsets), axis=1)
        return cls(coef, found.intercept_ + offsets, constant, False)

    def linear(self, Z: Float[np.ndarray, "N D"]) -> Float[np.ndarray, "N H"]:
        """The predictions of the linear model."""
        scores: np.ndarray = Z @ self.coef + self.intercept
        if not self.gives_probabilities:
            return scores
        from scipy.special import softmax

        probabilities: np.ndarray = softmax(scores, axis=1)
        return probabilities

    def trivial(self, n: int) -> Float[np.ndarray, "N H"]:
        """The constant prediction for n rows."""
        return np.tile(self.constant, (n, 1))

    def is_consistent(self) -> bool:
        """Whether the parts fit together, after reading them from a file."""
        parts = (self.coef, self.intercept, self.constant)
        return (
            all(isinstance(part, np.ndarray) and np.isfinite(part).all() for part in parts)
            and self.coef.ndim == 2
            and self.intercept.shape == self.constant.shape == (self.coef.shape[1],)
            and isinstance(self.gives_probabilities, bool)
        )
