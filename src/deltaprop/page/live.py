"""Serve the page for one subject: after training, or while training continues."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from deltaprop.errors import InputError
from deltaprop.page import contents
from deltaprop.page.server import Page
from deltaprop.page.subject import Subject
from deltaprop.training.history import Epoch

if TYPE_CHECKING:
    from deltaprop.model import Model

# The layers are measured in the first epochs, so that a training of a tenth of a second has curves,
# and then as often as it takes at most a tenth of the time.
FIRST_EPOCHS, SHARE = 50, 0.1
SAMPLE = 100  # rows on which the layers are measured
MOST_POINTS = 1000  # epochs in one response


def explore(
    subject: Subject, *, port: int = 0, open_browser: bool = True, block: bool = False
) -> Page:
    """Serve the page for `subject`: see :func:`deltaprop.explore`.

    Examples
    --------
    >>> import deltaprop as dp
    >>> from deltaprop.page import explore, network_subject
    >>> net = dp.Network(1, [dp.Dense(1)], loss="squared_error", seed=0)
    >>> explore(network_subject(net, [[1.0]], [2.0]), open_browser=False).close()
    """
    page = Page(
        {
            "api/network": lambda _: contents.describe(subject) | {"ready": True, "live": False},
            "api/trace": lambda request: contents.trace(subject, request),
            "api/worked": lambda request: contents.worked(subject, request),
        },
        port,
    )
    return _shown(page, open_browser, block)


class LivePage(Page):
    """A callback that shows training in a browser: see :class:`deltaprop.Watch`.

    Parameters
    ----------
    subject : callable
        Opens the model. It is called again when another network is trained.
    ready : bool
        Whether the model can be opened now; otherwise it is opened at the first epoch.
    port, open_browser
        As for :func:`deltaprop.explore`.
    """

    def __init__(
        self,
        subject: Callable[[], Subject],
        *,
        ready: bool,
        port: int = 0,
        open_browser: bool = True,
    ) -> None:
        self._opener = subject
        self._subject: Subject | None = None
        self._network: Model | None = None
        if ready:
            self._open()
        self._lock = threading.Lock()
        self._epochs: list[dict[str, Any]] = []
        self._spent = 0.0  # seconds in which the layers were measured
        self._finished = False
        routes = {
            "api/network": lambda _: self._describe(),
            "api/trace": lambda request: contents.trace(self._ready(), request),
            "api/worked": lambda request: contents.worked(self._ready(), request),
            "api/epochs": lambda query: self._since(int(query.get("after", 0))),
        }
        super().__init__(routes, port)
        _shown(self, open_browser, block=False)

    def __call__(self, event: Epoch) -> None:
        """Record the results of an epoch; of an ensemble, only those of the first member."""
        if event.member > 0:
            return
        if event.network is not self._network:
            self._open()
            self._network, self._spent = event.network, 0.0
            if event.n_members > 1 and self._subject is not None:
                shown = f"members_[0], one of {event.n_members}"
                self._subject = replace(self._subject, member=shown)
        entry = {
            "epoch": event.epoch,
            "loss": contents.plain(event.loss),
            "validation_loss": _optional(event.validation_loss),
            "validation_score": _optional(event.validation_score),
            "seconds": event.seconds,
            "max_epochs": event.max_epochs,
        }
        is_due = event.epoch <= FIRST_EPOCHS or self._spent <= SHARE * event.seconds
        if is_due or event.epoch == event.max_epochs:
            started = time.monotonic()
            entry["layers"] = _layers(event.network, *self._sample)
            self._spent += time.monotonic() - started
        with self._lock:
            self._epochs.append(entry)
            self._finished = False

    def finish(self) -> None:
        """Tell the page that training has ended; it continues to show the model."""
        with self._lock:
            self._finished = True

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self  # scikit-learn's clone deep-copies callbacks, but a server cannot be copied

    def _open(self) -> None:
        """Open the model; encoding the rows of a table takes some time."""
        subject = self._opener()
        self._sample = subject.take(0, SAMPLE)[:2]
        self._subject, self._network = subject, subject.network()

    def _ready(self) -> Subject:
        if self._subject is None:
            raise InputError("The model is not available before the first epoch ends; try again.")
        return self._subject

    def _describe(self) -> dict[str, Any]:
        if self._subject is None:
            return {"ready": False, "live": True}
        return contents.describe(self._subject) | {"ready": True, "live": True}

    def _since(self, after: int) -> dict[str, Any]:
        """Return the epochs after the first `after` ones, evenly thinned to MOST_POINTS."""
        with self._lock:
            new, finished = self._epochs[after:], self._finished
            total = len(self._epochs)
        if len(new) > MOST_POINTS:
            kept = np.unique(np.linspace(0, len(new) - 1, MOST_POINTS).round().astype(int))
            new = [new[i] for i in kept]
        return {"epochs": new, "total": total, "finished": finished}


def _layers(net: Model, X: Any, y: Any) -> list[dict[str, Any]]:
    """Return the root mean square of W, δ and ∂W of each layer on some rows."""
    with np.errstate(all="ignore"):
        if not np.isfinite(net.theta).all():
            return []
        t = net.trace(X, y)
        return [
            {
                "W": contents.rms(net.W[l]),
                "delta": contents.rms(t.delta[l]),
                "dW": contents.rms(t.dW[l]),
            }
            for l in range(net.n_layers)
        ]


def _optional(value: float | None) -> Any:
    return None if value is None else contents.plain(value)


def _shown(page: Page, open_browser: bool, block: bool) -> Page:
    if open_browser:
        page.open()
    if block:
        print(f"The page is at {page.url} until Ctrl-C.", file=sys.stderr, flush=True)
        page.wait()
    return page
