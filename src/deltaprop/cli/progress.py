"""A line that follows the training, on a terminal only."""

from __future__ import annotations

from typing import Any


class Progress:
    """Shows epoch, loss, validation loss and score on standard error, if that is a terminal."""

    def __init__(self, quiet: bool, score: str) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
        from rich.progress import Progress as Bar

        console = Console(stderr=True)
        self._bar = Bar(
            TextColumn("Training"),
            BarColumn(bar_width=30),
            TextColumn("epoch {task.completed}/{task.total}"),
            TextColumn("{task.fields[numbers]}"),
            TimeElapsedColumn(),
            console=console,
            disable=quiet or not console.is_terminal,
            transient=True,
        )
        self._task: Any = None
        self._score = score

    def __enter__(self) -> Progress:
        self._bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.stop()

    def __call__(self, event: Any) -> None:
        if self._task is None:
            self._task = self._bar.add_task("", total=event.max_epochs, numbers="")
        numbers = f"loss {event.loss:.4g}"
        if event.validation_loss is not None:
            numbers += f" · validation loss {event.validation_loss:.4g}"
            numbers += f", {self._score} {event.validation_score:.4f}"
        self._bar.update(self._task, completed=event.epoch, numbers=numbers)
