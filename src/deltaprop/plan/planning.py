"""The plan of a network or a fitted estimator."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from deltaprop.derivation import equations
from deltaprop.errors import InputError
from deltaprop.plan.steps import (
    NOWHERE,
    BinStep,
    CategoryStep,
    Classes,
    ColumnStep,
    DateStep,
    DenseStep,
    Numbers,
    NumberStep,
    Plan,
)

if TYPE_CHECKING:
    from deltaprop.data.columns.categories import CategoryColumn
    from deltaprop.data.columns.dates import DateColumn
    from deltaprop.data.columns.numbers import NumberColumn
    from deltaprop.model import Model

KINDS = ("binary", "multiclass", "multilabel", "ordinal")  # of the targets of classifiers


class NotPlain(InputError):
    """A part of a model that cannot be written as plain arithmetic; the message names it."""


def plan_of(model: Any) -> Plan:
    """What a model computes, as plain arithmetic.

    Parameters
    ----------
    model : Network, MLP estimator or tabular estimator
        Estimators must be fitted. Anything with the same fitted attributes will do.

    Returns
    -------
    Plan

    Raises
    ------
    NotPlain
        If the model has a custom activation, or a column of text or of another kind whose encoding
        is no arithmetic; the message names it and the alternatives.

    Examples
    --------
    >>> import deltaprop as dp
    >>> from deltaprop.plan.planning import plan_of
    >>> plan = plan_of(dp.Network(2, [dp.Dense(3, "tanh"), dp.Dense(1)], loss="huber", seed=0))
    >>> [(layer.W.shape, layer.activation) for layer in plan.networks[0]]
    [((2, 3), 'tanh'), ((3, 1), 'identity')]
    """
    if hasattr(model, "members_"):
        return _of_table(model)
    network = model.fitted_network() if hasattr(model, "fitted_network") else model
    if not hasattr(network, "theta"):
        raise NotPlain(
            f"A {type(model).__name__} cannot be exported. Export a Network, an MLPClassifier, an "
            "MLPRegressor, a TabularClassifier or a TabularRegressor; of a Pipeline, its last "
            "step; of several models for several targets, each of estimators_."
        )
    given = getattr(model, "feature_names_in_", None)
    names = [f"x{i}" for i in range(network.n_features)] if given is None else given
    return Plan(
        (), None, network.n_features, tuple(map(str, names)), (_layers(network),),
        _output(model, network),
    )  # fmt: skip


def _of_table(model: Any) -> Plan:
    networks = [member.fitted_network() for member in model.members_]
    encoder = model.encoder_
    columns = _columns(encoder.columns_)
    n = networks[0].n_features
    found = encoder.bins_
    bins = BinStep(n - len(found), found.source, found.low, found.high) if len(found) else None
    return Plan(
        columns, bins, n, tuple(step.name for step in columns),
        tuple(map(_layers, networks)), _output(model, networks[0]), model.target_name_,
    )  # fmt: skip


# ---------------------------------------------------------------- columns


def _columns(columns: Mapping[str, Any]) -> tuple[ColumnStep, ...]:
    at = 0
    flag = sum(len(column.names()) for column in columns.values())
    steps = []
    for column in columns.values():
        if column.names():
            steps.append(_step(column, at, flag))
        at, flag = at + len(column.names()), flag + len(column.flags())
    return tuple(steps)


def _step(column: Any, at: int, flag: int) -> ColumnStep:
    kind = type(column).__name__
    if kind in ("NumberColumn", "DurationColumn"):
        return _number(column, at, flag)
    if kind == "DateColumn":
        return _date(column, at, flag)
    if kind == "CategoryColumn":
        return _category(column, at)
    if kind == "ChainColumn":
        raise NotPlain(
            f"Column {column.name!r} is encoded by objects of skrub, as in model files of earlier "
            "versions. Fit the model again with this version, and export that."
        )
    raise NotPlain(
        f"Column {column.name!r} contains text, which is encoded by its n-grams; exports and light "
        "models do not support this. Leave the column out, or replace it by categories or numbers, "
        "and fit again; or predict with dp.load(path).predict(table) or `deltaprop predict`."
    )


def _number(column: NumberColumn, at: int, flag: int) -> NumberStep:
    scale: Any = column.squash
    knots = getattr(scale, "knots", None)
    low, high = ((float(end[0]) if len(end) else 0.0) for end in (column.low, column.high))
    return NumberStep(
        column.name, at,
        0.0 if knots else float(scale.center[0]), 0.0 if knots else float(scale.scale[0]),
        flag if len(column.low) else None, low, high,
        "seconds" if type(column).__name__ == "DurationColumn" else "",
        knots[0] if knots else None,
    )  # fmt: skip


def _date(column: DateColumn, at: int, flag: int) -> DateStep:
    return DateStep(
        column.name, at, tuple(column.parts), column.squash.center, column.squash.scale,
        flag if len(column.low) else None, column.low, column.high, column.pattern, column.zone,
    )  # fmt: skip


def _category(column: CategoryColumn, at: int) -> CategoryStep:
    n_slots = len(column.table) - 1

    def place(slot: int) -> int:
        """The encoded column of a slot: two slots share a column, which marks the second one."""
        if slot >= n_slots:
            return NOWHERE
        return slot - 1 if n_slots == 2 else slot

    return CategoryStep(
        column.name, at, tuple(column.labels),
        tuple(place(column.slots[label]) for label in column.labels),
        place(column.slots[None]), place(len(column.labels) if column.rare else n_slots),
        column.low, column.high, column.missing_words,
    )  # fmt: skip


# ---------------------------------------------------------------- networks


def _layers(network: Model) -> tuple[DenseStep, ...]:
    for f in network.f:
        if not f.is_builtin:
            raise NotPlain(
                f"The activation {f.name!r} is a custom one; exports and light models support only "
                "built-in ones. Predict with dp.load(path, custom=...).predict(X)."
            )
    W, _ = equations.in_effect(network.W, network.f, network.vectors)
    parts = zip(W, network.b, network.f, network.alpha, strict=True)
    return tuple(DenseStep(W_l, b_l, f.name, alpha_l) for W_l, b_l, f, alpha_l in parts)


# ---------------------------------------------------------------- outputs


def _output(model: Any, network: Model) -> Numbers | Classes:
    if hasattr(model, "classes_"):
        return _classes(model, network)
    loss = network.loss_function
    gaussian = loss.encoding.predicts == "mean_variance" and model is not network
    n = network.n_outputs
    mean, scale = (getattr(model, name, None) for name in ("y_mean_", "y_scale_"))
    mean = np.zeros(1) if mean is None else np.atleast_1d(np.asarray(mean, np.float64))
    scale = np.ones(1) if scale is None else np.atleast_1d(np.asarray(scale, np.float64))
    means, scales = np.repeat(mean, n // len(mean)), np.repeat(scale, n // len(scale))
    if gaussian:  # a standard deviation is scaled, and not shifted
        means = np.concatenate([np.broadcast_to(mean, n // 2), np.zeros(n // 2)])
        scales = np.concatenate([np.broadcast_to(scale, n // 2)] * 2)
    levels = loss.settings.get("quantiles", ()) if loss.encoding.predicts == "quantiles" else ()
    name = getattr(model, "target_name_", None) or "prediction"
    return Numbers(_names(name, n, gaussian, levels), means, scales, gaussian)


def _names(name: str, n: int, gaussian: bool, levels: Iterable[float]) -> tuple[str, ...]:
    """As in the tables that `deltaprop predict` writes; several targets are numbered."""
    levels = tuple(levels)
    if gaussian:
        return (*_numbered(name, n // 2), *_numbered(f"{name}_std", n // 2))
    endings = [f"_q{q:g}" for q in levels] if len(levels) > 1 else [""]
    stems = _numbered(name, n // len(endings))
    return tuple(stem + ending for stem in stems for ending in endings)


def _numbered(name: str, n: int) -> list[str]:
    return [name] if n == 1 else [f"{name}_{i}" for i in range(n)]


def _classes(model: Any, network: Model) -> Classes:
    labels = tuple(model.classes_.tolist())
    first = model.members_[0] if hasattr(model, "members_") else model
    margins = bool(network.loss_function.encoding.margins)
    if first._kind not in KINDS:
        raise NotPlain(f"A target of the kind {first._kind!r} cannot be exported.")
    several = first._kind == "multilabel"
    single = network.n_outputs == 1
    threshold: Any = getattr(model, "threshold_", None)
    if threshold is None and (several or single):
        threshold = 0.0 if margins else 0.5
    cost = getattr(model, "cost", None)
    decides = len(labels) > 2 and not several  # otherwise the threshold does
    if several:
        threshold = np.broadcast_to(np.asarray(threshold, np.float64), len(labels))
    elif threshold is not None and len(labels) == 2:
        threshold = np.array([threshold], np.float64)
    else:
        threshold = None
    return Classes(
        labels, several, single and not several, margins, threshold,
        np.asarray(cost, np.float64) if cost is not None and decides else None,
        first._kind == "ordinal",
    )  # fmt: skip
