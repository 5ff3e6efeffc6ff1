"""Private training that is resumed: no noise is used twice, and the account leaves no epoch out.

The noise of a step follows from a seed and the number of the step. A run that was cut off may have
gone further than its newest checkpoint, and somebody may have seen its parameters: it was killed,
or the disk was full. If the resumed run takes the same steps, it shows nothing new. If it would
take others, for example because the schedule is spread over more epochs, the difference between the
two would not have any noise. Such a run therefore draws a new seed, and all epochs that the other
one may have run are added to the account.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from deltaprop.errors import warn
from deltaprop.optim.state import EpochInProgress, TrainingState
from deltaprop.storage import schema

FIELDS: dict[str, schema.Kind] = {
    "max_epochs": schema.whole(1), "horizon": schema.whole(1), "ended": schema.boolean,
}  # fmt: skip


@dataclass(frozen=True)
class NoisePlan:
    """On what the steps of a private run depend, besides what every checkpoint must agree in.

    Parameters
    ----------
    max_epochs, horizon : int
        The number of epochs that may run, and that the schedule is made for.
    mu_squared_per_epoch : float
        The privacy loss of an epoch.
    """

    max_epochs: int
    horizon: int
    mu_squared_per_epoch: float

    def entry(self, ended: bool) -> dict[str, Any]:
        """The entry of a checkpoint; `ended` says that the run did not go further."""
        return {"max_epochs": self.max_epochs, "horizon": self.horizon, "ended": ended}

    def goes_on(self, saved: Any, *, same_layout: bool) -> bool:
        """Whether the steps after a checkpoint are those that its run took or would have taken."""
        return same_layout and saved in (self.entry(False), self.entry(True))

    def begin_anew(
        self, saved: Any, n_epochs: int, before: EpochInProgress, now: EpochInProgress,
        state: TrainingState,
    ) -> None:  # fmt: skip
        """Forget the seed of the noise, and count what the run of the checkpoint may have done.

        Parameters
        ----------
        saved : dict or None
            The entry of the checkpoint; None in files of versions that did not have it.
        n_epochs : int
            How many epochs the checkpoint has completed.
        before, now : EpochInProgress
            The position in the checkpoint, and where the training continues.
        state : TrainingState
            Changed in place.
        """
        state.noise_seed = None
        saved = saved or self.entry(ended=False)
        if saved["ended"]:
            return
        rest = max(0, saved["max_epochs"] - n_epochs)
        if rest == 0:
            return
        # The account has the epoch in progress already. If it goes on, its rows are used again.
        extra = rest - (before.done > 0) + (now.done > 0)
        state.mu_squared += extra * self.mu_squared_per_epoch
        warn(
            f"This private run was cut off after epoch {n_epochs} of {saved['max_epochs']} and "
            "goes on differently (max_epochs, engine or n_threads have changed). Its further "
            f"epochs may have been seen, so the privacy loss includes up to {rest} epoch(s) of "
            "them. To avoid this, repeat the call as it was, and then continue."
        )
