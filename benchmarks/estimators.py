"""Fits so small that the work around the steps counts: of an array, and of a table.

"deltaprop.fit" trains the same network on the same rows without an estimator. "deltaprop, encoded"
fits the MLPClassifier inside the TabularClassifier to rows that are encoded already.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

import deltaprop as dp
from benchmarks.turns import Build, Turn

FITS = 5  # of a turn, in the case of an array
SHAPE = {
    "hidden_layer_sizes": (16,), "batch_size": 32, "max_iter": 20, "tol": 0,
    "n_iter_no_change": math.inf,
}  # fmt: skip


def array(threads: int) -> dict[str, Build]:
    """6 → 16 → 2 on 640 rows, 20 epochs of 20 steps. Two classes have one logistic output."""
    return {"deltaprop": _ours, "deltaprop.fit": _bare, "scikit-learn": _scikit_learn}


def table(threads: int) -> dict[str, Build]:
    """1,000 rows of four numbers, three columns of categories and one of flags."""
    return {
        "deltaprop": _tabular,
        "deltaprop, encoded": _encoded,
        "scikit-learn": _pipeline,
    }


# ---------------------------------------------------------------- an array


def _ours() -> Turn:
    X, y = _rows()
    return _fits(lambda t: dp.MLPClassifier(engine="fused", random_state=t, **SHAPE).fit(X, y))


def _scikit_learn() -> Turn:
    from sklearn.neural_network import MLPClassifier

    X, y = _rows()
    return _fits(lambda t: MLPClassifier(random_state=t, **SHAPE).fit(X, y))


def _bare() -> Turn:
    X, y = _rows()

    def turn(t: int) -> float:
        for _ in range(FITS):
            rng = np.random.RandomState(t)  # draws the weights and the order, as in the estimators
            net = dp.Network(
                6, [dp.Dense(16, "relu"), dp.Dense(1, "sigmoid")], loss="binary_cross_entropy",
                l2=1e-4, reduction="sklearn", dtype="float32", init="sklearn", seed=rng,
            )  # fmt: skip
            history = dp.fit(
                net, X, y, batch_size=32, max_epochs=20, tol=0, patience=math.inf, seed=rng,
                engine="fused",
            )  # fmt: skip
        return history.loss_curve[-1]

    return turn


def _rows() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((640, 6), dtype=np.float32)
    return X, (X @ rng.standard_normal(6) > 0).astype(np.int64)


def _fits(fit: Callable[[int], Any]) -> Turn:
    def turn(t: int) -> float:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # no model converges in so few epochs
            models = [fit(t) for _ in range(FITS)]
        return float(models[-1].loss_)

    return turn


# ---------------------------------------------------------------- a table


def _tabular() -> Turn:
    X, y = _mixed_columns()
    return _turn(partial(dp.TabularClassifier, engine="fused"), X, y)


def _encoded() -> Turn:
    X, y = _mixed_columns()
    model = dp.TabularClassifier(engine="fused", random_state=0).fit(X, y)
    Z, mlp = model.encode_rows(X), model.fitted_mlp()
    return _turn(partial(type(mlp), **{**mlp.get_params(), "random_state": None}), Z, y)


def _pipeline() -> Turn:
    """The same steps from other libraries: skrub encodes, scikit-learn scales and trains."""
    from sklearn.impute import SimpleImputer
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from skrub import TableVectorizer

    X, y = _mixed_columns()

    def model(random_state: int) -> Any:
        mlp = MLPClassifier(batch_size=50, early_stopping=True, random_state=random_state)
        return make_pipeline(TableVectorizer(), SimpleImputer(), StandardScaler(), mlp)

    return _turn(model, X, y)


def _mixed_columns(N: int = 1000) -> tuple[pd.DataFrame, np.ndarray]:
    rng = np.random.default_rng(0)
    X = pd.DataFrame({
        "age": rng.integers(18, 90, N).astype(float),
        "income": rng.lognormal(10, 1, N),
        "score": rng.standard_normal(N),
        "hours": rng.integers(0, 60, N),
        "colour": rng.choice(["red", "green", "blue"], N),
        "city": rng.choice([f"city {i}" for i in range(25)], N),
        "job": rng.choice([f"job {i}" for i in range(12)], N),
        "member": rng.choice([True, False], N),
    })  # fmt: skip
    X.loc[rng.random(N) < 0.05, "income"] = np.nan
    X.loc[rng.random(N) < 0.05, "colour"] = None
    z = X["score"] + 0.02 * X["age"] + (X["colour"] == "red") + rng.normal(0, 0.5, N)
    return X, np.where(z > z.median(), "yes", "no")


def _turn(model: Callable[..., Any], X: Any, y: np.ndarray) -> Turn:
    def turn(t: int) -> None:  # the models differ, so there is no value to compare
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model(random_state=t).fit(X, y)

    return turn
