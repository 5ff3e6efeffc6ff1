"""The contributions of columns to the predictions of a fitted estimator."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp

from deltaprop.errors import InputError
from deltaprop.explain.contributed import Contributions
from deltaprop.explain.contributions import Integrated, integrated_gradients

if TYPE_CHECKING:
    from jaxtyping import Float, Int

    from deltaprop.functions.arrays import Array
    from deltaprop.network import Network

MOST_BASELINES = 100
ROWS = 256  # rows times baselines at a time


@dataclass(frozen=True)
class Output:
    """An output of an estimator: a class, a target, or a quantile of one.

    The prediction is `offset` + `factor` times the output of this index of the network.
    """

    name: str
    index: int
    factor: float = 1.0
    offset: float = 0.0


def contributions(
    networks: Sequence[Network],
    X: Float[Array, "N D"],
    baselines: Float[Array, "B D"],
    owners: Int[np.ndarray, " D"],
    columns: list[str],
    outputs: Sequence[Output],
    data: np.ndarray,
    tol: float,
) -> Contributions:
    """The contributions of columns to the mean output of networks, from the mean of baselines.

    Parameters
    ----------
    networks : sequence of Network
    X, baselines : arrays (N, D), (B, D)
        As the networks take them.
    owners : array (D,)
        To which of the columns each input belongs.
    columns : list of str
    outputs : sequence of Output
    data : array of object (N, C)
    tol : float

    Raises
    ------
    InputError
        If `tol` is no small positive number.
    """
    if not (isinstance(tol, (int, float)) and 0 < tol < 1):
        raise InputError(f"tol must be a number in (0, 1), got {tol!r}.")
    X, baselines = _dense(X), _few(_dense(baselines))
    groups = sp.csr_array(
        (np.ones(len(owners)), (np.arange(len(owners)), owners)), (len(owners), len(columns))
    )
    parts = [
        _mean_of_networks(networks, X[at], baselines, groups, [o.index for o in outputs], tol)
        for at in _parts(len(X), len(baselines))
    ]
    values, predicted, base = (np.concatenate(each) for each in zip(*parts, strict=True))
    factors = np.array([output.factor for output in outputs])
    offsets = np.array([output.offset for output in outputs])
    scaled = Integrated(values * factors, predicted * factors + offsets, base * factors + offsets)
    return Contributions(
        scaled.values, scaled.base[0], scaled.predicted, columns,
        [output.name for output in outputs], scaled.error, data,
    )  # fmt: skip


def _mean_of_networks(
    networks: Sequence[Network], X: Any, baselines: Any, groups: Any, indices: list[int], tol: float
) -> Integrated:
    """The mean over all networks and baselines."""
    n, m = len(X), len(baselines)
    pairs = np.repeat(X, m, axis=0), np.tile(baselines, (n, 1))
    total = None
    for network in networks:
        found = integrated_gradients(network, *pairs, groups, indices, tol)
        means = [each.reshape(n, m, *each.shape[1:]).mean(axis=1) for each in found]
        total = means if total is None else [a + b for a, b in zip(total, means, strict=True)]
    assert total is not None
    return Integrated(*(each / len(networks) for each in total))


def _dense(X: Any) -> Any:
    return X.toarray() if hasattr(X, "toarray") else np.asarray(X)


def _few(baselines: np.ndarray) -> np.ndarray:
    """At most 100 of the rows, the same ones in each call."""
    if len(baselines) <= MOST_BASELINES:
        return baselines
    drawn = np.random.RandomState(0).choice(len(baselines), MOST_BASELINES, replace=False)
    found: np.ndarray = baselines[np.sort(drawn)]
    return found


def _parts(n: int, m: int) -> list[slice]:
    size = max(1, ROWS // m)
    return [slice(i, i + size) for i in range(0, n, size)]
