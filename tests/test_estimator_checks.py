"""scikit-learn's conformance suite: the MLP classes pass it, the Tabular classes all but a few."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sklearn.utils.estimator_checks import parametrize_with_checks

import deltaprop as dp

TABLES = {
    "check_n_features_in_after_fitting": "further columns of a table are ignored",
    "check_classifiers_train": "further columns of a table are ignored",
    "check_sample_weight_equivalence_on_dense_data": "the folds and batches are of rows, not of "
    "weights, so that a weight of 2 is not the same as a row that occurs twice",
    "check_complex_data": "the message names the column, in the words of tables",
    "check_dtype_object": "a column of objects is encoded as text",
    "check_estimators_empty_data_messages": "the message speaks of rows and columns of a table",
    "check_estimators_nan_inf": "missing and infinite numbers are encoded",
    "check_estimator_sparse_tag": "a sparse matrix is a table of numbers",
    "check_supervised_y_2d": "a target of one column needs no warning",
    "check_non_transformer_estimators_n_iter": "each member has its own n_iter_",
    "check_transformer_n_iter": "each member has its own n_iter_",
    "check_fit2d_predict1d": "the message asks for a table or a 2-d array",
}


def expected_failures(estimator: Any) -> dict[str, str]:
    """The checks that an estimator for tables cannot pass, and why."""
    tables = isinstance(estimator, (dp.TabularClassifier, dp.TabularRegressor))
    reasons = TABLES if tables else {}
    return {
        name: reason
        for name, reason in reasons.items()
        if isinstance(estimator, dp.TabularClassifier) or name != "check_classifiers_train"
    }


@parametrize_with_checks([dp.MLPClassifier(), dp.MLPRegressor()])
def test_scikit_learn_contract(estimator: Any, check: Callable[[Any], None]) -> None:
    check(estimator)


@parametrize_with_checks(
    [dp.TabularClassifier(preset="fast"), dp.TabularRegressor(preset="fast")],
    expected_failed_checks=expected_failures,
    xfail_strict=True,
)
def test_tables_keep_the_contract_but_for_what_is_listed(
    estimator: Any, check: Callable[[Any], None]
) -> None:
    check(estimator)
