"""A table with every kind of column that can be exported, and models that are fitted to it."""

import warnings

import numpy as np
import pandas as pd

import deltaprop as dp
from deltaprop.data.reading import UnparsedCells


def table(n=120, seed=0):
    """A table with each kind of column that can be exported, with missing values."""
    rng = np.random.default_rng(seed)
    size = rng.normal(50, 20, n).round(3)
    city = rng.choice(["Aÿn", 'q"u\\o??=te', "Łódź", "b c", "NA-ish"], n).astype(object)
    X = pd.DataFrame(
        {
            "size (m²)": np.where(rng.random(n) < 0.1, np.nan, size),
            "int": rng.integers(-5, 5, n),
            "city": np.where(rng.random(n) < 0.1, None, city),
            "two": rng.choice(["no", "yes"], n),
            "constant": "same",
            "flag": rng.random(n) < 0.5,
            "code": pd.Categorical(rng.choice([1, 2, 3], n)),
            "when": pd.Timestamp("1999-12-30") + pd.to_timedelta(rng.integers(0, 10**8, n), "s"),
            "empty": [None] * n,
        }
    )
    X.loc[3, "when"] = pd.NaT
    signal = np.nan_to_num(X["size (m²)"]) / 20 + (X["two"] == "yes") * 2 + X["int"] / 3
    return X, signal.to_numpy()


SIGNAL = table()[1]
"""What the targets are made of."""


def new_rows():
    """Rows with values that were not seen when the model was fitted."""
    X, _ = table(40, seed=1)
    X[["city", "two", "flag"]] = X[["city", "two", "flag"]].astype(object)
    X.loc[0, "city"], X.loc[1, "two"], X.loc[2, "size (m²)"] = "elsewhere", "maybe", 1e300
    X.loc[4, "size (m²)"] = np.inf
    X.loc[5, ["size (m²)", "city", "two", "flag"]] = [-np.inf, None, None, None]
    return X


def fitted(kind, y, **parameters):
    X, _ = table()
    settings = {"max_iter": 3, "random_state": 0, "cv": 2, "hidden_layer_sizes": (7, 5)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return getattr(dp, kind)(**settings | parameters).fit(X, y)


def quietly(function, X):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnparsedCells)
        return function(X)


def rows_of_numbers(n=30, D=3):
    return np.random.default_rng(0).normal(0, 2, (n, D))
