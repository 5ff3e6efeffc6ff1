"""The fields of every class that a model file may contain: their names, types and bounds.

A field that is not listed is refused. Of the transformers of scikit-learn and skrub, the parameters
are those of their constructors, which they check themselves where they can; their attributes
depend on the version, so those that are not listed may be any plain data.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Mapping
from typing import Any

import numpy as np

from deltaprop.storage.codec import ModelFileError
from deltaprop.storage.schema import (
    Kind,
    anything,
    array,
    dictionary,
    either,
    flag,
    instance,
    integer,
    items,
    named,
    nested,
    none,
    one_of,
    optional,
    real,
    require,
    sequence,
    text,
    unordered,
)

FLOATS, TEXTS, COUNT = array("f", 1), items(text), integer(0)
NAMES = array("OU", 1, text)
MATRIX = array("f", 2)
RANDOM = instance("RandomState")
KINDS = one_of(("numeric", "category", "date", "text", "duration", "dropped"))
SQUASH, BINS = either(instance("Squash"), instance("Quantiles")), instance("Bins")
CURVE = items(real)
COLUMN: dict[str, Kind] = {"name": text, "n_missing": optional(COUNT)}
FLAG: dict[str, Kind] = {"low": FLOATS, "high": FLOATS}
NUMBER = {**COLUMN, **FLAG, "squash": SQUASH}

OWN: dict[str, Mapping[str, Kind]] = {
    "Bins": {"source": array("i", 1), **FLAG},
    "Squash": {"center": FLOATS, "scale": FLOATS},
    "Quantiles": {"knots": items(FLOATS)},
    "NumberColumn": NUMBER,
    "DurationColumn": NUMBER,
    "DroppedColumn": COLUMN,
    "DateColumn": {**NUMBER, "pattern": optional(text), "zone": optional(text), "parts": TEXTS},
    "CategoryColumn": {
        **COLUMN, **FLAG, "labels": TEXTS, "missing_words": flag, "rare": flag,
        "missing": flag, "n_rare": optional(COUNT),
    },
    "TextColumn": {
        **COLUMN, "terms": TEXTS, "idf": FLOATS, "components": MATRIX, "squash": SQUASH,
    },
    "ChainColumn": {
        **COLUMN, **FLAG, "kind": KINDS, "chain": items(instance()), "parts": TEXTS,
        "fill": array("fiub", 1), "squash": SQUASH, "flagged": array("i", 1),
    },
    "TableEncoder": {
        "random_state": optional(either(integer(0, 2**32 - 1), flag, RANDOM)),
        "n_bins": integer(0), "_sklearn_output_config": dictionary(text, text),
        "numbers": one_of(("robust", "normal")),
        "feature_names_in_": NAMES, "n_features_in_": integer(1), "feature_names_out_": TEXTS,
        "kinds_": dictionary(text, KINDS), "columns_": dictionary(text, instance()), "bins_": BINS,
        # Of earlier versions.
        "chains_": dictionary(text, items(instance())), "imputer_": instance("SimpleImputer"),
        "scaler_": instance("SquashingScaler"),
    },
    "Baseline": {
        "coef": MATRIX, "intercept": FLOATS, "constant": FLOATS, "gives_probabilities": flag,
    },
    "Conformal": {"scores": FLOATS},
    "Fingerprint": {"hashes": array("u", 1), "share": real},
}  # fmt: skip

PLATEAU: dict[str, Kind] = {"tol": real, "patience": real, "best": real, "count": COUNT}
MLP: dict[str, Kind] = {
    "n_features_in_": integer(1), "feature_names_in_": NAMES, "loss_": real,
    "best_loss_": optional(real), "loss_curve_": CURVE, "validation_scores_": optional(CURVE),
    "validation_loss_curve_": optional(CURVE), "best_validation_score_": optional(real),
    "n_iter_": COUNT, "t_": COUNT, "stop_reason_": text,
    "_progress": dictionary(text), "_plateau": named(PLATEAU), "_given": flag,
}  # fmt: skip
TABULAR: dict[str, Kind] = {
    "n_features_in_": integer(1), "feature_names_in_": NAMES, "encoder_": instance("TableEncoder"),
    "target_name_": optional(text), "cv_score_": optional(real),
    "held_out_": optional(items(instance("Conformal"))),
    "fingerprint_": optional(instance("Fingerprint")), "baseline_": optional(instance("Baseline")),
}  # fmt: skip
CLASSES = array("OUbiufmM", 1)
FITTED: dict[str, Mapping[str, Kind]] = {
    "MLPClassifier": {
        **MLP, "classes_": CLASSES,
        "_kind": one_of(("binary", "multiclass", "multilabel", "ordinal")),
    },
    "MLPRegressor": {**MLP, "_n_targets": integer(1)},
    "TabularClassifier": {
        **TABULAR, "classes_": CLASSES, "temperature_": real,
        "threshold_": optional(either(real, FLOATS)),
        "label_words_": optional(dictionary(flag, text)),
    },
    "TabularRegressor": {
        **TABULAR, "y_mean_": either(real, FLOATS), "y_scale_": either(real, FLOATS),
    },
}  # fmt: skip

MOST_UNITS, MOST_LAYERS = 10**8, 10_000
SIGN = either(integer(-1, 1), flag, lambda value: real(value) and value in (-1, 0, 1))
WEIGHTS = dictionary(anything, either(real, flag))
UNITS, FUNCTION = integer(1, MOST_UNITS), either(text, instance("Activation"))
PARAMETERS: dict[str, Kind] = {  # of which the estimators do not check the type in general
    "hidden_layer_sizes": either(text, UNITS, sequence(UNITS)),
    "activation": either(FUNCTION, sequence(FUNCTION)),
    "dropout": either(text, real, flag, sequence(either(real, flag))),
    "class_weight": either(none, text, WEIGHTS, sequence(WEIGHTS)),
    "monotonic_cst": either(none, sequence(SIGN), dictionary(text, SIGN)),
    "cv": either(none, text, nested(either(COUNT, flag))),  # earlier versions stored row numbers
    "periodic_columns": either(none, sequence(COUNT), unordered(COUNT)),
    "freeze": either(none, sequence(integer(-1000)), unordered(COUNT)),
}  # fmt: skip
LAYER: dict[str, Kind] = {
    "units": integer(1, MOST_UNITS), "activation": text, "dropout": real,
    "input_scale": flag, "trainable_activation": flag,
    "groups": items(items(integer(-(2**31))), 2, 2), "periodic": dictionary(text),
}  # fmt: skip
LOSS: dict[str, Kind] = {"name": text, "params": dictionary(text)}
NETWORK: dict[str, Kind] = {
    "n_features": integer(1, MOST_UNITS), "layers": items(dictionary(text), 1, MOST_LAYERS),
    "loss": dictionary(text), "l2": real, "reduction": text, "dtype": text, "init": text,
}  # fmt: skip

# Attributes of scikit-learn and skrub. The first ones have an entry for each feature.
MOST_FEATURES = 10**7
EACH, TABLE = either(array("f", 1), none), array("f", 2)
PER_FEATURE: dict[str, Kind] = {
    **dict.fromkeys(
        ("mean_", "var_", "scale_", "center_", "min_", "data_min_", "data_max_", "data_range_",
         "max_abs_", "lambdas_", "variances_"), EACH,
    ),
    "statistics_": array("fOU", 1), "components_": TABLE, "quantiles_": TABLE,
}  # fmt: skip
TIME_DTYPE = instance("DatetimeTZDtype")  # the only dtype of pandas in files
OTHERS: dict[str, Kind] = {
    **PER_FEATURE,
    **dict.fromkeys(
        ("explained_variance_", "explained_variance_ratio_", "singular_values_", "references_",
         "idf_", "median_"), EACH,
    ),
    **dict.fromkeys(("robust_cols_", "minmax_cols_", "zero_cols_"), array("b", 1)),
    "features_": array("i", 1),
    "n_features_in_": integer(1, MOST_FEATURES), "feature_names_in_": NAMES, "all_outputs_": TEXTS,
    "_sklearn_output_config": dictionary(text, text), "_tfidf": instance("TfidfTransformer"),
    "vectorizer_": instance("TfidfVectorizer"), "tsvd_": instance("TruncatedSVD"),
    "to_str": instance("ToStr"), "robust_scaler_": optional(instance("RobustScaler")),
    "minmax_scaler_": optional(instance("_MinMaxScaler")), "drop_": flag,
    "format_": optional(text),
    "indicator_": optional(instance("MissingIndicator")), "vocabulary_": dictionary(text, COUNT),
    "null_strings_": TEXTS, "extracted_features_": TEXTS, "input_name_": optional(text),
    "_periodic_encoders": dictionary(text), "_precomputed": flag,
    "_scaler": optional(instance("StandardScaler")),
}  # fmt: skip


def require_fields(name: str, value: Any) -> None:
    """Raise ModelFileError unless an object that was read has the fields of its class.

    Examples
    --------
    >>> from deltaprop.data.columns.squashing import Squash
    >>> require_fields("Squash", Squash(np.zeros(2), np.ones(2)))
    >>> require_fields("Squash", Squash(np.zeros(2), "1"))
    Traceback (most recent call last):
    deltaprop.storage.codec.ModelFileError: the 'scale' of its Squash is not valid: '1'
    """
    if name in OWN:
        require(vars(value), OWN[name], name, complete=False)
    elif dataclasses.is_dataclass(value):
        _require_settings(name, value)
    else:
        _require_transformer(name, value)


def require_parameters(parameters: Mapping[str, Any]) -> None:
    """Raise ModelFileError for parameters of an estimator that no fit accepts.

    When they are set, the estimators check all others.
    """
    own = {name: value for name, value in parameters.items() if name in PARAMETERS}
    require(own, PARAMETERS, "parameters", complete=False)


def require_network(config: Any) -> None:
    """Raise ModelFileError unless this describes a network."""
    require(config, NETWORK, "network")
    for layer in config["layers"]:
        require(layer, LAYER, "layer", complete=False)
    require(config["loss"], LOSS, "loss")


def _require_settings(name: str, value: Any) -> None:
    """Solvers, schedules and other settings check their fields when they are made."""
    try:
        again = type(value)(**vars(value))
    except (TypeError, ValueError) as error:
        raise ModelFileError(f"its {name} is not valid: {error}") from error
    if again != value:
        raise ModelFileError(f"its {name} is not valid")


def _require_transformer(name: str, value: Any) -> None:
    parameters = inspect.signature(type(value).__init__).parameters
    for field, content in vars(value).items():
        kind = _is_plain if field in parameters else OTHERS.get(field, _is_plain)
        if not kind(content):
            raise ModelFileError(f"the {field!r} of its {name} is not valid")
        n_features = vars(value).get("n_features_in_")
        if field in PER_FEATURE and not _has_entries(content, n_features):
            raise ModelFileError(f"the {field!r} of its {name} does not fit its features")
    if hasattr(value, "_parameter_constraints"):  # skrub's do not have them
        value._validate_params()


def _has_entries(content: Any, n_features: Any) -> bool:
    return n_features is None or content is None or content.shape[-1] == n_features


def _is_plain(value: Any) -> bool:
    """Whether a value consists of numbers, texts, arrays, dtypes and random states."""
    if isinstance(value, (list, tuple)):
        return all(map(_is_plain, value))
    if isinstance(value, dict):
        return all(_is_plain(k) and _is_plain(v) for k, v in value.items())
    known = (
        bool, int, float, str, np.ndarray, np.generic, np.dtype, type, type(None),
        np.random.RandomState,
    )  # fmt: skip
    return isinstance(value, known) or TIME_DTYPE(value)
