r"""The model: layers, a loss, and the vector θ, with trace, loss and gradient.

:class:`Model` contains no optimizer, no engine and no code that displays; the modules that do
import it. Users work with its subclass :class:`deltaprop.Network`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from numbers import Real
from typing import TYPE_CHECKING, Any, Self, cast

import numpy as np

from deltaprop.derivation import equations
from deltaprop.errors import InputError, warn
from deltaprop.functions import initializers, losses
from deltaprop.functions.activations import Activation
from deltaprop.functions.arrays import Array, as_dtype
from deltaprop.functions.losses import Loss
from deltaprop.model.inputs import check_weights, check_X, check_X_y, check_y
from deltaprop.model.layers import Dense, Periodic, check_layers, check_positive_int
from deltaprop.model.outputs import doubt
from deltaprop.model.parameters import Gradient, Layout
from deltaprop.model.reduction import REDUCTIONS, scaled
from deltaprop.model.trace import Trace

if TYPE_CHECKING:
    from jaxtyping import Float, Num

BLOCK = 4_000_000  # numbers in all X_l of a block of rows: tens of megabytes


class Model:
    """A fully connected network and its loss: L(θ) and ∂L/∂θ in closed form.

    The parameters and attributes are those of :class:`deltaprop.Network`.
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
    vectors: equations.Vectors

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
        self.n_features = check_positive_int("n_features", n_features)
        self.layers = check_layers(self.n_features, layers)
        self.loss_function = losses.get(loss)
        if not isinstance(l2, Real) or not 0 <= float(l2) < float("inf"):
            raise InputError(f"l2 must be a finite number >= 0, got {l2!r}.")
        self.l2 = float(l2)
        self.reduction = _one_of("reduction", reduction, REDUCTIONS)
        self.dtype = _checked_dtype(dtype)
        self.init = _one_of("init", init, initializers.NAMES)
        self._bind(np.zeros(self.layout.size, dtype=self.dtype))
        self.initialize(seed)
        reason = doubt(self.loss_function, self.f[-1], self.n_outputs)
        if reason is not None:
            warn(f"The {reason}")

    def initialize(self, seed: int | np.random.RandomState | None = None, X: Any = None) -> Self:
        """Draw new weights in place and return the network itself.

        Parameters
        ----------
        seed : int, RandomState or None, default=None
        X : array-like or SciPy sparse matrix (N, D), optional
            Rows on which the sums of all units are to have a variance of 1: the weights of each
            unit are divided by the standard deviation of its sums, layer after layer. Those of
            :class:`deltaprop.Periodic` layers stay as they are.

        References
        ----------
        Holzmüller, Grinsztajn and Steinwart (2024), arXiv:2407.04491, section 3, for the use of X.

        Examples
        --------
        >>> import deltaprop as dp
        >>> net = dp.Network(1, [dp.Dense(1)], loss="squared_error", init="orthogonal")
        >>> float(abs(net.initialize(0).W[0][0, 0]))
        1.0
        """
        rng = initializers.random_state(seed)
        for l, layer in enumerate(self.layers):
            # As in scikit-learn, the hidden activation determines the scale of every layer.
            hidden = self.layers[max(0, min(l, self.n_layers - 2))].activation.name
            r, alpha = self.r[l], self.alpha[l]
            self.W[l][...], self.b[l][...], start = layer.draw(
                self.init, rng, len(self.W[l]), hidden
            )
            if r is not None:
                r[...] = 1
            if alpha is not None:
                alpha[...] = start
        if X is not None:
            self._standardize_sums(check_X(self, X, narrow=False))
        return self

    def _standardize_sums(self, X_l: Float[Array, "N D"]) -> None:
        """Divide the weights of each unit by the standard deviation of its sums."""
        for l, layer in enumerate(self.layers):
            one = slice(l, l + 1)
            if not isinstance(layer, Periodic):
                V, _ = equations.in_effect(self.W, self.f, self.vectors)
                spread = np.std(X_l @ V[l], axis=0)
                self.W[l][...] /= np.where(spread > 0, spread, 1)
            V, phi = equations.in_effect(self.W, self.f, self.vectors)
            (_, X_l), _ = equations.forward(X_l, V[one], self.b[one], phi[one])

    # ------------------------------------------------------------ parameters

    def _bind(self, theta: Float[np.ndarray, " P"]) -> None:
        self._theta = theta
        pieces = self.layout.split(theta)
        self.W, self.b = self.layout.weights(pieces)
        self.vectors = self.layout.vectors_of(pieces)

    @property
    def layout(self) -> Layout:
        """The order of the parameters in θ."""
        return Layout.of(self.n_features, self.layers)

    @property
    def r(self) -> tuple[Float[np.ndarray, " D"] | None, ...]:
        """The factors of the inputs of each layer, as views into θ; None where there are none."""
        return cast("tuple[Float[np.ndarray, ' D'] | None, ...]", self.vectors.r)

    @property
    def alpha(self) -> tuple[Float[np.ndarray, " H"] | None, ...]:
        """α_l of each trainable activation, as views into θ; None in other layers."""
        return cast("tuple[Float[np.ndarray, ' H'] | None, ...]", self.vectors.alpha)

    @property
    def theta(self) -> Float[np.ndarray, " P"]:
        """All parameters as one vector; assigning to it copies the values into the network."""
        return self._theta

    @theta.setter
    def theta(self, values: Float[Array, " P"]) -> None:
        values = np.asarray(values)
        if values.shape != self._theta.shape:
            raise InputError(
                f"theta must have shape {self._theta.shape}, one number for each parameter; got "
                f"{values.shape}."
            )
        self._theta[...] = values

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

    @property
    def penalised(self) -> Float[np.ndarray, " P"]:
        """1 for each entry of W and 0 for all other parameters: those to which L2 applies."""
        penalised = np.zeros_like(self._theta)
        for W in self.layout.views(penalised)[0]:
            W[...] = 1
        return penalised

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
        X, t, weights, l2 = self.prepare(X, y, sample_weight)
        result = equations.forward_backward(
            X, t, self.W, self.b, self.f, self.loss_function, l2, weights, vectors=self.vectors
        )
        W = [W_l.copy() for W_l in self.W]
        r, alpha = (
            [None if v is None else v.copy() for v in each] for each in (self.r, self.alpha)
        )
        return Trace(
            result.X, result.a, result.delta, result.dW, result.db, float(result.loss), W, self.f,
            l2, r, alpha, list(result.vectors.r), list(result.vectors.alpha),
            self.vectors.connected,
        )  # fmt: skip

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
        X, t, weights, l2 = self.prepare(X, y, sample_weight)
        Xs, a = self.forward(X)
        return float(
            equations.loss(t, a[-1], Xs[-1], self.W, self.f[-1], self.loss_function, l2, weights)
        )

    def gradient(self, X: Any, y: Any, sample_weight: Any = None) -> Gradient:
        """∂L/∂θ, flat and as ∂L/∂W_l, ∂L/∂b_l, ∂L/∂r_l, ∂L/∂α_l. Arguments as in `trace`.

        Examples
        --------
        >>> import deltaprop as dp
        >>> net = dp.Network(1, [dp.Dense(1)], loss="squared_error")
        >>> net.theta = [2.0, 1.0]
        >>> g = net.gradient([[1.0], [2.0]], [3.0, 6.0])  # δ = 0, -1
        >>> g.flat, g.dW[0], g.db[0]
        (array([-2., -1.]), array([[-2.]]), array([-1.]))
        """
        X, t, weights, l2 = self.prepare(X, y, sample_weight)
        result = equations.forward_backward(
            X, t, self.W, self.b, self.f, self.loss_function, l2, weights, vectors=self.vectors
        )
        return self.as_gradient(Layout.flat(result.dW, result.db, result.vectors))

    def as_gradient(self, flat: Float[np.ndarray, " P"]) -> Gradient:
        """∂L/∂θ with views of its parts."""
        layout = self.layout
        vectors = layout.vectors(flat)
        return Gradient(flat, *layout.views(flat), tuple(vectors.r), tuple(vectors.alpha))

    def sample_norms(self, X: Any, y: Any) -> Float[np.ndarray, " N"]:
        """‖∂loss_n/∂θ‖ of each sample: how strongly it influences the gradient.

        loss_n is the loss of the sample alone: it is not divided by N and has neither a weight nor
        a penalty. Rows are processed in blocks, so that the memory needed does not grow with N.

        Examples
        --------
        >>> import deltaprop as dp
        >>> net = dp.Network(1, [dp.Dense(1)], loss="squared_error")
        >>> net.theta = [2.0, 1.0]
        >>> net.sample_norms([[0.0], [1.0]], [3.0, 3.0])  # δ = -2, 0
        array([2., 0.])
        """
        return self._sample_norms(*check_X_y(self, X, y))

    def _sample_norms(
        self, X: Num[Array, "N D"], y: Num[np.ndarray, "N ..."]
    ) -> Float[np.ndarray, " N"]:
        norms = np.empty(X.shape[0], self.dtype)
        for at in self.blocks(X.shape[0]):
            t = self.target(y[at])
            norms[at] = equations.sample_norms(
                *equations.sample_gradients(
                    as_dtype(X[at], self.dtype), t, self.W, self.b, self.f, self.loss_function,
                    self.vectors,
                )
            )  # fmt: skip
        return norms

    def mean_loss(
        self, X: Num[Array, "N D"], y: Num[np.ndarray, "N ..."], w: Float[np.ndarray, " N"] | None
    ) -> float:
        """The (weighted) mean loss of a sample, without the penalty.

        It is comparable between data sets of different sizes. The arguments must have been checked.
        """
        Xs, a = self.forward(as_dtype(X, self.dtype))
        sample_losses = equations.sample_losses(
            self.target(y), a[-1], Xs[-1], self.f[-1], self.loss_function
        )
        return float(np.average(sample_losses, weights=w))

    def forward(self, X: Float[Array, "N D"]) -> tuple[list[Array], list[Array]]:
        """X_l and a_l of checked rows: :func:`deltaprop.derivation.equations.forward`."""
        V, f = equations.in_effect(self.W, self.f, self.vectors)
        return equations.forward(X, V, self.b, f)

    def forward_backward(
        self,
        X: Num[Array, "N D"],
        t: Float[np.ndarray, "N K"],
        w: Float[np.ndarray, " N"] | None = None,
        share: float = 1.0,
        masks: equations.Masks | None = None,
    ) -> equations.Pass:
        """The equations on a batch of checked rows, which is the fraction `share` of all rows.

        With reduction "sum", λ is multiplied by `share`, so that the losses of the batches of an
        epoch add up to L.
        """
        weights, l2 = self.scales(X.shape[0], w)
        if self.reduction == "sum":
            l2 *= share
        return equations.forward_backward(
            as_dtype(X, self.dtype), t, self.W, self.b, self.f, self.loss_function, l2, weights,
            masks, vectors=self.vectors,
        )  # fmt: skip

    def without_last_activation(self) -> Model:
        """A model with the same θ, also when it changes, whose output is a_{L-1}; for predictions.

        Examples
        --------
        >>> import deltaprop as dp
        >>> net = dp.Network(1, [dp.Dense(1, "exp")], loss="poisson", seed=0)
        >>> inner = net.without_last_activation()
        >>> net.theta[...] = 2.0
        >>> inner.f[-1].name, inner.theta
        ('identity', array([2., 2.]))
        """
        twin = object.__new__(Model)
        twin.__dict__.update(self.__dict__)
        last = Dense(self.n_outputs, input_scale=self.layers[-1].input_scale)
        twin.layers = (*self.layers[:-1], last)
        twin.loss_function = losses.get("squared_error")
        return twin

    def on_basis(self, B: Float[Array, "K D"]) -> Model:
        """A model of the coordinates S of rows X_0 = S B, with the same outputs; for predictions.

        Its first weights are B diag(r_0) W_0, because X_0 W_0 = S (B W_0).

        Parameters
        ----------
        B : ndarray or CSR matrix (K, D)

        Examples
        --------
        >>> import deltaprop as dp
        >>> import numpy as np
        >>> net = dp.Network(2, [dp.Dense(1)], loss="squared_error")
        >>> net.theta = [1.0, 2.0, 0.5]
        >>> twin = net.on_basis(np.array([[1.0, 1.0], [1.0, 0.0], [0.0, 4.0]]))
        >>> twin.W[0].ravel()
        array([3., 1., 8.])
        """
        V, _ = equations.in_effect(self.W, self.f, self.vectors)
        twin = object.__new__(Model)
        twin.__dict__.update(self.__dict__)
        twin.n_features = B.shape[0]
        first = self.layers[0]  # of any kind: all of its weights are in W_0
        twin.layers = (
            Dense(first.units, first.activation, first.dropout,
                  trainable_activation=first.trainable_activation),
            *self.layers[1:],
        )  # fmt: skip
        W = ((B @ V[0].astype(np.float64)).astype(self.dtype), *self.W[1:])
        vectors = self.vectors._replace(r=(None, *self.r[1:]))
        twin._bind(Layout.flat(W, self.b, vectors))
        return twin

    # ------------------------------------------------------------ data

    def encode(self, y: Any) -> Float[np.ndarray, "N K"]:
        """Check y and return the encoded target t of the loss."""
        return self.target(check_y(self, y))

    def target(self, y: Num[np.ndarray, "N ..."]) -> Float[np.ndarray, "N K"]:
        """The encoded target t of the loss, for a y that has been checked."""
        t: np.ndarray = self.loss_function.target(y, self.n_outputs, self._theta, np)
        return t

    def prepare(
        self, X: Any, y: Any, sample_weight: Any = None
    ) -> tuple[Array, Float[np.ndarray, "N K"], Any, float]:
        """The checked X, the encoded t, and the weights and λ of :meth:`scales`."""
        X, y = check_X_y(self, X, y, narrow=False)
        w = check_weights(sample_weight, X)
        return X, self.target(y), *self.scales(len(y), w)

    def scales(self, N: int, w: Float[np.ndarray, " N"] | None) -> tuple[Any, float]:
        """The sample weights and the λ for which the equations compute L under the reduction."""
        total = float(N) if w is None else float(w.sum())
        return scaled(self.reduction, self.l2, 1.0 if w is None else w[:, None], total)

    def blocks(self, N: int) -> list[slice]:
        """N rows in blocks whose X_l together take tens of megabytes."""
        rows = max(1, BLOCK // (self.n_features + sum(layer.units for layer in self.layers)))
        return [slice(start, min(start + rows, N)) for start in range(0, N, rows)]

    # ------------------------------------------------------------ description

    def config(self) -> dict[str, Any]:
        """The description of the network without θ, as values that JSON can represent.

        Examples
        --------
        >>> import deltaprop as dp
        >>> dp.Network(1, [dp.Dense(1)], loss="huber").config()["loss"]
        {'name': 'huber', 'params': {'delta': 1.0}}
        """
        return {
            "n_features": self.n_features,
            "layers": [layer.config() for layer in self.layers],
            "loss": {"name": self.loss_function.name, "params": self.loss_function.settings},
            "l2": self.l2,
            "reduction": self.reduction,
            "dtype": self.dtype.name,
            "init": self.init,
        }

    @classmethod
    def from_config(
        cls, config: Mapping[str, Any], custom: Mapping[str, Activation | Loss] | None = None
    ) -> Self:
        """The network that `config` describes, with all parameters zero.

        Parameters
        ----------
        config : mapping
            What :meth:`config` returned.
        custom : mapping of name to Activation or Loss, optional
            Custom functions, which a configuration stores only by name.
        """
        custom = custom or {}
        spec = config["loss"]
        custom_loss = custom.get(spec["name"])
        net = cls(
            config["n_features"],
            [Dense.from_config(layer, custom) for layer in config["layers"]],
            loss=losses.get(spec["name"], **spec["params"])
            if custom_loss is None
            else cast(Loss, custom_loss),
            l2=config["l2"],
            reduction=config["reduction"],
            dtype=config["dtype"],
            init=config["init"],
            seed=0,
        )
        net.theta[...] = 0
        return net

    def copy(self) -> Self:
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
        twin = object.__new__(type(self))
        twin.__setstate__(self.__getstate__())
        return twin

    def __getstate__(self) -> dict[str, Any]:
        views = ("W", "b", "vectors", "_theta")
        state = {k: v for k, v in self.__dict__.items() if k not in views}
        return state | {"_theta": self._theta.copy()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        theta = state.pop("_theta")
        self.__dict__.update(state)
        self._bind(theta)

    def __repr__(self) -> str:
        chain = " → ".join([str(self.n_features)] + [layer.description for layer in self.layers])
        return (
            f"{type(self).__name__}({chain}, loss={self.loss_function.name!r}, l2={self.l2:g}, "
            f"reduction={self.reduction!r}, {self._theta.size} parameters)"
        )


def _one_of(name: str, value: Any, allowed: tuple[str, ...]) -> str:
    if value not in allowed:
        raise InputError(f"{name} must be one of {', '.join(allowed)}; got {value!r}.")
    return cast(str, value)


def _checked_dtype(dtype: Any) -> np.dtype:
    try:
        checked: np.dtype | None = np.dtype(dtype)
    except TypeError:
        checked = None
    if checked is None or checked not in (np.dtype("float32"), np.dtype("float64")):
        raise InputError(f"dtype must be 'float32' or 'float64', got {dtype!r}.")
    return checked
