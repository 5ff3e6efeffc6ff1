"""How threads share the work of a step without ever waiting for a thread that does not run.

Thread 0, the *leader*, runs the steps. It opens one *phase* after the other, and each phase
consists of numbered *parts*: tiles of rows, then pieces of parameters. Other threads may *assist*:
they compute parts of the open phase. A phase ends when all of its parts are done, no matter by
which thread. An assistant that has no processor at the moment therefore costs nothing, unless it
has been interrupted within a part: only then does the leader wait.

The leader keeps an account for each assistant: the time that the parts it computed have saved,
minus the time that the leader waited for it. An assistant whose account becomes negative is sent
away. Unless phases are long, an assistant *auditions* before it takes any part: it runs for some
milliseconds and observes whether it is interrupted. If it is, other programs need its processor.
`threads.py` decides when an assistant comes back.

The threads communicate through the words of ``f.sync`` and ``f.claims``:

- A *ticket* is one word with the number of the open phase, its kind and its number of parts.
- A *claim* is a word for each part: the last phase in which a thread took the part. The thread that
  raises it to the number of the open phase computes the part. A thread that still holds the ticket
  of an earlier phase cannot claim anything, because that phase ended only after all of its parts
  had been claimed.

A thread first claims the parts of its own contiguous share, whose data its cache still contains
from the last step, and then those that others have not begun, because processors are not equally
fast and other programs use them too. The result of a part does not depend on the thread that
computes it.
"""

import platform

from numba import int32, types, uint32

from deltaprop.engines.fused import constants as c
from deltaprop.engines.fused.lowlevel import fetch, fetch_add, plain, put, relax, replaced, vector

usleep = types.ExternalFunction("usleep", types.int32(types.uint32))
sched_yield = types.ExternalFunction("sched_yield", types.int32())
clock_gettime = types.ExternalFunction("clock_gettime", types.int32(types.int32, types.int64))
MONOTONIC = 6 if platform.system() == "Darwin" else 1  # the number of the clock
KINDS, MOST_PARTS = 8, 1 << 20  # how many a ticket can tell apart


@plain
def slot(k):
    """The position in `words` where the slot of thread k begins."""
    return c.SLOTS + c.WORDS * k


@plain
def nanoseconds(f, k):
    """The time on a clock that is never set back, as read by thread k."""
    address = f.sync + 8 * (slot(k) + c.CLOCK)
    clock_gettime(int32(MONOTONIC), address)
    time = vector(1, address, 2)
    return time[0] * 1_000_000_000 + time[1]


# ---------------------------------------------------------------- phases and claims


@plain
def open_phase(f, kind, parts):
    """The ticket of a new phase, which assistants can see from now on."""
    sync = vector(1, f.sync, f.words)
    phase = sync[c.TICKET] // (KINDS * MOST_PARTS) + 1
    ticket = (phase * KINDS + kind) * MOST_PARTS + parts
    put(sync, c.TICKET, ticket)
    return ticket


@plain
def number_of(ticket):
    """The number of the ticket's phase."""
    return ticket // (KINDS * MOST_PARTS)


@plain
def kind_of(ticket):
    """The kind of the ticket's phase: PANELS, ROWS_OF_BATCH, …"""
    return ticket // MOST_PARTS % KINDS


@plain
def parts_of(ticket):
    """The number of parts of the ticket's phase."""
    return ticket % MOST_PARTS


@plain
def part_of(turn, k, parts, n_threads):
    """The part that thread k tries in that turn: its own share, then others' from their end."""
    low, high = parts * k // n_threads, parts * (k + 1) // n_threads
    own = high - low
    return low + turn if turn < own else (low - 1 - (turn - own)) % parts


@plain
def claim(f, part, phase):
    """Whether the caller computes this part of the phase; no other thread does then."""
    claims = vector(1, f.claims, part + 1)
    last = fetch(claims, part)
    return last < phase and replaced(claims, part, last, phase)


# ---------------------------------------------------------------- the leader


@plain
def begin_window(f):
    """Begin to count the leader's parts and its time."""
    sync = vector(1, f.sync, f.words)
    sync[c.MINE], sync[c.WINDOW] = 0, nanoseconds(f, 0)


