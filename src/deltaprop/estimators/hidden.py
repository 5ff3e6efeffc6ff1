"""Hidden units as features: the method ``transform`` of estimators."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from deltaprop.derivation import equations
from deltaprop.errors import InputError
from deltaprop.functions.arrays import as_dtype
from deltaprop.functions.checks import is_int

if TYPE_CHECKING:
    from jaxtyping import Float

    from deltaprop.functions.arrays import Array
    from deltaprop.network import Network


class HiddenUnits(ClassNamePrefixFeaturesOutMixin, TransformerMixin):
    """``transform``, with ``set_output`` and ``get_feature_names_out``, for fitted networks."""

    transform_layer: int

    def _networks(self) -> list[Network]:
        raise NotImplementedError

    def encode_rows(self, X: Any) -> Any:
        raise NotImplementedError

    def transform(self, X: Any) -> Float[np.ndarray, "N H"]:
        """The hidden units of each row: what the network has learned to compute from the columns.

        Parameters
        ----------
        X : DataFrame or array-like (N, D)
            Rows as ``predict`` takes them.

        Returns
        -------
        ndarray of shape (n_samples, n_units)
            The units of the hidden layer that `transform_layer` names; of an ensemble, those of all
            members side by side. ``set_output(transform="pandas")`` gives a DataFrame.

        Raises
        ------
        ValueError
            If the network has no such hidden layer.

        Examples
        --------
        >>> import deltaprop as dp
        >>> from sklearn.datasets import load_iris
        >>> from sklearn.linear_model import LogisticRegression
        >>> from sklearn.pipeline import make_pipeline
        >>> X, y = load_iris(return_X_y=True)
        >>> units = dp.MLPClassifier((16, 4), solver="lbfgs", random_state=0)
        >>> make_pipeline(units, LogisticRegression()).fit(X, y).score(X, y) > 0.95
        True
        >>> units.fit(X, y).set_output(transform="pandas").transform(X[:2]).columns.tolist()
        ['mlpclassifier0', 'mlpclassifier1', 'mlpclassifier2', 'mlpclassifier3']
        """
        check_is_fitted(self)
        Z = self.encode_rows(X)
        units = [_units(net, Z, _layer(net, self.transform_layer)) for net in self._networks()]
        return np.hstack(units) if len(units) > 1 else units[0]

    @property
    def _n_features_out(self) -> int:
        return sum(net.layers[_layer(net, self.transform_layer)].units for net in self._networks())


def _units(net: Network, Z: Float[Array, "N D"], layer: int) -> Float[np.ndarray, "N H"]:
    """X_{l+1} for l = layer, in blocks of rows.

    In float64, because the float32 products of some BLAS libraries depend on the place of a row.
    """
    V, f = equations.in_effect(net.W, net.f, net.vectors)
    end = layer + 1
    V, b = ([as_dtype(part, np.float64) for part in parts[:end]] for parts in (V, net.b))
    found = np.empty((Z.shape[0], net.layers[layer].units), net.dtype)
    for at in net.blocks(Z.shape[0]):
        X, _ = equations.forward(as_dtype(Z[at], np.float64), V, b, f[:end])
        found[at] = X[-1]
    return found


def _layer(net: Network, given: Any) -> int:
    """The index of a hidden layer, from one that may count from the end."""
    n = net.n_layers - 1
    if not is_int(given, -n) or given >= n:
        allowed = f"an int from {-n} to {n - 1}" if n else "unused: there is no hidden layer"
        raise InputError(f"transform_layer must be {allowed}; got {given!r}.")
    return int(given) % n
