"""``dp.Checkpoint``, and the interface of checkpoints for the training loop."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from deltaprop.errors import InputError, InputTypeError
from deltaprop.functions.checks import is_finite, is_int
from deltaprop.optim.state import EpochInProgress

UNLIMITED = 2**62


@dataclass(frozen=True)
class Checkpoint:
    """Where and how often ``dp.fit(..., checkpoint=...)`` saves the state of a training run.

    The same call continues from the newest checkpoint in the folder. With the same engine and the
    same number of threads, the result is bit for bit that of an uninterrupted run.

    Parameters
    ----------
    folder : str or Path
        A folder for this run only, which is created if it does not exist. It may be a URL that
        fsspec supports, such as ``"s3://bucket/run"``.
    seconds : float or None, default=60.0
        Save when this many seconds have passed since the last checkpoint; None disables this.
    steps : int, optional
        Save after every `steps` optimization steps (iterations of L-BFGS) as well.
    keep : int, default=3
        How many of the newest checkpoints are kept.

    Raises
    ------
    ValueError, TypeError
        If an argument is out of range or of the wrong type.

    Examples
    --------
    >>> import deltaprop as dp, tempfile
    >>> folder = tempfile.mkdtemp()
    >>> net = dp.Network(1, [dp.Dense(1)], loss="squared_error", seed=0)
    >>> dp.fit(net, [[0.0], [1.0]], [0.0, 2.0], max_epochs=5, checkpoint=folder).n_epochs
    5
    >>> again = dp.Network(1, [dp.Dense(1)], loss="squared_error", seed=0)
    >>> history = dp.fit(again, [[0.0], [1.0]], [0.0, 2.0], max_epochs=5, checkpoint=folder)
    >>> bool((again.theta == net.theta).all())  # the run had ended
    True
    """

    folder: str | Path
    seconds: float | None = 60.0
    steps: int | None = None
    keep: int = 3

    def __post_init__(self) -> None:
        if not isinstance(self.folder, (str, os.PathLike)):
            raise InputTypeError(f"folder of a Checkpoint must be a path, got {self.folder!r}.")
        if self.seconds is not None and not (is_finite(self.seconds) and self.seconds >= 0):
            raise InputError(
                "seconds of a Checkpoint must be a number >= 0, or None to never save by time; got "
                f"{self.seconds!r}."
            )
        if self.steps is not None and not is_int(self.steps, 1):
            raise InputError(
                "steps of a Checkpoint must be an int >= 1, or None to never save by steps; got "
                f"{self.steps!r}."
            )
        if not is_int(self.keep, 1):
            raise InputError(f"keep of a Checkpoint must be an int >= 1, got {self.keep!r}.")


class Checkpoints(Protocol):
    """The interface of checkpoints for the training loop."""

    in_progress: EpochInProgress
    splits_epochs: bool

    def steps_until_save(self) -> int:
        """How many steps may run before `between_steps` must be called."""

    def between_steps(self) -> None:
        """Save if it is time. Raises KeyboardInterrupt if the training must stop here."""

    def begin(self) -> None:
        """Call before the first step of private training, when its noise is known."""

    def finish(self) -> None:
        """Call when the training has ended without an interruption."""

    def close(self) -> None:
        """Call at the end, also after an error: other runs may use the folder then."""

    def awaiting_signals(self) -> Any:
        """A context in which signals take effect at the next call of `between_steps`."""


class NoCheckpoints:
    """The checkpoints of a training run that is not saved."""

    splits_epochs = False

    def __init__(self) -> None:
        self.in_progress = EpochInProgress()

    def steps_until_save(self) -> int:
        return UNLIMITED

    def between_steps(self) -> None:
        """There is nothing to save."""

    def begin(self) -> None:
        """There is nothing to save."""

    def finish(self) -> None:
        """There is nothing to save."""

    def close(self) -> None:
        """There is no folder."""

    @contextmanager
    def awaiting_signals(self) -> Iterator[None]:
        yield


def check_checkpoint(checkpoint: Any) -> Checkpoint | None:
    """The :class:`Checkpoint` that the argument `checkpoint` stands for."""
    if checkpoint is None or isinstance(checkpoint, Checkpoint):
        return checkpoint
    if isinstance(checkpoint, (str, os.PathLike)):
        return Checkpoint(str(checkpoint))
    raise InputTypeError(
        "checkpoint must be a folder, a deltaprop.Checkpoint such as dp.Checkpoint('run/', "
        f"seconds=60), or None; got {checkpoint!r}."
    )
