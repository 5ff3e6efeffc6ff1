"""What the fused engine can run."""

from __future__ import annotations

from deltaprop.engines.fused.rules import uncompiled
from deltaprop.engines.protocol import Run
from deltaprop.model import Model
from deltaprop.optim.batch_gradients import ExactGradient


def cannot_run(net: Model) -> str | None:
    """Why the fused engine cannot run this network; None where it can."""
    for f in net.f:
        if f.coupling == "row" and f.name != "softmax":
            return f"the activation {f.name!r} of the user's own couples outputs"
    if not net.loss_function.is_ours and net.loss_function.outputs_per_target != 1:
        return f"the loss {net.loss_function.name!r} of the user's own has several outputs a target"
    return None


def cannot_train(model: Model, run: Run) -> str | None:
    """Why the fused engine cannot run this training run; None if it can."""
    if not isinstance(run.gradient, ExactGradient):
        return "private training is not compiled"
    if (name := uncompiled(run.chain)) is not None:
        return f"the solver's transformation {name} is not compiled"
    return cannot_run(model)
