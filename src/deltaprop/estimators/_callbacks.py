"""scikit-learn's callback interface and `verbose`, based on the epoch events of training."""

from __future__ import annotations

from typing import Any

from deltaprop.data.rows import Rows, TrainingRows
from deltaprop.training.history import Epoch


class SklearnTasks:
    """Notifies the callbacks set with ``set_callbacks`` of the fit and of each epoch."""

    def __init__(self, estimator: Any, rows: TrainingRows, max_epochs: int) -> None:
        self._data = _data_of(rows)
        self._estimator = estimator
        self._fit = estimator._init_callback_context(max_subtasks=max_epochs)
        self._epoch: Any = None
        self._fit.call_on_fit_task_begin(estimator=estimator, **self._data)

    def begin_epoch(self) -> None:
        self._epoch = self._fit.subcontext(task_name="epoch")
        self._epoch.call_on_fit_task_begin(estimator=self._estimator, **self._data)

    def __call__(self, event: Epoch) -> bool:
        if self._epoch is None:  # L-BFGS does not announce the start of an iteration
            self.begin_epoch()
        task, self._epoch = self._epoch, None
        return bool(self._end(task))

    def end(self) -> None:
        self._end(self._fit)

    def _end(self, task: Any) -> Any:
        estimator = self._estimator
        return task.call_on_fit_task_end(
            estimator=estimator,
            reconstruction_attributes=lambda: estimator._attributes_of(estimator.network_.copy()),
            **self._data,
        )


def _data_of(rows: TrainingRows) -> dict[str, Any]:
    """The rows to train on as callbacks get them; a stream holds its target."""
    if isinstance(rows, Rows):
        used = rows.used
        return {"X": used.X, "y": used.labels}
    from deltaprop.data.streamed_rows import StreamedRows

    assert isinstance(rows, StreamedRows)
    return {"X": rows.stream, "y": None}


def print_epoch(event: Epoch) -> None:
    """Print what scikit-learn prints with ``verbose=True``."""
    print(f"Iteration {event.epoch}, loss = {event.loss:.8f}")
    if event.validation_score is not None:
        print(f"Validation score: {event.validation_score:f}")
