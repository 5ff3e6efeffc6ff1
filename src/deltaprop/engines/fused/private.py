"""Private training in the kernel: the fields of its frame."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from deltaprop.engines.fused import objects, units
from deltaprop.functions.noise import CHUNK, key
from deltaprop.optim.batch_gradients import BatchGradient, PrivateGradient

if TYPE_CHECKING:
    from deltaprop.engines.protocol import Run
    from deltaprop.model import Model


def kernel_gradient(gradient: BatchGradient, reduction: str, batch: int) -> dict[str, Any]:
    """The fields of the kernel's frame that describe how a batch becomes a gradient."""
    if not isinstance(gradient, PrivateGradient):
        return {}
    return {
        "norms": np.zeros(batch), "max_norm": gradient.max_norm,
        "g_scale": 1.0 if reduction == "sum" else 1 / batch,
    }  # fmt: skip


def kernel_noise(model: Model, run: Run, n_threads: int) -> dict[str, Any]:
    """The fields of the kernel's frame that describe the noise of a training run."""
    gradient = run.gradient
    if not isinstance(gradient, PrivateGradient) or gradient.noise == 0:
        return {}
    return {
        "noise": objects.addresses(units.noise(model.dtype.name))["noise"],
        "noise_key": key(run.state.noise_seed),
        "noise_room": np.zeros((n_threads, CHUNK), model.dtype),
        "deviation": gradient.noise * gradient.max_norm,
    }
