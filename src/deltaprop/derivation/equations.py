r"""The derivation as code: pure functions, one for each group of the document's equations.

Layers are l = 0 … L-1, X_0 is the input and X_L = ŷ. W_l belongs to a_l and to δ_l, which is the
reading of the indices under which all of the document's equations agree:

======================================  =====================  ==================
a_l = X_l W_l + b_l, X_{l+1} = f_l(a_l)  (1.1), (1.2)           :func:`forward`
L = Σ_n Σ_h loss(y, ŷ) + λ/2 Σ_l ‖W_l‖²  (1.3), L2 section      :func:`loss`
δ_{L-1} = loss′(y, ŷ) ⊙ f′(a_{L-1})      (1.8)                  :func:`output_error`
δ_{l-1} = f′(a_{l-1}) ⊙ (δ_l W_lᵀ)       (1.9) and below        :func:`error_signals`
∂L/∂W_l = X_lᵀ δ_l + λ W_l               (1.4)-(1.7), L2        :func:`gradients`
∂L/∂b_l = Σ_n δ_l                        bias section           :func:`gradients`
‖∂L_n/∂θ‖ of each sample n               from (1.4)-(1.7)       :func:`sample_norms`
======================================  =====================  ==================

A layer may have two further trainable vectors, r_l and α_l: a_l = (X_l ⊙ r_l) W_l + b_l and
X_{l+1} = a_l + α_l ⊙ (f_l(a_l) - a_l). Such a layer is one of the form above, with the weights and
the activation that :func:`in_effect` gives, so that all functions also compute it. Only its
gradients differ: :func:`gradients_of_vectors`. In a layer with groups, only the weights between the
inputs and the units of a group exist: a_l = X_l (C_l ⊙ W_l) + b_l with a constant C_l of 0 and 1.

Arrays may come from NumPy, JAX or any other array API library; the namespace is taken from them.
X_0 may be a SciPy sparse matrix. There is no state and no I/O.

Examples
--------
>>> import numpy as np
>>> from deltaprop import activations, equations, losses
>>> X0, t = np.array([[1.0], [2.0]]), np.array([[3.0], [6.0]])
>>> W, b, f = [np.array([[2.0]])], [np.array([1.0])], [activations.get("identity")]
>>> X, a = equations.forward(X0, W, b, f)
>>> X[1].ravel()
array([3., 5.])
>>> squared_error = losses.get("squared_error")
>>> float(equations.loss(t, a[0], X[1], W, f[0], squared_error, l2=1.0))
2.5
>>> delta = equations.output_error(t, a[0], X[1], f[0], squared_error)
>>> dW, db = equations.gradients(X, equations.error_signals(delta, X, a, W, f), W, l2=1.0)
>>> dW[0], db[0]
(array([[0.]]), array([-1.]))

Averaging instead of summing, and sample weights, enter as `weights`: a number or an (N, 1) column
by which the loss of every sample, and with it its row of δ, is multiplied. Dropout enters as
`masks`: the output of layer l is multiplied by masks[l], an array of 0 and 1/(1-p), unless it is
None.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import ModuleType
from typing import TYPE_CHECKING, NamedTuple

from deltaprop.functions.activations import Activation, mixed
from deltaprop.functions.arrays import Array, namespace
from deltaprop.functions.losses import Loss

if TYPE_CHECKING:
    from jaxtyping import Float

    Weights = Float[Array, "N 1"] | float

Masks = Sequence[Array | None]
Samples = Callable[[Sequence[Array], Sequence[Array]], tuple[Sequence[Array], Sequence[Array]]]


class Vectors(NamedTuple):
    """What layers have besides W_l and b_l, or the gradients; None in layers without them.

    Attributes
    ----------
    r : sequence of (D_l,) arrays or None
        The factor of each input.
    alpha : sequence of (H_l,) arrays or None
        How much of f_l each unit uses.
    connected : sequence of (D_l, H_l) arrays or None
        C_l, a constant: 1 where a unit is connected with an input, 0 elsewhere.
    """

    r: Sequence[Array | None] = ()
    alpha: Sequence[Array | None] = ()
    connected: Sequence[Array | None] = ()

    def __bool__(self) -> bool:
        """Whether any layer has one of them."""
        return any(part is not None for part in (*self.r, *self.alpha, *self.connected))


NO_VECTORS = Vectors()


class Pass(NamedTuple):
    """Every quantity of one forward and backward pass, with the names of the derivation.

    `vectors` contains ∂L/∂r_l and ∂L/∂α_l.
    """

    X: list[Array]
    a: list[Array]
    delta: list[Array]
    dW: list[Array]
    db: list[Array]
    loss: Float[Array, ""]
    vectors: Vectors = NO_VECTORS


def forward_backward(
    X0: Float[Array, "N D"],
    t: Float[Array, "N K"],
    W: Sequence[Float[Array, "D H"]],
    b: Sequence[Float[Array, " H"]],
    f: Sequence[Activation],
    function: Loss,
    l2: float = 0.0,
    weights: Weights = 1.0,
    masks: Masks | None = None,
    samples: Samples | None = None,
    vectors: Vectors = NO_VECTORS,
) -> Pass:
    """One forward and backward pass: X, a, the loss, the error signals and the gradients.

    `samples`, if given, maps (X, δ) to the (X, δ) from which the gradients are computed, for
    example to clip the gradient of each sample.
    """
    V, phi = in_effect(W, f, vectors)
    X, a = forward(X0, V, b, phi, masks)
    L = loss(t, a[-1], X[-1], W, f[-1], function, l2, weights)
    delta_last = output_error(t, a[-1], X[-1], f[-1], function, weights)
    delta = error_signals(delta_last, X, a, V, phi, masks)
    used, signals = samples(X, delta) if samples else (X, delta)
    if not vectors:
        return Pass(X, a, delta, *gradients(used, signals, W, l2), L, vectors)
    dV, db = gradients(used, signals, V)
    dW = through_scales(dV, W, vectors, l2)
    return Pass(X, a, delta, dW, db, L, gradients_of_vectors(dV, a, signals, W, f, vectors, masks))


def in_effect(
    W: Sequence[Float[Array, "D H"]], f: Sequence[Activation], vectors: Vectors
) -> tuple[Sequence[Array], Sequence[Activation]]:
    """V_l and φ_l with which a layer with r_l and α_l has the form a_l = X_l V_l + b_l, φ_l(a_l).

    V_l = diag(r_l) (C_l ⊙ W_l), because (X_l ⊙ r_l) W_l = X_l diag(r_l) W_l, and
    φ_l(a) = a + α_l ⊙ (f_l(a) - a).

    Examples
    --------
    >>> import numpy as np
    >>> from deltaprop import activations, equations
    >>> vectors = equations.Vectors([np.array([2.0])], [None])
    >>> V, phi = equations.in_effect([np.ones((1, 2))], [activations.get("tanh")], vectors)
    >>> V[0], phi[0]
    (array([[2., 2.]]), Activation('tanh'))
    """
    if not vectors:
        return W, f
    own = existing(W, vectors)
    V = [W_l if r is None else r[:, None] * W_l for W_l, r in zip(own, vectors.r, strict=True)]
    phi = [
        f_l if alpha is None else mixed(f_l, alpha)
        for f_l, alpha in zip(f, vectors.alpha, strict=True)
    ]
    return V, phi


def existing(W: Sequence[Float[Array, "D H"]], vectors: Vectors) -> list[Array]:
    """C_l ⊙ W_l, or W_l in layers without groups; likewise for gradients."""
    C = vectors.connected or [None] * len(W)
    return [W_l if C_l is None else C_l * W_l for W_l, C_l in zip(W, C, strict=True)]


def forward(
    X0: Float[Array, "N D"],
    W: Sequence[Float[Array, "D H"]],
    b: Sequence[Float[Array, " H"]],
    f: Sequence[Activation],
    masks: Masks | None = None,
) -> tuple[list[Array], list[Array]]:
    """a_l = X_l W_l + b_l and X_{l+1} = f_l(a_l), equations (1.1) and (1.2).

    Returns
    -------
    X : list of L + 1 arrays
        The input of each layer; ``X[L]`` is ŷ.
    a : list of L arrays
        The input of each activation.
    """
    xp = namespace(W[0])
    X, a = [X0], []
    for l in range(len(W)):
        a.append(X[l] @ W[l] + b[l])
        X.append(_dropped(f[l].f(a[l], xp), l, masks))
    return X, a


def loss(
    t: Float[Array, "N K"],
    a_last: Float[Array, "N H"],
    yhat: Float[Array, "N H"],
    W: Sequence[Float[Array, "D H"]],
    f_last: Activation,
    function: Loss,
    l2: float = 0.0,
    weights: Weights = 1.0,
) -> Array:
    """L = Σ_n Σ_h loss(y, ŷ) + λ/2 Σ_l ‖W_l‖², equation (1.3) and the L2 section."""
    xp = namespace(yhat)
    L = xp.sum(weights * _summands(t, a_last, yhat, f_last, function, xp))
    return L + penalty(W, l2) if l2 else L


def penalty(W: Sequence[Float[Array, "D H"]], l2: float) -> Array:
    """λ/2 Σ_l ‖W_l‖²; biases are never penalised."""
    xp = namespace(W[0])
    return 0.5 * l2 * sum(xp.sum(W_l * W_l) for W_l in W)


def sample_losses(
    t: Float[Array, "N K"],
    a_last: Float[Array, "N H"],
    yhat: Float[Array, "N H"],
    f_last: Activation,
    function: Loss,
) -> Float[Array, " N"]:
    """Σ_h loss(y, ŷ) of each sample: equation (1.3) before the sum over n."""
    xp = namespace(yhat)
    return xp.sum(_summands(t, a_last, yhat, f_last, function, xp), axis=1)


def output_error(
    t: Float[Array, "N K"],
    a_last: Float[Array, "N H"],
    yhat: Float[Array, "N H"],
    f_last: Activation,
    function: Loss,
    weights: Weights = 1.0,
) -> Float[Array, "N H"]:
    """δ_{L-1} = loss′(y, ŷ) ⊙ f′(a_{L-1}), equation (1.8), or its collapsed form."""
    xp = namespace(yhat)
    closed = function.closed_form(f_last.name)
    if closed is not None:
        delta = closed.delta(t, a_last, yhat, xp)
    else:
        delta = f_last.pull_back(a_last, yhat, function.first(t, yhat, xp), xp)
    return weights * delta


def error_signals(
    delta_last: Float[Array, "N H"],
    X: Sequence[Array],
    a: Sequence[Array],
    W: Sequence[Float[Array, "D H"]],
    f: Sequence[Activation],
    masks: Masks | None = None,
) -> list[Array]:
    """δ_{l-1} = f′_{l-1}(a_{l-1}) ⊙ (δ_l W_lᵀ), equation (1.9) and the one below it."""
    xp = namespace(delta_last)
    delta = [delta_last]
    for l in range(len(W) - 1, 0, -1):
        g = _dropped(delta[0] @ W[l].T, l - 1, masks)
        z = X[l] if masks is None or masks[l - 1] is None else f[l - 1].f(a[l - 1], xp)
        delta.insert(0, f[l - 1].pull_back(a[l - 1], z, g, xp))
    return delta


def gradients(
    X: Sequence[Array],
    delta: Sequence[Array],
    W: Sequence[Float[Array, "D H"]],
    l2: float = 0.0,
) -> tuple[list[Array], list[Array]]:
    """∂L/∂W_l = X_lᵀ δ_l + λ W_l (1.4)-(1.7) with L2, and ∂L/∂b_l = Σ_n δ_l."""
    xp = namespace(delta[0])
    dW = [X[l].T @ delta[l] for l in range(len(W))]
    if l2:
        dW = [dW[l] + l2 * W[l] for l in range(len(W))]
    db = [xp.sum(delta[l], axis=0) for l in range(len(W))]
    return dW, db


def through_scales(
    dV: Sequence[Float[Array, "D H"]],
    W: Sequence[Float[Array, "D H"]],
    vectors: Vectors,
    l2: float = 0.0,
) -> list[Array]:
    """∂L/∂W_l = C_l ⊙ ((X_l ⊙ r_l)ᵀ δ_l) + λ W_l from ∂L/∂V_l = X_lᵀ δ_l.

    Row d is multiplied by r_d, and entries of weights that do not exist become 0.
    """
    own = existing(dV, vectors)
    dW = [dV_l if r is None else r[:, None] * dV_l for dV_l, r in zip(own, vectors.r, strict=True)]
    return [dW_l + l2 * W_l for dW_l, W_l in zip(dW, W, strict=True)] if l2 else dW


def gradients_of_vectors(
    dV: Sequence[Float[Array, "D H"]],
    a: Sequence[Array],
    delta: Sequence[Array],
    W: Sequence[Float[Array, "D H"]],
    f: Sequence[Activation],
    vectors: Vectors,
    masks: Masks | None = None,
) -> Vectors:
    """∂L/∂r_l = Σ_n X_l ⊙ (δ_l W_lᵀ) and ∂L/∂α_l = Σ_n ∂L/∂X_{l+1} ⊙ (f_l(a_l) - a_l).

    The first sum is computed as Σ_h W_l ⊙ (X_lᵀ δ_l), from `dV`: its terms are the same,
    X_nd W_dh δ_nh, but there is no array of the size of X_l, which may be sparse.
    """
    xp = namespace(delta[0])
    W = existing(W, vectors)
    V, _ = in_effect(W, f, Vectors(vectors.r, [None] * len(f)))
    dr: list[Array | None] = []
    dalpha: list[Array | None] = []
    for l, (r, alpha) in enumerate(zip(vectors.r, vectors.alpha, strict=True)):
        dr.append(None if r is None else xp.sum(W[l] * dV[l], axis=1))
        if alpha is None:
            dalpha.append(None)
            continue
        g = _dropped(delta[l + 1] @ V[l + 1].T, l, masks)
        dalpha.append(xp.sum(g * (f[l].f(a[l], xp) - a[l]), axis=0))
    return Vectors(dr, dalpha)


def sample_norms(
    X: Sequence[Array],
    delta: Sequence[Array],
    further: Sequence[Array] = (),
    connected: Sequence[Array | None] = (),
) -> Float[Array, " N"]:
    """‖∂L_n/∂θ‖ of each sample: the root of Σ_l (‖X_{l,n}‖² + 1) ‖δ_{l,n}‖².

    The contribution of a sample to X_lᵀ δ_l has rank one, so its norm is a product of two norms.
    The 1 is the input of the bias. Goodfellow (2015), "Efficient per-example gradient
    computations".

    In layers with r_l, `X` contains X_l ⊙ r_l. `further` contains the gradients of the vectors for
    each sample: :func:`sample_gradients_of_vectors`. In layers with groups, the root is that of
    Σ_h ((X_{l,n} ⊙ X_{l,n}) C_l + 1)_h δ²_{l,nh}: each unit has its own inputs.
    """
    xp = namespace(delta[0])
    one, C = xp.ones_like(delta[0][:, 0]), connected or [None] * len(delta)
    norms = [
        xp.hypot(_norms(X[l], xp), one) * _norms(delta[l], xp)
        if C_l is None
        else xp.sqrt(xp.sum((_scaled(X[l], X[l]) @ C_l + 1) * (delta[l] * delta[l]), axis=1))
        for l, C_l in enumerate(C)
    ]
    norms += [_norms(rows, xp) for rows in further]
    return _norms(xp.stack(norms, axis=1), xp)


def sample_gradients(
    X0: Float[Array, "N D"],
    t: Float[Array, "N K"],
    W: Sequence[Float[Array, "D H"]],
    b: Sequence[Float[Array, " H"]],
    f: Sequence[Activation],
    function: Loss,
    vectors: Vectors = NO_VECTORS,
) -> tuple[list[Array], list[Array], list[Array], Sequence[Array | None]]:
    """What the gradient of each sample consists of: the arguments of :func:`sample_norms`."""
    V, phi = in_effect(W, f, vectors)
    X, a = forward(X0, V, b, phi)
    delta = error_signals(output_error(t, a[-1], X[-1], f[-1], function), X, a, V, phi)
    further = sample_gradients_of_vectors(X, a, delta, W, f, vectors)
    return scaled_inputs(X, vectors), delta, further, vectors.connected


def sample_gradients_of_vectors(
    X: Sequence[Array],
    a: Sequence[Array],
    delta: Sequence[Array],
    W: Sequence[Float[Array, "D H"]],
    f: Sequence[Activation],
    vectors: Vectors,
) -> list[Float[Array, "N K"]]:
    """X_l ⊙ (δ_l W_lᵀ) and ∂L/∂X_{l+1} ⊙ (f_l(a_l) - a_l): the gradients before the sum over n."""
    xp = namespace(delta[0])
    W = existing(W, vectors)
    V, _ = in_effect(W, f, Vectors(vectors.r, [None] * len(f)))
    rows: list[Array] = []
    for l, (r, alpha) in enumerate(zip(vectors.r, vectors.alpha, strict=True)):
        if r is not None:
            rows.append(_scaled(X[l], delta[l] @ W[l].T))
        if alpha is not None:
            rows.append((delta[l + 1] @ V[l + 1].T) * (f[l].f(a[l], xp) - a[l]))
    return rows


def scaled_inputs(X: Sequence[Array], vectors: Vectors) -> list[Array]:
    """X_l ⊙ r_l, and X_l in layers without r_l."""
    scaled = [X_l if r is None else _scaled(X_l, r) for X_l, r in zip(X, vectors.r, strict=False)]
    return [*scaled, *X[len(scaled) :]]


def _scaled(X: Float[Array, "N D"], factors: Float[Array, "..."]) -> Float[Array, "N D"]:
    return X.multiply(factors).tocsr() if hasattr(X, "multiply") else X * factors


def _norms(rows: Float[Array, "N D"], xp: ModuleType) -> Float[Array, " N"]:
    """The norm of each row, also if the squares of its entries would overflow or underflow."""
    if hasattr(rows, "tocsr"):
        return _norms_of_sparse(rows, xp)
    largest = xp.max(xp.abs(rows), axis=1)
    scale = xp.where(largest > 0, largest, xp.ones_like(largest))
    parts = rows / scale[:, None]
    return scale * xp.sqrt(xp.sum(parts * parts, axis=1))


def _norms_of_sparse(rows: Float[Array, "N D"], xp: ModuleType) -> Float[Array, " N"]:
    wide = rows.astype("float64")
    largest = xp.reshape(abs(wide).max(axis=1).toarray(), (-1,))
    scale = xp.maximum(largest, xp.finfo(wide.dtype).smallest_normal)  # 1 / scale is finite
    parts = wide.multiply(1 / scale[:, None])
    squares = xp.reshape(xp.asarray(parts.multiply(parts).sum(axis=1)), (-1,))
    return xp.astype(scale * xp.sqrt(squares), rows.dtype)


def _summands(
    t: Float[Array, "N K"],
    a: Float[Array, "N H"],
    z: Float[Array, "N H"],
    f: Activation,
    function: Loss,
    xp: ModuleType,
) -> Float[Array, "N M"]:
    closed = function.closed_form(f.name)
    if closed is not None:
        return closed.value(t, a, z, xp)
    return function.evaluate(t, z, xp)


def _dropped(X: Float[Array, "N H"], l: int, masks: Masks | None) -> Float[Array, "N H"]:
    return X if masks is None or masks[l] is None else X * masks[l]
