"""The state of an estimator in a model file, and its checks when a file is read.

:func:`deltaprop.save` calls ``estimator.__deltaprop_state__()`` and :func:`deltaprop.load` calls
``estimator.__deltaprop_restore__(fitted, part)`` on a new estimator with the saved parameters. They
use nothing else of estimators.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from numbers import Integral
from typing import Any

from deltaprop.storage.codec import ModelFileError

NOT_SAVED = (
    "callbacks",
    "record",
    "checkpoint",
    "validation_split",
)  # parameters that concern one call of fit
ONLY: dict[str, tuple[type, ...]] = {"scoring": (str,), "cv": (str, Integral)}
"""The types of the values of these parameters that are saved: not scorers, splitters or rows."""
OBSOLETE = ("_given",)  # attributes in files of earlier versions, which are ignored


@dataclass(frozen=True)
class EstimatorState:
    """What a model file contains of an estimator.

    Attributes
    ----------
    parameters : dict of str to value
        The parameters of the constructor. Callbacks, scorers, splitters and others that are not
        saved are replaced by the default.
    fitted : dict of str to value
        The fitted attributes.
    part : Network or list of estimators
        The network of an MLP, the members of a tabular estimator.
    """

    parameters: dict[str, Any]
    fitted: dict[str, Any]
    part: Any


def state_of(estimator: Any, attributes: Sequence[str], part: Any) -> EstimatorState:
    """The state of a fitted estimator, with those of these attributes that are set."""
    defaults = {field.name: field.default for field in fields(estimator)}
    parameters: dict[str, Any] = {
        name: value if _is_saved(name, value) else defaults[name]
        for name, value in estimator.get_params(deep=False).items()
    }
    if (privacy := parameters.pop("privacy")) is not None:
        parameters["privacy"] = replace(privacy, seed=None)  # the seed would reveal the noise
    fitted = {name: value for name, value in vars(estimator).items() if name in attributes}
    return EstimatorState(parameters, fitted, part)


def _is_saved(name: str, value: Any) -> bool:
    return name not in NOT_SAVED and (name not in ONLY or isinstance(value, ONLY[name]))


def restore_attributes(estimator: Any, fitted: dict[str, Any], attributes: Sequence[str]) -> None:
    """Set the fitted attributes of an estimator; ModelFileError for any that is not listed.

    Its parameters must not be those of one call of fit either: a checkpoint is a folder to which
    the next fit would write.
    """
    if given := [name for name in NOT_SAVED if getattr(estimator, name, None) is not None]:
        raise ModelFileError(f"it sets {given[0]!r}, which model files do not contain")
    estimator._validate_params()
    for name, value in fitted.items():
        if name in OBSOLETE:
            continue
        if name not in attributes:
            raise ModelFileError(f"it contains an unknown attribute, {name!r}")
        setattr(estimator, name, value)


def require_prediction(estimator: Any, X: Any) -> None:
    """Predict once, so that an estimator with inconsistent parts fails when it is loaded."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        estimator.predict(X)
