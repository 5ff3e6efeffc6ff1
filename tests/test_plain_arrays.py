"""Plain arrays skip scikit-learn's validation: the same fit, scores, errors and warnings result."""

import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.metrics import accuracy_score
from sklearn.utils.multiclass import type_of_target, unique_labels

import deltaprop as dp

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def fitted(kind, X, y, **parameters):
    model = kind(hidden_layer_sizes=3, max_iter=2, random_state=0, engine="reference", **parameters)
    return model.fit(X, y)


def labels(dtype, classes, n=40):
    codes = np.arange(n) % classes
    if dtype in ("U", "object"):
        return np.char.add("label ", codes.astype("U12")).astype(dtype)
    return codes.astype(dtype)


@pytest.mark.parametrize("dtype", ["int64", "int16", "uint8", "bool", "U", "float64", "object"])
@pytest.mark.parametrize("classes", [1, 2, 5])
@pytest.mark.parametrize("dtype_X", ["float32", "float64", "float16", "int32"])
def test_a_classifier_is_the_same_for_arrays_and_lists(dtype, classes, dtype_X):
    X = (np.random.default_rng(0).normal(size=(40, 4)) * 9).astype(dtype_X)
    y = labels(dtype, 2 if dtype == "bool" else classes)
    model = fitted(dp.MLPClassifier, X, y)
    via_sklearn = fitted(dp.MLPClassifier, pd.DataFrame(X), pd.Series(y))  # is validated by it
    np.testing.assert_array_equal(model.network_.theta, via_sklearn.network_.theta)
    np.testing.assert_array_equal(model.classes_, unique_labels(y))
    assert model.classes_.dtype == unique_labels(y).dtype
    assert model.n_features_in_ == 4
    np.testing.assert_array_equal(model.predict(X), via_sklearn.predict(pd.DataFrame(X)))
    weights = np.linspace(0.1, 1, 40)
    for w in (None, weights):
        assert model.score(X, y, w) == accuracy_score(y, model.predict(X), sample_weight=w)


@given(hnp.arrays(st.sampled_from(["int64", "uint8", "bool", "U3"]), st.integers(1, 60)))
@settings(deadline=None)
def test_classes_and_warnings_are_those_of_scikit_learn(y):
    X = np.zeros((len(y), 2))
    kind, many = type_of_target(y), len(np.unique(y)) > max(2, round(len(y) / 2))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model = fitted(dp.MLPClassifier, X, y)
    assert model._kind == kind
    assert model.classes_.tolist() == unique_labels(y).tolist()
    warned = any("could represent a regression" in str(w.message) for w in caught)
    assert warned == (many and len(y) > 20)


@pytest.mark.parametrize("dtype", ["float64", "float32", "int64", "bool", "object"])
@pytest.mark.parametrize("shape", [(40,), (40, 1), (40, 2)])
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.DataConversionWarning")
def test_a_regressor_is_the_same_for_arrays_and_lists(dtype, shape):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(40, 4)), rng.integers(0, 2, shape).astype(dtype)
    model, via_sklearn = (fitted(dp.MLPRegressor, rows, y) for rows in (X, X.tolist()))
    np.testing.assert_array_equal(model.network_.theta, via_sklearn.network_.theta)


@pytest.mark.parametrize("estimator", [dp.MLPClassifier, dp.MLPRegressor])
def test_column_names_are_forgotten_and_missed(estimator):
    X, y = np.random.default_rng(0).normal(size=(20, 2)), np.arange(20) % 2
    model = fitted(estimator, pd.DataFrame(X, columns=["a", "b"]), y)
    with pytest.warns(UserWarning, match="does not have valid feature names"):
        model.predict(np.concatenate([X, X]))
    model.fit(X, y)
    assert not hasattr(model, "feature_names_in_")


@pytest.mark.parametrize("bad", ["nan in X", "inf in X", "lengths", "columns", "1-d", "no rows"])
def test_what_is_wrong_is_said_by_scikit_learn(bad):
    X, y = np.random.default_rng(0).normal(size=(30, 3)), np.arange(30) % 3
    model = fitted(dp.MLPClassifier, X, y)
    theta = model.network_.theta.copy()
    X = X.copy()
    X[0, 0] = {"nan in X": np.nan, "inf in X": np.inf}.get(bad, 0.0)
    X = {"columns": X[:, :2], "1-d": X[:, 0], "no rows": X[:0]}.get(bad, X)
    words = {
        "nan in X": "NaN", "inf in X": "infinity", "lengths": "inconsistent numbers of samples",
        "columns": "expecting 3 features", "1-d": "Expected 2D array", "no rows": "0 sample",
    }  # fmt: skip
    call, arguments = (model.fit, (X, y[:-1])) if bad == "lengths" else (model.predict, (X,))
    with pytest.raises(ValueError, match=words[bad]):
        call(*arguments)
    np.testing.assert_array_equal(model.network_.theta, theta)


def test_parameters_are_validated_unless_they_are_defaults():
    X, y = np.zeros((4, 2)), np.array([0, 1, 0, 1])
    with pytest.raises(ValueError, match="The 'alpha' parameter of MLPClassifier must be"):
        dp.MLPClassifier(alpha=-1.0).fit(X, y)

    class Shallow(dp.MLPClassifier):
        def __init__(self, alpha: float = -2.0, width: int = 3):
            super().__init__((width,), alpha=alpha)
            self.width = width

    assert Shallow().get_params() == {"alpha": -2.0, "width": 3}
    with pytest.raises(ValueError, match="The 'alpha' parameter of Shallow must be"):
        Shallow().fit(X, y)


def test_score_needs_a_fit_and_as_many_labels_as_rows():
    X, y = np.random.default_rng(0).normal(size=(30, 3)), np.arange(30) % 3
    with pytest.raises(ValueError, match="not fitted"):
        dp.MLPClassifier().score(X, y)
    model = fitted(dp.MLPClassifier, X, y)
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        model.score(X, y[:-1])
