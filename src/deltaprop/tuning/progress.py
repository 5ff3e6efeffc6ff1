"""A progress bar of a search, on a terminal or in a notebook only."""

from __future__ import annotations

import time
from typing import Any

from deltaprop.tuning.search import TrialResult


class Bar:
    """A callback that shows how many trials there have been and the lowest loss.

    Parameters
    ----------
    n_trials : int or None
    time_limit : float or None
        Seconds.
    """

    def __init__(self, n_trials: int | None, time_limit: float | None) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        console = Console(stderr=True)
        self._began, self._by_time = time.monotonic(), n_trials is None
        self._pruned = 0
        self._bar = Progress(
            TextColumn("Tuning"),
            BarColumn(bar_width=30),
            TextColumn("{task.fields[text]}"),
            TimeElapsedColumn(),
            console=console,
            disable=not (console.is_terminal or console.is_jupyter),
            transient=True,
        )
        total = time_limit if self._by_time else n_trials
        self._task = self._bar.add_task("", total=total, text="")

    def __call__(self, result: TrialResult) -> None:
        self._pruned += result.state == "pruned"
        number = result.number + 1
        trial = f"trial {number}" + ("" if result.n_trials is None else f"/{result.n_trials}")
        text = f"{trial} · lowest loss {result.best_loss:.4g} · {self._pruned} pruned"
        done = time.monotonic() - self._began if self._by_time else number
        self._bar.update(self._task, completed=done, text=text)

    def __enter__(self) -> Bar:
        self._bar.start()
        return self

    def __exit__(self, *error: Any) -> None:
        self._bar.stop()
