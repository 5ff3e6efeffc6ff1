"""L-BFGS over all rows at once, by SciPy, with the events and outcomes of the epoch loop."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from deltaprop.training.loop import (
    Callback,
    Epoch,
    Evaluate,
    History,
    Keeper,
    UnderWay,
    monitored,
    record,
)
from deltaprop.training.stopping import Plateau

if TYPE_CHECKING:
    from jaxtyping import Float

    LossAndGradient = Callable[[], tuple[float, Float[np.ndarray, " P"]]]


def quasi_newton(
    theta: Float[np.ndarray, " P"],
    loss_and_gradient: LossAndGradient,
    *,
    max_iter: int,
    max_fun: int,
    tol: float,
    history: History,
    plateau: Plateau,
    evaluate: Evaluate | None = None,
    stop_on_validation: bool = False,
    monitor_loss: bool = False,
    callbacks: Iterable[Callback] = (),
    network: Any = None,
    keeper: Keeper | None = None,
) -> History:
    """Minimise over `theta` in place; `loss_and_gradient` evaluates at its current values.

    A `keeper` is asked after iterations. It cannot keep SciPy's memory of gradients: a search that
    goes on begins a new one.
    """
    from scipy.optimize import minimize
    from sklearn.exceptions import ConvergenceWarning

    started = time.perf_counter()
    under_way = UnderWay() if keeper is None else keeper.under_way
    accepted = theta.copy()

    def objective(x: Float[np.ndarray, " P"]) -> tuple[float, Float[np.ndarray, " P"]]:
        theta[...] = x
        loss, g = loss_and_gradient()
        return loss, g.astype(np.float64)

    def after_iteration(intermediate_result: Any) -> None:
        theta[...] = accepted[...] = intermediate_result.x
        history.n_epochs += 1
        history.loss_curve.append(float(intermediate_result.fun))
        validation_loss, score = evaluate() if evaluate else (None, None)
        record(history, validation_loss, score)
        if stop_on_validation and plateau.update(
            monitored(validation_loss, None if monitor_loss else score)
        ):
            under_way.best_theta = theta.copy()
            history.best_epoch = history.n_epochs
        event = Epoch(
            history.n_epochs,
            max_iter,
            history.loss_curve[-1],
            None,
            validation_loss,
            score,
            time.perf_counter() - started,
            network,
        )
        if any([bool(callback(event)) for callback in callbacks]):  # noqa: C419
            history.stop_reason = "callback"
            raise StopIteration
        if stop_on_validation and plateau.reached:
            history.stop_reason = "converged"
            raise StopIteration
        if keeper is not None:
            keeper.pause()

    def ended() -> bool:
        return history.stop_reason != "max_epochs" or history.n_epochs >= max_iter

    def minimise() -> None:
        result = minimize(
            objective,
            theta.astype(np.float64),
            method="L-BFGS-B",
            jac=True,
            callback=after_iteration,
            options={"maxfun": max_fun, "maxiter": max_iter - history.n_epochs, "gtol": tol},
        )
        accepted[...] = result.x
        if result.success:
            history.stop_reason = "converged"
        elif history.stop_reason == "max_epochs":
            warnings.warn(
                f"lbfgs failed to converge after {result.nit} iteration(s) "
                f"(status={result.status}): {result.message}. Increase the number of iterations "
                "(max_iter), or scale the data.",
                ConvergenceWarning,
                stacklevel=2,
            )
        if not history.loss_curve:  # already at a minimum: no iteration was needed
            history.loss_curve.append(float(result.fun))

    try:
        if not ended():
            minimise()
        theta[...] = accepted
        if keeper is not None:
            keeper.finish()
    except KeyboardInterrupt:
        history.stop_reason = "interrupted"
    finally:
        theta[...] = accepted if under_way.best_theta is None else under_way.best_theta
    if not np.isfinite(theta).all():
        history.stop_reason = "diverged"
    return history
