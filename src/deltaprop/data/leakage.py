"""Columns that alone predict the target nearly perfectly, which suggests that they reveal it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from jaxtyping import Float, Num

# A single column scores 99 %: the strongest column of the usual tables (iris, wine, breast cancer,
# penguins) scores 96 %.
LEAK = 0.99
ROWS = 1000  # evenly spaced rows that are looked at
FEWEST_ROWS = 50  # with fewer rows, some column of many predicts y by chance
MOST_COLUMNS = 500  # that are looked at: those with the largest covariance with y


class Leak(NamedTuple):
    """A column, by the index of its group, and its score on held-out rows."""

    group: int
    score: float
    what: str

    def in_words(self, column: str) -> str:
        """The same as a sentence."""
        return f"{column} alone predicts y with {self.what} {self.score:.3f} on held-out rows."


def find_leaks(
    X: Any,
    t: Float[np.ndarray, "N K"],
    labels: Num[np.ndarray, " N"] | None,
    groups: Sequence[Sequence[int]],
) -> Iterator[Leak]:
    """Yield the groups of columns of X of which a small tree predicts the target.

    Parameters
    ----------
    X : ndarray or sparse matrix (N, D)
    t : ndarray (N, K)
        The target as numbers; one column per class, if there are several.
    labels : ndarray of int (N,) or None
        The classes, if it has some.
    groups : sequence of sequence of int
        The columns that belong together.
    """
    from sklearn.model_selection import cross_val_score

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
