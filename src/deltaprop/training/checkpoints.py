"""``dp.Checkpoint``: what a search writes down from time to time, to go on from after a kill."""

from __future__ import annotations

import math
import os
import time
import warnings
from dataclasses import dataclass
from numbers import Integral, Real
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from deltaprop.optim.state_checks import require_sound
from deltaprop.storage.checkpoint_files import Folder
from deltaprop.storage.codec import ModelFileError
from deltaprop.training.interruption import Interruption
from deltaprop.training.loop import History, Progress, UnderWay, cancelled
from deltaprop.training.recording import probe_rows
from deltaprop.training.stopping import Plateau

if TYPE_CHECKING:
    from jaxtyping import Float, Int, Num

    from deltaprop.network import Network

PROBE_ROWS = 256
ROWS, DATA = "number of rows", "data"
SAME = 1e-5  # another processor rounds the same preprocessing elsewhere


@dataclass(frozen=True)
class Checkpoint:
    """Where and how often ``dp.fit(..., checkpoint=...)`` saves the state of a search.

    The same call goes on from the newest checkpoint in the folder. On the same engine and with the
    same number of threads it ends in the same bits as a search that was never interrupted.

    Parameters
    ----------
    folder : str or Path
        Of one search; made if it is not there. With ``://`` in it, an address of any storage that
        fsspec knows, such as ``"s3://bucket/run"``.
    seconds : float or None, default=60.0
        Save when that many have passed since the last time; None: never by time.
    steps : int, optional
        Save after every so many optimisation steps (iterations of L-BFGS).
    keep : int, default=3
        How many of the newest checkpoints stay.

    Examples
    --------
    >>> import deltaprop as dp, tempfile
    >>> folder = tempfile.mkdtemp()
    >>> net = dp.Network(1, [dp.Dense(1)], loss="squared_error", seed=0)
    >>> dp.fit(net, [[0.0], [1.0]], [0.0, 2.0], max_epochs=5, checkpoint=folder).n_epochs
    5
    >>> again = dp.Network(1, [dp.Dense(1)], loss="squared_error", seed=0)
    >>> history = dp.fit(again, [[0.0], [1.0]], [0.0, 2.0], max_epochs=5, checkpoint=folder)
    >>> bool((again.theta == net.theta).all())  # it had ended: nothing was left to do
    True
    """

    folder: str | Path
    seconds: float | None = 60.0
    steps: int | None = None
    keep: int = 3

    def __post_init__(self) -> None:
        if not isinstance(self.folder, (str, os.PathLike)):
            raise TypeError(f"folder of a Checkpoint must be a path, got {self.folder!r}.")
        if self.seconds is not None and not (_is_real(self.seconds) and self.seconds >= 0):
            raise ValueError(
                "seconds of a Checkpoint must be a number >= 0, or None to save never by time; got "
                f"{self.seconds!r}."
            )
        if self.steps is not None and not _is_count(self.steps):
            raise ValueError(
                "steps of a Checkpoint must be an int >= 1, or None to save never by steps; got "
                f"{self.steps!r}."
            )
        if not _is_count(self.keep):
            raise ValueError(f"keep of a Checkpoint must be an int >= 1, got {self.keep!r}.")


def checked_checkpoint(checkpoint: Any) -> Checkpoint | None:
    """The Checkpoint that `checkpoint=` stands for."""
    if checkpoint is None or isinstance(checkpoint, Checkpoint):
        return checkpoint
    if isinstance(checkpoint, (str, os.PathLike)):
        return Checkpoint(str(checkpoint))
    raise TypeError(
        "checkpoint must be a folder, a deltaprop.Checkpoint such as dp.Checkpoint('run/', "
        f"seconds=60), or None; got {checkpoint!r}."
    )


