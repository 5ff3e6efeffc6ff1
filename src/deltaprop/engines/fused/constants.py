"""Constants and record types that the compiled kernel shares with the Python code that calls it.

The kernel takes a single argument: the address of one ``FRAME`` record. The frame contains numbers
and the addresses of arrays. One of these is an array of L ``LAYER`` records: for each layer its
size, the compiled functions that it calls and the places of its quantities in memory. `layout.py`
determines the places, `frame.py` fills in the records, and the kernel reads them. No other module
depends on the offsets.
"""

import platform

import llvmlite.binding as llvm
import numpy as np

# ---------------------------------------------------------------- the processor


def _registers() -> tuple[int, int, int]:
    """Bytes of a vector register; rows and vectors of the largest tile that fits the registers."""
    features = llvm.get_host_cpu_features()
    if features.get("avx512f"):
        return 64, 12, 2
    if features.get("avx2"):
        return 32, 6, 2
    return 16, 6, 4 if platform.machine() in ("arm64", "aarch64") else 2


VECTOR_BYTES, MR, NV = _registers()  # a micro-kernel computes MR rows of NV vectors of a product
READS_IN_PLACE = VECTOR_BYTES > 16  # there are instructions that read a part of a vector
KC, MC = 384, 96  # columns and rows of A in one block of a product: see products.py
ROOM = KC * MC  # scalars that a thread needs for a copy of such a block

# ---------------------------------------------------------------- names for numbers

# Update rules. GRADIENT computes ∂L/∂θ without an update, NORMS only the norms of each row's.
SGD, ADAM, GRADIENT, NORMS = 0, 1, 2, 3
SUM, MEAN, SKLEARN = 0, 1, 2  # how a batch's losses are reduced, and with them the penalty
TRAIN, PREDICT = 0, 1  # what the frame is for

# ---------------------------------------------------------------- thresholds, found by measurement

FEW = 8  # with fewer rows than this, X W reads W directly: copying it to panels costs more
NARROW = 1024  # bytes of the longest rows that products read in place, rather than from a copy
MOST_PIECES = 64  # upper limit for the number of pieces of one W_l
PIECE = 32_768  # parameters of a piece: its gradient is still in the cache at the update

# ---------------------------------------------------------------- sharing.py

SPINS = 2000  # checks before a thread that waits looks at the clock, or yields its processor
IDLE_SLEEPS = 40  # of 50 µs each, while nothing is to do, before an assistant leaves
# Nanoseconds:
AUDITION = 8_000_000  # longer than a time slice of the usual schedulers
INTERRUPTION = 500_000  # a gap between two readings of the clock that shows an interruption
PATIENCE = 100_000  # waiting before the leader sleeps, so that its processor is free for others
WINDOW_LENGTH = 500_000  # between two entries in the assistants' accounts
CREDIT = 5_000_000  # the most that an account can hold: a little more than a time slice
ADVANCE = 1_000_000  # what an account holds at first
SHIFT = 1_600_000  # before the relief takes over: shorter than a time slice (see relay.py)
LONG = 2_400_000  # a step that takes longer is handed over before it is complete
LATE = 500_000  # between the end of a shift and the beginning of the next
RELIEF_STAYS = 100  # milliseconds without a shift, after which the relief leaves

# Positions in `sync`. Words of different threads are on different cache lines.
TICKET, DONE = 0, 16  # the open phase; parts done so far
EXPECTED, MINE, WINDOW = 32, 33, 34  # the leader's: parts of all phases, its own parts, a time
RELIEF, TASK = 35, 36  # who relieves the leader (0: nobody), and with what
STEP_TIME = 37  # the shortest time of a step; 0 before the first
SLOTS, WORDS = 48, 32  # the first thread's slot, and the words of a slot
STATE, BUSY, PARTS, READ_PARTS, ACCOUNT, BLAMED, CLOCK = range(7)  # in a slot; CLOCK has two words
# In the slot of a relief: whether it is asked to leave, the file descriptors of its two pipes, when
# and on which processor the leader's last shift ended, and room for arguments of the operating
# system, for each thread its own.
LEAVE, RELIEF_READS, WAKES_RELIEF, LEADER_READS, WAKES_LEADER = range(8, 13)
ENDED_AT, ENDED_ON, RELIEF_POLL, LEADER_POLL, BYTE = range(13, 18)
ENDS = 18  # when the shift of a thread ends; 0: never
MASKS = 32  # words at the end of `sync`, for two affinity masks
AWAY, INVITED, TRUSTED, FAILED, SENT_AWAY, DISMISSED = range(6)  # states of an assistant
COMING, READY, WORKING = range(6, 9)  # and of a relief
LEAD, TAKE_PARTS = range(2)  # the tasks of a relief

