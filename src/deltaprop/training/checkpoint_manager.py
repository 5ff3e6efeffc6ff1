"""Saving the state of a training run at intervals, and restoring it."""

from __future__ import annotations

import hashlib
import time
from typing import TYPE_CHECKING, Any

import numpy as np

from deltaprop.data.rows import TrainingRows
from deltaprop.errors import InputError, warn
from deltaprop.model import Model
from deltaprop.model.groups import Groups
from deltaprop.optim.state import EpochInProgress, TrainingState
from deltaprop.optim.state_checks import require_sound
from deltaprop.storage import schema
from deltaprop.storage.checkpoint_files import Folder
from deltaprop.storage.codec import ModelFileError
from deltaprop.training import noise_plan
from deltaprop.training.checkpoint import UNLIMITED, Checkpoint
from deltaprop.training.history import STOP_REASONS, History
from deltaprop.training.interruption import Interruption, cancelled
from deltaprop.training.noise_plan import NoisePlan
from deltaprop.training.settings import Settings
from deltaprop.training.stopping import Plateau

if TYPE_CHECKING:
    from jaxtyping import Float

ROWS, DATA = "number of rows", "data"
RTOL = 1e-5  # of `DATA`, because preprocessing is rounded differently on other processors


CURVE = schema.vector()
HEAD = {"search": schema.named(), "layout": schema.named()}
PARTS: dict[str, dict[str, schema.Kind]] = {
    "progress": dict.fromkeys(vars(TrainingState()), schema.anything),  # see `require_sound`
    "under_way": {
        "steps": schema.whole(1), "first": schema.whole(), "done": schema.whole(),
        "loss": schema.number,
    },
    "plateau": {"best": schema.number, "count": schema.whole()},
    "history": {
        "loss_curve": CURVE, "validation_loss_curve": schema.optional(CURVE),
        "validation_scores": schema.optional(CURVE), "n_epochs": schema.whole(),
        "stop_reason": schema.one_of(STOP_REASONS), "best_epoch": schema.optional(schema.whole()),
    },
}  # fmt: skip
IN_WORDS = {
    "progress": "training state", "under_way": "position in the epoch",
    "plateau": "early stopping", "history": "history",
}  # fmt: skip


