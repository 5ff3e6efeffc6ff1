"""Iterations of SciPy's L-BFGS over all rows at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from deltaprop.engines.protocol import Objective, StepObserver
from deltaprop.errors import warn
from deltaprop.optim.solvers import LBFGS
from deltaprop.training.loop import TrainingLoop

if TYPE_CHECKING:
    from jaxtyping import Float


class Iterations:
    """Drives a :class:`TrainingLoop` with the iterations of L-BFGS.

    SciPy does not expose its approximation of the Hessian, so a run that continues from a
    checkpoint starts with an empty one.

    Parameters
    ----------
    objective : Objective
        Evaluates L and ∂L/∂θ at the current θ.
    solver : LBFGS
    observer : StepObserver, optional
        Called after each iteration.
    """

    monitors_training_loss = False

    def __init__(
        self, objective: Objective, solver: LBFGS, observer: StepObserver | None = None
    ) -> None:
        self._objective, self._solver, self._observer = objective, solver, observer

    def advance(self, loop: TrainingLoop) -> bool:
        theta, history = loop.model.theta, loop.history
        loop.state.epoch = max(loop.state.epoch, history.n_epochs)
        self._accepted = theta.copy()
        try:
            result = self._minimize(loop)
            self._accepted[...] = result.x
        finally:
            theta[...] = self._accepted
        if result.success:
            history.stop_reason = "converged"
        elif history.stop_reason == "max_epochs":
            _warn_of_failure(result)
        if not history.loss_curve:  # θ was a minimum already, so there was no iteration
            history.loss_curve.append(float(result.fun))
        return False

    def _minimize(self, loop: TrainingLoop) -> Any:
        from scipy.optimize import minimize

        theta = loop.model.theta

        def objective(x: Float[np.ndarray, " P"]) -> tuple[float, Float[np.ndarray, " P"]]:
            theta[...] = x
            loss, g = self._objective()
            return loss, g.astype(np.float64)

        def after_iteration(intermediate_result: Any) -> None:
            theta[...] = self._accepted[...] = intermediate_result.x
            loop.end_epoch(float(intermediate_result.fun), None)
            if self._observer is not None:
                self._observer.at(loop.history.n_epochs, loop.state.epoch, None)
            loop.settle(None)
            if loop.history.stop_reason != "max_epochs":
                raise StopIteration
            loop.check_cancelled()

        loop.check_cancelled()
        return minimize(
            objective,
            theta.astype(np.float64),
            method="L-BFGS-B",
            jac=True,
            callback=after_iteration,
            options={
                "maxfun": self._solver.max_fun,
                "maxiter": loop.epochs_left,
                "gtol": loop.settings.tol,
            },
        )


def _warn_of_failure(result: Any) -> None:
    from sklearn.exceptions import ConvergenceWarning

    warn(
        f"lbfgs failed to converge after {result.nit} iteration(s) (status={result.status}): "
        f"{result.message}. Increase the number of iterations (max_iter or "
        "max_epochs), or scale the data.",
        ConvergenceWarning,
    )
