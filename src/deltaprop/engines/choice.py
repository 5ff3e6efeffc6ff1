"""Which engine runs a search: the one asked for, or the fastest that is ready."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from deltaprop.engines.options import Xla
from deltaprop.engines.reference import ReferenceEngine, loss_and_gradient
from deltaprop.network import Network
from deltaprop.optim.solvers import FirstOrder, Solver
from deltaprop.training.loop import Evaluate

if TYPE_CHECKING:
    from jaxtyping import Float, Int, Num

    from deltaprop.optim.privacy import Privacy

PACE = 10e9  # multiplications a second of the reference engine, at best
PATIENCE = 5.0  # seconds of reference epochs beyond which waiting for the compiler is quicker
_said: set[str] = set()


def engine_for(
    name: str | Xla,
    net: Network,
    X: Any,
    y: Num[np.ndarray, "N ..."],
    w: Float[np.ndarray, " N"] | None,
    *,
    solver: FirstOrder,
    max_epochs: int,
    threads: dict[str, Any],
    privacy: Privacy | None = None,
    **search: Any,
) -> Any:
    """The engine of that name, or for "auto" the fused one as soon as it is compiled."""
    if (options := _xla(name)) is not None:
        from deltaprop.engines.xla import XlaEngine

        return XlaEngine(net, X, y, w, solver=solver, options=options, privacy=privacy, **search)
    if name == "reference" or _only_reference(net, solver, privacy):
        return ReferenceEngine(net, X, y, w, solver=solver, privacy=privacy, **search)
    from deltaprop.engines.fused import FusedEngine, compiling

    def fused() -> Any:
        return FusedEngine(net, X, y, w, solver=solver, **threads, **search)

    now = name == "fused" or compiling.ready(net, X)
    if not now:
        elsewhere, seconds = compiling.start(net, X), seconds_an_epoch(net, X.shape[0])
        now = seconds * (1 if elsewhere else max_epochs) > PATIENCE
    if now and _finished(net, X):
        return fused()
    reference = ReferenceEngine(net, X, y, w, solver=solver, **search)
    return Handover(reference, lambda: fused() if compiling.ready(net, X) else None)


def gradient_for(
    name: str | Xla,
    net: Network,
    X: Any,
    y: Num[np.ndarray, "N ..."],
    w: Float[np.ndarray, " N"] | None,
    solver: Solver,
    threads: dict[str, Any],
    subset: Int[np.ndarray, " M"] | None,
) -> Any:
    """A function that gives L and ∂L/∂θ over all rows at the network's current θ."""
    if (options := _xla(name)) is not None:
        from deltaprop.engines.xla import loss_and_gradient as xla

        return xla(net, X, y, w, options, subset)
    if name != "reference" and not _only_reference(net, solver):
        from deltaprop.engines.fused import compiling
        from deltaprop.engines.fused import loss_and_gradient as fused

        ready = compiling.ready(net, X)
        if not ready and name == "auto":
            compiling.start(net, X)
        if (ready or name == "fused") and _finished(net, X):
            return fused(net, X, y, w, subset=subset, **threads)
    if subset is not None:
        X, y, w = X[subset], y[subset], None if w is None else w[subset]
    t = net.loss_function.target(y, net.n_outputs, net.theta, np)
    return lambda: loss_and_gradient(net, X, t, w)


def agreed(name: str | Xla, evaluate: Evaluate | None) -> Evaluate | None:
    """`evaluate` with the same result in every process of a search: else some would stop alone."""
    if evaluate is None or _xla(name) is None:
        return evaluate
    from deltaprop.engines.xla import mean_over_processes

    def by_all() -> tuple[float | None, float | None]:
        loss, score = mean_over_processes(evaluate())
        return loss, score

    return by_all


def known_to_all(name: str | Xla, facts: dict[str, Any]) -> dict[str, Any]:
    """What describes a search, the same in all processes: its lists of numbers describe rows."""
    if _xla(name) is None:
        return facts
    from deltaprop.engines.xla import mean_over_processes

    return {
        name: list(mean_over_processes(value)) if isinstance(value, list) else value
        for name, value in facts.items()
    }


def check_same_order(name: str | Xla, rng: np.random.RandomState) -> None:
    """Raise where processes that are given the same rows would take them in different orders."""
    options = _xla(name)
    if options is None or not options.shared_rows:
        return
    from deltaprop.engines.xla import check_same

    _, keys, at, *_ = rng.get_state()
    check_same("seed, or random_state,", keys, at)


def noise_seed_of_all(name: str | Xla, seed: int) -> int:
    """The seed of the first of the processes that train together: all add the same noise."""
    if _xla(name) is None:
        return seed
    from deltaprop.engines.xla import seed_of_first

    return seed_of_first(seed)


class Handover:
    """Reference epochs until the fused engine is compiled, fused ones from then on."""

    def __init__(self, reference: ReferenceEngine, fused: Any) -> None:
        self._engine: Any = reference
        self._fused = fused
        self.theta, self.n_samples = reference.theta, reference.n_samples
        self.batch_size = reference.batch_size

    @property
    def at_once(self) -> int:
        return getattr(self._engine, "at_once", 1)

    def epochs(self, orders: Any, learning_rates: Any) -> list[float]:
        losses: list[float] = self._engine.epochs(orders, learning_rates)
        return losses

    def again(self, n: int) -> None:
        self._engine.again(n)

    def epoch(
        self,
        order: Int[np.ndarray, " N"] | None,
        learning_rates: Float[np.ndarray, " S"],
        first: int = 0,
    ) -> float:
        if isinstance(self._engine, ReferenceEngine):
            self._engine = self._fused() or self._engine
        loss: float = self._engine.epoch(order, learning_rates, first)
        return loss


def seconds_an_epoch(net: Network, N: int) -> float:
    """What an epoch of the reference engine costs, at best."""
    return 3 * N * sum(W.size for W in net.W) / PACE


def _xla(name: str | Xla) -> Xla | None:
    """The xla engine's settings, where it is the one asked for."""
    if isinstance(name, Xla):
        return name
    return Xla() if name == "xla" else None


def processes_of(name: str | Xla) -> tuple[int, int]:
    """Which of the processes that train together this one is, and how many there are."""
    if _xla(name) is None:
        return 0, 1
    import jax

    return jax.process_index(), jax.process_count()


def divided(name: str | Xla) -> tuple[str | Xla, tuple[int, int]]:
    """The engine for this process's part of a stream that all are given, and which part it is."""
    options = _xla(name)
    if options is None or not options.shared_rows:
        return name, (0, 1)
    return replace(options, shared_rows=False), processes_of(name)


def _only_reference(net: Network, solver: Solver, privacy: Privacy | None = None) -> bool:
    from deltaprop.engines.fused.support import unsupported

    reason = unsupported(net, solver, privacy)
    if reason is not None:
        _say_once(f"The reference engine runs this search: {reason}.")
    return reason is not None


def _finished(net: Network, X: Any) -> bool:
    """Wait for the compiler; False, and a warning, where it does not take the user's functions."""
    from deltaprop.engines.fused import compiling
    from deltaprop.engines.fused.objects import Uncompilable

    try:
        compiling.finish(net, X)
    except Uncompilable as error:
        _say_once(f"The reference engine runs this search: {error}.")
        return False
    return True


def _say_once(message: str) -> None:
    if message not in _said:
        _said.add(message)
        warnings.warn(message, stacklevel=5)
