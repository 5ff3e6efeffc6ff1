"""The chains of gradient transformations that are compiled, as fields of the kernel's frame."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from deltaprop.engines.fused import constants
from deltaprop.optim.transforms import (
    AdamMoments,
    Chain,
    ClipByNorm,
    DecayWeights,
    InputScale,
    Momentum,
    ScaleSteps,
    Transformation,
)

ADAM = ((AdamMoments,), (AdamMoments, DecayWeights))


def kernel_rule(chain: Chain) -> dict[str, Any]:
    """The fields of the kernel's frame that describe the chain."""
    return {name: value for link in chain.links for name, value in _fields(link).items()}


def is_compiled(chain: Chain) -> bool:
    """Whether the kernel can run the chain.

    It runs an optional clip, then momentum or Adam, then an optional weight decay, then optional
    factors of the steps of some parameters. Without these, Adam may also optimize a factor of each
    input.
    """
    links = chain.links[1:] if isinstance(chain.links[0], ClipByNorm) else chain.links
    if isinstance(links[-1], ScaleSteps):
        return _kinds(links[:-1]) in ((Momentum,), *ADAM)
    if len(links) == 1 and isinstance(links[0], InputScale):
        return _kinds(links[0].chain.links) in ADAM
    return _kinds(links) in ((Momentum,), *ADAM)


def _kinds(links: Sequence[Transformation]) -> tuple[type, ...]:
    return tuple(type(link) for link in links)


def _fields(link: Transformation) -> dict[str, Any]:
    if isinstance(link, ClipByNorm):
        return {"clip": link.max_norm}
    if isinstance(link, Momentum):
        return {"rule": constants.SGD, "b1": link.momentum, "nesterov": link.nesterov}
    if isinstance(link, AdamMoments):
        return {
            "rule": constants.ADAM, "b1": link.beta_1, "b2": link.beta_2, "epsilon": link.epsilon,
        }  # fmt: skip
    if isinstance(link, ScaleSteps):
        return {}  # they are set layer by layer: `Frame.set_rates`
    if isinstance(link, InputScale):
        return {"scale_rate": link.rate, **kernel_rule(link.chain)}
    assert isinstance(link, DecayWeights)
    return {"decay": link.weight_decay}
