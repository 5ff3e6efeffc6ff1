"""Estimators for DataFrames: an encoder of tables and an ensemble of networks."""

from deltaprop.estimators.tabular.base import BaseTabular
from deltaprop.estimators.tabular.classifier import TabularClassifier
from deltaprop.estimators.tabular.regressor import TabularRegressor

__all__ = ["BaseTabular", "TabularClassifier", "TabularRegressor"]
