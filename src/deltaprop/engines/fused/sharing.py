"""How the kernel's threads share a step: a barrier, and claims on parts of the work.

Each half of a step is divided into numbered parts (tiles of rows, then pieces of parameters). A
thread first takes the parts of its own contiguous share, whose data its cache still contains from
the last step. Then it continues with parts that other threads have not begun, because processors
are not equally fast and other programs use them too. A *claim* is a counter for each part: the
thread that increases it from 0 computes the part. The result of a part does not depend on the
thread that computes it.
"""

from numba import types, uint32

from deltaprop.engines.fused.constants import SPINS, YIELDS
from deltaprop.engines.fused.lowlevel import fetch, fetch_add, plain

ARRIVED, GENERATION = 0, 8  # positions in `sync`, 64 bytes apart: on different cache lines

usleep = types.ExternalFunction("usleep", types.int32(types.uint32))
sched_yield = types.ExternalFunction("sched_yield", types.int32())


@plain
def barrier(sync, n_threads):
    """Return when all threads have called it."""
    if n_threads == 1:
        return
    generation = fetch(sync, GENERATION)
    if fetch_add(sync, ARRIVED, 1) == n_threads - 1:
        fetch_add(sync, ARRIVED, -n_threads)
        fetch_add(sync, GENERATION, 1)
    else:
        spins = 0
        while fetch(sync, GENERATION) == generation:
            spins += 1
            if spins > SPINS + YIELDS:  # on a busy machine, a thread that slept is scheduled sooner
                usleep(uint32(20))
            elif spins > SPINS:  # the other thread may be waiting for this processor
                sched_yield()


@plain
def part_of(turn, k, parts, n_threads):
    """The part that thread k tries in that turn: its own share, then others' from their end."""
    low, high = parts * k // n_threads, parts * (k + 1) // n_threads
    own = high - low
    return low + turn if turn < own else (low - 1 - (turn - own)) % parts


@plain
def claimed(claims, part, n_threads):
    """Whether another thread has claimed this part; if none has, the caller claims it."""
    if n_threads == 1:
        return False
    return fetch(claims, part) != 0 or fetch_add(claims, part, 1) != 0


@plain
def release(claims, parts, k):
    """Thread 0 resets all claims. No other thread may claim a part at that time."""
    if k == 0:
        for part in range(parts):
            claims[part] = 0
