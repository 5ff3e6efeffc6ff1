"""The complete list of classes whose instances a model file may contain.

It includes all solvers and schedules that the modules of :mod:`deltaprop.optim` define. All other
classes are listed by name and imported only when a file contains one of them, because importing
skrub takes long.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import pkgutil
from collections.abc import Callable
from typing import Any

import numpy as np

from deltaprop.files.fields import require_fields
from deltaprop.storage.codec import Storable

LONGEST_N_GRAM, MOST_COMPONENTS = 16, 10_000
NAMED = {
    name: module
    for module, names in {
        "skrub": ("StringEncoder", "DatetimeEncoder", "SquashingScaler"),
        "skrub._clean_null_strings": ("CleanNullStrings",),
        "skrub._clean_categories": ("CleanCategories",),
        "skrub._drop_uninformative": ("DropUninformative",),
        "skrub._duration_to_float": ("DurationToFloat",),
        "skrub._squashing_scaler": ("_MinMaxScaler",),
        "skrub._to_datetime": ("ToDatetime",),
        "skrub._to_float": ("ToFloat",),
        "skrub._to_str": ("ToStr",),
        "sklearn.preprocessing": (
            "MaxAbsScaler",
            "MinMaxScaler",
            "Normalizer",
            "OneHotEncoder",
            "PowerTransformer",
            "QuantileTransformer",
            "RobustScaler",
            "StandardScaler",
        ),
        "sklearn.feature_selection": ("VarianceThreshold",),
        "sklearn.impute": ("SimpleImputer", "MissingIndicator"),
        "sklearn.feature_extraction.text": ("TfidfVectorizer", "TfidfTransformer"),
        "sklearn.decomposition": ("PCA", "TruncatedSVD"),
        "deltaprop.data.encoder": ("TableEncoder",),
        "deltaprop.data.columns.bins": ("Bins",),
        "deltaprop.data.columns.categories": ("CategoryColumn",),
        "deltaprop.data.columns.chains": ("ChainColumn",),
        "deltaprop.data.columns.dates": ("DateColumn",),
        "deltaprop.data.columns.numbers": ("DurationColumn", "NumberColumn"),
        "deltaprop.data.columns.dropped": ("DroppedColumn",),
        "deltaprop.data.columns.quantiles": ("Quantiles",),
        "deltaprop.data.columns.squashing": ("Squash",),
        "deltaprop.data.columns.text": ("TextColumn",),
        "deltaprop.engines.xla_engine": ("Xla",),
        "deltaprop.estimators.tabular.baseline": ("Baseline",),
        "deltaprop.estimators.tabular.calibration": ("Conformal",),
        "deltaprop.estimators.tabular.fingerprint": ("Fingerprint",),
        "deltaprop.optim.privacy": ("Privacy",),
    }.items()
    for name in names
}


def storable(name: str) -> Storable | None:
    """The class with this name in model files; None if they may not contain it.

    Examples
    --------
    >>> storable("Adam").cls
    <class 'deltaprop.optim.solvers.Adam'>
    >>> storable("Popen") is None
    True
    """
    if name in NAMED:
        from deltaprop.data.columns.skrub_home import import_skrub

        module = NAMED[name]
        imported = import_skrub if module.startswith("skrub") else importlib.import_module
        cls = getattr(imported(module), name)
    else:
        cls = _solvers_and_schedules().get(name)
    if cls is None:
        return None
    return Storable(cls, CHECKS.get(name), functools.partial(require_fields, name))


@functools.cache
def _solvers_and_schedules() -> dict[str, type]:
    from deltaprop import optim

    found = {}
    for entry in pkgutil.iter_modules(optim.__path__, f"{optim.__name__}."):
        module = importlib.import_module(entry.name)
        for cls in vars(module).values():
            if _is_concrete(cls) and cls.__module__ == module.__name__:
                found[cls.__name__] = cls
    return found


def _is_concrete(cls: Any) -> bool:
    """Whether this is a solver or a schedule, and not a base class of these."""
    from deltaprop.optim.schedules import Schedule
    from deltaprop.optim.solvers import Solver

    return (
        isinstance(cls, type)
        and issubclass(cls, (Solver, Schedule))
        and cls is not Solver
        and not inspect.isabstract(cls)
    )


def _categories_are_consistent(encoder: Any) -> bool:
    """Whether fitting a new OneHotEncoder to the categories gives the same one."""
    refitted = type(encoder)(**encoder.get_params())
    names = list(encoder.feature_names_in_)
    categories = np.concatenate(encoder.categories_)
    if len(names) != 1 or len(encoder.categories_) != 1 or encoder._infrequent_enabled:
        return False
    import pandas as pd

    refitted.set_output(transform="default").fit(pd.DataFrame({names[0]: categories}))
    return all(
        np.array_equal(getattr(refitted, name), getattr(encoder, name))
        for name in ("_n_features_outs", "drop_idx_", "_drop_idx_after_grouping")
    )


def _vocabulary_is_consistent(vectorizer: Any) -> bool:
    """Whether terms are numbered 0, 1, … without a gap, and nothing runs but counting n-grams.

    Documents are texts, not file names, and there is no regular expression, which could take
    forever.
    """
    numbers = sorted(vectorizer.vocabulary_.values())
    low, high = vectorizer.ngram_range
    return (
        vectorizer.input == "content"
        and vectorizer.analyzer in ("char", "char_wb")
        and vectorizer.preprocessor is None
        and 1 <= low <= high <= LONGEST_N_GRAM
        and numbers == list(range(len(numbers)))
    )


def _width_is_consistent(encoder: Any) -> bool:
    """Whether there is a name for each component of the text, of which there are few."""
    return type(encoder.n_components_) is int and 1 <= encoder.n_components_ <= MOST_COMPONENTS


def _sizes_are_consistent(column: Any) -> bool:
    """Whether the attributes of an object, such as an encoded column, fit together."""
    return bool(column.is_consistent())


# Compiled code of scikit-learn and SciPy does not check the fitted sizes and indices of these, and
# NumPy would repeat an array of one entry.
CHECKS: dict[str, Callable[[Any], bool]] = {
    **{name: _sizes_are_consistent for name in NAMED if name.endswith("Column")},
    **dict.fromkeys(("Baseline", "Conformal", "Fingerprint"), _sizes_are_consistent),
    "OneHotEncoder": _categories_are_consistent,
    "StringEncoder": _width_is_consistent,
    "TfidfVectorizer": _vocabulary_is_consistent,
}
