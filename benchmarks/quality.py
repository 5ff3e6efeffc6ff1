"""Cross-validated scores of deltaprop's and scikit-learn's estimators with the same parameters.

Run ``python benchmarks/quality.py``; it takes a few minutes on one core and prints a Markdown
table. Both libraries get the same rows, folds, seeds and parameters. "Within noise" means that the
mean of the paired differences is no more than two standard errors away from 0.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import sklearn.neural_network
from sklearn.base import is_classifier
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_iris, load_wine
from sklearn.exceptions import ConvergenceWarning
from sklearn.impute import SimpleImputer
from sklearn.model_selection import KFold, StratifiedKFold, cross_val_score
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

import deltaprop

DATA = Path(__file__).resolve().parent.parent / "data"
DIAMONDS = 3000  # rows, out of 53,940
SOLVERS: dict[str, dict[str, Any]] = {
    "adam": {},
    "adam, early stopping": {"early_stopping": True},
    "sgd": {"solver": "sgd", "learning_rate_init": 0.01},
    "lbfgs": {"solver": "lbfgs", "alpha": 1.0},
}


class Task(NamedTuple):
    name: str
    kind: str
    X: Any
    y: np.ndarray


def tasks() -> Iterator[Task]:
    """Yield the data sets; targets of regressions are standardised."""
    for load in (load_iris, load_wine, load_breast_cancer, load_digits):
        X, y = load(return_X_y=True)
        yield Task(load.__name__.removeprefix("load_"), "MLPClassifier", X, y)
    penguins = pd.read_csv(DATA / "penguins.csv")
    yield Task(
        "penguins",
        "MLPClassifier",
        penguins.drop(columns="species"),
        penguins["species"].to_numpy(),
    )
    X, y = load_diabetes(return_X_y=True)
    yield Task("diabetes", "MLPRegressor", X, (y - y.mean()) / y.std())
    diamonds = pd.read_csv(DATA / "diamonds.csv.gz").sample(DIAMONDS, random_state=0)
    price = diamonds.pop("price").to_numpy(float)
    yield Task(
        f"diamonds ({DIAMONDS} rows)",
        "MLPRegressor",
        diamonds,
        (price - price.mean()) / price.std(),
    )


def pipeline(task: Task, library: Any, params: dict[str, Any]) -> Pipeline:
    """Return a pipeline that standardises numbers and encodes categories before the estimator."""
    estimator = getattr(library, task.kind)(**params)
    if isinstance(task.X, np.ndarray):
        return make_pipeline(StandardScaler(), estimator)
    numbers = make_pipeline(SimpleImputer(), StandardScaler())
    categories = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    columns = make_column_transformer(
        (numbers, make_column_selector(dtype_include="number")),
        (categories, make_column_selector(dtype_exclude="number")),
    )
    return make_pipeline(columns, estimator)


def scores(task: Task, library: Any, params: dict[str, Any], seeds: int) -> np.ndarray:
    """Return the accuracy or R² of each fold of each seed."""
    found = []
    for seed in range(seeds):
        model = pipeline(task, library, {**params, "random_state": seed})
        folds = (StratifiedKFold if is_classifier(model) else KFold)(5, shuffle=True)
        folds.random_state = seed
        found.append(cross_val_score(model, task.X, task.y, cv=folds))
    return np.concatenate(found)


def row(task: Task, solver: str, seeds: int) -> str:
    """Return one line of the table."""
    results, seconds = {}, {}
    for library in (deltaprop, sklearn.neural_network):
        start = time.perf_counter()
        results[library] = scores(task, library, SOLVERS[solver], seeds)
        seconds[library] = time.perf_counter() - start
    ours, theirs = results[deltaprop], results[sklearn.neural_network]
    difference = ours - theirs
    error = difference.std(ddof=1) / np.sqrt(len(difference))
    within = abs(difference.mean()) <= 2 * error or not difference.any()
    cells = [
        task.name,
        solver,
        f"{ours.mean():.4f} ± {ours.std(ddof=1):.4f}",
        f"{theirs.mean():.4f} ± {theirs.std(ddof=1):.4f}",
        f"{difference.mean():+.1e} ± {error:.1e}",
        "yes" if within else "**no**",
        f"{seconds[deltaprop]:.1f} / {seconds[sklearn.neural_network]:.1f}",
    ]
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3, help="repetitions of 5-fold CV")
    parser.add_argument("--only", default="", help="only data sets whose name contains this text")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore", ConvergenceWarning)
    print(
        f"Accuracy or R², 5 folds × {arguments.seeds} seeds, mean ± standard deviation over folds; "
        "difference ± standard error, paired by fold.\n"
    )
    print("| data | solver | deltaprop | scikit-learn | difference | within noise | seconds |")
    print("|---|---|---|---|---|---|---|")
    for task in tasks():
        if arguments.only in task.name:
            for solver in SOLVERS:
                print(row(task, solver, arguments.seeds), flush=True)


if __name__ == "__main__":
    main()
