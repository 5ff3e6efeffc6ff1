"""Open the page on a model: after training, or while it trains."""

from __future__ import annotations

import sys
import threading
import time
from typing import Any

import numpy as np

from deltaprop.errors import InputError
from deltaprop.model import Model
from deltaprop.page import scene
from deltaprop.page.server import Page
from deltaprop.page.subject import Subject, subject
from deltaprop.training.history import Epoch

SECONDS = 0.1  # between two measurements of the layers while training
SAMPLE = 100  # rows that are measured
MOST_POINTS = 1000  # of the curves, in one answer


def explore(
    model: Any,
    X: Any,
    y: Any,
    *,
    feature_names: Any = None,
    target_names: Any = None,
    port: int = 0,
    open_browser: bool = True,
    block: bool = False,
) -> Page:
    """Step through a model's network on your own rows, in a browser.

    Forward, then backward: every X, a, δ, ∂W and ∂b as a heat map beside its equation. Edit an
    input, a target or a weight, and everything follows; the model itself is not changed.

    Parameters
    ----------
    model : Network, or a fitted MLPClassifier, MLPRegressor, TabularClassifier, TabularRegressor
    X : array-like, sparse matrix or DataFrame (N, D)
        What the model predicts from.
    y : array-like (N,) or (N, K)
        What it should predict, as it was fitted to.
    feature_names : sequence of str, optional
        Of the columns of X; by default the DataFrame's or those that the model was fitted with.
    target_names : sequence of str, optional
        Of the classes, or of the outputs. Estimators know their classes.
    port : int, default=0
        0 takes a free one.
    open_browser : bool, default=True
        Open the page, where this machine has a screen.
    block : bool, default=False
        Serve until Ctrl-C; for scripts, whose end closes the page.

    Returns
    -------
    Page
        With ``.url``, ``.close()``, and usable as a context manager.

    Raises
    ------
    ValueError, TypeError
        If X or y does not fit the model, a name is missing, or the port is taken.

    Notes
    -----
    The page is served on 127.0.0.1 only, under a random token, and loads nothing from elsewhere.
    All numbers are those of ``net.trace``, without sample weights.

    Examples
    --------
    >>> import deltaprop as dp
    >>> net = dp.Network(2, [dp.Dense(3, "tanh"), dp.Dense(1)], loss="squared_error", seed=0)
    >>> with dp.explore(net, [[0.5, -1.0]], [1.0], open_browser=False) as page:
    ...     page.url.startswith("http://127.0.0.1:")
    True
    """
    opened = subject(model, X, y, feature_names, target_names)
    page = Page(
        {
            "api/network": lambda _: scene.describe(opened) | {"ready": True, "live": False},
            "api/trace": lambda request: scene.trace(opened, request),
        },
        port,
    )
    return _shown(page, open_browser, block)


