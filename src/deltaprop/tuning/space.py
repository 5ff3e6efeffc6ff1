"""Which parameters are tuned, and the values that they may have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from deltaprop.errors import InputError, InputTypeError
from deltaprop.estimators._base import SKLEARN_NAMES
from deltaprop.estimators.parameters import AUTO, RunParameters
from deltaprop.estimators.tabular import BaseTabular
from deltaprop.estimators.tabular.presets import PRESETS, Preset, batch_size_for
from deltaprop.functions.checks import is_finite
from deltaprop.optim import solvers
from deltaprop.tuning.optional import optuna

SIZES = ((64,), (256,), (64, 64), (128, 128), (256, 256), (128, 128, 128), (256, 256, 256))
ACTIVATIONS = ("silu", "relu", "gelu", "tanh")
OF_SOLVERS = ("learning_rate_init", "weight_decay", "input_scale")
NOT_TUNED = ("preset", "time_limit", "cv", *(f.name for f in fields(RunParameters)))


@dataclass(frozen=True)
class Space:
    """The parameters that are tuned.

    Attributes
    ----------
    distributions : dict of str to BaseDistribution
        Their distributions for Optuna, which chooses among the texts of values that are listed.
    values : dict of str to dict
        For each list of values, the values by their texts.
    defaults : dict of str to object
        The values of the model, as Optuna gets them, as far as they are in the space.
    """

    distributions: dict[str, Any]
    values: dict[str, dict[str, Any]]
    defaults: dict[str, Any]

    def parameters(self, drawn: Mapping[str, Any]) -> dict[str, Any]:
        """The parameters of an estimator for what Optuna has drawn."""
        return {
            name: self.values[name][value] if name in self.values else value
            for name, value in drawn.items()
        }

    def __str__(self) -> str:
        return ", ".join(f"{name}: {d}" for name, d in sorted(self.distributions.items()))


def space_of(model: BaseTabular, n_rows: int, given: Mapping[str, Any] | None) -> Space:
    """The given space, or the default space of an estimator for so many rows.

    Raises
    ------
    ValueError
        If the given space is empty, names no parameter of the estimator, or has other values than
        lists and distributions of Optuna.
    """
    preset = PRESETS[model.preset].for_rows(n_rows)
    if given is None:
        given = _default(model, preset, n_rows)
        if not given:
            raise InputError("All parameters that tune searches are fixed by the model.")
    elif not isinstance(given, Mapping) or not given:
        raise InputTypeError(
            "space must be a dict of parameter names and their values, such as "
            f"{{'dropout': [0.0, 0.1, 0.3]}}; got {given!r}."
        )
    distributions, values = {}, {}
    for name, choice in given.items():
        _check_name(model, name)
        if isinstance(choice, optuna().distributions.BaseDistribution):
            distributions[name] = choice
        else:
            values[name] = _by_text(name, choice)
            distributions[name] = optuna().distributions.CategoricalDistribution([*values[name]])
    defaults = {}
    for name, distribution in distributions.items():
        value = _value(model, name, preset, n_rows)
        value = str(value) if name in values else value
        if _contains(distribution, value):
            defaults[name] = value
    return Space(distributions, values, defaults)


def _default(model: BaseTabular, preset: Preset, n_rows: int) -> dict[str, Any]:
    """The default space: ranges around the values of the presets."""
    of = optuna().distributions
    batch = batch_size_for(n_rows)
    sizes = tuple(preset.hidden_layer_sizes)
    space = {
        "hidden_layer_sizes": [*SIZES, *({sizes} - set(SIZES))],
        "activation": list(ACTIVATIONS),
        "dropout": of.FloatDistribution(0.0, 0.5),
        "learning_rate_init": of.FloatDistribution(5e-4, 2e-2, log=True),
        "weight_decay": of.FloatDistribution(1e-3, 0.5, log=True),
        "input_scale": of.FloatDistribution(2.0, 60.0, log=True),
        "n_bins": of.IntDistribution(0, 48, step=12),
        "batch_size": of.IntDistribution(max(8, batch // 2), 4 * batch, log=True),
    }
    unused = set(OF_SOLVERS) - _settings_of(model.solver)
    default = {f.name: f.default for f in fields(model)}
    return {
        name: choice
        for name, choice in space.items()
        if name not in unused and _same(getattr(model, name), default[name])
    }


def _settings_of(solver: Any) -> set[str]:
    """The parameters of an estimator that its solver, if it is given by name, depends on."""
    if not isinstance(solver, str) or solver not in solvers.BY_NAME:
        return set()
    return {SKLEARN_NAMES.get(f.name, f.name) for f in fields(solvers.BY_NAME[solver])}


def _value(model: BaseTabular, name: str, preset: Preset, n_rows: int) -> Any:
    """The value of a parameter, or what it means if it is "auto"."""
    value = getattr(model, name)
    if not _same(value, AUTO):
        return value
    return batch_size_for(n_rows) if name == "batch_size" else getattr(preset, name, value)


def _contains(distribution: Any, value: Any) -> bool:
    choices = getattr(distribution, "choices", None)
    if choices is not None:
        return any(_same(value, choice) for choice in choices)
    if not is_finite(value) or not distribution.low <= value <= distribution.high:
        return False
    step = distribution.step
    return step is None or float(value - distribution.low) % step == 0


def _check_name(model: BaseTabular, name: Any) -> None:
    names = [f.name for f in fields(model) if f.name not in NOT_TUNED]
    if name not in names:
        raise InputError(
            f"space names {name!r}, which cannot be tuned. It can be one of {', '.join(names)}."
        )


def _by_text(name: str, choice: Any) -> dict[str, Any]:
    """The listed values by their texts, which must differ."""
    if not isinstance(choice, Sequence) or isinstance(choice, str) or len(choice) == 0:
        raise InputTypeError(
            f"space[{name!r}] must be a list of values, or a distribution of Optuna such as "
            f"optuna.distributions.FloatDistribution(0.001, 0.1, log=True); got {choice!r}."
        )
    by_text = {str(value): value for value in choice}
    if len(by_text) < len(choice):
        raise InputError(f"space[{name!r}] lists a value twice: {list(choice)!r}.")
    return by_text


def _same(a: Any, b: Any) -> bool:
    return type(a) is type(b) and bool(a == b)
