"""Numbers that the kernel and those who call it share."""

import platform

import llvmlite.binding as llvm
import numpy as np


def _registers() -> tuple[int, int, int]:
    """Bytes of this processor's vectors; rows and vectors of a tile that fits their registers."""
    features = llvm.get_host_cpu_features()
    if features.get("avx512f"):
        return 64, 12, 2
    if features.get("avx2"):
        return 32, 6, 2
    return 16, 6, 4 if platform.machine() in ("arm64", "aarch64") else 2


VECTOR_BYTES, MR, NV = _registers()
KC, MC = 384, 96  # of a block of a product: see products.py
ROOM = KC * MC  # numbers of a block, for each thread


SGD, ADAM, GRADIENT = 0, 1, 2
SUM, MEAN, SKLEARN = 0, 1, 2
SPINS, YIELDS = 2000, 100  # how long a thread waits awake: some microseconds each
FEW = 8  # rows below which reading W as it lies is quicker than panels of it
MOST_PIECES = 64  # in which the rows of a W_l are worked on
PIECE = 32_768  # parameters of a piece: its gradient stays in the cache until the update

FRAME = np.dtype([
    # addresses: the network
    ("theta", "i8"), ("sizes", "i8"), ("forward", "i8"), ("pull_back", "i8"), ("loss", "i8"),
    ("dropout", "i8"), ("rows_times", "i8"), ("columns_times", "i8"),
    ("L", "i8"), ("P", "i8"), ("collapsed", "i8"),
    # addresses: the rows
    ("X", "i8"), ("row", "i8"), ("column", "i8"), ("gather", "i8"),
    ("indices", "i8"), ("indptr", "i8"), ("sparse", "i8"),
    ("codes", "i8"), ("targets", "i8"), ("K", "i8"), ("weights", "i8"), ("order", "i8"),
    # room, and where each X_l, a_l, δ_l, … lies in it
    ("work", "i8"), ("places", "i8"), ("by_unit", "i8"), ("backward", "i8"), ("slab", "i8"),
    ("tile", "i8"), ("pieces", "i8"),
    ("G", "i8"), ("first", "i8"), ("second", "i8"), ("sync", "i8"),
    ("tile_claims", "i8"), ("piece_claims", "i8"),
    ("out", "i8"), ("parts", "i8"), ("result", "i8"),
    # the search
    ("n_threads", "i8"), ("N", "i8"), ("rows_of_epoch", "i8"), ("batch", "i8"),
    ("start", "i8"), ("n_steps", "i8"),
    ("step", "i8"), ("rates", "i8"), ("rule", "i8"), ("reduction", "i8"), ("seed", "i8"),
    ("nesterov", "i8"), ("b1", "f8"), ("b2", "f8"), ("epsilon", "f8"), ("decay", "f8"),
    ("l2", "f8"), ("clip", "f8"),
])  # fmt: skip
