"""How the work of a step is divided, and the places of its quantities in the working memory.

A batch of up to LARGEST_SLAB rows is one *slab*: the rows whose activations are in memory at the
same time. Larger batches (all rows, for L-BFGS) are processed slab by slab, so that memory does not
grow with them. The first half of a step divides a slab's rows into *tiles*; one thread takes a tile
through all layers, forward and back, while its activations are in the cache. The second half
divides the rows of each W_l into *pieces*; one thread computes a piece of the gradient and updates
it. Matrix products read W_lᵀ, and W_l and δ_l if their rows are long, from copies in *panels* (a
few columns each, row after row): see products.py.

Threads thus divide the batch rather than each product: a product of the usual size takes some
microseconds, and a barrier after each would take as long again.
"""

from __future__ import annotations

import dis
from collections.abc import Sequence
from functools import cache, lru_cache
from itertools import pairwise
from types import CodeType
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from deltaprop.engines.fused.constants import (
    BLOCK,
    LAYER,
    MR,
    NARROW,
    NV,
    READS_IN_PLACE,
    ROOM,
    VECTOR_BYTES,
)
from deltaprop.engines.fused.processors import available
from deltaprop.functions.activations import Activation
from deltaprop.model import Model
from deltaprop.model.groups import Groups

if TYPE_CHECKING:
    from jaxtyping import Shaped

WORK_FOR_TWO = 500_000  # multiplications in a step below which a second thread saves no time
WORK_OF_SLICES = 600_000_000  # multiplications of a phase that takes several time slices
LARGEST_SLAB = 4096  # rows
TILE = 16 * MR  # upper limit for the rows of a tile
FEW_BLOCKS, SMALL_BLOCK = 100, 8  # more blocks, of fewer weights on average, are not used
SMALL_PRODUCT = 60_000  # multiplications in a layer below which loops over its units are too short
FIXED_TILE, FIXED_PIECES = 64, 16  # used where results must not depend on the number of threads
ALIGNMENT = 16  # scalars: a cache line of float32, two of float64


class Places(NamedTuple):
    """Where each quantity begins in the working memory, in scalars, and how long that memory is.

    `layers` are LAYER records without the addresses of functions, which `Frame` fills in.
    """

    layers: Shaped[np.ndarray, " L"]
    batch_targets: int
    batch_losses: int
    scratch: int
    blocks: int
    length: int


class Room(NamedTuple):
    """The division of a step's work, and the places of its quantities."""

    n_threads: int
    slab: int
    tile: int
    unit: int
    pieces: int
    by_unit: bool
    backward: bool
    places: Places
    precision: str | None = None  # of the products, if it is not that of the network
    relievable: bool = False  # another thread may take turns with the one that leads
    long: bool = False  # a phase takes so long that interrupted threads help, too


def layer_sizes(net: Model) -> list[int]:
    """D_0, H_0, …, H_{L-1}."""
    return [net.n_features, *(layer.units for layer in net.layers)]


def existing_weights(net: Model) -> list[int]:
    """The number of weights of each layer that exist."""
    sizes = [W.size for W in net.W]
    for l, groups in net.layout.grouped:
        if l in blocks_of(net):
            sizes[l] = sum(block.size for block in groups.blocks())
    return sizes


def blocks_of(net: Model) -> dict[int, Shaped[np.ndarray, " B"]]:
    """The blocks of layers with groups, but for those that have many small ones."""
    found = {l: _block_records(groups) for l, groups in net.layout.grouped}
    return {l: records for l, records in found.items() if records is not None}


@lru_cache(maxsize=64)
def _block_records(groups: Groups) -> Shaped[np.ndarray, " B"] | None:
    """The blocks as records, with the places of their copies; None if a product is faster."""
    blocks = groups.blocks()
    size = sum(block.size for block in blocks)
    if len(blocks) > FEW_BLOCKS and size < SMALL_BLOCK * len(blocks):
        return None
    records = np.array([(*block, 0) for block in blocks], BLOCK)
    records["at"] = np.cumsum([0, *(block.size for block in blocks)])[:-1]
    return records


