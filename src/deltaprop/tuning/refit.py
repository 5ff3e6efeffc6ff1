"""The final fit of a search: the best parameters, all rows, all cores."""

from __future__ import annotations

import math
import time
from numbers import Integral

from deltaprop.engines.fused.processors import available
from deltaprop.estimators.tabular import BaseTabular
from deltaprop.estimators.tabular.presets import PRESETS
from deltaprop.tuning.study import Study
from deltaprop.tuning.trial import Data, with_parameters

MARGIN = 1.3  # a member of the ensemble trains on more rows than a network of a trial
SHARE = 0.5  # of the time limit, at most, for the final fit


def refit_seconds(model: BaseTabular, study: Study, n_rows: int, time_limit: float) -> float:
    """About how long the final fit takes, from the time of the best trial."""
    if study.best is None:
        return SHARE * time_limit
    outcome = study.outcome(study.best)
    seconds = outcome.seconds / max(1, len(outcome.curves))
    rounds = math.ceil(n_members(model, n_rows) / available())
    return min(SHARE * time_limit, MARGIN * rounds * seconds)


def n_members(model: BaseTabular, n_rows: int) -> int:
    """How many networks the estimator trains; of a splitter, which is not asked, the default."""
    preset = PRESETS[model.preset].for_rows(n_rows)
    if isinstance(model.cv, Integral):
        return int(model.cv)
    return preset.cv * preset.repeats


def refit(
    model: BaseTabular, study: Study, data: Data, seed: int, deadline: float | None
) -> BaseTabular:
    """The estimator with the best parameters, fitted to all rows."""
    best = {} if study.best is None else study.parameters(study.best)
    if model.random_state is None:
        best = {**best, "random_state": seed}
    limit = model.time_limit
    if deadline is not None:
        left = max(1e-3, deadline - time.monotonic())
        limit = left if limit is None else min(left, limit)
    fitted: BaseTabular = data.fit(with_parameters(model, **best, time_limit=limit))
    fitted.time_limit = model.time_limit
    return fitted
