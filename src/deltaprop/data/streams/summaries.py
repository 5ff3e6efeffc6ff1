"""A random sample of a table, and the summaries of a column, in one pass over the batches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from deltaprop.data.reading import TableError
from deltaprop.data.streams.columns import decoded, holds_strings, numbers, target_values

if TYPE_CHECKING:
    from jaxtyping import Shaped

MOST_CLASSES = 10_000
MOST_CATEGORIES = 50  # columns with more are encoded as text, for which a sample is enough


class NewCategories:
    """Finds the rows in which a string occurs in a column for the first time.

    Columns with more than ``MOST_CATEGORIES`` different strings are ignored once this is known.
    """

    def __init__(self, schema: Any, columns: Sequence[str]) -> None:
        self._seen: dict[str, set[Any]] = {
            name: set() for name in columns if holds_strings(schema.field(name).type)
        }

    def rows_of(self, batch: Any) -> list[int]:
        """The indices of the rows of `batch` that contain a new string."""
        import pyarrow.compute as pc

        rows = []
        for name, seen in list(self._seen.items()):
            column = decoded(batch.column(name))
            new = set(pc.unique(column).to_pylist()) - seen
            if len(seen) + len(new) > MOST_CATEGORIES:
                del self._seen[name]
                continue
            for string in new:
                found = pc.is_null(column) if string is None else pc.equal(column, string)
                rows.append(pc.index(found, True).as_py())
            seen |= new
        return rows


def sampled(
    batches: Iterable[Any], share: float, seed: int, categories: NewCategories | None
) -> Iterator[Any]:
    """The batches, reduced to a random fraction `share` of rows and those of new categories."""
    import pyarrow as pa

    rng = np.random.default_rng(seed)
    for batch in batches:
        mask = rng.random(batch.num_rows) < share
        if categories is not None:
            mask[categories.rows_of(batch)] = True
        if mask.any():
            yield batch.filter(pa.array(mask))


def distinct_values(batches: Iterable[Any], name: str) -> Shaped[np.ndarray, " C"]:
    """The distinct values of a column of class labels, sorted."""
    found: Any = None
    for batch in batches:
        here = np.unique(target_values(batch, name))
        found = here if found is None else np.union1d(found, here)
        if len(found) > MOST_CLASSES:
            raise TableError(
                f"Column {name!r} has more than {MOST_CLASSES} different values, which are too "
                "many for classes: use a regressor."
            )
    return np.asarray(found)


def mean_and_deviation(batches: Iterable[Any], name: str) -> tuple[float, float]:
    """Mean and standard deviation of a column of numbers.

    References
    ----------
    Chan, Golub and LeVeque (1979), "Updating formulae and a pairwise algorithm for computing sample
    variances".
    """
    n, mean, squares = 0, 0.0, 0.0
    for batch in batches:
        here = numbers(batch, name).astype(np.float64)
        gap, total = float(here.mean()) - mean, n + len(here)
        squares += float(((here - here.mean()) ** 2).sum()) + gap * gap * n * len(here) / total
        mean, n = mean + gap * len(here) / total, total
    return mean, float(np.sqrt(squares / n))
