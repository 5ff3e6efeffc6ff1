"""A progress bar, on a terminal or in a notebook only."""

from __future__ import annotations

from typing import Any

from deltaprop.training.history import Epoch


class Progress:
    """A callback that shows epoch, loss, validation loss and score during training.

    Of an ensemble, it shows how many networks have been begun, and the numbers of one of them.

    It prints nothing if standard error is neither a terminal nor a notebook.

    Parameters
    ----------
    score : str, default="score"
        The name of the validation score.

    Notes
    -----
    The bar is drawn by rich (https://rich.readthedocs.io/en/stable/progress.html), which needs
    ``ipywidgets`` in notebooks.

    Examples
    --------
    >>> import deltaprop as dp
    >>> model = dp.MLPRegressor(max_iter=5, random_state=0, callbacks=[dp.Progress()])
    >>> model.fit([[0.0], [1.0]], [1.0, 2.0]).n_iter_
    5
    """

    def __init__(self, score: str = "score") -> None:
        self.score = score
        self._bar: Any = None
        self._begun: set[int] = set()

    def __call__(self, event: Epoch) -> None:
        if self._bar is None:
            self._bar = _bar()
            self._bar.start()
            self._bar.add_task("", total=max(1, event.max_epochs), place="", numbers="")
        numbers = f"loss {event.loss:.4g}"
        if event.validation_loss is not None:
            numbers += f" · validation loss {event.validation_loss:.4g}"
        if event.validation_score is not None:
            numbers += f", {self.score} {event.validation_score:.4f}"
        self._bar.update(self._bar.task_ids[0], numbers=numbers, **self._place(event))

    def _place(self, event: Epoch) -> dict[str, Any]:
        """How far the training is."""
        if event.n_members == 1:
            place = f"epoch {event.epoch}/{event.max_epochs}"
            return {"completed": event.epoch, "total": event.max_epochs, "place": place}
        self._begun.add(event.member)
        place = f"network {len(self._begun)}/{event.n_members}, epoch {event.epoch}"
        return {"completed": len(self._begun) - 1, "total": event.n_members, "place": place}

    def finish(self) -> None:
        """Remove the bar. Called at the end of training, however it ends."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
            self._begun = set()

    def __getstate__(self) -> dict[str, Any]:
        return {"score": self.score, "_bar": None, "_begun": set()}  # a copy has its own bar


def _bar() -> Any:
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bar

    console = Console(stderr=True)
    return Bar(
        TextColumn("Training"),
        BarColumn(bar_width=30),
        TextColumn("{task.fields[place]}"),
        TextColumn("{task.fields[numbers]}"),
        TimeElapsedColumn(),
        console=console,
        disable=not (console.is_terminal or console.is_jupyter),
        transient=True,
    )
