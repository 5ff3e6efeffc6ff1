"""The scikit-learn estimators: thin classes around the network and its training."""

from typing import TYPE_CHECKING, Any

from deltaprop.estimators.classifier import MLPClassifier
from deltaprop.estimators.regressor import MLPRegressor

if TYPE_CHECKING:
    from deltaprop.estimators.tabular import TabularClassifier, TabularRegressor

__all__ = ["MLPClassifier", "MLPRegressor", "TabularClassifier", "TabularRegressor"]


def __getattr__(name: str) -> Any:
    if name in ("TabularClassifier", "TabularRegressor"):
        # Imported on demand, because importing pandas and skrub is slow.
        from deltaprop.estimators import tabular

        return getattr(tabular, name)
    raise AttributeError(f"module 'deltaprop.estimators' has no attribute {name!r}")
