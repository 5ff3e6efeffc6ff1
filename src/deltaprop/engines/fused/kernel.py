"""The compiled kernel: many steps of a training run in one call.

Thread 0 runs the steps, and other threads assist it (see `sharing.py`) or, on a busy machine, take
turns with it (see `relay.py`). A step has two phases:

1. The rows of the batch are divided. A thread takes *tiles* of rows through all layers, forward and
   back, and leaves their X_l, δ_l and losses in memory that all threads share.
2. The parameters are divided. A thread takes *pieces* of the rows of every W_l, computes their
   gradient ∂W_l = X_lᵀ δ_l over the whole batch, and updates them while they are in the cache.

All δ_l are complete when the second phase begins, and all of θ is updated when the next step
begins. A third phase is needed only if the gradient is clipped, because its norm must be known
before any parameter is updated.

Results are reproducible to the bit, because they do not depend on which thread computes what. The
activations of a row are computed from that row alone. Each number of a gradient is one sum over all
rows of the slab, by one thread, in an order that is fixed. Sums over pieces (norms, penalties) are
stored piece by piece and then added up in one order. Only the number of pieces depends on the
number of threads that may share a step, unless `reproducible` fixes it (see `layout.py`); it never
depends on how many threads do assist.

This module has the loops over steps, slabs and phases. `parts.py` has what is computed in a phase.

A batch larger than a *slab* passes through both phases slab by slab, and its gradient is the sum of
theirs.
"""

import math

from deltaprop.engines.fused.constants import (
    ADAM,
    CLIPPED,
    FEW,
    LEAD,
    LONG,
    MOST_PIECES,
    NORMS,
    PANELS,
    PARAMETERS,
    PREDICT,
    PREDICTION,
    ROWS_OF_BATCH,
    SKLEARN,
    STEP_TIME,
    SUM,
    TAKE_PARTS,
    TASK,
    TICKET,
    TOGETHER,
)
from deltaprop.engines.fused.layer import Slab, frame_at, place_at
from deltaprop.engines.fused.lowlevel import (
    call_part,
    fetch,
    flush_subnormals,
    matrix,
    plain,
    restore_subnormals,
    vector,
)
from deltaprop.engines.fused.parts import (
    BIAS,
    GRADIENTS,
    WEIGHTS,
    Step,
    all_pieces,
    pieces_of,
    place_of_sum,
    updates_together,
)
from deltaprop.engines.fused.relay import (
    begin_step,
    comes_as_relief,
    continue_shift,
    end_step,
    give_back,
    hand_over,
    is_over_after_step,
    is_over_within_step,
    next_shift,
)
from deltaprop.engines.fused.sharing import (
    audition,
    begin_parts,
    begin_window,
    claim,
    close_phase,
    count_part,
    finish_parts,
    kind_of,
    next_ticket,
    number_of,
    open_phase,
    part_of,
    parts_of,
    settle,
)

# ---------------------------------------------------------------- the entry point and its tasks


@plain
def enter(one, k, frame):
    """Thread 0 trains or predicts, depending on the frame's task; the others assist it."""
    before = flush_subnormals()
    _run_task(one, k, frame_at(frame, 0))
    restore_subnormals(before)


@plain
def _run_task(one, k, f):
    if k > 0 and comes_as_relief(f, k):
        _relieve(one, f, k)
    elif k > 0:
        _assist(f, k)
    elif f.task == PREDICT:
        _predict(f)
    else:
        _train(one, f)


@plain
def _train(one, f):
    """Train for `n_steps`, from step `start` of the epochs in `order` on.

    θ and the optimizer state are changed. `result` receives the number of updates, and each
    epoch's loss is added to it.
    """
    f.next, f.updates = 0, f.step
    begin_window(f)
    continue_shift(f)
    _share(f, PANELS, f.n_threads)
    while f.next < f.n_steps:
        if is_over_after_step(f, 0):
            hand_over(f, LEAD)
        _lead(one, f, 0)


@plain
def _lead(one, f, k):
    """Run steps, as thread k, until the last one or the end of the shift."""
    while f.next < f.n_steps:
        began, updates = begin_step(f, k), f.updates
        _run_step(one, f, f.next)
        f.next += 1
        if f.n_threads > 1:
            settle(f)
        if f.updates > updates and f.step_size >= min(f.batch, f.N):
            end_step(f, k, began)
        if is_over_after_step(f, k):
            return


@plain
def _run_step(one, f, s):
    """Run step s of this call, unless all weights of its batch are zero."""
    rates, result = matrix(1.0, f.rates, f.n_steps, 3), vector(1.0, f.result, 1)
    order, weights = vector(1, f.order, f.N), vector(one, f.weights, f.N)
    steps_per_epoch = (f.N + f.batch - 1) // f.batch
    epoch, step_of_epoch = (f.start + s) // steps_per_epoch, (f.start + s) % steps_per_epoch
    start = epoch * f.N + step_of_epoch * f.batch
    size = min(f.batch, f.N - step_of_epoch * f.batch)
    total_weight = float(size)
    if f.weights:
        total_weight = 0.0  # in a separate function, LLVM would reorder this sum
        for i in range(size):
            total_weight += weights[order[start + i]]
    if total_weight == 0.0 and f.max_norm == 0:
        return
    f.updates += 1
    step = _step(f, start, size, f.updates, total_weight, rates, s)
    loss = _gradient_and_update(one, f, step)
    if f.clip > 0:
        f.clip_factor = _clip_factor(f)
        _share(f, CLIPPED, all_pieces(f))
    share = 1.0 if f.reduction == SUM else size / f.rows_of_epoch
    penalty = 0.5 * step.l2 * _sum_of_parts(f, WEIGHTS) if step.l2 > 0 else 0.0
    result[1 + epoch] += share * (loss + penalty)
    result[0] = f.updates


