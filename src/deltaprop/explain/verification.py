"""``net.check()``: verify each equation of a network on data, by an independent computation."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from deltaprop.explain.causes import with_causes
from deltaprop.explain.check_setup import MAX_ENTRIES, setting_of
from deltaprop.explain.checks import Row, check_all
from deltaprop.explain.verdicts import Equation, Verification

if TYPE_CHECKING:
    from deltaprop.model import Model


QUIET = 1.0  # seconds before a terminal shows the progress


def verify(
    net: Model, X: Any, y: Any, sample_weight: Any = None, *, most_entries: int = MAX_ENTRIES
) -> Verification:
    """Verify f′, f″, loss′, loss″, every δ_l, ∂W_l, ∂b_l and the penalty numerically on (X, y).

    Parameters
    ----------
    net : Network
    X, y, sample_weight
        As for :meth:`Network.loss`; at most 100 evenly spaced rows are used.
    most_entries : int, default=2000
        Of each W_l, at most this many entries are perturbed, one at a time. If there are more, the
        method of the row states their number.

    Returns
    -------
    Verification
        Whether all equations hold (``.ok``), and a row for each (``.rows``); ``str`` gives a table.

    Notes
    -----
    The computation runs in float64 whatever the dtype of the network, because it concerns the
    equations and not rounding. At a corner any slope between the two sides is accepted; jumps and
    poles are skipped. Entries of a W_l are perturbed many at a time, each in a copy of the sums of
    its layer. A verification that takes longer than a second shows its progress on a terminal.

    Examples
    --------
    >>> import deltaprop as dp
    >>> from deltaprop.inspect import verify
    >>> net = dp.Network(2, [dp.Dense(2, "tanh"), dp.Dense(1)], loss="huber", seed=0)
    >>> [row.equation for row in verify(net, [[1.0, 2.0]], [0.5]).rows][:3]
    ['a_0 = X_0 W_0 + b_0', 'tanh′ at a_0', 'tanh″ at a_0']
    """
    from threadpoolctl import threadpool_limits

    setting = replace(setting_of(net, X, y, sample_weight), most_entries=most_entries)
    # Threads would only slow down thousands of tiny products.
    with threadpool_limits(1), np.errstate(all="ignore"):
        return Verification(with_causes(setting, list(_with_progress(check_all(setting)))))


def _with_progress(rows: Iterator[Row]) -> Iterator[Row]:
    """Pass rows on; if they take longer than a second, a terminal shows how many are done."""
    started, shown, terminal = time.monotonic(), False, sys.stderr
    for count, row in enumerate(rows, 1):
        yield row
        if time.monotonic() - started > QUIET and terminal.isatty():
            shown = True
            terminal.write(f"\r\033[K{count} equations verified, the last: {row[2].equation}")
            terminal.flush()
    if shown:
        terminal.write("\r\033[K")


def verify_members(
    networks: Sequence[Model], X: Any, y: Any, sample_weight: Any = None
) -> Verification:
    """Verify the equations of the members of an ensemble, in the time that one network takes.

    Parameters
    ----------
    networks : sequence of Network
    X, y, sample_weight
        As for :func:`verify`.

    Returns
    -------
    Verification
        For each equation, the row of the network for which it is furthest from holding. Fewer
        entries of each W_l are perturbed than for a single network.
    """
    n = len(networks)
    if n == 1:
        return verify(networks[0], X, y, sample_weight)
    return Verification.worst_of({
        f"members_[{i}]": verify(
            network, X, y, sample_weight, most_entries=-(-MAX_ENTRIES // n)
        )
        for i, network in enumerate(networks)
    })  # fmt: skip


__all__ = ["Equation", "Verification", "verify", "verify_members"]
