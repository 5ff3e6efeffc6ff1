"""``deltaprop.fit``: search for the θ of a network."""

from __future__ import annotations

import math
import secrets
import sys
import warnings
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from functools import partial
from numbers import Integral, Real
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from deltaprop import engines
from deltaprop.engines.choice import (
    agreed,
    check_same_order,
    divided,
    engine_for,
    gradient_for,
    known_to_all,
    noise_seed_of_all,
    processes_of,
)
from deltaprop.engines.options import Xla
from deltaprop.engines.outputs import as_numbers
from deltaprop.functions.initializers import random_state
from deltaprop.network import Network, checked_weights
from deltaprop.optim.privacy import Privacy, refuse_what_leaks
from deltaprop.optim.schedules import Constant, Schedule
from deltaprop.optim.solvers import LBFGS, Adam, FirstOrder, Solver
from deltaprop.training.checkpoints import Checkpoint, Keeper, checked_checkpoint, description
from deltaprop.training.loop import Callback, Evaluate, History, Progress, search
from deltaprop.training.quasi_newton import quasi_newton
from deltaprop.training.recording import Record, Recorder, checked_record
from deltaprop.training.stopping import Plateau

if TYPE_CHECKING:
    from jaxtyping import Float, Int, Num

    from deltaprop.data.streams.stream import Stream

DIVERGED = (
    "Solver produced non-finite parameter weights. The input data may contain large values and "
    "need to be preprocessed. Otherwise lower the learning rate or set clip_norm."
)