@plain
def _predict(f):
    """Write the outputs of all N rows to `out`; each thread uses its own part of the memory."""
    if f.n_threads > 1:
        begin_window(f)
        continue_shift(f)
        vector(1, f.sync, f.words)[STEP_TIME] = LONG + 1  # all rows are one step
    if f.N >= FEW or f.scaled or f.by_layer:
        _share(f, PANELS, f.n_threads)
    _share(f, PREDICTION, (f.N + f.tile - 1) // f.tile)


@plain
def _assist(f, k):
    """Compute parts of the phases that thread 0 opens, as thread k, until there is no more need."""
    if not audition(f, k):
        return
    ticket = next_ticket(f, k, 0)
    while ticket:
        begin_parts(f, k)
        finish_parts(f, k, _take_parts(f, k, ticket))
        ticket = next_ticket(f, k, ticket)


@plain
def _relieve(one, f, k):
    """Work whenever thread 0 hands over, as thread k, until there is no more need."""
    sync = vector(1, f.sync, f.words)
    while next_shift(f, k):
        if sync[TASK] == LEAD:
            _lead(one, f, k)
        else:
            finish_parts(f, k, _take_parts(f, k, fetch(sync, TICKET)))
        give_back(f, k)


# ---------------------------------------------------------------- phases and their parts


@plain
def _share(f, kind, parts):
    """Compute all parts of a phase, together with the threads that assist."""
    if f.n_threads > 1:
        ticket = open_phase(f, kind, parts)
        close_phase(f, parts, _take_parts(f, 0, ticket))
    elif _is_of_pieces(kind):
        for l in range(f.L):
            for piece in range(pieces_of(f, l)):
                call_part(f.part, f.frame, 0, kind, l * MOST_PIECES + piece)
    else:
        for part in range(parts):
            call_part(f.part, f.frame, 0, kind, part)


@plain
def _take_parts(f, k, ticket):
    """Compute parts of a phase, as thread k, while there are some. Returns their number.

    The relief stops at the end of its shift.
    """
    phase, kind, taken = number_of(ticket), kind_of(ticket), 0
    of_pieces = _is_of_pieces(kind)
    for l in range(f.L if of_pieces else 1):
        parts = pieces_of(f, l) if of_pieces else parts_of(ticket)
        for turn in range(parts):
            part = l * MOST_PIECES + part_of(turn, k, parts, f.n_threads)
            if claim(f, part, phase):
                call_part(f.part, f.frame, k, kind, part)
                count_part(f, k)
                taken += 1
                if is_over_within_step(f, k):
                    if k > 0:
                        return taken
                    hand_over(f, TAKE_PARTS)
    return taken


@plain
def _is_of_pieces(kind):
    """Whether part l · MOST_PIECES + i of such a phase is piece i of W_l."""
    return kind in (PARAMETERS, CLIPPED)


# ---------------------------------------------------------------- a step


@plain
def _step(f, start, size, updates, total_weight, rates, s):
    """The step for a batch: its factors follow from the reduction and the update rule."""
    if f.max_norm > 0:  # private training divides by public numbers only
        total_weight, batch = float(size), float(f.batch)
    else:
        batch = total_weight
    rate, decay, dropout = rates[s, 0], rates[s, 1], rates[s, 2]
    scale, l2, gain = 1.0 / total_weight, f.l2, rate
    if f.reduction == SUM:
        scale, l2 = 1.0, f.l2 * size / f.rows_of_epoch
    elif f.reduction == SKLEARN:
        l2 = f.l2 / batch
    if f.rule == ADAM:
        gain = rate * math.sqrt(1 - f.b2**updates) / (1 - f.b1**updates)
    return Step(start, size, updates, scale, l2, gain, rate * f.decay * decay, dropout)


@plain
def _gradient_and_update(one, f, step):
    """Both phases of a step, for one slab after the other. Returns the loss."""
    _publish_step(f, step)
    loss, done = 0.0, 0
    while done < step.size:
        n = min(f.slab, step.size - done)
        _publish_slab(f, Slab(step.start + done, done, n, done + n == step.size))
        _share(f, ROWS_OF_BATCH, (n + f.tile - 1) // f.tile)
        losses = vector(one, place_at(one, f, f.batch_losses), n)
        for i in range(n):
            loss += step.scale * losses[i]
        if f.rule != NORMS:
            _share(f, PARAMETERS, all_pieces(f))
        done += n
    if updates_together(f, step):
        _share(f, TOGETHER, 1)
    return loss


@plain
def _publish_step(f, step):
    """Write the step to where the threads that assist read it."""
    f.step_start, f.step_size, f.step_number = step.start, step.size, step.number
    f.step_scale, f.step_l2 = step.scale, step.l2
    f.step_gain, f.step_decay, f.step_dropout = step.gain, step.decay, step.dropout


@plain
def _publish_slab(f, slab):
    f.slab_first, f.slab_in_batch, f.slab_n = slab.first, slab.in_batch, slab.n
    f.slab_last = 1 if slab.last else 0


@plain
def _sum_of_parts(f, which):
    """Σ W² (WEIGHTS) or the squared norm of the gradient (GRADIENTS), added up in one order."""
    parts, total = vector(1.0, f.parts, 1), 0.0
    for l in range(f.L):
        first = place_of_sum(l, which, 0)
        for piece in range(pieces_of(f, l)):
            total += parts[first + piece]
        if which == GRADIENTS:
            total += parts[first + BIAS]
    return total


@plain
def _clip_factor(f):
    """The factor that reduces the gradient's norm to f.clip; 1 if the norm is not larger."""
    norm = math.sqrt(_sum_of_parts(f, GRADIENTS))
    return f.clip / norm if norm > f.clip else 1.0
