"""The trials of a search, in the order in which Optuna is asked for them and told about them.

The order does not depend on how long trials take: trial i + `window` is asked for right after trial
i has been told, and trial i is told right after trial i - 1. So the values that Optuna draws, and
the trials that a trial is compared with, are the same in every run. In between, `window` trials run
in any order.
"""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from deltaprop.errors import InputError, InputTypeError
from deltaprop.tuning.optional import optuna
from deltaprop.tuning.pruning import Curves
from deltaprop.tuning.space import Space
from deltaprop.tuning.trial import Outcome

NAME, OUTCOME, ABOUT = "deltaprop", "outcome", "about"
N_STARTUP = 8  # trials with random values, before Optuna learns from them


@dataclass(frozen=True)
class Asked:
    """A trial to run.

    Attributes
    ----------
    number : int
    parameters : dict
        Of the estimator.
    others : list of Curves
        The complete trials that it is compared with.
    outcome : Outcome or None
        If an earlier call has run it already.
    """

    number: int
    parameters: dict[str, Any]
    others: list[Curves]
    outcome: Outcome | None = None


class Study:
    """The trials of a search.

    Parameters
    ----------
    space : Space
    seed : int
    window : int
        How many trials may run at a time.
    storage : str, Path or None
        A file from which an earlier search is continued.
    about : dict of str
        What the search depends on. It must be the same when the search is continued.
    """

    def __init__(
        self, space: Space, seed: int, window: int, storage: str | PathLike[str] | None,
        about: Mapping[str, str],
    ) -> None:  # fmt: skip
        self._space, self._seed, self.window = space, seed, window
        with _quiet():
            self._storage = _storage(storage)
            self._study = optuna().create_study(
                storage=self._storage, study_name=NAME, load_if_exists=True
            )
        self._check_same(about, storage)
        self.outcomes = {t.number: _outcome(t) for t in self._trials() if t.state.is_finished()}

    def _check_same(self, about: Mapping[str, str], storage: Any) -> None:
        stored = self._study.user_attrs.get(ABOUT)
        if stored is None:
            self._study.set_user_attr(ABOUT, dict(about))
            return
        different = [name for name, value in about.items() if stored.get(name) != value]
        if different:
            raise InputError(
                f"storage={str(storage)!r} contains the trials of another search, which differs in "
                f"{', '.join(different)}. Give another file, or the same arguments as before."
            )

    # ------------------------------------------------------------ the order of trials

    @property
    def n_asked(self) -> int:
        return sum(t.state.name != "WAITING" for t in self._trials())

    @property
    def may_ask(self) -> bool:
        """Whether the next trial can be asked for before others are told."""
        return self.n_asked < len(self.outcomes) + self.window

    def unfinished(self) -> list[Asked]:
        """The trials that an earlier call has asked for and not told."""
        return [self._asked(t) for t in self._trials() if t.state.name == "RUNNING"]

    def ask(self) -> Asked:
        """The next trial. The first one has the parameters of the model."""
        number, distributions = self.n_asked, self._space.distributions
        if number == 0:
            if not self._trials():
                self._study.enqueue_trial(self._space.defaults)
            distributions = {name: distributions[name] for name in self._space.defaults}
        with _quiet():
            self._study.sampler = optuna().samplers.TPESampler(
                seed=_seed(self._seed, number), n_startup_trials=N_STARTUP, multivariate=True,
                constant_liar=True,
            )  # fmt: skip
            self._study.ask(distributions)
        return self._asked(self._trials()[number])

    def keep(self, number: int, outcome: Outcome) -> None:
        """Store the outcome of a trial that cannot be told yet."""
        self._storage.set_trial_user_attr(self._id(number), OUTCOME, outcome.to_json())

    def tell(self, number: int, outcome: Outcome) -> None:
        """Add the outcome of a trial, after those of all trials before it."""
        self.keep(number, outcome)
        failed = math.isnan(outcome.loss)
        if outcome.state == "pruned" and not failed:  # Optuna ranks it by how far it came
            self._storage.set_trial_intermediate_value(
                self._id(number), outcome.epochs, outcome.loss
            )
        states = optuna().trial.TrialState
        state = {"complete": states.COMPLETE, "pruned": states.PRUNED}.get(outcome.state)
        complete = outcome.state == "complete" and not failed
        with _quiet():
            self._study.tell(
                number, outcome.loss if complete else None,
                state=states.FAIL if failed or state is None else state,
            )  # fmt: skip
        self.outcomes[number] = outcome

    def _asked(self, trial: Any) -> Asked:
        before = range(trial.number - self.window + 1)
        others = [self.outcomes[i] for i in before if i in self.outcomes]
        return Asked(
            trial.number,
            self._space.parameters(trial.params),
            [outcome.curves for outcome in others if outcome.state == "complete"],
            _outcome(trial) if OUTCOME in trial.user_attrs else None,
        )

    def _trials(self) -> list[Any]:
        trials: list[Any] = self._study.get_trials(deepcopy=False)
        return trials

    def _id(self, number: int) -> int:
        return int(self._trials()[number]._trial_id)

    # ------------------------------------------------------------ results

    @property
    def best(self) -> int | None:
        """The number of the complete trial with the lowest loss; None if there is none."""
        found = [(o.loss, i) for i, o in self._known().items() if o.state == "complete"]
        return min(found)[1] if found else None

    def outcome(self, number: int) -> Outcome:
        return self._known()[number]

    def parameters(self, number: int) -> dict[str, Any]:
        """The parameters of a trial."""
        return self._space.parameters(self._trials()[number].params)

    def frame(self) -> pd.DataFrame:
        """All trials with an outcome, one in each row."""
        rows = [
            {
                "trial": i, "state": o.state, "loss": o.loss, **self.parameters(i),
                "epochs": o.epochs, "seconds": o.seconds, "error": o.error,
            }
            for i, o in self._known().items()
        ]  # fmt: skip
        names = [*self._space.distributions]
        columns = ["trial", "state", "loss", *names, "epochs", "seconds", "error"]
        return pd.DataFrame(rows, columns=columns).set_index("trial")

    def _known(self) -> dict[int, Outcome]:
        """The outcomes of all trials, including those that have not been told."""
        return {t.number: _outcome(t) for t in self._trials() if OUTCOME in t.user_attrs}


