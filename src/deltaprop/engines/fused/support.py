"""Which networks and training runs the fused engine supports."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deltaprop.optim.solvers import LBFGS, SGD, Adam, AdamW, Solver

if TYPE_CHECKING:
    from deltaprop.network import Network
    from deltaprop.optim.privacy import Privacy


def cannot_run(net: Network) -> str | None:
    """Why the fused engine cannot run this network, or None if it can."""
    for f in net.f:
        if f.coupling == "row" and f.kernel is None:
            return f"the activation {f.name!r} couples outputs and has no kernel form"
    loss = net.loss_function
    closed = loss.closed_form(net.f[-1].name)
    kernel = closed.kernel if closed else loss.kernel
    if loss.outputs_per_target != 1 and kernel is None:
        return f"the loss {loss.name!r} has several outputs per target and no kernel form"
    return None


def unsupported(net: Network, solver: Solver, privacy: Privacy | None = None) -> str | None:
    """Why the fused engine cannot run this training run, or None if it can."""
    if privacy is not None:
        return "private training is not compiled"
    if type(solver) not in (SGD, Adam, AdamW, LBFGS):
        return f"the solver {type(solver).__name__} is not compiled"
    return cannot_run(net)
