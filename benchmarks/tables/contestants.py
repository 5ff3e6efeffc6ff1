"""The estimators that are compared, each at the defaults of its library.

Libraries that read categories and missing values get them as they are. The libraries are imported
by the process that fits.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import pandas as pd

from benchmarks.tables.columns import Columns, category_names
from benchmarks.tables.table import CLASSIFICATION


class Estimator(Protocol):
    """The part of scikit-learn's protocol that is used; classifiers have predict_proba as well."""

    def fit(self, X: pd.DataFrame, y: np.ndarray) -> Any: ...
    def predict(self, X: pd.DataFrame) -> np.ndarray: ...


@dataclass(frozen=True)
class Job:
    """What an estimator is built for."""

    task: str
    seed: int
    threads: int

    def of(self, classifier: Any, regressor: Any) -> Any:
        """Return the one that the task needs."""
        return classifier if self.task == CLASSIFICATION else regressor


@dataclass(frozen=True)
class Contestant:
    """An estimator under a name.

    Parameters
    ----------
    build : callable
        Takes a `Job` and the parameters below, and returns an `Estimator`.
    parameters : mapping, default={}
        What differs from the defaults.
    most_rows : float, default=inf
        The contestant does not take part in larger tables, where it would take too long.
    warm : mapping, default={}
        Parameters of the fit before the first one that counts, which is to be short.
    """

    build: Callable[..., Estimator]
    parameters: Mapping[str, Any] = field(default_factory=dict)
    most_rows: float = math.inf
    warm: Mapping[str, Any] = field(default_factory=dict)

    def estimator(self, job: Job, **changed: Any) -> Estimator:
        return self.build(job, **{**self.parameters, **changed})


# ---------------------------------------------------------------- ours


def deltaprop(job: Job, **parameters: Any) -> Estimator:
    import deltaprop as dp

    kind = job.of(dp.TabularClassifier, dp.TabularRegressor)
    return kind(random_state=job.seed, **parameters)


# ---------------------------------------------------------------- scikit-learn


def scikit_learn_mlp(job: Job, **parameters: Any) -> Estimator:
    """Means for missing numbers; numbers and the target are standardised; categories one-hot."""
    from sklearn.compose import (
        TransformedTargetRegressor,
        make_column_selector,
        make_column_transformer,
    )
    from sklearn.impute import SimpleImputer
    from sklearn.neural_network import MLPClassifier, MLPRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    numbers = make_pipeline(SimpleImputer(keep_empty_features=True), StandardScaler())
    encode = make_column_transformer(
        (numbers, make_column_selector(dtype_include="number")),
        (OneHotEncoder(handle_unknown="ignore"), make_column_selector(dtype_include="category")),
    )
    mlp = job.of(MLPClassifier, MLPRegressor)(random_state=job.seed, **parameters)
    model = make_pipeline(Columns(), encode, mlp)
    return job.of(model, TransformedTargetRegressor(model, transformer=StandardScaler()))


def hist_gradient_boosting(job: Job, **parameters: Any) -> Estimator:
    """At most 255 values of a column, which is all that it takes."""
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
    from sklearn.pipeline import make_pipeline

    kind = job.of(HistGradientBoostingClassifier, HistGradientBoostingRegressor)
    return make_pipeline(Columns(most=255), kind(random_state=job.seed, **parameters))


# ---------------------------------------------------------------- boosted trees


def xgboost(job: Job, **parameters: Any) -> Estimator:
    from sklearn.pipeline import make_pipeline
    from xgboost import XGBClassifier, XGBRegressor

    kind = job.of(XGBClassifier, XGBRegressor)
    return make_pipeline(
        Columns(),
        kind(enable_categorical=True, n_jobs=job.threads, random_state=job.seed, **parameters),
    )


def lightgbm(job: Job, **parameters: Any) -> Estimator:
    from lightgbm import LGBMClassifier, LGBMRegressor
    from sklearn.pipeline import make_pipeline

    kind = job.of(LGBMClassifier, LGBMRegressor)
    return make_pipeline(
        Columns(), kind(n_jobs=job.threads, random_state=job.seed, verbosity=-1, **parameters)
    )


def catboost(job: Job, **parameters: Any) -> Estimator:
    from catboost import CatBoostClassifier, CatBoostRegressor

    kind = job.of(CatBoostClassifier, CatBoostRegressor)
    return _CatBoost(
        kind(
            thread_count=job.threads, random_seed=job.seed, verbose=False,
            allow_writing_files=False, **parameters,
        )
    )  # fmt: skip


