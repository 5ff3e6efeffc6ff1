"""Columns that alone predict the target nearly perfectly, which suggests that they reveal it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from deltaprop.inspect.opening import OpenedModel, open_model

if TYPE_CHECKING:
    from jaxtyping import Float, Num

    from deltaprop.model import Model

# A single column scores 99 %: the strongest column of the usual tables (iris, wine, breast cancer,
# penguins) scores 96 %.
LEAK = 0.99
ROWS = 1000  # evenly spaced rows that are looked at
FEWEST_ROWS = 50  # with fewer rows, some column of many predicts y by chance
MOST_COLUMNS = 500  # that are looked at: those with the largest covariance with y
CLASS_LOSSES = ("cross_entropy", "focal", "binary_cross_entropy", "hinge")


class Leak(NamedTuple):
    """A column, by the index of its group, and its score on held-out rows."""

    group: int
    score: float
    what: str

    def in_words(self, column: str) -> str:
        """The same as a sentence."""
        return f"{column} alone predicts y with {self.what} {self.score:.3f} on held-out rows."


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
    from sklearn.model_selection import cross_val_score

    t = net.encode(y)
    is_known = np.isfinite(t).all(axis=1)
    X, t = X[is_known], t[is_known]
    labels = _classes(t, net.loss_function.name)
    kept, target = (np.arange(len(t)), t) if labels is None else _frequent(labels)
    if len(kept) < FEWEST_ROWS or (labels is not None and len(np.unique(target)) < 2):
        return
    tree, scoring, what = _tree(target, labels is not None)
    X, t = X[kept], t[kept]
    for g in _candidates(X, t, groups):
        x = X[:, list(groups[g])]
        x = x.toarray() if hasattr(x, "toarray") else x
        if tree.fit(x, target).score(x, target) < LEAK:
            continue
        score = float(np.mean(cross_val_score(tree, x, target, scoring=scoring, cv=3)))
        if score >= LEAK:
            yield Leak(g, score, what)


def _tree(target: np.ndarray, is_classes: bool) -> tuple[Any, str, str]:
    """Return a tree for a column that determines y, its scoring, and the name of the score."""
    from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

    if not is_classes:
        return DecisionTreeRegressor(min_samples_leaf=5, random_state=0), "r2", "R²"
    # Two leaves for each class suffice.
    tree = DecisionTreeClassifier(max_leaf_nodes=2 * len(np.unique(target)), random_state=0)
    return tree, "balanced_accuracy", "balanced accuracy"


def _classes(t: Float[np.ndarray, "N K"], loss: str) -> Num[np.ndarray, " N"] | None:
    """Return the class codes, or None if t does not contain classes."""
    if loss not in CLASS_LOSSES:
        return None
    labels: np.ndarray = t.argmax(axis=1) if t.shape[1] > 1 else (t[:, 0] > 0.5).astype(int)
    return labels


def _frequent(labels: Num[np.ndarray, " N"]) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows of the classes that have a row in each of three folds, and their classes."""
    kept = np.flatnonzero(np.bincount(labels)[labels] >= 3)
    return kept, labels[kept]


def _candidates(X: Any, t: Float[np.ndarray, "N K"], groups: Sequence[Any]) -> Sequence[int]:
    """Return all groups, or those with the largest covariance with y."""
    if len(groups) <= MOST_COLUMNS:
        return range(len(groups))
    covariance = np.abs(X.T @ (t - t.mean(axis=0))).max(axis=1)
    largest = np.array([covariance[list(places)].max() for places in groups])
    return [int(g) for g in np.argsort(-largest)[:MOST_COLUMNS]]
