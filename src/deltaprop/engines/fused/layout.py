"""Where a batch's X_l, a_l, δ_l lie in the kernel's room, and who works on which rows."""

from __future__ import annotations

import dis
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from deltaprop.engines.fused.constants import MR, NV, ROOM, VECTOR_BYTES
from deltaprop.functions.activations import Activation
from deltaprop.model import Model

if TYPE_CHECKING:
    from jaxtyping import Int

WORK_FOR_TWO = 500_000  # multiplications a step below which a second thread costs more than it does
LARGEST_SLAB = 4096  # rows worked on at a time; larger batches go through in slabs
TILE = 16 * MR  # most rows of a thread's share that go through the layers together
SMALL_PRODUCT = 60_000  # multiplications of a layer below which loops over units are too short
FIXED_TILE, FIXED_PIECES = 64, 16  # where results must not depend on the number of threads


class Room(NamedTuple):
    """The division of a step's work, and the places of its quantities in one array."""

    n_threads: int
    slab: int
    tile: int
    pieces: int
    by_unit: bool
    backward: bool
    places: Int[np.ndarray, " M"]
    length: int


def layer_sizes(net: Model) -> list[int]:
    """D_0, H_0, …, H_{L-1}."""
    return [net.n_features, *(layer.units for layer in net.layers)]


def training_room(
    net: Model, K: int, batch: int, n_threads: int, sparse: bool, reproducible: bool
) -> Room:
    """For batches of that many rows and targets of K columns."""
    # The loss reads the last a; under dropout f(a) is wanted without its mask.
    in_place = [reads_only_z(layer.activation) and not layer.dropout for layer in net.layers]
    in_place[-1] = False
    products = [batch * D * H for D, H in pairwise(layer_sizes(net))]
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
    places = _places(net, K, slab, n_threads, in_place, sparse, by_unit)
    return Room(n_threads, slab, tile, pieces, by_unit, True, *places)


def prediction_room(net: Model, N: int, n_threads: int, sparse: bool) -> Room:
    """For N rows, each thread working in rows of its own."""
    in_place = [f.kernel is None for f in net.f]
    products = N * sum(W.size for W in net.W)
    n_threads = max(1, min(n_threads, N, products // (8 * WORK_FOR_TWO) + 1))
    tile = min(-(-N // n_threads), TILE)
    places = _places(net, 0, tile * n_threads, n_threads, in_place, sparse, False)
    return Room(n_threads, tile * n_threads, tile, 1, False, False, *places)


def _places(
    net: Model, K: int, rows: int, n_threads: int, in_place: list[bool], sparse: bool,
    by_unit: bool,
) -> tuple[Int[np.ndarray, " M"], int]:  # fmt: skip
    """Where each quantity begins, on a cache line, and how much room they take together.

    X_0 … X_L, a_0 … a_{L-1}, δ_0 … δ_{L-1}, targets, losses, scratch; then panels of W_l, of W_lᵀ
    and of δ_l, and each thread's room for a block of a product. Where z is written over a, the two
    have one place. Nothing goes backward where there is no target (K = 0).
    """
    sizes, L, backward = layer_sizes(net), net.n_layers, K > 0
    columns = NV * VECTOR_BYTES // net.dtype.itemsize

    def padded(width: int) -> int:
        return -(-width // columns) * columns

    outputs = sizes[1:]
    a = [0 if shared else width for shared, width in zip(in_place, outputs, strict=True)]
    delta = outputs if backward else [0] * L
    of_rows = [0 if sparse else sizes[0], *outputs, *a, *delta, K, 1, 2]
    needs = [rows * width for width in of_rows]
    dense = [not by_unit and not (sparse and l == 0) for l in range(L)]
    layers = list(zip(dense, pairwise(sizes), strict=True))
    needs += [D * padded(H) if it else 0 for it, (D, H) in layers]
    needs += [
        H * padded(D) if it and backward and l > 0 else 0 for l, (it, (D, H)) in enumerate(layers)
    ]
    needs += [rows * padded(H) if (it or by_unit) and backward else 0 for it, (_, H) in layers]
    needs += [n_threads * ROOM if backward and not by_unit else 0]
    starts = np.cumsum([0] + [-(-need // 16) * 16 for need in needs])
    for l in range(L):
        if in_place[l]:
            starts[L + 1 + l] = starts[l + 1]
    return starts[:-1].astype(np.int64), int(starts[-1]) + columns


def reads_only_z(f: Activation) -> bool:
    """Whether f′ is written in terms of z = f(a) alone and f can work in place."""
    if f.kernel is not None:
        return False
    code = f.df.__code__
    return not any(
        step.argval == code.co_varnames[0] and step.opname.startswith("LOAD")
        for step in dis.get_instructions(code)
    )
