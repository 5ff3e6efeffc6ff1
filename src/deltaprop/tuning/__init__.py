"""``dp.tune``: a search for good parameters of the tabular estimators, with Optuna."""

from deltaprop.tuning.tuned import Tuned, tune

__all__ = ["Tuned", "tune"]