class _CatBoost:
    """Categories as text, with a text for missing values; it takes no missing categories."""

    def __init__(self, model: Any) -> None:
        self.model, self.columns = model, Columns()

    def fit(self, X: pd.DataFrame, y: np.ndarray) -> _CatBoost:
        Z = self.columns.fit_transform(X)
        self.model.fit(self._text(Z), y, cat_features=category_names(Z))
        return self

    def predict(self, X: pd.DataFrame) -> np.ndarray:
        return np.ravel(self.model.predict(self._text(self.columns.transform(X))))

    def predict_proba(self, X: pd.DataFrame) -> np.ndarray:
        p: np.ndarray = self.model.predict_proba(self._text(self.columns.transform(X)))
        return p

    @staticmethod
    def _text(Z: pd.DataFrame) -> pd.DataFrame:
        text = {name: Z[name].astype(object).where(Z[name].notna(), "") for name in
                category_names(Z)}  # fmt: skip
        return Z.assign(**text)


# ---------------------------------------------------------------- networks of pytabkit


def pytabkit(job: Job, model: str, **parameters: Any) -> Estimator:
    import logging

    import pytabkit

    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)  # a line for each fit
    kind = getattr(pytabkit, f"{model}_{job.of('Classifier', 'Regressor')}")
    return _Pytabkit(kind(device="cpu", n_threads=job.threads, random_state=job.seed, **parameters))


class _Pytabkit:
    """Missing numbers become the column's median; the networks take no missing numbers."""

    def __init__(self, model: Any) -> None:
        self.model, self.columns = model, Columns()

    def fit(self, X: pd.DataFrame, y: np.ndarray) -> _Pytabkit:
        Z = self.columns.fit_transform(X)
        self.medians = Z.median(numeric_only=True).fillna(0.0)
        self.model.fit(Z.fillna(self.medians), y, cat_col_names=category_names(Z))
        return self

    def predict(self, X: pd.DataFrame) -> np.ndarray:
        return np.ravel(self.model.predict(self._filled(X)))

    def predict_proba(self, X: pd.DataFrame) -> np.ndarray:
        p: np.ndarray = self.model.predict_proba(self._filled(X))
        return p

    def _filled(self, X: pd.DataFrame) -> pd.DataFrame:
        return self.columns.transform(X).fillna(self.medians)


# ---------------------------------------------------------------- AutoGluon


def autogluon(job: Job, **parameters: Any) -> Estimator:
    from autogluon.tabular import TabularPredictor

    return _AutoGluon(TabularPredictor, job, parameters)


class _AutoGluon:
    """The whole table, with the target as one of its columns, as AutoGluon asks for it."""

    TARGET = "(target)"

    def __init__(self, predictor: Any, job: Job, parameters: dict[str, Any]) -> None:
        self.predictor, self.job, self.parameters = predictor, job, parameters

    def fit(self, X: pd.DataFrame, y: np.ndarray) -> _AutoGluon:
        import tempfile

        metric = self.job.of("log_loss", "root_mean_squared_error")
        classes = "binary" if len(np.unique(y)) == 2 else "multiclass"
        self.folder = tempfile.TemporaryDirectory()
        self.model = self.predictor(
            self.TARGET, self.job.of(classes, "regression"), metric, self.folder.name, 0
        ).fit(X.assign(**{self.TARGET: y}), num_cpus=self.job.threads, **self.parameters)
        return self

    def predict(self, X: pd.DataFrame) -> np.ndarray:
        return np.asarray(self.model.predict(X))

    def predict_proba(self, X: pd.DataFrame) -> np.ndarray:
        return np.asarray(self.model.predict_proba(X))


OURS = "deltaprop"
SMALL = 10_000  # rows
CONTESTANTS: dict[str, Contestant] = {
    OURS: Contestant(deltaprop),
    f"{OURS} fast": Contestant(deltaprop, {"preset": "fast"}),
    f"{OURS} best": Contestant(deltaprop, {"preset": "best", "time_limit": 300}),
    "scikit-learn MLP": Contestant(scikit_learn_mlp),
    "HistGradientBoosting": Contestant(hist_gradient_boosting),
    "XGBoost": Contestant(xgboost),
    "LightGBM": Contestant(lightgbm),
    "CatBoost": Contestant(catboost),
    "RealMLP-TD-S": Contestant(pytabkit, {"model": "RealMLP_TD_S"}),
    "RealMLP-TD": Contestant(pytabkit, {"model": "RealMLP_TD"}, SMALL),
    "TabM-D": Contestant(pytabkit, {"model": "TabM_D"}, SMALL),
    "AutoGluon best": Contestant(
        autogluon, {"presets": "best_quality", "time_limit": 300}, SMALL, {"time_limit": 20}
    ),
}