class Keeper:
    """Saves one search and puts it back: θ, and what stands in the objects that it was given.

    Parameters
    ----------
    checkpoint : Checkpoint
    search : dict
        What must be the same to go on, as :func:`description` gives it.
    layout : dict of str to str or int
        What must be the same to go on to the same bits.
    writes : bool
        Whether this process saves the search. Of those that train together one does; all go on
        from what it saved.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        search: dict[str, Any],
        layout: dict[str, Any],
        *,
        theta: Float[np.ndarray, " P"],
        progress: Progress,
        plateau: Plateau,
        history: History,
        writes: bool = True,
    ) -> None:
        self._writes = writes
        self._settings, self._search, self._layout = checkpoint, search, layout
        self._theta, self._progress = theta, progress
        self._plateau, self._history = plateau, history
        self._folder = Folder(checkpoint.folder, checkpoint.keep)
        if writes:
            self._folder.sweep()
        self._saved: Any = None
        self._since = time.monotonic()
        self.under_way = UnderWay()
        self.interruption = Interruption()
        self._restore()

    # ------------------------------------------------------------ when

    def until_cut(self) -> int:
        """How many steps may run before :meth:`pause` has to be asked."""
        steps = self._settings.steps
        return 2**62 if steps is None else steps - self._steps() % steps

    def pause(self) -> None:
        """Between two steps: save if it is time, and stop there if somebody asked for it."""
        event = cancelled.get()
        asked = self.interruption.signal is not None or (event is not None and event.is_set())
        if asked or self._is_due():
            self._save()
        if asked:
            self.interruption.heeded = True
            self._history.signal = self.interruption.signal
            raise KeyboardInterrupt

    def finish(self) -> None:
        """The search has ended by itself."""
        self._save()
        self.pause()

    def _is_due(self) -> bool:
        seconds, steps = self._settings.seconds, self._settings.steps
        by_time = seconds is not None and time.monotonic() - self._since >= seconds
        return by_time or (steps is not None and self._steps() % steps == 0)

    def _steps(self) -> int:
        return self._history.n_epochs * self.under_way.steps + self.under_way.done

    # ------------------------------------------------------------ what

    def _save(self) -> None:
        """A disk that refuses costs a checkpoint, not the training."""
        now = self._steps(), self._history.stop_reason
        if not self._writes or now == self._saved or not np.isfinite(self._theta).all():
            return
        try:
            self._folder.write({"search": self._search, "layout": self._layout}, self._state())
            self._saved = now
        except ModelFileError as error:
            warnings.warn(
                f"{error} The training goes on without this checkpoint; the ones before it stay.",
                stacklevel=6,
            )
        self._since = time.monotonic()

    def _state(self) -> dict[str, Any]:
        progress, history, under_way = self._progress, self._history, self.under_way
        memory = tuple(np.asarray(part) for part in progress.solver_state)
        return {
            "theta": self._theta,
            "best_theta": under_way.best_theta,
            "progress": {**vars(progress), "solver_state": memory},
            "under_way": {
                "steps": under_way.steps, "first": under_way.first, "done": under_way.done,
                "loss": under_way.loss,
            },
            "plateau": {"best": self._plateau.best, "count": self._plateau.count},
            "history": {
                "loss_curve": np.array(history.loss_curve, np.float64),
                "validation_loss_curve": _array(history.validation_loss_curve),
                "validation_scores": _array(history.validation_scores),
                "n_epochs": history.n_epochs,
                "stop_reason": history.stop_reason,
                "best_epoch": history.best_epoch,
            },
        }  # fmt: skip

    def _restore(self) -> None:
        found = self._folder.newest()
        if found is None:
            return
        head, state = found
        self._require_same(head["search"])
        history, progress = self._history, Progress(**state["progress"])
        under_way = UnderWay(best_theta=state["best_theta"], **state["under_way"])
        if self._goes_on_otherwise(head["layout"]):
            under_way = UnderWay(best_theta=state["best_theta"])
        require_sound(progress, self._theta)
        self._require_fitting(progress, under_way)
        self._theta[...] = state["theta"]
        rng = self._progress.rng
        if rng is not None and progress.rng is not None:
            rng.set_state(progress.rng.get_state())
        vars(self._progress).update({**vars(progress), "rng": rng})
        vars(self._plateau).update(state["plateau"])
        self.under_way = under_way
        for name, value in state["history"].items():
            setattr(history, name, value.tolist() if isinstance(value, np.ndarray) else value)
        self._saved = self._steps(), history.stop_reason

    def _require_fitting(self, progress: Progress, under_way: UnderWay) -> None:
        N = self._search[ROWS]
        if progress.order is not None and len(progress.order) != N:
            raise ModelFileError(f"The checkpoint's order of rows is not one of {N} rows.")
        if not 0 <= under_way.done < max(1, under_way.steps):
            raise ModelFileError("The checkpoint stands at a step that its epoch does not have.")

    def _require_same(self, search: dict[str, Any]) -> None:
        changed = [
            f"{name} is {self._search.get(name)}, was {search.get(name)}"
            for name in {**search, **self._search}
            if name != DATA and self._search.get(name) != search.get(name)
        ]
        if not changed and not np.allclose(self._search[DATA], search[DATA], rtol=SAME):
            changed = [
                "the rows to train on are others (where some are set aside to validate on, the "
                "seed or random_state must be an int for them to be the same)"
            ]
        if changed:
            raise ValueError(
                f"checkpoint={str(self._settings.folder)!r} holds another search: "
                f"{'; '.join(changed)}. To go on put back what it was, to begin anew name another "
                "folder."
            )

    def _goes_on_otherwise(self, layout: dict[str, Any]) -> bool:
        """Warn where bits will differ; True where the epoch under way has to begin anew."""
        changed = {
            name: f"{name} is {self._layout.get(name)}, was {was}"
            for name, was in layout.items()
            if self._layout.get(name) != was
        }
        if not changed:
            return False
        divided = "processes" in changed and self._search.get("memory", "None") != "None"
        then = "results agree to rounding, not to the bit"
        if divided:  # each process would go on inside another part of the rows
            then = "the epoch begins anew, and rows of the stream come in another order"
        warnings.warn(
            f"The search goes on from {str(self._settings.folder)!r}, but "
            f"{'; '.join(changed.values())}: {then}.",
            stacklevel=5,
        )
        return divided


def description(
    net: Network,
    X: Any,
    y: Num[np.ndarray, "N ..."],
    w: Float[np.ndarray, " N"] | None,
    rows: Int[np.ndarray, " M"] | None,
    **settings: Any,
) -> dict[str, Any]:
    """A search in words and numbers, for people to compare: network, data and settings."""
    config = net.config()
    layers = config["layers"]
    if hasattr(X, "head"):  # a Stream
        parts = [part[:PROBE_ROWS] for part in X.head()]
    else:
        picked = probe_rows(X.shape[0], rows, PROBE_ROWS)
        parts = [part[picked] for part in (X, y, w) if part is not None]
    return {
        "units": " → ".join(str(n) for n in [net.n_features, *(a["units"] for a in layers)]),
        "activations": ", ".join(layer["activation"] for layer in layers),
        "dropout": ", ".join(f"{layer['dropout']:g}" for layer in layers),
        "loss": config["loss"]["name"],
        "settings of the loss": str(config["loss"]["params"]),
        "l2": str(config["l2"]),
        "reduction": config["reduction"],
        "dtype": config["dtype"],
        ROWS: int(X.shape[0] if rows is None else len(rows)),
        DATA: [_sketch(part) for part in parts],
        "weighted": w is not None,
        **{name: str(value) for name, value in settings.items()},
    }


def _sketch(values: Any) -> float:
    """One number that other data hardly share, and that tells nothing of a single entry."""
    stored = np.asarray(values.data if hasattr(values, "tocsr") else values)
    sizes = np.abs(stored.astype(np.float64)).ravel()
    weights = 1 + np.cos(np.arange(len(sizes)))
    return float(np.sum(sizes * weights)) / max(1, len(sizes))  # @ would wake the BLAS's threads


def _array(values: list[float] | None) -> Float[np.ndarray, " E"] | None:
    return None if values is None else np.array(values, np.float64)


def _is_real(x: Any) -> bool:
    return isinstance(x, Real) and not isinstance(x, bool) and math.isfinite(x)


def _is_count(x: Any) -> bool:
    return isinstance(x, Integral) and not isinstance(x, bool) and int(x) >= 1
