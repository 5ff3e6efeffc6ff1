"""The loop of a search: trials in threads, until their number or the time is reached."""

from __future__ import annotations

import math
import threading
import time
import warnings
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotYet
from dataclasses import dataclass
from typing import Any

from deltaprop.errors import warn
from deltaprop.estimators.tabular import BaseTabular
from deltaprop.training.interruption import Interruption
from deltaprop.tuning.study import Asked, Study
from deltaprop.tuning.trial import Data, Outcome, run_trial, with_parameters


@dataclass(frozen=True)
class TrialResult:
    """What the callbacks of :func:`deltaprop.tune` receive after each trial.

    Attributes
    ----------
    number : int
        The number of the trial, from 0.
    n_trials : int or None
        How many there will be at most.
    state : {"complete", "pruned", "failed"}
    loss : float
        The mean held-out loss; of a pruned trial, that of the folds it began.
    parameters : dict
    best_loss : float
        The lowest loss of all complete trials.
    """

    number: int
    n_trials: int | None
    state: str
    loss: float
    parameters: dict[str, Any]
    best_loss: float


@dataclass(frozen=True)
class Limits:
    """When a search ends.

    Parameters
    ----------
    n_trials : int or None
        At most how many trials there are, those of earlier calls included.
    deadline : float or None
        When the final fit must end, on the clock of `time.monotonic`.
    """

    n_trials: int | None
    deadline: float | None

    def allows(self, n_trials: int) -> bool:
        """Whether there may be another trial."""
        return self.n_trials is None or n_trials < self.n_trials

    def seconds(self, reserve: float) -> float | None:
        """The time for trials, if the final fit takes `reserve` seconds; None for no limit."""
        if self.deadline is None:
            return None
        return max(0.0, self.deadline - time.monotonic() - reserve)


class Search:
    """Runs the trials of a study.

    Parameters
    ----------
    study : Study
    model : BaseTabular
        Its `cv` are the folds of a trial.
    data : Data
    limits : Limits
    n_jobs : int
        How many trials run at a time.
    reserve : callable
        Returns the seconds that the final fit will take.
    callbacks : sequence of callables
    """

    def __init__(
        self, study: Study, model: BaseTabular, data: Data, limits: Limits, n_jobs: int,
        reserve: Callable[[], float], callbacks: Sequence[Callable[[TrialResult], object]],
    ) -> None:  # fmt: skip
        self._study, self._model, self._data = study, model, data
        self._limits, self._n_jobs = limits, n_jobs
        self._reserve, self._callbacks = reserve, callbacks
        self._stop = threading.Event()
        self._queue: deque[tuple[Asked, Future[Outcome | None]]] = deque()

    def run(self) -> None:
        """Run trials until a limit, a callback that returns True, or Ctrl-C.

        Raises
        ------
        KeyboardInterrupt
            After Ctrl-C, if no trial was complete.
        ValueError
            If the first trial failed.
        """
        from threadpoolctl import threadpool_limits

        interruption = Interruption(self._stop.set)
        # The threads of BLAS would compete with those of the trials, which evaluate the held-out
        # rows with it.
        one_thread = threadpool_limits(1, user_api="blas")
        with interruption.awaited(sigterm=False), one_thread, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # each trial would repeat those of the final fit
            pool = ThreadPoolExecutor(self._n_jobs, thread_name_prefix="deltaprop-tune")
            try:
                self._run_in(pool)
            finally:
                self._stop.set()
                pool.shutdown(cancel_futures=True)
            self._keep_others()
            interruption.ended_training = True
        if interruption.signal is not None:
            if self._study.best is None:
                raise KeyboardInterrupt
            warn(
                f"Tuning interrupted by user after {len(self._study.outcomes)} trials; the model "
                "is fitted with the best parameters so far."
            )

    def _run_in(self, pool: ThreadPoolExecutor) -> None:
        for asked in self._study.unfinished():
            self._submit(pool, asked)
        while True:
            while self._study.may_ask and self._limits.allows(self._study.n_asked):
                self._submit(pool, self._study.ask())
            if not self._queue:
                return
            asked, outcome = self._oldest()
            if outcome is None:
                return
            self._study.tell(asked.number, outcome)
            self._queue.popleft()
            if self._report(asked, outcome):
                return

    def _submit(self, pool: ThreadPoolExecutor, asked: Asked) -> None:
        self._queue.append((asked, pool.submit(self._run_trial, asked)))

    def _run_trial(self, asked: Asked) -> Outcome | None:
        if asked.outcome is not None or self._stop.is_set():
            return asked.outcome
        model = with_parameters(self._model, **asked.parameters)
        return run_trial(model, self._data, asked.others, self._stop, must=asked.number == 0)

    def _oldest(self) -> tuple[Asked, Outcome | None]:
        """The oldest trial that runs, and its outcome; None if there is no time for it."""
        asked, future = self._queue[0]
        try:
            return asked, future.result(self._limits.seconds(self._reserve()))
        except NotYet:
            return asked, None

    def _keep_others(self) -> None:
        """Store the outcomes of trials that ended before older ones."""
        for asked, future in self._queue:
            if not future.cancelled() and future.exception() is None:
                outcome = future.result()
                if outcome is not None and outcome.state != "failed":
                    self._study.keep(asked.number, outcome)

    def _report(self, asked: Asked, outcome: Outcome) -> bool:
        """Call the callbacks. Returns whether one of them ends the search."""
        best = self._study.best
        result = TrialResult(
            asked.number, self._limits.n_trials, outcome.state, outcome.loss, asked.parameters,
            math.nan if best is None else self._study.outcome(best).loss,
        )  # fmt: skip
        return any([bool(callback(result)) for callback in self._callbacks])  # noqa: C419
