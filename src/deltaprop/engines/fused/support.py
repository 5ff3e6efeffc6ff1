"""Which networks and training runs the fused engine supports."""

from __future__ import annotations

from deltaprop.engines.fused.layout import LARGEST_SLAB
from deltaprop.engines.protocol import Run
from deltaprop.model import Model


def cannot_run(net: Model) -> str | None:
    """Why the fused engine cannot run this network; None where it can."""
    for f in net.f:
        if f.coupling == "row" and f.kernel is None:
            return f"the activation {f.name!r} couples outputs and has no kernel form"
    loss = net.loss_function
    closed = loss.closed_form(net.f[-1].name)
    kernel = closed.kernel if closed else loss.kernel
    if loss.outputs_per_target != 1 and kernel is None:
        return f"the loss {loss.name!r} has several outputs per target and no kernel form"
    return None


def cannot_train(model: Model, run: Run) -> str | None:
    """Why the fused engine cannot run this training run; None if it can."""
    if run.chain.needs_fisher and run.batch_size > LARGEST_SLAB:
        return f"batches of more than {LARGEST_SLAB} rows, for KFAC, do not fit its memory"
    return cannot_run(model)
