"""``deltaprop.fit``: train a network."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import ExitStack
from difflib import get_close_matches
from inspect import Parameter, Signature, signature
from typing import TYPE_CHECKING, Any

from deltaprop.data.rows import Rows, RowSource, TrainingRows
from deltaprop.engines import Engine, Run, trainer_for
from deltaprop.engines.protocol import StepObserver
from deltaprop.errors import InputError, InputTypeError, warn
from deltaprop.functions.initializers import random_state
from deltaprop.model import Model
from deltaprop.optim.batch_gradients import ExactGradient
from deltaprop.optim.solvers import LBFGS, FirstOrder
from deltaprop.optim.state import TrainingState
from deltaprop.training.callbacks import Callbacks
from deltaprop.training.epochs import Epochs
from deltaprop.training.history import History
from deltaprop.training.interruption import cancelled
from deltaprop.training.lbfgs import Iterations
from deltaprop.training.loop import Driver, TrainingLoop
from deltaprop.training.noise_plan import NoisePlan
from deltaprop.training.settings import Settings
from deltaprop.training.stopping import Plateau
from deltaprop.training.validation import Validation, held_out, on_rows

if TYPE_CHECKING:
    from deltaprop.training.recording import Recorder

DIVERGED = (
    "Solver produced non-finite parameter weights. The input data may contain large values and "
    "need to be preprocessed. Otherwise lower the learning rate or set clip_norm."
)


def fit(
    net: Model,
    X: Any,
    y: Any = None,
    *,
    sample_weight: Any = None,
    rows: Any = None,
    validation: Any = None,
    scorer: Callable[[Any, Any, Any], float] | None = None,
    resume: History | None = None,
    **settings: Any,
) -> History:
    """Train a network: minimize its loss, starting from its current θ.

    Parameters
    ----------
    net : Network
        Changed in place.
    X : array-like or SciPy sparse matrix (N, D), or Stream
        The rows of a :func:`deltaprop.tables.stream` need not fit in memory. It includes the target
        and the sample weights.
    y : array-like (N,) or (N, K)
        As for :meth:`Network.loss`.
    sample_weight : array-like (N,), optional
    rows : array-like of int (M,), optional
        Indices of the rows of X to train on, which are not copied. They may repeat. The default is
        all rows.
    validation : float, (X, y) or (X, y, sample_weight), optional
        A fraction of the rows to hold out, in (0, 1), or separate data. The loss on these rows, or
        the score of `scorer`, is then monitored instead of the training loss.
    scorer : callable ``scorer(net, X, y)``, optional
        The score on the validation data; higher is better.
    resume : History, optional
        The History of an earlier call with the same network and rows. Training continues as if that
        call had not stopped.
    **settings
        How to train: `solver`, `schedule`, `batch_size`, `max_epochs`, `clip_norm`, `shuffle`,
        `seed`, `tol`, `patience`, `restore_best`, `engine`, `n_threads`, `reproducible`,
        `precision`, `callbacks`, `record`, `checkpoint`, `privacy`, `ema_decay`,
        `dropout_schedule`. They are described in :class:`deltaprop.training.settings.Settings`.

    Returns
    -------
    History
        The loss curves, the reason why training stopped, and the state that `resume` needs.

    Raises
    ------
    ValueError, TypeError
        If an argument is out of range, if a checkpoint belongs to a different run, or if the
        parameters became non-finite. The network then has the parameters it had before.

    Notes
    -----
    Ctrl-C ends the training, not the program. The network keeps the best θ so far (the latest one
    without `validation`), a warning is shown, and ``history.stop_reason`` is ``"interrupted"``.
    With `checkpoint` the state is saved first, SIGTERM has the same effect, and
    ``history.signal`` is the signal that was received.

    Examples
    --------
    >>> import deltaprop as dp
    >>> net = dp.Network(1, [dp.Dense(1)], loss="squared_error", reduction="mean", seed=0)
    >>> history = dp.fit(net, [[0.0], [1.0], [2.0]], [1.0, 3.0, 5.0], solver=dp.LBFGS(), tol=1e-9)
    >>> history.stop_reason
    'converged'
    >>> net.predict([[10.0]]).round(3)
    array([[21.]])
    """
    if not isinstance(net, Model):
        raise InputTypeError(f"net must be a deltaprop.Network, got {net!r}.")
    checked = _settings(settings)
    if resume is not None and not isinstance(resume, History):
        raise InputTypeError(
            f"resume must be a History that dp.fit returned, or None; got {resume!r}."
        )
    state = TrainingState() if resume is None else resume.progress
    if state.rng is None:
        state.rng = random_state(checked.seed)
    train_on = _rows(net, X, y, sample_weight, rows)
    if checked.privacy is not None:
        checked.privacy.check_stopping(checked.schedule, validation, checked.restore_best)
    validated = None
    if validation is not None:
        train_on, held = held_out(net, train_on, validation, state.rng)
        validated = on_rows(net, held, scorer, checked.restore_best)
    return train(net, train_on, checked, validated, state=state)


def train(
    model: Model,
    rows: TrainingRows,
    settings: Settings,
    validation: Validation | None = None,
    *,
    state: TrainingState,
    plateau: Plateau | None = None,
) -> History:
    """Train on checked rows. If an error occurs, θ is restored.

    Parameters
    ----------
    state : TrainingState
        Updated in place. Its ``rng`` draws the row orders.
    plateau : Plateau, optional
        The counter of an earlier call, which is continued.

    Returns
    -------
    History
    """
    before, engine = model.theta.copy(), settings.compute_engine()
    callbacks = Callbacks(settings.callbacks)
    plateau = settings.plateau() if plateau is None else plateau
    with ExitStack() as signals:
        try:
            if validation is not None:
                validation = validation.over(engine.processes)
            loop = TrainingLoop(
                model, settings, state, plateau, callbacks, validation,
                _loss_scale(model, rows, validation),
            )  # fmt: skip
            _restore_checkpoint(loop, rows, engine)
            signals.callback(loop.checkpoints.close)
            _prepare_privacy(loop, rows, engine)
            loop.average.begin()
            driver = _driver(loop, rows, engine)
            signals.enter_context(loop.checkpoints.awaiting_signals())
            loop.run(driver)
            if loop.has_diverged():
                raise InputError(DIVERGED)
        except BaseException:
            model.theta[...] = before
            raise
        finally:
            callbacks.finish()
            state.noise_seed = None  # it can be used to remove the noise
    _warn_if_interrupted(loop)
    return loop.history


def batch_size_for(batch_size: int | str, N: int) -> int:
    """The number of rows in a batch: min(200, N) for "auto", and never more than N."""
    if batch_size == "auto":
        return min(200, N)
    if int(batch_size) > N:
        warn(
            f"Got `batch_size` less than 1 or larger than sample size: {batch_size} for {N} "
            "row(s). It is going to be clipped."
        )
    return min(int(batch_size), N)


# The settings by name, so that editors complete them and help(deltaprop.fit) shows their defaults.
_OWN = [p for p in signature(fit).parameters.values() if p.name != "settings"]
_SETTINGS = [
    p.replace(kind=Parameter.KEYWORD_ONLY)
    for p in signature(Settings).parameters.values()
    if p.name != "horizon"  # which is for `partial_fit`: it runs one epoch per call
]
fit.__signature__ = Signature([*_OWN, *_SETTINGS], return_annotation=History)  # type: ignore[attr-defined]


def _settings(given: dict[str, Any]) -> Settings:
    names = [p.name for p in _SETTINGS]
    for name in given:
        if name not in names:
            near = get_close_matches(name, names, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise InputTypeError(f"fit() got an unexpected keyword argument {name!r}.{hint}")
    return Settings(**given)


def _rows(net: Model, X: Any, y: Any, sample_weight: Any, index: Any) -> TrainingRows:
    if not isinstance(X, RowSource):
        return Rows.checked(net, X, y, sample_weight, index)
    from deltaprop.data.streamed_rows import StreamedRows, refuse_with_stream
    from deltaprop.data.streams.stream import Stream

    assert isinstance(X, Stream)
    refuse_with_stream(y=y, sample_weight=sample_weight, rows=index)
    return StreamedRows(X)


def _loss_scale(model: Model, rows: TrainingRows, validation: Validation | None) -> float:
    """By which a mean loss is multiplied to be on the scale of the training loss."""
    sums = model.reduction == "sum" and validation is not None
    return rows.total_weight if sums else 1.0


def _restore_checkpoint(loop: TrainingLoop, rows: TrainingRows, engine: Engine) -> None:
    """Restore the newest checkpoint in the folder, and let the loop save further ones."""
    settings, state, processes = loop.settings, loop.state, engine.processes
    assert state.rng is not None
    processes.check_same_order(state.rng)
    state.noise_seed = None  # a new one for each call, unless a checkpoint contains it
    if settings.checkpoint is None:
        return
    from deltaprop.training.checkpoint_manager import CheckpointManager, identity_of

    validation = loop.validation
    identity = identity_of(
        loop.model, rows, settings, validated=validation is not None,
        stops=validation is not None and validation.stops,
    )  # fmt: skip
    identity["data"] = list(processes.mean(identity["data"]))  # the same in all processes
    loop.checkpoints = CheckpointManager(
        settings.checkpoint, identity, engine.work_layout(), theta=loop.model.theta, state=state,
        plateau=loop.plateau, history=loop.history, plan=_plan(loop), writes=processes.rank == 0,
    )  # fmt: skip


def _plan(loop: TrainingLoop) -> NoisePlan | None:
    """On what the noise of private training depends."""
    privacy = loop.settings.privacy
    if privacy is None:
        return None
    return NoisePlan(loop.settings.max_epochs, loop.horizon, privacy.mu_squared_per_epoch)


def _prepare_privacy(loop: TrainingLoop, rows: TrainingRows, engine: Engine) -> None:
    """Draw the seed of the noise, or record that the training is not private."""
    state, privacy = loop.state, loop.settings.privacy
    if privacy is None:
        state.mu_squared = math.inf
        return
    rows.require_distinct(
        "but privacy counts on each being used once per epoch. Name each row once."
    )
    if state.noise_seed is None:
        import secrets

        drawn = secrets.randbits(128) if privacy.seed is None else privacy.seed
        state.noise_seed = engine.processes.first(drawn)
    if not loop.ended:
        loop.checkpoints.begin()


def _driver(loop: TrainingLoop, rows: TrainingRows, engine: Engine) -> Driver:
    """The object that runs epochs of a trainer or iterations of L-BFGS."""
    solver = loop.settings.solver
    if isinstance(solver, LBFGS):
        observer = _recorder(loop, rows, loop.history.n_epochs)
        return Iterations(_objective(loop.model, rows, engine), solver, observer)
    assert isinstance(solver, FirstOrder)
    observer = _recorder(loop, rows, loop.state.step)
    trainer = trainer_for(engine, loop.model, rows, _run(loop, rows, observer))
    assert loop.state.rng is not None
    return Epochs(trainer, rows, solver, loop.state.rng)


def _objective(model: Model, rows: TrainingRows, engine: Engine) -> Any:
    rows.require_in_memory(
        "L-BFGS needs all rows in each iteration; use a first-order solver, such as Adam"
    )
    assert isinstance(rows, Rows)
    if any(layer.dropout for layer in model.layers):
        raise InputError(
            "dropout needs a first-order solver (sgd, adam, adamw): L-BFGS cannot minimize a loss "
            "that changes from call to call."
        )
    return engine.objective(model, rows)


def _run(loop: TrainingLoop, rows: TrainingRows, observer: StepObserver | None) -> Run:
    """The description of the run for the trainer. Draws the seed of the dropout masks."""
    settings, state = loop.settings, loop.state
    chain = settings.chain()
    random = chain.needs_fisher or any(layer.dropout for layer in loop.model.layers)
    if state.dropout_seed is None and random:
        assert state.rng is not None
        state.dropout_seed = int(state.rng.randint(2**31 - 1))
    return Run(
        chain=chain,
        batch_size=batch_size_for(settings.batch_size, len(rows)),
        state=state,
        max_epochs=settings.max_epochs,
        gradient=ExactGradient() if settings.privacy is None else settings.privacy.gradient,
        observer=observer,
    )


def _recorder(loop: TrainingLoop, rows: TrainingRows, step: int) -> Recorder | None:
    """What records the signals, with its first record, if the settings ask for any."""
    record = loop.settings.record
    if record is None:
        return None
    rows.require_in_memory("record computes each record on the same rows")
    assert isinstance(rows, Rows)
    from deltaprop.training.recording import Recorder

    recorder = Recorder(record, loop.model, rows, step)
    loop.history.records = recorder.records
    recorder.at(step, loop.state.epoch, None)
    return recorder


def _warn_if_interrupted(loop: TrainingLoop) -> None:
    history, checkpoint = loop.history, loop.settings.checkpoint
    if history.stop_reason != "interrupted":
        return
    together = cancelled.get()
    if together is not None:
        if together.is_set():
            return  # the interruption of another run of this group has ended this one
        together.set()
    kept = "best" if history.best_epoch else "latest"
    hint = ""
    if checkpoint is not None:
        hint = f" The same call continues from {str(checkpoint.folder)!r}."
    warn(
        f"Training interrupted by user after {history.n_epochs} epoch(s); the {kept} weights so "
        f"far are kept.{hint}"
    )
