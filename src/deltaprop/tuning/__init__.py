"""``dp.tune``: a search for good parameters of the tabular estimators, with Optuna."""

from deltaprop.tuning.tune import Tuned, tune

__all__ = ["Tuned", "tune"]
