"""What estimators have in common with networks: equations, verification, page, diagnosis."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
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

    def _encoded(self, X: Any, y: Any) -> tuple[Any, Any]:
        """Rows and targets as the network takes them."""
        return (
            None if X is None else self.encode_rows(X),
            None if y is None else self.encode_target(y),
        )


def _above(name: str) -> Any:
    """A function of the layer above, which opens any kind of model. It is looked up when called."""
    return getattr(importlib.import_module(ABOVE[name]), name)
