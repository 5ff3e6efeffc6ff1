"""Numbers that are given a normal distribution, by their quantiles."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.preprocessing import QuantileTransformer

import deltaprop as dp
from deltaprop.data.columns.quantiles import Quantiles
from deltaprop.tables import TableEncoder

rng = np.random.default_rng(0)


def theirs(fitted: np.ndarray, new: np.ndarray) -> np.ndarray:
    """scikit-learn's transform, with a thirtieth as many quantiles as rows."""
    Q = int(np.clip(len(fitted) // 30, 10, 1000))
    transformer = QuantileTransformer(
        n_quantiles=min(Q, len(fitted)), output_distribution="normal", subsample=None
    )
    return transformer.fit(fitted[:, None]).transform(new[:, None])[:, 0]


@pytest.mark.parametrize(
    "values",
    [
        rng.normal(size=500), rng.exponential(size=5000) ** 3, rng.integers(0, 4, 300) * 1.0,
        np.where(rng.random(400) < 0.7, 0.0, rng.normal(size=400)), rng.normal(size=20) * 1e9,
    ],
    ids=["normal", "skewed", "few values", "many zeros", "few rows"],
)  # fmt: skip
def test_it_is_the_transformer_of_scikit_learn(values):
    new = np.concatenate([values, values[:50] + 0.01, [values.min() - 1, values.max() + 1]])
    encoder = TableEncoder(numbers="normal").fit(pd.DataFrame({"x": values}))
    ours = encoder.transform(pd.DataFrame({"x": new}))[:, 0]
    np.testing.assert_allclose(ours, theirs(values, new), rtol=1e-5, atol=1e-6)


def test_missing_values_are_the_median_and_infinite_ones_the_ends():
    frame = pd.DataFrame({"x": [*np.arange(1001.0), math.nan, math.inf, -math.inf]})
    Z = TableEncoder(numbers="normal").fit_transform(frame)
    assert Z.shape == (1004, 2)  # with a mark of the missing value
    np.testing.assert_allclose(Z[500:502, 0], [0, 0.0025], atol=1e-4)
    assert Z[1001, 0] == 0
    np.testing.assert_allclose(Z[1002:, 0], [5.199, -5.199], atol=1e-3)
    assert np.isfinite(Z).all()


def test_what_was_done_is_described():
    frame = pd.DataFrame(
        {"x": rng.normal(size=60), "constant": 1.0, "words": ["1.5", "2", "3", "4"] * 15,
         "time": pd.to_timedelta(np.arange(60), unit="s"), "kind": ["a", "b", "c"] * 20}
    )  # fmt: skip
    encoder = TableEncoder(numbers="normal", n_bins=3).fit(frame)
    notes = encoder.describe()["note"]
    assert "normal distribution" in notes["x"]
    assert "normal distribution" in notes["words"]
    assert "normal distribution" in notes["time"]
    assert notes["kind"] == ""
    assert "constant" in notes["constant"]
    Z = encoder.transform(frame)
    assert not Z[:, 1].any()
    names = list(encoder.get_feature_names_out())
    edges = [name for name in names if name.startswith("x from")]
    assert len(edges) == 3
    low = float(edges[0].split()[2])  # bins are named by the numbers of the table
    assert low == pytest.approx(frame["x"].min(), rel=1e-4)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=80))
def test_order_is_kept_and_the_inverse_leads_back(values):
    x = np.array(values)
    scale = Quantiles.fitted([x])
    z = scale.apply(np.sort(x)[None].copy())[0]
    assert (np.diff(z) >= -1e-9).all()
    if len(set(values)) > 1:
        assert z[0] == pytest.approx(-5.199, abs=1e-3)
        inside = float(np.quantile(x, 0.5))
        there = scale.apply(np.array([[inside]]))[0, 0]
        back = scale.inverse(there, 0)
        assert scale.apply(np.array([[back]]))[0, 0] == pytest.approx(there, abs=1e-3)


def test_one_row_is_encoded_as_many_are():
    frame = pd.DataFrame({"x": rng.normal(size=100), "n": rng.integers(0, 9, 100)})
    encoder = TableEncoder(numbers="normal").fit(frame)
    Z = encoder.transform(frame)
    for i in range(5):
        np.testing.assert_array_equal(encoder.transform(frame.iloc[[i]]), Z[[i]])


def test_an_unknown_scale_raises():
    with pytest.raises(ValueError, match="numbers must be 'robust' or 'normal', got 'uniform'"):
        TableEncoder(numbers="uniform").fit(pd.DataFrame({"x": [1.0, 2.0]}))


def test_tabular_models_are_saved_with_their_quantiles(tmp_path):
    X = pd.DataFrame({"x": rng.exponential(size=80) ** 4, "kind": ["a", "b"] * 40})
    y = np.log(X["x"]) + (X["kind"] == "a")
    model = dp.TabularRegressor(numbers="normal", cv=2, max_iter=3, random_state=0).fit(X, y)
    dp.save(model, tmp_path / "model.dp")
    loaded = dp.load(tmp_path / "model.dp")
    assert loaded.numbers == "normal"
    np.testing.assert_array_equal(loaded.predict(X), model.predict(X))
    assert "normal distribution" in loaded.encoder_.describe()["note"]["x"]
