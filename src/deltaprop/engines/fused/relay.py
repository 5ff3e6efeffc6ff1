"""How two threads take turns to lead while other programs use all processors.

The scheduler divides the time of busy processors among all threads that want to run. A single
thread gets one share, no matter how short its steps are. Two threads that take turns get two, as
those of other multi-threaded programs do, and only one of them runs at a time, so that neither
waits at a barrier. After a *shift*, the leader wakes its *relief* and sleeps until it is woken up
in its turn. A shift is shorter than a time slice, so that a thread is rarely interrupted while the
other cannot take over. If steps are short, the relief runs the next steps; if they are long, it
computes parts of the open phase.

The state of a relief is COMING until it has arrived, and READY while it sleeps. The leader sets it
to WORKING and then waits until it is READY again. A relief that is READY may set it to AWAY and
leave: if it is asked to, or if there was no shift for it for a while. A byte in a pipe only wakes a
thread up; what the thread does then depends on the state alone.

Where all processors are busy, a relief that wakes up on another processor than that of the leader
has to wait until the program there has used up its slice. On the same one it runs at once, because
the leader has just gone to sleep. So a relief that comes late moves there; the scheduler wakes it
up there the next time, too, if nothing else is better.

Threads are relieved on Linux only.
"""

import sys

from numba import int32, int64, types

from deltaprop.engines.fused import constants as c
from deltaprop.engines.fused.lowlevel import fetch, plain, put, replaced, vector
from deltaprop.engines.fused.sharing import nanoseconds, slot

poll = types.ExternalFunction("poll", types.int32(types.int64, types.int64, types.int32))
read = types.ExternalFunction("read", types.int64(types.int32, types.int64, types.int64))
write = types.ExternalFunction("write", types.int64(types.int32, types.int64, types.int64))
sched_getcpu = types.ExternalFunction("sched_getcpu", types.int32())
OF_MASK = types.int32(types.int32, types.int64, types.int64)
sched_getaffinity = types.ExternalFunction("sched_getaffinity", OF_MASK)
sched_setaffinity = types.ExternalFunction("sched_setaffinity", OF_MASK)
POLLIN = 1


# ---------------------------------------------------------------- shifts


@plain
def begin_shift(f, k):
    """Begin a shift of thread k. The leader's shift has no end if nobody can relieve it."""
    sync = vector(1, f.sync, f.words)
    sync[slot(k) + c.ENDS] = nanoseconds(f, k) + c.SHIFT if k or sync[c.RELIEF] else 0


@plain
def continue_shift(f):
    """Continue the leader's shift of the last call, or begin its first one."""
    sync = vector(1, f.sync, f.words)
    if sync[c.RELIEF] == 0 or sync[slot(0) + c.ENDS] == 0:
        begin_shift(f, 0)


@plain
def begin_step(f, k):
    """The time when a step of thread k begins; 0 if its shift has no end."""
    return nanoseconds(f, k) if vector(1, f.sync, f.words)[slot(k) + c.ENDS] else 0


@plain
def end_step(f, k, began):
    """Note how long a step of thread k with a whole batch took."""
    if began:
        sync, time = vector(1, f.sync, f.words), nanoseconds(f, k) - began
        sync[c.STEP_TIME] = min(time, sync[c.STEP_TIME]) if sync[c.STEP_TIME] else time


@plain
def is_over_within_step(f, k):
    """Whether thread k should be relieved before its step, a long one, is complete."""
    sync = vector(1, f.sync, f.words)
    ends = sync[slot(k) + c.ENDS]
    return ends > 0 and sync[c.STEP_TIME] > c.LONG and nanoseconds(f, k) > ends


@plain
def is_over_after_step(f, k):
    """Whether thread k should be relieved rather than run another step."""
    sync = vector(1, f.sync, f.words)
    ends, step = sync[slot(k) + c.ENDS], sync[c.STEP_TIME]
    return ends > 0 and step <= c.LONG and nanoseconds(f, k) + step // 2 > ends