def fit(
    net: Network,
    X: Any,
    y: Any = None,
    *,
    solver: Solver | None = None,
    sample_weight: Any = None,
    rows: Any = None,
    batch_size: int | str = "auto",
    max_epochs: int = 200,
    schedule: Schedule | None = None,
    clip_norm: float | None = None,
    shuffle: bool = True,
    seed: int | np.random.RandomState | None = 0,
    tol: float = 1e-4,
    patience: float = 10,
    validation: Any = None,
    scorer: Callable[[Network, Any, Any], float] | None = None,
    restore_best: bool = True,
    engine: str | Xla = "auto",
    n_threads: int | None = None,
    reproducible: bool = False,
    callbacks: Iterable[Callback] = (),
    resume: History | None = None,
    record: int | Record | None = None,
    checkpoint: str | Path | Checkpoint | None = None,
    privacy: Privacy | None = None,
) -> History:
    """Search for the θ that minimises the network's loss, starting from its current θ.

    Parameters
    ----------
    net : Network
        Changed in place.
    X : array-like or SciPy sparse matrix (N, D), or Stream
        A :func:`deltaprop.tables.stream` of rows that need not fit in memory holds its own target
        and weights.
    y : array-like (N,) or (N, K)
        As for :meth:`Network.loss`.
    solver : SGD, Adam, AdamW, KFAC or LBFGS, default=Adam()
    sample_weight : array-like (N,), optional
    rows : array-like of int (M,), optional
        The rows of X to train on, where not all; they are read in place. A row may come often.
    batch_size : int or "auto", default="auto"
        Rows a step; "auto" is min(200, N). L-BFGS uses all rows.
    max_epochs : int, default=200
        Most passes over the rows (iterations of L-BFGS).
    schedule : Schedule, default=Constant()
        From ``deltaprop.schedules``; goes with any first-order solver.
    clip_norm : float, optional
        Longest gradient, in Euclidean norm over all parameters.
    shuffle : bool, default=True
    seed : int, RandomState or None, default=0
        For the order of rows, dropout and an internal validation split.
    tol, patience : float, default=1e-4 and 10
        Stop when the monitored value has not improved by `tol` for more than `patience` epochs.
        For L-BFGS `tol` bounds the projected gradient.
    validation : float, (X, y) or (X, y, sample_weight), optional
        A share of the rows to set aside, or data of its own. When given it is what is
        monitored: its loss, or what `scorer` says.
    scorer : callable ``scorer(net, X, y)``, optional
        Higher is better.
    restore_best : bool, default=True
        With `validation`: stop on it, and put the best epoch's θ back at the end.
    engine : {"auto", "reference", "fused", "xla"} or Xla, default="auto"
        "fused" is compiled with Numba, once for a machine, and shares the work among threads; where
        it cannot run a search it says so and "reference" runs it. "auto" is "fused", but does not
        wait for the compiler: "reference" runs the epochs until another process has compiled.
        "xla" is JAX, on GPUs, TPUs and many devices; :class:`deltaprop.Xla` holds its settings.
    n_threads : int, optional
        Of the fused engine; by default the machine's, ``OMP_NUM_THREADS``, or 1 inside a parallel
        job of joblib's.
    reproducible : bool, default=False
        Divide the work so that the fused engine's results are the same bits for any number of
        threads. Without it they are for the same number.
    callbacks : iterable of callables
        Called with an :class:`~deltaprop.search.Epoch` after each epoch; True stops. If one has a
        method ``finish()``, it is called when the search has ended, however it ended.
    resume : History, optional
        Of an earlier call on the same network and rows: go on as if it had not stopped.
    record : int or Record, optional
        Record the network's signals every so many steps, in ``history.records``.
    checkpoint : str, Path or Checkpoint, optional
        A folder that keeps the state of this search, saved every minute or as the
        :class:`~deltaprop.Checkpoint` says. The same call goes on from what it finds there; of a
        search that had ended it returns the result at once. A larger `max_epochs` goes on.
    privacy : Privacy, optional
        Bound what θ reveals of any row, by clipping and noise: see :class:`deltaprop.Privacy`. The
        loss on the rows then stops nothing: `tol` and `patience` look at `validation` alone.

    Returns
    -------
    History

    Raises
    ------
    ValueError, TypeError
        For an argument out of range, a checkpoint of another search, or when the parameters became
        non-finite. The network then has the parameters it had before.

    Notes
    -----
    Ctrl-C ends the search, not the program: the best θ so far stays in the network (the last one
    without `validation`), a warning says so, and ``history.stop_reason`` is ``"interrupted"``. With
    `checkpoint` the search is saved first, and SIGTERM does the same; ``history.signal`` says which
    of them it was.

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
    if not isinstance(net, Network):
        raise TypeError(f"net must be a deltaprop.Network, got {net!r}.")
    solver = Adam() if solver is None else solver
    schedule = Constant() if schedule is None else schedule
    check_search(solver, schedule, batch_size, max_epochs, clip_norm, tol, patience, engine)
    if n_threads is not None and not _is_int_from(n_threads, 1):
        raise ValueError(f"n_threads must be an int >= 1 or None, got {n_threads!r}.")
    callbacks = checked_callbacks(callbacks)
    if resume is not None and not isinstance(resume, History):
        raise TypeError(f"resume must be a History that dp.fit returned, or None; got {resume!r}.")
    if privacy is not None and not isinstance(privacy, Privacy):
        raise TypeError(
            f"privacy must be a deltaprop.Privacy, such as dp.Privacy(noise=4.0), or None; got "
            f"{privacy!r}."
        )
    record = checked_record(record)
    checkpoint = checked_checkpoint(checkpoint)
    rng = random_state(seed)
    if resume is not None and resume.progress.rng is not None:
        rng = resume.progress.rng
    held_out = None
    if is_stream(X):
        refuse_with_stream(y=y, sample_weight=sample_weight, rows=rows)
        w = None
        if privacy is not None:
            refuse_what_leaks(solver, schedule, None, validation, restore_best, engine)
        if validation is not None:
            X, held_out = _split_stream(net, X, validation, rng)
    else:
        X, y, w = _checked_data(net, X, y, sample_weight)
        rows = None if rows is None else _checked_rows(rows, X)
        if privacy is not None:
            refuse_what_leaks(solver, schedule, rows, validation, restore_best, engine)
        if validation is not None:
            rows, held_out = _split(net, X, y, w, rows, validation, rng)
    evaluate = None if held_out is None else _evaluator(net, *held_out, scorer)
    return train(
        net, X, y, w,
        solver=solver, schedule=schedule, batch_size=batch_size, max_epochs=max_epochs,
        clip_norm=clip_norm, shuffle=shuffle, rng=rng, plateau=Plateau(tol, patience),
        evaluate=evaluate, stop_on_validation=evaluate is not None and restore_best,
        engine=engine, n_threads=n_threads, reproducible=reproducible, callbacks=callbacks,
        rows=rows, progress=Progress() if resume is None else resume.progress, record=record,
        checkpoint=checkpoint, seed=seed, privacy=privacy,
    )  # fmt: skip


def train(
    net: Network,
    X: Any,
    y: Num[np.ndarray, "N ..."],
    w: Float[np.ndarray, " N"] | None,
    *,
    solver: Solver,
    schedule: Schedule,
    batch_size: int | str,
    max_epochs: int,
    clip_norm: float | None,
    shuffle: bool,
    rng: np.random.RandomState,
    plateau: Plateau,
    evaluate: Evaluate | None,
    stop_on_validation: bool,
    engine: str | Xla,
    callbacks: Iterable[Callback],
    progress: Progress,
    n_threads: int | None = None,
    reproducible: bool = False,
    rows: Int[np.ndarray, " M"] | None = None,
    monitor_loss: bool = False,
    before_epoch: Callable[[], object] | None = None,
    horizon: int | None = None,
    record: Record | None = None,
    checkpoint: Checkpoint | None = None,
    seed: Any = None,
    privacy: Privacy | None = None,
) -> History:
    """`fit` after all arguments have been checked; a failed search leaves θ as it was."""
    before = net.theta.copy()
    threads = {"n_threads": n_threads, "reproducible": reproducible}
    callbacks = tuple(callbacks)
    history = History(progress=progress)
    evaluate = agreed(engine, evaluate)
    check_same_order(engine, rng)
    progress.rng = rng
    progress.noise_seed = None  # a new one, also with resume=, whose copies would share the noise
    keeper = None
    around = ExitStack()
    if checkpoint is not None:
        keeper = Keeper(
            checkpoint,
            known_to_all(engine, description(
                net, X, y, w, rows, solver=solver, schedule=schedule, batch_size=batch_size,
                clip_norm=clip_norm, shuffle=shuffle, tol=plateau.tol, patience=plateau.patience,
                validated=evaluate is not None, restore_best=stop_on_validation,
                seed=seed if isinstance(seed, Integral) else None,
                memory=X.memory if is_stream(X) else None,  # the order follows from it
                privacy=privacy,
            )),
            {"engine": str(engine), **_layout(engine, n_threads, reproducible)},
            theta=net.theta, progress=progress, plateau=plateau, history=history,
            writes=processes_of(engine)[0] == 0,
        )  # fmt: skip
    if privacy is None:
        progress.mu_squared = math.inf
    else:
        if not stop_on_validation:
            plateau.patience = math.inf
        if progress.noise_seed is None:  # not from a checkpoint, which goes on to the same bits
            drawn = secrets.randbits(128) if privacy.seed is None else privacy.seed
            progress.noise_seed = noise_seed_of_all(engine, drawn)
        before_epoch = partial(_account, privacy, progress, keeper)
    recorder = None
    if is_stream(X):
        refuse_with_stream(record=record)
        if isinstance(solver, LBFGS):
            raise ValueError(
                "L-BFGS goes through all rows at each step, which a stream does not hold in "
                "memory: use a first-order solver, such as Adam."
            )
    if record is not None:
        recorder = Recorder(record, net, X, y, w, rows, progress.step)
        history.records = recorder.records
        recorder.at(progress.step, progress.epoch, None)
    try:
        if keeper is not None:
            around.enter_context(keeper.interruption.awaited())
        if isinstance(solver, LBFGS):
            if any(layer.dropout for layer in net.layers):
                raise ValueError(
                    "dropout needs a first-order solver (sgd, adam, adamw): L-BFGS cannot search "
                    "over a loss that changes from call to call."
                )
            quasi_newton(
                net.theta,
                gradient_for(engine, net, X, y, w, solver, threads, rows),
                max_iter=max_epochs, max_fun=solver.max_fun, tol=plateau.tol, history=history,
                plateau=plateau, evaluate=evaluate, stop_on_validation=stop_on_validation,
                monitor_loss=monitor_loss, network=net, keeper=keeper,
                callbacks=callbacks if recorder is None else (_recording(recorder), *callbacks),
            )  # fmt: skip
        else:
            assert isinstance(solver, FirstOrder)
            if solver.needs_fisher:
                from deltaprop.derivation.fisher import require_information

                require_information(net.loss_function, net.f[-1], net.n_outputs, net.dtype)
            random = solver.needs_fisher or any(layer.dropout for layer in net.layers)
            if progress.dropout_seed is None and random:
                progress.dropout_seed = int(rng.randint(2**31 - 1))
            batch = rows_per_step(batch_size, X.shape[0] if rows is None else len(rows))
            engine_of = partial(
                engine_for, net=net, solver=solver, max_epochs=max_epochs, threads=threads,
                clip_norm=clip_norm, progress=progress, privacy=privacy,
            )  # fmt: skip
            if is_stream(X):
                from deltaprop.engines.streamed import StreamedEngine

                own, part = divided(engine)
                runner: Any = StreamedEngine(net, X, batch, partial(engine_of, own), part)
            else:
                runner = engine_of(
                    engine, X=X, y=y, w=w, batch_size=batch, subset=rows, recorder=recorder
                )
            search(
                runner,
                learning_rate=solver.learning_rate, schedule=schedule, max_epochs=max_epochs,
                plateau=plateau, rng=rng, shuffle=shuffle, progress=progress, history=history,
                evaluate=evaluate, stop_on_validation=stop_on_validation, callbacks=callbacks,
                monitor_loss=monitor_loss, before_epoch=before_epoch, horizon=horizon, network=net,
                keeper=keeper,
            )  # fmt: skip
        if not np.isfinite(net.theta).all():
            raise ValueError(DIVERGED)
    except BaseException:
        net.theta[...] = before
        raise
    finally:
        for callback in callbacks:
            if hasattr(callback, "finish"):
                callback.finish()
        around.close()
    if history.stop_reason == "interrupted":
        kept = "best" if history.best_epoch else "latest"
        warnings.warn(
            f"Training interrupted by user after {history.n_epochs} epoch(s); the {kept} weights "
            f"so far are kept.{_how_to_go_on(checkpoint)}",
            stacklevel=3,
        )
    return history


def _account(privacy: Privacy, progress: Progress, keeper: Keeper | None) -> None:
    """Count an epoch when it begins; one that goes on from a checkpoint has been counted."""
    if keeper is None or not keeper.under_way.done:
        progress.mu_squared += privacy.an_epoch


def is_stream(X: Any) -> bool:
    """Whether X is a Stream (whose module need not be imported to know that it is not)."""
    streaming = sys.modules.get("deltaprop.data.streams.stream")
    return streaming is not None and isinstance(X, streaming.Stream)


def refuse_with_stream(**arguments: Any) -> None:
    """Raise ValueError for an argument that is not None, with what to do instead."""
    for name, value in arguments.items():
        if value is not None:
            hint = {
                "y": "name its column: stream(…, target=…)",
                "target": "name it there: stream(…, target=…)",
                "sample_weight": "name their column: stream(…, weight=…)",
                "class_weight": "name a column of weights: stream(…, weight=…)",
            }.get(name, "it needs rows in memory")
            raise ValueError(f"{name} cannot be given with a stream: {hint}.")


def _how_to_go_on(checkpoint: Checkpoint | None) -> str:
    if checkpoint is None:
        return ""
    return f" The same call goes on from {str(checkpoint.folder)!r}."


def _layout(engine: str | Xla, n_threads: int | None, reproducible: bool) -> dict[str, Any]:
    """How the engine divides its work, where results depend on it."""
    if engine == "xla" or isinstance(engine, Xla):
        return {"processes": processes_of(engine)[1]}
    if engine == "reference" or reproducible:
        return {"reproducible": reproducible}
    from deltaprop.engines.fused import threads

    return {"reproducible": reproducible, "n_threads": n_threads or threads.available()}


def _recording(recorder: Recorder) -> Callback:
    """Records of L-BFGS, whose steps are its iterations."""
    return lambda event: recorder.at(event.epoch, event.epoch, None)


def checked_callbacks(callbacks: Iterable[Callback] | None) -> tuple[Callback, ...]:
    """The callbacks, all of them callable."""
    checked = tuple(callbacks or ())
    for callback in checked:
        if not callable(callback):
            raise TypeError(
                f"callbacks must be functions that take an Epoch, got {callback!r} of type "
                f"{type(callback).__name__}."
            )
    return checked


def rows_per_step(batch_size: int | str, N: int) -> int:
    """How many rows a step takes of N."""
    if batch_size == "auto":
        return min(200, N)
    if int(batch_size) > N:
        warnings.warn(
            f"Got `batch_size` less than 1 or larger than sample size: {batch_size} for {N} "
            "row(s). It is going to be clipped.",
            stacklevel=3,
        )
    return min(int(batch_size), N)


def check_search(
    solver: Any,
    schedule: Any,
    batch_size: Any,
    max_epochs: Any,
    clip_norm: Any,
    tol: Any,
    patience: Any,
    engine: Any,
) -> None:
    """Raise for a search that cannot run, naming the argument."""
    if not isinstance(solver, Solver):
        raise TypeError(
            "solver must be a deltaprop.SGD, Adam, AdamW, KFAC or LBFGS object, such as "
            f"dp.Adam(1e-3); got {solver!r}."
        )
    if not isinstance(schedule, Schedule):
        raise TypeError(
            f"schedule must be an object from deltaprop.schedules, got {schedule!r}. Write, for "
            "example, dp.schedules.Cosine()."
        )
    if batch_size != "auto" and not _is_int_from(batch_size, 1):
        raise ValueError(f"batch_size must be 'auto' or an int >= 1, got {batch_size!r}.")
    if not _is_int_from(max_epochs, 1):
        raise ValueError(f"max_epochs must be an int >= 1, got {max_epochs!r}.")
    if clip_norm is not None and not (_is_real(clip_norm) and clip_norm > 0):
        raise ValueError(f"clip_norm must be a number > 0 or None, got {clip_norm!r}.")
    if not _is_real(tol) or tol < 0:
        raise ValueError(f"tol must be a number >= 0, got {tol!r}.")
    if not _is_real(patience) or patience < 0:
        raise ValueError(f"patience must be a number of epochs >= 0, got {patience!r}.")
    if not isinstance(engine, Xla) and engine not in engines.NAMES:
        raise ValueError(
            f"engine must be one of {', '.join(engines.NAMES)} or a deltaprop.Xla; got {engine!r}."
        )


def _is_real(x: Any) -> bool:
    return isinstance(x, Real) and not isinstance(x, bool) and not np.isnan(float(x))


def _is_int_from(x: Any, low: int) -> bool:
    return isinstance(x, Integral) and not isinstance(x, bool) and int(x) >= low


def _checked_data(
    net: Network, X: Any, y: Any, sample_weight: Any
) -> tuple[Any, Num[np.ndarray, "N ..."], Float[np.ndarray, " N"] | None]:
    X, y = net._checked_pair(X, y)
    return X, y, None if sample_weight is None else checked_weights(sample_weight, X)


def _checked_rows(rows: Any, X: Any) -> Int[np.ndarray, " M"]:
    rows = np.asarray(rows)
    if rows.ndim != 1 or rows.dtype.kind not in "iu" or len(rows) == 0:
        raise ValueError(
            f"rows must be a sequence of int with at least one entry, got dtype {rows.dtype} and "
            f"shape {rows.shape}."
        )
    if rows.min() < 0 or rows.max() >= X.shape[0]:
        raise ValueError(
            f"rows must lie in 0 to {X.shape[0] - 1}, as X has {X.shape[0]} row(s); they range "
            f"from {rows.min()} to {rows.max()}."
        )
    return np.ascontiguousarray(rows, np.int64)


def _split(
    net: Network,
    X: Any,
    y: Num[np.ndarray, "N ..."],
    w: Float[np.ndarray, " N"] | None,
    rows: Int[np.ndarray, " M"] | None,
    validation: Any,
    rng: np.random.RandomState,
) -> tuple[Int[np.ndarray, " M"] | None, tuple[Any, Any, Any]]:
    """The rows to train on (None for all), and the data to validate on."""
    if isinstance(validation, Real) and not isinstance(validation, bool):
        if not 0 < float(validation) < 1:
            raise ValueError(
                f"validation must be a share in (0, 1), (X, y) or (X, y, sample_weight); "
                f"got {validation!r}."
            )
        from sklearn.model_selection import train_test_split

        kept, held = train_test_split(
            np.arange(X.shape[0]) if rows is None else rows,
            test_size=float(validation), random_state=rng,
        )  # fmt: skip
        return kept, (X[held], y[held], None if w is None else w[held])
    if not isinstance(validation, (tuple, list)) or len(validation) not in (2, 3):
        raise TypeError(
            "validation must be a share in (0, 1), (X, y) or (X, y, sample_weight); "
            f"got {type(validation).__name__}."
        )
    X_val, y_val, *rest = validation
    return rows, _checked_data(net, X_val, y_val, rest[0] if rest else None)


def _split_stream(
    net: Network, rows: Stream, validation: Any, rng: np.random.RandomState
) -> tuple[Stream, tuple[Any, Any, Any]]:
    """The rows to train on, and in memory those to validate on."""
    if isinstance(validation, Real) and not isinstance(validation, bool):
        if not 0 < float(validation) < 1:
            raise ValueError(f"validation must be a share in (0, 1), got {validation!r}.")
        rows, held = rows.set_aside(rows.share_in_memory(float(validation)), rng.randint(2**31 - 1))
        X, y, w = held.in_memory(net.dtype)
        return rows, (X, net._checked_y(y), w)
    X, y, *rest = validation
    return rows, _checked_data(net, X, y, rest[0] if rest else None)


def _evaluator(
    net: Network,
    X: Any,
    y: Num[np.ndarray, "N ..."],
    w: Float[np.ndarray, " N"] | None,
    scorer: Callable[[Network, Any, Any], float] | None,
) -> Evaluate:
    def evaluate() -> tuple[float | None, float | None]:
        return data_loss(net, X, y, w), None if scorer is None else float(scorer(net, X, y))

    return evaluate


def data_loss(
    net: Network, X: Any, y: Num[np.ndarray, "N ..."], w: Float[np.ndarray, " N"] | None
) -> float:
    """The (weighted) mean loss a sample, without the penalty: what is compared across data."""
    from deltaprop.derivation import equations

    t = net.loss_function.target(y, net.n_outputs, net.theta, np)
    Xs, a = equations.forward(as_numbers(X, net.dtype), net.W, net.b, net.f)
    losses = equations.sample_losses(t, a[-1], Xs[-1], net.f[-1], net.loss_function)
    return float(np.average(losses, weights=w))
