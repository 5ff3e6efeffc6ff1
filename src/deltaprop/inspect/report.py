"""``deltaprop.report``: one HTML file that shows a trained model.

All text that comes from data (names of columns and classes, values) is escaped, and the page's own
content security policy forbids scripts and all requests, so it works offline.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from html import escape
from pathlib import Path
from typing import Any

from deltaprop._version import __version__
from deltaprop.inspect import displays
from deltaprop.inspect.markup import page
from deltaprop.inspect.report_data import Case
from deltaprop.inspect.sections import SECTIONS


@dataclass(frozen=True)
class Report:
    """The result of :func:`deltaprop.report`: a page that notebooks display and `save` writes.

    Attributes
    ----------
    html : str
        The whole page.
    """

    html: str = field(repr=False)

    def save(self, path: str | Path) -> None:
        """Write the page to a file; an existing file is replaced once the new one is complete.

        Raises
        ------
        deltaprop.storage.places.OutputError
            If the file cannot be written. An existing file is then unchanged.
        """
        from deltaprop.storage.places import write_bytes

        write_bytes(path, self.html.encode())

    def _repr_html_(self) -> str:
        """Return the page in a frame, so that its styles do not affect the notebook."""
        return (
            '<iframe style="width: 100%; height: 80vh; border: 0" title="Report" sandbox '
            f'srcdoc="{escape(self.html)}"></iframe>'
        )


def report(
    model: Any,
    X: Any,
    y: Any,
    path: str | Path | None = None,
    *,
    title: str | None = None,
    member: int | None = None,
) -> Report:
    """Describe a trained model on one HTML page.

    The page shows layers and settings, what was done to each column, scores, learning curves, the
    members of an ensemble, confusion matrix or residuals,
    calibration, permutation importance, the signals from layer to layer, partial dependence, the
    rows with the worst predictions, the weights, and the equations of the network with their
    verification.

    Parameters
    ----------
    model : MLPClassifier, MLPRegressor, TabularClassifier, TabularRegressor, Pipeline or path
        A fitted estimator, a Pipeline that ends in one, or the path of a model file.
    X : DataFrame, array-like or sparse matrix (N, D)
        Rows to evaluate the model on, preferably held-out ones.
    y : array-like (N,)
        Their labels or numbers.
    path : str or Path, optional
        The file to write, usually with the suffix ``.html``.
    title : str, optional
        By default the kind of model and the name of the target.
    member : int, optional
        Of an ensemble, the index of the member whose signals, weights and equations are shown; by
        default, the first. All other sections are about the whole ensemble.

    Returns
    -------
    Report
        Notebooks display it; ``.html`` is the page and ``.save(path)`` writes it.

    Raises
    ------
    ImportError
        If matplotlib is not installed; ``pip install 'deltaprop[report]'`` installs it.
    TypeError, sklearn.exceptions.NotFittedError
        If `model` is of another kind or has not been fitted.
    ValueError
        If X and y do not fit together, y has several columns, or there is no such member.
    deltaprop.storage.places.OutputError
        If `path` cannot be written. An existing file is then unchanged.
    deltaprop.storage.places.OutputError
        If `model` is a path that is not a model file that can be read.

    Notes
    -----
    The page is one self-contained file with its styles and pictures; it has no scripts and makes no
    requests. Importances, partial dependences, signals and the verification use a sample of the
    rows; scores use all of them. ``deltaprop.inspect`` and scikit-learn have the pictures as
    displays.

    References
    ----------
    Calibration of the predicted class: Guo et al., "On Calibration of Modern Neural Networks",
    2017. Importance: Breiman, "Random Forests", 2001. Partial dependence: Friedman, "Greedy
    Function Approximation", 2001.

    Examples
    --------
    >>> import deltaprop as dp, tempfile, os
    >>> from sklearn.datasets import load_iris
    >>> X, y = load_iris(return_X_y=True, as_frame=True)
    >>> clf = dp.MLPClassifier(4, random_state=0, max_iter=50).fit(X, y)
    >>> path = os.path.join(tempfile.mkdtemp(), "iris.html")
    >>> page = dp.report(clf, X, y, path)
    >>> "petal length" in page.html, os.path.getsize(path) > 10_000
    (True, True)
    """
    displays.require_matplotlib()
    if path is not None:
        _require_writable(path)
    case = Case(model, X, y, member)
    result = Report(
        page(
            title or f"{type(case.estimator).__name__}: {case.target}",
            f"{len(case.y):,} rows · deltaprop {__version__} · {datetime.now():%Y-%m-%d %H:%M}",
            {name: html for name, section in SECTIONS.items() if (html := section(case))},
        )
    )
    if path is not None:
        result.save(path)
    return result


def _require_writable(path: str | Path) -> None:
    """Raise OutputError before the computation rather than after it."""
    from deltaprop.storage.places import OutputError, unwritable

    if (reason := unwritable(path)) is not None:
        raise OutputError(f"{str(path)!r} cannot be written: {reason}")