def _outcome(trial: Any) -> Outcome:
    return Outcome(**trial.user_attrs[OUTCOME])


def _seed(seed: int, number: int) -> int:
    """A seed for each trial, so that a search that is continued draws the same values."""
    return int(np.random.SeedSequence([seed, number]).generate_state(1)[0])


def _storage(storage: str | PathLike[str] | None) -> Any:
    """Optuna's storage in memory or in a file."""
    if storage is None:
        return optuna().storages.InMemoryStorage()
    if not isinstance(storage, (str, PathLike)):
        raise InputTypeError(f"storage must be the path of a file or None, got {storage!r}.")
    path = Path(storage)
    if path.is_dir() or not path.parent.is_dir():
        raise InputError(f"storage must be a file in an existing folder, got {str(path)!r}.")
    try:
        if path.exists():
            _check_journal(path)
        backend = optuna().storages.journal.JournalFileBackend(str(path))
        return optuna().storages.JournalStorage(backend)
    except OSError as error:
        raise InputError(f"storage={str(path)!r} cannot be opened: {error}.") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"storage={str(path)!r} is not a file of dp.tune; give one that does not exist."
        ) from error


def _check_journal(path: Path) -> None:
    """Raise ValueError if a file is not a journal. Remove a line that was not written to its end.

    A process that is killed may leave one, and Optuna would add the next line to it.
    """
    content = path.read_bytes()
    if content and "op_code" not in json.loads(content.split(b"\n", 1)[0]):
        raise ValueError("its first line is not that of a journal")
    end = content.rfind(b"\n") + 1
    if 0 < end < len(content):
        with path.open("r+b") as file:
            file.truncate(end)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without Optuna's messages about new studies, and its warnings of experimental options."""
    logging = optuna().logging
    level = logging.get_verbosity()
    logging.set_verbosity(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.set_verbosity(level)
