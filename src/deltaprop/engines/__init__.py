"""Engines compute the steps of a training run. All of them agree with the reference engine."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from deltaprop.data.rows import Rows, TrainingRows
from deltaprop.engines.auto import Compiled
from deltaprop.engines.protocol import Engine, Run, Trainer
from deltaprop.engines.reference import Reference
from deltaprop.errors import InputError
from deltaprop.model import Model

if TYPE_CHECKING:
    from deltaprop.engines.xla_engine import Xla

NAMES = ("auto", "reference", "fused", "xla")


def get(
    engine: str | Xla,
    n_threads: int | None = None,
    reproducible: bool = False,
    precision: str | None = None,
) -> Engine:
    """The engine of that name; a :class:`deltaprop.Xla` is returned unchanged.

    Parameters
    ----------
    engine : {"auto", "reference", "fused", "xla"} or Xla
    n_threads : int, optional
        How many threads the fused engine uses. The default is the number of available cores.
    reproducible : bool, default=False
        Whether the results of the fused engine must not depend on the number of threads.
    precision : {None, "bfloat16"}, default=None
        The dtype of the factors of matrix products in the fused engine. None is that of the
        network.

    Raises
    ------
    ValueError
        If there is no engine of that name, or it does not have this precision on this processor.
    """
    if engine in ("auto", "fused"):
        return Compiled(engine == "fused", n_threads, reproducible, precision)
    if precision is not None:
        raise InputError(
            f"precision must be None for engine={engine!r}, got {precision!r}. It is a setting of "
            "the fused engine; the xla engine has engine=deltaprop.Xla(dtype='bfloat16')."
        )
    if engine == "reference":
        return Reference(reproducible)
    from deltaprop.engines.xla_engine import Xla

    if isinstance(engine, Xla):
        return engine
    if engine != "xla":
        raise InputError(
            f"engine must be one of {', '.join(NAMES)} or a deltaprop.Xla; got {engine!r}."
        )
    return Xla()


def for_processes(engine: str | Xla, shared_rows: bool) -> Xla:
    """The engine with which several processes train one model together.

    Parameters
    ----------
    engine : {"auto", "xla"} or Xla
    shared_rows : bool
        Whether all processes are given the same rows.

    Raises
    ------
    ValueError
        If the engine runs in a single process only.
    """
    from deltaprop.engines.xla_engine import Xla

    if engine in ("auto", "xla"):
        return Xla(shared_rows=shared_rows)
    if isinstance(engine, Xla):
        return replace(engine, shared_rows=shared_rows)
    raise InputError(f"engine must be 'xla' or a deltaprop.Xla on a cluster, got {engine!r}.")


def trainer_for(engine: Engine, model: Model, rows: TrainingRows, run: Run) -> Trainer:
    """The engine's trainer for rows in memory, or a :class:`StreamedTrainer` for a stream."""
    if isinstance(rows, Rows):
        return engine.trainer(model, rows, run)
    from deltaprop.data.streamed_rows import StreamedRows
    from deltaprop.engines.streamed import StreamedTrainer

    assert isinstance(rows, StreamedRows)
    return StreamedTrainer(model, rows, run, engine)


__all__ = ["NAMES", "Engine", "Run", "Trainer", "for_processes", "get", "trainer_for"]