class CheckpointManager:
    """Saves one training run, and restores it when it is created.

    Parameters
    ----------
    checkpoint : Checkpoint
    identity : dict
        The result of :func:`identity_of`, which must not differ when training continues.
    layout : dict of str to str or int
        What must not differ if the result is to be bitwise identical.
    theta, state, plateau, history
        The objects of the run that are saved and restored in place.
    plan : NoisePlan, optional
        Of private training.
    writes : bool
        Whether this process writes checkpoints. Of several processes that train together only one
        does; all of them read its files.
    """

    splits_epochs = True

    def __init__(
        self,
        checkpoint: Checkpoint,
        identity: dict[str, Any],
        layout: dict[str, Any],
        *,
        theta: Float[np.ndarray, " P"],
        state: TrainingState,
        plateau: Plateau,
        history: History,
        plan: NoisePlan | None = None,
        writes: bool = True,
    ) -> None:
        self._writes = writes
        self._settings, self._identity, self._layout = checkpoint, identity, layout
        self._theta, self._state = theta, state
        self._plateau, self._history = plateau, history
        self._folder = Folder(checkpoint.folder, checkpoint.keep)
        self._plan, self._in_folder, self._ended = plan, False, False
        self._unlock = self._folder.lock() if writes else lambda: None
        self._saved: Any = None
        self._since = time.monotonic()
        self.in_progress = EpochInProgress()
        self._interruption = Interruption()
        try:
            self._restore()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        self._unlock()

    # ------------------------------------------------------------ when to save

    def steps_until_save(self) -> int:
        steps = self._settings.steps
        return UNLIMITED if steps is None else steps - self._steps() % steps

    def between_steps(self) -> None:
        event, interruption = cancelled.get(), self._interruption
        must_stop = interruption.signal is not None or (event is not None and event.is_set())
        self._ended = self._ended or must_stop
        if must_stop or self._is_due():
            self._save()
        if must_stop:
            interruption.ended_training = True
            self._history.signal = interruption.signal
            raise KeyboardInterrupt

    def begin(self) -> None:
        """Save the seed of the noise before it is used, unless the folder has it already."""
        if not self._in_folder:
            self._save(required=True)

    def finish(self) -> None:
        self._ended = True
        self._save()
        self.between_steps()

    def awaiting_signals(self) -> Any:
        return self._interruption.awaited()

    def _is_due(self) -> bool:
        seconds, steps = self._settings.seconds, self._settings.steps
        by_time = seconds is not None and time.monotonic() - self._since >= seconds
        return by_time or (steps is not None and self._steps() % steps == 0)

    def _steps(self) -> int:
        return self._history.n_epochs * self.in_progress.steps + self.in_progress.done

    # ------------------------------------------------------------ what is saved

    def _save(self, required: bool = False) -> None:
        """Write a checkpoint, unless one of this step exists.

        A failure is only a warning, unless it is `required`.
        """
        position = self._position(self._ended)
        if not self._writes or position == self._saved or not np.isfinite(self._theta).all():
            return
        plan = None if self._plan is None else self._plan.entry(self._ended)
        # The names of the format.
        head = {"search": self._identity, "layout": self._layout, "plan": plan}
        try:
            self._folder.write(head, self._contents())
            self._saved = position
        except ModelFileError as error:
            if required:
                raise
            warn(f"{error} Training continues without this checkpoint; earlier ones are kept.")
        self._since = time.monotonic()

    def _position(self, ended: bool) -> Any:
        return self._steps(), self._history.stop_reason, ended and self._plan is not None

    def _contents(self) -> dict[str, Any]:
        state, history, current = self._state, self._history, self.in_progress
        solver_state = tuple(np.asarray(part) for part in state.solver_state)
        position = {
            "steps": current.steps,
            "first": current.first,
            "done": current.done,
            "loss": current.loss,
        }
        return {
            "theta": self._theta,
            "best_theta": current.best_theta,
            "progress": {**vars(state), "solver_state": solver_state},
            "under_way": position,
            "plateau": {"best": self._plateau.best, "count": self._plateau.count},
            "history": {
                "loss_curve": np.array(history.loss_curve, np.float64),
                "validation_loss_curve": _array(history.validation_loss_curve),
                "validation_scores": _array(history.validation_scores),
                "n_epochs": history.n_epochs,
                "stop_reason": history.stop_reason,
                "best_epoch": history.best_epoch,
            },
        }

    def _restore(self) -> None:
        found = self._folder.newest()
        if found is None:
            return
        head, contents = found
        schema.require({name: head.get(name) for name in HEAD}, HEAD, "header")
        self._require_same(head["search"])
        self._require_known(contents)
        history, state = self._history, TrainingState(**contents["progress"])
        saved = EpochInProgress(best_theta=contents["best_theta"], **contents["under_way"])
        current = saved
        if self._must_restart_epoch(head["layout"]):
            current = EpochInProgress(best_theta=contents["best_theta"])
        require_sound(state, self._theta)
        self._require_fitting(state, current)
        goes_on, plan = True, _known_plan(head.get("plan"))
        if self._plan is not None:
            goes_on = self._plan.goes_on(plan, same_layout=not self._changed(head["layout"]))
        if self._plan is not None and not goes_on:
            n_epochs = contents["history"]["n_epochs"]
            self._plan.begin_anew(plan, n_epochs, saved, current, state)
        self._theta[...] = contents["theta"]
        rng = self._state.rng
        if rng is not None and state.rng is not None:
            rng.set_state(state.rng.get_state())
        vars(self._state).update({**vars(state), "rng": rng})
        vars(self._plateau).update(contents["plateau"])
        self.in_progress = current
        for name, value in contents["history"].items():
            setattr(history, name, value.tolist() if isinstance(value, np.ndarray) else value)
        if goes_on:
            ended = plan is not None and plan["ended"]
            self._saved, self._in_folder = self._position(ended), not ended

    def _require_known(self, contents: Any) -> None:
        """Raise ModelFileError unless the checkpoint consists of what `_contents` writes."""
        theta = schema.vector(self._theta.dtype.name, self._theta.size)
        values = {"theta": theta, "best_theta": schema.optional(theta)}
        schema.require(contents, dict.fromkeys(PARTS, schema.named()) | values, "state")
        for name, fields in PARTS.items():
            # Earlier versions did not write all parts of the training state.
            known = vars(TrainingState()) if name == "progress" else {}
            schema.require({**known, **contents[name]}, fields, IN_WORDS[name])

    def _require_fitting(self, state: TrainingState, current: EpochInProgress) -> None:
        N = self._identity[ROWS]
        if state.order is not None and len(state.order) != N:
            raise ModelFileError(
                f"The row order in the checkpoint has {len(state.order)} row(s), expected {N}."
            )
        if not 0 <= current.done < max(1, current.steps):
            raise ModelFileError(
                f"The checkpoint is at step {current.done} of an epoch of {current.steps} step(s)."
            )

    def _require_same(self, saved: dict[str, Any]) -> None:
        changed = [
            f"{name} is {value}, was {saved[name]}"
            for name, value in self._identity.items()
            if name != DATA and name in saved and saved[name] != value
        ]
        if not changed and not _same(self._identity[DATA], saved.get(DATA)):
            changed = [
                "the training rows are different (if some are held out for validation, the seed or "
                "random_state must be an int for them to be the same)"
            ]
        if changed:
            raise InputError(
                f"checkpoint={str(self._settings.folder)!r} belongs to a different run: "
                f"{'; '.join(changed)}. Restore these settings to continue it, or use another "
                "folder to start over."
            )

    def _changed(self, saved: dict[str, Any]) -> dict[str, str]:
        """What differs in the layout of the work, in words."""
        return {
            name: f"{name} is {self._layout.get(name)}, was {was}"
            for name, was in saved.items()
            if self._layout.get(name) != was
        }

    def _must_restart_epoch(self, saved: dict[str, Any]) -> bool:
        """Whether the epoch in progress must start over. Warns if results will not be identical."""
        changed = self._changed(saved)
        if not changed:
            return False
        # The parts of a stream that the processes read depend on the number of processes.
        restarts = "processes" in changed and self._identity["memory"] != str(None)
        then = "results agree up to rounding, not bit for bit"
        if restarts:
            then = "the epoch is started over, with another row order"
        warn(
            f"Training continues from {str(self._settings.folder)!r}, but "
            f"{'; '.join(changed.values())}: {then}."
        )
        return restarts


