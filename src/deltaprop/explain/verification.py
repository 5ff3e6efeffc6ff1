"""``net.check()``: verify each equation of a network on data, by an independent computation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from deltaprop.explain.causes import with_causes
from deltaprop.explain.checks import check_all
from deltaprop.explain.setting import setting_of
from deltaprop.explain.verdicts import Equation, Verification

if TYPE_CHECKING:
    from deltaprop.model import Model


def verify(net: Model, X: Any, y: Any, sample_weight: Any = None) -> Verification:
    """Verify f′, f″, loss′, loss″, every δ_l, ∂W_l, ∂b_l and the penalty numerically on (X, y).

    Parameters
    ----------
    net : Network
    X, y, sample_weight
        As for :meth:`Network.loss`; at most 100 evenly spaced rows are used.

    Returns
    -------
    Verification
        Whether all equations hold (``.ok``), and a row for each (``.rows``); ``str`` gives a table.
        Up to 2000 entries of each W_l are perturbed one at a time; the method of the row states
        their number if there are more.

    Notes
    -----
    The computation runs in float64 whatever the dtype of the network, because it concerns the
    equations and not rounding. At a corner any slope between the two sides is accepted; jumps and
    poles are skipped.

    Examples
    --------
    >>> import deltaprop as dp
    >>> from deltaprop.inspect import verify
    >>> net = dp.Network(2, [dp.Dense(2, "tanh"), dp.Dense(1)], loss="huber", seed=0)
    >>> [row.equation for row in verify(net, [[1.0, 2.0]], [0.5]).rows][:3]
    ['a_0 = X_0 W_0 + b_0', 'tanh′ at a_0', 'tanh″ at a_0']
    """
    from threadpoolctl import threadpool_limits

    setting = setting_of(net, X, y, sample_weight)
    # Threads would only slow down thousands of tiny products.
    with threadpool_limits(1), np.errstate(all="ignore"):
        return Verification(with_causes(setting, list(check_all(setting))))


__all__ = ["Equation", "Verification", "verify"]