@plain
def hand_over(f, task):
    """Let the relief work for a shift, if it is ready. Returns when it has finished.

    The task is LEAD: run steps, or TAKE_PARTS: compute parts of the open phase.
    """
    sync = vector(1, f.sync, f.words)
    k = sync[c.RELIEF]
    if k:
        _note_end(f, k)
        sync[slot(0) + c.ENDS], sync[c.TASK] = 0, task
        if replaced(sync, slot(k) + c.STATE, c.READY, c.WORKING):
            _wake(f, k, c.WAKES_RELIEF)
            while fetch(sync, slot(k) + c.STATE) == c.WORKING:
                _sleep(f, k, c.LEADER_READS, c.LEADER_POLL)
    begin_shift(f, 0)


# ---------------------------------------------------------------- the relief


@plain
def comes_as_relief(f, k):
    """Whether thread k has been called to relieve the leader; it is ready from now on, then."""
    return replaced(vector(1, f.sync, f.words), slot(k) + c.STATE, c.COMING, c.READY)


@plain
def next_shift(f, k):
    """Wait until the next shift of the relief k begins. False if it has left instead."""
    sync, at = vector(1, f.sync, f.words), slot(k)
    while fetch(sync, at + c.STATE) != c.WORKING:
        woken = _sleep(f, k, c.RELIEF_READS, c.RELIEF_POLL)
        may_leave = not woken or fetch(sync, at + c.LEAVE)
        if may_leave and replaced(sync, at + c.STATE, c.READY, c.AWAY):
            return False
    _come_closer(f, k)
    begin_shift(f, k)
    return True


@plain
def give_back(f, k):
    """End the shift of the relief k."""
    put(vector(1, f.sync, f.words), slot(k) + c.STATE, c.READY)
    _wake(f, k, c.WAKES_LEADER)


# ---------------------------------------------------------------- to wake up and to sleep


@plain
def _wake(f, k, pipe):
    at = slot(k)
    write(int32(vector(1, f.sync, f.words)[at + pipe]), f.sync + 8 * (at + c.BYTE), int64(1))


@plain
def _sleep(f, k, pipe, room):
    """Sleep until there is a byte in the pipe, and take it. False if none came for a while.

    Another thread may take the byte first: pipes stay with a relief that goes from frame to frame.
    """
    sync, at = vector(1, f.sync, f.words), slot(k)
    sync[at + room] = sync[at + pipe] + (POLLIN << 32)  # a struct pollfd
    events = poll(f.sync + 8 * (at + room), int64(1), int32(c.RELIEF_STAYS))
    if events > 0:
        read(int32(sync[at + pipe]), f.sync + 8 * (at + c.BYTE), int64(1))
    return events != 0


# ---------------------------------------------------------------- processors


if sys.platform == "linux":

    @plain
    def _note_end(f, k):
        """Note when and where the leader's shift ends, before the state tells its relief."""
        sync, at = vector(1, f.sync, f.words), slot(k)
        sync[at + c.ENDED_AT], sync[at + c.ENDED_ON] = nanoseconds(f, 0), sched_getcpu()

    @plain
    def _come_closer(f, k):
        """Move the relief to the processor of the leader if it comes late."""
        sync, at = vector(1, f.sync, f.words), slot(k)
        late, there = nanoseconds(f, 0) - sync[at + c.ENDED_AT] > c.LATE, sync[at + c.ENDED_ON]
        if late and there != sched_getcpu():
            _move_to(f, there)

    @plain
    def _move_to(f, processor):
        """Move the current thread to that processor; it may then run wherever it could before."""
        size = 4 * c.MASKS  # bytes of a mask
        before = f.words - c.MASKS
        mask = before + c.MASKS // 2
        if processor >= 8 * size:
            return
        sync = vector(1, f.sync, f.words)
        for word in range(before, f.words):
            sync[word] = 0
        sync[mask + processor // 64] = int64(1) << (processor % 64)
        found = sched_getaffinity(int32(0), int64(size), f.sync + 8 * before)
        if found >= 0 and sync[before + processor // 64] & sync[mask + processor // 64]:
            sched_setaffinity(int32(0), int64(size), f.sync + 8 * mask)
            sched_setaffinity(int32(0), int64(size), f.sync + 8 * before)

else:

    @plain
    def _note_end(f, k):
        return

    @plain
    def _come_closer(f, k):
        return
