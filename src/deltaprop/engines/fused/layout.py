"""Where a batch's X_l, a_l, δ_l lie in the kernel's room, and who works on which rows."""

from __future__ import annotations

import dis
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from jaxtyping import Int

from deltaprop.activations import Activation
from deltaprop.engines.fused.constants import SMALL_PRODUCT
from deltaprop.network import Network

WORK_FOR_TWO = 500_000  # multiplications a step below which a second thread costs more than it does
LARGEST_SLAB = 4096  # rows worked on at a time; larger batches go through in slabs
TILE = 512  # most rows of a thread's share that go through the layers together
FIXED_TILE, FIXED_PIECES = 64, 16  # where results must not depend on the number of threads


class Room(NamedTuple):
    """The division of a step's work, and the places of its quantities in one array."""

    n_threads: int
    slab: int
    tile: int
    pieces: int
    by_unit: bool
    places: Int[np.ndarray, " M"]
    length: int


def layer_sizes(net: Network) -> list[int]:
    """D_0, H_0, …, H_{L-1}."""
    return [net.n_features, *(layer.units for layer in net.layers)]


def training_room(
    net: Network, K: int, batch: int, n_threads: int, sparse: bool, reproducible: bool
) -> Room:
    """For batches of that many rows and targets of K columns."""
    sizes = layer_sizes(net)
    # The loss reads the last a; under dropout f(a) is wanted without its mask.
    in_place = [reads_only_z(layer.activation) and not layer.dropout for layer in net.layers]
    in_place[-1] = False
    products = [batch * D * H for D, H in pairwise(sizes)]
    by_unit = not sparse and max(products) <= SMALL_PRODUCT and sum(products) < WORK_FOR_TWO
    if sum(products) < WORK_FOR_TWO and not sparse:
        n_threads = 1
    slab = min(batch, LARGEST_SLAB)
    n_threads = max(1, min(n_threads, slab))
    pieces = FIXED_PIECES if reproducible else n_threads
    if by_unit:
        tile = slab
    elif reproducible:
        tile = min(FIXED_TILE, slab)
    else:
        share = -(-slab // n_threads)
        tile = -(-share // -(-share // TILE))
    return Room(n_threads, slab, tile, pieces, by_unit, *_places(sizes, K, slab, sparse, in_place))


def prediction_room(net: Network, N: int, n_threads: int, sparse: bool) -> Room:
    """For N rows, each thread working in rows of its own."""
    sizes = layer_sizes(net)
    in_place = [f.coupling == "elementwise" and f.name != "mean_variance" for f in net.f]
    products = N * sum(D * H for D, H in pairwise(sizes))
    n_threads = max(1, min(n_threads, N, products // (8 * WORK_FOR_TWO) + 1))
    tile = min(-(-N // n_threads), TILE)
    places = _places(sizes, 0, tile * n_threads, sparse, in_place)
    return Room(n_threads, tile * n_threads, tile, 1, False, *places)


def _places(
    sizes: list[int], K: int, rows: int, sparse: bool, in_place: list[bool]
) -> tuple[Int[np.ndarray, " M"], int]:
    """X_0 … X_L, a_0 … a_{L-1}, δ_0 … δ_{L-1}, targets, losses, scratch: each on a cache line.

    Where z is written over a, the two have one place.
    """
    L, outputs = len(sizes) - 1, sizes[1:]
    a = [0 if shared else width for shared, width in zip(in_place, outputs, strict=True)]
    delta = outputs if K else [0] * L
    widths = [0 if sparse else sizes[0], *outputs, *a, *delta, K, 1, 2, 0]
    starts = np.cumsum([0] + [-(-rows * width // 16) * 16 for width in widths])
    for l in range(L):
        if in_place[l]:
            starts[L + 1 + l] = starts[l + 1]
    return starts[:-1].astype(np.int64), int(starts[-1]) + 16


def reads_only_z(f: Activation) -> bool:
    """Whether f′ is written in terms of z = f(a) alone, and f knows to work in place."""
    if f.coupling == "row" or f.name == "mean_variance":
        return False
    code = f.df.__code__
    return not any(
        step.argval == code.co_varnames[0] and step.opname.startswith("LOAD")
        for step in dis.get_instructions(code)
    )
