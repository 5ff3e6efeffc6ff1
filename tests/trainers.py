"""Trainers of one engine over arrays, built as the training loop builds them."""

import numpy as np

from deltaprop import engines
from deltaprop.data.rows import Rows
from deltaprop.data.streamed_rows import StreamedRows
from deltaprop.data.streams.stream import Stream
from deltaprop.engines import Run, trainer_for
from deltaprop.engines.protocol import RATES
from deltaprop.optim.state import TrainingState
from deltaprop.training.settings import Settings


def trainer(
    engine, net, X, y=None, w=None, *, index=None, state=None, rows_per_epoch=None, observer=None,
    batch_size=10, n_threads=None, reproducible=False, **settings,
):  # fmt: skip
    """Return the engine's trainer for valid arrays, or for a stream.

    `engine` is a name or an Engine; `settings` are the solver and clip_norm of `dp.fit`.
    """
    if isinstance(engine, str):
        engine = engines.get(engine, n_threads, reproducible)
    rows = StreamedRows(X) if isinstance(X, Stream) else Rows(X, y, w, index)
    run = Run(
        chain=Settings(**settings).chain(), batch_size=batch_size, max_epochs=1,
        state=TrainingState() if state is None else state, observer=observer,
        rows_per_epoch=rows_per_epoch,
    )  # fmt: skip
    return trainer_for(engine, net, rows, run)


def run_epoch(trainer, order, learning_rates, first=0):
    """Return the loss of one epoch, or of its part that begins with step `first`."""
    (loss,) = trainer.run([order], [rates_of(learning_rates)], first)
    return loss


def rates_of(learning_rates):
    """Rates of steps with these learning rates, without another schedule."""
    rates = np.ones(len(learning_rates), RATES)
    rates["learning_rate"] = learning_rates
    return rates


def objective(engine, net, X, y, w=None, n_threads=None, reproducible=False):
    """L and ∂L/∂θ at the current θ, as L-BFGS gets them."""
    return engines.get(engine, n_threads, reproducible).objective(net, Rows(X, y, w))()
