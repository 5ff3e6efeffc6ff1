"""X, y and w as the devices hold them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from deltaprop.engines.xla.devices import ROWS, put
from deltaprop.functions.arrays import Array

if TYPE_CHECKING:
    from jaxtyping import Float, Int, Num


class Sparse(NamedTuple):
    """A sparse matrix, each row padded with zeros in column 0 to the entries of the fullest."""

    columns: Int[Array, "N E"]
    values: Num[Array, "N E"]


class Rows(NamedTuple):
    """The rows of a process, or those of a batch."""

    X: Any
    y: Num[Array, "N ..."]
    w: Float[Array, " N"] | None


def on_devices(
    mesh: Mesh, X: Any, y: Num[np.ndarray, "N ..."], w: Float[np.ndarray, " N"] | None
) -> Rows:
    """This process's rows, on each of its devices."""
    rows = Rows(_padded(X) if hasattr(X, "tocsr") else X, y, w)
    return jax.tree.map(lambda array: put(mesh, ROWS, array), rows)


def dense(X: Any, D: int, dtype: np.dtype) -> Float[jax.Array, "B D"]:
    """A batch of X as numbers of that dtype."""
    if not isinstance(X, Sparse):
        return X.astype(dtype)
    B = X.columns.shape[0]
    at = jnp.arange(B)[:, None], X.columns
    return jnp.zeros((B, D), dtype).at[at].add(X.values.astype(dtype))


def _padded(X: Any) -> Sparse:
    counts = np.diff(X.indptr)
    row = np.repeat(np.arange(X.shape[0]), counts)
    entry = np.arange(len(X.data)) - np.repeat(X.indptr[:-1], counts)
    shape = X.shape[0], max(1, counts.max(initial=0))
    columns, values = np.zeros(shape, np.int32), np.zeros(shape, X.dtype)
    columns[row, entry], values[row, entry] = X.indices, X.data
    return Sparse(columns, values)
