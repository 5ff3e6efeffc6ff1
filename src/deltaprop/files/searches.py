"""The estimator that a search has found."""

from __future__ import annotations

import sys
from typing import Any


def best_of_search(model: Any) -> Any:
    """The best estimator of a fitted search of scikit-learn, or of the result of ``dp.tune``.

    Other models are returned unchanged.

    Raises
    ------
    sklearn.exceptions.NotFittedError
        If a search has not been fitted, or with ``refit=False``.

    Examples
    --------
    >>> import deltaprop as dp
    >>> from sklearn.model_selection import GridSearchCV
    >>> search = GridSearchCV(dp.MLPRegressor(max_iter=5, random_state=0), {"alpha": [0, 1]}, cv=2)
    >>> X, y = [[0.0], [1.0], [2.0], [3.0]] * 5, [0.0, 1.0, 2.0, 3.0] * 5
    >>> type(best_of_search(search.fit(X, y))).__name__
    'MLPRegressor'
    """
    best = getattr(model, "best_estimator_", None)
    if best is not None:
        return best_of_search(best)
    loaded = sys.modules.get("sklearn.model_selection._search")  # importing it takes long
    if loaded is not None and isinstance(model, loaded.BaseSearchCV):
        from sklearn.exceptions import NotFittedError

        raise NotFittedError(
            f"This {type(model).__name__} has no best_estimator_: fit it, with refit=True."
        )
    return model
