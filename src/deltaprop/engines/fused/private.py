"""Private training in the kernel: the fields of its frame, and the noise of the next steps."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np

from deltaprop.engines.fused import objects, units
from deltaprop.engines.fused.frame import address
from deltaprop.functions.noise import uniform
from deltaprop.optim.batch_gradients import BatchGradient, PrivateGradient

if TYPE_CHECKING:
    from deltaprop.engines.protocol import Run
    from deltaprop.model import Model
    from deltaprop.optim.state import TrainingState

NUMBERS = 4_000_000  # numbers of noise that are drawn together, for one step at least


def kernel_gradient(gradient: BatchGradient, reduction: str, batch: int) -> dict[str, Any]:
    """The fields of the kernel's frame that describe how a batch becomes a gradient."""
    if not isinstance(gradient, PrivateGradient):
        return {}
    return {
        "norms": np.zeros(batch), "max_norm": gradient.max_norm,
        "g_scale": 1.0 if reduction == "sum" else 1 / batch,
    }  # fmt: skip


def noise_of(model: Model, run: Run, n_threads: int, most: int | None = None) -> Noise | None:
    """The noise of a training run, of `most` steps at once; None if it has no noise."""
    if not isinstance(run.gradient, PrivateGradient) or run.gradient.noise == 0:
        return None
    deviation = run.gradient.noise * run.gradient.max_norm
    return Noise(model, run.state, deviation, n_threads, most)


class Noise:
    """The noise of several steps, in an array that the kernel reads.

    Parameters
    ----------
    model : Model
    state : TrainingState
        Has the seed.
    deviation : float
        The standard deviation.
    n_threads : int
        How many threads draw at the same time, each for another step.
    most : int, optional
        The number of steps; by default so many that the array has `NUMBERS` numbers.
    """

    def __init__(
        self, model: Model, state: TrainingState, deviation: float, n_threads: int, most: int | None
    ) -> None:
        self._seed, self._deviation = state.noise_seed, deviation
        self.steps = most or max(1, NUMBERS // model.theta.size)
        self.values = np.empty((self.steps, model.theta.size), model.dtype)
        self._uniform = np.empty((min(n_threads, self.steps), 2 * -(-model.theta.size // 2)))
        self._transform = units.NOISE(objects.addresses(units.noise(model.dtype.name))["noise"])

    def draw(self, first: int, steps: int) -> None:
        """Draw the noise of `steps` steps; `first` updates have been made before them."""
        if steps == 1:
            self._draw(0, first, 1)
            return
        n_threads = len(self._uniform)
        with ThreadPoolExecutor(n_threads) as pool:
            list(pool.map(lambda k: self._draw(k, first, steps), range(n_threads)))

    def _draw(self, k: int, first: int, steps: int) -> None:
        """Thread k draws the noise of every so many-th step."""
        result = np.zeros(2, np.int64)  # required by Numba's calling convention; unused
        at = address(result), address(result) + 8, address(self._uniform[k])
        for i in range(k, steps, len(self._uniform)):
            uniform(self._seed, first + i, self._uniform[k])
            self._transform(*at, address(self.values[i]), self.values.shape[1], self._deviation)
