"""The settings of a training run, validated and passed on as one object."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from numbers import Integral
from typing import TYPE_CHECKING

import numpy as np

from deltaprop import engines
from deltaprop.engines import Engine
from deltaprop.errors import InputError, InputTypeError
from deltaprop.functions.checks import is_int, is_real
from deltaprop.optim.privacy import Privacy
from deltaprop.optim.schedules import Constant, Schedule, check_factors
from deltaprop.optim.solvers import Adam, FirstOrder, Solver
from deltaprop.optim.transforms import Chain, ClipByNorm
from deltaprop.training.callbacks import Callback, check_callbacks
from deltaprop.training.checkpoint import Checkpoint, check_checkpoint
from deltaprop.training.record import Record, check_record
from deltaprop.training.stopping import Plateau

if TYPE_CHECKING:
    from deltaprop.engines.xla_engine import Xla

IDENTITY = {"identity": True}
"""Marks a setting that must not change when training continues from a checkpoint."""


@dataclass(frozen=True)
class Settings:
    """The settings of :func:`deltaprop.fit`: how to train, apart from the network and the data.

    Parameters
    ----------
    solver : SGD, Adam, AdamW, Muon, KFAC or LBFGS, default=Adam()
    schedule : Schedule, default=Constant()
        The learning rate over time, from ``deltaprop.schedules``, for any first-order solver. (The
        weight decay has its own schedule: ``dp.AdamW(weight_decay_schedule=…)``.)
    batch_size : int or "auto", default="auto"
        "auto" is min(200, N). L-BFGS uses all rows in each iteration.
    max_epochs : int, default=200
        The maximum number of epochs (iterations of L-BFGS).
    clip_norm : float, optional
        The maximum Euclidean norm of the gradient over all parameters.
    shuffle : bool, default=True
        Whether each epoch takes the rows in a new random order.
    seed : int, RandomState or None, default=0
        Determines the row order, dropout, and the rows that are held out for validation.
    tol, patience : float, default=1e-4 and 10
        Training stops when the monitored value has not improved by `tol` for more than `patience`
        epochs. For L-BFGS `tol` bounds the projected gradient.
    restore_best : bool, default=True
        With validation data: whether they decide when training stops, and the θ of the best epoch
        is restored at the end.
    engine : {"auto", "reference", "fused", "xla"} or Xla, default="auto"
        "reference" uses NumPy. "fused" is compiled with Numba, once per machine, and uses several
        threads; where it does not support the network, training falls back to "reference" with a
        warning. "auto" runs epochs with "reference" until the compiled code of "fused" is ready.
        "xla" uses JAX on CPUs, GPUs, TPUs and many devices; :class:`deltaprop.Xla` contains its
        settings.
    n_threads : int, optional
        The largest number of threads that share a step of the fused engine. The default is the
        number of available cores, the CPU quota, ``OMP_NUM_THREADS`` or the limit of
        ``threadpool_limits`` if one of them is smaller, or 1 inside a parallel job of joblib.
    reproducible : bool, default=False
        Whether the results of the fused engine are bitwise identical for any number of threads.
        Otherwise they are bitwise identical for the same number of threads only.
    precision : {None, "bfloat16"}, default=None
        The dtype of the factors of matrix products in the fused engine. None is the dtype of the
        network. "bfloat16" is faster for layers of some hundred units: factors are rounded to 8
        bits of precision, while sums, activations, θ and its updates stay in float32. It needs a
        float32 network and a processor with AVX512_BF16 instructions.
    callbacks : iterable of callables
        Called with an :class:`~deltaprop.training.history.Epoch` after each epoch; training stops
        if one returns True. If a callback has a method ``finish()``, it is called at the end of
        training, after an error as well.
    record : int or Record, optional
        Record the signals of the network every `record` steps, in ``history.records``.
    checkpoint : str, Path or Checkpoint, optional
        A folder in which the state of the training run is saved every minute, or a
        :class:`~deltaprop.Checkpoint` with other intervals. The same call continues from the newest
        checkpoint in it, or returns the result immediately if the run has ended. `max_epochs` may
        be increased.
    privacy : Privacy, optional
        Bound what θ reveals about any row, by clipping and noise: see :class:`deltaprop.Privacy`.
        The training loss then does not stop the training: `tol` and `patience` apply only to
        validation data.
    ema_decay : float, default=0.0
        If it is not 0, validation, callbacks and the result use an exponential moving average of θ
        instead of θ of the last step. This is the decay of the average per step, in [0, 1), such as
        0.998; the average is updated at the end of each epoch by the decay of all of its steps. Not
        for L-BFGS.
    dropout_schedule : Schedule, default=Constant()
        Multiplies the dropout probabilities of all layers over time, such as
        ``dp.schedules.FlatCosine()``. All schedules but ``Adaptive``, which reacts to plateaus.
    horizon : int, optional
        The number of epochs that the schedules are made for. The default is `max_epochs`.

    Raises
    ------
    ValueError, TypeError
        If a setting is out of range or of the wrong type; the message names it.

    Examples
    --------
    >>> from deltaprop.training.settings import Settings
    >>> Settings(max_epochs=5, clip_norm=1.0).max_epochs
    5
    """

    solver: Solver = field(default=Adam(), metadata=IDENTITY)
    schedule: Schedule = field(default=Constant(), metadata=IDENTITY)
    batch_size: int | str = field(default="auto", metadata=IDENTITY)
    max_epochs: int = 200
    clip_norm: float | None = field(default=None, metadata=IDENTITY)
    shuffle: bool = field(default=True, metadata=IDENTITY)
    seed: int | np.random.RandomState | None = 0
    tol: float = field(default=1e-4, metadata=IDENTITY)
    patience: float = field(default=10, metadata=IDENTITY)
    restore_best: bool = True
    engine: str | Xla = "auto"
    n_threads: int | None = None
    reproducible: bool = False
    precision: str | None = None
    callbacks: tuple[Callback, ...] = ()
    record: Record | None = None
    checkpoint: Checkpoint | None = None
    privacy: Privacy | None = field(default=None, metadata=IDENTITY)
    ema_decay: float = field(default=0.0, metadata=IDENTITY)
    dropout_schedule: Schedule = field(default=Constant(), metadata=IDENTITY)
    horizon: int | None = None

    def __post_init__(self) -> None:
        defaults = (("solver", Adam), ("schedule", Constant), ("dropout_schedule", Constant))
        for name, default in defaults:
            if getattr(self, name) is None:
                object.__setattr__(self, name, default())
        _check_types(self)
        _check_ranges(self)
        self.compute_engine()
        object.__setattr__(self, "callbacks", check_callbacks(self.callbacks))
        object.__setattr__(self, "record", check_record(self.record))
        object.__setattr__(self, "checkpoint", check_checkpoint(self.checkpoint))
        if self.privacy is not None:
            self.privacy.check_solver(self.solver)

    def compute_engine(self) -> Engine:
        """The engine that computes the steps."""
        return engines.get(self.engine, self.n_threads, self.reproducible, self.precision)

    def chain(self) -> Chain:
        """The gradient transformations, from clipping to the step."""
        assert isinstance(self.solver, FirstOrder)
        clip = () if self.clip_norm is None else (ClipByNorm(float(self.clip_norm)),)
        return Chain((*clip, *self.solver.transformations(), *self.solver.scaling()))

    def plateau(self) -> Plateau:
        """A new counter of the epochs without an improvement."""
        return Plateau(self.tol, self.patience)

    def identity(self) -> dict[str, str]:
        """The settings that must not change when training continues from a checkpoint."""
        found = {f.name: str(getattr(self, f.name)) for f in fields(self) if f.metadata}
        return {**found, "seed": str(self.seed if isinstance(self.seed, Integral) else None)}


def _check_types(settings: Settings) -> None:
    if not isinstance(settings.solver, Solver):
        raise InputTypeError(
            "solver must be a deltaprop.SGD, Adam, AdamW, Muon, KFAC or LBFGS object, such "
            f"as dp.Adam(1e-3); got {settings.solver!r}."
        )
    if not isinstance(settings.schedule, Schedule):
        raise InputTypeError(
            f"schedule must be an object from deltaprop.schedules, got {settings.schedule!r}. "
            "Write, for example, dp.schedules.Cosine()."
        )
    check_factors("dropout_schedule", settings.dropout_schedule)
    if settings.privacy is not None and not isinstance(settings.privacy, Privacy):
        raise InputTypeError(
            "privacy must be a deltaprop.Privacy, such as dp.Privacy(noise=4.0), or None; got "
            f"{settings.privacy!r}."
        )


def _check_ranges(settings: Settings) -> None:
    batch_size, clip_norm, n_threads = settings.batch_size, settings.clip_norm, settings.n_threads
    if batch_size != "auto" and not is_int(batch_size, 1):
        raise InputError(f"batch_size must be 'auto' or an int >= 1, got {batch_size!r}.")
    if not is_int(settings.max_epochs, 1):
        raise InputError(f"max_epochs must be an int >= 1, got {settings.max_epochs!r}.")
    if clip_norm is not None and not (is_real(clip_norm) and clip_norm > 0):
        raise InputError(f"clip_norm must be a number > 0 or None, got {clip_norm!r}.")
    if not is_real(settings.tol) or settings.tol < 0:
        raise InputError(f"tol must be a number >= 0, got {settings.tol!r}.")
    if not is_real(settings.patience) or settings.patience < 0:
        raise InputError(f"patience must be a number of epochs >= 0, got {settings.patience!r}.")
    if not is_real(settings.ema_decay) or not 0 <= settings.ema_decay < 1:
        raise InputError(
            f"ema_decay must be a number in [0, 1), such as 0.99; got {settings.ema_decay!r}."
        )
    if settings.ema_decay and not isinstance(settings.solver, FirstOrder):
        raise InputError(
            f"ema_decay is {settings.ema_decay!r}, but {type(settings.solver).__name__} has no use "
            "for an average: its steps are not noisy. Use ema_decay=0 or a first-order solver."
        )
    if n_threads is not None and not is_int(n_threads, 1):
        raise InputError(f"n_threads must be an int >= 1 or None, got {n_threads!r}.")