def identity_of(
    model: Model, rows: TrainingRows, settings: Settings, *, validated: bool, stops: bool
) -> dict[str, Any]:
    """The network, the data and the settings of a run, in a form that error messages can show.

    Parameters
    ----------
    validated : bool
        Whether there are validation data.
    stops : bool
        Whether they decide when training stops.
    """
    config = model.config()
    layers = config["layers"]
    return {
        "units": " → ".join(str(n) for n in [model.n_features, *(a["units"] for a in layers)]),
        "activations": ", ".join(layer["activation"] for layer in layers),
        "dropout": ", ".join(f"{layer['dropout']:g}" for layer in layers),
        "groups (periodic_columns)": ", ".join(_digest(layer.groups) for layer in model.layers),
        "loss": config["loss"]["name"],
        "settings of the loss": str(config["loss"]["params"]),
        "l2": str(config["l2"]),
        "reduction": config["reduction"],
        "dtype": config["dtype"],
        **rows.fingerprint(),
        **settings.identity(),
        "validated": str(validated),
        "restore_best": str(stops),
    }


def _digest(groups: Groups | None) -> str:
    """Which weights of a layer exist, in a few characters."""
    return "none" if groups is None else hashlib.sha256(str(tuple(groups)).encode()).hexdigest()[:8]


def _known_plan(plan: Any) -> dict[str, Any] | None:
    """The plan of the noise in a checkpoint, which those of earlier versions do not have."""
    if plan is not None:
        schema.require(plan, noise_plan.FIELDS, "plan of the noise")
    return plan  # type: ignore[no-any-return]


def _same(now: list[float], saved: Any) -> bool:
    return (
        isinstance(saved, list)
        and len(now) == len(saved)
        and all(isinstance(value, float) for value in saved)
        and np.allclose(now, saved, rtol=RTOL)
    )


def _array(values: list[float] | None) -> Float[np.ndarray, " E"] | None:
    return None if values is None else np.array(values, np.float64)
