"""What the fused engine can run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deltaprop.optim.solvers import LBFGS, SGD, Adam, AdamW, Solver

if TYPE_CHECKING:
    from deltaprop.network import Network
    from deltaprop.optim.privacy import Privacy


def cannot_run(net: Network) -> str | None:
    """Why the fused engine cannot run this network; None where it can."""
    for f in net.f:
        if f.coupling == "row" and f.name != "softmax":
            return f"the activation {f.name!r} of the user's own couples outputs"
    if not net.loss_function.is_ours and net.loss_function.outputs_per_target != 1:
        return f"the loss {net.loss_function.name!r} of the user's own has several outputs a target"
    return None


def unsupported(net: Network, solver: Solver, privacy: Privacy | None = None) -> str | None:
    """Why the fused engine cannot run this search; None where it can."""
    if privacy is not None:
        return "private training is not compiled"
    if type(solver) not in (SGD, Adam, AdamW, LBFGS):
        return f"the solver {type(solver).__name__} is not compiled"
    return cannot_run(net)
