"""Cross-validation of 20 configurations on digits: 100 fits per turn, two at a time."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import joblib
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV, ParameterGrid

import deltaprop as dp
from benchmarks.turns import Build, Turn, Unavailable

GRID = {
    "hidden_layer_sizes": [(32,), (64,), (100,), (64, 32)],
    "learning_rate_init": [0.0003, 0.001, 0.003, 0.01, 0.03],
}
FOLDS, EPOCHS = 5, 30


def contestants(threads: int) -> dict[str, Build]:
    return {
        "deltaprop": partial(_ours, threads),
        "deltaprop at once": partial(_ours_at_once, threads),
        "scikit-learn": partial(_scikit_learn, threads),
    }


def _ours(threads: int) -> Turn:
    """GridSearchCV on threads, because the compiled engine releases the GIL."""
    search = _search(dp.MLPClassifier(engine="fused", **_params()), threads)

    def fit(X: np.ndarray, y: np.ndarray) -> float:
        with joblib.parallel_config("threading"):
            return float(search.fit(X, y).best_score_)

    return _turn(fit)


def _scikit_learn(threads: int) -> Turn:
    """GridSearchCV on joblib's processes, which are reused from turn to turn."""
    from sklearn.neural_network import MLPClassifier

    search = _search(MLPClassifier(**_params()), threads)
    return _turn(lambda X, y: float(search.fit(X, y).best_score_))


def _search(estimator: Any, jobs: int) -> GridSearchCV:
    return GridSearchCV(estimator, GRID, cv=FOLDS, n_jobs=jobs, refit=False)


def _params() -> dict[str, Any]:
    return {"max_iter": EPOCHS, "random_state": 0}


def _turn(best_score: Callable[[np.ndarray, np.ndarray], float]) -> Turn:
    X, y = load_digits(return_X_y=True)
    X = (X / 16).astype(np.float32)

    def turn(t: int) -> float:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # no model converges in so few epochs
            return best_score(X, y)

    return turn


# ---------------------------------------------------------------- many networks in one call


def _ours_at_once(threads: int) -> Turn:
    """``dp.cross_validate``; unavailable in versions that do not have it."""
    if not hasattr(dp, "cross_validate"):
        raise Unavailable("this deltaprop has no cross_validate")
    models = [
        dp.MLPClassifier(engine="fused", **_params(), **choice) for choice in ParameterGrid(GRID)
    ]

    def fit(X: np.ndarray, y: np.ndarray) -> float:
        scores = dp.cross_validate(models, X, y, cv=FOLDS, n_jobs=threads)
        return float(scores.mean(axis=1).max())

    return _turn(fit)