PANELS, ROWS_OF_BATCH, PARAMETERS, CLIPPED, TOGETHER, PREDICTION = range(6)  # kinds of phases

# ---------------------------------------------------------------- records

ADDRESS = "i8"  # of the first scalar of an array, or of a compiled function; 0 if there is none
PLACE = "i8"  # of a quantity in the working memory, in scalars from its beginning
COUNT = "i8"
FLAG = "i8"
REAL = "f8"

LAYER = np.dtype([
    ("D", COUNT),  # inputs
    ("H", COUNT),  # outputs
    ("W", COUNT),  # position of W_l (D, H) in θ, and of ∂W_l in the gradient
    ("b", COUNT),  # position of b_l (H,) in θ, and of ∂b_l in the gradient
    ("r", COUNT),  # position of r_l (D,), the factors of the inputs; -1: there are none
    ("alpha", COUNT),  # position of α_l (H,) of a trainable activation; -1: there is none
    ("blocks", ADDRESS), ("n_blocks", COUNT),  # of the weights that exist; 0 blocks: all exist
    # int64: the group of each input and of each unit, if there are no blocks; 0: all exist.
    ("input_groups", ADDRESS), ("unit_groups", ADDRESS),
    ("X", PLACE),  # X_l (slab, D)
    ("a", PLACE),  # a_l (slab, H); the place of z where f works in place
    ("z", PLACE),  # X_{l+1} = f(a_l) (slab, H)
    ("delta", PLACE),  # δ_l (slab, H)
    ("f", PLACE),  # f(a_l) of a trainable activation, which is not X_{l+1} (slab, H)
    ("mixed", PLACE),  # ∂L/∂X_{l+1}, and then its product with f(a_l) - a_l (slab, H)
    ("in_place", FLAG),  # products read W_l and δ_l in place, not from panels
    # Copies of W_l, of W_lᵀ and of δ_l in panels (see products.py), or of the blocks of W_l.
    ("W_panels", PLACE),
    ("W_transposed_panels", PLACE),
    ("delta_panels", PLACE),
    ("forward", ADDRESS),  # the compiled function for z = f(a + b): see blocks.py
    ("pull_back", ADDRESS),  # the compiled function for g ← f′(a) ⊙ g
    ("dropout", REAL),  # probability that an output is dropped
    ("rate_W", REAL), ("rate_b", REAL), ("rate_r", REAL), ("rate_alpha", REAL),  # of their steps
])  # fmt: skip

BLOCK = np.dtype([  # some of the weights of a layer with groups that exist: see grouped.py
    ("d", COUNT), ("u", COUNT),  # the first input and the first unit
    ("inputs", COUNT), ("units", COUNT),
    ("diagonal", FLAG),  # each input is connected with one unit
    ("at", COUNT),  # where the copies of the weights begin, after those of the blocks before
])  # fmt: skip

NETWORK = [
    ("frame", ADDRESS),  # of this record
    ("part", ADDRESS),  # the compiled function for the parts of a phase
    ("theta", ADDRESS),  # all parameters: W_0, b_0, W_1, …
    ("scaled", ADDRESS),  # where W_l is in θ, diag(r_l) W_l of layers with r_l; 0: there are none
    ("P", COUNT),  # how many there are
    ("layers", ADDRESS),  # L records of type LAYER
    ("L", COUNT),
    ("unit_keys", ADDRESS),  # uint32: the part of dropout's hash that depends on the unit
    ("loss", ADDRESS),  # the compiled loss
    ("collapsed", FLAG),  # it gives ∂loss/∂a of the last layer rather than ∂loss/∂ŷ
    ("rows_times", ADDRESS),  # compiled product A B, A stored by rows
    ("columns_times", ADDRESS),  # compiled product A B, A stored by columns
    ("exact_rows_times", ADDRESS),  # the same in the precision of the network
    ("exact_columns_times", ADDRESS),
    ("to_panels", ADDRESS),  # copies rows of B to the panels that these products read
    ("to_panels_of_transpose", ADDRESS),
]

ROWS = [
    ("N", COUNT),  # rows in an epoch (or to predict)
    ("order", ADDRESS),  # the rows of each epoch in the order of their use; 0: as stored
    ("X", ADDRESS),  # dense rows, or the values of sparse rows (CSR)
    ("row", COUNT), ("column", COUNT),  # strides of dense X in scalars
    ("gather", ADDRESS),  # the compiled function that copies rows of dense X
    ("sparse", FLAG), ("indices", ADDRESS), ("indptr", ADDRESS),  # of CSR rows
    ("targets", ADDRESS), ("K", COUNT),  # targets, K columns
    ("codes", ADDRESS),  # for each row, which row of `targets` is its target; 0: its own
    ("weights", ADDRESS),  # sample weights; 0: all are 1
]  # fmt: skip

