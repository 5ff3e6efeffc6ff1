"""Columns that alone predict the target nearly perfectly, which suggests that they reveal it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from deltaprop.data.leakage import ROWS, Leak, find_leaks
from deltaprop.inspect.opening import OpenedModel, open_model

if TYPE_CHECKING:
    from jaxtyping import Float, Num

    from deltaprop.model import Model

CLASS_LOSSES = ("cross_entropy", "focal", "binary_cross_entropy", "hinge")


def suspected_leaks(model: Any, X: Any, y: Any) -> dict[str, str]:
    """Return a sentence for each column that alone predicts y, by the name of the column.

    Parameters
    ----------
    model : fitted estimator, Pipeline or path
    X, y
        As the model's ``fit`` takes them; at most 1,000 evenly spaced rows are looked at.

    Examples
    --------
    >>> import deltaprop as dp
    >>> import pandas as pd
    >>> X = pd.DataFrame({"a": [1.0, 2.0, 3.0] * 20, "copy": ["no", "yes"] * 30})
    >>> model = dp.TabularClassifier((2,), max_iter=2, cv=1, random_state=0).fit(X, X["copy"])
    >>> suspected_leaks(model, X, X["copy"])
    {'copy': "column 'copy' alone predicts y with balanced accuracy 1.000 on held-out rows."}
    """
    from sklearn.utils import _safe_indexing

    rows = np.unique(np.linspace(0, len(y) - 1, min(len(y), ROWS)).round().astype(int))
    opened = open_model(model, _safe_indexing(X, rows), _safe_indexing(y, rows))
    groups = column_groups(opened)
    leaks = leaks_of(opened.network, *opened.data, [places for _, places in groups])
    named = ((groups[leak.group][0], leak) for leak in leaks)
    return {name: leak.in_words(f"column {name!r}") for name, leak in named}


def column_groups(opened: OpenedModel) -> list[tuple[str, list[int]]]:
    """Return each column of the data, with the columns of X_0 that it became."""
    encoder = getattr(opened.estimator, "encoder_", None)
    if encoder is not None:
        parts = zip(encoder.columns_, encoder.layout.parts(), strict=True)
        return [(name, places) for name, (places, _) in parts if places]
    D = opened.network.n_features
    names = opened.feature_names or [str(d) for d in range(D)]
    return [(name, [d]) for d, name in enumerate(names)]


def leaks_of(
    net: Model, X: Any, y: Num[np.ndarray, "N ..."], groups: Sequence[Sequence[int]]
) -> Iterator[Leak]:
    """Yield the groups of columns of X of which a small tree predicts y.

    Parameters
    ----------
    net : Network
    X, y
        As the network takes them.
    groups : sequence of sequence of int
        The columns that belong together.
    """
    t = net.encode(y)
    is_known = np.isfinite(t).all(axis=1)
    X, t = X[is_known], t[is_known]
    yield from find_leaks(X, t, _classes(t, net.loss_function.name), groups)


def _classes(t: Float[np.ndarray, "N K"], loss: str) -> Num[np.ndarray, " N"] | None:
    """Return the class codes, or None if t does not contain classes."""
    if loss not in CLASS_LOSSES:
        return None
    labels: np.ndarray = t.argmax(axis=1) if t.shape[1] > 1 else (t[:, 0] > 0.5).astype(int)
    return labels
