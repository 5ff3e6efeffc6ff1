"""Model files as light models: what predictions need is decoded, with NumPy alone."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np

from deltaprop.data.columns.bins import Bins
from deltaprop.files.classes import storable
from deltaprop.files.fields import FITTED, require_fields
from deltaprop.plan.light import LightModel
from deltaprop.plan.planning import NotPlain, plan_of
from deltaprop.plan.steps import Classes, Numbers, Plan
from deltaprop.storage.codec import ModelFileError, Reader, Storable
from deltaprop.storage.schema import require

NETWORK_OF = "network"  # the key of an MLP's network in the header
OF_TARGET = (
    "classes_", "_kind", "feature_names_in_", "threshold_", "y_mean_", "y_scale_", "target_name_",
)  # fmt: skip
"""The fitted attributes that predictions need, besides the encoder and the members."""


class Encoder:
    """The fitted attributes of a TableEncoder, whose class needs scikit-learn."""

    columns_: dict[str, Any]
    bins_: Bins


def light_storable(name: str) -> Storable | None:
    """The classes that a light model may contain, as `storable` finds them for others."""
    if name == "TableEncoder":
        return Storable(Encoder, require_fields=partial(require_fields, name))
    return storable(name)


DecodeNetwork = Callable[[dict[str, Any], Reader], Any]


def light_model(
    body: dict[str, Any], reader: Reader, network: DecodeNetwork, members: tuple[str, ...]
) -> LightModel:
    """The estimator of this entry of a header.

    Parameters
    ----------
    body : dict
        Its entry in the header.
    reader : Reader
        It finds classes with `light_storable`.
    network : callable
        Decodes the entry of a network.
    members : tuple of str
        The keys that the members of a tabular estimator may have.

    Raises
    ------
    ModelFileError
        If its parts do not fit together, or if it is a Pipeline.
    InputError
        If predictions need more than NumPy, such as those from a column of text.
    """
    if NETWORK_OF in body:
        fitted = _mlp(body, reader, network)
    elif "fitted" in body:
        fitted = _tabular(body, reader, network, members)
    elif "estimators" in body:
        raise NotPlain(
            "it contains a model for each target and needs scikit-learn; load it without "
            "light=True, or save each of its estimators_ alone"
        )
    else:
        raise NotPlain(
            "a Pipeline needs scikit-learn; load it without light=True, or save its last step alone"
        )
    plan = plan_of(fitted)
    _require_consistent(plan)
    return LightModel(plan)


def _attributes(body: dict[str, Any], reader: Reader) -> dict[str, Any]:
    fitted = body["fitted"]
    found = {name: reader.decode(fitted[name]) for name in OF_TARGET if name in fitted}
    require(found, {k: v for kinds in FITTED.values() for k, v in kinds.items()}, "fitted model",
            complete=False)  # fmt: skip
    return found


def _mlp(body: dict[str, Any], reader: Reader, network: DecodeNetwork) -> SimpleNamespace:
    net = network(body[NETWORK_OF], reader)
    return SimpleNamespace(fitted_network=lambda: net, **_attributes(body, reader))


def _tabular(
    body: dict[str, Any], reader: Reader, network: DecodeNetwork, members: tuple[str, ...]
) -> SimpleNamespace:
    inside: Any = next(body[key] for key in members if key in body)
    inside = inside if isinstance(inside, list) else [inside]
    encoder = reader.decode(body["fitted"]["encoder_"])
    if not isinstance(encoder, Encoder):
        raise ModelFileError("it contains no preprocessing")
    if "columns_" not in vars(encoder):
        raise NotPlain(
            "its preprocessing consists of objects of skrub, as in files of earlier versions; load "
            "it without light=True and save it again"
        )
    if "bins_" not in vars(encoder):
        encoder.bins_ = Bins.none()
    return SimpleNamespace(
        encoder_=encoder,
        members_=[_mlp(member, reader, network) for member in inside],
        cost=reader.decode(body["parameters"].get("cost")),
        **_attributes(body, reader),
    )  # fmt: skip


def _require_consistent(plan: Plan) -> None:
    """Raise ModelFileError if the parts of a plan do not fit together."""
    widths = sum(_width(step) for step in plan.columns)
    widths += 0 if plan.bins is None else len(plan.bins.source)
    if plan.columns and widths != plan.n_encoded:
        raise ModelFileError("its columns do not fit its networks")
    if plan.bins is not None and not Bins(plan.bins.source, plan.bins.low, plan.bins.high).fits(
        plan.bins.at
    ):
        raise ModelFileError("its bins do not fit its columns")
    shapes = {tuple((s.W.shape, s.activation) for s in layers) for layers in plan.networks}
    if len(shapes) != 1:
        raise ModelFileError("its networks differ")
    out = plan.output
    if isinstance(out, Classes):
        C, H = len(out.labels), plan.n_outputs
        if C - out.ordered != H and not (H == 1 and C <= 2):
            raise ModelFileError("its number of classes differs from the outputs of its network")
    elif isinstance(out, Numbers) and not np.isfinite([out.mean, out.scale]).all():
        raise ModelFileError("the scale of its target is not finite")


def _width(step: Any) -> int:
    """How many entries of x a column writes."""
    if hasattr(step, "labels"):
        return len(step.low)
    k = np.size(step.center)
    return k if step.flag is None else 2 * k
