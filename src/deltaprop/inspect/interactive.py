"""``deltaprop.explore`` and ``deltaprop.Watch``: the interactive page for any model."""

from __future__ import annotations

from typing import Any

from deltaprop.inspect.page_subjects import subject_of
from deltaprop.model import Model
from deltaprop.page import LivePage, Page
from deltaprop.page import explore as serve


def explore(
    model: Any,
    X: Any,
    y: Any,
    *,
    feature_names: Any = None,
    target_names: Any = None,
    member: int | None = None,
    port: int = 0,
    open_browser: bool = True,
    block: bool = False,
) -> Page:
    """Step through a model's network on your own rows, in a browser.

    The page shows the forward pass, then the backward pass: every X, a, δ, ∂W and ∂b as a heat map
    beside its equation. You can edit an input, a target or a weight; all numbers are recomputed.
    The model itself is not changed.

    Parameters
    ----------
    model : Network, fitted estimator, Pipeline or path
        A Pipeline must end in one of deltaprop's estimators; a path names a model file.
    X : array-like, sparse matrix or DataFrame (N, D)
        Rows as the model's ``predict`` takes them.
    y : array-like (N,) or (N, K)
        The target as the model's ``fit`` takes it.
    feature_names : sequence of str, optional
        The names of the columns of X; by default those of the DataFrame, or those that the model
        was fitted with.
    target_names : sequence of str, optional
        The names of the classes or of the outputs; by default a classifier's classes.
    member : int, optional
        Of an ensemble, the index of the member to show; by default, the first. The page says which.
    port : int, default=0
        0 uses a free port.
    open_browser : bool, default=True
        Open the page in a browser, if this machine has a screen.
    block : bool, default=False
        Serve until Ctrl-C. Scripts need this, because the page closes when they end.

    Returns
    -------
    Page
        Has ``.url`` and ``.close()``, and is a context manager.

    Raises
    ------
    ValueError, TypeError
        If X or y does not fit the model, the model is not fitted, the number of names is wrong,
        there is no such member, or the port is in use.
    deltaprop.files.ModelFileError
        If a path is not a model file that can be read.

    Notes
    -----
    The page is served on 127.0.0.1 only, with a random token, and loads nothing from elsewhere. All
    numbers are those of ``net.trace`` without sample weights.

    Examples
    --------
    >>> import deltaprop as dp
    >>> net = dp.Network(2, [dp.Dense(3, "tanh"), dp.Dense(1)], loss="squared_error", seed=0)
    >>> with dp.explore(net, [[0.5, -1.0]], [1.0], open_browser=False) as page:
    ...     page.url.startswith("http://127.0.0.1:")
    True
    """
    subject = subject_of(model, X, y, feature_names, target_names, member)
    return serve(subject, port=port, open_browser=open_browser, block=block)


class Watch(LivePage):
    """A callback that shows training in a browser.

    The page shows the loss curves, the size of W, δ and ∂W of each layer, and what :func:`explore`
    shows for rows of your choice, with the current weights. Of an ensemble, it follows the first
    member.

    Parameters
    ----------
    model : Network, estimator or Pipeline
        The model that is trained. An estimator need not be fitted yet.
    X, y
        Rows to show, preferably held-out ones, as for :func:`explore`. The layers are measured on
        the first 100.
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
    Training only records numbers (those of the layers at most ten times per second) and never waits
    for a browser. With a callback the fused engine runs one epoch per call.

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
        super().__init__(
            lambda: subject_of(model, X, y, feature_names, target_names),
            ready=isinstance(model, Model),
            port=port,
            open_browser=open_browser,
        )
