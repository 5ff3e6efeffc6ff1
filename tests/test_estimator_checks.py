"""scikit-learn's conformance suite on default instances, with no expected failure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sklearn.utils.estimator_checks import parametrize_with_checks

import deltaprop as dp


@parametrize_with_checks([dp.MLPClassifier(), dp.MLPRegressor()])
def test_scikit_learn_contract(estimator: Any, check: Callable[[Any], None]) -> None:
    check(estimator)