WORKSPACE = [
    ("work", ADDRESS),  # the working memory, which contains the places of LAYER and the next four
    ("batch_targets", PLACE),  # (slab, K)
    ("batch_losses", PLACE),  # (slab,)
    ("scratch", PLACE),  # (slab, 2), for activations and losses
    ("blocks", PLACE),  # (threads or tiles, ROOM), for copied blocks of a product
    ("slab", COUNT),  # rows of a batch in memory at the same time
    ("tile", COUNT),  # rows that a thread takes through all layers together, at most
    ("unit", COUNT),  # of which the rows of a tile are a multiple, except for the last tile
    ("pieces", COUNT),  # W_l is divided into a multiple of this number of pieces
    ("by_unit", FLAG),  # activations are stored (H, rows) rather than (rows, H)
    ("backward", FLAG),  # there is a backward pass
    ("G", ADDRESS),  # the gradient ∂L/∂θ (P,)
    ("parts", ADDRESS),  # sums of squares for each piece (2 L, MOST_PIECES + 1)
    ("n_threads", COUNT),  # the leader and its assistants, at most
    ("sync", ADDRESS), ("words", COUNT),  # by which they communicate: see sharing.py
    ("claims", ADDRESS),  # for each part, the last phase in which a thread took it
]  # fmt: skip

OPTIMIZER = [
    ("rule", COUNT),  # SGD, ADAM, GRADIENT or NORMS
    ("first", ADDRESS), ("second", ADDRESS),  # velocity, or Adam's two moments (P,)
    ("b1", REAL), ("b2", REAL),  # momentum, or the decay rates of Adam's moments
    ("epsilon", REAL),
    ("nesterov", FLAG),
    ("decay", REAL),  # AdamW's decoupled weight decay
    ("scales", ADDRESS),  # a factor of each input, which is optimized as well; 0: there is none
    ("scales_first", ADDRESS), ("scales_second", ADDRESS),  # Adam's moments of these factors
    ("scale_rate", REAL),  # by which their learning rate is larger
    ("by_layer", FLAG),  # learning rates, or which weights exist, depend on the layer
    ("l2", REAL),  # λ of the penalty λ/2 ‖W‖²
    ("clip", REAL),  # largest norm of the gradient; 0: not clipped
    ("reduction", COUNT),  # SUM, MEAN or SKLEARN
]  # fmt: skip

PER_SAMPLE = [
    ("norms", ADDRESS),  # float64: receives the norm of each gradient of a batch's rows; 0: unused
    ("max_norm", REAL),  # the gradient of each row is clipped to this norm; 0: not clipped
    ("noise", ADDRESS),  # the compiled function that computes noise: see normals.py; 0: no noise
    ("noise_key", ADDRESS),  # its seed
    ("noise_room", ADDRESS),  # for each thread, room for a chunk of noise (n_threads, CHUNK)
    ("deviation", REAL),  # of the noise, which is added to the sum of clipped gradients
    ("g_scale", REAL),  # by which that sum is multiplied
]  # fmt: skip

LOOP = [
    ("task", COUNT),  # TRAIN or PREDICT
    ("batch", COUNT),  # rows of a batch
    ("rows_of_epoch", COUNT),  # N, or more where X holds only a part of the epoch's rows
    ("start", COUNT),  # the first step to take, counted from the beginning of `order`
    ("n_steps", COUNT),
    ("step", COUNT),  # updates of θ before this call
    ("updates", COUNT),  # of θ so far
    ("next", COUNT),  # how many of the n_steps have been taken
    ("rates", ADDRESS),  # of each step: learning rate, factors of decay and dropout (n_steps, 3)
    ("seed", COUNT),  # of dropout's masks
    ("result", ADDRESS),  # updates of θ so far, then the loss of each epoch
    ("out", ADDRESS),  # predictions (N, H)
]

PHASE = [  # the step and the slab of the open phase, written by the leader: see Step and Slab
    ("step_start", COUNT), ("step_size", COUNT), ("step_number", COUNT), ("step_scale", REAL),
    ("step_l2", REAL), ("step_gain", REAL), ("step_decay", REAL), ("step_dropout", REAL),
    ("clip_factor", REAL),
    ("slab_first", COUNT), ("slab_in_batch", COUNT), ("slab_n", COUNT), ("slab_last", FLAG),
]  # fmt: skip

FRAME = np.dtype(NETWORK + ROWS + WORKSPACE + OPTIMIZER + PER_SAMPLE + LOOP + PHASE)
