"""``dp.tune``: find good parameters of a tabular estimator, and fit it with them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from typing import Any

import pandas as pd

from deltaprop.engines.fused.processors import available
from deltaprop.estimators.parameters import AUTO
from deltaprop.estimators.tabular import BaseTabular
from deltaprop.estimators.tabular.base import column
from deltaprop.tuning.arguments import (
    about,
    check_callbacks,
    check_limits,
    check_model,
    trial_folds,
)
from deltaprop.tuning.optional import optuna
from deltaprop.tuning.progress import Bar
from deltaprop.tuning.refit import refit, refit_seconds
from deltaprop.tuning.search import Limits, Search, TrialResult
from deltaprop.tuning.space import space_of
from deltaprop.tuning.study import Study
from deltaprop.tuning.trial import Data, with_parameters

N_TRIALS = 50
WINDOW = 8  # trials at a time; the same on all machines, so that results are the same


@dataclass(frozen=True, repr=False)
class Tuned:
    """The result of :func:`deltaprop.tune`.

    Attributes
    ----------
    model : TabularClassifier or TabularRegressor
        The estimator with the best parameters, fitted to all rows.
    best_params : dict
        The best parameters.
    best_loss : float
        The mean held-out loss of the trial that had them. It is a little too low, because it is the
        lowest of many; ``model.cv_score_`` is the score to expect. NaN if no trial was finished.
    default_loss : float
        That of the first trial, whose parameters were those of the model.
    trials : DataFrame
        For each trial: its state ("complete", "pruned" or "failed"), its loss, its parameters, the
        epochs of all of its networks, its seconds, and why it failed. The loss of a pruned trial is
        that of the folds that it began.
    """

    model: Any
    best_params: dict[str, Any]
    best_loss: float
    default_loss: float
    trials: pd.DataFrame

    @property
    def best_estimator_(self) -> Any:
        """The same as `model`, by the name that searches of scikit-learn use."""
        return self.model

    def __repr__(self) -> str:
        states = self.trials["state"].value_counts()
        counts = ", ".join(f"{n} {state}" for state, n in states.items())
        lines = [
            f"Tuned: {len(self.trials)} trials ({counts or 'none finished'})",
            f"  held-out loss  {self.best_loss:.5g}, with the parameters given "
            f"{self.default_loss:.5g}",
        ]
        width = max(map(len, self.best_params), default=0)
        lines += [
            f"  {name:<{width}}  {f'{value:.4g}' if isinstance(value, float) else value}"
            for name, value in self.best_params.items()
        ]
        return "\n".join(lines)


def tune(
    model: Any,
    X: Any,
    y: Any,
    *,
    n_trials: int | None = None,
    time_limit: float | None = None,
    storage: str | PathLike[str] | None = None,
    seed: int = 0,
    n_jobs: int | None = None,
    space: Mapping[str, Any] | None = None,
    cv: Any = AUTO,
    sample_weight: Any = None,
    groups: Any = None,
    callbacks: Sequence[Callable[[TrialResult], object]] | None = None,
) -> Tuned:
    """Find good parameters of a tabular estimator, and fit it with them to all rows.

    Each trial trains the networks of a cross-validation with other parameters, on one thread. As
    many trials run at a time as there are cores. The best trial is the one with the lowest loss on
    held-out rows. The first trial has the parameters of `model`, so that the result is never one
    that was found to be worse. The parameters of the others are drawn by Optuna's TPE sampler,
    which learns from the trials before them. A trial is stopped ("pruned") if its held-out loss
    after a fold is greater than the median of complete trials, or after an epoch than their third
    quartile.

    With `n_trials`, the same call gives the same result: for a given `seed`, it does not depend on
    how long the trials take, nor on `n_jobs` if this is at most 8. With `time_limit`, it depends on
    how many trials there is time for.

    After Ctrl-C, the model is fitted with the best parameters so far.

    Parameters
    ----------
    model : TabularClassifier or TabularRegressor
        An estimator, which is not changed. Its parameters that differ from their defaults are
        fixed.
    X : DataFrame (pandas, polars or Arrow)
        Features.
    y : array-like of shape (n_samples,)
        Class labels, or numbers.
    n_trials : int, optional
        How many trials there are in all. The default is 50, or no limit if there is a `time_limit`.
    time_limit : float, optional
        Seconds that the call may take, including the final fit.
    storage : str or Path, optional
        A file in which each trial is stored. The same call continues the search from it. It is a
        journal of Optuna, which its dashboard can show.
    seed : int, default=0
        Determines the folds, the initial weights of all networks and what the sampler draws.
    n_jobs : int, optional
        How many trials run at a time. The default is one per core.
    space : dict, optional
        The parameters to tune. Each value is a list, or a distribution of Optuna, such as
        ``optuna.distributions.FloatDistribution(0.001, 0.1, log=True)``. The default is a range
        around the values of the presets, for `hidden_layer_sizes`, `activation`, `dropout`,
        `learning_rate_init`, `weight_decay`, `input_scale`, `n_bins` and `batch_size`.
    cv : int, splitter, iterable or "auto", default="auto"
        The folds of a trial. "auto" is that of the model if it is a splitter or an iterable, and
        otherwise 4, of which only two are trained from 25,000 rows on, and one from 60,000.
    sample_weight, groups : array-like of shape (n_samples,), optional
        As for the ``fit`` of the model.
    callbacks : list of callables, optional
        Called with a :class:`deltaprop.tuning.search.TrialResult` after each trial. The search ends
        if one of them returns True.

    Returns
    -------
    Tuned
        With the fitted estimator in `model`.

    Raises
    ------
    ValueError, TypeError
        If an argument is invalid, if the model cannot be fitted, or if `storage` contains another
        search.
    ImportError
        If Optuna is not installed.
    KeyboardInterrupt
        After Ctrl-C before the first trial was finished.

    References
    ----------
    Bergstra, Bardenet, Bengio and Kégl (2011), "Algorithms for hyper-parameter optimization".

    Examples
    --------
    >>> import deltaprop as dp
    >>> table = dp.tables.read_table("data/penguins.csv")
    >>> X, y = table.drop(columns="species"), table["species"]
    >>> tuned = dp.tune(dp.TabularClassifier(max_iter=30), X, y, n_trials=3)
    >>> tuned.trials["state"].tolist()
    ['complete', 'complete', 'complete']
    >>> tuned.best_loss <= tuned.default_loss
    True
    >>> tuned.model.score(X, y) > 0.95
    True
    """
    began = time.monotonic()
    optuna()
    check_model(model, X)
    check_limits(n_trials, time_limit, seed, n_jobs)
    callbacks = check_callbacks(callbacks)
    target, seed = column(y), int(seed)
    folds = trial_folds(model, target, cv, groups, seed)
    values = space_of(model, len(target), space)
    n_jobs = available() if n_jobs is None else int(n_jobs)
    study = Study(
        values, seed, max(WINDOW, n_jobs), storage,
        about(model, X, target, sample_weight, values, seed, folds),
    )  # fmt: skip
    if n_trials is None and time_limit is None:
        n_trials = N_TRIALS
    data = Data(X, y, sample_weight, groups)
    limits = Limits(n_trials, None if time_limit is None else began + time_limit)

    def reserve() -> float:
        return 0.0 if time_limit is None else refit_seconds(model, study, len(target), time_limit)

    with Bar(n_trials, time_limit) as bar:
        trial_model = _trial_model(model, folds, seed, timed=time_limit is not None)
        Search(study, trial_model, data, limits, n_jobs, reserve, (bar, *callbacks)).run()
    fitted = refit(model, study, data, seed, limits.deadline)
    return _result(fitted, study)


def _trial_model(model: BaseTabular, folds: Sequence[Any], seed: int, timed: bool) -> BaseTabular:
    """The estimator whose parameters the trials change."""
    engine = model.engine
    if engine == "auto" and not timed:  # until it is compiled, "auto" computes with another engine
        engine = "fused"
    return with_parameters(
        model, cv=[(fold.train, fold.held) for fold in folds], random_state=seed, engine=engine,
        time_limit=None, record=None, checkpoint=None,
    )  # fmt: skip


def _result(fitted: BaseTabular, study: Study) -> Tuned:
    trials, best = study.frame(), study.best
    return Tuned(
        model=fitted,
        best_params={} if best is None else study.parameters(best),
        best_loss=float("nan") if best is None else study.outcome(best).loss,
        default_loss=float(trials["loss"].get(0, float("nan"))),
        trials=trials,
    )
