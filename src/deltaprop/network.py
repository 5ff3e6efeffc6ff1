r"""The network: a list of layers, one flat parameter vector θ, and the derivation applied to it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from deltaprop.derivation import equations
from deltaprop.functions import activations, initializers, losses
from deltaprop.functions.activations import Activation
from deltaprop.functions.arrays import Array
from deltaprop.functions.losses import Loss

if TYPE_CHECKING:
    from jaxtyping import Float, Num

    from deltaprop.explain.derivation import Derivation
    from deltaprop.explain.verification import Proof
    from deltaprop.model.signals import Signals
    from deltaprop.page import Page

# Engines widen these batch by batch.
NARROW = ("float16", "bfloat16", "uint8", "int8", "uint16", "int16", "int32", "int64")
BLOCK = 4_000_000  # numbers of all X_l at a time
REDUCTIONS = ("sum", "mean", "sklearn")


@dataclass(frozen=True)
class Dense:
    """A fully connected layer: a = X W + b, then f(a).

    Parameters
    ----------
    units : int
        H, the number of outputs, at least 1.
    activation : str or Activation, default="identity"
        f; a name from ``deltaprop.activations.NAMES`` or the user's own.
    dropout : float, default=0.0
        Share of this layer's outputs that each training step sets to zero, in [0, 1).

    Examples
    --------
    >>> import deltaprop as dp
    >>> dp.Dense(10, "tanh").activation
    Activation('tanh')
    """

    units: int
    activation: Activation
    dropout: float

    def __init__(
        self, units: int, activation: str | Activation = "identity", dropout: float = 0.0
    ) -> None:
        if not isinstance(dropout, Real) or not 0 <= float(dropout) < 1:
            raise ValueError(f"dropout must be a number in [0, 1), got {dropout!r}.")
        object.__setattr__(self, "units", _positive_int("units of a Dense layer", units))
        object.__setattr__(self, "activation", activations.get(activation))
        object.__setattr__(self, "dropout", float(dropout))


class Layout:
    """Where each W_l and b_l lies in θ: layer after layer, W_l row by row, then b_l."""

    def __init__(self, sizes: Sequence[int]) -> None:
        self.shapes = list(pairwise(sizes))
        self.size = sum(D * H + H for D, H in self.shapes)

    def views(
        self, theta: Float[Array, " P"]
    ) -> tuple[tuple[Float[Array, "D H"], ...], tuple[Float[Array, " H"], ...]]:
        """W and b as parts of `theta`; writable views for NumPy."""
        W, b, start = [], [], 0
        for D, H in self.shapes:
            W.append(theta[start : start + D * H].reshape(D, H))
            b.append(theta[start + D * H : start + D * H + H])
            start += D * H + H
        return tuple(W), tuple(b)

    @staticmethod
    def flat(
        W: Sequence[Float[np.ndarray, "D H"]], b: Sequence[Float[np.ndarray, " H"]]
    ) -> Float[np.ndarray, " P"]:
        """The other way round: θ, or ∂L/∂θ, from its parts."""
        return np.concatenate([part.ravel() for pair in zip(W, b, strict=True) for part in pair])


@dataclass(frozen=True)
class Gradient:
    """∂L/∂θ: flat, and as ∂L/∂W_l and ∂L/∂b_l, which are views into the flat vector."""

    flat: Float[np.ndarray, " P"]
    dW: tuple[Float[np.ndarray, "D H"], ...]
    db: tuple[Float[np.ndarray, " H"], ...]


@dataclass(frozen=True)
class Trace:
    """Every named quantity of one pass: what the derivation talks about.

    Attributes
    ----------
    X : list of L + 1 arrays (N, D_l)
        The input of each layer; ``X[L]`` is ŷ.
    a : list of L arrays (N, H_l)
        Before the activation.
    delta : list of L arrays (N, H_l)
        The error signals ∂L/∂a_l.
    dW, db : lists of L arrays
        ∂L/∂W_l (D_l, H_l) and ∂L/∂b_l (H_l,).
    loss : float
        L.
    W : list of L arrays (D_l, H_l)
        The weights that it was taken at, copied.
    f : tuple of Activation
    l2 : float
        λ as it enters ∂W_l, under the network's reduction.
    """

    X: list[Array]
    a: list[Float[np.ndarray, "N H"]]
    delta: list[Float[np.ndarray, "N H"]]
    dW: list[Float[np.ndarray, "D H"]]
    db: list[Float[np.ndarray, " H"]]
    loss: float
    W: list[Float[np.ndarray, "D H"]]
    f: tuple[Activation, ...]
    l2: float

    def summary(self) -> Signals:
        """RMS and extremes, dead and saturated units, ratios and signal-to-noise, by layer.

        Examples
        --------
        >>> import deltaprop as dp
        >>> net = dp.Network(2, [dp.Dense(3, "tanh"), dp.Dense(1)], loss="squared_error", seed=0)
        >>> summary = net.trace([[1.0, 2.0], [3.0, 4.0]], [0.5, 1.5]).summary()
        >>> summary.layers[0].dead, summary.layers[0].X  # print(summary) shows a table
        (0.0, Spread(rms=2.7386127875258306, low=1.0, high=4.0))
        """
        from deltaprop.model.signals import summarise

        return summarise(self)


class Network:
    r"""A fully connected network and its loss: L(θ) and ∂L/∂θ in closed form.

    Parameters
    ----------
    n_features : int
        D, the number of columns of X.
    layers : iterable of Dense
        At least one; the last one's outputs are ŷ.
    loss : str or Loss
        A name from ``deltaprop.losses.NAMES`` or a :class:`deltaprop.Loss`.
    l2 : float, default=0.0
        λ ≥ 0. Biases are never penalised.
    reduction : {"sum", "mean", "sklearn"}, default="sum"
        What L means for N samples of weight w_n (1 unless given):

        - "sum": Σ_n w_n loss_n + λ/2 ‖W‖², the document's convention;
        - "mean": Σ_n w_n loss_n / Σ_n w_n + λ/2 ‖W‖²;
        - "sklearn": (Σ_n w_n loss_n + λ/2 ‖W‖²) / Σ_n w_n, where λ is scikit-learn's ``alpha``.
    dtype : {"float64", "float32"}, default="float64"
        Of θ and of everything computed.
    init : str, default="glorot_uniform"
        One of ``deltaprop.initializers.NAMES``.
    seed : int, RandomState or None, default=None
        Where the initial weights come from.

    Attributes
    ----------
    theta : ndarray (P,)
        All parameters.
    W, b : tuples of ndarrays (D_l, H_l) and (H_l,)
        Views into `theta`: writing to them changes the network.

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

    n_features: int
    layers: tuple[Dense, ...]
    loss_function: Loss
    l2: float
    reduction: str
    dtype: np.dtype
    init: str
    W: tuple[Float[np.ndarray, "D H"], ...]
    b: tuple[Float[np.ndarray, " H"], ...]
    _few: Any = None  # what engines.outputs has prepared for single rows

    def __init__(
        self,
        n_features: int,
        layers: Iterable[Dense],
        *,
        loss: str | Loss,
        l2: float = 0.0,
        reduction: str = "sum",
        dtype: Any = "float64",
        init: str = "glorot_uniform",
        seed: int | np.random.RandomState | None = None,
    ) -> None:
        self.n_features = _positive_int("n_features", n_features)
        self.layers = _checked_layers(layers)
        self.loss_function = losses.get(loss)
        if not isinstance(l2, Real) or not 0 <= float(l2) < float("inf"):
            raise ValueError(f"l2 must be a finite number >= 0, got {l2!r}.")
        self.l2 = float(l2)
        self.reduction = _one_of("reduction", reduction, REDUCTIONS)
        self.dtype = _checked_dtype(dtype)
        self.init = _one_of("init", init, initializers.NAMES)
        if self.layers[-1].dropout:
            raise ValueError(
                "dropout of the last layer must be 0: it would drop outputs of the network, got "
                f"{self.layers[-1].dropout}."
            )
        self._bind(np.zeros(self._layout().size, dtype=self.dtype))
        self.initialize(seed)

    def initialize(self, seed: int | np.random.RandomState | None = None) -> Network:
        """Draw new weights in place and return the network.

        Examples
        --------
        >>> import deltaprop as dp
        >>> net = dp.Network(1, [dp.Dense(1)], loss="squared_error", init="orthogonal")
        >>> float(abs(net.initialize(0).W[0][0, 0]))
        1.0
        """
        rng = initializers.random_state(seed)
        for l, (D, H) in enumerate(self._layout().shapes):
            # scikit-learn's scheme scales every layer by the hidden activation.
            hidden = self.layers[max(0, min(l, self.n_layers - 2))].activation.name
            self.W[l][...], self.b[l][...] = initializers.draw_layer(self.init, rng, D, H, hidden)
        return self

    # ------------------------------------------------------------ parameters

    def _layout(self) -> Layout:
        return Layout([self.n_features, *(layer.units for layer in self.layers)])

    def _bind(self, theta: Float[np.ndarray, " P"]) -> None:
        self._theta = theta
        self.W, self.b = self._layout().views(theta)

    @property
    def theta(self) -> Float[np.ndarray, " P"]:
        return self._theta

    @theta.setter
    def theta(self, values: Float[Array, " P"]) -> None:
        given = np.asarray(values)
        if given.shape != self._theta.shape:
            raise ValueError(
                f"theta must have shape {self._theta.shape}, one number for each parameter; got "
                f"{given.shape}."
            )
        self._theta[...] = given

    @property
    def n_layers(self) -> int:
        """L, the number of layers with weights."""
        return len(self.layers)

    @property
    def n_outputs(self) -> int:
        """H of the last layer."""
        return self.layers[-1].units

    @property
    def f(self) -> tuple[Activation, ...]:
        """The activation of each layer."""
        return tuple(layer.activation for layer in self.layers)

    # ------------------------------------------------------------ the derivation

    def trace(self, X: Any, y: Any, sample_weight: Any = None) -> Trace:
        """Every quantity of one forward and backward pass over (X, y), by name.

        Parameters
        ----------
        X : array-like or SciPy sparse matrix (N, D)
        y : array-like (N,) or (N, K)
            Numbers; for class losses, class indices (N,) or rows of probabilities (N, H).
        sample_weight : array-like (N,), optional

        Returns
        -------
        Trace

        Raises
        ------
        ValueError
            If shapes do not fit, values are not finite, or y is outside the loss's domain.

        Examples
        --------
        >>> import deltaprop as dp
        >>> net = dp.Network(2, [dp.Dense(3, "relu"), dp.Dense(1)], loss="squared_error", seed=0)
        >>> t = net.trace([[1.0, 2.0], [3.0, 4.0]], [0.5, 1.5])
        >>> t.X[0].shape, t.a[0].shape, t.delta[1].shape, t.dW[0].shape, t.db[1].shape
        ((2, 2), (2, 3), (2, 1), (2, 3), (1,))
        """
        X, t, weights, l2 = self._prepare(X, y, sample_weight)
        done = equations.forward_backward(
            X, t, self.W, self.b, self.f, self.loss_function, l2, weights
        )
        W = [W_l.copy() for W_l in self.W]
        return Trace(done.X, done.a, done.delta, done.dW, done.db, float(done.loss), W, self.f, l2)

    def loss(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """L of equation (1.3) with L2, under the network's reduction. Arguments as in `trace`.

        Examples
        --------
        >>> import deltaprop as dp
        >>> net = dp.Network(1, [dp.Dense(1)], loss="squared_error")
        >>> net.theta = [2.0, 1.0]
        >>> net.loss([[1.0], [2.0]], [3.0, 6.0])  # ŷ = 3, 5
        0.5
        """
        X, t, weights, l2 = self._prepare(X, y, sample_weight)
        Xs, a = equations.forward(X, self.W, self.b, self.f)
        return float(
            equations.loss(t, a[-1], Xs[-1], self.W, self.f[-1], self.loss_function, l2, weights)
        )

    def gradient(self, X: Any, y: Any, sample_weight: Any = None) -> Gradient:
        """∂L/∂θ, flat and as ∂L/∂W_l, ∂L/∂b_l. Arguments as in `trace`.

        Examples
        --------
        >>> import deltaprop as dp
        >>> net = dp.Network(1, [dp.Dense(1)], loss="squared_error")
        >>> net.theta = [2.0, 1.0]
        >>> g = net.gradient([[1.0], [2.0]], [3.0, 6.0])  # δ = 0, -1
        >>> g.flat, g.dW[0], g.db[0]
        (array([-2., -1.]), array([[-2.]]), array([-1.]))
        """
        X, t, weights, l2 = self._prepare(X, y, sample_weight)
        done = equations.forward_backward(
            X, t, self.W, self.b, self.f, self.loss_function, l2, weights
        )
        flat = np.empty_like(self._theta)
        dW, db = self._layout().views(flat)
        for l in range(self.n_layers):
            dW[l][...], db[l][...] = done.dW[l], done.db[l]
        return Gradient(flat, dW, db)

    def sample_norms(self, X: Any, y: Any) -> Float[np.ndarray, " N"]:
        """‖∂loss_n/∂θ‖ of each sample: how hard it pulls at the parameters.

        Of the sample's own loss: not divided by N, without weights and penalty. The rows go
        through in blocks, so that memory does not grow with them.

        Examples
        --------
        >>> import deltaprop as dp
        >>> net = dp.Network(1, [dp.Dense(1)], loss="squared_error")
        >>> net.theta = [2.0, 1.0]
        >>> net.sample_norms([[0.0], [1.0]], [3.0, 3.0])  # δ = -2, 0
        array([2., 0.])
        """
        from deltaprop.engines.outputs import as_numbers

        X, y = self._checked_pair(X, y)
        norms = np.empty(X.shape[0], self.dtype)
        for at in self._blocks(X.shape[0]):
            t = self.loss_function.target(y[at], self.n_outputs, self._theta, np)
            Xs, a = equations.forward(as_numbers(X[at], self.dtype), self.W, self.b, self.f)
            delta = equations.output_error(t, a[-1], Xs[-1], self.f[-1], self.loss_function)
            signals = equations.error_signals(delta, Xs, a, self.W, self.f)
            norms[at] = equations.sample_norms(Xs, signals)
        return norms

    def predict(self, X: Any) -> Float[np.ndarray, "N H"]:
        """ŷ = X_L for each row of X.

        Examples
        --------
        >>> import deltaprop as dp
        >>> net = dp.Network(1, [dp.Dense(1)], loss="squared_error")
        >>> net.theta = [2.0, 1.0]
        >>> net.predict([[1.0], [2.0]])
        array([[3.],
               [5.]])
        """
        from deltaprop.engines.outputs import few, outputs

        z = few(self, X)
        return outputs(self, self._checked_X(X, NARROW)) if z is None else z

    def check(self, X: Any, y: Any, sample_weight: Any = None) -> Proof:
        """Prove each equation numerically on (X, y): see :func:`deltaprop.inspect.prove`.

        Examples
        --------
        >>> import deltaprop as dp
        >>> net = dp.Network(1, [dp.Dense(1, "tanh")], loss="squared_error", seed=0)
        >>> proof = net.check([[1.0]], [0.5])
        >>> proof.ok
        True
        """
        from deltaprop.explain.verification import prove

        return prove(self, X, y, sample_weight)

    def explore(self, X: Any, y: Any, **options: Any) -> Page:
        """Step through this network on (X, y) in a browser: see :func:`deltaprop.explore`.

        Examples
        --------
        >>> import deltaprop as dp
        >>> net = dp.Network(1, [dp.Dense(1, "tanh")], loss="squared_error", seed=0)
        >>> page = net.explore([[1.0]], [0.5], open_browser=False)
        >>> page.close()
        """
        from deltaprop.page import explore

        return explore(self, X, y, **options)

    def derivation(
        self, X: Any = None, y: Any = None, sample_weight: Any = None, *, format: str = "unicode"
    ) -> Derivation:
        """Every equation of this network, with its own sizes, functions and settings put in.

        Parameters
        ----------
        X, y, sample_weight : optional
            As in `trace`: a batch whose numbers are set beside the symbols. Large matrices are
            shortened.
        format : {"unicode", "latex", "html"}, default="unicode"
            What ``str`` and ``print`` of the result give. ``.unicode``, ``.latex`` and ``.html``
            give each at any time, and notebooks show it as HTML.

        Returns
        -------
        Derivation

        Raises
        ------
        ValueError
            If `format` is another, X comes without y or the reverse, or the batch is not valid.

        Notes
        -----
        Numbers in brackets are those of the document; "L2" and "bias" are its unnumbered
        sections. The user's own functions are called with symbols in place of arrays; those that
        need arrays are printed by name.

        References
        ----------
        `docs/derivation.md`, section 1.3.

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

        return derive(self, X, y, sample_weight, format)

    # ------------------------------------------------------------ checked arguments

    def _checked_X(self, X: Any, kept: tuple[str, ...] = ()) -> Array:
        """X as rows of finite numbers in the network's dtype, or in one of those `kept`."""
        name, plain = str(getattr(X, "dtype", "")), type(X) is np.ndarray
        ready = plain and X.ndim == 2 and X.size and name in (self.dtype.name, *kept)
        if not (ready and _all_finite(X)):
            from sklearn.utils.validation import check_array  # most of what an import would cost

            if name == "bfloat16":  # which scikit-learn's check does not know
                X = X.astype(self.dtype)
            X = check_array(
                X, accept_sparse=["csr", "csc"], dtype=[self.dtype, *kept], input_name="X"
            )
        if X.shape[1] != self.n_features:
            raise ValueError(
                f"X has {X.shape[1]} column(s), but the network expects {self.n_features} "
                "(n_features)."
            )
        return X

    def _checked_pair(self, X: Any, y: Any) -> tuple[Array, Num[np.ndarray, "N ..."]]:
        """Rows in the network's dtype or a narrow one, and their y, not yet encoded."""
        X, y = self._checked_X(X, NARROW), self._checked_y(y)
        if X.shape[0] != y.shape[0]:
            raise ValueError(f"X has {X.shape[0]} row(s) and y has {y.shape[0]}; they must agree.")
        return X.tocsr() if hasattr(X, "tocsr") else X, y

    def _blocks(self, N: int) -> list[slice]:
        """N rows in parts whose X_l are some tens of megabytes together."""
        rows = max(1, BLOCK // (self.n_features + sum(layer.units for layer in self.layers)))
        return [slice(start, min(start + rows, N)) for start in range(0, N, rows)]

    def encode(self, y: Any) -> Float[np.ndarray, "N K"]:
        """The target t that the loss works with; checks y's shape and domain."""
        y = self._checked_y(y)
        t: np.ndarray = self.loss_function.target(y, self.n_outputs, self._theta, np)
        return t

    def _checked_y(self, y: Any) -> Num[np.ndarray, "N ..."]:
        """y as numbers of the loss's domain, not yet encoded."""
        y = np.asarray(y)
        if y.ndim not in (1, 2) or y.size == 0:
            raise ValueError(f"y must have shape (N,) or (N, K) and not be empty, got {y.shape}.")
        if y.dtype.kind not in "biuf":
            raise ValueError(
                f"y must hold numbers, got dtype {y.dtype}. Encode classes as 0, 1, … or use "
                "deltaprop.MLPClassifier, which does it."
            )
        if y.dtype.kind == "f" and not np.isfinite(y).all():
            raise ValueError("y contains NaN or infinity; remove those rows or fill them in.")
        if y.dtype.kind == "b":
            y = y.astype(np.int8)
        self.loss_function.check_target(y, self.n_outputs)
        return cast(np.ndarray, y)

    def _prepare(
        self, X: Any, y: Any, sample_weight: Any
    ) -> tuple[Array, Float[np.ndarray, "N K"], Any, float]:
        X, t = self._checked_X(X), self.encode(y)
        if X.shape[0] != t.shape[0]:
            raise ValueError(f"X has {X.shape[0]} row(s) and y has {t.shape[0]}; they must agree.")
        w = None if sample_weight is None else checked_weights(sample_weight, X)
        return X, t, *self.scales(t.shape[0], w)

    def scales(self, N: int, w: Float[np.ndarray, " N"] | None) -> tuple[Any, float]:
        """The `weights` and λ that turn the derivation's sum into this network's reduction."""
        total = float(N) if w is None else float(w.sum())
        return scaled(self.reduction, self.l2, 1.0 if w is None else w[:, None], total)

    # ------------------------------------------------------------ description

    def config(self) -> dict[str, Any]:
        """Everything but the numbers in θ, as JSON-able values.

        Examples
        --------
        >>> import deltaprop as dp
        >>> dp.Network(1, [dp.Dense(1)], loss="huber").config()["loss"]
        {'name': 'huber', 'params': {'delta': 1.0}}
        """
        return {
            "n_features": self.n_features,
            "layers": [
                {
                    "units": layer.units,
                    "activation": layer.activation.name,
                    "dropout": layer.dropout,
                }
                for layer in self.layers
            ],
            "loss": {"name": self.loss_function.name, "params": self.loss_function.settings},
            "l2": self.l2,
            "reduction": self.reduction,
            "dtype": self.dtype.name,
            "init": self.init,
        }

    @classmethod
    def from_config(
        cls, config: Mapping[str, Any], custom: Mapping[str, Activation | Loss] | None = None
    ) -> Network:
        """The network that `config` describes, with all parameters zero.

        Parameters
        ----------
        config : mapping
            What :meth:`config` returned.
        custom : mapping of name to Activation or Loss, optional
            The user's own functions, which a description can only name.
        """
        custom = custom or {}
        spec = config["loss"]
        own_loss = custom.get(spec["name"])
        net = cls(
            config["n_features"],
            [
                Dense(
                    layer["units"],
                    cast(Activation, custom.get(layer["activation"], layer["activation"])),
                    layer["dropout"],
                )
                for layer in config["layers"]
            ],
            loss=losses.get(spec["name"], **spec["params"])
            if own_loss is None
            else cast(Loss, own_loss),
            l2=config["l2"],
            reduction=config["reduction"],
            dtype=config["dtype"],
            init=config["init"],
            seed=0,
        )
        net.theta[...] = 0
        return net

    def copy(self) -> Network:
        """An independent network with the same parameters.

        Examples
        --------
        >>> import deltaprop as dp
        >>> net = dp.Network(1, [dp.Dense(1)], loss="squared_error", seed=0)
        >>> twin = net.copy()
        >>> twin.theta[...] = 0
        >>> bool(net.theta.any())
        True
        """
        twin = object.__new__(Network)
        twin.__setstate__(self.__getstate__())
        return twin

    def __getstate__(self) -> dict[str, Any]:
        state = {k: v for k, v in self.__dict__.items() if k not in ("W", "b", "_theta", "_few")}
        return state | {"_theta": self._theta.copy()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        theta = state.pop("_theta")
        self.__dict__.update(state)
        self._bind(theta)

    def __repr__(self) -> str:
        chain = " → ".join(
            [str(self.n_features)] + [f"{d.units} {d.activation.name}" for d in self.layers]
        )
        return (
            f"Network({chain}, loss={self.loss_function.name!r}, l2={self.l2:g}, "
            f"reduction={self.reduction!r}, {self._theta.size} parameters)"
        )

    def _repr_html_(self) -> str:
        from deltaprop.explain.summary import layer_table

        return layer_table(self)


def scaled(reduction: str, l2: float, column: Any, total: Any) -> tuple[Any, Any]:
    """The `weights` and λ of a reduction, for samples of these weights and their sum."""
    if reduction == "sum":
        return column, l2
    return column / total, l2 / total if reduction == "sklearn" else l2


def checked_weights(sample_weight: Any, X: Num[Array, "N D"]) -> Float[np.ndarray, " N"]:
    """`sample_weight` as an (N,) array of non-negative numbers that are not all zero."""
    from sklearn.utils.validation import _check_sample_weight

    w: np.ndarray = _check_sample_weight(sample_weight, X, dtype=X.dtype, ensure_non_negative=True)
    if not w.any():
        raise ValueError("sample_weight is zero for every sample; at least one must be > 0.")
    return w


def _all_finite(X: Num[np.ndarray, "N D"]) -> bool:
    rows = max(1, 1_000_000 // max(1, X.shape[1]))
    return all(np.isfinite(X[at : at + rows]).all() for at in range(0, len(X), rows))


def _positive_int(name: str, value: Any) -> int:
    if not isinstance(value, Integral) or isinstance(value, bool) or value < 1:
        raise ValueError(f"{name} must be an int >= 1, got {value!r}.")
    return int(value)


def _one_of(name: str, value: Any, allowed: tuple[str, ...]) -> str:
    if value not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(allowed)}; got {value!r}.")
    return cast(str, value)


def _checked_layers(layers: Iterable[Dense]) -> tuple[Dense, ...]:
    checked = tuple(layers) if isinstance(layers, Iterable) else ()
    if not checked or not all(isinstance(layer, Dense) for layer in checked):
        raise TypeError(
            f"layers must be one or more deltaprop.Dense, got {layers!r}. "
            "Write, for example, [dp.Dense(10, 'tanh'), dp.Dense(1)]."
        )
    return checked


def _checked_dtype(dtype: Any) -> np.dtype:
    try:
        checked: np.dtype | None = np.dtype(dtype)
    except TypeError:
        checked = None
    if checked is None or checked not in (np.dtype("float32"), np.dtype("float64")):
        raise ValueError(f"dtype must be 'float32' or 'float64', got {dtype!r}.")
    return checked


__all__ = ["Dense", "Gradient", "Layout", "Network", "Trace"]
