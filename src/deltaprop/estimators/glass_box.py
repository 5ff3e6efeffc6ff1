"""What estimators have in common with networks: equations, verification, page, diagnosis."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, cast

import numpy as np

if TYPE_CHECKING:
    from deltaprop.estimators.contributing import Output
    from deltaprop.explain.contributed import Contributions
    from deltaprop.explain.derivation import Derivation
    from deltaprop.explain.verification import Verification
    from deltaprop.model import Trace
    from deltaprop.network import Network
    from deltaprop.page import Page
    from deltaprop.training.history import History

ABOVE = {"explore": "deltaprop.inspect.interactive", "diagnose": "deltaprop.inspect.diagnosis"}


class GlassBox:
    """The methods that open a fitted estimator. Rows and targets are as ``fit`` takes them.

    Of an ensemble, they show the first member; ``model.member(i)`` is the model of another one.
    """

    def fitted_network(self) -> Network:
        raise NotImplementedError

    def encode_rows(self, X: Any) -> Any:
        raise NotImplementedError

    def encode_target(self, y: Any) -> Any:
        raise NotImplementedError

    def derivation(
        self, X: Any = None, y: Any = None, sample_weight: Any = None, **options: Any
    ) -> Derivation:
        """Every equation of the fitted network: see :meth:`deltaprop.Network.derivation`.

        Parameters
        ----------
        X, y, sample_weight : optional
            Rows whose numbers are printed next to the symbols.
        **options
            As for the method of the network, such as ``format="latex"``.

        Examples
        --------
        >>> import deltaprop as dp
        >>> X, y = [[0.0], [1.0], [2.0], [3.0]] * 5, ["no", "no", "yes", "yes"] * 5
        >>> model = dp.MLPClassifier(2, max_iter=5, random_state=0).fit(X, y)
        >>> model.derivation(X[:3], y[:3])
        Derivation(14 equations, format='unicode')
        """
        return self.fitted_network().derivation(*self._encoded(X, y), sample_weight, **options)

    def trace(self, X: Any, y: Any, sample_weight: Any = None) -> Trace:
        """Every quantity of one pass over (X, y): see :meth:`deltaprop.Network.trace`.

        Examples
        --------
        >>> import deltaprop as dp
        >>> X, y = [[0.0], [1.0], [2.0], [3.0]] * 5, [0.0, 1.0, 2.0, 3.0] * 5
        >>> model = dp.MLPRegressor(hidden_layer_sizes=2, max_iter=5, random_state=0).fit(X, y)
        >>> model.trace(X[:3], y[:3]).delta[0].shape
        (3, 2)
        """
        return self.fitted_network().trace(*self._encoded(X, y), sample_weight)

    def check(self, X: Any, y: Any, sample_weight: Any = None) -> Verification:
        """Verify each equation numerically on (X, y): see :meth:`deltaprop.Network.check`.

        Examples
        --------
        >>> import deltaprop as dp
        >>> X, y = [[0.0], [1.0], [2.0], [3.0]] * 5, [0.0, 1.0, 2.0, 3.0] * 5
        >>> model = dp.MLPRegressor(hidden_layer_sizes=2, max_iter=5, random_state=0).fit(X, y)
        >>> model.check(X, y).ok
        True
        """
        return self.fitted_network().check(*self._encoded(X, y), sample_weight)

    def explore(self, X: Any, y: Any, **options: Any) -> Page:
        """Step through the network on (X, y) in a browser: see :func:`deltaprop.explore`.

        Examples
        --------
        >>> import deltaprop as dp
        >>> X, y = [[0.0], [1.0], [2.0], [3.0]] * 5, [0.0, 1.0, 2.0, 3.0] * 5
        >>> model = dp.MLPRegressor(hidden_layer_sizes=2, max_iter=5, random_state=0).fit(X, y)
        >>> with model.explore(X, y, open_browser=False) as page:
        ...     page.url.startswith("http://127.0.0.1:")
        True
        """
        return cast("Page", _above("explore")(self, X, y, **options))

    def diagnose(
        self, X: Any, y: Any, history: History | None = None, validation: Any = None
    ) -> Any:
        """Explain what is wrong with the network, its training or data: :func:`deltaprop.diagnose`.

        Examples
        --------
        >>> import deltaprop as dp
        >>> X, y = [[0.0], [1.0], [2.0], [3.0]] * 5, [0.0, 1.0, 2.0, 3.0] * 5
        >>> model = dp.MLPRegressor(hidden_layer_sizes=2, solver="lbfgs", random_state=1).fit(X, y)
        >>> model.diagnose(X, y).faults
        ['dead units']
        """
        return _above("diagnose")(self, X, y, history, validation)

    def contributions(self, X: Any, baseline: Any = None, *, tol: float = 1e-3) -> Contributions:
        """How much each column contributes to each prediction, by integrated gradients.

        The contributions of a row add up to the difference between its prediction and the mean
        prediction of the baseline. Of a table, they are those of its columns, not of the encoded
        ones; of an ensemble, they are about the mean of all members.

        Parameters
        ----------
        X : DataFrame or array-like (N, D)
            Rows as ``predict`` takes them.
        baseline : DataFrame or array-like (B, D), optional
            Rows to compare with, such as those of the training; of more than 100, a sample is used.
            By default a single row: of a table, the median of each encoded column; otherwise zeros,
            which are the means of columns that were standardized.
        tol : float, default=1e-3
            The numerical integration is refined until the contributions add up to within this share
            of the largest prediction, as the network computes it.

        Returns
        -------
        Contributions
            ``.row(k)`` has the contributions of a row, ``.frame()`` those of all, ``print`` shows
            the first ones, and ``.to_shap()`` is for the plots of shap. Classifiers explain the
            probability of each class (of two classes, the second one's), regressors the number.
            ``.error`` is the largest deviation of a sum.

        Notes
        -----
        A contribution says what the model does, not what would happen in the world. Columns with
        the same information share what they contribute.

        References
        ----------
        Sundararajan, Taly and Yan (2017), "Axiomatic attribution for deep networks". With several
        baselines: Erion et al. (2021), "Improving performance of deep learning models with
        axiomatic attribution priors and expected gradients".

        Examples
        --------
        >>> import deltaprop as dp
        >>> X, y = [[0.0, 5.0], [1.0, 5.0], [2.0, 5.0], [3.0, 5.0]] * 5, [0.0, 1.0, 2.0, 3.0] * 5
        >>> model = dp.MLPRegressor(hidden_layer_sizes=4, solver="lbfgs", random_state=0).fit(X, y)
        >>> found = model.contributions([[3.0, 5.0]], baseline=X)
        >>> found.values.shape, bool(abs(found.values[0, 1, 0]) < 1e-9)  # the same in all rows
        ((1, 2, 1), True)
        >>> found.error < 1e-2
        True
        """
        from deltaprop.estimators.contributing import contributions

        columns, owners = self._columns_of_inputs()
        Z = self.encode_rows(X)
        rows = self._typical_row() if baseline is None else self.encode_rows(baseline)
        return contributions(
            self._networks(), Z, rows, owners, columns, self._outputs(), _cells(X, columns), tol
        )

    def _networks(self) -> list[Network]:
        """The networks whose mean output is the prediction."""
        return [self.fitted_network()]

    def _columns_of_inputs(self) -> tuple[list[str], np.ndarray]:
        """The names of the columns, and which of them each input of the network belongs to."""
        n = self.fitted_network().n_features
        names = getattr(self, "feature_names_in_", [f"x{i}" for i in range(n)])
        return [str(name) for name in names], np.arange(n)

    def _typical_row(self) -> np.ndarray:
        """A row of the network's inputs with which others are compared."""
        return np.zeros((1, self.fitted_network().n_features))

    def _outputs(self) -> list[Output]:
        """What contributions are to: classes, targets or quantiles."""
        raise NotImplementedError

    def _encoded(self, X: Any, y: Any) -> tuple[Any, Any]:
        """Rows and targets as the network takes them."""
        return (
            None if X is None else self.encode_rows(X),
            None if y is None else self.encode_target(y),
        )


def _cells(X: Any, columns: list[str]) -> np.ndarray:
    """The values of rows as Python objects."""
    from deltaprop.data.frames import as_frame

    frame = as_frame(X)
    known = [frame[name] if name in frame else frame.iloc[:, i] for i, name in enumerate(columns)]
    return np.stack([column.to_numpy(dtype=object) for column in known], axis=1)


def _above(name: str) -> Any:
    """A function of the layer above, which opens any kind of model. It is looked up when called."""
    return getattr(importlib.import_module(ABOVE[name]), name)
