"""The chains of gradient transformations that are compiled, as fields of the kernel's frame."""

from __future__ import annotations

from typing import Any

from deltaprop.engines.fused import constants
from deltaprop.optim.transforms import (
    AdamMoments,
    Chain,
    ClipByNorm,
    DecayWeights,
    Momentum,
    Transformation,
)


def kernel_rule(chain: Chain) -> dict[str, Any]:
    """The fields of the kernel's frame that describe the chain."""
    return {name: value for link in chain.links for name, value in _fields(link).items()}


def is_compiled(chain: Chain) -> bool:
    """Whether the kernel can run the chain.

    It runs an optional clip, then momentum or Adam, then an optional weight decay.
    """
    names = [type(link) for link in chain.links]
    rest = names[1:] if names[:1] == [ClipByNorm] else names
    return rest in ([Momentum], [AdamMoments], [AdamMoments, DecayWeights])


def _fields(link: Transformation) -> dict[str, Any]:
    if isinstance(link, ClipByNorm):
        return {"clip": link.max_norm}
    if isinstance(link, Momentum):
        return {"rule": constants.SGD, "b1": link.momentum, "nesterov": link.nesterov}
    if isinstance(link, AdamMoments):
        return {
            "rule": constants.ADAM, "b1": link.beta_1, "b2": link.beta_2, "epsilon": link.epsilon,
        }  # fmt: skip
    assert isinstance(link, DecayWeights)
    return {"decay": link.weight_decay}
