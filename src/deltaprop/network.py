"""``dp.Network``: the model, with predictions, verification and explanations."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from deltaprop.engines.prediction import Predictor, compiled_norms
from deltaprop.model import Dense, Gradient, Layout, Model, Periodic, Trace
from deltaprop.model.inputs import check_X

if TYPE_CHECKING:
    from jaxtyping import Float, Num

    from deltaprop.explain.derivation import Derivation
    from deltaprop.explain.verification import Verification
    from deltaprop.functions.arrays import Array
    from deltaprop.page import Page


class Network(Model):
    r"""A fully connected network and its loss: L(θ) and ∂L/∂θ in closed form.

    Parameters
    ----------
    n_features : int
        D, the number of columns of X.
    layers : iterable of Dense
        At least one layer; the outputs of the last one are ŷ.
    loss : str or Loss
        A name from ``deltaprop.losses.NAMES`` or a :class:`deltaprop.Loss`.
    l2 : float, default=0.0
        λ ≥ 0. Biases are never penalised.
    reduction : {"sum", "mean", "sklearn"}, default="sum"
        The meaning of L for N samples with weights w_n (1 by default):

        - "sum": Σ_n w_n loss_n + λ/2 ‖W‖², as in ``docs/derivation.md``;
        - "mean": Σ_n w_n loss_n / Σ_n w_n + λ/2 ‖W‖²;
        - "sklearn": (Σ_n w_n loss_n + λ/2 ‖W‖²) / Σ_n w_n, where λ is scikit-learn's ``alpha``.
    dtype : {"float64", "float32"}, default="float64"
        The dtype of θ and of all computations.
    init : str, default="glorot_uniform"
        One of ``deltaprop.initializers.NAMES``.
    seed : int, RandomState or None, default=None
        The seed of the initial weights.

    Attributes
    ----------
    theta : ndarray (P,)
        All parameters.
    W, b : tuples of ndarrays (D_l, H_l) and (H_l,)
        Views into `theta`; writing to them changes the network.
    r, alpha : tuples of ndarrays (D_l,) and (H_l,), or None
        The factors of the inputs, and of the activation, of each layer, as views into `theta`; None
        in layers without ``input_scale`` or ``trainable_activation``.

    Raises
    ------
    ValueError, TypeError
        If an argument is out of range; the message names it.

    Examples
    --------
    >>> import deltaprop as dp
    >>> net = dp.Network(2, [dp.Dense(3, "tanh"), dp.Dense(2, "softmax")],
    ...                  loss="cross_entropy", l2=1e-3, seed=0)
    >>> net
    Network(2 → 3 tanh → 2 softmax, loss='cross_entropy', l2=0.001, reduction='sum', 17 parameters)
    >>> t = net.trace([[0.5, -1.0]], [1])
    >>> [d.shape for d in t.delta]
    [(1, 3), (1, 2)]
    >>> net.check([[0.5, -1.0]], [1]).ok
    True
    """

    @cached_property
    def predictor(self) -> Predictor:
        """Computes predictions for arrays that have been checked, with the fastest engine ready."""
        return Predictor(self)

    def predict(self, X: Any) -> Float[np.ndarray, "N H"]:
        """ŷ = X_L for each row of X.

        Parameters
        ----------
        X : array-like or SciPy sparse matrix (N, D)

        Raises
        ------
        ValueError
            If X has the wrong shape or contains NaN or infinity.

        Examples
        --------
        >>> import deltaprop as dp
        >>> net = dp.Network(1, [dp.Dense(1)], loss="squared_error")
        >>> net.theta = [2.0, 1.0]
        >>> net.predict([[1.0], [2.0]])
        array([[3.],
               [5.]])
        """
        z = self.predictor.few(X)
        return self.predictor(check_X(self, X)) if z is None else z

    def _sample_norms(
        self, X: Num[Array, "N D"], y: Num[np.ndarray, "N ..."]
    ) -> Float[np.ndarray, " N"]:
        norms = compiled_norms(self, X, y)
        return super()._sample_norms(X, y) if norms is None else norms

    def check(self, X: Any, y: Any, sample_weight: Any = None) -> Verification:
        """Verify each equation numerically on (X, y): see :func:`deltaprop.inspect.verify`.

        Arguments as in `trace`.

        Examples
        --------
        >>> import deltaprop as dp
        >>> net = dp.Network(1, [dp.Dense(1, "tanh")], loss="squared_error", seed=0)
        >>> report = net.check([[1.0]], [0.5])
        >>> report.ok
        True
        """
        from deltaprop.explain.verification import verify

        return verify(self, X, y, sample_weight)

    def explore(
        self, X: Any, y: Any, *, feature_names: Any = None, target_names: Any = None, **options: Any
    ) -> Page:
        """Step through this network on (X, y) in a browser: see :func:`deltaprop.explore`.

        Examples
        --------
        >>> import deltaprop as dp
        >>> net = dp.Network(1, [dp.Dense(1, "tanh")], loss="squared_error", seed=0)
        >>> page = net.explore([[1.0]], [0.5], open_browser=False)
        >>> page.close()
        """
        from deltaprop.page import explore, network_subject

        subject = network_subject(self, X, y, feature_names, target_names)
        return explore(subject, **options)

    def derivation(
        self,
        X: Any = None,
        y: Any = None,
        sample_weight: Any = None,
        *,
        format: str = "unicode",
        steps: bool = False,
    ) -> Derivation:
        """Every equation of this network, with its sizes, functions and settings filled in.

        Parameters
        ----------
        X, y, sample_weight : optional
            A batch, as in `trace`, whose numbers are printed next to the symbols. Large matrices
            are abbreviated.
        format : {"unicode", "latex", "html"}, default="unicode"
            The format that ``str`` and ``print`` use. The attributes ``.unicode``, ``.latex`` and
            ``.html`` of the result contain all formats, and notebooks show it as HTML.
        steps : bool, default=False
            Also write the lines that lead to each equation: the chain rule, the derivatives of the
            loss and the activations, and the algebra between, in index notation. The rule that
            leads to a line stands above it.

        Returns
        -------
        Derivation

        Raises
        ------
        ValueError
            If `format` is unknown, if only one of X and y is given, or if the batch is invalid.

        Notes
        -----
        Numbers in parentheses are the equation numbers of ``docs/derivation.md``, where "L2",
        "bias", "scale" and "activation" also stand for equations. Custom functions are called with
        symbols instead of arrays. Those that need arrays are printed by name.

        References
        ----------
        ``docs/derivation.md``.

        Examples
        --------
        >>> import deltaprop as dp
        >>> net = dp.Network(2, [dp.Dense(1, "tanh")], loss="squared_error", seed=0)
        >>> print(net.derivation())  # doctest: +ELLIPSIS
        Network 2 → 1 tanh, loss squared_error, reduction sum
        ...
            δ_0 = ( ŷ  −  y ) ⊙ (1 −  ŷ²)                                         (1.8)
            N×1    N×1   N×1         N×1
        ...
        """
        from deltaprop.explain.derivation import derive

        return derive(self, X, y, sample_weight, format, steps=steps)

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in super().__getstate__().items() if k != "predictor"}

    def _repr_html_(self) -> str:
        from deltaprop.explain.layers import layers_html

        return layers_html(self)


__all__ = ["Dense", "Gradient", "Layout", "Network", "Periodic", "Trace"]