def training_room(
    net: Model, K: int, batch: int, n_threads: int | None, sparse: bool, reproducible: bool,
    precision: str | None = None,
) -> Room:  # fmt: skip
    """The room for training on batches of `batch` rows with targets of K columns.

    At most `n_threads` threads share a step, by default as many as processors are available; it is
    one if a step is too small to share. Networks that are stored by unit compute their products in
    the precision of the network.
    """
    # The loss reads the last a, with dropout f′ may need f(a) without its mask, and α mixes both.
    in_place = [
        reads_only_z(layer.activation) and not layer.dropout and not layer.trainable_activation
        for layer in net.layers
    ]
    in_place[-1] = False
    products = [batch * size for size in existing_weights(net)]
    by_unit = not sparse and max(products) <= SMALL_PRODUCT and sum(products) < WORK_FOR_TWO
    by_unit = by_unit and not blocks_of(net)
    slab = min(batch, LARGEST_SLAB)
    small = sum(products) < WORK_FOR_TWO and not sparse
    allowed = n_threads or available()
    n_threads = 1 if small else max(1, min(allowed, slab))
    pieces = FIXED_PIECES if reproducible else n_threads
    if by_unit:
        tile = slab
    elif reproducible:
        tile = min(FIXED_TILE, slab)
    else:
        share = -(-slab // n_threads)
        tile = -(-share // -(-share // TILE))
    # The micro-kernel computes MR rows or, less efficiently, four. With many tiles, threads are
    # equally busy although the tiles are not equally large. Tiles of an even number of rows never
    # share the pairs of rows that products in bfloat16 read.
    unit = MR if tile >= TILE // 2 and slab > n_threads * TILE else 4
    tile = -(-tile // unit) * unit
    precision = None if by_unit else precision
    places = _places(net, K, slab, n_threads, in_place, sparse, by_unit, precision)
    long = n_threads > 1 and _is_long(net, slab, sparse)
    return Room(
        n_threads, slab, tile, unit, pieces, by_unit, True, places, precision,
        relievable=allowed > 1 and not long, long=long,
    )  # fmt: skip


def prediction_room(net: Model, N: int, n_threads: int | None, sparse: bool) -> Room:
    """The room for predicting N rows, where each thread has its own part of the memory."""
    in_place = [
        layer.activation.kernel is None and not layer.trainable_activation for layer in net.layers
    ]
    products = N * sum(existing_weights(net))
    most = min(N, products // (8 * WORK_FOR_TWO) + 1)  # one thread if there is little to do
    allowed = n_threads or available()
    n_threads = max(1, min(allowed, most)) if most > 1 else 1
    tile = min(-(-N // n_threads), TILE)
    places = _places(net, 0, tile * n_threads, n_threads, in_place, sparse, False)
    long = n_threads > 1 and _is_long(net, N, sparse)
    return Room(
        n_threads, tile * n_threads, tile, MR, 1, False, False, places,
        relievable=n_threads > 1 and not long, long=long,
    )  # fmt: skip


def _is_long(net: Model, rows: int, sparse: bool) -> bool:
    """Whether a phase takes several time slices; the product of W_0 with sparse rows is short."""
    return rows * sum(existing_weights(net)[int(sparse) :]) > WORK_OF_SLICES


class _Memory:
    """Consecutive places in one array."""

    def __init__(self) -> None:
        self.length = 0

    def take(self, n: int) -> int:
        place = self.length
        self.length += -(-n // ALIGNMENT) * ALIGNMENT
        return place


def _places(
    net: Model, K: int, rows: int, n_threads: int, in_place: Sequence[bool], sparse: bool,
    by_unit: bool, precision: str | None = None,
) -> Places:  # fmt: skip
    """The places for slabs of that many rows; without targets (K = 0) there is no backward pass.

    The order keeps quantities of the same kind together. Quantities that a network does not need
    take no room: X_0 of sparse rows, a_l where f works in place, and panels that no product reads.
    """
    sizes, backward, memory = layer_sizes(net), K > 0, _Memory()
    take, layers = memory.take, np.zeros(net.n_layers, LAYER)
    inputs, outputs = sizes[:-1], sizes[1:]
    panel = NV * VECTOR_BYTES // net.dtype.itemsize
    padded = {width: -(-width // panel) * panel for width in sizes}
    dense = [not by_unit and not (sparse and l == 0) for l in range(net.n_layers)]
    # Numbers that a product converts are converted when they are copied.
    short = READS_IN_PLACE and not by_unit and precision is None
    read_in_place = [short and H * net.dtype.itemsize <= NARROW for H in outputs]
    weights = existing_weights(net)
    copied = {l: weights[l] for l in blocks_of(net)}
    for l in copied:
        read_in_place[l] = True  # δ_l; of W_l, the blocks are copied

    layers["D"], layers["H"], layers["in_place"] = inputs, outputs, read_in_place
    ends = np.cumsum([D * H + H for D, H in pairwise(sizes)])
    layers["b"] = ends - outputs
    layers["W"] = [0, *ends[:-1]]
    layers["r"] = layers["alpha"] = -1
    position = 0
    for part in net.layout.parts:
        if part.name in ("r", "alpha"):
            layers[part.name][part.layer] = position
        position += part.size

    X = [take(0 if sparse else rows * sizes[0]), *(take(rows * H) for H in outputs)]
    layers["X"], layers["z"] = X[:-1], X[1:]
    a = [take(0 if shared else rows * H) for shared, H in zip(in_place, outputs, strict=True)]
    layers["a"] = np.where(in_place, layers["z"], a)
    layers["delta"] = [take(rows * H if backward else 0) for H in outputs]
    for name in ("f", "mixed"):
        layers[name] = [
            take(rows * H if backward and position >= 0 else 0)
            for H, position in zip(outputs, layers["alpha"], strict=True)
        ]
    batch_targets, batch_losses, scratch = take(rows * K), take(rows), take(2 * rows)
    for l, (D, H) in enumerate(pairwise(sizes)):
        needed = dense[l] and not read_in_place[l]
        layers["W_panels"][l] = take(copied.get(l, D * padded[H] if needed else 0))
    for l, (D, H) in enumerate(pairwise(sizes)):
        needed = dense[l] and backward and l > 0
        size = copied.get(l, H * padded[D])
        layers["W_transposed_panels"][l] = take(size if needed else 0)
    for l, H in enumerate(outputs):
        needed = (dense[l] or by_unit) and backward and not read_in_place[l]
        layers["delta_panels"][l] = take(rows * padded[H] if needed else 0)
    blocks = take(n_threads * ROOM if backward and not by_unit else 0)
    # Products read up to a panel's width beyond the end of what they need.
    return Places(layers, batch_targets, batch_losses, scratch, blocks, memory.length + panel)


def reads_only_z(f: Activation) -> bool:
    """Whether f′ reads z = f(a) but not a, and the compiled f can write z over a."""
    return f.kernel is None and not _reads_first_argument(f.df.__code__)


@cache  # disassembling takes as long as some epochs
def _reads_first_argument(code: CodeType) -> bool:
    return any(
        step.argval == code.co_varnames[0] and step.opname.startswith("LOAD")
        for step in dis.get_instructions(code)
    )
