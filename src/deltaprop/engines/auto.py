"""``engine="auto"``: the fused engine as soon as it is compiled, the reference engine until then.

Both ``"auto"`` and ``"fused"`` fall back to the reference engine, with one warning for each reason,
if the fused engine does not support a training run.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from deltaprop.data.rows import Rows
from deltaprop.engines.protocol import (
    Engine,
    Objective,
    Order,
    Processes,
    Rates,
    Run,
    SingleProcess,
    Trainer,
)
from deltaprop.engines.reference import Reference
from deltaprop.errors import InputError, warn
from deltaprop.model import Model

PACE = 10e9  # multiplications per second of the reference engine, at best
PATIENCE = 5.0  # seconds of reference epochs above which waiting for the compiler is faster
_warned: set[str] = set()


@dataclass(frozen=True)
class Compiled:
    """``engine="fused"`` and, without waiting for the compiler, ``engine="auto"``.

    Parameters
    ----------
    wait : bool
        Whether a training run waits until everything is compiled. Otherwise the reference engine
        runs epochs until the compiled code is ready.
    n_threads : int, optional
        At most how many threads share a step. The default is the number of available cores.
    reproducible : bool, default=False
        Divide the work so that results do not depend on the number of threads.
    precision : {None, "bfloat16"}, default=None
        The dtype of the factors of matrix products. None is the dtype of the network. Otherwise
        training always waits for the compiler, because the reference engine has no other precision.
    """

    wait: bool
    n_threads: int | None = None
    reproducible: bool = False
    precision: str | None = None

    def __post_init__(self) -> None:
        if self.precision is None:
            return
        if self.precision != "bfloat16":
            raise InputError(f"precision must be None or 'bfloat16', got {self.precision!r}.")
        from deltaprop.engines.fused import bfloat16

        bfloat16.check_available()
        object.__setattr__(self, "wait", True)

    @property
    def processes(self) -> Processes:
        return SingleProcess()

    def part(self) -> tuple[Engine, int, int]:
        return self, 0, 1

    def work_layout(self) -> dict[str, str | int]:
        name = "fused" if self.wait else "auto"
        layout: dict[str, str | int] = {
            "engine": name if self.precision is None else f"{name} with {self.precision}",
            "reproducible": self.reproducible,
        }
        if self.reproducible:
            return layout
        from deltaprop.engines.fused.processors import available

        return {**layout, "n_threads": self.n_threads or available()}

    def trainer(self, model: Model, rows: Rows, run: Run) -> Trainer:
        self._check(model)
        from deltaprop.engines.fused.support import cannot_train

        if (reason := cannot_train(model, run)) is not None:
            _fall_back(reason)
            return Reference().trainer(model, rows, run)

        def fused() -> Trainer:
            from deltaprop.engines.fused.rules import is_compiled
            from deltaprop.engines.fused.stepped import SteppedTrainer
            from deltaprop.engines.fused.trainer import FusedTrainer

            trainer = FusedTrainer if is_compiled(run.chain) else SteppedTrainer
            return trainer(model, rows, run, self.n_threads, self.reproducible, self.precision)

        if self._should_wait(model, rows, run) and _compiled(model, rows.X, self.precision):
            return fused()
        reference = Reference().trainer(model, rows, run)
        return HandingOver(reference, lambda: fused() if _ready(model, rows.X) else None)

    def objective(self, model: Model, rows: Rows) -> Objective:
        self._check(model)
        from deltaprop.engines.fused import compiling
        from deltaprop.engines.fused.support import cannot_run

        if (reason := cannot_run(model)) is not None:
            _fall_back(reason)
            return Reference().objective(model, rows)
        ready = _ready(model, rows.X)
        if not ready and not self.wait:
            compiling.start(model, rows.X)
        if (ready or self.wait) and _compiled(model, rows.X, self.precision):
            from deltaprop.engines.fused.gradients import fused_objective

            return fused_objective(model, rows, self.n_threads, self.reproducible, self.precision)
        return Reference().objective(model, rows)

    def _check(self, model: Model) -> None:
        if self.precision is not None and model.dtype.name != "float32":
            raise InputError(
                f"precision={self.precision!r} needs a network with dtype='float32', got "
                f"{model.dtype.name!r}. Create a float32 network (estimators do so if X is "
                "float32), or leave precision out."
            )

    def _should_wait(self, model: Model, rows: Rows, run: Run) -> bool:
        """Whether to wait for the compiler, because that is faster or `wait` is set."""
        from deltaprop.engines.fused import compiling

        if self.wait or _ready(model, rows.X):
            return True
        in_background = compiling.start(model, rows.X)
        seconds = seconds_per_epoch(model, rows.X.shape[0])
        return seconds * (1 if in_background else run.max_epochs) > PATIENCE


class HandingOver:
    """Runs epochs on the reference engine until the fused engine is compiled.

    Parameters
    ----------
    reference : Trainer
    fused : callable
        Returns the fused engine's trainer, or None while it is not compiled.
    """

    def __init__(self, reference: Trainer, fused: Callable[[], Trainer | None]) -> None:
        self._trainer, self._fused, self._handed_over = reference, fused, False
        self.n_samples, self.batch_size = reference.n_samples, reference.batch_size

    @property
    def epochs_per_call(self) -> int:
        return self._trainer.epochs_per_call

    def run(self, orders: Sequence[Order], rates: Sequence[Rates], first: int = 0) -> list[float]:
        if not self._handed_over and (fused := self._fused()) is not None:
            self._trainer, self._handed_over = fused, True
        return self._trainer.run(orders, rates, first)

    def rewind(self, n: int) -> None:
        self._trainer.rewind(n)


def seconds_per_epoch(model: Model, N: int) -> float:
    """The time that an epoch takes on the reference engine, at best."""
    return 3 * N * sum(W.size for W in model.W) / PACE


def _ready(model: Model, X: Any) -> bool:
    from deltaprop.engines.fused import compiling

    return compiling.ready(model, X)


def _compiled(model: Model, X: Any, precision: str | None = None) -> bool:
    """Wait for the compiler. Returns False, after a warning, if it rejects a custom function."""
    from deltaprop.engines.fused import compiling
    from deltaprop.engines.fused.objects import Uncompilable

    try:
        compiling.finish(model, X, precision)
    except Uncompilable as error:
        _fall_back(str(error))
        return False
    return True


def _fall_back(reason: str) -> None:
    """Warn once for each reason."""
    if reason not in _warned:
        _warned.add(reason)
        warn(f"Falling back to the reference engine: {reason}.")