class Watch(Page):
    """A callback that shows the training in a browser while it goes on.

    Loss curves, the size of W, δ and ∂W of each layer, and the page of :func:`explore` on rows of
    your choice, with the weights of the moment.

    Parameters
    ----------
    model : Network or estimator
        The one that is trained; an estimator need not be fitted yet.
    X, y
        Rows to look at, best held out, as for :func:`explore`. The first 100 are measured.
    feature_names, target_names, port, open_browser
        As for :func:`explore`.

    Attributes
    ----------
    url : str

    Raises
    ------
    ValueError, TypeError
        As :func:`explore`; for an estimator that is not fitted yet, at the first epoch.

    Notes
    -----
    Training writes down numbers, at most ten times a second those of the layers; browsers fetch
    them when they like, and none of them can hold it up. With a callback the fused engine runs one
    epoch a call.

    Examples
    --------
    >>> import deltaprop as dp
    >>> net = dp.Network(1, [dp.Dense(1)], loss="squared_error", seed=0)
    >>> X, y = [[0.0], [1.0], [2.0]], [1.0, 3.0, 5.0]
    >>> with dp.Watch(net, X, y, open_browser=False) as watch:
    ...     history = dp.fit(net, X, y, max_epochs=5, callbacks=[watch])
    """

    def __init__(
        self,
        model: Any,
        X: Any,
        y: Any,
        *,
        feature_names: Any = None,
        target_names: Any = None,
        port: int = 0,
        open_browser: bool = True,
    ) -> None:
        self._given = (model, X, y, feature_names, target_names)
        self._subject: Subject | None = None
        self._network: Model | None = None
        if isinstance(model, Model):
            self._open(model)
        self._lock = threading.Lock()
        self._epochs: list[dict[str, Any]] = []
        self._layers: dict[str, Any] | None = None
        self._measured = float("-inf")
        self._finished = False
        routes = {
            "api/network": lambda _: self._describe(),
            "api/trace": lambda request: scene.trace(self._ready(), request),
            "api/epochs": lambda query: self._since(int(query.get("after", 0))),
        }
        super().__init__(routes, port)
        _shown(self, open_browser, block=False)

    def __call__(self, event: Epoch) -> None:
        """Write down what an epoch has brought."""
        if event.network is not self._network:
            self._open(event.network)
        now = time.monotonic()
        entry = {
            "epoch": event.epoch,
            "loss": scene.plain(event.loss),
            "validation_loss": _optional(event.validation_loss),
            "validation_score": _optional(event.validation_score),
            "seconds": event.seconds,
            "max_epochs": event.max_epochs,
        }
        if now - self._measured >= SECONDS or event.epoch == event.max_epochs:
            self._measured = now
            entry["layers"] = _layers(event.network, *self._sample)
        with self._lock:
            self._epochs.append(entry)
            self._finished = False

    def finish(self) -> None:
        """Say on the page that training is over; it goes on to show the model."""
        with self._lock:
            self._finished = True

    def __deepcopy__(self, memo: dict[int, Any]) -> Watch:
        return self  # scikit-learn's clone copies callbacks; a server there is only one of

    def _open(self, net: Model) -> None:
        """Open the model, whose network `net` is; encoding a table's rows takes its time."""
        opened = subject(*self._given)
        self._sample = opened.take(0, SAMPLE)[:2]
        self._subject, self._network = opened, net

    def _ready(self) -> Subject:
        if self._subject is None:
            raise InputError("The first epoch has not ended yet.")
        return self._subject

    def _describe(self) -> dict[str, Any]:
        if self._subject is None:
            return {"ready": False, "live": True}
        return scene.describe(self._subject) | {"ready": True, "live": True}

    def _since(self, after: int) -> dict[str, Any]:
        """The epochs that a page has not seen yet; of very many, evenly spaced ones."""
        with self._lock:
            new, finished = self._epochs[after:], self._finished
            total = len(self._epochs)
        if len(new) > MOST_POINTS:
            kept = np.unique(np.linspace(0, len(new) - 1, MOST_POINTS).round().astype(int))
            new = [new[i] for i in kept]
        return {"epochs": new, "total": total, "finished": finished}


def _layers(net: Model, X: Any, y: Any) -> list[dict[str, Any]]:
    """The size of W, δ and ∂W of each layer on rows."""
    with np.errstate(all="ignore"):
        if not np.isfinite(net.theta).all():
            return []
        t = net.trace(X, y)
        return [
            {
                "W": scene.rms(net.W[l]),
                "delta": scene.rms(t.delta[l]),
                "dW": scene.rms(t.dW[l]),
            }
            for l in range(net.n_layers)
        ]


def _optional(value: float | None) -> Any:
    return None if value is None else scene.plain(value)


def _shown(page: Page, open_browser: bool, block: bool) -> Page:
    if open_browser:
        page.open()
    if block:
        print(f"The page is at {page.url} until Ctrl-C.", file=sys.stderr, flush=True)
        page.wait()
    return page
