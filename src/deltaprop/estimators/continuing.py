"""The parameters of a fitted network in one whose layers may scale their inputs differently.

Which layers have r_l depends on the parameters of the estimator, such as `solver` and
`input_scale`, which may change before training continues.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from deltaprop.model import Model

if TYPE_CHECKING:
    from jaxtyping import Float


def fits(net: Model, fitted: Model) -> bool:
    """Whether each parameter of `fitted`, whose layers have as many units, has a place in `net`.

    Examples
    --------
    >>> import deltaprop as dp
    >>> first, other = dp.Periodic(2, [0], 4), dp.Periodic(2, [1], 4)
    >>> one, two = (dp.Network(2, [l, dp.Dense(1)], loss="huber") for l in (first, other))
    >>> fits(one, one), fits(one, two)
    (True, False)
    """
    new, old = net.layout, fitted.layout
    return new.grouped == old.grouped and {*old.mixed} <= {*new.mixed}


def take_over(
    net: Model, W: Sequence[Float[np.ndarray, "D H"]], b: Sequence[Float[np.ndarray, " H"]],
    fitted: Model | None,
) -> None:  # fmt: skip
    """Set the parameters of `net` so that it computes what `fitted` computes with these W and b.

    W_l becomes diag(r_l) W_l where `net` has no r_l. An r_l or α_l that `fitted` does not have is
    1; without `fitted`, they stay as they are.

    Examples
    --------
    >>> import deltaprop as dp
    >>> scaled, plain = (
    ...     dp.Network(2, [dp.Dense(1, input_scale=scale)], loss="huber") for scale in (True, False)
    ... )
    >>> scaled.r[0][...] = [2.0, 0.5]
    >>> take_over(plain, scaled.W, scaled.b, scaled)
    >>> bool((plain.predict([[3.0, 4.0]]) == scaled.predict([[3.0, 4.0]])).all())
    True
    """
    for l in range(net.n_layers):
        net.W[l][...], net.b[l][...] = W[l], b[l]
        if fitted is None:
            continue
        r, old_r, alpha, old_alpha = net.r[l], fitted.r[l], net.alpha[l], fitted.alpha[l]
        if r is not None:
            r[...] = 1 if old_r is None else old_r
        elif old_r is not None:
            net.W[l][...] *= old_r[:, None]
        if alpha is not None:
            alpha[...] = 1 if old_alpha is None else old_alpha
