"""Callbacks that log a training run to TensorBoard, MLflow or Weights & Biases.

Each of them uses the library of the tracker. ``pip install 'deltaprop[track]'`` installs the first
two; W&B must be installed separately. After each epoch they log ``loss``, ``learning_rate``,
``validation_loss``, ``validation_score`` and ``seconds``, except for values that are None.

Examples
--------
>>> import deltaprop as dp
>>> class Run:
...     def log(self, values, step):
...         print(step, sorted(values))
>>> net = dp.Network(1, [dp.Dense(1)], loss="squared_error", seed=0)
>>> X, y = [[0.0], [1.0]], [1.0, 2.0]
>>> history = dp.fit(net, X, y, max_epochs=2, callbacks=[dp.track.WandB(Run())])
1 ['learning_rate', 'loss', 'seconds']
2 ['learning_rate', 'loss', 'seconds']
"""

from __future__ import annotations

import importlib
from os import PathLike, fspath
from typing import Any

from deltaprop.errors import InputTypeError
from deltaprop.training.history import Epoch

QUANTITIES = ("loss", "learning_rate", "validation_loss", "validation_score", "seconds")


class TensorBoard:
    """Write event files for ``tensorboard --logdir``, with one series per quantity.

    Parameters
    ----------
    log_dir : str or path
        Created if it does not exist. Use one folder per training run to keep curves separate.

    Raises
    ------
    ImportError
        If tensorboard is not installed.

    Examples
    --------
    >>> import deltaprop as dp
    >>> dp.track.TensorBoard("runs/1")                     # doctest: +SKIP
    """

    def __init__(self, log_dir: str | PathLike[str]) -> None:
        _library("tensorboard.summary", "tensorboard")
        self.log_dir = fspath(log_dir)
        self._writer: Any = None

    def __call__(self, event: Epoch) -> None:
        if self._writer is None:
            self._writer = _library("tensorboard.summary", "tensorboard").Writer(self.log_dir)
        for name, value in _quantities(event).items():
            self._writer.add_scalar(name, value, event.epoch)

    def finish(self) -> None:
        """Close the file. Called at the end of training; the next run opens a new file."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def __getstate__(self) -> dict[str, Any]:
        return {"log_dir": self.log_dir, "_writer": None}  # a copy writes its own file


class MLflow:
    """Log metrics to an MLflow run.

    Parameters
    ----------
    run_id : str, optional
        The default is the active run, which MLflow starts if necessary.

    Raises
    ------
    ImportError
        If mlflow is not installed.

    Examples
    --------
    >>> import deltaprop as dp
    >>> dp.track.MLflow()                                  # doctest: +SKIP
    """

    def __init__(self, run_id: str | None = None) -> None:
        _library("mlflow", "mlflow")
        self.run_id = run_id

    def __call__(self, event: Epoch) -> None:
        mlflow = _library("mlflow", "mlflow")
        mlflow.log_metrics(_quantities(event), step=event.epoch, run_id=self.run_id)


class WandB:
    """Log to a Weights & Biases run, or to any object with a method ``log(values, step=)``.

    Parameters
    ----------
    run : object
        The return value of ``wandb.init()``.

    Raises
    ------
    TypeError
        If `run` has no such method.

    Examples
    --------
    >>> import deltaprop as dp, wandb                      # doctest: +SKIP
    >>> dp.track.WandB(wandb.init(project="penguins"))     # doctest: +SKIP
    """

    def __init__(self, run: Any) -> None:
        if not callable(getattr(run, "log", None)):
            raise InputTypeError(
                "run must have a method log(values, step=...), such as the return value of "
                f"wandb.init(); got {run!r}."
            )
        self.run = run

    def __call__(self, event: Epoch) -> None:
        self.run.log(_quantities(event), step=event.epoch)


def _quantities(event: Epoch) -> dict[str, float]:
    values = {name: getattr(event, name) for name in QUANTITIES}
    return {name: float(value) for name, value in values.items() if value is not None}


def _library(module: str, package: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(
            f"{package} is not installed. Install it with: pip install 'deltaprop[track]'"
        ) from error