@plain
def close_phase(f, parts, mine):
    """Return when all parts of the phase are done, of which the leader has computed `mine`."""
    sync = vector(1, f.sync, f.words)
    sync[c.MINE] += mine
    sync[c.EXPECTED] += parts
    expected = sync[c.EXPECTED]
    fetch_add(sync, c.DONE, mine)
    for _ in range(c.SPINS):
        if fetch(sync, c.DONE) == expected:
            return
        relax()
    _wait(f, sync, expected)


@plain
def _wait(f, sync, expected):
    """Wait for interrupted assistants, and charge the time to their accounts."""
    for k in range(1, f.n_threads):
        sync[slot(k) + c.BLAMED] = fetch(sync, slot(k) + c.BUSY)
    started = time = nanoseconds(f, 0)
    _credit(f, started)
    while fetch(sync, c.DONE) != expected:
        if time - started > c.PATIENCE:
            usleep(uint32(20))
        relax()
        time = nanoseconds(f, 0)
    sync[c.WINDOW] = time
    for k in range(1, f.n_threads):
        if sync[slot(k) + c.BLAMED]:
            sync[slot(k) + c.ACCOUNT] -= time - started
            if sync[slot(k) + c.ACCOUNT] < 0:
                replaced(sync, slot(k) + c.STATE, c.TRUSTED, c.SENT_AWAY)


@plain
def settle(f):
    """After a step: from time to time, credit the assistants with the time that they saved."""
    time = nanoseconds(f, 0)
    if time - vector(1, f.sync, f.words)[c.WINDOW] > c.WINDOW_LENGTH:
        _credit(f, time)


@plain
def _credit(f, time):
    """Credit the assistants with the time that they saved since the last time.

    A part that an assistant computed would have taken the leader as long as its own parts did.
    """
    sync = vector(1, f.sync, f.words)
    each = (time - sync[c.WINDOW]) // max(sync[c.MINE], 1)
    most = max(c.CREDIT, 3 * each)
    for k in range(1, f.n_threads):
        parts = fetch(sync, slot(k) + c.PARTS)
        saved = (parts - sync[slot(k) + c.READ_PARTS]) * each
        sync[slot(k) + c.READ_PARTS] = parts
        sync[slot(k) + c.ACCOUNT] = min(sync[slot(k) + c.ACCOUNT] + saved, most)
    sync[c.MINE], sync[c.WINDOW] = 0, time


# ---------------------------------------------------------------- assistants


@plain
def audition(f, k):
    """Whether thread k may assist: it is trusted already, or it runs without interruption."""
    sync, state = vector(1, f.sync, f.words), slot(k) + c.STATE
    if fetch(sync, state) == c.TRUSTED:
        return True
    started = last = nanoseconds(f, k)
    while fetch(sync, state) == c.INVITED:
        time = nanoseconds(f, k)
        if time - last > c.INTERRUPTION:
            replaced(sync, state, c.INVITED, c.FAILED)
        elif time - started > c.AUDITION:
            return replaced(sync, state, c.INVITED, c.TRUSTED)
        last = time
        relax()
    return False


@plain
def next_ticket(f, k, ticket):
    """The ticket of a phase after that of `ticket`; 0 if thread k is to leave."""
    sync, state = vector(1, f.sync, f.words), slot(k) + c.STATE
    waited = 0
    while fetch(sync, state) == c.TRUSTED:
        opened = fetch(sync, c.TICKET)
        if opened != ticket:
            return opened
        waited += 1
        if waited < c.SPINS:
            relax()
        elif waited < c.SPINS + 10:
            sched_yield()
        elif waited < c.SPINS + 10 + c.IDLE_SLEEPS:
            usleep(uint32(50))
        else:
            replaced(sync, state, c.TRUSTED, c.AWAY)
    return 0


@plain
def begin_parts(f, k):
    """Thread k is going to claim parts."""
    put(vector(1, f.sync, f.words), slot(k) + c.BUSY, 1)


@plain
def finish_parts(f, k, parts):
    """Thread k has computed that many parts of the phase and does not hold any."""
    sync = vector(1, f.sync, f.words)
    fetch_add(sync, c.DONE, parts)
    put(sync, slot(k) + c.BUSY, 0)


@plain
def count_part(f, k):
    """Thread k has computed a part: its account is credited even before the phase ends."""
    if k > 0:
        sync, at = vector(1, f.sync, f.words), slot(k) + c.PARTS
        put(sync, at, sync[at] + 1)
